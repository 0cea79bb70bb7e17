/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bitmaps against what the trees refer to; shared extents against their counts; the superblock's
 * counters. */
#include "core/lib/util.h"
#include "fs/disk/block_bitmap.h"
#include "fs/disk/geom.h"
#include "fs/disk/group.h"
#include "fs/state/fs.h"
#include "fsck/check_priv.h"
#include "tallyfs/format.h"

/* One end of a reference to a run of shared blocks. */
struct edge {
	uint64_t block;
	int delta;
};

static int by_block(const void *a, const void *b)
{
	const struct edge *x = a, *y = b;

	return x->block < y->block ? -1 : x->block > y->block;
}

static int extent_by_start(const void *a, const void *b)
{
	const struct check_extent *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

/* Count the tree of references gives for @block: 1 where it is silent. */
static uint64_t refs_at(const struct check *c, uint64_t block, uint64_t *until)
{
	const struct check_extent *r = c->refs.v;
	size_t lo = 0, hi = c->refs.nr;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (r[mid].start + r[mid].len <= block)
			lo = mid + 1;
		else
			hi = mid;
	}
	*until = lo < c->refs.nr ? r[lo].start : UINT64_MAX;
	if (lo == c->refs.nr || r[lo].start > block)
		return 1;
	*until = r[lo].start + r[lo].len;
	return r[lo].fblock;
}

static void shared_run(struct check *c, uint64_t from, uint64_t to, uint64_t count)
{
	while (from < to) {
		uint64_t until, want = refs_at(c, from, &until), end = until < to ? until : to;

		if (want != count && !c->tree_incomplete)
			check_report(c, CHECK_ERROR, "refcount", 0, from,
				     "blocks %llu to %llu: %llu references, the count says %llu",
				     (unsigned long long)from, (unsigned long long)end - 1,
				     (unsigned long long)count, (unsigned long long)want);
		from = end;
	}
}

/* Blocks [from, to) are in no shared extent: nothing may be counted there. */
static void unshared_run(struct check *c, uint64_t from, uint64_t to)
{
	while (from < to) {
		uint64_t until, count = refs_at(c, from, &until);

		if (count != 1 && !c->tree_incomplete)
			check_report(c, CHECK_ERROR, "refcount", 0, from,
				     "a count of %llu for blocks from %llu on, which nobody shares",
				     (unsigned long long)count, (unsigned long long)from);
		from = until;
	}
}

static void check_counts(struct check *c)
{
	const struct check_extent *r = c->refs.v;

	if (c->refs.nr)
		qsort(c->refs.v, c->refs.nr, sizeof(*r), extent_by_start);
	for (size_t i = 0; i < c->refs.nr && check_step(c, "space", i, c->refs.nr); i++)
		if (r[i].fblock < 2 || (i && r[i - 1].start + r[i - 1].len > r[i].start))
			check_report(c, CHECK_ERROR, "refcount", 0, r[i].start,
				     "the count of %llu for %u blocks from %llu on makes no sense",
				     (unsigned long long)r[i].fblock, r[i].len,
				     (unsigned long long)r[i].start);
}

/* Both ends of every shared extent, by block. */
static void collect_edges(struct check *c, struct check_vec *edges)
{
	const struct check_extent *x = c->extents.v;

	for (size_t i = 0; i < c->extents.nr && !c->err; i++) {
		if (!(x[i].flags & TFS_EXTENT_SHARED))
			continue;
		c->shared_extents++;
		for (int end = 0; end < 2; end++) {
			struct edge *e = check_vec_add(c, edges, sizeof(*e));

			if (e)
				*e = (struct edge){ x[i].start + (end ? x[i].len : 0),
						    end ? -1 : 1 };
		}
	}
	if (edges->nr)
		qsort(edges->v, edges->nr, sizeof(struct edge), by_block);
}

/* Sweep over all shared extents by block; every stretch with n references must be counted as n. */
static void check_shared(struct check *c)
{
	struct check_vec edges = { 0 };
	const struct edge *e;
	uint64_t from = 0;
	long count = 0;

	check_counts(c);
	collect_edges(c, &edges);
	e = edges.v;
	for (size_t i = 0; i < edges.nr && check_step(c, "space", i, edges.nr); i++) {
		if (e[i].block > from && count) {
			shared_run(c, from, e[i].block, (uint64_t)count);
			check_mark(c, from, e[i].block - from, "a shared extent", 0);
			c->data_blocks += e[i].block - from;
		} else if (e[i].block > from) {
			unshared_run(c, from, e[i].block);
		}
		from = e[i].block;
		count += e[i].delta;
	}
	if (!c->err)
		unshared_run(c, from, UINT64_MAX);
	if (c->shared_extents && !c->fs->roots[TFS_TREE_REFS].addr)
		check_report(c, CHECK_ERROR, "refs-missing", 0, UINT64_MAX,
			     "%llu extents are shared, but there is no tree of their counts",
			     (unsigned long long)c->shared_extents);
	tl_free(edges.v);
}

