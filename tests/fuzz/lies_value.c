/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a number becomes. */
#include <string.h>
#include "core/lib/util.h"
#include "tests/fuzz/lies_priv.h"

static uint64_t special(const struct base *b, uint64_t v)
{
	const struct tfs_geom *g = &b->seal.geom;
	const uint64_t list[] = { 0,
				  1,
				  2,
				  UINT64_MAX,
				  INT64_MAX,
				  1ull << 63,
				  UINT32_MAX,
				  INT32_MAX,
				  g->total_blocks,
				  g->total_blocks - 1,
				  g->nr_groups,
				  g->block_size,
				  g->node_size,
				  UINT16_MAX,
				  1ull << 48,
				  TFS_EXTENT_MAX_LEN };

	return list[v % ARRAY_SIZE(list)];
}

uint64_t lie_place(const struct base *b, uint64_t v)
{
	const struct tfs_geom *g = &b->seal.geom;
	uint64_t group = v / 8 % g->nr_groups;
	const uint64_t list[] = { g->super_block,
				  g->super_copies[0],
				  g->super_copies[1],
				  g->journal_start,
				  g->journal_start + g->journal_blocks,
				  tfs_group_header_block(g, group),
				  tfs_group_bitmap_block(g, group),
				  tfs_group_first_free(g, group) };

	return list[v % ARRAY_SIZE(list)];
}

/* A number of @l's width at @p becomes another one. */
void lie_change(const struct base *b, const struct lie *l, void *p)
{
	unsigned int width = 1u << (l->how >> 4 & 3);
	uint64_t v = 0;

	memcpy(&v, p, width);
	switch ((enum lie_value)(l->how % VALUE_KINDS)) {
	case ADD:
		v += l->value;
		break;
	case XOR:
		v ^= l->value;
		break;
	case NODE_ADDR:
		v = b->node[l->value % b->nr_nodes];
		break;
	case DATA_ADDR:
		v = b->data[l->value % b->nr_data];
		break;
	case PLACE:
		v = lie_place(b, l->value);
		break;
	case SPECIAL:
		v = special(b, l->value);
		break;
	case INO:
		v = l->value % (b->next_ino + 2);
		break;
	default:
		v = l->value;
	}
	memcpy(p, &v, width);
}

/* The same, of a structure of @bytes. */
void lie_change_in(const struct base *b, const struct lie *l, void *start, uint32_t bytes)
{
	uint32_t width = 1u << (l->how >> 4 & 3);

	if (bytes >= width)
		lie_change(b, l, (uint8_t *)start + l->off % (bytes - width + 1));
}
