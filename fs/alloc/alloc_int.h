/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the parts of the allocator (alloc*.c, space.c) share.  Nobody else includes this. */
#ifndef FS_ALLOC_INT_H
#define FS_ALLOC_INT_H

#include <stdatomic.h>
#include "core/lib/list.h"
#include "fs/disk/geom.h"
#include "fs/journal/trans.h"
#include "fs/state/fs.h"

/* Claim maps kept in memory: with 4 KiB blocks 16 MiB; thin devices 32, and 32 for each TiB in use
 * that has holes. */
#define AGROUP_MAX_LOADED 4096u
#define AGROUP_RUN_UNKNOWN UINT32_MAX
#define ALLOC_MAX_PREFAULT 32u

enum {
	AGROUP_KNOWN = 1 << 0,	    /* free and slots are right, map or not */
	AGROUP_BAD = 1 << 1,	    /* its bitmap can't be read: nothing is allocated there */
	AGROUP_NODES_FULL = 1 << 2, /* no free slot in its node area */
	/* thin devices only, see alloc_grow.c */
	AGROUP_FOUND = 1 << 3, /* what the host has of it is known */
	AGROUP_BACKED =
		1 << 4, /* @unbacked is not there, and all clear; else when not there all set */
};

/* One group in the claim view.  All zero: nothing known.  Under alloc->lock. */
struct agroup {
	void *map; /* claim map, block_size bytes; NULL: not loaded */
	/* thin devices: two more */
	void *unbacked; /* blocks not known to have space on the host; of its own, kept when @map is
			   dropped */
	void *hidden; /* those of them that are set in @map for no other reason; behind @map in the
			 same memory */
	uint32_t free, slots;
	uint32_t claimed, pending; /* blocks; while not 0 the map must stay in memory */
	uint32_t max_run; /* no free run behind the node area is longer; AGROUP_RUN_UNKNOWN */
	uint32_t flags;
	struct list_head lru; /* of those with a map, least recently loaded first */
};

struct tfs_alloc {
	pthread_mutex_t lock;
	pthread_cond_t freed; /* blocks were released or reservations given back */
	struct agroup *groups;
	struct list_head lru;
	unsigned int nr_loaded, max_loaded; /* groups with a map */
	_Atomic uint64_t open_groups;	    /* groups below this are in use or about to be */
	_Atomic uint64_t init_groups;	    /* cnt.groups_init, for a look without meta_lock */
	uint64_t stream;		    /* block: where data without a goal goes next */
	uint64_t node_group;		    /* where the last node was put */
	/* totals of the claim view, in blocks (slots: in nodes) */
	uint64_t free, slots, claimed, pending;
	uint64_t reserved;   /* for data in the cache, not yet claimed */
	uint64_t growth;     /* blocks that may still become an extent of their own; as of the last
				change */
	uint64_t const_pool; /* blocks for a few operations on the trees */
	uint64_t dirty_pool; /* blocks for overwriting */
	uint64_t released;   /* ever: tells whether a commit freed something */
	uint64_t enospc_commits;
	atomic_uint dying;		/* files without a name, opener or lookup, about to go */
	_Atomic uint64_t may_die_until; /* ns: some were deleted that have lookups left */
	_Atomic uint64_t new_ns;	/* as long as that who wants new blocks tries */
	_Atomic uint64_t forget_ns;	/* in which the last lookups of a deleted file go */
	/* held while the device discards them (alloc_trim.c): set in their maps, yet as good as
	 * free */
	uint64_t trimming, trim_slots; /* blocks; node slots */
	uint64_t trim_seq;	       /* goes up when some are let go */
	bool trim_busy;
	/* thin devices (alloc_grow.c): @free and @slots count blocks with space on the host, and
	 * these the others */
	bool thin;
	uint64_t hidden;	    /* blocks free but for that */
	_Atomic uint64_t nr_groups; /* groups from here on have no block to hand out yet; not thin:
				       all groups */
	uint64_t find_next;	    /* groups below have been looked into */
	uint64_t hidden_from;	    /* found groups below have no hidden blocks */
	pthread_mutex_t grow;	    /* who asks the host; outer to meta_lock */
	_Atomic uint64_t grow_seq;
	uint64_t refused_left; /* grow: bytes the host had left when it refused; UINT64_MAX: it has
				  not */
	/* slots that alloc_prefault_nodes made sure of, for the section that asked */
	const struct tfs_trans *prefault_for;
	unsigned int nr_prefault;
	uint64_t prefault[ALLOC_MAX_PREFAULT];
};

