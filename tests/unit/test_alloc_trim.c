/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fs/alloc/alloc_trim.c: what is discarded, what never, and who waits for it. */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "core/block/bdev.h"
#include "core/iomap/iomap.h"
#include "core/pagecache/pagecache.h"
#include "fs/alloc/alloc_data.h"
#include "fs/alloc/alloc_trim.h"
#include "fs/alloc/space.h"
#include "fs/journal/journal.h"
#include "fs/state/fs.h"
#include "fs/vfs/vfs.h"
#include "tallyfs/format.h"
#include "tests/lib/crashdev.h"
#include "tests/lib/fixture.h"
#include "tests/lib/random.h"

#define MAX_SEEN 4096

static struct fixture fx;
static uint64_t bs;

/* The device's discards, watched. */
static const struct bdev_ops *real_ops;
static struct bdev_ops spy_ops;
static struct {
	uint64_t off, len;
} seen[MAX_SEEN];
static unsigned int nr_seen;
static int spy_error;
static void (*spy_hook)(uint64_t off, uint64_t len);

static int spy_discard(struct bdev *b, uint64_t off, uint64_t len)
{
	if (spy_error)
		return spy_error;
	cr_assert_lt(nr_seen, MAX_SEEN);
	seen[nr_seen].off = off;
	seen[nr_seen++].len = len;
	if (spy_hook)
		spy_hook(off, len);
	return real_ops->discard(b, off, len);
}

static void make(enum fx_size size, unsigned int break_rules)
{
	struct tfs_mount_opts mo = { .no_threads = true,
				     .cache_size = 4 << 20,
				     .break_rules = break_rules };

	fx_create_on(&fx, fx_mem(size), size, 1, &mo);
	bs = fx.fs->geom.block_size;
	real_ops = fx.dev->ops;
	spy_ops = *real_ops;
	spy_ops.discard = spy_discard;
	fx.dev->ops = &spy_ops;
	nr_seen = 0;
	spy_error = 0;
	spy_hook = NULL;
}

TestSuite(alloc_trim, .init = fx_init, .fini = fx_exit, .timeout = 900);

static uint64_t trim(uint64_t start, uint64_t len, uint64_t minlen)
{
	uint64_t trimmed;

	nr_seen = 0;
	FX_OK(vfs_trim(fx.fs, start, len, minlen, NULL, NULL, &trimmed));
	return trimmed;
}

static uint64_t seen_bytes(void)
{
	uint64_t sum = 0;

	for (unsigned int k = 0; k < nr_seen; k++)
		sum += seen[k].len;
	return sum;
}

static bool was_seen(uint64_t off, uint64_t len)
{
	for (unsigned int k = 0; k < nr_seen; k++)
		if (off < seen[k].off + seen[k].len && seen[k].off < off + len)
			return true;
	return false;
}

static uint64_t addr_of(struct vfs_file *f, uint64_t pos)
{
	struct vfs_extent x;

	FX_IS(vfs_extents(fx.fs, f, pos, &x, 1), 1);
	return x.addr + (pos - x.pos);
}

static void all_that_is_free(enum fx_size size)
{
	struct vfs_file *f[8];
	char name[8];

	make(size, 0);
	for (unsigned int k = 0; k < 8; k++) {
		snprintf(name, sizeof(name), "f%u", k);
		fx_file(&fx, name, &f[k]);
		fx_write(&fx, f[k], 0, (20 + k) * bs, k);
		FX_OK(vfs_fsync(fx.fs, f[k], false));
	}
	for (unsigned int k = 0; k < 8; k += 2) {
		fx_close(&fx, f[k]);
		snprintf(name, sizeof(name), "f%u", k);
		FX_OK(vfs_unlink(fx.fs, TFS_INO_ROOT, name));
	}
	FX_OK(vfs_sync(fx.fs));
	FX_IS(trim(0, UINT64_MAX, 0), fx_stat(&fx, "space", "free_blocks") * bs);
	FX_IS(seen_bytes(), fx_stat(&fx, "space", "free_blocks") * bs);
	/* a second time there is as much to do: what is free may have been written to */
	FX_IS(trim(0, UINT64_MAX, 0), fx_stat(&fx, "space", "free_blocks") * bs);
	pagecache_shrink(fx.fs->pagecache, 0);
	for (unsigned int k = 1; k < 8; k += 2) {
		fx_expect(&fx, f[k], 0, (20 + k) * bs, k);
		fx_close(&fx, f[k]);
	}
	fx_check_live(&fx);
	fx_crash_remount(&fx);
	fx_destroy(&fx);
}

Test(alloc_trim, all_that_is_free)
{
	all_that_is_free(FX_SMALL);
	all_that_is_free(FX_SMALL1K);
	all_that_is_free(FX_MEDIUM);
}

