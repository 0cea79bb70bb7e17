/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fs/inode/truncate.c, fs/vfs/fallocate.c */
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/falloc.h>
#include <string.h>
#include "core/lib/util.h"
#include "core/pagecache/pagecache.h"
#include "fs/inode/inode.h"
#include "fs/inode/truncate.h"
#include "fs/journal/journal.h"
#include "fs/journal/journal_priv.h"
#include "fs/journal/trans.h"
#include "fs/names/orphan.h"
#include "fs/state/error.h"
#include "fs/state/fs.h"
#include "fs/vfs/vfs.h"
#include "tallyfs/format.h"
#include "tests/lib/fixture.h"
#include "tests/lib/fixture_suite.h"

static struct fixture fx;

FX_SUITE(truncate, fx, FX_SMALL, 900);

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

/* So many that they do not go in one transaction. */
static uint64_t file_of_many_extents(struct vfs_file **f)
{
	uint64_t ino = fx_file(&fx, "a", f);

	for (uint64_t k = 0; k < 200; k++)
		fx_write(&fx, *f, k * 8192, 4096, k);
	FX_OK(vfs_fsync(fx.fs, *f, false));
	cr_assert_geq(fx_stat(&fx, "tree", "extents"), 100);
	return ino;
}

static int intent_of(uint64_t ino)
{
	struct tfs_intent_item it;
	uint64_t found;
	int err;

	err = TRANS_READ(t, fx.fs, intent_next(t, ino - 1, &found, &it));
	return err ? err : found == ino ? 0 : -ENOENT;
}

Test(truncate, many_extents_leave_an_intent)
{
	struct vfs_file *f;
	uint64_t ino = file_of_many_extents(&f);

	fx_set_size(&fx, f, 4096);
	cr_assert_eq(fx_stat(&fx, "tree", "data_blocks"), 1);
	cr_assert_eq(intent_of(ino), -ENOENT);
	f = reopen(f, false);
	fx_expect(&fx, f, 0, 4096, 0);
	fx_close(&fx, f);
}

static int first_transaction(struct tfs_trans *t, struct tfs_inode *i, uint64_t size)
{
	int err = truncate_prefault(t, i, size);

	return err ? err : truncate_apply(t, i, size);
}

