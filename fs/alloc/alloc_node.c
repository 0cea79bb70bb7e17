/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Blocks for tree nodes.  They are kept together in the front part of each
 * group, so that few tuple blocks, bitmaps and headers go into a commit, and are found
 * where data is not: a new group is opened before nodes and data are mixed.
 */
#include <errno.h>
#include <string.h>
#include "fs/alloc/alloc.h"
#include "fs/alloc/alloc_int.h"
#include "fs/alloc/alloc_node.h"
#include "fs/alloc/group_trans.h"
#include "fs/disk/block_bitmap.h"
#include "fs/disk/geom.h"
#include "fs/journal/buffer.h"
#include "fs/journal/trans.h"
#include "fs/state/error.h"
#include "fs/state/fs.h"

/* Take the slot at @block.  alloc->lock held. */
static void take_slot(struct tfs_fs *fs, struct agroup *ag, uint64_t block)
{
	uint64_t group = tfs_group_of(&fs->geom, block);
	uint32_t at = (uint32_t)(block - tfs_group_start(&fs->geom, group)),
		 nb = fs->geom.node_blocks;

	alloc_map_set(fs, ag, at, at + nb);
	ag->claimed += nb; /* keeps the map in memory until the bitmap has it */
	fs->alloc->claimed += nb;
	if (group >= fs->alloc->open_groups)
		fs->alloc->open_groups = group + 1;
}

static void give_back(struct tfs_fs *fs, uint64_t block, bool used)
{
	struct tfs_alloc *a = fs->alloc;
	uint64_t group = tfs_group_of(&fs->geom, block);
	uint32_t at = (uint32_t)(block - tfs_group_start(&fs->geom, group)),
		 nb = fs->geom.node_blocks;

	pthread_mutex_lock(&a->lock);
	a->groups[group].claimed -= nb;
	a->claimed -= nb;
	if (!used)
		alloc_map_clear(fs, &a->groups[group], at, at + nb);
	pthread_mutex_unlock(&a->lock);
}

/* A free slot in bits [from, to) of @group, taken.  -ENOSPC: none. */
static int pick_in(struct tfs_trans *t, uint64_t group, uint32_t from, uint32_t to, uint64_t *block)
{
	struct tfs_alloc *a = t->fs->alloc;
	struct agroup *ag;
	uint32_t at;
	int err;

	ag = alloc_lock_group(t, group, &err);
	if (!ag)
		return err;
	at = ag->slots ? block_bitmap_next_slot(ag->map, from, to, t->fs->geom.node_blocks) : to;
	if (at < to) {
		*block = tfs_group_start(&t->fs->geom, group) + at;
		take_slot(t->fs, ag, *block);
	}
	pthread_mutex_unlock(&a->lock);
	return at < to ? 0 : -ENOSPC;
}

static bool skip(struct tfs_alloc *a, uint64_t group, unsigned int flags)
{
	struct agroup *ag = &a->groups[group];
	bool no;

	pthread_mutex_lock(&a->lock);
	no = (ag->flags & (AGROUP_BAD | flags)) ||
	     (ag->flags & AGROUP_KNOWN ? !ag->slots : a->thin);
	pthread_mutex_unlock(&a->lock);
	return no;
}

/* In the node area of @group, from @goal on if that lies there. */
static int pick_area(struct tfs_trans *t, uint64_t group, uint64_t goal, uint64_t *block)
{
	const struct tfs_geom *g = &t->fs->geom;
	struct tfs_alloc *a = t->fs->alloc;
	uint32_t from, to, at = 0;
	int err = -ENOSPC;

	if (skip(a, group, AGROUP_NODES_FULL))
		return -ENOSPC;
	alloc_node_area(g, group, &from, &to);
	if (goal && tfs_group_of(g, goal) == group)
		at = (uint32_t)(goal - tfs_group_start(g, group));
	if (at > from && at < to)
		err = pick_in(t, group, at, to, block);
	if (err == -ENOSPC)
		err = pick_in(t, group, from, to, block);
	if (err == -ENOSPC) {
		pthread_mutex_lock(&a->lock);
		a->groups[group].flags |= AGROUP_NODES_FULL;
		pthread_mutex_unlock(&a->lock);
	}
	return err;
}

/* A group that can't be read is left out; what else went wrong goes to the caller. */
static bool go_on(int err)
{
	return err == -ENOSPC || err == -EIO || err == -EUCLEAN || err == -EPROTONOSUPPORT;
}

