/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fs/state/backing.c, fs/alloc/alloc_grow.c: an image with holes on a host that is full.  Its file
 * system refuses what it has no space for before it has promised anything, so the device never
 * refuses a write, and what was there goes on working.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <string.h>
#include "core/block/bdev.h"
#include "core/lib/log.h"
#include "core/lib/util.h"
#include "core/pagecache/pagecache.h"
#include "fs/disk/geom.h"
#include "fs/disk/super.h"
#include "fs/state/backing.h"
#include "fs/state/fs.h"
#include "fs/vfs/mkfs.h"
#include "fs/vfs/vfs.h"
#include "tallyfs/format.h"
#include "tests/lib/fixture.h"
#include "tests/lib/random.h"
#include "tests/lib/thindev.h"

#define KI (1ull << 10)
#define MI (1ull << 20)
#define MAX_FILES 4000u

static struct fixture fx;
static uint64_t bs;

static struct bdev *image(enum fx_size size, uint64_t room)
{
	struct bdev *b = thindev_create(bdev_mem_create(fx_bytes(size)), room);

	FX_CHECK(b);
	return b;
}

static unsigned int claim_maps; /* for make() */

static void make(enum fx_size size, uint64_t room)
{
	struct tfs_mount_opts o = { .no_threads = true,
				    .cache_size = 16 * MI,
				    .claim_maps = claim_maps };
	struct bdev *b = image(size, room);

	fx_create_on(&fx, b, size, 1, &o);
	bs = fx.fs->geom.block_size;
}

TestSuite(backing, .init = fx_init, .fini = fx_exit, .timeout = 900);

static const char *name_of(unsigned int k)
{
	static char name[16];

	snprintf(name, sizeof(name), "f%u", k);
	return name;
}

/* A file of @blocks; false: no space, and then it is not there.  What was taken can be written. */
static bool add(unsigned int k, uint64_t blocks)
{
	struct vfs_file *f;
	struct vfs_attr a;
	char *buf;
	int64_t n = 0;
	int err = vfs_create(fx.fs, TFS_INO_ROOT, name_of(k), 0644, &fx_root, O_RDWR, &a, &f);

	if (err) {
		FX_IS(err, -ENOSPC);
		return false;
	}
	vfs_forget(fx.fs, a.ino, 1);
	buf = malloc(blocks * bs);
	for (uint64_t at = 0; at < blocks * bs; at++)
		buf[at] = (char)fx_byte(k, at);
	if (blocks)
		n = vfs_pwrite(fx.fs, f, buf, blocks * bs, 0);
	free(buf);
	if (n < 0)
		FX_IS(n, -ENOSPC);
	FX_OK(vfs_fsync(fx.fs, f, false));
	fx_close(&fx, f);
	if (n == (int64_t)(blocks * bs))
		return true;
	FX_OK(vfs_unlink(fx.fs, TFS_INO_ROOT, name_of(k)));
	return false;
}

static void expect(unsigned int k, uint64_t blocks)
{
	struct vfs_file *f;

	FX_OK(vfs_open(fx.fs, fx_ino(&fx, name_of(k)), O_RDONLY, &f));
	fx_expect(&fx, f, 0, blocks * bs, k);
	fx_close(&fx, f);
}

static unsigned int fill(unsigned int from, uint64_t blocks)
{
	unsigned int k = from;

	while (add(k, blocks))
		FX_CHECK(++k < MAX_FILES);
	return k;
}

static void never_refused(void)
{
	FX_IS(thindev_refused_writes(fx.dev), 0);
	FX_OK(atomic_load(&fx.fs->shutdown));
}

/* In steps: nobody writes back behind us, and what the pool has is not endless. */
static void overwrite(struct vfs_file *f, uint64_t blocks, uint64_t tag)
{
	for (uint64_t at = 0; at < blocks; at += 16) {
		fx_write(&fx, f, at * bs, min_t(uint64_t, blocks - at, 16) * bs, tag);
		FX_OK(vfs_fsync(fx.fs, f, false));
	}
}

