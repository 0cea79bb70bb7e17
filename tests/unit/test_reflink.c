/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fs/vfs/reflink.c, fs/inode/block_refs.c, fs/vfs/unshare.c: what is shared, counted, copied on
 * write and given back. */
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>
#include "core/block/bdev.h"
#include "fs/btree/btree.h"
#include "fs/btree/btree_delete.h"
#include "fs/btree/btree_insert.h"
#include "fs/disk/btree_key.h"
#include "fs/inode/block_refs.h"
#include "fs/journal/trans.h"
#include "fs/state/fs.h"
#include "fs/vfs/vfs.h"
#include "fsck/check.h"
#include "tallyfs/format.h"
#include "tests/lib/fixture.h"

#define KB 1024ull

static struct fixture fx;
static struct vfs_file *a, *b;
static uint64_t bs;

static void make(enum fx_size size)
{
	fx_init();
	fx_create(&fx, size);
	bs = fx.fs->geom.block_size;
	fx_file(&fx, "a", &a);
	fx_file(&fx, "b", &b);
}

static void setup(void)
{
	make(FX_SMALL);
}

static void teardown(void)
{
	fx_close(&fx, a);
	fx_close(&fx, b);
	fx_destroy(&fx);
	fx_exit();
}

TestSuite(reflink, .init = setup, .fini = teardown, .timeout = 900);

static int64_t copy(struct vfs_file *in, uint64_t pin, struct vfs_file *out, uint64_t pout,
		    uint64_t len)
{
	return vfs_copy_file_range(fx.fs, in, pin, out, pout, len, 0);
}

static uint64_t blocks(void)
{
	FX_OK(vfs_sync(fx.fs));
	return fx_stat(&fx, "tree", "data_blocks");
}

/* Extents of the first page of a file's list that somebody else has too. */
static unsigned int nr_shared(struct vfs_file *f)
{
	struct vfs_extent x[64];
	int n = vfs_extents(fx.fs, f, 0, x, 64);
	unsigned int shared = 0;

	cr_assert_geq(n, 0);
	for (int k = 0; k < n; k++)
		shared += !!(x[k].flags & VFS_EXTENT_SHARED);
	return shared;
}

static uint32_t count_at(uint64_t block)
{
	uint32_t count = 0;
	uint64_t run;
	int err;

	err = TRANS_READ(t, fx.fs, refs_get(t, block, 1, &count, &run));
	FX_OK(err);
	return count;
}

static uint64_t block_of(struct vfs_file *f, uint64_t pos)
{
	struct vfs_extent x;

	FX_IS(vfs_extents(fx.fs, f, pos, &x, 1), 1);
	cr_assert_leq(x.pos, pos);
	return (x.addr + (pos - x.pos)) / bs;
}

Test(reflink, a_copy_takes_no_blocks)
{
	uint64_t used;

	fx_write(&fx, a, 0, 40 * bs + 100, 1);
	used = blocks();
	FX_IS(copy(a, 0, b, 0, UINT64_MAX / 2), 40 * bs + 100);
	cr_assert_eq(blocks(), used);
	fx_expect(&fx, b, 0, 40 * bs + 100, 1);
	FX_IS(fx_size_of(&fx, b), 40 * bs + 100);
	cr_assert_eq(nr_shared(a), 1);
	cr_assert_eq(nr_shared(b), 1);
	fx_check_live(&fx);
}

/* Durable when it returns, as a write is. */
Test(reflink, a_copy_to_a_synchronous_file_survives_a_crash)
{
	b->flags |= O_SYNC;
	fx_write(&fx, a, 0, 10 * bs, 1);
	FX_IS(copy(a, 0, b, 0, 10 * bs), 10 * bs);
	fx_close(&fx, a);
	fx_close(&fx, b);
	fx_crash_remount(&fx);
	a = fx_open(&fx, "a");
	b = fx_open(&fx, "b");
	FX_IS(fx_size_of(&fx, b), 10 * bs);
	fx_expect(&fx, b, 0, 10 * bs, 1);
}

