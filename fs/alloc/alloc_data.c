/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Blocks for data: at the goal if that is free, else next-fit from where the last
 * stream of data ended, in runs as long as can be had.
 *
 * A tree node needs an aligned run of free blocks (a slot).  Data leaves as many
 * slots alone as the trees may come to need (space_slot_reserve); as the space
 * reserved for data never includes these, there are always other blocks for it:
 * further slots, or blocks of slots that are broken already.
 */
#include <errno.h>
#include "core/lib/util.h"
#include "fs/alloc/alloc_data.h"
#include "fs/alloc/alloc_int.h"
#include "fs/alloc/group_trans.h"
#include "fs/disk/block_bitmap.h"
#include "fs/disk/geom.h"
#include "fs/state/fs.h"

#define GOOD_BYTES (1u << 20)  /* runs of this length are not passed over */
#define FAIR_BYTES (64u << 10) /* nor these, when there is no better one anywhere */
#define MAX_LOADS 8	       /* bitmaps read in search of one, before a new group is opened */
#define SLACK_SLOTS 3	       /* a run may break one slot more at either end */

enum how {
	GOOD_RUN, /* behind the node areas, long enough */
	FAIR_RUN, /* the same, shorter */
	ANY_RUN,
	BROKEN,	 /* only blocks that are in no free slot */
	ONE_SLOT /* break one */
};

struct search {
	struct tfs_fs *fs;
	struct tfs_alloc *a;
	uint64_t want;
	enum how how;
	bool exhaust;	/* nowhere else to go: read as many bitmaps as there are */
	uint64_t start; /* result */
	uint32_t got;
	int err; /* a group could not be looked at */
};

/* Free slots that may be broken.  alloc->lock held. */
static uint64_t spare_slots(struct search *s)
{
	uint64_t keep = space_slot_reserve(s->fs);

	return alloc_total_slots(s->a) > keep ? alloc_total_slots(s->a) - keep : 0;
}

/* Blocks that a run may have without breaking more slots than there are to spare. */
static uint64_t run_limit(struct search *s)
{
	uint64_t spare = spare_slots(s);

	if (spare < SLACK_SLOTS)
		return 0;
	return min_t(uint64_t, s->want, (spare - SLACK_SLOTS + 1) * s->fs->geom.node_blocks);
}

static void take_run(struct search *s, struct agroup *ag, uint32_t at, uint32_t n)
{
	struct tfs_alloc *a = s->a;
	uint64_t group = (uint64_t)(ag - a->groups);

	alloc_map_set(s->fs, ag, at, at + n);
	ag->claimed += n;
	a->claimed += n;
	a->reserved -= min_t(uint64_t, a->reserved, n);
	if (group >= a->open_groups)
		a->open_groups = group + 1;
	s->start = tfs_group_start(&s->fs->geom, group) + at;
	s->got = n;
}

/*
 * First run of @want free blocks in [from, to), or else the longest.  Its length;
 * 0: nothing free.
 */
static uint32_t find_run(const void *map, uint32_t from, uint32_t to, uint32_t want, uint32_t *at)
{
	uint32_t b, e, best = 0;

	for (b = block_bitmap_next_clear(map, from, to); b < to;
	     b = block_bitmap_next_clear(map, e, to)) {
		e = block_bitmap_next_set(map, b, to - b > want ? b + want : to);
		if (e - b > best) {
			best = e - b;
			*at = b;
			if (best >= want)
				break;
		}
	}
	return best;
}

/* *longest: set to the longest run of the range if that came out. */
static bool try_run(struct search *s, struct agroup *ag, uint32_t from, uint32_t to, uint32_t least,
		    uint32_t *longest)
{
	uint32_t want = (uint32_t)min_t(uint64_t, run_limit(s), to - from), at = 0, n;

	if (!want || ag->free < least)
		return false;
	n = find_run(ag->map, from, to, want, &at);
	if (n < want)
		*longest = n; /* all of it was looked at */
	if (n < least || !n)
		return false;
	take_run(s, ag, at, n);
	return true;
}

