/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The flusher, one thread per cache, and the throttling of writers.
 *
 * Busy mappings stand in one list in the order in which they became dirty.  A
 * pass takes from its front whatever was there when it began and puts it back at
 * the end, so every mapping gets its turn and none is written twice in a pass.
 */
#include <errno.h>
#include <signal.h>
#include <time.h>
#include "core/lib/clock.h"
#include "core/lib/log.h"
#include "core/pagecache/pagecache_internal.h"

/* What one mapping may write before the next has its turn. */
#define FLUSH_CHUNK_BYTES (16u << 20)
/* A throttled writer goes on when nothing at all has moved for so long (a dead device). */
#define THROTTLE_TICK_MS 100
/* How often the cache yields, an eighth each time, for the reserve to be there again. */
#define YIELD_TRIES 8
#define THROTTLE_MAX_STALL_NS 5000000000ULL

void flusher_progress(struct pagecache *pc)
{
	atomic_fetch_add(&pc->progress_gen, 1);
	if (!atomic_load(&pc->progress_waiters))
		return;
	pthread_mutex_lock(&pc->progress_lock);
	pthread_cond_broadcast(&pc->progress);
	pthread_mutex_unlock(&pc->progress_lock);
}

void flusher_wait_progress(struct pagecache *pc, unsigned int seen, unsigned int ms)
{
	struct timespec until;
	int err = 0;

	until = deadline_ns(ms * 1000000ull);
	pthread_mutex_lock(&pc->progress_lock);
	atomic_fetch_add(&pc->progress_waiters, 1);
	while (atomic_load(&pc->progress_gen) == seen && err != ETIMEDOUT)
		err = pthread_cond_timedwait(&pc->progress, &pc->progress_lock, &until);
	atomic_fetch_sub(&pc->progress_waiters, 1);
	pthread_mutex_unlock(&pc->progress_lock);
}

void flusher_kick(struct pagecache *pc)
{
	pthread_mutex_lock(&pc->flusher_lock);
	pc->kicked = true;
	pthread_cond_signal(&pc->flusher_wake);
	pthread_mutex_unlock(&pc->flusher_lock);
}

/* Next mapping of the pass that began at @limit, held; NULL: the pass is over.  @skip: passed over,
 * try the next. */
static struct address_space *next_mapping(struct pagecache *pc, uint64_t limit, bool *skip)
{
	struct address_space *m = NULL;

	*skip = false;
	pthread_mutex_lock(&pc->lock);
	if (!list_empty(&pc->busy)) {
		m = list_first_entry(&pc->busy, struct address_space, busy_link);
		if (m->busy_seq > limit) {
			m = NULL;
		} else {
			m->busy_seq = ++pc->seq;
			list_move_tail(&m->busy_link, &pc->busy);
			*skip = !atomic_load(&m->nr_dirty_blocks) ||
				now_ns() < atomic_load(&m->wb_retry_ns) ||
				(m->a_ops->grab && !m->a_ops->grab(m));
		}
	}
	pthread_mutex_unlock(&pc->lock);
	return m;
}

/* One turn for every busy mapping.  Returns how many blocks were submitted. */
static uint64_t flush_pass(struct pagecache *pc, bool all)
{
	struct address_space *m;
	uint64_t limit, written = 0;
	bool skip;

	pthread_mutex_lock(&pc->lock);
	limit = pc->seq;
	pthread_mutex_unlock(&pc->lock);
	while ((m = next_mapping(pc, limit, &skip))) {
		struct writeback_control wbc = {
			.end = UINT64_MAX,
			.nr_to_write = all ? UINT64_MAX
					   : max_t(uint64_t, FLUSH_CHUNK_BYTES >> m->blkbits, 1),
		};

		if (skip)
			continue;
		/* errors are on the mapping: fsync tells them */
		filemap_writepages(m, &wbc);
		written += wbc.written;
		if (m->a_ops->drop)
			m->a_ops->drop(m);
	}
	return written;
}

static bool over_background(struct pagecache *pc)
{
	uint64_t background = atomic_load(&pc->background);

	return background && atomic_load(&pc->dirty_bytes) > background;
}

/* Sleep until there is a reason to write.  Returns true for a tick of the clock, false for a
 * kick. */