Test(reflink, dirty_source_and_destination)
{
	/* no sync in between: both are only in the cache */
	fx_write(&fx, a, 0, 10 * bs, 1);
	fx_write(&fx, b, 0, 20 * bs, 2);
	FX_IS(copy(a, 2 * bs, b, 5 * bs, 4 * bs), 4 * bs);
	fx_expect(&fx, b, 0, 5 * bs, 2);
	fx_expect(&fx, b, 9 * bs, 11 * bs, 2);
	for (uint64_t k = 0; k < 4 * bs; k += 511) {
		uint8_t got;

		FX_IS(vfs_pread(fx.fs, b, &got, 1, 5 * bs + k), 1);
		cr_assert_eq(got, fx_byte(1, 2 * bs + k));
	}
	cr_assert_eq(nr_shared(b), 1);
	FX_OK(vfs_sync(fx.fs));
	fx_check_live(&fx);
}

Test(reflink, one_block_of_the_copy_costs_one)
{
	uint64_t used, first;

	fx_write(&fx, a, 0, 40 * bs, 1);
	FX_IS(copy(a, 0, b, 0, 40 * bs), 40 * bs);
	used = blocks();
	first = block_of(a, 0);
	cr_assert_eq(count_at(first + 7), 2);
	fx_write(&fx, b, 7 * bs + 10, 100, 2);
	cr_assert_eq(blocks(), used + 1);
	cr_assert_eq(count_at(first + 6), 2);
	cr_assert_eq(count_at(first + 7), 1);
	cr_assert_eq(count_at(first + 8), 2);
	fx_expect(&fx, a, 0, 40 * bs, 1);
	fx_expect(&fx, b, 0, 7 * bs + 10, 1);
	fx_expect(&fx, b, 7 * bs + 10, 100, 2);
	/* the one block that is a's alone again is overwritten like any other */
	fx_write(&fx, a, 7 * bs, bs, 3);
	cr_assert_eq(blocks(), used + 1);
	fx_check_live(&fx);
}

Test(reflink, three_files_and_back)
{
	struct vfs_file *c;
	uint64_t used, first;

	fx_file(&fx, "c", &c);
	fx_write(&fx, a, 0, 30 * bs, 1);
	used = blocks();
	FX_IS(copy(a, 0, b, 0, 20 * bs), 20 * bs);
	FX_IS(copy(b, 10 * bs, c, 0, 10 * bs), 10 * bs);
	FX_IS(copy(a, 20 * bs, c, 10 * bs, 10 * bs), 10 * bs);
	first = block_of(a, 0);
	cr_assert_eq(count_at(first), 2);
	cr_assert_eq(count_at(first + 10), 3);
	cr_assert_eq(count_at(first + 20), 2);
	cr_assert_eq(blocks(), used);
	fx_check_live(&fx);
	fx_set_size(&fx, a, 0);
	cr_assert_eq(blocks(), used);
	cr_assert_eq(count_at(first + 10), 2);
	fx_check_live(&fx);
	fx_set_size(&fx, b, 15 * bs);
	cr_assert_eq(blocks(), used);
	FX_OK(vfs_fallocate(fx.fs, c, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 5 * bs, 5 * bs));
	cr_assert_eq(blocks(), used - 5);
	fx_check_live(&fx);
	fx_close(&fx, c);
	FX_OK(vfs_unlink(fx.fs, TFS_INO_ROOT, "c"));
	fx_set_size(&fx, b, 0);
	cr_assert_eq(blocks(), 0);
}

