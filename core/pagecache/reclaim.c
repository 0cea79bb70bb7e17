/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Keeping the cache under its bound: one list of folios, coldest first, and a
 * second chance for those used again since they were last looked at.  Whoever
 * needs memory takes it from the cold end; dirty folios are passed over, they
 * are the flusher's to clean.
 */
#include <errno.h>
#include "core/lib/log.h"
#include "core/pagecache/pagecache_internal.h"

/* So small a cache still works, slowly. */
#define YIELD_MIN (4u << 20)
#define HARD_TRIES 8

void lru_add(struct pagecache *pc, struct folio *f)
{
	pthread_mutex_lock(&pc->lock);
	list_add_tail(&f->lru, &pc->lru);
	pthread_mutex_unlock(&pc->lock);
}

void lru_del(struct pagecache *pc, struct folio *f)
{
	pthread_mutex_lock(&pc->lock);
	list_del_init(&f->lru);
	pthread_mutex_unlock(&pc->lock);
}

void folio_mark_accessed(struct folio *f)
{
	if (!folio_test(f, FOLIO_REFERENCED))
		atomic_fetch_or(&f->flags, FOLIO_REFERENCED);
}

/* The coldest folio, locked and referenced, if it may go; it has moved to the warm end for now. */
static struct folio *isolate_coldest(struct pagecache *pc)
{
	struct folio *f = NULL;

	pthread_mutex_lock(&pc->lock);
	if (!list_empty(&pc->lru)) {
		f = list_first_entry(&pc->lru, struct folio, lru);
		list_move_tail(&f->lru, &pc->lru);
		if (folio_test(f, FOLIO_REFERENCED)) {
			atomic_fetch_and(&f->flags, ~FOLIO_REFERENCED);
			f = NULL;
		} else if (folio_test(f, FOLIO_DIRTY | FOLIO_WRITEBACK) || !folio_trylock(f)) {
			f = NULL;
		} else {
			/* on the list, so the index holds it still: who removes it locks it
			 * first */
			folio_get(f);
		}
	}
	pthread_mutex_unlock(&pc->lock);
	return f;
}

/* Drop clean folios until usage is at most @target or every folio had two looks. */
static uint64_t reclaim_to(struct pagecache *pc, uint64_t target)
{
	uint64_t scan = 2 * atomic_load(&pc->nr_folios) + 1;
	uint64_t before = pagecache_usage(pc), after;

	while (scan-- && pagecache_usage(pc) > target) {
		struct folio *f = isolate_coldest(pc);

		if (!f)
			continue;
		if (f->mapping && filemap_remove_folio(f->mapping, f, false))
			atomic_fetch_add(&pc->reclaimed, 1);
		folio_unlock(f);
		folio_put(f);
	}
	after = pagecache_usage(pc);
	return before > after ? before - after : 0;
}

uint64_t pagecache_shrink(struct pagecache *pc, uint64_t target)
{
	return reclaim_to(pc, target);
}

void pagecache_drop_behind(struct address_space *m, uint64_t start, uint64_t end)
{
	uint64_t index = start >> m->folio_shift, stop = end >> m->folio_shift;

	for (; index < stop; index++) {
		struct folio *f = filemap_get_folio(m, index);

		if (!f)
			continue;
		if (!folio_test(f, FOLIO_DIRTY | FOLIO_WRITEBACK) && folio_trylock(f)) {
			if (f->mapping == m)
				filemap_remove_folio(m, f, false);
			folio_unlock(f);
		}
		folio_put(f);
	}
}

/* What to shrink to so that @bytes and a little more fit. */
static uint64_t room_target(struct pagecache *pc, uint64_t bytes)
{
	uint64_t limit = atomic_load(&pc->cache_bytes);
	uint64_t slack = min_t(uint64_t, limit / 64, 1 << 20);

	return limit > bytes + slack ? limit - bytes - slack : 0;
}

bool pagecache_make_room(struct pagecache *pc, uint64_t bytes, bool may_wait)
{
	unsigned int tries;

	if (likely(!pagecache_over(pc, bytes)))
		return true;
	reclaim_to(pc, room_target(pc, bytes));
	/*
	 * All dirty.  Callers may hold a folio lock that the flusher waits for, so
	 * the wait is short; balance_dirty_pages(), without locks, is the place
	 * where writers really stop.
	 */
	for (tries = 0; may_wait && tries < 3 && pagecache_over(pc, bytes); tries++) {
		unsigned int seen = atomic_load(&pc->progress_gen);

		if (!flusher_present(pc) ||
		    !(atomic_load(&pc->dirty_bytes) + atomic_load(&pc->writeback_bytes)))
			break;
		flusher_kick(pc);
		flusher_wait_progress(pc, seen, 20);
		reclaim_to(pc, room_target(pc, bytes));
	}
	return !pagecache_over(pc, bytes);
}

/* There is memory for @bytes, and no more. */
static void limit_to(struct pagecache *pc, uint64_t bytes)
{
	uint64_t bound = atomic_load(&pc->cache_bytes), target = max_t(uint64_t, bytes, YIELD_MIN);
	static struct ratelimit rl = RATELIMIT_INIT;
	unsigned int held;

	if (bound && target >= bound)
		return;
	atomic_store(&pc->cache_bytes, target);
	if (atomic_load(&pc->dirty_limit) > target / 4) {
		atomic_store(&pc->dirty_limit, target / 4);
		atomic_store(&pc->background, target / 8);
	}
	if (ratelimit_ok(&rl, &held))
		log_warn("memory is refused: the cache makes do with %llu MiB",
			 (unsigned long long)(target >> 20));
}

void pagecache_yield(struct pagecache *pc)
{
	uint64_t usage = pagecache_usage(pc);

	limit_to(pc, usage - usage / 8);
	reclaim_to(pc, usage - usage / 8);
}

/* Refused: what is clean goes, and what is to be written is waited for, but not for long: a lock
 * may be held. */
static struct seg *seg_alloc_hard(struct pagecache *pc, size_t bytes)
{
	struct seg *seg = NULL;
	unsigned int tries, seen;

	limit_to(pc, pagecache_usage(pc));
	for (tries = 0; !seg && tries < HARD_TRIES; tries++) {
		uint64_t usage = pagecache_usage(pc);

		seen = atomic_load(&pc->progress_gen);
		reclaim_to(pc, usage - usage / 8);
		seg = seg_alloc(pc->segs, bytes);
		if (!seg && flusher_present(pc)) {
			flusher_kick(pc);
			flusher_wait_progress(pc, seen, 20);
		}
	}
	return seg;
}

struct seg *pagecache_seg_alloc(struct pagecache *pc, size_t bytes)
{
	struct seg *seg;

	pagecache_make_room(pc, bytes, true);
	seg = seg_alloc(pc->segs, bytes);
	return likely(seg) ? seg : seg_alloc_hard(pc, bytes);
}
