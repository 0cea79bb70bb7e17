/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Telling the device which blocks are free (FITRIM).
 *
 * What the claim map shows as free was never used, or was freed by a transaction that is durable:
 * no crash brings back anything that refers to it, and no checkpoint or replay writes it any more
 * (a freed node is revoked).  A run is *held* while the device works on it: set in the claim map,
 * so that nobody is handed it, and no lock.  Reservations go on counting it as free; who finds no
 * other block waits for the end of the step under way.
 *
 * A thin device loses the space: the run is hidden from then on (alloc_grow.c), and no reservation
 * counts it.
 */
#include <errno.h>
#include "core/block/bdev.h"
#include "core/lib/util.h"
#include "fs/alloc/alloc_int.h"
#include "fs/alloc/alloc_trim.h"
#include "fs/disk/block_bitmap.h"
#include "fs/disk/geom.h"
#include "fs/state/error.h"
#include "fs/state/fs.h"

#define TRIM_STEP (32u << 20) /* bytes held at once */

struct trim {
	struct tfs_fs *fs;
	struct tfs_alloc *a;
	uint64_t minlen;  /* blocks */
	uint64_t trimmed; /* blocks so far */
	bool (*stop)(void *arg);
	void *arg;
	/* in the group at hand, bits: what is held, and the end of the run it is a part of */
	uint32_t at, n, run_end;
	uint64_t slots;
};

uint64_t alloc_trim_seq(struct tfs_fs *fs)
{
	uint64_t seq;

	pthread_mutex_lock(&fs->alloc->lock);
	seq = fs->alloc->trim_seq;
	pthread_mutex_unlock(&fs->alloc->lock);
	return seq;
}

bool alloc_trim_wait(struct tfs_fs *fs, uint64_t *seq)
{
	struct tfs_alloc *a = fs->alloc;
	bool again;

	pthread_mutex_lock(&a->lock);
	again = a->trimming || a->trim_seq != *seq;
	while (a->trimming && a->trim_seq == *seq)
		pthread_cond_wait(&a->freed, &a->lock);
	*seq = a->trim_seq;
	pthread_mutex_unlock(&a->lock);
	return again;
}

/*
 * On a thin device what is discarded has no space any more, but reservations and the pool must keep
 * theirs: as many blocks of a run as can be spared.
 */
static uint32_t spared(struct trim *tr, uint32_t n)
{
	uint64_t slots, blocks = space_spare(tr->fs, &slots);

	if (!tr->a->thin)
		return n;
	blocks = min_t(uint64_t, blocks, slots * tr->fs->geom.node_blocks);
	return (uint32_t)min_t(uint64_t, n, round_down_to(blocks, tr->fs->geom.node_blocks));
}

/*
 * Hold the next piece of a long enough run in [from, to).  False: there is none.  alloc->lock held.
 * Pieces begin and end where the device can discard, and, but for the ends of a run, with a slot.
 */
static bool hold_next(struct trim *tr, struct agroup *ag, uint32_t from, uint32_t to)
{
	const struct tfs_geom *g = &tr->fs->geom;
	uint32_t unit = max_t(uint32_t, tr->fs->bdev->align >> g->blkbits, 1);
	uint32_t step = max_t(uint32_t, TRIM_STEP >> g->blkbits, g->node_blocks);
	uint32_t b, e, end;

	for (b = block_bitmap_next_clear(ag->map, from, to); b < to;
	     b = block_bitmap_next_clear(ag->map, e, to)) {
		e = block_bitmap_next_set(ag->map, b, to);
		/* the rest of a run of which a part is done already */
		if (e - b < tr->minlen && !(b == from && b < tr->run_end))
			continue;
		tr->run_end = e;
		end = e - b > step ? (uint32_t)round_down_to(b + step, g->node_blocks) : e;
		b = (uint32_t)round_up_to(b, unit);
		end = (uint32_t)round_down_to(end, unit);
		if (b < end)
			end = b + spared(tr, end - b);
		if (b >= end)
			continue;
		tr->at = b;
		tr->n = end - b;
		tr->slots = ag->slots;
		alloc_map_set(tr->fs, ag, b, end);
		tr->slots -= ag->slots;
		ag->claimed += tr->n; /* keeps the map in memory */
		if (tr->a->thin) {
			tr->a->hidden += tr->n;
			return true;
		}
		tr->a->trimming += tr->n;
		tr->a->trim_slots += tr->slots;
		return true;
	}
	return false;
}