Test(reflink, holes_and_unwritten_become_holes)
{
	struct vfs_extent x[8];

	fx_write(&fx, a, 0, 4 * bs, 1);
	FX_OK(vfs_fallocate(fx.fs, a, 0, 8 * bs, 4 * bs));
	fx_write(&fx, a, 16 * bs, 4 * bs, 1);
	fx_write(&fx, b, 0, 30 * bs, 2);
	FX_IS(copy(a, 0, b, 0, 20 * bs), 20 * bs);
	FX_IS(vfs_extents(fx.fs, b, 0, x, 8), 3);
	cr_assert_eq(x[0].pos, 0);
	cr_assert_eq(x[0].len, 4 * bs);
	cr_assert_eq(x[1].pos, 16 * bs);
	cr_assert_eq(x[1].len, 4 * bs);
	cr_assert_eq(x[2].pos, 20 * bs);
	cr_assert_eq(x[2].flags, 0);
	fx_expect(&fx, b, 0, 4 * bs, 1);
	fx_expect_zero(&fx, b, 4 * bs, 12 * bs);
	fx_expect(&fx, b, 16 * bs, 4 * bs, 1);
	fx_expect(&fx, b, 20 * bs, 10 * bs, 2);
}

Test(reflink, inline_and_small)
{
	fx_write(&fx, a, 0, 100, 1);
	FX_IS(copy(a, 0, b, 0, 4096), 100);
	fx_expect(&fx, b, 0, 100, 1);
	cr_assert_eq(blocks(), 0);
	/* an inline block before one that is not */
	fx_set_size(&fx, a, 0);
	fx_write(&fx, a, 0, 100, 1);
	FX_OK(vfs_fsync(fx.fs, a, false));
	fx_set_size(&fx, a, 6 * bs);
	fx_write(&fx, a, 3 * bs, 3 * bs, 1);
	FX_OK(vfs_fsync(fx.fs, a, false));
	FX_IS(copy(a, 0, b, 0, 6 * bs), 6 * bs);
	fx_expect(&fx, b, 0, 100, 1);
	fx_expect_zero(&fx, b, 100, 3 * bs - 100);
	fx_expect(&fx, b, 3 * bs, 3 * bs, 1);
	cr_assert_eq(nr_shared(b), 1);
	/* sharing over an inline block */
	fx_set_size(&fx, b, 0);
	fx_write(&fx, b, 0, 50, 2);
	FX_OK(vfs_fsync(fx.fs, b, false));
	FX_IS(copy(a, 3 * bs, b, 0, 3 * bs), 3 * bs);
	FX_IS(fx_size_of(&fx, b), 3 * bs);
	FX_OK(vfs_sync(fx.fs));
	fx_check_live(&fx);
}

Test(reflink, unaligned_is_copied)
{
	uint8_t buf[300];

	fx_write(&fx, a, 0, 20 * bs, 1);
	FX_IS(copy(a, 7, b, 0, 10 * bs), 10 * bs);
	cr_assert_eq(nr_shared(b), 0);
	FX_IS(vfs_pread(fx.fs, b, buf, sizeof(buf), bs), sizeof(buf));
	for (uint64_t k = 0; k < sizeof(buf); k++)
		cr_assert_eq(buf[k], fx_byte(1, bs + 7 + k));
	/* alike, but neither begins nor ends with a block: head, whole blocks, tail */
	fx_set_size(&fx, b, 0);
	fx_write(&fx, b, 0, 20 * bs, 2);
	FX_IS(copy(a, 2 * bs + 9, b, 2 * bs + 9, 5 * bs), 5 * bs);
	fx_expect(&fx, b, 0, 2 * bs + 9, 2);
	fx_expect(&fx, b, 2 * bs + 9, 5 * bs, 1);
	fx_expect(&fx, b, 7 * bs + 9, 13 * bs - 9, 2);
	cr_assert_eq(nr_shared(b), 1);
}

Test(reflink, within_one_file)
{
	fx_write(&fx, a, 0, 10 * bs, 1);
	FX_IS(copy(a, 0, a, 5 * bs, 6 * bs), -EINVAL);
	FX_IS(copy(a, 2 * bs, a, 20 * bs, 5 * bs), 5 * bs);
	FX_IS(fx_size_of(&fx, a), 25 * bs);
	fx_expect(&fx, a, 0, 10 * bs, 1);
	fx_expect_zero(&fx, a, 10 * bs, 10 * bs);
	/* onto a part of itself, which is shared already */
	FX_IS(copy(a, 0, a, 22 * bs, 3 * bs), 3 * bs);
	fx_expect(&fx, a, 0, 10 * bs, 1);
	cr_assert_eq(blocks(), 10);
	FX_IS(copy(a, 22 * bs, a, 0, 3 * bs), 3 * bs);
	fx_expect(&fx, a, 0, 10 * bs, 1);
	fx_check_live(&fx);
	fx_set_size(&fx, a, 3 * bs);
	cr_assert_eq(blocks(), 3);
	cr_assert_eq(nr_shared(a), 0);
}