static void rewrite(unsigned int k, uint64_t blocks)
{
	struct vfs_file *f = fx_open(&fx, name_of(k));

	overwrite(f, blocks, k);
	fx_close(&fx, f);
}

static void rewrite_all(unsigned int n, uint64_t blocks)
{
	for (unsigned int k = 0; k < n; k++)
		rewrite(k, blocks);
}

static void cold(void)
{
	FX_OK(vfs_sync(fx.fs));
	pagecache_shrink(fx.fs->pagecache, 0);
}

/* ---- what fits ---- */

static void fills(enum fx_size size, uint64_t room, uint64_t blocks)
{
	unsigned int n, more;

	make(size, room);
	n = fill(0, blocks);
	FX_CHECK(n > 4);
	never_refused();
	/* nothing that was taken is lost, and what is there can be changed for ever */
	fx_remount(&fx);
	for (unsigned int k = 0; k < n; k++)
		expect(k, blocks);
	rewrite_all(n, blocks);
	rewrite_all(n, blocks);
	never_refused();
	/* what is deleted makes room, on the same host */
	for (unsigned int k = 0; k < n; k += 2)
		FX_OK(vfs_unlink(fx.fs, TFS_INO_ROOT, name_of(k)));
	FX_OK(vfs_sync(fx.fs));
	for (unsigned int k = 0; k + 4 < n; k += 2)
		FX_CHECK(add(k, blocks));
	fx_remount(&fx);
	/* and so does the host */
	more = fill(n, blocks);
	thindev_set_room(fx.dev, 2 * MI);
	FX_CHECK(fill(more, blocks) > more);
	never_refused();
	cold();
	for (unsigned int k = 1; k < n; k += 2)
		expect(k, blocks);
	fx_crash_remount(&fx);
	never_refused();
	fx_destroy(&fx);
}

Test(backing, fills_medium)
{
	fills(FX_MEDIUM, 16 * MI, 30);
}

Test(backing, fills_small_groups)
{
	fills(FX_SMALL, 4 * MI, 7);
	fills(FX_SMALL1K, 4 * MI, 29);
}

Test(backing, names_fill)
{
	unsigned int n;

	make(FX_SMALL, 3 * MI);
	n = fill(0, 0);
	never_refused();
	fx_remount(&fx);
	for (unsigned int k = 0; k < n; k++)
		FX_OK(vfs_unlink(fx.fs, TFS_INO_ROOT, name_of(k)));
	FX_CHECK(fill(0, 0) + 8 >= n);
	never_refused();
	fx_destroy(&fx);
}

/* Preallocated is preallocated on the host too. */
Test(backing, fallocate)
{
	struct vfs_file *f;

	make(FX_MEDIUM, 20 * MI);
	fx_file(&fx, "pre", &f);
	FX_OK(vfs_fallocate(fx.fs, f, 0, 0, 6 * MI));
	FX_IS(vfs_fallocate(fx.fs, f, 0, 0, 30 * MI), -ENOSPC);
	FX_OK(vfs_fallocate(fx.fs, f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 6 * MI, 24 * MI));
	fill(0, 10);
	thindev_set_room(fx.dev, 0);
	overwrite(f, 6 * MI / bs, 99);
	never_refused();
	cold();
	fx_expect(&fx, f, 0, 6 * MI, 99);
	fx_close(&fx, f);
	fx_destroy(&fx);
}

Test(backing, df_is_bounded_by_the_host)
{
	struct statvfs st, later;

	make(FX_MEDIUM, 20 * MI);
	FX_OK(vfs_statfs(fx.fs, &st));
	FX_CHECK(st.f_bfree * bs > 50 * MI);
	FX_CHECK(st.f_bavail * bs < 20 * MI && st.f_bavail * bs > 10 * MI);
	FX_CHECK(fill(0, 10) * 10 * bs > st.f_bavail * bs - 2 * MI);
	FX_OK(vfs_statfs(fx.fs, &later));
	FX_CHECK(later.f_bavail * bs < MI / 2);
	/* blocks of its own that are free again, also when they have not been looked at yet */
	for (unsigned int k = 0; k < 100; k++)
		FX_OK(vfs_unlink(fx.fs, TFS_INO_ROOT, name_of(k)));
	fx_remount(&fx);
	FX_OK(vfs_statfs(fx.fs, &later));
	FX_CHECK(later.f_bavail * bs > 3 * MI);
	fx_destroy(&fx);
}