/* Steps are bounded, and a large run is done whole. */
Test(alloc_trim, in_steps)
{
	make(FX_MEDIUM, 0);
	trim(0, UINT64_MAX, 0);
	cr_assert_geq(nr_seen, 2);
	for (unsigned int k = 0; k < nr_seen; k++)
		cr_assert_leq(seen[k].len, 32u << 20);
	/* the rest of a run is no short run */
	cr_assert_gt(trim(0, UINT64_MAX, 40u << 20), 40u << 20);
	fx_destroy(&fx);
}

Test(alloc_trim, range_and_shortest_run)
{
	uint64_t free, size, part, hole;
	struct vfs_file *f, *keep;

	make(FX_SMALL, 0);
	size = fx_bytes(FX_SMALL);
	/* free runs of one block between others' */
	fx_file(&fx, "f", &f);
	fx_file(&fx, "keep", &keep);
	for (unsigned int k = 0; k < 20; k++) {
		fx_write(&fx, f, k * bs, bs, 1);
		FX_OK(vfs_fsync(fx.fs, f, false));
		fx_write(&fx, keep, k * bs, bs, 2);
		FX_OK(vfs_fsync(fx.fs, keep, false));
	}
	hole = addr_of(f, 10 * bs);
	fx_close(&fx, f);
	FX_OK(vfs_unlink(fx.fs, TFS_INO_ROOT, "f"));
	FX_OK(vfs_sync(fx.fs));
	free = trim(0, UINT64_MAX, 0);
	cr_assert(was_seen(hole, bs));
	cr_assert_lt(trim(0, UINT64_MAX, 2 * bs), free);
	cr_assert(!was_seen(hole, bs));
	/* parts of it add up; blocks that are only partly inside are left alone */
	part = trim(0, 3 * bs * 100, 0) + trim(300 * bs, size, 0);
	FX_IS(part, free);
	FX_IS(trim(hole, bs, 0), bs);
	FX_IS(nr_seen, 1);
	FX_IS(seen[0].off, hole);
	FX_IS(trim(hole + 1, bs, 0), 0);
	FX_IS(vfs_trim(fx.fs, size, bs, 0, NULL, NULL, &part), -EINVAL);
	FX_IS(vfs_trim(fx.fs, 0, bs - 1, 0, NULL, NULL, &part), -EINVAL);
	FX_IS(vfs_trim(fx.fs, 0, size, size, NULL, NULL, &part), -EINVAL);
	fx_close(&fx, keep);
	fx_destroy(&fx);
}

/* Rule 3; and the rule broken on purpose, to show that this notices. */
static bool freed_is_trimmed_before_the_commit(unsigned int break_rules)
{
	uint64_t trimmed, at;
	struct vfs_file *f;
	bool early;

	make(FX_MEDIUM, break_rules); /* a small journal is committed by every operation */
	fx_file(&fx, "f", &f);
	fx_write(&fx, f, 0, 50 * bs, 1);
	FX_OK(vfs_sync(fx.fs));
	iomap_ioend_drain(); /* completions hold the inode for a moment longer: it would go later */
	at = addr_of(f, 0);
	fx_close(&fx, f);
	FX_OK(vfs_unlink(fx.fs, TFS_INO_ROOT, "f"));
	nr_seen = 0;
	FX_OK(alloc_trim(fx.fs, 0, fx.fs->geom.total_blocks, 1, NULL, NULL, &trimmed));
	early = was_seen(at, 50 * bs);
	FX_OK(journal_commit_all(fx.fs));
	FX_OK(alloc_trim(fx.fs, 0, fx.fs->geom.total_blocks, 1, NULL, NULL, &trimmed));
	cr_assert(was_seen(at, 50 * bs));
	fx_destroy(&fx);
	return early;
}

Test(alloc_trim, not_before_the_commit)
{
	cr_assert(!freed_is_trimmed_before_the_commit(0));
	cr_assert(freed_is_trimmed_before_the_commit(TFS_BREAK_EARLY_REUSE));
}

/* ---- power cuts ---- */

#define NR_CUT 4 /* files: removed, shortened, written over, left alone */
#define CUT_BLOCKS 40

/* What a block of file @k may hold: its old content, or what was done to it without a commit. */
static void check_cut_file(unsigned int k)
{
	uint8_t *buf = malloc(CUT_BLOCKS * bs);
	struct vfs_file *f;
	struct vfs_attr a;
	char name[8];
	int64_t n;

	snprintf(name, sizeof(name), "c%u", k);
	if (vfs_lookup(fx.fs, TFS_INO_ROOT, name, &a)) {
		cr_assert_eq(k, 0, "%s is gone", name);
		free(buf);
		return;
	}
	vfs_forget(fx.fs, a.ino, 1);
	f = fx_open(&fx, name);
	n = vfs_pread(fx.fs, f, buf, CUT_BLOCKS * bs, 0);
	cr_assert(n == (int64_t)(CUT_BLOCKS * bs) || (k == 1 && n == (int64_t)bs), "%s: %lld", name,
		  (long long)n);
	for (uint64_t p = 0; p < (uint64_t)n; p++)
		cr_assert(buf[p] == fx_byte(k, p) || (k == 2 && buf[p] == fx_byte(9, p)),
			  "%s: byte %llu", name, (unsigned long long)p);
	fx_close(&fx, f);
	free(buf);
}

