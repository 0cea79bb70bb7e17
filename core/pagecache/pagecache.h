/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The page cache: folios of several blocks, per-block uptodate and dirty bits,
 * dirty accounting, throttling, a flusher and reclaim.
 *
 * Lock order (outer to inner):
 *   file system's inode lock -> folio lock -> file system's own locks (taken
 *   inside iomap_ops) -> mapping->lock -> folio state lock -> cache lock.
 *
 * Invariants (asserted in debug builds):
 *  - a block with its dirty bit set is uptodate and present;
 *  - FOLIO_UPTODATE is set exactly when all its blocks are uptodate;
 *  - the memory of a block under writeback does not change: a writer gives the
 *    block fresh memory instead, the bio keeps a reference on the old segment;
 *  - a folio is tagged in its mapping's index exactly when it has a dirty block
 *    (the tag follows the block bits under mapping->lock);
 *  - a block goes under writeback again only after its previous writeback has
 *    completed (folio-wise), so completions of one block never overtake.
 */
#ifndef CORE_PAGECACHE_H
#define CORE_PAGECACHE_H

#include <pthread.h>
#include <stdatomic.h>
#include "core/block/bio.h"
#include "core/lib/list.h"
#include "core/lib/radix.h"
#include "core/block/seg.h"

struct pagecache;
struct address_space;
struct writeback_control;

struct pagecache_config {
	uint64_t cache_bytes; /* bound on memory held (segments and folios); 0: none */
	uint64_t dirty_bytes; /* writers are throttled here (dirty and under writeback); 0: never */
	uint64_t background_bytes;	/* the flusher starts here; 0: half of dirty_bytes */
	unsigned int flush_interval_ms; /* how often dirty data is written; 0: only on pressure and
					   request */
};

/*
 * Per-block memory of a folio.  addr == NULL: not present.  seg == NULL with
 * an address: the block is all zeros and shares static memory, which nobody
 * writes to.
 */
struct folio_block {
	struct seg *seg;
	void *addr;
};

/*
 * Per-folio state (docs/IO.md, row B2): created with the first use, lives as long as the
 * folio.  The lock covers all of it and the folio's blocks[].
 */
struct folio_state {
	pthread_mutex_t lock;
	uint32_t read_bytes_pending, write_bytes_pending;
	uint32_t nr_uptodate, nr_dirty; /* bits set */
	unsigned long bits[]; /* uptodate, dirty, error, writeback bits: one run of longs each */
};

enum {
	FOLIO_LOCKED = 1 << 0,
	FOLIO_UPTODATE = 1 << 1,
	FOLIO_DIRTY = 1 << 2,
	FOLIO_WRITEBACK = 1 << 3,
	FOLIO_ERROR = 1 << 4,
	FOLIO_REFERENCED = 1 << 5,
	FOLIO_WAITERS = 1 << 6, /* somebody sleeps for LOCKED or WRITEBACK to go */
};

struct folio {
	struct address_space *mapping; /* NULL once removed (truncated or reclaimed); stable under
					  the folio lock */
	struct pagecache *cache;
	uint64_t index; /* file offset >> mapping->folio_shift */
	atomic_uint refs;
	atomic_uint flags;
	struct folio_state *_Atomic state; /* NULL: no block present */
	struct list_head lru;
	uint32_t nblocks;
	struct folio_block blocks[];
};

/* What the file system does for a mapping. */
struct address_space_ops {
	/* Write dirty blocks of the range in @wbc; see iomap_writepages. */
	int (*writepages)(struct address_space *m, struct writeback_control *wbc);
	/*
	 * @nblocks dirty blocks were dropped without being written (truncate,
	 * invalidate): the space reserved for them goes back.
	 */
	void (*undirty)(struct address_space *m, uint64_t nblocks);
	/*
	 * The flusher and pagecache_sync() hold a mapping only through these.
	 * grab: false if it is going away; called with the cache's innermost lock
	 * held, so no more than an atomic operation or a leaf lock.  drop:
	 * no lock held.  Both may be NULL where mappings outlive the cache's use.
	 */
	bool (*grab)(struct address_space *m);
	void (*drop)(struct address_space *m);
};