/* A free block whose slot is not wholly free, and what follows it in the slot. */
static bool try_broken(struct search *s, struct agroup *ag, uint32_t nr)
{
	uint32_t nb = s->fs->geom.node_blocks, at, slot, end;

	if (ag->free == ag->slots * nb)
		return false;
	for (at = block_bitmap_next_clear(ag->map, 0, nr); at < nr;
	     at = block_bitmap_next_clear(ag->map, slot + nb, nr)) {
		slot = (uint32_t)round_down_to(at, nb);
		if (block_bitmap_next_set(ag->map, slot, slot + nb) == slot + nb)
			continue;
		end = (uint32_t)min_t(uint64_t, slot + nb, at + s->want);
		take_run(s, ag, at, block_bitmap_next_set(ag->map, at, end) - at);
		return true;
	}
	return false;
}

static bool try_slot(struct search *s, struct agroup *ag, uint32_t nr)
{
	uint32_t nb = s->fs->geom.node_blocks, at;

	if (!spare_slots(s) || !ag->slots)
		return false;
	at = block_bitmap_next_slot(ag->map, 0, nr, nb);
	if (at >= nr)
		return false;
	take_run(s, ag, at, (uint32_t)min_t(uint64_t, nb, s->want));
	return true;
}

/* In a group whose map is loaded.  alloc->lock held. */
static bool try_group(struct search *s, struct agroup *ag, uint64_t group, uint32_t at)
{
	const struct tfs_geom *g = &s->fs->geom;
	uint32_t nr = tfs_group_nr_blocks(g, group), node_from, node_to, least, any = 0;

	switch (s->how) {
	case GOOD_RUN:
	case FAIR_RUN:
		alloc_node_area(g, group, &node_from, &node_to);
		least = (s->how == GOOD_RUN ? GOOD_BYTES : FAIR_BYTES) >> g->blkbits;
		least = (uint32_t)min_t(uint64_t, s->want, least ? least : 1);
		if (node_to >= nr || ag->max_run < least)
			return false;
		if (at > node_to && at < nr && try_run(s, ag, at, nr, least, &any))
			return true;
		return try_run(s, ag, node_to, nr, least, &ag->max_run);
	case ANY_RUN:
		return try_run(s, ag, 0, nr, 1, &any);
	case BROKEN:
		return try_broken(s, ag, nr);
	default:
		return try_slot(s, ag, nr);
	}
}

/* Look into one group, its map read if that is allowed.  @at: where to begin, 0: its first place
 * for data. */
static bool search_group(struct search *s, uint64_t group, uint32_t at, unsigned int *loads)
{
	struct agroup *ag = &s->a->groups[group];
	bool worth, found;
	int err;

	pthread_mutex_lock(&s->a->lock);
	worth = !(ag->flags & AGROUP_BAD) && !(ag->flags & AGROUP_KNOWN && !ag->free) &&
		!(s->a->thin && !(ag->flags & AGROUP_KNOWN));
	if (worth && !ag->map && !s->exhaust && ++*loads > MAX_LOADS)
		worth = false;
	pthread_mutex_unlock(&s->a->lock);
	if (!worth)
		return false;
	ag = alloc_lock_group_sleep(s->fs, group, &err);
	if (!ag) {
		s->err = err;
		return false;
	}
	found = try_group(s, ag, group, at);
	pthread_mutex_unlock(&s->a->lock);
	return found;
}

