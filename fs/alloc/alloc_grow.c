/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * On a thin device (an image file with holes) a block may be handed out only when the host has
 * given it its space: then neither data nor tree nodes can fail for want of it, whenever they are
 * written.
 *
 * The others are *unbacked*.  In the claim map they are set, so that no search finds them:
 *
 *   map = used, pending or claimed | unbacked         hidden = unbacked and else free
 *
 * At first everything counts as unbacked.  Growing makes blocks known to be backed: first by asking
 * what the host has of the groups in use ("finding", each group once), then by asking the host for
 * more, from the front of the device on, in steps.  A group that was never used begins with its own
 * structures.
 *
 * All of that is done by one thread at a time, under alloc->grow, with neither meta_lock nor
 * alloc->lock held while the host works.  It is outer to both.  Hidden blocks change under it
 * alone, but for some becoming hidden.
 */
#include <errno.h>
#include <string.h>
#include "core/block/bdev.h"
#include "core/lib/log.h"
#include "core/lib/util.h"
#include "fs/alloc/alloc_int.h"
#include "fs/disk/block_bitmap.h"
#include "fs/disk/geom.h"
#include "fs/state/backing.h"
#include "fs/state/fs.h"

#define STEP_MIN (1ull << 20)
#define STEP_MAX (16ull << 20)
#define FIND_AT_ONCE 8u /* groups looked into before the host is asked */

/* ---- bits; alloc->lock held ---- */

void alloc_hide(struct tfs_fs *fs, struct agroup *ag, void **unbacked)
{
	uint32_t nr = tfs_group_nr_blocks(&fs->geom, (uint64_t)(ag - fs->alloc->groups)), at;
	size_t bytes = fs->geom.block_size;

	ag->hidden = (char *)ag->map + bytes;
	memset(ag->hidden, 0, bytes);
	if (!ag->unbacked) {
		ag->unbacked = *unbacked;
		*unbacked = NULL;
		memset(ag->unbacked, ag->flags & AGROUP_BACKED ? 0 : 0xff, bytes);
	}
	for (at = block_bitmap_next_set(ag->unbacked, 0, nr); at < nr;
	     at = block_bitmap_next_set(ag->unbacked, at + 1, nr)) {
		if (block_bitmap_test(ag->map, at))
			continue;
		block_bitmap_set(ag->hidden, at, at + 1);
		block_bitmap_set(ag->map, at, at + 1);
	}
}

void alloc_unback(struct tfs_fs *fs, struct agroup *ag, uint32_t from, uint32_t to)
{
	struct tfs_alloc *a = fs->alloc;

	block_bitmap_set(ag->unbacked, from, to);
	block_bitmap_set(ag->hidden, from, to);
	ag->flags &= ~(unsigned int)AGROUP_BACKED;
	a->hidden_from = min_t(uint64_t, a->hidden_from, (uint64_t)(ag - a->groups));
}

/* Blocks that became free by it. */
static uint64_t back(struct tfs_fs *fs, struct agroup *ag, uint32_t from, uint32_t to)
{
	struct tfs_alloc *a = fs->alloc;
	uint64_t gained = 0;
	uint32_t at, end;

	block_bitmap_clear(ag->unbacked, from, to);
	for (at = block_bitmap_next_set(ag->hidden, from, to); at < to;
	     at = block_bitmap_next_set(ag->hidden, end, to)) {
		end = block_bitmap_next_clear(ag->hidden, at, to);
		block_bitmap_clear(ag->hidden, at, end);
		a->hidden -= min_t(uint64_t, a->hidden, end - at);
		alloc_map_clear(fs, ag, at, end);
		gained += end - at;
	}
	return gained;
}

void alloc_keep_unbacked(struct tfs_fs *fs, struct agroup *ag)
{
	uint32_t nr = tfs_group_nr_blocks(&fs->geom, (uint64_t)(ag - fs->alloc->groups));

	assert(!ag->claimed && !ag->pending);
	if (block_bitmap_next_set(ag->unbacked, 0, nr) == nr)
		ag->flags |= AGROUP_BACKED;
	else if (block_bitmap_next_clear(ag->unbacked, 0, nr) < nr)
		return;
	tl_free(ag->unbacked);
	ag->unbacked = NULL;
}

/* ---- finding ---- */

static bool found_already(struct tfs_alloc *a, uint64_t group)
{
	bool found;

	pthread_mutex_lock(&a->lock);
	found = a->groups[group].flags & AGROUP_FOUND;
	pthread_mutex_unlock(&a->lock);
	return found;
}

