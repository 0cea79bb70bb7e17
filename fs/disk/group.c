/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Groups on disk: fresh ones, and the checks of a loaded header. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "core/block/guard.h"
#include "core/lib/util.h"
#include "fs/disk/block_bitmap.h"
#include "fs/disk/geom.h"
#include "fs/disk/group.h"
#include "tallyfs/format.h"

uint64_t group_guard(enum tfs_guard guard, uint64_t seed, const void *data, size_t len)
{
	return guard == TFS_GUARD_CRC32 ? guard_crc32(data, len, seed)
					: guard_xxh3(data, len, seed);
}

uint64_t group_csum(const struct tfs_group *h, uint64_t seed)
{
	struct tfs_group copy = *h;

	copy.csum = le64_of(0);
	return guard_xxh3(&copy, sizeof(copy), seed);
}

/* Mark the part of [start, start + n) that lies in @group. */
static void mark(const struct tfs_geom *g, uint64_t group, void *bitmap, uint64_t start, uint64_t n)
{
	uint64_t first = tfs_group_start(g, group), end = first + tfs_group_nr_blocks(g, group);
	uint64_t from = max_t(uint64_t, start, first), to = min_t(uint64_t, start + n, end);

	if (from < to)
		block_bitmap_set(bitmap, (uint32_t)(from - first), (uint32_t)(to - first));
}

void group_fresh_bitmap(const struct tfs_geom *g, uint64_t group, void *bitmap)
{
	uint64_t first = tfs_group_start(g, group);
	int i;

	memset(bitmap, 0, g->block_size);
	block_bitmap_set(bitmap, tfs_group_nr_blocks(g, group), 8 * g->block_size);
	mark(g, group, bitmap, first, tfs_group_first_free(g, group) - first);
	for (i = 0; i < 2; i++)
		if (g->super_copies[i])
			mark(g, group, bitmap, g->super_copies[i], g->group_hdr_blocks);
	mark(g, group, bitmap, g->journal_start, g->journal_blocks);
}

void group_fresh_counts(const struct tfs_geom *g, uint64_t group, uint32_t *blocks, uint32_t *slots)
{
	uint64_t map[TFS_MAX_BLOCK / 8];
	uint32_t nr = tfs_group_nr_blocks(g, group);

	group_fresh_bitmap(g, group, map);
	*blocks = block_bitmap_count_clear(map, 0, nr);
	*slots = block_bitmap_count_slots(map, 0, nr, g->node_blocks);
}

static void set_region(struct tfs_group *h, unsigned int *n, unsigned int type, uint64_t start,
		       uint64_t length)
{
	struct tfs_region *r = &h->regions[(*n)++];

	r->type = le32_of(type);
	r->start = le32_of((uint32_t)start);
	r->length = le32_of((uint32_t)length);
}

void group_fresh_header(const struct tfs_geom *g, uint64_t seed, uint64_t group,
			struct tfs_group *h)
{
	uint64_t first = tfs_group_start(g, group);
	uint32_t blocks, slots;
	unsigned int n = 0;
	int i;

	group_fresh_counts(g, group, &blocks, &slots);
	memset(h, 0, sizeof(*h));
	h->magic = le32_of(TFS_GROUP_MAGIC);
	h->version = le32_of(TFS_VERSION);
	h->addr = le64_of(tfs_group_header_block(g, group));
	h->index = le64_of(group);
	h->nr_blocks = le32_of(tfs_group_nr_blocks(g, group));
	h->nr_tuple_blocks = le32_of(tfs_group_nr_tuple_blocks(g, group));
	h->free_blocks = le32_of(blocks);
	h->free_slots = le32_of(slots);
	set_region(h, &n, TFS_REGION_TUPLES, tfs_group_tuple_block(g, group, 0) - first,
		   tfs_group_nr_tuple_blocks(g, group));
	if (g->journal_blocks && tfs_group_of(g, g->journal_start) == group)
		set_region(h, &n, TFS_REGION_JOURNAL, g->journal_start - first, g->journal_blocks);
	for (i = 0; i < 2; i++)
		if (g->super_copies[i] && tfs_group_of(g, g->super_copies[i]) == group)
			set_region(h, &n, TFS_REGION_SUPER_COPY, g->super_copies[i] - first,
				   g->group_hdr_blocks);
	h->csum = le64_of(group_csum(h, seed));
}

__attribute__((format(printf, 3, 4))) static int bad(char *why, size_t why_len, const char *fmt,
						     ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, why_len, fmt, ap);
	va_end(ap);
	return -EUCLEAN;
}

static int check_regions(const struct tfs_geom *g, uint64_t group, const struct tfs_group *h,
			 char *why, size_t why_len)
{
	uint32_t nr = tfs_group_nr_blocks(g, group), type, start, len;
	uint64_t first = tfs_group_start(g, group);
	bool ok, tuples = false;
	unsigned int i;

	for (i = 0; i < TFS_NR_REGIONS; i++) {
		type = le32_get(h->regions[i].type);
		start = le32_get(h->regions[i].start);
		len = le32_get(h->regions[i].length);
		if (type == TFS_REGION_NONE)
			continue;
		if (type > TFS_REGION_SUPER_COPY) {
			bad(why, why_len, "region %u of unknown type %u", i, type);
			return -EPROTONOSUPPORT;
		}
		if (!len || start >= nr || len > nr - start)
			return bad(why, why_len, "region %u lies outside of the group", i);
		ok = true;
		if (type == TFS_REGION_TUPLES) {
			tuples = true;
			ok = first + start == tfs_group_tuple_block(g, group, 0) &&
			     len == tfs_group_nr_tuple_blocks(g, group);
		} else if (type == TFS_REGION_JOURNAL) {
			ok = first + start == g->journal_start && len == g->journal_blocks;
		} else {
			ok = first + start == g->super_copies[0] ||
			     first + start == g->super_copies[1];
		}
		if (!ok)
			return bad(why, why_len, "region %u is not where the superblock has it", i);
	}
	return tuples ? 0 : bad(why, why_len, "no region of tuples");
}

int group_check_header(const struct tfs_geom *g, uint64_t seed, uint64_t group,
		       const struct tfs_group *h, char *why, size_t why_len)
{
	uint32_t nr = tfs_group_nr_blocks(g, group);

	if (le32_get(h->magic) != TFS_GROUP_MAGIC)
		return bad(why, why_len, "no group header");
	if (le64_get(h->csum) != group_csum(h, seed))
		return bad(why, why_len, "wrong checksum");
	if (le32_get(h->version) != TFS_VERSION) {
		bad(why, why_len, "version %u is not known", le32_get(h->version));
		return -EPROTONOSUPPORT;
	}
	if (le64_get(h->addr) != tfs_group_header_block(g, group))
		return bad(why, why_len, "belongs at block %llu",
			   (unsigned long long)le64_get(h->addr));
	if (le64_get(h->index) != group)
		return bad(why, why_len, "is of group %llu",
			   (unsigned long long)le64_get(h->index));
	if (le32_get(h->nr_blocks) != nr ||
	    le32_get(h->nr_tuple_blocks) != tfs_group_nr_tuple_blocks(g, group))
		return bad(why, why_len, "has %u blocks, should have %u", le32_get(h->nr_blocks),
			   nr);
	if (le32_get(h->free_blocks) > nr || le32_get(h->free_slots) > nr / g->node_blocks)
		return bad(why, why_len, "more free blocks than blocks");
	return check_regions(g, group, h, why, why_len);
}
