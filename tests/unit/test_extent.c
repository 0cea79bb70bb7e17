/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fs/inode/extent.c: joining, cutting, counting. */
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/falloc.h>
#include "fs/inode/extent.h"
#include "fs/journal/trans.h"
#include "fs/vfs/vfs.h"
#include "tallyfs/format.h"
#include "tests/lib/fixture.h"

static struct fixture fx;
static struct vfs_file *f;
static uint64_t ino;

static void setup(void)
{
	fx_init();
	fx_create(&fx, FX_SMALL1K);
	ino = fx_file(&fx, "a", &f);
}

static void teardown(void)
{
	fx_close(&fx, f);
	fx_destroy(&fx);
	fx_exit();
}

TestSuite(extent, .init = setup, .fini = teardown, .timeout = 900);

static int find(uint64_t fblk, struct extent *e)
{
	return TRANS_READ(t, fx.fs, extent_seek(t, ino, fblk, e));
}

static void sync_file(void)
{
	FX_OK(vfs_fsync(fx.fs, f, false));
}

Test(extent, appends_join)
{
	struct extent e;

	for (uint64_t k = 0; k < 20; k++) {
		fx_write(&fx, f, k * 4096, 4096, 1);
		sync_file();
	}
	FX_OK(find(0, &e));
	cr_assert_eq(e.off, 0);
	cr_assert_eq(e.len, 80);
	cr_assert_eq(fx_stat(&fx, "tree", "extents"), 1);
	cr_assert_eq(fx_stat(&fx, "tree", "data_blocks"), 80);
	cr_assert_eq(find(80, &e), -ENOENT);
}

Test(extent, seek)
{
	struct extent e;

	cr_assert_eq(find(0, &e), -ENOENT);
	fx_write(&fx, f, 10 * 1024, 5 * 1024, 1);
	fx_write(&fx, f, 100 * 1024, 1024, 1);
	sync_file();
	FX_OK(find(0, &e));
	cr_assert_eq(e.off, 10);
	cr_assert_eq(e.len, 5);
	FX_OK(find(14, &e));
	cr_assert_eq(e.off, 10);
	FX_OK(find(15, &e));
	cr_assert_eq(e.off, 100);
	cr_assert_eq(find(101, &e), -ENOENT);
}

Test(extent, a_write_in_the_middle_cuts)
{
	struct extent e;
	uint64_t first;

	fx_write(&fx, f, 0, 30 * 1024, 1);
	sync_file();
	FX_OK(find(0, &e));
	first = e.start;
	fx_write(&fx, f, 10 * 1024, 5 * 1024, 2);
	sync_file();
	FX_OK(find(0, &e));
	cr_assert_eq(e.start, first);
	cr_assert_eq(e.len, 10);
	FX_OK(find(10, &e));
	cr_assert_eq(e.len, 5);
	cr_assert_neq(e.start, first + 10);
	FX_OK(find(15, &e));
	cr_assert_eq(e.start, first + 15);
	cr_assert_eq(e.len, 15);
	cr_assert_eq(fx_stat(&fx, "tree", "extents"), 3);
	cr_assert_eq(fx_stat(&fx, "tree", "data_blocks"), 30);
	fx_expect(&fx, f, 0, 10 * 1024, 1);
	fx_expect(&fx, f, 10 * 1024, 5 * 1024, 2);
}

Test(extent, punched_and_counted)
{
	struct vfs_attr a;
	struct extent e;

	fx_write(&fx, f, 0, 64 * 1024, 1);
	sync_file();
	for (uint64_t k = 0; k < 60; k += 4)
		FX_OK(vfs_fallocate(fx.fs, f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, k * 1024,
				    2048));
	cr_assert_eq(fx_stat(&fx, "tree", "data_blocks"), 34);
	cr_assert_eq(fx_stat(&fx, "tree", "extents"), 15);
	FX_OK(vfs_getattr(fx.fs, ino, &a));
	cr_assert_eq(a.blocks512, 68);
	FX_OK(find(0, &e));
	cr_assert_eq(e.off, 2);
	/* one write over all the rests */
	fx_write(&fx, f, 0, 64 * 1024, 2);
	sync_file();
	cr_assert_eq(fx_stat(&fx, "tree", "data_blocks"), 64);
	fx_expect(&fx, f, 0, 64 * 1024, 2);
}

Test(extent, unwritten_parts_keep_apart)
{
	struct extent e;

	FX_OK(vfs_fallocate(fx.fs, f, 0, 0, 32 * 1024));
	FX_OK(find(0, &e));
	cr_assert_eq(e.flags, TFS_EXTENT_UNWRITTEN);
	cr_assert_eq(e.len, 32);
	fx_write(&fx, f, 8 * 1024, 8 * 1024, 1);
	sync_file();
	cr_assert_eq(fx_stat(&fx, "tree", "extents"), 3);
	FX_OK(find(8, &e));
	cr_assert_eq(e.flags, 0);
	cr_assert_eq(e.len, 8);
	fx_write(&fx, f, 0, 8 * 1024, 1);
	fx_write(&fx, f, 16 * 1024, 16 * 1024, 1);
	sync_file();
	cr_assert_eq(fx_stat(&fx, "tree", "extents"), 1);
	cr_assert_eq(fx_stat(&fx, "tree", "data_blocks"), 32);
}
