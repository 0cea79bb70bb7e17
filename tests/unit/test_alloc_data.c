/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fs/alloc/alloc_data.c, space.c: slots on a device that is full and in pieces: data leaves the
 * trees as many as they may come to need.
 */
#include <criterion/criterion.h>
#include <errno.h>

#include "fs/alloc/alloc_data.h"
#include "fs/alloc/alloc_int.h"
#include "fs/alloc/space.h"
#include "fs/disk/block_bitmap.h"
#include "fs/disk/geom.h"
#include "fs/journal/journal.h"
#include "fs/state/fs.h"
#include "tests/lib/fixture_bare.h"
#include "tests/lib/random.h"

#define IMAGE (8ull << 20)
#define MAX_BLOCKS 2048u

static struct tfs_fs *fs;
static uint64_t data[MAX_BLOCKS]; /* each block of data there is */
static unsigned int nr_data;
static uint64_t rng;

static void setup(void)
{
	struct tfs_format_opts o = fx_bare_opts();

	fs = fx_fs_create(IMAGE, &o);
	cr_assert_leq(fs->geom.total_blocks, MAX_BLOCKS);
	rng = test_seed(1);
}

static void teardown(void)
{
	fx_fs_destroy(fs);
}

TestSuite(alloc_data, .init = setup, .fini = teardown, .timeout = 900);

static uint64_t slots(void)
{
	uint64_t n;

	pthread_mutex_lock(&fs->alloc->lock);
	n = alloc_total_slots(fs->alloc);
	pthread_mutex_unlock(&fs->alloc->lock);
	return n;
}

static uint64_t trees_slots(void)
{
	uint64_t n;

	pthread_mutex_lock(&fs->alloc->lock);
	n = space_slot_reserve(fs);
	pthread_mutex_unlock(&fs->alloc->lock);
	return n;
}

/* Of @n blocks that are reserved, from @goal on or anywhere, as many as come in a row. */
static uint64_t take(uint64_t goal, uint64_t n)
{
	struct fx_data_change c = { 0 };
	uint64_t before = slots();

	cr_assert_eq(alloc_data(fs, goal, n, &c.add, &c.add_n), 0, "reserved blocks are there");
	if (slots() < before)
		cr_assert_geq(slots(), trees_slots(), "%lu blocks of %lu, slots before: %lu",
			      (unsigned long)c.add_n, (unsigned long)n, (unsigned long)before);
	cr_assert_eq(fx_in_write(fs, fx_change_data, &c), 0);
	for (uint64_t k = 0; k < c.add_n; k++)
		data[nr_data++] = c.add + k;
	return c.add_n;
}

/* False: there is no room. */
static bool add(uint64_t n)
{
	int err = space_reserve(fs, n, SPACE_NEW);

	if (err) {
		cr_assert_eq(err, -ENOSPC);
		return false;
	}
	while (n)
		n -= take(0, n);
	return true;
}

static void fill(void)
{
	for (uint64_t n = 32; n; n /= 2)
		while (add(n))
			;
}

static void drop(unsigned int i)
{
	struct fx_data_change c = { .del = data[i], .del_n = 1 };

	cr_assert_eq(fx_in_write(fs, fx_change_data, &c), 0);
	data[i] = data[--nr_data];
}

/* Single blocks go free all over the device, and data takes what there is, again and again. */
Test(alloc_data, the_trees_slots_are_left_alone)
{
	fill();
	for (unsigned int round = 0; round < 150; round++) {
		for (unsigned int k = 1 + test_rand(&rng) % 100; k; k--)
			drop((unsigned int)(test_rand(&rng) % nr_data));
		cr_assert_eq(journal_commit_all(fs), 0);
		while (add(1 + test_rand(&rng) % 40))
			;
	}
}

/* Is the slot at block @at free, all of it? */
static bool free_slot(uint64_t at)
{
	uint64_t group = tfs_group_of(&fs->geom, at);
	uint32_t bit = (uint32_t)(at - tfs_group_start(&fs->geom, group)),
		 end = bit + fs->geom.node_blocks;
	const void *map = fs->alloc->groups[group].map;

	return map && block_bitmap_next_set(map, bit, end) == end;
}

/* Take a block of each free slot, until the trees have but @spare more than their own. */
static void break_slots(uint64_t spare, enum space_use use)
{
	uint32_t nb = fs->geom.node_blocks;

	for (uint64_t at = 0; slots() > trees_slots() + spare; at += nb) {
		cr_assert_lt(at, fs->geom.total_blocks);
		if (!free_slot(at))
			continue;
		cr_assert_eq(space_reserve(fs, 1, use), 0);
		take(at, 1);
	}
}

/* Blocks enough, but in pieces too small for a node: nothing is begun that might need nodes. */
Test(alloc_data, names_ask_for_slots)
{
	uint32_t nb = fs->geom.node_blocks;

	fill();
	/* of each slot that data lies in, one block */
	for (unsigned int i = nr_data; i--;)
		if (data[i] % nb == 0)
			drop(i);
	cr_assert_eq(journal_commit_all(fs), 0);
	cr_assert_eq(space_check_meta(fs, SPACE_NEW), 0);
	/* and now of each that is left, as long as data may */
	break_slots(2, SPACE_NEW);
	cr_assert_eq(space_reserve(fs, 100, SPACE_NEW), 0, "blocks there are");
	space_unreserve(fs, 100);
	cr_assert_eq(space_check_meta(fs, SPACE_NEW), -ENOSPC);
	cr_assert_eq(space_check_meta(fs, SPACE_TRUNCATE), 0);
}

/* The block behind which most are free in a row, @n of them, the first one not of its slot. */
static uint64_t longest_run(uint64_t *n)
{
	uint32_t nb = fs->geom.node_blocks;
	uint64_t at, end, best = 0;

	*n = 0;
	for (at = 0; at < fs->geom.total_blocks; at = end + nb) {
		for (end = at; end < fs->geom.total_blocks && free_slot(end); end += nb)
			;
		if (end > at && end - at - 1 > *n) {
			best = at + 1;
			*n = end - best;
		}
	}
	return best;
}

/* A run that begins and ends within slots breaks more of them than it is long. */
Test(alloc_data, a_run_leaves_the_trees_slots_alone)
{
	uint64_t spare, most, n = 40, at;

	fill();
	break_slots(5, SPACE_OVERWRITE);
	cr_assert_eq(space_reserve(fs, n, SPACE_OVERWRITE), 0);
	at = longest_run(&most);
	spare = slots() - trees_slots();
	cr_assert(spare && most > spare * fs->geom.node_blocks && n > spare * fs->geom.node_blocks,
		  "%lu slots to spare, %lu blocks in a row", (unsigned long)spare,
		  (unsigned long)most);
	n -= take(at, n);
	space_unreserve(fs, n);
}

/* Nobody has reserved what is taken here: before the trees' slots it ends. */
Test(alloc_data, the_last_slots_are_not_to_be_had)
{
	uint64_t start, got;
	int err;

	fill();
	do {
		err = alloc_data(fs, 0, 1, &start, &got);
	} while (!err);
	cr_assert_eq(err, -ENOSPC);
	cr_assert_geq(slots() + 1, trees_slots());
}