/* ---- fstrim ---- */

Test(backing, trim_keeps_the_pool)
{
	uint64_t trimmed, taken;
	unsigned int n;

	make(FX_MEDIUM, 20 * MI);
	n = fill(0, 10);
	for (unsigned int k = 20; k < n; k++)
		FX_OK(vfs_unlink(fx.fs, TFS_INO_ROOT, name_of(k)));
	taken = thindev_taken(fx.dev);
	FX_OK(vfs_trim(fx.fs, 0, UINT64_MAX, 0, NULL, NULL, &trimmed));
	FX_CHECK(trimmed > 8 * MI);
	FX_IS(taken - thindev_taken(fx.dev), trimmed);
	/* somebody else takes what was given back */
	thindev_set_room(fx.dev, 0);
	FX_CHECK(!add(n, 100));
	rewrite_all(20, 10);
	cold();
	for (unsigned int k = 0; k < 20; k++)
		expect(k, 10);
	for (unsigned int k = 0; k < 20; k++)
		FX_OK(vfs_unlink(fx.fs, TFS_INO_ROOT, name_of(k)));
	never_refused();
	thindev_set_room(fx.dev, 10 * MI);
	FX_CHECK(add(n, 100));
	never_refused();
	fx_remount(&fx);
	expect(n, 100);
	fx_destroy(&fx);
}

/* ---- making and mounting ---- */

static int format(struct bdev *b, struct tfs_super *s, struct tfs_geom *g)
{
	struct tfs_format_opts o = { .test_seed = 1 };
	char why[200];

	FX_OK(tfs_format_plan(b, &o, s, g, why, sizeof(why)));
	return tfs_format_write(b, &o, s, g);
}

Test(backing, mkfs)
{
	struct bdev *b = image(FX_MEDIUM, 2 * MI);
	struct tfs_super s;
	struct tfs_geom g;
	char why[300] = "";

	FX_IS(format(b, &s, &g), -ENOSPC);
	FX_IS(backing_fixed(b, &g, 1, NULL, NULL, why, sizeof(why)), -ENOSPC);
	FX_CHECK(strstr(why, "KiB more needed"));
	thindev_set_room(b, 10 * MI);
	FX_OK(format(b, &s, &g));
	/* the journal has its space, and so has little else */
	FX_CHECK(bdev_all_backed(b, g.journal_start << g.blkbits, g.journal_blocks << g.blkbits));
	FX_CHECK(thindev_taken(b) < (g.journal_blocks << g.blkbits) + MI);
	bdev_close(b);
	/* a host that can't: it is written */
	b = image(FX_MEDIUM, 10 * MI);
	thindev_no_provision(b);
	FX_OK(format(b, &s, &g));
	b->thin = true;
	FX_CHECK(bdev_all_backed(b, g.journal_start << g.blkbits, g.journal_blocks << g.blkbits));
	bdev_close(b);
}

Test(backing, mkfs_large_is_small)
{
	struct bdev *b = image(FX_MEDIUM, 0);
	struct tfs_format_opts o = { .test_seed = 1 };
	struct tfs_super s;
	struct tfs_geom g;
	char why[200];

	bdev_close(b);
	b = thindev_create(bdev_mem_create(64ull << 30), 80 * MI);
	FX_OK(tfs_format_plan(b, &o, &s, &g, why, sizeof(why)));
	FX_OK(tfs_format_write(b, &o, &s, &g));
	FX_CHECK(thindev_taken(b) < (g.journal_blocks << g.blkbits) + MI);
	fx_mount(&fx, b, NULL);
	FX_CHECK(thindev_taken(b) < 90 * MI);
	FX_OK(vfs_unmount(fx.fs));
	bdev_close(b);
}

