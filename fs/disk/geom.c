/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where things are: geometry from the superblock, and the places inside a group. */
#include <errno.h>
#include "core/lib/util.h"
#include "fs/disk/geom.h"
#include "tallyfs/format.h"

#define MAX_BLOCKS (1ull << 48) /* a tuple's reference tag has 48 bits */

static bool size_ok(uint32_t x, uint32_t min, uint32_t max)
{
	return is_pow2(x) && x >= min && x <= max;
}

/* The sizes everything else is computed from. */
static int geom_sizes(const struct tfs_super *s, struct tfs_geom *g)
{
	g->block_size = le32_get(s->block_size);
	g->node_size = le32_get(s->node_size);
	g->blocks_per_group = le32_get(s->blocks_per_group);
	if (!size_ok(g->block_size, TFS_MIN_BLOCK, TFS_MAX_BLOCK) ||
	    !size_ok(g->node_size, max_t(uint32_t, TFS_MIN_NODE, g->block_size), TFS_MAX_NODE))
		return -EUCLEAN;
	g->blkbits = ilog2_u64(g->block_size);
	g->node_blocks = g->node_size / g->block_size;
	g->tuples_per_block = g->block_size / TFS_TUPLE_BYTES;
	g->group_hdr_blocks = (uint32_t)div_up(TFS_GROUP_BYTES, g->block_size);
	g->super_block = TFS_SUPER_OFFSET / g->block_size;
	if (!g->blocks_per_group || g->blocks_per_group % 64 ||
	    g->blocks_per_group % g->node_blocks || g->blocks_per_group > 8 * g->block_size)
		return -EUCLEAN;
	g->inline_max = le32_get(s->inline_max);
	if (g->inline_max > g->block_size || g->inline_max > TFS_MAX_ITEM(g->node_size))
		return -EUCLEAN;
	return 0;
}

static int geom_groups(const struct tfs_super *s, struct tfs_geom *g)
{
	uint64_t last;

	g->total_blocks = le64_get(s->total_blocks);
	g->nr_groups = le64_get(s->nr_groups);
	if (!g->total_blocks || g->total_blocks > MAX_BLOCKS ||
	    g->total_blocks > (uint64_t)INT64_MAX >> g->blkbits ||
	    g->nr_groups != div_up(g->total_blocks, g->blocks_per_group))
		return -EUCLEAN;
	last = g->nr_groups - 1;
	g->super_copies[0] =
		tfs_group_start(g, 0) + tfs_group_nr_blocks(g, 0) - g->group_hdr_blocks;
	g->super_copies[1] = last ? g->total_blocks - g->group_hdr_blocks : 0;
	/* each group has room for its own structures, a copy, and a node */
	if (tfs_group_first_free(g, 0) + g->group_hdr_blocks + 2 * g->node_blocks >
		    tfs_group_nr_blocks(g, 0) ||
	    tfs_group_first_free(g, last) + g->group_hdr_blocks + 2 * g->node_blocks >
		    g->total_blocks)
		return -EUCLEAN;
	return 0;
}

uint64_t tfs_geom_min_journal(const struct tfs_geom *g)
{
	return 2 * (16ull * g->node_size + 16ull * g->block_size + 8 * 4096ull) + 8 * TFS_LOG_BLOCK;
}

static int geom_journal(const struct tfs_super *s, struct tfs_geom *g)
{
	uint64_t start = le64_get(s->journal_start), n = le64_get(s->journal_blocks), group;

	if (start >= g->total_blocks || !n || n > g->blocks_per_group)
		return -EUCLEAN;
	if (n * g->block_size < tfs_geom_min_journal(g) || n * g->block_size > TFS_MAX_JOURNAL)
		return -EUCLEAN;
	group = tfs_group_of(g, start);
	if (tfs_group_of(g, start + n - 1) != group || start < tfs_group_first_free(g, group) ||
	    tfs_geom_fixed(g, start, n))
		return -EUCLEAN;
	g->journal_start = start;
	g->journal_blocks = n;
	return 0;
}

int tfs_geom_layout(const struct tfs_super *super, struct tfs_geom *g)
{
	int err;

	*g = (struct tfs_geom){ 0 };
	err = geom_sizes(super, g);
	return err ? err : geom_groups(super, g);
}

int tfs_super_geom(const struct tfs_super *super, struct tfs_geom *geom)
{
	struct tfs_geom g;
	int err;

	err = tfs_geom_layout(super, &g);
	if (!err)
		err = geom_journal(super, &g);
	if (!err && (!le64_get(super->groups_init) || le64_get(super->groups_init) > g.nr_groups))
		err = -EUCLEAN;
	if (!err)
		*geom = g;
	return err;
}

uint32_t tfs_group_nr_blocks(const struct tfs_geom *g, uint64_t group)
{
	uint64_t start = tfs_group_start(g, group);

	if (start >= g->total_blocks)
		return 0;
	return (uint32_t)min_t(uint64_t, g->blocks_per_group, g->total_blocks - start);
}

uint64_t tfs_group_header_block(const struct tfs_geom *g, uint64_t group)
{
	if (!group)
		return g->super_block + g->group_hdr_blocks;
	return tfs_group_start(g, group);
}

uint64_t tfs_group_bitmap_block(const struct tfs_geom *g, uint64_t group)
{
	return tfs_group_header_block(g, group) + g->group_hdr_blocks;
}

uint64_t tfs_group_tuple_block(const struct tfs_geom *g, uint64_t group, unsigned int i)
{
	return tfs_group_bitmap_block(g, group) + 1 + i;
}

uint32_t tfs_group_nr_tuple_blocks(const struct tfs_geom *g, uint64_t group)
{
	return (uint32_t)div_up(tfs_group_nr_blocks(g, group), g->tuples_per_block);
}

uint64_t tfs_group_first_free(const struct tfs_geom *g, uint64_t group)
{
	return tfs_group_tuple_block(g, group, tfs_group_nr_tuple_blocks(g, group));
}

uint64_t tfs_tuple_block_of(const struct tfs_geom *g, uint64_t block, unsigned int *slot)
{
	uint64_t group = tfs_group_of(g, block);
	uint64_t off = block - tfs_group_start(g, group);

	*slot = (unsigned int)(off % g->tuples_per_block);
	return tfs_group_tuple_block(g, group, (unsigned int)(off / g->tuples_per_block));
}

static bool overlaps(uint64_t a, uint64_t na, uint64_t b, uint64_t nb)
{
	return a < b + nb && b < a + na;
}

bool tfs_geom_fixed(const struct tfs_geom *g, uint64_t start, uint64_t n)
{
	uint64_t group, last, first;
	int i;

	if (start >= g->total_blocks || n > g->total_blocks - start)
		return true;
	last = tfs_group_of(g, start + n - 1);
	for (group = tfs_group_of(g, start); group <= last; group++) {
		first = tfs_group_start(g, group);
		if (overlaps(start, n, first, tfs_group_first_free(g, group) - first))
			return true;
	}
	for (i = 0; i < 2; i++)
		if (g->super_copies[i] &&
		    overlaps(start, n, g->super_copies[i], g->group_hdr_blocks))
			return true;
	return g->journal_blocks && overlaps(start, n, g->journal_start, g->journal_blocks);
}
