/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fs/vfs/reflink.c: the power goes in the middle of copying a file by sharing its blocks, of
 * writing to a shared block (cached or direct), of unsharing, of removing one of the two: at every
 * write and flush, in every way that the simulator knows. The checker, data verified, is content
 * with what is left; the source is whole; each block of the copy is old or new.
 */
#include <criterion/criterion.h>
#include <limits.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core/block/bdev.h"
#include "core/lib/log.h"
#include "core/lib/util.h"
#include "core/pagecache/pagecache.h"
#include "fs/inode/inode.h"
#include "fs/vfs/vfs.h"
#include "tallyfs/format.h"
#include "tests/lib/crashdev.h"
#include "tests/lib/fixture.h"
#include "tests/lib/random.h"

#define NB 60u	  /* blocks of the source */
#define SOURCE 1u /* patterns */
#define OLD 2u
#define NEW 3u

static struct fixture fx;
static uint64_t bs;

static void quiet(enum log_level lvl, const char *line)
{
}

static void setup(void)
{
	fx_init();
	log_set_hook(quiet);
}

static void teardown(void)
{
	fx_exit();
}

TestSuite(reflink_crash, .init = setup, .fini = teardown, .timeout = 900);

struct scene {
	/* what is durable when recording begins; and what is done then */
	void (*before)(struct vfs_file *a, struct vfs_file *b);
	void (*during)(struct vfs_file *a, struct vfs_file *b);
	/* patterns a block of the copy may hold, UINT_MAX-terminated; and whether it may be
	 * shorter, or gone */
	unsigned int may[4];
	bool shorter, gone;
};

static void copy_all(struct vfs_file *a, struct vfs_file *b)
{
	FX_IS(vfs_copy_file_range(fx.fs, a, 0, b, 0, NB * bs, 0), NB * bs);
}

/* In pieces, so that it takes more than one extent and one transaction to copy. */
static void make_source(struct vfs_file *a)
{
	struct vfs_file *other;

	fx_file(&fx, "other", &other);
	for (uint64_t k = 0; k < NB; k += 3) {
		fx_write(&fx, a, k * bs, min_t(uint64_t, 3, NB - k) * bs, SOURCE);
		FX_OK(vfs_fsync(fx.fs, a, false));
		fx_write(&fx, other, k * bs, bs, OLD);
		FX_OK(vfs_fsync(fx.fs, other, false));
	}
	fx_close(&fx, other);
}

/* ---- what is left ---- */

static void check_source(void)
{
	struct vfs_file *a = fx_open(&fx, "a");

	FX_IS(fx_size_of(&fx, a), NB * bs);
	fx_expect(&fx, a, 0, NB * bs, SOURCE);
	fx_close(&fx, a);
}

static bool block_is(const uint8_t *p, uint64_t block, unsigned int tag)
{
	for (uint64_t k = 0; k < bs; k++)
		if (p[k] != (tag ? fx_byte(tag, block * bs + k) : 0))
			return false;
	return true;
}

static void check_copy(const struct scene *s)
{
	uint8_t *buf = malloc(NB * bs);
	struct vfs_file *b;
	struct vfs_attr a;
	unsigned int k, m;
	int64_t n;

	if (vfs_lookup(fx.fs, TFS_INO_ROOT, "b", &a)) {
		cr_assert(s->gone, "the copy is gone");
		free(buf);
		return;
	}
	vfs_forget(fx.fs, a.ino, 1);
	b = fx_open(&fx, "b");
	n = vfs_pread(fx.fs, b, buf, NB * bs, 0);
	cr_assert(n >= 0 && n % (int64_t)bs == 0 && (s->shorter || n == (int64_t)(NB * bs)),
		  "size %lld", (long long)n);
	for (k = 0; k < (unsigned int)((uint64_t)n / bs); k++) {
		for (m = 0; s->may[m] != UINT_MAX && !block_is(buf + k * bs, k, s->may[m]); m++)
			;
		cr_assert(s->may[m] != UINT_MAX, "block %u of the copy is neither old nor new", k);
	}
	fx_close(&fx, b);
	free(buf);
}

static void check_cut(const struct scene *s, struct crashdev *cd, uint64_t events,
		      enum crash_mode mode, uint64_t *rng)
{
	fx.dev = bdev_mem_create(fx_bytes(FX_SMALL));
	crashdev_image(cd, events, mode, rng, bdev_mem_data(fx.dev));
	if (mode != CRASH_RUINED)
		fx_check_clean(&fx);
	fx_mount_own(&fx, NULL);
	check_source();
	check_copy(s);
	fx_destroy(&fx); /* checks once more */
}