/* A superblock that claims every group: no header says so, and a mount takes no space for them. */
Test(backing, claimed_groups)
{
	struct bdev *b = thindev_create(bdev_mem_create(64ull << 30), 500 * MI);
	struct tfs_mount_opts mo = { .no_threads = true };
	uint64_t taken;
	struct tfs_super super;
	struct tfs_geom g;
	char why[300] = "";

	FX_OK(format(b, &super, &g));
	taken = thindev_taken(b);
	super.groups_init = super.nr_groups;
	tfs_super_seal(&super);
	for (int i = 0; i < 3; i++)
		FX_OK(tfs_super_put(b, i, &super, &g));
	FX_OK(vfs_mount(b, &mo, &fx.fs, why, sizeof(why)));
	/* some 38 MiB are for the pool; all groups would have 256 */
	FX_CHECK(thindev_taken(b) < taken + 64 * MI);
	vfs_crash(fx.fs);
	bdev_close(b);
}

/* An image that was copied with holes: its journal, its metadata and its nodes may be in them. */
Test(backing, copied_with_holes)
{
	struct tfs_mount_opts mo = { .no_threads = true };
	uint64_t trimmed;
	char why[300] = "";
	unsigned int n;

	make(FX_MEDIUM, 64 * MI);
	for (n = 0; n < 600; n++)
		FX_CHECK(add(n, n % 8 ? 0 : 3));
	for (unsigned int k = 0; k < n; k++)
		if (k % 8)
			FX_OK(vfs_unlink(fx.fs, TFS_INO_ROOT, name_of(k)));
	FX_OK(vfs_trim(fx.fs, 0, UINT64_MAX, 0, NULL, NULL, &trimmed));
	FX_OK(vfs_unmount(fx.fs));
	thindev_sparsify(fx.dev);
	thindev_set_room(fx.dev, 100 * KI);
	FX_IS(vfs_mount(fx.dev, &mo, &fx.fs, why, sizeof(why)), -ENOSPC);
	FX_CHECK(strstr(why, "is full") && strstr(why, "more needed"));
	/* looking goes on */
	mo.ro = true;
	FX_OK(vfs_mount(fx.dev, &mo, &fx.fs, why, sizeof(why)));
	expect(0, 3);
	FX_OK(vfs_unmount(fx.fs));
	/* enough for what must be there, and for little more */
	thindev_set_room(fx.dev, 5 * MI);
	mo.ro = false;
	FX_OK(vfs_mount(fx.dev, &mo, &fx.fs, why, sizeof(why)));
	thindev_set_room(fx.dev, 0);
	for (unsigned int k = 0; k < n; k += 8) {
		int err = vfs_unlink(fx.fs, TFS_INO_ROOT, name_of(k));

		FX_CHECK(!err || err == -ENOSPC);
	}
	FX_OK(vfs_sync(fx.fs));
	never_refused();
	thindev_set_room(fx.dev, 20 * MI);
	FX_CHECK(add(n, 100));
	fx_remount(&fx);
	expect(n, 100);
	never_refused();
	fx_destroy(&fx);
}

/* Blocks of zeros, in use in holes: they have no space when they are free again. */
Test(backing, freed_from_holes)
{
	char *zeros = calloc(1, 3 * MI);
	struct vfs_file *f;
	unsigned int n, more;

	make(FX_MEDIUM, 64 * MI);
	fx_file(&fx, "zeros", &f);
	FX_IS(vfs_pwrite(fx.fs, f, zeros, 3 * MI, 0), 3 * MI);
	FX_OK(vfs_fsync(fx.fs, f, false));
	free(zeros);
	fx_close(&fx, f);
	FX_OK(vfs_unmount(fx.fs));
	thindev_sparsify(fx.dev);
	thindev_set_room(fx.dev, 7 * MI);
	fx_mount_own(&fx, NULL);
	n = fill(0, 10);
	FX_OK(vfs_unlink(fx.fs, TFS_INO_ROOT, "zeros"));
	FX_OK(vfs_sync(fx.fs));
	more = fill(n, 10);
	FX_CHECK(more < n + 10);
	never_refused();
	thindev_set_room(fx.dev, 4 * MI);
	FX_CHECK(fill(more, 10) > more + 50);
	never_refused();
	fx_remount(&fx);
	fx_destroy(&fx);
}