Test(reflink, the_end_of_the_file)
{
	fx_write(&fx, a, 0, 5 * bs + 100, 1);
	/* the partial block is not shared where more follows in the destination */
	fx_write(&fx, b, 0, 8 * bs, 2);
	FX_IS(copy(a, 0, b, 0, 10 * bs), 5 * bs + 100);
	fx_expect(&fx, b, 0, 5 * bs + 100, 1);
	fx_expect(&fx, b, 5 * bs + 100, 3 * bs - 100, 2);
	FX_IS(copy(a, 5 * bs + 100, b, 0, 10), 0);
	FX_IS(copy(a, 99 * bs, b, 0, 10), 0);
	/* behind EOF of the destination: what lies between reads as zeros */
	fx_set_size(&fx, b, 100);
	FX_IS(copy(a, 0, b, 10 * bs, 6 * bs), 5 * bs + 100);
	FX_IS(fx_size_of(&fx, b), 15 * bs + 100);
	fx_expect_zero(&fx, b, 100, 10 * bs - 100);
	/* growing uncovers zeros */
	fx_set_size(&fx, b, 16 * bs);
	fx_expect_zero(&fx, b, 15 * bs + 100, bs - 100);
	FX_OK(vfs_sync(fx.fs));
	fx_check_live(&fx);
}

Test(reflink, unshare)
{
	uint64_t used;

	fx_write(&fx, a, 0, 40 * bs + 5, 1);
	FX_OK(vfs_fallocate(fx.fs, a, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 10 * bs, 5 * bs));
	FX_IS(copy(a, 0, b, 0, 50 * bs), 40 * bs + 5);
	used = blocks();
	cr_assert_gt(nr_shared(b), 0);
	FX_OK(fx_unshare(fx.fs, b, 3 * bs + 1, 2 * bs));
	cr_assert_eq(blocks(), used + 3);
	FX_OK(fx_unshare(fx.fs, b, 0, UINT64_MAX));
	cr_assert_eq(blocks(), 2 * used);
	cr_assert_eq(nr_shared(a), 0);
	cr_assert_eq(nr_shared(b), 0);
	fx_expect(&fx, b, 0, 10 * bs, 1);
	fx_expect_zero(&fx, b, 10 * bs, 5 * bs);
	fx_expect(&fx, b, 15 * bs, 25 * bs + 5, 1);
	/* again: nothing to do */
	FX_OK(fx_unshare(fx.fs, b, 0, UINT64_MAX));
	cr_assert_eq(blocks(), 2 * used);
	fx_check_live(&fx);
}

static bool never(void *arg)
{
	++*(unsigned int *)arg;
	return false;
}

static bool at_once(void *arg)
{
	return true;
}

/* From extent to extent, whatever lies between: a call does a bounded part, and says what is
 * left. */
