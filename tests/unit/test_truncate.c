// SPDX-License-Identifier: GPL-2.0-or-later
/* fs/truncate.c, fs/fallocate.c */
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/falloc.h>
#include "tests/lib/fsfix.h"

static struct fsfix fx;

static void setup(void)
{
	fx_init();
	fx_create(&fx, FX_SMALL);
}

static void teardown(void)
{
	fx_destroy(&fx);
	fx_exit();
}

TestSuite(truncate, .init = setup, .fini = teardown, .timeout = 120);

static struct vfs_file *reopen(struct vfs_file *f, bool crash)
{
	fx_close(&fx, f);
	if (crash)
		fx_crash_remount(&fx);
	else
		fx_remount(&fx);
	return fx_open(&fx, "a");
}

Test(truncate, down_mid_block_then_up)
{
	struct vfs_file *f;

	fx_file(&fx, "a", &f);
	fx_write(&fx, f, 0, 100000, 1);
	FX_OK(vfs_fsync(fx.fs, f, false));
	fx_set_size(&fx, f, 50001);
	fx_expect(&fx, f, 0, 50001, 1);
	fx_set_size(&fx, f, 90000);
	fx_expect_zero(&fx, f, 50001, 90000 - 50001);
	f = reopen(f, false);
	cr_assert_eq(fx_size_of(&fx, f), 90000);
	fx_expect(&fx, f, 0, 50001, 1);
	fx_expect_zero(&fx, f, 50001, 90000 - 50001);
	fx_close(&fx, f);
}

Test(truncate, of_dirty_data)
{
	struct vfs_file *f;

	fx_file(&fx, "a", &f);
	fx_write(&fx, f, 0, 100000, 1);
	fx_set_size(&fx, f, 33333);
	fx_set_size(&fx, f, 70000);
	fx_write(&fx, f, 60000, 10000, 2);
	f = reopen(f, false);
	fx_expect(&fx, f, 0, 33333, 1);
	fx_expect_zero(&fx, f, 33333, 60000 - 33333);
	fx_expect(&fx, f, 60000, 10000, 2);
	cr_assert_eq(fx_stat(&fx, "space", "reserved"), 0);
	fx_close(&fx, f);
}

Test(truncate, to_nothing_and_inline)
{
	struct vfs_file *f;

	fx_file(&fx, "a", &f);
	fx_write(&fx, f, 0, 200, 1);
	FX_OK(vfs_fsync(fx.fs, f, false));
	fx_set_size(&fx, f, 120);
	fx_set_size(&fx, f, 180);
	f = reopen(f, false);
	fx_expect(&fx, f, 0, 120, 1);
	fx_expect_zero(&fx, f, 120, 60);
	fx_set_size(&fx, f, 0);
	fx_set_size(&fx, f, 10);
	f = reopen(f, false);
	fx_expect_zero(&fx, f, 0, 10);
	fx_close(&fx, f);
}

Test(truncate, many_extents_leave_an_intent)
{
	struct vfs_file *f;

	fx_file(&fx, "a", &f);
	for (uint64_t k = 0; k < 200; k++)
		fx_write(&fx, f, k * 8192, 4096, k);
	FX_OK(vfs_fsync(fx.fs, f, false));
	cr_assert_geq(fx_stat(&fx, "tree", "extents"), 100);
	fx_set_size(&fx, f, 4096);
	cr_assert_eq(fx_stat(&fx, "tree", "data_blocks"), 1);
	f = reopen(f, false);
	fx_expect(&fx, f, 0, 4096, 0);
	fx_close(&fx, f);
}

Test(truncate, is_durable_as_a_whole)
{
	struct vfs_file *f;

	fx_file(&fx, "a", &f);
	fx_write(&fx, f, 0, 100000, 1);
	FX_OK(vfs_fsync(fx.fs, f, false));
	fx_set_size(&fx, f, 4097);
	FX_OK(vfs_fsync(fx.fs, f, false));
	f = reopen(f, true);
	cr_assert_eq(fx_size_of(&fx, f), 4097);
	fx_expect(&fx, f, 0, 4097, 1);
	fx_set_size(&fx, f, 8192);
	fx_expect_zero(&fx, f, 4097, 4095);
	fx_close(&fx, f);
}

Test(truncate, errors)
{
	struct vfs_attr a = { .size = (uint64_t)INT64_MAX + 1 }, d;

	fx_file(&fx, "a", NULL);
	cr_assert_eq(vfs_setattr(fx.fs, fx_ino(&fx, "a"), VFS_SET_SIZE, &a, &fx_root, &a), -EFBIG);
	FX_OK(vfs_mkdir(fx.fs, TFS_INO_ROOT, "d", 0755, &fx_root, &d));
	a.size = 0;
	cr_assert_eq(vfs_setattr(fx.fs, d.ino, VFS_SET_SIZE, &a, &fx_root, &a), -EISDIR);
	vfs_forget(fx.fs, d.ino, 1);
}

/* ---- fallocate ---- */

#define PUNCH (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)

