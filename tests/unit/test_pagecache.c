/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * core/pagecache/pagecache.c, filemap.c, reclaim.c, flusher.c: the cache as a whole: bounds,
 * throttling, reclaim, truncation, sync.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>
#include "core/lib/log.h"
#include "core/pagecache/pagecache_internal.h"
#include "tests/lib/toymap.h"

#define BS 4096u
#define FOLIO (16 * BS)

static struct toymap t;
static char buf[1 << 20], back[1 << 20];

static void quiet(enum log_level lvl, const char *line)
{
}

static void start_blocks(uint64_t cache, uint64_t dirty, unsigned int interval,
			 unsigned int blkbits)
{
	log_set_hook(quiet);
	toymap_init(&t, &(struct toy_config){ .blkbits = blkbits,
					      .folio_shift = 16,
					      .file_bytes = 32 << 20,
					      .dev_bytes = 64 << 20,
					      .integrity = true,
					      .cache = { .cache_bytes = cache,
							 .dirty_bytes = dirty,
							 .flush_interval_ms = interval } });
}

static void start(uint64_t cache, uint64_t dirty, unsigned int interval)
{
	start_blocks(cache, dirty, interval, 12);
}

static struct pagecache_stats stats(void)
{
	struct pagecache_stats st;

	pagecache_get_stats(t.cache, &st);
	return st;
}

Test(pagecache, memory_stays_bounded_and_writers_are_throttled)
{
	uint64_t most = 0, dirty = 0;

	start(4 << 20, 1 << 20, 0);
	for (unsigned int i = 0; i < 32; i++) {
		memset(buf, (int)i, sizeof(buf));
		cr_assert_eq(toymap_write(&t, (uint64_t)i << 20, buf, sizeof(buf)), sizeof(buf));
		most = max_t(uint64_t, most, stats().bytes);
		dirty = max_t(uint64_t, dirty, stats().dirty_bytes + stats().writeback_bytes);
	}
	for (unsigned int i = 0; i < 32; i++) {
		cr_assert_eq(toymap_read(&t, (uint64_t)i << 20, back, sizeof(back)), sizeof(back));
		cr_assert(back[0] == (char)i && back[sizeof(back) - 1] == (char)i);
		most = max_t(uint64_t, most, stats().bytes);
	}
	cr_assert_leq(most, 5 << 20);
	cr_assert_leq(dirty, 2 << 20);
	cr_assert_gt(stats().reclaimed_folios, 0);
	toymap_exit(&t);
}

static atomic_bool watching;

static void *watch(void *most)
{
	uint64_t *max = most;

	while (atomic_load(&watching)) {
		/* in one count: on their way from dirty to writeback, blocks are for a moment in
		 * both of the others */
		max[0] = max_t(uint64_t, max[0],
			       atomic_load(&t.mapping.nr_busy_blocks) << t.mapping.blkbits);
		max[1] = max_t(uint64_t, max[1], stats().bytes);
		usleep(100);
	}
	return NULL;
}

/* Requests as large as the whole cache go through it in pieces. */
static void small_cache(unsigned int blkbits)
{
	uint64_t most[2] = { 0 };
	pthread_t watcher;

	start_blocks(1 << 20, 256 << 10, 0, blkbits);
	atomic_store(&watching, true);
	cr_assert_eq(pthread_create(&watcher, NULL, watch, most), 0);
	for (unsigned int i = 0; i < 16; i++) {
		memset(buf, (int)i, sizeof(buf));
		cr_assert_eq(toymap_write(&t, (uint64_t)i << 20, buf, sizeof(buf)), sizeof(buf));
	}
	for (unsigned int i = 0; i < 16; i++) {
		cr_assert_eq(toymap_read(&t, (uint64_t)i << 20, back, sizeof(back)), sizeof(back));
		cr_assert(back[0] == (char)i && back[sizeof(back) - 1] == (char)i);
	}
	atomic_store(&watching, false);
	pthread_join(watcher, NULL);
	cr_assert_leq(most[0], (256 + 128) << 10, "%lu KiB dirty", (unsigned long)most[0] >> 10);
	/* one read asks for all that the bound allows, and readahead comes on top */
	cr_assert_leq(most[1], (2048 + 512) << 10, "%lu KiB in all", (unsigned long)most[1] >> 10);
	toymap_exit(&t);
}

Test(pagecache, small_cache_1k)
{
	small_cache(10);
}

Test(pagecache, small_cache_4k)
{
	small_cache(12);
}

Test(pagecache, small_cache_64k)
{
	small_cache(16);
}

Test(pagecache, unit_of_io)
{
	static const struct {
		uint64_t cache;
		size_t unit;
	} c[] = { { 0, 1 << 20 },	  { 256 << 10, 64 << 10 }, { 1 << 20, 128 << 10 },
		  { 2 << 20, 256 << 10 }, { 3 << 20, 256 << 10 },  { 8 << 20, 1024 << 10 },
		  { 1ull << 30, 1 << 20 } };

	start(0, 0, 10);
	for (size_t i = 0; i < ARRAY_SIZE(c); i++) {
		pagecache_set_limits(t.cache, c[i].cache, 0);
		cr_assert_eq(pagecache_unit(t.cache), c[i].unit, "cache of %lu",
			     (unsigned long)c[i].cache);
	}
	toymap_exit(&t);
}