Test(reflink, unshare_of_a_sparse_giant_is_quick)
{
	uint64_t far = (uint64_t)INT64_MAX / bs * bs - 64 * bs, pos = 5, len = UINT64_MAX;
	unsigned int asked = 0, calls = 0;

	fx_write(&fx, a, 0, 4 * bs, 1);
	fx_set_size(&fx, b, far + 32 * bs);
	FX_IS(copy(a, 0, b, 4 * bs, 4 * bs), 4 * bs);
	FX_IS(copy(a, 0, b, far, 4 * bs), 4 * bs);
	FX_IS(vfs_unshare(fx.fs, b, &pos, &len, at_once, NULL), -EINTR);
	cr_assert(pos == 5 && len == UINT64_MAX, "left alone");
	for (; len; calls++) {
		uint64_t before = pos;

		FX_OK(vfs_unshare(fx.fs, b, &pos, &len, never, &asked));
		cr_assert(pos > before && calls < 5, "call %u got to %llu", calls,
			  (unsigned long long)pos);
	}
	cr_assert_gt(calls, 1);
	cr_assert(asked && asked < 100, "%u", asked);
	cr_assert_eq(nr_shared(b), 0);
	fx_expect(&fx, a, 0, 4 * bs, 1);
	/* nothing there, and a range behind the end */
	fx_set_size(&fx, b, 0);
	fx_set_size(&fx, b, far);
	pos = 0;
	len = UINT64_MAX;
	FX_OK(vfs_unshare(fx.fs, b, &pos, &len, never, &asked));
	cr_assert_eq(len, 0);
	pos = UINT64_MAX - 1;
	len = UINT64_MAX;
	FX_OK(vfs_unshare(fx.fs, b, &pos, &len, never, &asked));
	cr_assert_eq(len, 0);
}

/* More extents of its own than one call looks at, and one shared behind them. */
Test(reflink, unshare_looks_at_so_many_extents_a_call)
{
	uint64_t pos = 0, len = UINT64_MAX;
	unsigned int asked = 0;

	for (uint64_t k = 0; k < 600; k++)
		fx_write(&fx, b, 2 * k * bs, bs, 2);
	FX_OK(vfs_fsync(fx.fs, b, false));
	fx_write(&fx, a, 0, bs, 1);
	FX_IS(copy(a, 0, b, 1300 * bs, bs), bs);
	cr_assert_eq(nr_shared(a), 1);
	FX_OK(vfs_unshare(fx.fs, b, &pos, &len, never, &asked));
	cr_assert(!len && asked >= 3, "%u", asked);
	cr_assert_eq(nr_shared(a), 0);
}

Test(reflink, preallocating_shared_blocks_makes_them_ones_own)
{
	uint64_t used;

	fx_write(&fx, a, 0, 20 * bs, 1);
	FX_IS(copy(a, 0, b, 0, 20 * bs), 20 * bs);
	used = blocks();
	FX_OK(vfs_fallocate(fx.fs, b, 0, 4 * bs, 4 * bs));
	cr_assert_eq(blocks(), used + 4);
	/* zeroing leaves the other's alone */
	FX_OK(vfs_fallocate(fx.fs, b, FALLOC_FL_ZERO_RANGE, bs / 2, 3 * bs));
	fx_expect(&fx, a, 0, 20 * bs, 1);
	fx_expect(&fx, b, 0, bs / 2, 1);
	fx_expect_zero(&fx, b, bs / 2, 3 * bs);
	fx_expect(&fx, b, bs / 2 + 3 * bs, bs / 2 + 16 * bs, 1);
}

Test(reflink, refusals)
{
	struct vfs_file *dir;

	FX_OK(vfs_open(fx.fs, TFS_INO_ROOT, O_RDONLY, &dir));
	fx_write(&fx, a, 0, 4 * bs, 1);
	FX_IS(copy(dir, 0, b, 0, bs), -EISDIR);
	FX_IS(copy(a, 0, dir, 0, bs), -EISDIR);
	FX_IS(vfs_copy_file_range(fx.fs, a, 0, b, 0, bs, 1), -EINVAL);
	FX_IS(copy(a, 0, b, (uint64_t)INT64_MAX, bs), -EFBIG);
	FX_IS(copy(a, 0, b, 0, 0), 0);
	FX_IS(fx_unshare(fx.fs, dir, 0, bs), -EISDIR);
	fx_close(&fx, dir);
}