/* All groups in use, from the stream's on, then a new one. */
static bool search_all(struct search *s)
{
	const struct tfs_geom *g = &s->fs->geom;
	uint64_t stream, open, first, i, group;
	unsigned int loads = 0;
	uint32_t at;

	pthread_mutex_lock(&s->a->lock);
	stream = s->a->stream;
	open = s->a->open_groups;
	pthread_mutex_unlock(&s->a->lock);
	first = tfs_group_of(g, stream);
	if (first >= open)
		first = 0;
	at = (uint32_t)(stream - tfs_group_start(g, tfs_group_of(g, stream)));
	s->exhaust = s->how != GOOD_RUN || open >= s->a->nr_groups;
	for (i = 0; i < open; i++) {
		group = (first + i) % open;
		if (search_group(s, group, i ? 0 : at, &loads))
			return true;
	}
	s->exhaust = true;
	for (group = open; group < s->a->nr_groups; group++)
		if (search_group(s, group, 0, &loads))
			return true;
	return false;
}

/* At the goal itself, or behind it in its group. */
static bool search_goal(struct search *s, uint64_t goal)
{
	const struct tfs_geom *g = &s->fs->geom;
	uint64_t group = tfs_group_of(g, goal);
	uint32_t at = (uint32_t)(goal - tfs_group_start(g, group)),
		 nr = tfs_group_nr_blocks(g, group), end;
	struct tfs_alloc *a = s->a;
	struct agroup *ag;
	uint64_t limit;
	bool found = false;
	int err;

	if (group >= a->nr_groups)
		return false;
	ag = alloc_lock_group_sleep(s->fs, group, &err);
	if (!ag)
		return false;
	limit = run_limit(s);
	if (limit && !block_bitmap_test(ag->map, at)) {
		end = (uint32_t)min_t(uint64_t, nr, at + limit);
		take_run(s, ag, at, block_bitmap_next_set(ag->map, at, end) - at);
		found = true;
	} else if (limit && group < a->open_groups) {
		s->how = GOOD_RUN;
		found = try_group(s, ag, group, at);
	}
	pthread_mutex_unlock(&a->lock);
	return found;
}

/* Anywhere, in all ways there are. */
static bool search_any(struct search *s)
{
	static const enum how order[] = { GOOD_RUN, FAIR_RUN, ANY_RUN, BROKEN, ONE_SLOT };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(order); i++) {
		s->how = order[i];
		if (!search_all(s))
			continue;
		pthread_mutex_lock(&s->a->lock);
		s->a->stream = (s->start + s->got) % s->fs->geom.total_blocks;
		pthread_mutex_unlock(&s->a->lock);
		return true;
	}
	return false;
}

int alloc_data(struct tfs_fs *fs, uint64_t goal, uint64_t want, uint64_t *start, uint64_t *got)
{
	struct search s = { .fs = fs, .a = fs->alloc };
	uint64_t seq = alloc_trim_seq(fs);
	bool found = false;
	int err;

	if (!want)
		return -EINVAL;
	s.want = min_t(uint64_t, want, fs->geom.blocks_per_group);
	if (goal && goal < fs->geom.total_blocks)
		found = search_goal(&s, goal);
	if (!found)
		do {
			found = search_any(&s);
		} while (!found && alloc_trim_wait(fs, &seq));
	if (!found)
		return s.err ? s.err : -ENOSPC;
	err = group_open(fs, tfs_group_of(&fs->geom, s.start));
	if (err) {
		alloc_cancel(fs, s.start, s.got, true);
		return err;
	}
	*start = s.start;
	*got = s.got;
	return 0;
}

void alloc_cancel(struct tfs_fs *fs, uint64_t start, uint64_t n, bool rereserve)
{
	uint64_t group = tfs_group_of(&fs->geom, start);
	uint32_t from = (uint32_t)(start - tfs_group_start(&fs->geom, group));
	struct tfs_alloc *a = fs->alloc;
	struct agroup *ag = &a->groups[group];

	pthread_mutex_lock(&a->lock);
	assert(ag->map && ag->claimed >= n &&
	       block_bitmap_next_clear(ag->map, from, from + (uint32_t)n) == from + n);
	ag->claimed -= (uint32_t)n;
	a->claimed -= n;
	alloc_map_clear(fs, ag, from, from + (uint32_t)n);
	if (rereserve)
		a->reserved += n;
	pthread_cond_broadcast(&a->freed);
	pthread_mutex_unlock(&a->lock);
}
