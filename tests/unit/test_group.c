/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fs/disk/geom.c, group.c: geometry and groups: places, fixed ranges, fresh headers and their
 * checks.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "core/lib/util.h"
#include "fs/disk/block_bitmap.h"
#include "fs/disk/geom.h"
#include "fs/disk/group.h"
#include "tallyfs/format.h"

#define SEED 0x123456789abcdefull

static struct tfs_super make_super(uint32_t bs, uint32_t ns, uint32_t bpg, uint64_t blocks)
{
	struct tfs_super s;
	struct tfs_geom g;

	memset(&s, 0, sizeof(s));
	s.block_size = le32_of(bs);
	s.node_size = le32_of(ns);
	s.blocks_per_group = le32_of(bpg);
	s.total_blocks = le64_of(blocks);
	s.nr_groups = le64_of((blocks + bpg - 1) / bpg);
	s.groups_init = le64_of(1);
	s.inline_max = le32_of(512);
	cr_assert_eq(tfs_geom_layout(&s, &g), 0);
	s.journal_start = le64_of(tfs_group_first_free(&g, 0));
	s.journal_blocks = le64_of(div_up(tfs_geom_min_journal(&g), bs));
	return s;
}

static const struct {
	uint32_t bs, ns, bpg;
	uint64_t blocks;
} shapes[] = {
	{ 4096, 16384, 256, 2048 },	  { 4096, 4096, 256, 2000 },
	{ 4096, 16384, 32768, 100000 },	  { 1024, 16384, 8192, 100000 },
	{ 1024, 4096, 8192, 8192 },	  { 65536, 65536, 524288, 1 << 14 },
	{ 16384, 65536, 131072, 300000 }, { 2048, 65536, 16384, 40000 },
};

Test(group, places_do_not_overlap)
{
	uint64_t map[65536 / 8], group, b, first, used;
	struct tfs_super s;
	struct tfs_geom g;
	struct tfs_group h;
	unsigned int i, slot;

	for (i = 0; i < ARRAY_SIZE(shapes); i++) {
		s = make_super(shapes[i].bs, shapes[i].ns, shapes[i].bpg, shapes[i].blocks);
		cr_assert_eq(tfs_super_geom(&s, &g), 0, "shape %u", i);
		for (group = 0; group < g.nr_groups; group++) {
			first = tfs_group_start(&g, group);
			group_fresh_bitmap(&g, group, map);
			used = 0;
			for (b = 0; b < tfs_group_nr_blocks(&g, group); b++) {
				cr_assert_eq(block_bitmap_test(map, (uint32_t)b),
					     tfs_geom_fixed(&g, first + b, 1));
				used += block_bitmap_test(map, (uint32_t)b);
				cr_assert_eq(
					tfs_tuple_block_of(&g, first + b, &slot),
					tfs_group_tuple_block(
						&g, group, (unsigned int)(b / g.tuples_per_block)));
				cr_assert_eq(slot, b % g.tuples_per_block);
			}
			for (; b < 8 * g.block_size; b++)
				cr_assert(block_bitmap_test(map, (uint32_t)b));
			group_fresh_header(&g, SEED, group, &h);
			cr_assert_eq(le32_get(h.free_blocks),
				     tfs_group_nr_blocks(&g, group) - used);
			cr_assert_leq(le32_get(h.nr_tuple_blocks), TFS_MAX_GROUP_TUPLES);
		}
		cr_assert(tfs_geom_fixed(&g, g.total_blocks, 1));
		cr_assert(tfs_geom_fixed(&g, g.total_blocks - 1, 2));
		cr_assert(tfs_geom_fixed(&g, 0, UINT64_MAX));
	}
}

