/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Folios: reference counts, the lock bit and its wait queues, lazily made
 * state.
 *
 * A folio's lock and its writeback state are bits in one atomic word.  Who must
 * wait sets FOLIO_WAITERS and sleeps on one of a few shared queues, picked by
 * the folio's address; who clears a bit and finds FOLIO_WAITERS set wakes the
 * whole queue.  All changes are read-modify-writes of that one word, so either
 * the sleeper sees the bit cleared or the waker sees the sleeper.
 */
#include <time.h>
#include "core/pagecache/pagecache_internal.h"

#define NR_WAIT_QUEUES 64

static struct wait_queue {
	pthread_mutex_t lock;
	pthread_cond_t cond;
} wait_queues[NR_WAIT_QUEUES] = {
	[0 ... NR_WAIT_QUEUES - 1] = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER },
};

static struct wait_queue *queue_of(const struct folio *f)
{
	uint64_t h = (uint64_t)(uintptr_t)f * 0x9e3779b97f4a7c15ULL;

	return &wait_queues[h >> 58];
}

/* Sleep until @bit is clear; with @take, set it in the same step. */
static void folio_wait_bit(struct folio *f, unsigned int bit, bool take)
{
	struct wait_queue *q = queue_of(f);

	pthread_mutex_lock(&q->lock);
	for (;;) {
		unsigned int old = atomic_fetch_or(&f->flags, FOLIO_WAITERS);

		if (!(old & bit)) {
			if (!take || !(atomic_fetch_or(&f->flags, bit) & bit))
				break;
			continue;
		}
		pthread_cond_wait(&q->cond, &q->lock);
	}
	pthread_mutex_unlock(&q->lock);
}

static void folio_wake(struct folio *f)
{
	struct wait_queue *q = queue_of(f);

	pthread_mutex_lock(&q->lock);
	atomic_fetch_and(&f->flags, ~FOLIO_WAITERS);
	pthread_cond_broadcast(&q->cond);
	pthread_mutex_unlock(&q->lock);
}

bool folio_trylock(struct folio *f)
{
	return !(atomic_fetch_or(&f->flags, FOLIO_LOCKED) & FOLIO_LOCKED);
}

void folio_lock(struct folio *f)
{
	if (!folio_trylock(f))
		folio_wait_bit(f, FOLIO_LOCKED, true);
}

void folio_unlock(struct folio *f)
{
	unsigned int old = atomic_fetch_and(&f->flags, ~FOLIO_LOCKED);

	assert(old & FOLIO_LOCKED);
	if (old & FOLIO_WAITERS)
		folio_wake(f);
}

void folio_wait_writeback(struct folio *f)
{
	if (folio_test(f, FOLIO_WRITEBACK))
		folio_wait_bit(f, FOLIO_WRITEBACK, false);
}

void folio_end_writeback(struct folio *f)
{
	unsigned int old = atomic_fetch_and(&f->flags, ~FOLIO_WRITEBACK);

	assert(old & FOLIO_WRITEBACK);
	if (old & FOLIO_WAITERS)
		folio_wake(f);
}

static size_t folio_desc_bytes(const struct folio *f)
{
	return sizeof(*f) + f->nblocks * sizeof(f->blocks[0]);
}

struct folio *folio_alloc(struct address_space *m, uint64_t index)
{
	uint32_t nblocks = 1u << (m->folio_shift - m->blkbits);
	size_t bytes = sizeof(struct folio) + nblocks * sizeof(struct folio_block);
	struct folio *f;

	pagecache_make_room(m->cache, bytes, false);
	f = tl_zalloc(bytes);
	if (!f)
		return NULL;
	f->cache = m->cache;
	f->index = index;
	f->nblocks = nblocks;
	atomic_init(&f->refs, 1);
	atomic_init(&f->flags, FOLIO_LOCKED);
	INIT_LIST_HEAD(&f->lru);
	atomic_fetch_add(&m->cache->nr_folios, 1);
	atomic_fetch_add(&m->cache->folio_bytes, bytes);
	return f;
}

void folio_get(struct folio *f)
{
	atomic_fetch_add(&f->refs, 1);
}

static void folio_free(struct folio *f)
{
	struct folio_state *fs = folio_state(f);
	uint32_t i;

	assert(!fs || !fs->nr_dirty);
	for (i = 0; i < f->nblocks; i++)
		seg_put(f->blocks[i].seg);
	if (fs) {
		pthread_mutex_destroy(&fs->lock);
		tl_free(fs);
	}
	atomic_fetch_sub(&f->cache->nr_folios, 1);
	atomic_fetch_sub(&f->cache->folio_bytes, folio_desc_bytes(f));
	tl_free(f);
}

void folio_put(struct folio *f)
{
	if (atomic_fetch_sub(&f->refs, 1) == 1)
		folio_free(f);
}

struct folio_state *folio_state_create(struct folio *f)
{
	struct folio_state *fs = folio_state(f);
	size_t longs = (size_t)FB_NR * BITS_TO_LONGS(f->nblocks);

	if (fs)
		return fs;
	fs = tl_zalloc(sizeof(*fs) + longs * sizeof(unsigned long));
	if (!fs)
		return NULL;
	pthread_mutex_init(&fs->lock, NULL);
	atomic_store_explicit(&f->state, fs, memory_order_release);
	return fs;
}

bool folio_has_busy_blocks(struct folio *f)
{
	struct folio_state *fs = folio_state(f);
	bool busy;

	if (!fs)
		return false;
	pthread_mutex_lock(&fs->lock);
	busy = fs->nr_dirty || fs->write_bytes_pending;
	pthread_mutex_unlock(&fs->lock);
	return busy;
}