static void let_go(struct trim *tr, struct agroup *ag)
{
	pthread_mutex_lock(&tr->a->lock);
	ag->claimed -= tr->n;
	if (tr->a->thin) {
		alloc_unback(tr->fs, ag, tr->at, tr->at + tr->n);
	} else {
		alloc_map_clear(tr->fs, ag, tr->at, tr->at + tr->n);
		tr->a->trimming -= tr->n;
		tr->a->trim_slots -= tr->slots;
	}
	tr->a->trim_seq++;
	pthread_cond_broadcast(&tr->a->freed);
	pthread_mutex_unlock(&tr->a->lock);
}

static int trim_group(struct trim *tr, uint64_t group, uint32_t from, uint32_t to)
{
	struct tfs_fs *fs = tr->fs;
	uint64_t first = tfs_group_start(&fs->geom, group);
	struct agroup *ag;
	bool found;
	int err = 0;

	tr->run_end = 0;
	for (; !err; from = tr->at + tr->n) {
		err = tfs_writable(fs);
		if (!err && tr->stop && tr->stop(tr->arg))
			err = -EINTR;
		if (err)
			return err;
		ag = alloc_lock_group_sleep(fs, group, &err);
		if (!ag) /* one that can't be read has no blocks for anybody */
			return err == -ENOMEM ? err : 0;
		found = hold_next(tr, ag, from, to);
		pthread_mutex_unlock(&tr->a->lock);
		if (!found)
			return 0;
		err = bdev_discard(fs->bdev, tfs_block_to_byte(fs, first + tr->at),
				   tfs_block_to_byte(fs, tr->n));
		let_go(tr, ag);
		if (!err)
			tr->trimmed += tr->n;
	}
	return err;
}

static bool known_full(struct tfs_alloc *a, uint64_t group)
{
	bool full;

	pthread_mutex_lock(&a->lock);
	full = a->groups[group].flags & AGROUP_KNOWN && !a->groups[group].free;
	pthread_mutex_unlock(&a->lock);
	return full;
}

/* Blocks [from, to), group by group. */
static int trim_range(struct trim *tr, uint64_t from, uint64_t to)
{
	const struct tfs_geom *g = &tr->fs->geom;
	uint64_t group, first, last;
	int err = 0;

	for (group = tfs_group_of(g, from); !err && from < to; group++) {
		first = tfs_group_start(g, group);
		last = min_t(uint64_t, to, first + tfs_group_nr_blocks(g, group));
		alloc_find(tr->fs, group);
		if (!known_full(tr->a, group))
			err = trim_group(tr, group, (uint32_t)(from - first),
					 (uint32_t)(last - first));
		from = last;
	}
	return err;
}

/* One at a time: each takes a thread of the front end for as long as it lasts. */
static bool take_turn(struct tfs_alloc *a)
{
	bool mine;

	pthread_mutex_lock(&a->lock);
	mine = !a->trim_busy;
	a->trim_busy = true;
	pthread_mutex_unlock(&a->lock);
	return mine;
}

static void end_turn(struct tfs_alloc *a)
{
	pthread_mutex_lock(&a->lock);
	a->trim_busy = false;
	pthread_mutex_unlock(&a->lock);
}

int alloc_trim(struct tfs_fs *fs, uint64_t from, uint64_t to, uint64_t minlen,
	       bool (*stop)(void *arg), void *arg, uint64_t *trimmed)
{
	struct trim tr = { .fs = fs, .a = fs->alloc, .minlen = minlen, .stop = stop, .arg = arg };
	int err;

	*trimmed = 0;
	if (!take_turn(fs->alloc))
		return -EBUSY;
	err = trim_range(&tr, from, to);
	end_turn(fs->alloc);
	*trimmed = tr.trimmed;
	return err;
}