Test(group, hostile_superblocks)
{
	static const struct {
		size_t off;
		unsigned int width;
		uint64_t value;
	} t[] = {
#define F32(f, v) { offsetof(struct tfs_super, f), 4, v }
#define F64(f, v)                                   \
	{                                           \
		offsetof(struct tfs_super, f), 8, v \
	}
		F32(block_size, 0),
		F32(block_size, 3000),
		F32(block_size, 512),
		F32(block_size, 1u << 31),
		F32(node_size, 0),
		F32(node_size, 2048),
		F32(node_size, 1u << 17),
		F32(blocks_per_group, 0),
		F32(blocks_per_group, 100),
		F32(blocks_per_group, ~0u),
		F32(blocks_per_group, 65536),
		F32(inline_max, 5000),
		F64(total_blocks, 0),
		F64(total_blocks, ~0ull),
		F64(total_blocks, 1ull << 50),
		F64(nr_groups, 0),
		F64(nr_groups, 7),
		F64(nr_groups, ~0ull),
		F64(journal_start, 0),
		F64(journal_start, ~0ull),
		F64(journal_start, 250),
		F64(journal_start, 256),
		F64(journal_blocks, 0),
		F64(journal_blocks, ~0ull),
		F64(journal_blocks, 1),
		F64(journal_blocks, 240),
		F64(groups_init, 0),
		F64(groups_init, 9),
		F64(total_blocks, 7 * 256 + 2),
	};
	struct tfs_super s;
	struct tfs_geom g;
	unsigned int i;
	le64 v;

	for (i = 0; i < ARRAY_SIZE(t); i++) {
		s = make_super(4096, 16384, 256, 2048);
		cr_assert_eq(tfs_super_geom(&s, &g), 0);
		v = le64_of(t[i].value);
		memcpy((char *)&s + t[i].off, &v, t[i].width);
		cr_assert_eq(tfs_super_geom(&s, &g), -EUCLEAN, "row %u", i);
	}
}

static void reseal(struct tfs_group *h)
{
	h->csum = le64_of(group_csum(h, SEED));
}

Test(group, header_checks)
{
	struct tfs_super s = make_super(4096, 16384, 256, 2048);
	struct tfs_group h, good;
	struct tfs_geom g;
	char why[100];
	unsigned int i;

	cr_assert_eq(tfs_super_geom(&s, &g), 0);
	group_fresh_header(&g, SEED, 3, &good);
	cr_assert_eq(group_check_header(&g, SEED, 3, &good, why, sizeof(why)), 0);
	cr_assert_eq(group_check_header(&g, SEED + 1, 3, &good, why, sizeof(why)), -EUCLEAN,
		     "another seed");
	cr_assert_eq(group_check_header(&g, SEED, 2, &good, why, sizeof(why)), -EUCLEAN,
		     "another place");
	for (i = 0; i < sizeof(h) * 8; i += 13) {
		h = good;
		((uint8_t *)&h)[i / 8] ^= (uint8_t)(1 << i % 8);
		cr_assert_eq(group_check_header(&g, SEED, 3, &h, why, sizeof(why)), -EUCLEAN,
			     "bit %u", i);
	}
	h = good;
	h.version = le32_of(2);
	reseal(&h);
	cr_assert_eq(group_check_header(&g, SEED, 3, &h, why, sizeof(why)), -EPROTONOSUPPORT);
	h = good;
	h.regions[5] = (struct tfs_region){ le32_of(77), le32_of(9), le32_of(1), le32_of(0) };
	reseal(&h);
	cr_assert_eq(group_check_header(&g, SEED, 3, &h, why, sizeof(why)), -EPROTONOSUPPORT);
	h = good;
	h.regions[0].start = le32_of(100);
	reseal(&h);
	cr_assert_eq(group_check_header(&g, SEED, 3, &h, why, sizeof(why)), -EUCLEAN);
	h = good;
	h.free_blocks = le32_of(257);
	reseal(&h);
	cr_assert_eq(group_check_header(&g, SEED, 3, &h, why, sizeof(why)), -EUCLEAN);
}