struct address_space {
	struct pagecache *cache;
	void *host;   /* the file system's inode */
	uint64_t ino; /* for messages */
	const struct address_space_ops *a_ops;
	unsigned int blkbits;	  /* log2 of the block size */
	unsigned int folio_shift; /* log2 of the folio size, >= blkbits */
	atomic_ullong i_size;	  /* bytes; written under the inode lock */
	pthread_mutex_t lock;	  /* index and its tags */
	struct radix_tree index;  /* of folios; tagged: has a dirty block */
	uint64_t nr_folios;
	struct list_head
		busy_link; /* in the cache's list of mappings with dirty or writeback blocks */
	uint64_t busy_seq; /* place in that list */
	atomic_ullong nr_dirty_blocks, nr_writeback_blocks;
	/* Both in one: never 0 for a moment while blocks go from one state to the other.  Ask
	 * mapping_busy(). */
	atomic_ullong nr_busy_blocks;
	atomic_ullong wb_err;	   /* errseq: see mapping_set_error */
	atomic_ullong wb_retry_ns; /* after an error: when the flusher tries again */
	/* sequential reads: where the last one ended, how far and how much is read ahead; hints,
	 * unlocked */
	atomic_ullong ra_prev, ra_end, ra_window;
};

struct writeback_control {
	uint64_t start, end;  /* byte range, @end exclusive; UINT64_MAX: to the end */
	uint64_t nr_to_write; /* blocks; UINT64_MAX: all */
	bool sync;	      /* data integrity: wait for writeback under way and redo */
	uint64_t written;     /* out: blocks submitted */
};

/* NULL if out of memory.  Starts the flusher thread when flush_interval_ms or background_bytes ask
 * for one. */
struct pagecache *pagecache_create(const struct pagecache_config *cfg);
/* Every mapping must have been removed. */
void pagecache_destroy(struct pagecache *pc);
/*
 * Start the flusher of a cache that was created without one (before a fork, say), and with it the
 * dirty limit. 0 or -errno.  pagecache_stop: the flusher rests, writers are no longer throttled.
 */
int pagecache_start(struct pagecache *pc, uint64_t dirty_bytes, unsigned int flush_interval_ms);
void pagecache_stop(struct pagecache *pc);
struct seg_pool *pagecache_segs(struct pagecache *pc);
/* seg_alloc() within the bound as far as can be.  NULL: out of memory. */
struct seg *pagecache_seg_alloc(struct pagecache *pc, size_t bytes);
/* Drop clean folios until at most @target bytes are held (0: all that can go).  Returns bytes
 * freed. */
uint64_t pagecache_shrink(struct pagecache *pc, uint64_t target);
/*
 * Drop the clean folios that lie in bytes [start, end) up to the last whole one: their reader has
 * them, and keeps a copy of its own.  Does not wait: what is in use stays.
 */
void pagecache_drop_behind(struct address_space *m, uint64_t start, uint64_t end);
/*
 * How much one reader or writer should bring into the cache at a time, so that several of them find
 * room in it: an eighth of the bound, a power of two within these.
 */
#define PAGECACHE_UNIT_MIN (64u << 10)
#define PAGECACHE_UNIT_MAX (1u << 20)
size_t pagecache_unit(const struct pagecache *pc);
/* Change the bounds at run time. */
void pagecache_set_limits(struct pagecache *pc, uint64_t cache_bytes, uint64_t dirty_bytes);
/*
 * Have the flusher write some of what is dirty now (space is short).  Does not
 * wait; callable under any lock but its own.
 */