/* [start, stop) bytes are backed: the blocks wholly in it.  Blocks gained. */
static uint64_t found_run(struct tfs_fs *fs, uint64_t group, uint64_t start, uint64_t stop)
{
	uint64_t first = tfs_group_start(&fs->geom, group), gained = 0;
	uint64_t from = div_up(start, fs->geom.block_size) - first,
		 to = (stop >> fs->geom.blkbits) - first;
	struct agroup *ag;
	int err;

	if (from >= to)
		return 0;
	ag = alloc_lock_group_sleep(fs, group, &err);
	if (!ag)
		return 0;
	gained = back(fs, ag, (uint32_t)from, (uint32_t)to);
	pthread_mutex_unlock(&fs->alloc->lock);
	return gained;
}

/* What the host has of @group.  A group that can't be read has no blocks for anybody. */
static uint64_t find_backed(struct tfs_fs *fs, uint64_t group)
{
	struct tfs_alloc *a = fs->alloc;
	uint64_t at = tfs_block_to_byte(fs, tfs_group_start(&fs->geom, group)), start, stop,
		 gained = 0;
	uint64_t end = at + tfs_block_to_byte(fs, tfs_group_nr_blocks(&fs->geom, group));

	if (found_already(a, group))
		return 0;
	for (; at < end && !bdev_backed(fs->bdev, at, end, &start, &stop) && start < stop;
	     at = stop)
		gained += found_run(fs, group, start, stop);
	pthread_mutex_lock(&a->lock);
	a->groups[group].flags |= AGROUP_FOUND;
	a->hidden_from =
		min_t(uint64_t, a->hidden_from, group); /* ask_host() has passed it over so far */
	pthread_mutex_unlock(&a->lock);
	return gained;
}

/* A group that was never used: once it has its structures, its blocks may be had. */
static int open_group(struct tfs_fs *fs, uint64_t group)
{
	int err = backing_group(fs->bdev, &fs->geom, group);

	if (!err)
		atomic_store(&fs->alloc->nr_groups, group + 1);
	return err;
}

/* It may have been opened before the last unmount, without a block of it being used then. */
static void open_if_backed(struct tfs_fs *fs, uint64_t group)
{
	const struct tfs_geom *g = &fs->geom;
	uint64_t start = tfs_group_header_block(g, group),
		 n = tfs_group_first_free(g, group) - start;

	if (bdev_all_backed(fs->bdev, tfs_block_to_byte(fs, start), tfs_block_to_byte(fs, n)))
		open_group(fs, group);
}

static bool next_to_find(struct tfs_fs *fs, uint64_t *group)
{
	struct tfs_alloc *a = fs->alloc;
	bool some;

	pthread_mutex_lock(&a->lock);
	some = a->find_next < a->nr_groups;
	pthread_mutex_unlock(&a->lock);
	if (!some && a->nr_groups < fs->geom.nr_groups)
		open_if_backed(fs, a->nr_groups);
	pthread_mutex_lock(&a->lock);
	some = a->find_next < a->nr_groups;
	if (some)
		*group = a->find_next++;
	pthread_mutex_unlock(&a->lock);
	return some;
}

static uint64_t find_some(struct tfs_fs *fs, uint64_t want, uint64_t groups)
{
	uint64_t gained = 0, group;

	while (gained < want && groups-- && next_to_find(fs, &group))
		gained += find_backed(fs, group);
	return gained;
}

void alloc_find(struct tfs_fs *fs, uint64_t group)
{
	if (!fs->alloc->thin || group >= fs->alloc->nr_groups)
		return;
	pthread_mutex_lock(&fs->alloc->grow);
	find_backed(fs, group);
	pthread_mutex_unlock(&fs->alloc->grow);
}

/* ---- asking the host ---- */

/* Nothing has changed since the host refused: it is not asked for each write(2) again. */
static bool still_full(struct tfs_fs *fs)
{
	struct tfs_alloc *a = fs->alloc;
	struct bdev_usage u;

	if (a->refused_left == UINT64_MAX || bdev_usage(fs->bdev, &u) ||
	    u.free >= a->refused_left + fs->geom.node_size) {
		a->refused_left = UINT64_MAX;
		return false;
	}
	a->refused_left = min_t(uint64_t, a->refused_left, u.free);
	return true;
}

static void note_refused(struct tfs_fs *fs)
{
	struct bdev_usage u;

	bdev_usage(fs->bdev, &u);
	fs->alloc->refused_left = u.free;
	backing_refused(fs);
}

