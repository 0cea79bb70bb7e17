/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reservations (rule 6).  Of the blocks that are free in the claim view,
 *
 *   |<- users ->|<- reserved for dirty data ->|<- overwriting ->|<- trees ->|
 *
 * the last two are the hidden pool.  "Trees": a leaf half full for each block of data
 * that may yet become an extent of its own (each overwrite can split an
 * extent), and a few nodes for operations under way.  "Overwriting": new blocks are
 * written before the old ones go free, so as many as may be dirty at once.
 */
#include <errno.h>
#include <time.h>
#include "core/lib/clock.h"
#include "core/lib/util.h"
#include "core/pagecache/pagecache.h"
#include "fs/alloc/alloc_int.h"
#include "fs/alloc/space.h"
#include "fs/disk/geom.h"
#include "fs/journal/journal.h"
#include "fs/state/fs.h"
#include "tallyfs/format.h"

/* Bytes of tree for one more extent, nodes being half full at worst. */
#define EXTENT_BYTES (2 * (sizeof(struct tfs_item) + sizeof(struct tfs_extent_item)))
#define CONST_NODES 64	  /* for operations under way */
#define CONST_NODES_MIN 8 /* on the smallest device */
#define DIRTY_DEFAULT (64ull << 20)
#define POOL_MIN 64u	   /* blocks for overwriting, should the dirty limit be less */
#define OVERWRITE_MIN 16u  /* of them, those that truncation leaves alone */
#define META_NODES 4	   /* what a namespace operation may take at once */
#define OVERWRITE_WAITS 50 /* of 100 ms, without any block going free */
#define NEW_NS 2000000000ull
#define FORGET_NS 500000000ull

void space_init(struct tfs_fs *fs)
{
	const struct tfs_geom *g = &fs->geom;
	struct tfs_alloc *a = fs->alloc;
	uint64_t dirty = fs->opts.dirty_size ? fs->opts.dirty_size : DIRTY_DEFAULT;
	uint64_t nb = g->node_blocks;

	a->const_pool = max_t(uint64_t, min_t(uint64_t, g->total_blocks / 32, CONST_NODES * nb),
			      CONST_NODES_MIN * nb);
	a->new_ns = NEW_NS;
	a->forget_ns = FORGET_NS;
	a->dirty_pool = min_t(uint64_t, max_t(uint64_t, dirty >> g->blkbits, POOL_MIN),
			      g->total_blocks / 16);
}

/*
 * A thin device is as large as what it has taken from the host, and @more blocks: the pool must not
 * fill what little that is.
 */
static uint64_t overwrite_pool_with(const struct tfs_fs *fs, uint64_t more)
{
	const struct tfs_geom *g = &fs->geom;
	const struct tfs_alloc *a = fs->alloc;
	uint64_t rest, have;

	if (!a->thin)
		return a->dirty_pool;
	/* what was never used has structures that are not there yet */
	rest = a->hidden +
	       (g->nr_groups - a->nr_groups) * (tfs_group_first_free(g, 1) - tfs_group_start(g, 1));
	have = g->total_blocks - min_t(uint64_t, g->total_blocks, rest);
	return min_t(uint64_t, a->dirty_pool, max_t(uint64_t, (have + more) / 16, POOL_MIN));
}

static uint64_t overwrite_pool(const struct tfs_fs *fs)
{
	return overwrite_pool_with(fs, 0);
}

/* Blocks the trees may come to need when @extra more blocks of data are reserved. */
static uint64_t tree_need(const struct tfs_fs *fs, uint64_t extra)
{
	const struct tfs_alloc *a = fs->alloc;
	uint64_t bytes = (a->growth + a->claimed + a->reserved + extra) * EXTENT_BYTES;

	return div_up(bytes, fs->geom.node_size - sizeof(struct tfs_node)) * fs->geom.node_blocks +
	       a->const_pool;
}

uint64_t space_slot_reserve(const struct tfs_fs *fs)
{
	return tree_need(fs, 0) / fs->geom.node_blocks;
}

/*
 * How many blocks are missing for @blocks more to be covered?  alloc->lock held.  Truncation leaves
 * a part of the pool: overwriting gives back what it takes, a truncation of shared blocks does not.
 */
static uint64_t shortage(const struct tfs_fs *fs, uint64_t blocks, enum space_use use)
{
	const struct tfs_alloc *a = fs->alloc;
	uint64_t pool = overwrite_pool(fs);
	uint64_t keep = use == SPACE_NEW	? pool
			: use == SPACE_TRUNCATE ? min_t(uint64_t, pool / 2, OVERWRITE_MIN)
						: 0;
	uint64_t need = a->reserved + tree_need(fs, blocks) + keep + blocks;

	return need > alloc_total_free(a) ? need - alloc_total_free(a) : 0;
}