static void compare_group(struct check *c, uint64_t group, uint64_t *free, uint64_t *free_slots)
{
	const struct tfs_geom *g = &c->fs->geom;
	uint64_t first = tfs_group_start(g, group), missing = 0, leaked = 0, at = 0, leak_at = 0;

	for (uint32_t i = 0; i < tfs_group_nr_blocks(g, group); i++) {
		bool used = c->used[group] && c->used[group][i / 8] & (1u << i % 8);
		bool disk = !c->disk[group] || c->disk[group][i / 8] & (1u << i % 8);

		*free += !disk;
		if (used && !disk) {
			if (!missing++)
				at = first + i;
		} else if (!used && disk && c->disk[group]) {
			if (!leaked++)
				leak_at = first + i;
		}
	}
	if (c->disk[group])
		*free_slots += block_bitmap_count_slots(
			c->disk[group], 0, tfs_group_nr_blocks(g, group), g->node_blocks);
	if (missing)
		check_report(c, CHECK_ERROR, "bitmap-missing", 0, at,
			     "group %llu: %llu blocks in use are marked free, the first is %llu",
			     (unsigned long long)group, (unsigned long long)missing,
			     (unsigned long long)at);
	if (leaked && !c->tree_incomplete)
		check_report(
			c, CHECK_LEAK, "bitmap-leak", 0, leak_at,
			"group %llu: %llu blocks marked used belong to nothing, the first is %llu",
			(unsigned long long)group, (unsigned long long)leaked,
			(unsigned long long)leak_at);
}

static void counter(struct check *c, const char *name, uint64_t says, uint64_t counted)
{
	if (says != counted)
		check_report(c, CHECK_LEAK, "counter", 0, UINT64_MAX,
			     "superblock: %s is %llu, counted %llu", name, (unsigned long long)says,
			     (unsigned long long)counted);
}

void check_space(struct check *c)
{
	const struct tfs_counters *n = &c->fs->cnt;
	const struct tfs_geom *g = &c->fs->geom;
	uint32_t blocks, slots;
	uint64_t free = 0, free_slots = 0;

	check_shared(c);
	for (uint64_t i = 0; i < g->nr_groups && check_step(c, "space", i, g->nr_groups); i++) {
		if (i < n->groups_init) {
			compare_group(c, i, &free, &free_slots);
			continue;
		}
		if (c->used[i])
			check_report(c, CHECK_ERROR, "group-uninit", 0, tfs_group_start(g, i),
				     "group %llu is used but was never initialised",
				     (unsigned long long)i);
		group_fresh_counts(g, i, &blocks, &slots);
		free += blocks;
		free_slots += slots;
	}
	if (c->err)
		return;
	c->res->extents = c->extent_items;
	c->res->data_blocks = c->data_blocks;
	if (!c->bitmap_incomplete) {
		counter(c, "free blocks", n->free_blocks, free);
		counter(c, "places for tree nodes", n->free_slots, free_slots);
	}
	if (c->tree_incomplete)
		return;
	counter(c, "data blocks", n->data_blocks, c->data_blocks);
	counter(c, "tree blocks", n->node_blocks, c->node_blocks);
	counter(c, "extents", n->nr_extents, c->extent_items);
	counter(c, "shared extents", n->shared_extents, c->shared_extents);
	counter(c, "inodes", n->nr_inodes, c->res->inodes);
	if (n->next_ino < TFS_INO_FIRST || n->next_ino > INT64_MAX)
		check_report(c, CHECK_ERROR, "next-ino", 0, UINT64_MAX,
			     "inode %llu is to be given out next, which is no number for an inode",
			     (unsigned long long)n->next_ino);
	else if (n->next_ino <= c->max_ino && c->max_ino >= TFS_INO_FIRST)
		check_report(c, CHECK_ERROR, "next-ino", c->max_ino, UINT64_MAX,
			     "inode %llu exists, but %llu is to be given out next",
			     (unsigned long long)c->max_ino, (unsigned long long)n->next_ino);
}