static void check_cut(struct crashdev *cd, uint64_t events, enum crash_mode mode, uint64_t *rng)
{
	fx.dev = bdev_mem_create(fx_bytes(FX_MEDIUM));
	crashdev_image(cd, events, mode, rng, bdev_mem_data(fx.dev));
	if (mode != CRASH_RUINED)
		fx_check_clean(&fx);
	fx_mount_own(&fx, NULL);
	for (unsigned int k = 0; k < NR_CUT; k++)
		check_cut_file(k);
	fx_destroy(&fx);
}

/* All that is free is discarded while three changes are not durable, and again when they are. */
static void change_and_trim(void)
{
	struct vfs_file *f[NR_CUT];
	char name[8];
	uint64_t n;

	for (unsigned int k = 0; k < NR_CUT; k++) {
		snprintf(name, sizeof(name), "c%u", k);
		f[k] = fx_open(&fx, name);
	}
	fx_set_size(&fx, f[1], bs);
	fx_write(&fx, f[2], 0, CUT_BLOCKS * bs, 9);
	FX_OK(pagecache_sync(fx.fs->pagecache, true));
	iomap_ioend_drain();
	for (unsigned int k = 0; k < NR_CUT; k++)
		fx_close(&fx, f[k]);
	FX_OK(vfs_unlink(fx.fs, TFS_INO_ROOT, "c0"));
	cr_assert_geq(fx_stat(&fx, "space", "pending_free"), 3 * CUT_BLOCKS - 2);
	FX_OK(alloc_trim(fx.fs, 0, fx.fs->geom.total_blocks, 1, NULL, NULL, &n));
	FX_OK(vfs_trim(fx.fs, 0, UINT64_MAX, 0, NULL, NULL, &n));
	FX_OK(vfs_sync(fx.fs));
}

Test(alloc_trim, no_cut_loses_what_is_committed)
{
	struct bdev *dev = bdev_mem_create(fx_bytes(FX_MEDIUM));
	uint64_t rng = test_seed(31), n;
	struct crashdev *cd;
	struct vfs_file *f;
	char name[8];

	fx_format(dev, FX_MEDIUM, 1);
	fx_mount(&fx, dev, NULL);
	bs = fx.fs->geom.block_size;
	for (unsigned int k = 0; k < NR_CUT; k++) {
		snprintf(name, sizeof(name), "c%u", k);
		fx_file(&fx, name, &f);
		fx_write(&fx, f, 0, CUT_BLOCKS * bs, k);
		fx_close(&fx, f);
	}
	FX_OK(vfs_unmount(fx.fs));
	cd = crashdev_create(bdev_mem_data(dev), fx_bytes(FX_MEDIUM));
	bdev_close(dev);
	fx_mount(&fx, crashdev_bdev(cd), NULL);
	change_and_trim();
	vfs_crash(fx.fs);
	n = crashdev_events(cd);
	cr_assert_geq(n, 10);
	for (uint64_t k = 0; k <= n; k++)
		for (unsigned int mode = 0; mode < CRASH_MODES; mode++)
			check_cut(cd, k, mode, &rng);
	fprintf(stderr, "%llu cuts\n", (unsigned long long)(n + 1) * CRASH_MODES);
	crashdev_destroy(cd);
}

/* ---- what is held ---- */

static uint64_t free_before;

static void try_to_get_it(uint64_t off, uint64_t len)
{
	uint64_t start, got, first = off / bs, end = first + len / bs;

	FX_IS(fx_stat(&fx, "space", "free_blocks"), free_before);
	FX_OK(space_reserve(fx.fs, 200, SPACE_NEW));
	FX_OK(alloc_data(fx.fs, first, 200, &start, &got));
	cr_assert(start >= end || start + got <= first, "held blocks were handed out");
	alloc_cancel(fx.fs, start, got, true);
	space_unreserve(fx.fs, 200);
}

Test(alloc_trim, what_is_held_is_not_handed_out)
{
	make(FX_SMALL, 0);
	FX_OK(vfs_sync(fx.fs));
	free_before = fx_stat(&fx, "space", "free_blocks");
	spy_hook = try_to_get_it;
	FX_IS(trim(0, UINT64_MAX, 0), free_before * bs);
	spy_hook = NULL;
	FX_IS(fx_stat(&fx, "space", "free_blocks"), free_before);
	FX_IS(fx_stat(&fx, "space", "claimed"), 0);
	fx_destroy(&fx);
}