/* The next hidden run of a found group at or after @at, at most @most blocks.  False: none. */
static bool hidden_run(struct tfs_fs *fs, uint64_t group, uint64_t most, uint32_t *from,
		       uint32_t *to)
{
	uint32_t nr = tfs_group_nr_blocks(&fs->geom, group), nb = fs->geom.node_blocks;
	struct agroup *ag;
	int err;

	if (!found_already(fs->alloc, group))
		return false;
	ag = alloc_lock_group_sleep(fs, group, &err);
	if (!ag)
		return false;
	*from = block_bitmap_next_set(ag->hidden, 0, nr);
	*to = block_bitmap_next_clear(ag->hidden, *from,
				      nr - *from > most ? *from + (uint32_t)most : nr);
	pthread_mutex_unlock(&fs->alloc->lock);
	if (round_down_to(*to, nb) > *from)
		*to = (uint32_t)round_down_to(*to, nb);
	return *from < *to;
}

static int back_group(struct tfs_fs *fs, uint64_t group, uint64_t want, uint64_t *gained)
{
	uint64_t first = tfs_group_start(&fs->geom, group), most = want, start, stop, n;
	uint32_t from, to;
	int err;

	while (want && hidden_run(fs, group, min_t(uint64_t, most, want), &from, &to)) {
		start = tfs_block_to_byte(fs, first + from);
		stop = tfs_block_to_byte(fs, first + to);
		err = bdev_provision(fs->bdev, start, stop - start);
		if (err == -ENOSPC && to - from > fs->geom.node_blocks) {
			most = (to - from) / 2; /* the last of it */
			continue;
		}
		if (err)
			return err;
		n = found_run(fs, group, start, stop);
		if (!n)
			break;
		*gained += n;
		want -= min_t(uint64_t, want, n);
	}
	return 0;
}

static uint64_t ask_host(struct tfs_fs *fs, uint64_t want)
{
	struct tfs_alloc *a = fs->alloc;
	uint64_t gained = 0, group;
	int err = 0;

	if (still_full(fs))
		return 0;
	pthread_mutex_lock(&a->lock);
	group = a->hidden_from;
	a->hidden_from = UINT64_MAX; /* blocks that become hidden meanwhile set it again */
	pthread_mutex_unlock(&a->lock);
	for (; group < fs->geom.nr_groups; group++) {
		if (group >= a->nr_groups) {
			err = open_group(fs, group);
			if (!err)
				gained += find_backed(fs, group);
		}
		if (!err && gained < want)
			err = back_group(fs, group, want - gained, &gained);
		if (err || gained >= want)
			break;
	}
	pthread_mutex_lock(&a->lock);
	a->hidden_from = min_t(uint64_t, a->hidden_from, group);
	pthread_mutex_unlock(&a->lock);
	if (err == -ENOSPC)
		note_refused(fs);
	else if (err)
		log_warn("%s: no more space can be had from the file system that it lies on: %s",
			 fs->bdev->name, strerror(-err));
	else if (gained)
		backing_given(fs);
	return gained;
}

bool alloc_grow(struct tfs_fs *fs, uint64_t want)
{
	struct tfs_alloc *a = fs->alloc;
	uint64_t seq = atomic_load(&a->grow_seq), step, gained;
	bool grown;

	if (!a->thin || fs->opts.ro || atomic_load(&fs->shutdown))
		return false;
	step = min_t(uint64_t,
		     max_t(uint64_t, tfs_block_to_byte(fs, fs->geom.total_blocks) / 64, STEP_MIN),
		     STEP_MAX);
	pthread_mutex_lock(&a->grow);
	grown = atomic_load(&a->grow_seq) != seq; /* by another one, while we waited */
	if (!grown) {
		gained = find_some(fs, want, FIND_AT_ONCE);
		if (gained < want)
			gained += ask_host(
				fs, max_t(uint64_t, want - gained, step >> fs->geom.blkbits));
		if (gained < want) {
			gained += find_some(fs, want - gained, UINT64_MAX);
			if (!gained) /* all holes: now they can be asked for */
				gained += ask_host(fs,
						   max_t(uint64_t, want, step >> fs->geom.blkbits));
		}
		grown = gained > 0;
		if (grown)
			atomic_fetch_add(&a->grow_seq, 1);
	}
	pthread_mutex_unlock(&a->grow);
	return grown;
}

uint64_t alloc_growable(struct tfs_fs *fs, uint64_t known, uint64_t hidden)
{
	uint64_t used = fs->geom.total_blocks -
			min_t(uint64_t, fs->geom.total_blocks, known + hidden),
		 mine;
	struct bdev_usage u;

	if (bdev_usage(fs->bdev, &u))
		return 0;
	/* taken, but neither used nor known of: in groups not looked into yet */
	mine = u.taken >> fs->geom.blkbits;
	mine -= min_t(uint64_t, mine, used + known);
	return min_t(uint64_t, hidden, mine + (u.avail >> fs->geom.blkbits));
}