/* More groups than are looked into before the host is asked. */
static void make_many_groups(uint64_t bytes, uint64_t room)
{
	struct tfs_format_opts o = {
		.test_seed = 1,
		.block_size = 4096,
		.node_size = 16384,
		.blocks_per_group = 256,
		.journal_bytes = 900 * KI,
	};
	struct bdev *b = thindev_create(bdev_mem_create(bytes), room);
	struct tfs_super s;
	struct tfs_geom g;
	char why[200];

	FX_CHECK(b);
	FX_OK(tfs_format_plan(b, &o, &s, &g, why, sizeof(why)));
	FX_OK(tfs_format_write(b, &o, &s, &g));
	fx_mount(&fx, b, NULL);
	fx.own_dev = true;
	bs = g.block_size;
}

/* The first groups are full, the others have holes, and nobody knows yet: the host is asked for
 * them all the same. */
static void holes_behind_full_groups(uint64_t blocks)
{
	uint64_t trimmed;
	unsigned int n;

	make_many_groups(32 * MI, 100 * MI);
	FX_CHECK(fx.fs->geom.nr_groups >= 32);
	n = fill(0, blocks);
	for (unsigned int k = n * 3 / 4; k < n; k++)
		FX_OK(vfs_unlink(fx.fs, TFS_INO_ROOT, name_of(k)));
	FX_OK(vfs_sync(fx.fs));
	FX_OK(vfs_trim(fx.fs, 0, UINT64_MAX, 0, NULL, NULL, &trimmed));
	FX_CHECK(trimmed > 4 * MI);
	fx_remount(&fx);
	for (unsigned int k = n * 3 / 4; k + 2 < n; k++)
		FX_CHECK(add(k, blocks));
	never_refused();
	fx_remount(&fx);
	for (unsigned int k = 0; k + 2 < n; k++)
		expect(k, blocks);
	fx_destroy(&fx);
}

Test(backing, holes_behind_full_groups)
{
	holes_behind_full_groups(10);
	holes_behind_full_groups(100);
}

/* ---- a host that can't give space ahead ---- */

Test(backing, refused_at_writeback)
{
	struct vfs_file *f;

	make(FX_MEDIUM, 64 * MI);
	thindev_no_provision(fx.dev);
	FX_OK(vfs_unmount(fx.fs));
	fx_mount(&fx, fx.dev, NULL);
	FX_CHECK(!fx.dev->thin);
	fx_file(&fx, "a", &f);
	FX_OK(vfs_sync(fx.fs));
	thindev_set_room(fx.dev, 256 * KI);
	fx_write(&fx, f, 0, 2 * MI, 5);
	FX_IS(vfs_fsync(fx.fs, f, false), -ENOSPC);
	FX_CHECK(thindev_refused_writes(fx.dev) > 0);
	/* nothing is lost as long as it is mounted, and nobody is shut out */
	FX_OK(atomic_load(&fx.fs->shutdown));
	fx_expect(&fx, f, 0, 2 * MI, 5);
	thindev_set_room(fx.dev, 20 * MI);
	FX_OK(vfs_fsync(fx.fs, f, false));
	cold();
	fx_expect(&fx, f, 0, 2 * MI, 5);
	fx_close(&fx, f);
	FX_OK(vfs_unmount(fx.fs));
	fx_check_clean(&fx);
	bdev_close(fx.dev);
}

static unsigned int cow_warnings;

static void count_warnings(enum log_level lvl, const char *line)
{
	cow_warnings += lvl <= LOG_LVL_WARN && strstr(line, "chattr +C");
}

/* Space that was reserved is no promise there. */
Test(backing, host_that_copies_on_write)
{
	struct tfs_mount_opts ro = { .no_threads = true, .ro = true };

	log_set_hook(count_warnings);
	make(FX_MEDIUM, 64 * MI);
	FX_IS(cow_warnings, 0);
	FX_OK(vfs_unmount(fx.fs));
	fx.dev->cow = true;
	fx_mount(&fx, fx.dev, &ro);
	FX_IS(cow_warnings, 0);
	FX_OK(vfs_unmount(fx.fs));
	fx_mount_own(&fx, NULL);
	FX_IS(cow_warnings, 1);
	fx_destroy(&fx);
	log_set_hook(NULL);
}