static bool fits(const struct tfs_fs *fs, uint64_t blocks, enum space_use use)
{
	return !shortage(fs, blocks, use);
}

/* Are @extra slots more there than the trees' own?  How many are missing. */
static uint64_t slot_shortage(const struct tfs_fs *fs, uint64_t extra)
{
	uint64_t need = space_slot_reserve(fs) + extra;

	return need > alloc_total_slots(fs->alloc) ? need - alloc_total_slots(fs->alloc) : 0;
}

uint64_t space_spare(const struct tfs_fs *fs, uint64_t *slots)
{
	const struct tfs_alloc *a = fs->alloc;
	uint64_t keep = a->reserved + tree_need(fs, 0) + overwrite_pool(fs),
		 reserve = space_slot_reserve(fs);

	if (slots)
		*slots = a->slots > reserve ? a->slots - reserve : 0;
	return a->free > keep ? a->free - keep : 0;
}

/*
 * A thin device: get from the host what @blocks, and the trees' slots, are short of.  True if it
 * gave some. alloc->lock held, and let go meanwhile.
 */
static bool grow_image(struct tfs_fs *fs, uint64_t blocks, enum space_use use)
{
	struct tfs_alloc *a = fs->alloc;
	uint64_t want = max_t(uint64_t, shortage(fs, blocks, use),
			      slot_shortage(fs, META_NODES) * fs->geom.node_blocks);
	bool grown;

	if (!a->thin || !want)
		return false;
	pthread_mutex_unlock(&a->lock);
	grown = alloc_grow(fs, want);
	pthread_mutex_lock(&a->lock);
	return grown;
}

void space_back_pool(struct tfs_fs *fs)
{
	struct tfs_alloc *a = fs->alloc;

	pthread_mutex_lock(&a->lock);
	while (grow_image(fs, META_NODES * fs->geom.node_blocks, SPACE_NEW))
		;
	pthread_mutex_unlock(&a->lock);
}

/* Commit, with alloc->lock let go.  *freed: blocks went free meanwhile. */
static int force_commit(struct tfs_fs *fs, bool *freed)
{
	struct tfs_alloc *a = fs->alloc;
	uint64_t before = a->released;
	int err;

	a->enospc_commits++;
	pthread_mutex_unlock(&a->lock);
	err = journal_commit_all(fs);
	pthread_mutex_lock(&a->lock);
	*freed = a->released != before;
	return err;
}

/* Until a block goes free or a reservation is given back, at most 100 ms. */
static void wait_freed(struct tfs_alloc *a)
{
	struct timespec end;

	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_nsec += 100000000;
	if (end.tv_nsec >= 1000000000) {
		end.tv_nsec -= 1000000000;
		end.tv_sec++;
	}
	pthread_cond_timedwait(&a->freed, &a->lock, &end);
}

void space_dying(struct tfs_fs *fs, int n)
{
	atomic_fetch_add(&fs->alloc->dying, (unsigned int)n);
}

void space_may_die(struct tfs_fs *fs)
{
	atomic_store(&fs->alloc->may_die_until, now_ns() + fs->alloc->forget_ns);
}

/*
 * Are blocks on their way to be free?  What the reaper removes, or is about to, for all; and who
 * overwrites, and dipped into all there is: other dirty data is on its way to the device, and the
 * blocks it replaces go free with its commit.  The reaper itself does not wait for the reaper.
 */
static bool more_to_come(const struct tfs_fs *fs, enum space_use use)
{
	const struct tfs_alloc *a = fs->alloc;

	if (fs->opts.no_threads)
		return false;
	if (use == SPACE_NEW)
		return atomic_load(&a->dying) || now_ns() < atomic_load(&a->may_die_until);
	return a->reserved || a->claimed || a->pending;
}

struct patience {
	uint64_t until;	    /* SPACE_NEW: ns */
	unsigned int waits; /* others: in a row, without any block going free */
};

/*
 * A commit has not made room for @blocks: try once more, perhaps after a wait?  Others who
 * overwrite free blocks all the time and take as many, so that who wants new ones asks the clock.
 * A single block to overwrite is waited for; who wants many can do with fewer for now.
 */