Test(reflink, a_crash_after_each_commit)
{
	fx_write(&fx, a, 0, 60 * bs, 1);
	FX_OK(vfs_sync(fx.fs));
	FX_IS(copy(a, 0, b, 0, 60 * bs), 60 * bs);
	FX_OK(vfs_fsync(fx.fs, b, false));
	fx_close(&fx, a);
	fx_close(&fx, b);
	fx_crash_remount(&fx);
	a = fx_open(&fx, "a");
	b = fx_open(&fx, "b");
	fx_expect(&fx, b, 0, 60 * bs, 1);
	fx_write(&fx, b, 10 * bs, 10 * bs, 2);
	FX_OK(vfs_fsync(fx.fs, b, true));
	fx_close(&fx, a);
	fx_close(&fx, b);
	fx_crash_remount(&fx);
	a = fx_open(&fx, "a");
	b = fx_open(&fx, "b");
	fx_expect(&fx, a, 0, 60 * bs, 1);
	fx_expect(&fx, b, 10 * bs, 10 * bs, 2);
}

/* A full file system: what is shared cannot be overwritten for nothing, and says so; all else goes
 * on. */
Test(reflink, a_full_file_system)
{
	struct vfs_file *fill;
	uint8_t *buf = calloc(1, 64 * KB);
	uint64_t pos = 0;
	int64_t n;

	fx_write(&fx, a, 0, 200 * bs, 1);
	FX_IS(copy(a, 0, b, 0, 200 * bs), 200 * bs);
	fx_file(&fx, "fill", &fill);
	memset(buf, 1, 64 * KB);
	while ((n = vfs_pwrite(fx.fs, fill, buf, 64 * KB, pos)) > 0)
		pos += (uint64_t)n;
	FX_IS(n, -ENOSPC);
	FX_OK(vfs_sync(fx.fs));
	for (uint64_t k = 0; k < 200 && (n = vfs_pwrite(fx.fs, b, buf, bs, k * bs)) > 0; k++)
		;
	FX_IS(n, -ENOSPC);
	FX_OK(vfs_sync(fx.fs));
	fx_check_live(&fx);
	/* what is its own is still overwritten */
	for (pos = 0; pos < 100 * bs; pos += bs)
		FX_IS(vfs_pwrite(fx.fs, fill, buf, bs, pos), bs);
	fx_close(&fx, fill);
	FX_OK(vfs_unlink(fx.fs, TFS_INO_ROOT, "fill"));
	FX_OK(vfs_sync(fx.fs));
	FX_IS(vfs_pwrite(fx.fs, b, buf, 64 * KB, 100 * bs), 64 * KB);
	fx_expect(&fx, a, 0, 200 * bs, 1);
	free(buf);
}

/* Sharing brings no content: it goes on where writing has ended, and leaves overwriting what that
 * needs. */
Test(reflink, shares_on_a_full_file_system)
{
	uint8_t *buf = calloc(1, 64 * KB);
	struct vfs_file *fill, *c;
	uint64_t pos = 0, k;
	int64_t n;

	fx_write(&fx, a, 0, 200 * bs, 1);
	FX_OK(vfs_sync(fx.fs));
	fx_file(&fx, "c", &c);
	fx_file(&fx, "fill", &fill);
	memset(buf, 1, 64 * KB);
	while ((n = vfs_pwrite(fx.fs, fill, buf, 64 * KB, pos)) > 0)
		pos += (uint64_t)n;
	FX_IS(n, -ENOSPC);
	FX_OK(vfs_sync(fx.fs));
	FX_IS(copy(a, 0, b, 0, 200 * bs), 200 * bs);
	FX_OK(vfs_sync(fx.fs));
	fx_expect(&fx, b, 0, 200 * bs, 1);
	/* in pieces without end: that must stop at some time */
	for (k = 0; k < 100000; k++) {
		n = copy(a, k % 97 * 2 * bs, c, (2 * k + k % 3) * bs, bs);
		if (n != (int64_t)bs)
			break;
	}
	FX_IS(n, -ENOSPC);
	FX_OK(vfs_sync(fx.fs));
	fx_check_live(&fx);
	for (pos = 0; pos < 200 * bs; pos += bs) {
		FX_IS(vfs_pwrite(fx.fs, fill, buf, bs, pos), bs);
		if (pos % (8 * bs) == 0)
			FX_OK(vfs_sync(fx.fs));
	}
	fx_close(&fx, c);
	FX_OK(vfs_unlink(fx.fs, TFS_INO_ROOT, "c"));
	fx_close(&fx, fill);
	free(buf);
}