/* ---- all of it, at random ---- */

static void at_random(uint64_t seed, enum fx_size size)
{
	enum { FILES = 40 };
	uint64_t rng = seed, blocks[FILES] = { 0 }, trimmed;
	unsigned int k, refused = 0;

	make(size, size == FX_MEDIUM ? 8 * MI : 3 * MI);
	for (unsigned int op = 0; op < test_ops(400); op++) {
		k = (unsigned int)(test_rand(&rng) % FILES);
		switch (test_rand(&rng) % 16) {
		case 0:
			thindev_set_room(fx.dev,
					 test_rand(&rng) % 3 ? 0 : test_rand(&rng) % (512 * KI));
			break;
		case 1:
			FX_OK(vfs_trim(fx.fs, 0, UINT64_MAX, 0, NULL, NULL, &trimmed));
			break;
		case 2:
			fx_remount(&fx);
			break;
		case 3:
			fx_crash_remount(&fx);
			break;
		case 4:
			cold();
			break;
		default:
			if (blocks[k] && test_rand(&rng) % 2) {
				expect(k, blocks[k]);
				FX_OK(vfs_unlink(fx.fs, TFS_INO_ROOT, name_of(k)));
				blocks[k] = 0;
				FX_OK(vfs_sync(fx.fs));
			} else if (blocks[k]) {
				rewrite(k, blocks[k]);
			} else {
				uint64_t want = 1 + test_rand(&rng) % 64;

				if (add(k, want))
					blocks[k] = want;
				else
					refused++;
				FX_OK(vfs_sync(fx.fs));
			}
		}
		never_refused();
	}
	FX_CHECK(refused);
	for (k = 0; k < FILES; k++)
		if (blocks[k])
			expect(k, blocks[k]);
	fx_destroy(&fx);
}

/* How much fits, in parts, with trims between; df as it goes. */
static void fit_and_trim(unsigned int maps, uint64_t out[16])
{
	unsigned int n = 0, more, i = 0;
	struct statvfs st;
	uint64_t trimmed;

	claim_maps = maps;
	make(FX_SMALL, 6 * MI);
	for (unsigned int round = 0; round < 4; round++) {
		more = fill(n, 9);
		out[i++] = more - n;
		for (unsigned int k = round; k < n; k += 4) {
			expect(k, 9);
			FX_OK(vfs_unlink(fx.fs, TFS_INO_ROOT, name_of(k)));
		}
		n = more;
		FX_OK(vfs_sync(fx.fs));
		FX_OK(vfs_trim(fx.fs, 0, UINT64_MAX, 0, NULL, NULL, &trimmed));
		out[i++] = trimmed;
		out[i++] = thindev_taken(fx.dev);
		FX_OK(vfs_statfs(fx.fs, &st));
		out[i++] = st.f_bfree;
	}
	never_refused();
	claim_maps = 0;
	fx_destroy(&fx);
}

/* That few groups are in memory at once changes nothing. */
Test(backing, few_claim_maps)
{
	uint64_t all[16], few[16];

	fit_and_trim(0, all);
	FX_CHECK(all[0] > 40);
	for (unsigned int maps = 1; maps < 4; maps++) {
		fit_and_trim(maps, few);
		for (unsigned int i = 0; i < 16; i++)
			FX_IS(few[i], all[i]);
	}
}

/* Nor does it end anything when more groups have holes than there are maps for. */
Test(backing, few_claim_maps_at_random)
{
	claim_maps = 2;
	at_random(test_seed(7), FX_SMALL);
	claim_maps = 0;
}

Test(backing, at_random)
{
	uint64_t seed = test_seed(12);

	at_random(seed, FX_SMALL);
	at_random(seed + 1, FX_SMALL1K);
	at_random(seed + 2, FX_MEDIUM);
}