static bool try_again(struct tfs_fs *fs, uint64_t blocks, enum space_use use, bool freed, bool more,
		      struct patience *p)
{
	if (use == SPACE_NEW && now_ns() >= p->until)
		return false;
	if (freed) {
		p->waits = 0;
		return true;
	}
	if (!more || (use != SPACE_NEW && ++p->waits > (blocks == 1 ? OVERWRITE_WAITS : 1)))
		return false;
	if (fs->pagecache)
		pagecache_kick(fs->pagecache);
	wait_freed(fs->alloc);
	return true;
}

int space_reserve(struct tfs_fs *fs, uint64_t blocks, enum space_use use)
{
	struct patience p = { .until = now_ns() + fs->alloc->new_ns };
	struct tfs_alloc *a = fs->alloc;
	bool freed, more;
	int err = 0;

	pthread_mutex_lock(&a->lock);
	while (!fits(fs, blocks, use)) {
		if (grow_image(fs, blocks, use))
			continue;
		more = more_to_come(fs, use); /* before the commit: it is the last word */
		err = force_commit(fs, &freed);
		if (err || fits(fs, blocks, use))
			break;
		if (!try_again(fs, blocks, use, freed, more, &p)) {
			err = -ENOSPC;
			break;
		}
	}
	if (!err)
		a->reserved += blocks;
	pthread_mutex_unlock(&a->lock);
	return err;
}

void space_reserve_again(struct tfs_fs *fs, uint64_t blocks)
{
	struct tfs_alloc *a = fs->alloc;

	pthread_mutex_lock(&a->lock);
	a->reserved += blocks;
	pthread_mutex_unlock(&a->lock);
}

void space_unreserve(struct tfs_fs *fs, uint64_t blocks)
{
	struct tfs_alloc *a = fs->alloc;

	pthread_mutex_lock(&a->lock);
	assert(a->reserved >= blocks);
	a->reserved -= min_t(uint64_t, a->reserved, blocks);
	pthread_cond_broadcast(&a->freed);
	pthread_mutex_unlock(&a->lock);
}

/* alloc->lock held, and let go meanwhile. */
static bool meta_fits(struct tfs_fs *fs, enum space_use use)
{
	uint64_t blocks = META_NODES * fs->geom.node_blocks;

	do {
		if (fits(fs, blocks, use) && !slot_shortage(fs, use == SPACE_NEW ? META_NODES : 0))
			return true;
	} while (grow_image(fs, blocks, use));
	return false;
}

int space_check_meta(struct tfs_fs *fs, enum space_use use)
{
	struct patience p = { .until = now_ns() + fs->alloc->new_ns };
	struct tfs_alloc *a = fs->alloc;
	bool freed, more;
	int err = 0;

	pthread_mutex_lock(&a->lock);
	while (!meta_fits(fs, use)) {
		more = use == SPACE_NEW && more_to_come(fs, use);
		err = force_commit(fs, &freed);
		if (err || meta_fits(fs, use))
			break;
		if (!try_again(fs, META_NODES, use, freed, more, &p)) {
			err = -ENOSPC;
			break;
		}
	}
	pthread_mutex_unlock(&a->lock);
	return err;
}

void space_statfs(struct tfs_fs *fs, uint64_t *avail, uint64_t *free_blocks, uint64_t *total)
{
	struct tfs_alloc *a = fs->alloc;
	uint64_t need, hidden, more = 0;

	pthread_mutex_lock(&a->lock);
	*avail = alloc_total_free(a) + a->pending;
	hidden = a->hidden;
	pthread_mutex_unlock(&a->lock);
	*free_blocks = *avail + hidden;
	/* no more than the host can give; what is taken from it makes the pool grow */
	if (hidden)
		more = alloc_growable(fs, *avail, hidden);
	pthread_mutex_lock(&a->lock);
	need = a->reserved + tree_need(fs, 0) + overwrite_pool_with(fs, more);
	pthread_mutex_unlock(&a->lock);
	*avail += more;
	*avail = *avail > need ? *avail - need : 0;
	/* data brings its share of the trees' part along */
	*avail -= *avail * EXTENT_BYTES / (fs->geom.block_size + EXTENT_BYTES);
	*total = fs->geom.total_blocks;
}

void space_get_stats(struct tfs_fs *fs, struct tfs_space_stats *st)
{
	struct tfs_alloc *a = fs->alloc;

	pthread_mutex_lock(&a->lock);
	st->free_blocks = alloc_total_free(a) + a->hidden;
	st->claimed = a->claimed;
	st->reserved = a->reserved;
	st->pending_free = a->pending;
	st->hidden_pool = tree_need(fs, 0) + overwrite_pool(fs);
	st->enospc_commits = a->enospc_commits;
	pthread_mutex_unlock(&a->lock);
}
