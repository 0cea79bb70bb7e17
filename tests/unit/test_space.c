/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fs/alloc/space.c: reservations: what is reserved can be had, and the hidden pool serves
 * overwriting to the end.
 */
#include <criterion/criterion.h>
#include <errno.h>

#include "fs/alloc/alloc_data.h"
#include "fs/alloc/alloc_node.h"
#include "fs/alloc/space.h"
#include "fs/journal/journal.h"
#include "fs/journal/trans.h"
#include "fs/state/fs.h"
#include "fs/vfs/mkfs.h"
#include "tests/lib/fixture_bare.h"
#include "tests/lib/random.h"

#define MAX_RUNS 20000

struct filler {
	struct tfs_fs *fs;
	struct {
		uint64_t start, n;
	} run[MAX_RUNS];
	unsigned int nr;
	uint64_t blocks;
};

static int write_some(struct filler *f, uint64_t n)
{
	struct fx_data_change c = { 0 };
	uint64_t left = n;
	int err = space_reserve(f->fs, n, SPACE_NEW);

	if (err)
		return err;
	while (left) {
		cr_assert_eq(alloc_data(f->fs, 0, left, &c.add, &c.add_n), 0, "reserved");
		cr_assert_eq(fx_in_write(f->fs, fx_change_data, &c), 0);
		cr_assert_lt(f->nr, MAX_RUNS);
		f->run[f->nr].start = c.add;
		f->run[f->nr++].n = c.add_n;
		f->blocks += c.add_n;
		left -= c.add_n;
	}
	return 0;
}

static int rewrite(struct filler *f, unsigned int i)
{
	struct fx_data_change c = { .del = f->run[i].start, .del_n = f->run[i].n };
	uint64_t n = f->run[i].n;
	int err = space_reserve(f->fs, n, SPACE_OVERWRITE);

	if (err)
		return err;
	cr_assert_eq(alloc_data(f->fs, 0, n, &c.add, &c.add_n), 0, "reserved");
	if (c.add_n < n) { /* only the front part */
		space_unreserve(f->fs, n - c.add_n);
		c.del_n = c.add_n;
	}
	cr_assert_eq(fx_in_write(f->fs, fx_change_data, &c), 0);
	f->run[i].start = c.add;
	f->run[i].n = c.add_n;
	if (c.add_n < n) {
		cr_assert_lt(f->nr, MAX_RUNS);
		f->run[f->nr].start = c.del + c.add_n;
		f->run[f->nr++].n = n - c.add_n;
	}
	return 0;
}

static struct filler *fill(const struct tfs_format_opts *o, uint64_t bytes)
{
	struct filler *f = calloc(1, sizeof(*f));
	uint64_t n;

	f->fs = fx_fs_create(bytes, o);
	for (n = 32; n; n /= 2)
		while (!write_some(f, n))
			;
	return f;
}

static void drop(struct filler *f)
{
	fx_fs_destroy(f->fs);
	free(f);
}

static void check_full(const struct tfs_format_opts *o, uint64_t bytes)
{
	struct filler *f = fill(o, bytes);
	uint64_t avail, free_blocks, total, rng = test_seed(5);
	unsigned int i;

	space_statfs(f->fs, &avail, &free_blocks, &total);
	cr_assert_geq(f->blocks * 100, total * 60, "%lu of %lu blocks for users",
		      (unsigned long)f->blocks, (unsigned long)total);
	cr_assert_leq(avail, 1);
	cr_assert_gt(free_blocks, 0);
	cr_assert_eq(space_reserve(f->fs, 1, SPACE_NEW), -ENOSPC);
	/* full, but overwriting goes on for as long as one likes */
	for (i = 0; i < 1500; i++)
		cr_assert_eq(rewrite(f, (unsigned int)(test_rand(&rng) % f->nr)), 0, "overwrite %u",
			     i);
	drop(f);
}

Test(space, full_small_image)
{
	struct tfs_format_opts o = fx_bare_opts();

	check_full(&o, 8ull << 20);
}

Test(space, full_one_group)
{
	struct tfs_format_opts o = { .test_seed = 1 };

	check_full(&o, 32ull << 20);
}

Test(space, full_large_blocks)
{
	struct tfs_format_opts o = { .test_seed = 1, .block_size = 65536 };

	check_full(&o, 64ull << 20);
}

