/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Group headers, bitmaps, tuple blocks: each verifies, and the counts agree. */
#include <errno.h>
#include "core/lib/log.h"
#include "core/lib/util.h"
#include "fs/disk/geom.h"
#include "fs/disk/group.h"
#include "fs/journal/buffer.h"
#include "fs/journal/trans.h"
#include "fsck/check_priv.h"
#include "tallyfs/format.h"

/* Blocks of the group's fixed structures and regions, which nothing in a tree refers to, are in use
 * from the start. */
static int mark_fixed(struct check *c, uint64_t group)
{
	const struct tfs_geom *g = &c->fs->geom;

	c->used[group] = tl_zalloc(g->block_size);
	if (!c->used[group])
		return -ENOMEM;
	group_fresh_bitmap(g, group, c->used[group]);
	return 0;
}

static void check_bitmap(struct check *c, uint64_t group, const struct tfs_group *h)
{
	const struct tfs_geom *g = &c->fs->geom;
	uint32_t nr = tfs_group_nr_blocks(g, group), free = 0, slots = 0;
	uint64_t block = tfs_group_bitmap_block(g, group);
	struct tfs_buf *buf;
	const uint8_t *map;
	int err = check_buf(c, block, BUF_BITMAP, &buf);

	if (err) {
		c->bitmap_incomplete = true;
		check_report(c, CHECK_ERROR, "bitmap-unreadable", 0, block,
			     "group %llu: bitmap (block %llu): %s", (unsigned long long)group,
			     (unsigned long long)block, c->log_line);
		return;
	}
	map = buf_data(buf);
	for (uint32_t i = 0; i < nr; i++)
		free += !(map[i / 8] & (1u << i % 8));
	for (uint32_t i = 0; i + g->node_blocks <= nr; i += g->node_blocks) {
		uint32_t k = 0;

		while (k < g->node_blocks && !(map[(i + k) / 8] & (1u << (i + k) % 8)))
			k++;
		slots += k == g->node_blocks;
	}
	for (uint32_t i = nr; i < g->block_size * 8; i++)
		if (!(map[i / 8] & (1u << i % 8))) {
			check_report(c, CHECK_ERROR, "bitmap-tail", 0, block,
				     "group %llu: bits behind the group's end are clear",
				     (unsigned long long)group);
			break;
		}
	if (free != le32_get(h->free_blocks) || slots != le32_get(h->free_slots))
		check_report(c, CHECK_LEAK, "group-counts", 0, tfs_group_header_block(g, group),
			     "group %llu: header counts %u free blocks and %u free node slots, the "
			     "bitmap says %u and %u",
			     (unsigned long long)group, le32_get(h->free_blocks),
			     le32_get(h->free_slots), free, slots);
	c->disk[group] = tl_alloc(g->block_size);
	if (c->disk[group])
		memcpy(c->disk[group], map, g->block_size);
	else
		c->err = -ENOMEM;
	buf_put(buf);
}

static void check_tuple_blocks(struct check *c, uint64_t group, const struct tfs_group *h)
{
	const struct tfs_geom *g = &c->fs->geom;

	for (unsigned int i = 0; i < tfs_group_nr_tuple_blocks(g, group) && !c->err; i++) {
		uint64_t block = tfs_group_tuple_block(g, group, i);
		struct tfs_buf *buf;
		int err;

		if (!(le32_get(h->tuples[i].flags) & TFS_VOUCH_WRITTEN))
			continue;
		err = check_buf(c, block, BUF_TUPLE, &buf);
		if (err) {
			c->bitmap_incomplete |= err == -ENOMEM;
			check_report(c, CHECK_ERROR, "tuples-unreadable", 0, block,
				     "group %llu: tuple block %u (block %llu): %s",
				     (unsigned long long)group, i, (unsigned long long)block,
				     c->log_line);
			continue;
		}
		buf_put(buf);
	}
}

static void check_group(struct check *c, uint64_t group)
{
	const struct tfs_geom *g = &c->fs->geom;
	uint64_t block = tfs_group_header_block(g, group);
	const struct tfs_group *h;
	struct tfs_group fresh;
	struct tfs_buf *buf;
	int err = check_buf(c, block, BUF_GROUP, &buf);

	if (err) {
		c->bitmap_incomplete = true;
		check_report(c, CHECK_ERROR, "group-unreadable", 0, block,
			     "group %llu: header (block %llu): %s", (unsigned long long)group,
			     (unsigned long long)block, c->log_line);
		return;
	}
	h = buf_data(buf);
	group_fresh_header(g, c->fs->seed, group, &fresh);
	if (memcmp(h->regions, fresh.regions, sizeof(h->regions)) ||
	    le32_get(h->nr_blocks) != le32_get(fresh.nr_blocks) ||
	    le32_get(h->nr_tuple_blocks) != le32_get(fresh.nr_tuple_blocks))
		check_report(c, CHECK_ERROR, "group-layout", 0, block,
			     "group %llu: header describes another layout",
			     (unsigned long long)group);
	check_bitmap(c, group, h);
	check_tuple_blocks(c, group, h);
	buf_put(buf);
}

void check_groups(struct check *c)
{
	uint64_t init = c->fs->cnt.groups_init, nr = c->fs->geom.nr_groups;

	if (init > nr || init == 0) {
		check_report(c, CHECK_ERROR, "groups-init", 0, UINT64_MAX,
			     "superblock says %llu groups are initialised of %llu",
			     (unsigned long long)init, (unsigned long long)nr);
		init = init ? nr : 0;
	}
	for (uint64_t i = 0; i < init && check_progress(c, "groups", i, init); i++) {
		if (mark_fixed(c, i)) {
			c->err = -ENOMEM;
			return;
		}
		check_group(c, i);
	}
}