/* A buffer that waits for a request takes nothing from the files' share. */
Test(pagecache, idle_buffers_do_not_count)
{
	struct seg *s;

	start(1 << 20, 0, 10);
	s = seg_alloc(pagecache_segs(t.cache), 1 << 20);
	seg_set_idle(s, true);
	cr_assert_eq(stats().bytes, 0);
	seg_set_idle(s, false);
	cr_assert_eq(stats().bytes, 1 << 20);
	seg_put(s);
	cr_assert_eq(stats().bytes, 0);
	toymap_exit(&t);
}

Test(pagecache, flusher_writes_by_itself)
{
	start(0, 0, 10);
	toymap_write(&t, 0, buf, sizeof(buf));
	for (int i = 0; i < 500 && (stats().dirty_bytes || stats().writeback_bytes); i++)
		flusher_wait_progress(t.cache, atomic_load(&t.cache->progress_gen), 10);
	cr_assert_eq(stats().dirty_bytes, 0);
	toymap_exit(&t);
}

/* A device that refuses: data stays, the error is told, nobody spins or hangs. */
Test(pagecache, failed_writeback_is_kept_and_retried)
{
	uint64_t since, writes;

	start(0, 0, 10);
	since = mapping_sample_error(&t.mapping);
	faultdev_plan(t.bdev, .kind = FAULT_ERROR, .ops = FAULT_WRITE, .times = FAULT_ALWAYS);
	memset(buf, 9, sizeof(buf));
	toymap_write(&t, 0, buf, 256 << 10);
	cr_assert_eq(toymap_sync(&t), -EIO);
	cr_assert_eq(mapping_check_and_advance_error(&t.mapping, &since), -EIO);
	cr_assert_eq(stats().dirty_bytes, 256 << 10);
	/* the flusher ticks every 10 ms, but leaves a failing mapping alone for a second */
	writes = faultdev_writes(t.bdev);
	for (int i = 0; i < 10; i++)
		flusher_wait_progress(t.cache, atomic_load(&t.cache->progress_gen), 20);
	cr_assert_leq(faultdev_writes(t.bdev) - writes, 4);
	cr_assert_eq(toymap_reservation_gap(&t), 0);
	faultdev_clear(t.bdev);
	cr_assert_eq(toymap_sync(&t), 0);
	cr_assert_eq(stats().dirty_bytes, 0);
	pagecache_shrink(t.cache, 0);
	cr_assert_eq(toymap_read(&t, 0, back, 256 << 10), 256 << 10);
	cr_assert_eq(memcmp(buf, back, 256 << 10), 0);
	toymap_exit(&t);
}

Test(pagecache, truncate_drops_dirty_and_gives_promises_back)
{
	start(0, 0, 0);
	toymap_write(&t, 0, buf, 4 * FOLIO);
	truncate_inode_pages_range(&t.mapping, FOLIO + BS, 3 * FOLIO + 2 * BS + 1);
	cr_assert_eq(atomic_load(&t.mapping.nr_dirty_blocks), 16 + 1 + 14);
	cr_assert_eq(toymap_reservation_gap(&t), 0);
	cr_assert_eq(t.mapping.nr_folios, 3);
	truncate_inode_pages(&t.mapping, 0);
	cr_assert_eq(t.mapping.nr_folios, 0);
	cr_assert(list_empty(&t.mapping.busy_link));
	toymap_exit(&t);
}

Test(pagecache, invalidate_spares_dirty)
{
	struct folio *f;

	start(0, 0, 0);
	toymap_write(&t, 0, buf, 2 * FOLIO);
	cr_assert_eq(toymap_sync(&t), 0);
	toymap_write(&t, FOLIO, buf, 1);
	cr_assert_eq(invalidate_inode_pages_range(&t.mapping, 0, 2 * FOLIO), -EBUSY);
	cr_assert_eq(t.mapping.nr_folios, 1);
	f = filemap_get_folio(&t.mapping, 1);
	cr_assert(iomap_block_uptodate(f, 0) && !iomap_block_uptodate(f, 1));
	folio_put(f);
	cr_assert(filemap_range_busy(&t.mapping, FOLIO, FOLIO + 1));
	cr_assert(!filemap_range_busy(&t.mapping, FOLIO + BS, 2 * FOLIO));
	cr_assert_eq(toymap_sync(&t), 0);
	cr_assert_eq(invalidate_inode_pages_range(&t.mapping, 0, UINT64_MAX), 0);
	cr_assert_eq(t.mapping.nr_folios, 0);
	toymap_exit(&t);
}

Test(pagecache, sync_of_everything)
{
	start(0, 0, 0);
	toymap_write(&t, 0, buf, sizeof(buf));
	cr_assert_eq(pagecache_sync(t.cache, true), 0);
	cr_assert_eq(stats().dirty_bytes + stats().writeback_bytes, 0);
	faultdev_plan(t.bdev, .kind = FAULT_ERROR, .ops = FAULT_WRITE);
	toymap_write(&t, 0, buf, BS);
	cr_assert_eq(pagecache_sync(t.cache, true), -EIO);
	cr_assert_eq(pagecache_sync(t.cache, true), 0);
	toymap_exit(&t);
}

Test(pagecache, second_chance)
{
	struct folio *f;

	start(0, 0, 0);
	toymap_write(&t, 0, buf, sizeof(buf));
	cr_assert_eq(toymap_sync(&t), 0);
	pagecache_shrink(t.cache, 0);
	toymap_read(&t, 0, back, 4 * FOLIO);
	toymap_read(&t, 0, back, BS); /* again: folio 0 is warm */
	pagecache_shrink(t.cache, stats().bytes - FOLIO);
	f = filemap_get_folio(&t.mapping, 0);
	cr_assert_not_null(f);
	folio_put(f);
	toymap_exit(&t);
}