void pagecache_kick(struct pagecache *pc);
/* Write everything dirty in every mapping.  @wait: until it is done.  First error. */
int pagecache_sync(struct pagecache *pc, bool wait);

struct pagecache_stats {
	uint64_t folios, bytes, dirty_bytes, writeback_bytes, reclaimed_folios, throttled;
	uint64_t read_hits, read_misses; /* blocks */
	uint64_t ioends_built, ioends_merged;
	uint64_t direct_read_bytes, direct_write_bytes; /* past the cache */
};
void pagecache_get_stats(struct pagecache *pc, struct pagecache_stats *st);

void mapping_init(struct address_space *m, struct pagecache *pc, void *host, uint64_t ino,
		  const struct address_space_ops *a_ops, unsigned int blkbits,
		  unsigned int folio_shift);
/* Must be empty (truncate_inode_pages(m, 0) first). */
void mapping_destroy(struct address_space *m);

static inline uint64_t i_size_read(struct address_space *m)
{
	return atomic_load(&m->i_size);
}
static inline void i_size_write(struct address_space *m, uint64_t size)
{
	atomic_store(&m->i_size, size);
}

/* Is any block dirty or under writeback?  (Two looks, at one count and then the other, could miss a
 * writeback failing.)
 */
static inline bool mapping_busy(struct address_space *m)
{
	return atomic_load(&m->nr_busy_blocks);
}

/* Folios come referenced; folio_put when done. */
struct folio *filemap_get_folio(struct address_space *m, uint64_t index); /* NULL: not cached */
struct folio *filemap_lock_folio(struct address_space *m,
				 uint64_t index); /* locked; NULL: not cached */
struct folio *filemap_grab_folio(struct address_space *m,
				 uint64_t index); /* locked, created; NULL: out of memory */
void folio_put(struct folio *f);
void folio_lock(struct folio *f);
bool folio_trylock(struct folio *f);
void folio_unlock(struct folio *f);
void folio_wait_writeback(struct folio *f);
/* A folio that is in no index yet (for iomap_migrate_folio): referenced, locked.  NULL: out of
 * memory. */
struct folio *folio_alloc(struct address_space *m, uint64_t index);
static inline bool folio_test(const struct folio *f, unsigned int flag)
{
	return atomic_load(&f->flags) & flag;
}

/* True while any block of the range is dirty or under writeback. */
bool filemap_range_busy(struct address_space *m, uint64_t start, uint64_t end);

/* Start (and wait for) writeback of dirty blocks in bytes [start, end).  0 or the first error of
 * this run. */
int filemap_fdatawrite_range(struct address_space *m, uint64_t start, uint64_t end);
void filemap_fdatawait_range(struct address_space *m, uint64_t start, uint64_t end);
int filemap_write_and_wait_range(struct address_space *m, uint64_t start, uint64_t end);

/*
 * Remove cached blocks from byte @start (block aligned up by the caller's
 * iomap_truncate_page) to the end / in [start, end).  Dirty ones are dropped (and
 * a_ops->undirty told), ones under writeback or read are waited for.
 */
void truncate_inode_pages(struct address_space *m, uint64_t start);
void truncate_inode_pages_range(struct address_space *m, uint64_t start, uint64_t end);
/* Drop clean blocks only; -EBUSY if a dirty one or one under writeback was in the range. */
int invalidate_inode_pages_range(struct address_space *m, uint64_t start, uint64_t end);

/* Writers call this (no folio lock held) after dirtying: waits while over the dirty limit. */
void balance_dirty_pages(struct address_space *m);

/*
 * errseq (docs/IO.md, row B17): an error is remembered on the mapping and seen once by
 * each open file.  A file samples at open; mapping_check_and_advance_error()
 * returns the error if one was recorded since its sample.
 */
void mapping_set_error(struct address_space *m, int err);
uint64_t mapping_sample_error(struct address_space *m);
int mapping_check_and_advance_error(struct address_space *m, uint64_t *since);

#endif
