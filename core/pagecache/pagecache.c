/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The cache as a whole: limits, counters, set-up of mappings, sync of everything. */
#include <errno.h>
#include "core/lib/clock.h"
#include "core/pagecache/pagecache_internal.h"

/* How long the flusher leaves a mapping alone whose writeback failed. */
#define WB_RETRY_NS 1000000000ULL

void pagecache_set_limits(struct pagecache *pc, uint64_t cache_bytes, uint64_t dirty_bytes)
{
	atomic_store(&pc->cache_bytes, cache_bytes);
	atomic_store(&pc->dirty_limit, dirty_bytes);
	atomic_store(&pc->background, dirty_bytes / 2);
	pagecache_make_room(pc, 0, false);
	flusher_kick(pc);
}

struct pagecache *pagecache_create(const struct pagecache_config *cfg)
{
	struct pagecache *pc = tl_zalloc(sizeof(*pc));

	if (!pc)
		return NULL;
	pc->segs = seg_pool_create();
	if (!pc->segs)
		goto out_free;
	atomic_init(&pc->cache_bytes, cfg->cache_bytes);
	atomic_init(&pc->dirty_limit, cfg->dirty_bytes);
	atomic_init(&pc->background,
		    cfg->background_bytes ? cfg->background_bytes : cfg->dirty_bytes / 2);
	pc->flush_interval_ms = cfg->flush_interval_ms;
	pthread_mutex_init(&pc->lock, NULL);
	INIT_LIST_HEAD(&pc->lru);
	INIT_LIST_HEAD(&pc->busy);
	pthread_mutex_init(&pc->progress_lock, NULL);
	pthread_mutex_init(&pc->flusher_lock, NULL);
	if (cond_init_monotonic(&pc->progress))
		goto out_segs;
	if (cond_init_monotonic(&pc->flusher_wake))
		goto out_progress;
	if (pc->flush_interval_ms || atomic_load(&pc->background))
		if (flusher_start(pc))
			goto out_wake;
	return pc;
out_wake:
	pthread_cond_destroy(&pc->flusher_wake);
out_progress:
	pthread_cond_destroy(&pc->progress);
out_segs:
	seg_pool_destroy(pc->segs);
out_free:
	tl_free(pc);
	return NULL;
}

void pagecache_async_read_start(struct pagecache *pc)
{
	pthread_mutex_lock(&pc->progress_lock);
	pc->async_reads++;
	pthread_mutex_unlock(&pc->progress_lock);
}

void pagecache_async_read_end(struct pagecache *pc)
{
	pthread_mutex_lock(&pc->progress_lock);
	if (!--pc->async_reads)
		pthread_cond_broadcast(&pc->progress);
	pthread_mutex_unlock(&pc->progress_lock);
}

void pagecache_destroy(struct pagecache *pc)
{
	if (!pc)
		return;
	flusher_stop(pc);
	pthread_mutex_lock(&pc->progress_lock);
	while (pc->async_reads)
		pthread_cond_wait(&pc->progress, &pc->progress_lock);
	pthread_mutex_unlock(&pc->progress_lock);
	assert(list_empty(&pc->lru) && list_empty(&pc->busy));
	assert(!atomic_load(&pc->nr_folios));
	pthread_cond_destroy(&pc->flusher_wake);
	pthread_cond_destroy(&pc->progress);
	pthread_mutex_destroy(&pc->flusher_lock);
	pthread_mutex_destroy(&pc->progress_lock);
	pthread_mutex_destroy(&pc->lock);
	seg_pool_destroy(pc->segs);
	tl_free(pc);
}

int pagecache_start(struct pagecache *pc, uint64_t dirty_bytes, unsigned int flush_interval_ms)
{
	atomic_store(&pc->dirty_limit, dirty_bytes);
	atomic_store(&pc->background, dirty_bytes / 2);
	pc->flush_interval_ms = flush_interval_ms;
	return flusher_start(pc);
}

void pagecache_stop(struct pagecache *pc)
{
	flusher_stop(pc);
}

struct seg_pool *pagecache_segs(struct pagecache *pc)
{
	return pc->segs;
}

uint64_t pagecache_usage(const struct pagecache *pc)
{
	uint64_t idle = seg_pool_idle_bytes(pc->segs), bytes = seg_pool_bytes(pc->segs);

	/* two looks: in between a buffer may have become one or the other */
	return (bytes > idle ? bytes - idle : 0) + atomic_load(&pc->folio_bytes);
}

size_t pagecache_unit(const struct pagecache *pc)
{
	uint64_t limit = atomic_load(&pc->cache_bytes);

	if (!limit || limit / 8 >= PAGECACHE_UNIT_MAX)
		return PAGECACHE_UNIT_MAX;
	return limit / 8 <= PAGECACHE_UNIT_MIN ? PAGECACHE_UNIT_MIN
					       : (size_t)1 << ilog2_u64(limit / 8);
}

bool pagecache_over(const struct pagecache *pc, uint64_t more)
{
	uint64_t limit = atomic_load(&pc->cache_bytes);

	return limit && pagecache_usage(pc) + more > limit;
}

void pagecache_get_stats(struct pagecache *pc, struct pagecache_stats *st)
{
	*st = (struct pagecache_stats){
		.folios = atomic_load(&pc->nr_folios),
		.bytes = pagecache_usage(pc),
		.dirty_bytes = atomic_load(&pc->dirty_bytes),
		.writeback_bytes = atomic_load(&pc->writeback_bytes),
		.reclaimed_folios = atomic_load(&pc->reclaimed),
		.throttled = atomic_load(&pc->throttled),
		.read_hits = atomic_load(&pc->read_hits),
		.read_misses = atomic_load(&pc->read_misses),
		.ioends_built = atomic_load(&pc->ioends_built),
		.direct_read_bytes = atomic_load(&pc->direct_read_bytes),
		.direct_write_bytes = atomic_load(&pc->direct_write_bytes),
		.ioends_merged = atomic_load(&pc->ioends_merged),
	};
}