/* Where in a group tree nodes are kept together: bits [*from, *to). */
void alloc_node_area(const struct tfs_geom *g, uint64_t group, uint32_t *from, uint32_t *to);

/*
 * The group with its claim map, alloc->lock held; NULL and *err: the section must
 * read first (-TRANS_RESTART), no memory, or the bitmap is bad (the group is then marked).
 */
struct agroup *alloc_lock_group(struct tfs_trans *t, uint64_t group, int *err);
/* Same, in read sections of its own; no meta_lock held. */
struct agroup *alloc_lock_group_sleep(struct tfs_fs *fs, uint64_t group, int *err);

/* Change bits of a claim map and the counts of free blocks and slots.  alloc->lock held. */
void alloc_map_set(struct tfs_fs *fs, struct agroup *ag, uint32_t from, uint32_t to);
void alloc_map_clear(struct tfs_fs *fs, struct agroup *ag, uint32_t from, uint32_t to);

/* ---- thin devices, alloc_grow.c ---- */
/*
 * A claim map was just loaded: blocks without space are set in it.  *unbacked is a map to be had
 * for that, NULL then if it was taken.  alloc->lock held, as for the next two.
 */
void alloc_hide(struct tfs_fs *fs, struct agroup *ag, void **unbacked);
/* Blocks that are set in the map have lost their space. */
void alloc_unback(struct tfs_fs *fs, struct agroup *ag, uint32_t from, uint32_t to);
/*
 * The claim map is about to be dropped.  What is known of the host's space stays: finding it once
 * more would race with trimming, and never end where more groups have holes than may have maps.
 */
void alloc_keep_unbacked(struct tfs_fs *fs, struct agroup *ag);
/*
 * Make about @want more blocks free to hand out.  False: none can be had (always, where the device
 * is not thin).  No meta_lock, no alloc->lock.
 */
bool alloc_grow(struct tfs_fs *fs, uint64_t want);
/* What the host has of @group will be known. */
void alloc_find(struct tfs_fs *fs, uint64_t group);
/* How many of @hidden blocks could be had at this moment, @known being free now. */
uint64_t alloc_growable(struct tfs_fs *fs, uint64_t known, uint64_t hidden);
/* Blocks, and in *slots (or NULL) slots, that are free beyond all reservations and the pool.
 * alloc->lock held. */
uint64_t space_spare(const struct tfs_fs *fs, uint64_t *slots);

/*
 * Set or clear bits in the running transaction's bitmap, with the counts that go
 * along; clearing also tells the journal.  One group.  -EUCLEAN if a bit was so already.
 */
int alloc_disk_mark(struct tfs_trans *t, uint64_t start, uint64_t n, bool set);
/* The counters reservations depend on changed (meta_lock exclusive). */
void alloc_note_growth(struct tfs_fs *fs);

/* Blocks and slots that are free, or will be in a moment.  alloc->lock held. */
static inline uint64_t alloc_total_free(const struct tfs_alloc *a)
{
	return a->free + a->trimming;
}
static inline uint64_t alloc_total_slots(const struct tfs_alloc *a)
{
	return a->slots + a->trim_slots;
}
/*
 * For who has found nothing: alloc_trim_seq() before the search; is it worth another one, for
 * something was held meanwhile?  alloc_trim_wait() waits until that is let go; meta_lock may be
 * held, for trimming takes it only when it holds nothing.
 */
uint64_t alloc_trim_seq(struct tfs_fs *fs);
bool alloc_trim_wait(struct tfs_fs *fs, uint64_t *seq);

/* Free slots that data may not touch: those the trees may come to need.  alloc->lock held. */
uint64_t space_slot_reserve(const struct tfs_fs *fs);
void space_init(struct tfs_fs *fs);

#endif