/* The power goes behind the first transaction: the next mount makes the others. */
Test(truncate, an_intent_is_finished_at_the_next_mount)
{
	struct vfs_file *f;
	uint64_t ino = file_of_many_extents(&f);
	int err;

	err = TRANS_WRITE(t, fx.fs, truncate_credits(fx.fs), first_transaction(t, f->inode, 4096));
	FX_OK(err);
	cr_assert_eq(intent_of(ino), 0);
	fx_close(&fx, f);
	FX_OK(journal_commit_all(fx.fs));
	fx_crash_remount(&fx);
	cr_assert_eq(fx_stat(&fx, "tree", "data_blocks"), 1);
	cr_assert_eq(intent_of(ino), -ENOENT);
	f = fx_open(&fx, "a");
	cr_assert_eq(fx_size_of(&fx, f), 4096);
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

/* Each section is a transaction of its own, and the power goes behind any of them: the file has its
 * old size and content or the new, never a block with a zeroed tail in its middle. */
Test(truncate, commits_with_the_copy_of_its_last_block)
{
	struct vfs_file *f;
	uint64_t size;

	fx_file(&fx, "a", &f);
	fx_write(&fx, f, 0, 100000, 1);
	FX_OK(vfs_fsync(fx.fs, f, false));
	fx.fs->journal->max_tx = BASE_BYTES;
	fx_set_size(&fx, f, 50001);
	f = reopen(f, true);
	size = fx_size_of(&fx, f);
	cr_assert(size == 50001 || size == 100000);
	fx_expect(&fx, f, 0, size, 1);
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

/* All the space that there is for users, in the file "fill". */
static void fill_up(void)
{
	static char junk[65536];
	struct vfs_file *f;
	uint64_t pos = 0, before;

	fx_file(&fx, "fill", &f);
	memset(junk, 0x5a, sizeof(junk));
	do {
		before = pos;
		for (size_t chunk = sizeof(junk); chunk >= fx.fs->geom.block_size;) {
			int64_t n = vfs_pwrite(fx.fs, f, junk, chunk, pos);

			if (n == -ENOSPC)
				chunk /= 2;
			else
				pos += (uint64_t)n;
		}
		/* what is written needs less than what has been reserved */
		FX_OK(vfs_fsync(fx.fs, f, false));
	} while (pos > before);
	fx_close(&fx, f);
}

Test(truncate, needs_no_space)
{
	struct vfs_file *a, *b, *in, *fresh;

	fx_file(&fx, "a", &a);
	fx_file(&fx, "b", &b);
	fx_file(&fx, "inline", &in);
	fx_file(&fx, "fresh", &fresh);
	fx_write(&fx, a, 0, 100000, 1);
	FX_IS(vfs_copy_file_range(fx.fs, a, 0, b, 0, 100000, 0), 100000);
	fx_write(&fx, in, 0, 400, 2);
	FX_OK(vfs_fsync(fx.fs, in, false));
	fx_write(&fx, fresh, 0, 400, 3);
	fill_up();
	FX_IS(vfs_pwrite(fx.fs, b, "x", 1, 0), -ENOSPC);
	/* each takes a new block for its end, and none goes free */
	for (uint64_t size = 99999; size > 50000; size -= 5000)
		fx_set_size(&fx, b, size);
	fx_set_size(&fx, in, 399);
	fx_set_size(&fx, fresh, 399);
	/* so do the edges of a hole */
	FX_OK(vfs_fallocate(fx.fs, b, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 10000, 10000));
	fx_expect_zero(&fx, b, 10000, 10000);
	fx_expect(&fx, b, 20000, 34999, 1);
	fx_expect(&fx, a, 0, 100000, 1);
	fx_expect(&fx, b, 0, 10000, 1);
	fx_close(&fx, b);
	fx_close(&fx, fresh);
	fx_close(&fx, in);
	a = reopen(a, true);
	fx_expect(&fx, a, 0, 100000, 1);
	b = fx_open(&fx, "b");
	in = fx_open(&fx, "inline");
	FX_IS(fx_size_of(&fx, in), 399);
	fx_expect(&fx, in, 0, 399, 2);
	/* and what was hidden for overwriting is there still */
	fx_write(&fx, a, 60000, 40000, 4);
	FX_OK(vfs_fsync(fx.fs, a, false));
	fx_close(&fx, a);
	fx_close(&fx, b);
	fx_close(&fx, in);
}

/*
 * Memory runs out somewhere in a truncation of dirty or clean data: the file has the old size or
 * the new one, and never old bytes behind it.
 */
static void without_memory(bool dirty)
{
	struct vfs_attr a = { .size = 50001 }, got;
	bool failed = true;
	struct vfs_file *f;
	int err;

	fx_file(&fx, "a", &f);
	for (uint64_t n = 1; failed; n++) {
		fx_write(&fx, f, 0, 100000, n);
		if (!dirty)
			FX_OK(vfs_fsync(fx.fs, f, false));
		if (!dirty && n % 2)
			FX_OK(invalidate_inode_pages_range(&f->inode->mapping, 0, UINT64_MAX));
		tl_alloc_fail_nth(n);
		err = vfs_setattr(fx.fs, f->inode->ino, VFS_SET_SIZE, &a, &fx_root, &got);
		failed = tl_alloc_count() >= n;
		tl_alloc_fail_nth(0);
		FX_CHECK(!err || err == -ENOMEM);
		if (tfs_writable(fx.fs)) { /* a commit could not be made */
			f = reopen(f, true);
			continue;
		}
		fx_expect(&fx, f, 0, fx_size_of(&fx, f), n);
		fx_check_live(&fx);
		if (err && fx_size_of(&fx, f) == 100000)
			continue;
		FX_IS(fx_size_of(&fx, f), 50001);
		fx_set_size(&fx, f, 100000);
		fx_expect(&fx, f, 0, 50001, n);
		fx_expect_zero(&fx, f, 50001, 49999);
		vfs_fsync(fx.fs, f, false); /* hears of writeback that has failed; once */
	}
	f = reopen(f, false);
	fx_expect_zero(&fx, f, 50001, 49999);
	cr_assert_eq(fx_stat(&fx, "space", "reserved"), 0);
	fx_close(&fx, f);
}

Test(truncate, of_dirty_data_without_memory)
{
	without_memory(true);
}

Test(truncate, of_clean_data_without_memory)
{
	without_memory(false);
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

/* What was preallocated behind the end goes when the file is cut where it ends, now or after a
 * remount. */
Test(truncate, to_the_same_size_frees_what_is_behind)
{
	struct vfs_file *f;
	uint64_t mid;

	fx_file(&fx, "a", &f);
	FX_OK(vfs_fallocate(fx.fs, f, FALLOC_FL_KEEP_SIZE, 0, 1 << 20));
	fx_write(&fx, f, 0, 100001, 1);
	fx_set_size(&fx, f, 100001); /* dirty still: these blocks stay */
	fx_expect(&fx, f, 0, 100001, 1);
	FX_OK(vfs_fsync(fx.fs, f, false));
	cr_assert_eq(fx_stat(&fx, "tree", "data_blocks"), 25);
	FX_OK(vfs_fallocate(fx.fs, f, FALLOC_FL_KEEP_SIZE, 200000, 1 << 20));
	f = reopen(f, false);
	mid = fx_stat(&fx, "tree", "data_blocks");
	cr_assert_gt(mid, 25);
	fx_set_size(&fx, f, 100001);
	cr_assert_eq(fx_stat(&fx, "tree", "data_blocks"), 25);
	FX_OK(vfs_sync(fx.fs));
	f = reopen(f, true);
	cr_assert_eq(fx_stat(&fx, "tree", "data_blocks"), 25);
	fx_expect(&fx, f, 0, 100001, 1);
	/* an empty file likewise */
	fx_set_size(&fx, f, 0);
	FX_OK(vfs_fallocate(fx.fs, f, FALLOC_FL_KEEP_SIZE, 0, 1 << 20));
	fx_set_size(&fx, f, 0);
	cr_assert_eq(fx_stat(&fx, "tree", "data_blocks"), 0);
	fx_close(&fx, f);
}
