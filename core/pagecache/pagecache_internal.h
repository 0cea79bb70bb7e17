/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the parts of the page cache (folio, filemap, reclaim, flusher) and iomap share among
 * themselves. */
#ifndef CORE_PAGECACHE_INTERNAL_H
#define CORE_PAGECACHE_INTERNAL_H

#include "core/lib/bitmap.h"
#include "core/lib/clock.h"
#include "core/pagecache/pagecache.h"

struct pagecache {
	struct seg_pool *segs;
	atomic_ullong cache_bytes, dirty_limit, background; /* bounds; 0: none */
	unsigned int flush_interval_ms;

	pthread_mutex_t lock;  /* the cache lock: lru, busy */
	struct list_head lru;  /* all folios in an index, coldest first */
	struct list_head busy; /* mappings with dirty or writeback blocks, by busy_seq */
	uint64_t seq;

	atomic_ullong nr_folios, folio_bytes;
	atomic_ullong dirty_bytes, writeback_bytes;
	atomic_ullong reclaimed, throttled, read_hits, read_misses;
	atomic_ullong ioends_built, ioends_merged;
	atomic_ullong direct_read_bytes, direct_write_bytes;

	/* writers wait here for writeback to make progress */
	pthread_mutex_t progress_lock;
	pthread_cond_t progress;
	atomic_uint progress_waiters, progress_gen;
	uint64_t async_reads; /* bios of readahead in flight, which nobody waits for */

	pthread_mutex_t flusher_lock;
	pthread_cond_t flusher_wake;
	pthread_t flusher;
	bool flusher_running, flusher_stop, kicked;
	atomic_bool refused; /* memory has been: the flusher is to make the cache smaller */
};

/* Bits of a folio's state: struct folio_state::bits holds a run of longs for each. */
enum folio_bits { FB_UPTODATE, FB_DIRTY, FB_ERROR, FB_WRITEBACK, FB_NR };

static inline unsigned long *folio_bits(const struct folio *f, struct folio_state *fs,
					enum folio_bits which)
{
	return fs->bits + (size_t)which * BITS_TO_LONGS(f->nblocks);
}

static inline struct folio_state *folio_state(const struct folio *f)
{
	return atomic_load_explicit(&f->state, memory_order_acquire);
}

static inline uint64_t folio_pos(const struct address_space *m, const struct folio *f)
{
	return f->index << m->folio_shift;
}

/* ---- folio.c ---- */
/* Clears FOLIO_WRITEBACK and wakes who waits; the caller holds a reference.  The mapping may be
 * gone afterwards. */
void folio_end_writeback(struct folio *f);
void folio_get(struct folio *f);
/* The state, made if there is none (folio locked).  NULL: out of memory. */
struct folio_state *folio_state_create(struct folio *f);
bool folio_has_busy_blocks(struct folio *f); /* dirty or under writeback */

/* ---- reclaim.c ---- */
/* Memory was refused: the bound goes down.  By the flusher, or who else needs memory and holds no
 * lock of the cache. */
void pagecache_yield(struct pagecache *pc);

/* ---- filemap.c ---- */
/* First folio at or after *@index (up to @last), referenced; @dirty: with a dirty block. */
struct folio *filemap_next_folio(struct address_space *m, uint64_t *index, uint64_t last,
				 bool dirty);
/* Up to @n folios of indices @index, @index + 1, ... into @out (referenced, or NULL where there is
 * none). */
void filemap_get_batch(struct address_space *m, uint64_t index, unsigned int n, struct folio **out);
/* Like filemap_grab_folio(), but NULL instead of waiting for the lock. */
struct folio *filemap_try_grab_folio(struct address_space *m, uint64_t index);
/* a_ops->writepages(), its error recorded on the mapping: the file system may have tried more than
 * once. */
int filemap_writepages(struct address_space *m, struct writeback_control *wbc);
/* Make the index tag of a folio follow its bits. */
void filemap_sync_dirty_tag(struct address_space *m, struct folio *f);
/* Take a locked folio out of the index if nobody but the caller and the index holds it (@force:
 * whoever does). */
bool filemap_remove_folio(struct address_space *m, struct folio *f, bool force);
/* Replace @from by @to in the index; both locked. */
void filemap_replace_folio(struct address_space *m, struct folio *from, struct folio *to);

/* ---- pagecache.c: accounting ---- */
void mapping_account(struct address_space *m, int64_t dirty_blocks, int64_t writeback_blocks);
uint64_t pagecache_usage(const struct pagecache *pc);
bool pagecache_over(const struct pagecache *pc, uint64_t more);
/* Writeback of @m failed: the flusher leaves it alone for a while. */
void mapping_back_off(struct address_space *m);

/* ---- errseq.c: has an error been recorded since a mark, seen by anybody or not? ---- */
uint64_t mapping_error_mark(struct address_space *m);
int mapping_error_after(struct address_space *m, uint64_t mark);

/* A readahead bio starts; it has ended and holds nothing of the cache any more. */
void pagecache_async_read_start(struct pagecache *pc);
void pagecache_async_read_end(struct pagecache *pc);

/* ---- reclaim.c ---- */
void lru_add(struct pagecache *pc, struct folio *f);
void lru_del(struct pagecache *pc, struct folio *f);
void folio_mark_accessed(struct folio *f);
/*
 * Make room for @bytes under the cache's bound: clean folios go, and where all
 * is dirty the flusher gets a bounded time.  @may_wait: false only drops what is
 * clean.  Returns false if the bound is exceeded all the same.
 */
bool pagecache_make_room(struct pagecache *pc, uint64_t bytes, bool may_wait);

/* ---- flusher.c ---- */
int flusher_start(struct pagecache *pc);
void flusher_stop(struct pagecache *pc);
void flusher_kick(struct pagecache *pc);
/* Whether the cache has a flusher at all. */
static inline bool flusher_present(const struct pagecache *pc)
{
	return pc->flusher_running;
}
void flusher_progress(struct pagecache *pc); /* writeback got something done */
/* Sleep until progress_gen is no longer @seen or @ms have passed. */
void flusher_wait_progress(struct pagecache *pc, unsigned int seen, unsigned int ms);

#endif