void mapping_init(struct address_space *m, struct pagecache *pc, void *host, uint64_t ino,
		  const struct address_space_ops *a_ops, unsigned int blkbits,
		  unsigned int folio_shift)
{
	*m = (struct address_space){
		.cache = pc,
		.host = host,
		.ino = ino,
		.a_ops = a_ops,
		.blkbits = blkbits,
		.folio_shift = folio_shift,
	};
	pthread_mutex_init(&m->lock, NULL);
	INIT_LIST_HEAD(&m->busy_link);
}

void mapping_destroy(struct address_space *m)
{
	assert(!m->nr_folios && list_empty(&m->busy_link));
	pthread_mutex_destroy(&m->lock);
}

void mapping_back_off(struct address_space *m)
{
	atomic_store(&m->wb_retry_ns, now_ns() + WB_RETRY_NS);
}

/* The count of @m's busy blocks came to or left zero: see that the list of busy mappings agrees. */
static void mapping_update_busy(struct address_space *m)
{
	struct pagecache *pc = m->cache;
	bool busy;

	pthread_mutex_lock(&pc->lock);
	busy = mapping_busy(m);
	if (busy && list_empty(&m->busy_link)) {
		m->busy_seq = ++pc->seq;
		list_add_tail(&m->busy_link, &pc->busy);
	} else if (!busy && !list_empty(&m->busy_link)) {
		list_del_init(&m->busy_link);
	}
	pthread_mutex_unlock(&pc->lock);
}

static void account_one(atomic_ullong *blocks, atomic_ullong *bytes, int64_t delta,
			unsigned int blkbits)
{
	uint64_t old = atomic_fetch_add(blocks, (uint64_t)delta);

	atomic_fetch_add(bytes, (uint64_t)delta << blkbits);
	assert(delta >= 0 || old >= (uint64_t)-delta);
	(void)old;
}

/*
 * Counts what turned dirty or clean, and what went under writeback or came back.
 * What is added is added first: blocks that move from one count to the other
 * must not make the mapping look idle in between.
 */
void mapping_account(struct address_space *m, int64_t dirty_blocks, int64_t writeback_blocks)
{
	struct pagecache *pc = m->cache;
	int64_t busy = dirty_blocks + writeback_blocks;
	bool edge = false;

	if (busy > 0)
		edge = !atomic_fetch_add(&m->nr_busy_blocks, (uint64_t)busy);
	if (dirty_blocks > 0)
		account_one(&m->nr_dirty_blocks, &pc->dirty_bytes, dirty_blocks, m->blkbits);
	if (writeback_blocks)
		account_one(&m->nr_writeback_blocks, &pc->writeback_bytes, writeback_blocks,
			    m->blkbits);
	if (dirty_blocks < 0)
		account_one(&m->nr_dirty_blocks, &pc->dirty_bytes, dirty_blocks, m->blkbits);
	if (busy < 0)
		edge = atomic_fetch_sub(&m->nr_busy_blocks, (uint64_t)-busy) == (uint64_t)-busy;
	if (edge)
		mapping_update_busy(m);
	if (writeback_blocks < 0 || dirty_blocks < 0)
		flusher_progress(pc);
}

/*
 * Every busy mapping, held, in an array the caller frees; mappings on their way
 * out see to their own data.  -ENOMEM, or how many.
 */
static int64_t grab_busy(struct pagecache *pc, struct address_space ***out)
{
	struct address_space **maps = NULL, *m;
	size_t n = 0, room = 64, want;

	for (;;) {
		maps = tl_alloc(room * sizeof(*maps));
		if (!maps)
			return -ENOMEM;
		want = 0;
		pthread_mutex_lock(&pc->lock);
		list_for_each_entry(m, &pc->busy, busy_link)
			want++;
		if (want <= room)
			break;
		pthread_mutex_unlock(&pc->lock);
		tl_free(maps);
		room = want + want / 4;
	}
	list_for_each_entry(m, &pc->busy, busy_link)
		if (!m->a_ops->grab || m->a_ops->grab(m))
			maps[n++] = m;
	pthread_mutex_unlock(&pc->lock);
	*out = maps;
	return (int64_t)n;
}

void pagecache_kick(struct pagecache *pc)
{
	flusher_kick(pc);
}

int pagecache_sync(struct pagecache *pc, bool wait)
{
	struct address_space **maps;
	int64_t n = grab_busy(pc, &maps), i;
	uint64_t *marks;
	int err = 0, ret;

	if (n < 0)
		return (int)n;
	marks = tl_alloc(((size_t)n + 1) * sizeof(*marks));
	if (!marks)
		err = -ENOMEM; /* goes on all the same: data on the device is worth more than a
				  precise answer */
	/* first all that is dirty is started, then waited for: devices like to see much at once */
	for (i = 0; i < n; i++) {
		if (marks)
			marks[i] = mapping_error_mark(maps[i]);
		ret = filemap_fdatawrite_range(maps[i], 0, UINT64_MAX);
		if (ret && !err)
			err = ret;
	}
	for (i = 0; i < n; i++) {
		if (wait) {
			filemap_fdatawait_range(maps[i], 0, UINT64_MAX);
			ret = marks ? mapping_error_after(maps[i], marks[i]) : 0;
			if (ret && !err)
				err = ret;
		}
		if (maps[i]->a_ops->drop)
			maps[i]->a_ops->drop(maps[i]);
	}
	tl_free(marks);
	tl_free(maps);
	return err;
}