/* ---- the checker ---- */

/* What it says of a copy of the device in which tree 1 has @item (NULL: none) at @block. */
static void expect_report(uint64_t block, const struct tfs_refs_item *item)
{
	struct tkey key = TKEY(TFS_INO_META, TFS_KEY_REFS, block);
	struct fixture broken = { .dev = bdev_mem_create(fx.dev->size) };
	struct tfs_mount_opts mo = { .no_threads = true };
	struct check_opts o = { 0 };
	struct check_result r;
	struct tfs_trans t = { 0 };
	char why[300];
	int err;

	FX_OK(vfs_sync(fx.fs));
	memcpy(bdev_mem_data(broken.dev), bdev_mem_data(fx.dev), fx.dev->size);
	fx_mount(&broken, broken.dev, &mo);
	do {
		err = trans_begin(&t, broken.fs, TRANS_CREDITS(broken.fs));
		if (!err)
			err = btree_prefault(&t, TFS_TREE_REFS, &key);
		if (!err)
			err = item ? btree_set(&t, TFS_TREE_REFS, &key, item, sizeof(*item))
				   : btree_delete(&t, TFS_TREE_REFS, &key);
	} while (trans_again(&t, &err));
	FX_OK(err);
	FX_OK(vfs_unmount(broken.fs));
	FX_OK(tfs_check_device(broken.dev, &o, &r, why, sizeof(why)));
	cr_assert_gt(r.errors, 0);
	bdev_close(broken.dev);
}

Test(reflink, the_checker_counts)
{
	uint64_t first;

	fx_write(&fx, a, 0, 40 * bs, 1);
	FX_IS(copy(a, 0, b, 0, 40 * bs), 40 * bs);
	first = block_of(a, 0);
	/* two files, none counted; three; too few; one beside; one where nothing is; an impossible
	 * one */
	expect_report(first, NULL);
	expect_report(first, &(struct tfs_refs_item){ .len = le32_of(40), .count = le32_of(3) });
	expect_report(first, &(struct tfs_refs_item){ .len = le32_of(39), .count = le32_of(2) });
	expect_report(first, &(struct tfs_refs_item){ .len = le32_of(41), .count = le32_of(2) });
	expect_report(first + 300,
		      &(struct tfs_refs_item){ .len = le32_of(1), .count = le32_of(2) });
	expect_report(first + 20,
		      &(struct tfs_refs_item){ .len = le32_of(20), .count = le32_of(2) });
	expect_report(first, &(struct tfs_refs_item){ .len = le32_of(40), .count = le32_of(1) });
	expect_report(1, &(struct tfs_refs_item){ .len = le32_of(1), .count = le32_of(2) });
	fx_check_live(&fx);
}

/* Counts that cannot be right are refused, and nothing is freed on their word. */
Test(reflink, hostile_counts)
{
	struct tfs_refs_item bad = { .len = le32_of(40), .count = le32_of(1) };
	struct tkey key;
	int64_t n;
	int err;

	fx_write(&fx, a, 0, 40 * bs, 1);
	FX_IS(copy(a, 0, b, 0, 40 * bs), 40 * bs);
	key = TKEY(TFS_INO_META, TFS_KEY_REFS, block_of(a, 0));
	err = TRANS_WRITE(t, fx.fs, TRANS_CREDITS(fx.fs),
			  btree_update(t, TFS_TREE_REFS, &key, &bad, sizeof(bad)));
	FX_OK(err);
	n = vfs_pwrite(fx.fs, b, "x", 1, 0);
	cr_assert_eq(n, -EUCLEAN);
	/* a good one for the checker at the end */
	vfs_release(fx.fs, a);
	vfs_release(fx.fs, b);
	vfs_crash(fx.fs);
	fx_format(fx.dev, FX_SMALL, 1);
	fx_mount_own(&fx, NULL);
	fx_file(&fx, "a", &a);
	fx_file(&fx, "b", &b);
}