static int pick_once(struct tfs_trans *t, uint64_t goal, uint64_t *block)
{
	const struct tfs_geom *g = &t->fs->geom;
	struct tfs_alloc *a = t->fs->alloc;
	uint64_t first = goal && goal < g->total_blocks ? tfs_group_of(g, goal) : a->node_group, i,
		 group;
	int err = pick_area(t, first, goal, block);

	for (i = 0; go_on(err) && i < a->open_groups; i++) {
		group = (a->node_group + i) % a->open_groups;
		err = pick_area(t, group, 0, block);
	}
	while (go_on(err) && a->open_groups < a->nr_groups) {
		group = a->open_groups;
		err = pick_area(t, group, 0, block);
		if (go_on(err)) /* a group without room for nodes, or unreadable */
			a->open_groups = group + 1;
	}
	for (group = 0; go_on(err) && group < a->open_groups; group++)
		if (!skip(a, group, 0))
			err = pick_in(t, group, 0, tfs_group_nr_blocks(g, group), block);
	return go_on(err) ? -ENOSPC : err;
}

static int pick(struct tfs_trans *t, uint64_t goal, uint64_t *block)
{
	uint64_t seq = alloc_trim_seq(t->fs);
	int err;

	do {
		err = pick_once(t, goal, block);
	} while (err == -ENOSPC && alloc_trim_wait(t->fs, &seq));
	return err;
}

/* What alloc_node and the commit will need for a node at @block. */
static int touch(struct tfs_trans *t, uint64_t block)
{
	return alloc_prefault(t, block, t->fs->geom.node_blocks);
}

int alloc_prefault_nodes(struct tfs_trans *t, uint64_t goal, unsigned int n)
{
	struct tfs_alloc *a = t->fs->alloc;
	unsigned int i;
	int err = 0;

	a->nr_prefault = 0;
	for (i = 0; i < n && i < ALLOC_MAX_PREFAULT && !err; i++) {
		err = pick(t, goal, &a->prefault[i]);
		if (err)
			break;
		a->nr_prefault++;
		err = touch(t, a->prefault[i]);
	}
	for (i = a->nr_prefault; i; i--)
		give_back(t->fs, a->prefault[i - 1], false);
	if (err)
		a->nr_prefault = 0;
	a->prefault_for = t;
	return err;
}

/* One of those that were made sure of, if it is still free. */
static bool take_prefaulted(struct tfs_trans *t, uint64_t *block)
{
	struct tfs_alloc *a = t->fs->alloc;
	uint32_t at, nb = t->fs->geom.node_blocks;
	struct agroup *ag;
	bool ok = false;

	if (a->prefault_for != t)
		return false;
	while (a->nr_prefault && !ok) {
		*block = a->prefault[0];
		a->nr_prefault--;
		memmove(a->prefault, a->prefault + 1, a->nr_prefault * sizeof(a->prefault[0]));
		pthread_mutex_lock(&a->lock);
		ag = &a->groups[tfs_group_of(&t->fs->geom, *block)];
		at = (uint32_t)(*block % t->fs->geom.blocks_per_group);
		ok = ag->map && block_bitmap_next_set(ag->map, at, at + nb) == at + nb;
		if (ok)
			take_slot(t->fs, ag, *block);
		pthread_mutex_unlock(&a->lock);
	}
	return ok;
}

/* A group's first block: its tuple block is in no cache, and there is nothing to read. */
static int fresh_tuple_block(struct tfs_trans *t, uint64_t block)
{
	struct tfs_buf *b;
	unsigned int slot;
	int err = buf_new(t, tfs_tuple_block_of(&t->fs->geom, block, &slot), BUF_TUPLE, &b);

	if (!err)
		buf_put(b);
	return err;
}

int alloc_node(struct tfs_trans *t, uint64_t goal, uint64_t *block)
{
	struct tfs_fs *fs = t->fs;
	uint32_t nb = fs->geom.node_blocks;
	uint64_t group;
	bool fresh;
	int err = 0;

	if (!take_prefaulted(t, block))
		err = pick(t, goal, block);
	if (err)
		return err;
	group = tfs_group_of(&fs->geom, *block);
	fresh = group >= fs->cnt.groups_init;
	err = group_init(t, group);
	if (!err)
		err = fresh ? fresh_tuple_block(t, *block) : touch(t, *block);
	if (!err)
		err = alloc_disk_mark(t, *block, nb, true);
	give_back(fs, *block, !err);
	if (err)
		return err;
	fs->alloc->node_group = group;
	fs->cnt.node_blocks += nb;
	alloc_note_growth(fs);
	return 0;
}

int alloc_free_node(struct tfs_trans *t, uint64_t block)
{
	struct tfs_fs *fs = t->fs;
	uint32_t nb = fs->geom.node_blocks;
	int err;

	if (block % fs->geom.blocks_per_group % nb || fs->cnt.node_blocks < nb)
		return tfs_handle_fs_error(fs, -EUCLEAN,
					   "block %llu: freed as a tree node, which it can't be",
					   (unsigned long long)block);
	err = alloc_free(t, block, nb);
	if (!err)
		fs->cnt.node_blocks -= nb;
	return err;
}