/* The whole file system works while the device is busy. */
static void work(uint64_t off, uint64_t len)
{
	static unsigned int n;
	struct vfs_file *f;
	char name[16];

	if (n == 10)
		return;
	snprintf(name, sizeof(name), "w%u", n);
	fx_file(&fx, name, &f);
	fx_write(&fx, f, 0, 40 * bs, n++);
	FX_OK(vfs_fsync(fx.fs, f, false));
	cr_assert(addr_of(f, 0) >= off + len || addr_of(f, 39 * bs) < off);
	fx_close(&fx, f);
}

Test(alloc_trim, others_go_on)
{
	struct vfs_file *f;
	char name[16];

	make(FX_SMALL, 0);
	spy_hook = work;
	trim(0, UINT64_MAX, 0);
	pagecache_shrink(fx.fs->pagecache, 0);
	for (unsigned int k = 0; k < nr_seen && k < 10; k++) {
		snprintf(name, sizeof(name), "w%u", k);
		f = fx_open(&fx, name);
		fx_expect(&fx, f, 0, 40 * bs, k);
		fx_close(&fx, f);
	}
	spy_hook = NULL;
	fx_check_live(&fx);
	fx_destroy(&fx);
}

/* Claims all there is; the last of it is held for a while. */
static struct claimer {
	pthread_t thread;
	atomic_uint got;
	atomic_bool ended, let_go;
	uint64_t first, end; /* held */
	bool early, from_held;
	struct {
		uint64_t start, n;
	} claim[3000];
} cl;

static void *claim_all(void *arg)
{
	uint64_t start, n;

	while (cl.got < 3000 && !alloc_data(fx.fs, 0, 50, &start, &n)) {
		if (start < cl.end && start + n > cl.first) {
			cl.early |= !cl.let_go;
			cl.from_held = true;
		}
		cl.claim[cl.got].start = start;
		cl.claim[cl.got].n = n;
		cl.got++;
	}
	cl.ended = true;
	return NULL;
}

static void take_the_rest(uint64_t off, uint64_t len)
{
	unsigned int before;

	cl.first = off / bs;
	cl.end = cl.first + len / bs;
	cr_assert_eq(pthread_create(&cl.thread, NULL, claim_all, NULL), 0);
	do {
		before = cl.got;
		usleep(100000);
	} while (cl.got != before || !before);
	cr_assert(!cl.ended, "it did not wait");
	cl.let_go = true;
}

Test(alloc_trim, who_finds_nothing_else_waits)
{
	uint64_t group = 3;

	make(FX_SMALL, 0);
	spy_hook = take_the_rest;
	FX_IS(trim(group << 20, 1 << 20, 0), seen_bytes());
	FX_IS(nr_seen, 1);
	pthread_join(cl.thread, NULL);
	cr_assert(cl.from_held && !cl.early);
	for (unsigned int k = 0; k < cl.got; k++)
		alloc_cancel(fx.fs, cl.claim[k].start, cl.claim[k].n, false);
	fx_destroy(&fx);
}

/* ---- refusals ---- */

static bool stop_at_third(void *arg)
{
	return ++*(unsigned int *)arg == 3;
}

Test(alloc_trim, refusals)
{
	uint64_t trimmed, free;
	unsigned int asked = 0;

	make(FX_SMALL, 0);
	free = fx_stat(&fx, "space", "free_blocks");
	spy_error = -EOPNOTSUPP;
	FX_IS(vfs_trim(fx.fs, 0, UINT64_MAX, 0, NULL, NULL, &trimmed), -EOPNOTSUPP);
	FX_IS(trimmed, 0);
	spy_error = -EIO;
	FX_IS(vfs_trim(fx.fs, 0, UINT64_MAX, 0, NULL, NULL, &trimmed), -EIO);
	spy_error = 0;
	nr_seen = 0;
	FX_IS(vfs_trim(fx.fs, 0, UINT64_MAX, 0, stop_at_third, &asked, &trimmed), -EINTR);
	FX_IS(trimmed, seen_bytes());
	/* nothing stays behind */
	FX_IS(fx_stat(&fx, "space", "free_blocks"), free);
	FX_IS(trim(0, UINT64_MAX, 0), free * bs);
	spy_ops.discard = NULL;
	FX_IS(vfs_trim(fx.fs, 0, UINT64_MAX, 0, NULL, NULL, &trimmed), -EOPNOTSUPP);
	atomic_store(&fx.fs->read_only, true);
	FX_IS(vfs_trim(fx.fs, 0, UINT64_MAX, 0, NULL, NULL, &trimmed), -EROFS);
	atomic_store(&fx.fs->read_only, false);
	fx_destroy(&fx);
}