static bool flusher_sleep(struct pagecache *pc, const struct timespec *tick)
{
	int err = 0;

	while (!pc->kicked && !pc->flusher_stop && err != ETIMEDOUT) {
		if (pc->flush_interval_ms)
			err = pthread_cond_timedwait(&pc->flusher_wake, &pc->flusher_lock, tick);
		else
			pthread_cond_wait(&pc->flusher_wake, &pc->flusher_lock);
	}
	if (err == ETIMEDOUT)
		return true;
	pc->kicked = false;
	return false;
}

/* Called wherever memory is refused, with any locks held but the flusher's. */
static void on_refusal(void *arg)
{
	struct pagecache *pc = arg;

	if (!atomic_exchange(&pc->refused, true))
		flusher_kick(pc);
}

/* The cache yields until there is a reserve again. */
static void restore_reserve(struct pagecache *pc)
{
	unsigned int tries;

	if (!atomic_exchange(&pc->refused, false))
		return;
	for (tries = 0; !tries || (tries < YIELD_TRIES && !tl_reserve()); tries++)
		pagecache_yield(pc);
}

static void *flusher_main(void *arg)
{
	struct pagecache *pc = arg;
	struct timespec tick;

	tick = deadline_ns(pc->flush_interval_ms * 1000000ull);
	pthread_mutex_lock(&pc->flusher_lock);
	while (!pc->flusher_stop) {
		bool timed = flusher_sleep(pc, &tick);

		if (pc->flusher_stop)
			break;
		pthread_mutex_unlock(&pc->flusher_lock);
		restore_reserve(pc);
		if (timed) {
			flush_pass(pc, true);
			tick = deadline_ns(pc->flush_interval_ms * 1000000ull);
		} else {
			while (flush_pass(pc, false) && over_background(pc))
				;
		}
		pthread_mutex_lock(&pc->flusher_lock);
	}
	pthread_mutex_unlock(&pc->flusher_lock);
	return NULL;
}

int flusher_start(struct pagecache *pc)
{
	sigset_t all, old;
	int err;

	/* signals are for the threads that wait for them */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = pthread_create(&pc->flusher, NULL, flusher_main, pc);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (err)
		return -err;
	pthread_setname_np(pc->flusher, "flusher");
	if (tl_reserve())
		tl_on_refusal(on_refusal, pc);
	pc->flusher_running = true;
	return 0;
}

void flusher_stop(struct pagecache *pc)
{
	if (!pc->flusher_running)
		return;
	pthread_mutex_lock(&pc->flusher_lock);
	pc->flusher_stop = true;
	pthread_cond_signal(&pc->flusher_wake);
	pthread_mutex_unlock(&pc->flusher_lock);
	pthread_join(pc->flusher, NULL);
	pc->flusher_running = false;
	tl_on_refusal(NULL, NULL);
}

static uint64_t unwritten_bytes(struct pagecache *pc)
{
	return atomic_load(&pc->dirty_bytes) + atomic_load(&pc->writeback_bytes);
}

/* Must a writer stop?  Over the dirty limit, or over the memory bound with nothing but dirty data
 * to drop. */
static bool must_throttle(struct pagecache *pc)
{
	uint64_t limit = atomic_load(&pc->dirty_limit), unwritten = unwritten_bytes(pc);

	if (limit && unwritten > limit)
		return true;
	return unwritten && pagecache_over(pc, 0) && !pagecache_make_room(pc, 0, false);
}

/* Sleep until unwritten data is back within bounds, or has not become less for long. */
static void throttle(struct pagecache *pc)
{
	uint64_t lowest = UINT64_MAX, moved = now_ns();

	for (;;) {
		unsigned int seen = atomic_load(&pc->progress_gen);
		uint64_t unwritten = unwritten_bytes(pc);

		if (!must_throttle(pc))
			return;
		if (unwritten < lowest) {
			lowest = unwritten;
			moved = now_ns();
		} else if (now_ns() - moved > THROTTLE_MAX_STALL_NS) {
			return;
		}
		flusher_kick(pc);
		flusher_wait_progress(pc, seen, THROTTLE_TICK_MS);
	}
}

void balance_dirty_pages(struct address_space *m)
{
	struct pagecache *pc = m->cache;

	if (!flusher_present(pc))
		return;
	if (over_background(pc))
		flusher_kick(pc);
	if (likely(!must_throttle(pc)))
		return;
	atomic_fetch_add(&pc->throttled, 1);
	throttle(pc);
}