static int do_node(struct tfs_trans *t, void *arg)
{
	uint64_t block;
	int err = alloc_prefault_nodes(t, 0, 1);

	return err ? err : alloc_node(t, 0, &block);
}

Test(space, trees_find_nodes_when_data_has_taken_all)
{
	struct tfs_format_opts o = fx_bare_opts();
	struct filler *f = fill(&o, 8ull << 20);
	struct tfs_space_stats st;
	unsigned int n = 0;

	while (!fx_in_write(f->fs, do_node, NULL))
		n++;
	/* const pool of total / 32 blocks, in nodes */
	cr_assert_geq(n, 2048 / 32 / f->fs->geom.node_blocks);
	space_get_stats(f->fs, &st);
	cr_assert_gt(st.free_blocks, 0, "overwriting still has its own");
	drop(f);
}

Test(space, namespace_operations_stop_early)
{
	struct tfs_format_opts o = fx_bare_opts();
	struct filler *f = fill(&o, 8ull << 20);
	struct fx_data_change c = { 0 };
	unsigned int i;

	cr_assert_eq(space_check_meta(f->fs, SPACE_NEW), -ENOSPC);
	for (i = 0; i < 5; i++) {
		c.del = f->run[i].start;
		c.del_n = f->run[i].n;
		cr_assert_eq(fx_in_write(f->fs, fx_change_data, &c), 0);
	}
	/* the blocks are not free before the commit that the check forces */
	cr_assert_eq(space_check_meta(f->fs, SPACE_NEW), 0);
	cr_assert_eq(space_reserve(f->fs, 10, SPACE_NEW), 0);
	space_unreserve(f->fs, 10);
	drop(f);
}

/* What brings no content takes of the pool what truncation may, and leaves the rest. */
Test(space, sharing_goes_on_longer)
{
	struct tfs_format_opts o = fx_bare_opts();
	struct filler *f = fill(&o, 8ull << 20);
	uint64_t n = 0, left = 0;

	cr_assert_eq(space_check_meta(f->fs, SPACE_NEW), -ENOSPC);
	cr_assert_eq(space_check_meta(f->fs, SPACE_TRUNCATE), 0);
	while (!space_reserve(f->fs, 1, SPACE_TRUNCATE))
		n++;
	cr_assert_eq(space_check_meta(f->fs, SPACE_TRUNCATE), -ENOSPC);
	while (!space_reserve(f->fs, 1, SPACE_OVERWRITE))
		left++;
	cr_assert_geq(left, 14, "%lu left for overwriting", (unsigned long)left);
	space_unreserve(f->fs, n + left);
	drop(f);
}

Test(space, a_commit_is_tried_before_enospc)
{
	struct tfs_format_opts o = fx_bare_opts();
	struct filler *f = fill(&o, 8ull << 20);
	struct tfs_space_stats a, b;
	struct fx_data_change c = { .del = f->run[0].start, .del_n = f->run[0].n };

	cr_assert_eq(journal_commit_all(f->fs), 0);
	cr_assert_eq(fx_in_write(f->fs, fx_change_data, &c), 0);
	space_get_stats(f->fs, &a);
	cr_assert_eq(write_some(f, c.del_n / 2), 0);
	space_get_stats(f->fs, &b);
	cr_assert_eq(b.enospc_commits, a.enospc_commits + 1);
	drop(f);
}

Test(space, cancel_gives_back)
{
	struct tfs_format_opts o = fx_bare_opts();
	struct tfs_fs *fs = fx_fs_create(8ull << 20, &o);
	struct tfs_space_stats a, b;
	uint64_t start, got;

	space_get_stats(fs, &a);
	cr_assert_eq(space_reserve(fs, 20, SPACE_NEW), 0);
	cr_assert_eq(alloc_data(fs, 0, 20, &start, &got), 0);
	alloc_cancel(fs, start, got, true);
	space_get_stats(fs, &b);
	cr_assert_eq(b.reserved, 20);
	space_unreserve(fs, 20);
	space_get_stats(fs, &b);
	cr_assert_eq(b.reserved, 0);
	cr_assert_eq(b.free_blocks, a.free_blocks);
	fx_fs_destroy(fs);
}
