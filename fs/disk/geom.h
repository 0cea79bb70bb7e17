/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Geometry: where the fixed structures of a file system lie. */
#ifndef FS_DISK_GEOM_H
#define FS_DISK_GEOM_H

#include <stdbool.h>

#include "tallyfs/format.h"

struct tfs_geom {
	uint32_t block_size, node_size;
	unsigned int blkbits;
	uint32_t node_blocks; /* blocks per tree node */
	uint32_t blocks_per_group;
	uint32_t group_hdr_blocks; /* of a group header, a superblock */
	uint32_t tuples_per_block;
	uint64_t total_blocks, nr_groups;
	uint64_t super_block;	  /* block of the superblock */
	uint64_t super_copies[2]; /* blocks of the copies, 0: none */
	uint64_t journal_start, journal_blocks;
	uint32_t inline_max;
};
static inline uint64_t tfs_group_of(const struct tfs_geom *g, uint64_t block)
{
	return block / g->blocks_per_group;
}
static inline uint64_t tfs_group_start(const struct tfs_geom *g, uint64_t group)
{
	return group * g->blocks_per_group;
}

/* Bytes: two of the largest ordinary operations, so that one can start while the other is
 * committed. */
uint64_t tfs_geom_min_journal(const struct tfs_geom *g);
int tfs_super_geom(const struct tfs_super *super,
		   struct tfs_geom *geom); /* -EUCLEAN if it makes no sense */

/* Blocks in @group (the last may be short). */
uint32_t tfs_group_nr_blocks(const struct tfs_geom *g, uint64_t group);

/* Where a group's own structures are (absolute block numbers). */
uint64_t tfs_group_header_block(const struct tfs_geom *g, uint64_t group);
uint64_t tfs_group_bitmap_block(const struct tfs_geom *g, uint64_t group);
uint64_t tfs_group_tuple_block(const struct tfs_geom *g, uint64_t group, unsigned int i);
uint32_t tfs_group_nr_tuple_blocks(const struct tfs_geom *g, uint64_t group);

/* First block behind the fixed structures at the group's front. */
uint64_t tfs_group_first_free(const struct tfs_geom *g, uint64_t group);

/* The tuple block of @block and its slot in it. */
uint64_t tfs_tuple_block_of(const struct tfs_geom *g, uint64_t block, unsigned int *slot);

/*
 * tfs_super_geom without the journal: enough to plan where that goes.  -EUCLEAN
 * if the sizes make no sense or the last group has no room for itself.
 */
int tfs_geom_layout(const struct tfs_super *super, struct tfs_geom *g);

/*
 * Does [start, start + n) (absolute blocks) touch anything that is never
 * allocated: reserved area, superblock and copies, group structures, the journal, or what lies
 * outside of the device?  n > 0.
 */
bool tfs_geom_fixed(const struct tfs_geom *g, uint64_t start, uint64_t n);

#endif