static void run(const struct scene *s)
{
	struct bdev *dev = bdev_mem_create(fx_bytes(FX_SMALL));
	uint64_t rng = test_seed(77), n;
	struct vfs_file *a, *b;
	struct crashdev *cd;

	fx_format(dev, FX_SMALL, 1);
	fx_mount(&fx, dev, NULL);
	bs = fx.fs->geom.block_size;
	fx_file(&fx, "a", &a);
	fx_file(&fx, "b", &b);
	make_source(a);
	if (s->before)
		s->before(a, b);
	fx_close(&fx, a);
	fx_close(&fx, b);
	FX_OK(vfs_unmount(fx.fs));
	cd = crashdev_create(bdev_mem_data(dev), fx_bytes(FX_SMALL));
	bdev_close(dev);
	fx_mount(&fx, crashdev_bdev(cd), NULL);
	a = fx_open(&fx, "a");
	b = fx_open(&fx, "b");
	s->during(a, b);
	fx_close(&fx, a);
	fx_close(&fx, b);
	FX_OK(vfs_sync(fx.fs));
	vfs_crash(fx.fs);
	n = crashdev_events(cd);
	cr_assert_geq(n, 6);
	for (uint64_t k = 0; k <= n; k++)
		for (unsigned int mode = 0; mode < CRASH_MODES; mode++)
			check_cut(s, cd, k, mode, &rng);
	fprintf(stderr, "%llu crash images\n", (unsigned long long)(n + 1) * CRASH_MODES);
	crashdev_destroy(cd);
}

/* ---- scenes ---- */

Test(reflink_crash, copy)
{
	run(&(struct scene){ .during = copy_all, .may = { SOURCE, 0, UINT_MAX }, .shorter = true });
}

static void old_content(struct vfs_file *a, struct vfs_file *b)
{
	fx_write(&fx, b, 0, NB * bs, OLD);
}

Test(reflink_crash, copy_over_a_file)
{
	run(&(struct scene){
		.before = old_content, .during = copy_all, .may = { SOURCE, OLD, UINT_MAX } });
}

static void write_one(struct vfs_file *a, struct vfs_file *b)
{
	fx_write(&fx, b, 17 * bs, bs, NEW);
	FX_OK(vfs_fsync(fx.fs, b, false));
}

Test(reflink_crash, write_to_one_block_of_the_copy)
{
	run(&(struct scene){
		.before = copy_all, .during = write_one, .may = { SOURCE, NEW, UINT_MAX } });
}

static void write_many(struct vfs_file *a, struct vfs_file *b)
{
	for (uint64_t k = 1; k < NB; k += 7) {
		fx_write(&fx, b, k * bs, 2 * bs, NEW);
		FX_OK(pagecache_sync(fx.fs->pagecache, true));
	}
}

Test(reflink_crash, write_to_many)
{
	run(&(struct scene){
		.before = copy_all, .during = write_many, .may = { SOURCE, NEW, UINT_MAX } });
}

static void write_direct(struct vfs_file *a, struct vfs_file *b)
{
	struct vfs_file *d;
	uint8_t *mem = NULL;

	FX_OK(vfs_open(fx.fs, b->inode->ino, O_RDWR | O_DIRECT, &d));
	cr_assert_eq(posix_memalign((void **)&mem, 4096, 20 * bs), 0);
	for (uint64_t k = 0; k < 20 * bs; k++)
		mem[k] = fx_byte(NEW, 10 * bs + k);
	FX_IS(vfs_pwrite(fx.fs, d, mem, 20 * bs, 10 * bs), 20 * bs);
	free(mem);
	vfs_release(fx.fs, d);
}

Test(reflink_crash, direct_write)
{
	run(&(struct scene){
		.before = copy_all, .during = write_direct, .may = { SOURCE, NEW, UINT_MAX } });
}

static void unshare_all(struct vfs_file *a, struct vfs_file *b)
{
	FX_OK(fx_unshare(fx.fs, b, 0, UINT64_MAX));
}

Test(reflink_crash, unshare)
{
	run(&(struct scene){
		.before = copy_all, .during = unshare_all, .may = { SOURCE, UINT_MAX } });
}

static void punch(struct vfs_file *a, struct vfs_file *b)
{
	FX_OK(vfs_fallocate(fx.fs, b, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 5 * bs, 40 * bs));
}

Test(reflink_crash, punch_a_hole)
{
	run(&(struct scene){ .before = copy_all, .during = punch, .may = { SOURCE, 0, UINT_MAX } });
}

static void remove_copy(struct vfs_file *a, struct vfs_file *b)
{
	FX_OK(vfs_unlink(fx.fs, TFS_INO_ROOT, "b"));
}

Test(reflink_crash, remove_the_copy)
{
	run(&(struct scene){ .before = copy_all,
			     .during = remove_copy,
			     .may = { SOURCE, UINT_MAX },
			     .gone = true });
}