Test(truncate, punch)
{
	struct vfs_file *f;

	fx_file(&fx, "a", &f);
	fx_write(&fx, f, 0, 100000, 1);
	FX_OK(vfs_fallocate(fx.fs, f, PUNCH, 10000, 50000));
	fx_expect(&fx, f, 0, 10000, 1);
	fx_expect_zero(&fx, f, 10000, 50000);
	fx_expect(&fx, f, 60000, 40000, 1);
	f = reopen(f, false);
	cr_assert_eq(fx_size_of(&fx, f), 100000);
	fx_expect(&fx, f, 0, 10000, 1);
	fx_expect_zero(&fx, f, 10000, 50000);
	fx_expect(&fx, f, 60000, 40000, 1);
	FX_OK(vfs_fallocate(fx.fs, f, PUNCH, 0, 200000));
	fx_expect_zero(&fx, f, 0, 100000);
	cr_assert_eq(fx_stat(&fx, "tree", "data_blocks"), 0);
	/* inside one block, across two, at the end */
	fx_write(&fx, f, 0, 100000, 2);
	FX_OK(vfs_fallocate(fx.fs, f, PUNCH, 100, 50));
	FX_OK(vfs_fallocate(fx.fs, f, PUNCH, 8000, 400));
	FX_OK(vfs_fallocate(fx.fs, f, PUNCH, 99000, 5000));
	f = reopen(f, false);
	fx_expect(&fx, f, 0, 100, 2);
	fx_expect_zero(&fx, f, 100, 50);
	fx_expect(&fx, f, 150, 7850, 2);
	fx_expect_zero(&fx, f, 8000, 400);
	fx_expect(&fx, f, 8400, 99000 - 8400, 2);
	fx_expect_zero(&fx, f, 99000, 1000);
	fx_close(&fx, f);
}

Test(truncate, punch_of_dirty_keeps_the_size)
{
	struct vfs_file *f;

	fx_file(&fx, "a", &f);
	fx_write(&fx, f, 0, 100000, 1);
	FX_OK(vfs_fallocate(fx.fs, f, PUNCH, 0, 1u << 20));
	f = reopen(f, false);
	cr_assert_eq(fx_size_of(&fx, f), 100000);
	fx_expect_zero(&fx, f, 0, 100000);
	fx_close(&fx, f);
}

Test(truncate, preallocate)
{
	struct vfs_file *f;
	uint64_t blocks;

	fx_file(&fx, "a", &f);
	FX_OK(vfs_fallocate(fx.fs, f, 0, 0, 1u << 20));
	cr_assert_eq(fx_size_of(&fx, f), 1u << 20);
	blocks = fx_stat(&fx, "tree", "data_blocks");
	cr_assert_eq(blocks, 256);
	fx_expect_zero(&fx, f, 0, 1u << 20);
	fx_write(&fx, f, 50000, 70000, 1);
	f = reopen(f, false);
	cr_assert_eq(fx_stat(&fx, "tree", "data_blocks"), blocks);
	fx_expect_zero(&fx, f, 0, 50000);
	fx_expect(&fx, f, 50000, 70000, 1);
	fx_expect_zero(&fx, f, 120000, 50000);
	FX_OK(vfs_fallocate(fx.fs, f, FALLOC_FL_KEEP_SIZE, 1u << 20, 100000));
	cr_assert_eq(fx_size_of(&fx, f), 1u << 20);
	fx_write(&fx, f, 1u << 20, 5000, 2);
	f = reopen(f, false);
	fx_expect(&fx, f, 1u << 20, 5000, 2);
	fx_set_size(&fx, f, 60001);
	fx_set_size(&fx, f, 1u << 20);
	fx_expect_zero(&fx, f, 60001, 100000);
	cr_assert_eq(fx_stat(&fx, "space", "reserved"), 0);
	fx_close(&fx, f);
}

Test(truncate, zero_range)
{
	struct vfs_file *f;

	fx_file(&fx, "a", &f);
	fx_write(&fx, f, 0, 100000, 1);
	FX_OK(vfs_fsync(fx.fs, f, false));
	FX_OK(vfs_fallocate(fx.fs, f, FALLOC_FL_ZERO_RANGE, 5000, 30000));
	FX_OK(vfs_fallocate(fx.fs, f, FALLOC_FL_ZERO_RANGE, 99000, 30000));
	f = reopen(f, false);
	cr_assert_eq(fx_size_of(&fx, f), 129000);
	fx_expect(&fx, f, 0, 5000, 1);
	fx_expect_zero(&fx, f, 5000, 30000);
	fx_expect(&fx, f, 35000, 64000, 1);
	fx_expect_zero(&fx, f, 99000, 30000);
	cr_assert_eq(vfs_fallocate(fx.fs, f, FALLOC_FL_COLLAPSE_RANGE, 0, 4096), -EOPNOTSUPP);
	cr_assert_eq(vfs_fallocate(fx.fs, f, 0, 0, 0), -EINVAL);
	cr_assert_eq(vfs_fallocate(fx.fs, f, 0, INT64_MAX, 2), -EFBIG);
	fx_close(&fx, f);
}
