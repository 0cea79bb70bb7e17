/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ioends: submission and completion (docs/IO.md, rows B15, B16).
 *
 * Finished ioends gather in one list, and one worker takes all of them at a
 * time, sorts and merges them and hands them to their file system, which makes one
 * transaction of the batch.  While it works the next batch gathers.
 */
#include <errno.h>
#include "core/iomap/internal.h"
#include "core/lib/log.h"
#include "core/lib/trace.h"
#include "core/lib/workqueue.h"

static pthread_mutex_t ioend_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t ioend_idle = PTHREAD_COND_INITIALIZER;
static LIST_HEAD(ioend_completed);
static bool ioend_queued;   /* the work item is on the queue */
static uint64_t ioend_live; /* ioends that exist */
static struct workqueue *ioend_wq;
static struct work ioend_work;
/* init and exit come in pairs, as many as there are users */
static pthread_mutex_t init_lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned int init_count;
static struct ratelimit ioend_log_limit = RATELIMIT_INIT;

struct iomap_ioend *iomap_ioend_alloc(struct address_space *m,
				      const struct iomap_writeback_ops *ops)
{
	struct iomap_ioend *ioend = tl_zalloc(sizeof(*ioend));

	if (!ioend)
		return NULL;
	INIT_LIST_HEAD(&ioend->io_list);
	INIT_LIST_HEAD(&ioend->io_merged);
	ioend->io_mapping = m;
	ioend->io_ops = *ops;
	pthread_mutex_lock(&ioend_lock);
	ioend_live++;
	pthread_mutex_unlock(&ioend_lock);
	return ioend;
}

void iomap_ioend_free(struct iomap_ioend *ioend)
{
	unsigned int i;

	for (i = 0; i < ioend->io_nr_had; i++)
		bio_put(ioend->io_bios[i]);
	tl_free(ioend);
	pthread_mutex_lock(&ioend_lock);
	if (!--ioend_live)
		pthread_cond_broadcast(&ioend_idle);
	pthread_mutex_unlock(&ioend_lock);
}

void iomap_ioend_start(struct iomap_ioend *ioend, const struct iomap *map, uint64_t offset)
{
	ioend->io_offset = offset;
	ioend->io_size = 0;
	ioend->io_type = map->type;
	ioend->io_flags = map->flags;
	ioend->io_addr =
		map->type == IOMAP_INLINE ? IOMAP_NULL_ADDR : map->addr + (offset - map->offset);
}

unsigned int iomap_ioend_reserve(struct iomap_ioend *ioend, unsigned int nr, unsigned int vecs,
				 struct bio_set *bs, bool wait)
{
	unsigned int end = ioend->io_nr_bios + nr;

	assert(end <= IOMAP_IOEND_MAX_BIOS);
	while (ioend->io_nr_had < end) {
		/*
		 * Bios of one ioend are not freed before its last is done, so only the first
		 * may have to do with the pool, which waits for others to be freed.
		 */
		struct bio_set *pool = ioend->io_nr_had ? NULL : bs;
		struct bio *bio = wait ? bio_alloc(NULL, vecs, BIO_OP_WRITE, pool)
				       : bio_try_alloc(NULL, vecs, BIO_OP_WRITE, pool);

		if (!bio)
			break;
		ioend->io_bios[ioend->io_nr_had++] = bio;
	}
	return min_t(unsigned int, nr, ioend->io_nr_had - ioend->io_nr_bios);
}

struct bio *iomap_ioend_add_bio(struct iomap_ioend *ioend, struct bdev *bdev)
{
	struct bio *bio;

	assert(ioend->io_nr_bios < ioend->io_nr_had);
	bio = ioend->io_bios[ioend->io_nr_bios++];
	bio->bi_bdev = bdev;
	if (ioend->io_type != IOMAP_INLINE)
		bio->bi_iter.bi_sector = (ioend->io_addr + ioend->io_size) >> SECTOR_SHIFT;
	if (!ioend->io_first_bio)
		ioend->io_first_bio = bio;
	ioend->io_bio = bio;
	return bio;
}

static void ioend_complete(struct iomap_ioend *ioend)
{
	pthread_mutex_lock(&ioend_lock);
	list_add_tail(&ioend->io_list, &ioend_completed);
	if (!ioend_queued) {
		ioend_queued = true;
		queue_work(ioend_wq, &ioend_work);
	}
	pthread_mutex_unlock(&ioend_lock);
}

static void ioend_end_bio(struct bio *bio)
{
	struct iomap_ioend *ioend = bio->bi_private;
	int none = 0;

	if (bio->bi_status)
		atomic_compare_exchange_strong(&ioend->io_status, &none, bio->bi_status);
	if (atomic_fetch_sub(&ioend->io_remaining, 1) == 1)
		ioend_complete(ioend);
}

void iomap_ioend_submit(struct iomap_ioend *ioend, int error)
{
	unsigned int i, n = ioend->io_nr_bios;

	trace4(iomap_ioend_submit, ioend->io_mapping->ino, ioend->io_offset, ioend->io_size,
	       ioend->io_addr);
	atomic_fetch_add(&ioend->io_mapping->cache->ioends_built, 1);
	if (ioend->io_ops.prepare_ioend)
		error = ioend->io_ops.prepare_ioend(ioend, error);
	if (error || ioend->io_type == IOMAP_INLINE) {
		atomic_store(&ioend->io_status, error);
		ioend_complete(ioend);
		return;
	}
	atomic_store(&ioend->io_remaining, n);
	/* it cannot complete, and go, before its last bio is on the way */
	for (i = 0; i < n; i++) {
		struct bio *bio = ioend->io_bios[i];

		bio->bi_private = ioend;
		bio->bi_end_io = ioend_end_bio;
		submit_bio(bio);
	}
}

/* ---- sort and merge ---- */

static int ioend_compare(const struct list_head *a, const struct list_head *b)
{
	const struct iomap_ioend *ia = list_entry(a, struct iomap_ioend, io_list);
	const struct iomap_ioend *ib = list_entry(b, struct iomap_ioend, io_list);

	if (ia->io_mapping != ib->io_mapping)
		return (uintptr_t)ia->io_mapping < (uintptr_t)ib->io_mapping ? -1 : 1;
	if (ia->io_offset != ib->io_offset)
		return ia->io_offset < ib->io_offset ? -1 : 1;
	return 0;
}

void iomap_sort_ioends(struct list_head *ioends)
{
	list_sort(ioends, ioend_compare);
}

/* The last of what has been merged into @ioend, or itself. */
static const struct iomap_ioend *ioend_tail(const struct iomap_ioend *ioend)
{
	return list_empty(&ioend->io_merged)
		       ? ioend
		       : list_last_entry(&ioend->io_merged, struct iomap_ioend, io_list);
}

static bool can_merge(const struct iomap_ioend *ioend, const struct iomap_ioend *next)
{
	const struct iomap_ioend *tail = ioend_tail(ioend);

	return ioend->io_mapping == next->io_mapping && ioend->io_dio == next->io_dio &&
	       ioend->io_error == next->io_error &&
	       !((ioend->io_flags ^ next->io_flags) & IOMAP_F_SHARED) &&
	       ioend->io_type == next->io_type && ioend->io_type != IOMAP_INLINE &&
	       tail->io_offset + tail->io_size == next->io_offset;
}

void iomap_ioend_try_merge(struct iomap_ioend *ioend, struct list_head *more,
			   void (*merge_private)(struct iomap_ioend *ioend,
						 struct iomap_ioend *next))
{
	while (!list_empty(more)) {
		struct iomap_ioend *next = list_first_entry(more, struct iomap_ioend, io_list);

		if (!can_merge(ioend, next))
			break;
		list_move_tail(&next->io_list, &ioend->io_merged);
		list_splice_tail_init(&next->io_merged, &ioend->io_merged);
		if (merge_private)
			merge_private(ioend, next);
	}
}

struct bio *iomap_ioend_first_bio(struct iomap_ioend *ioend)
{
	return ioend->io_first_bio;
}

struct bio *iomap_ioend_next_bio(struct iomap_ioend *ioend, struct bio *bio)
{
	unsigned int i;

	for (i = 0; i + 1 < ioend->io_nr_bios; i++)
		if (ioend->io_bios[i] == bio)
			return ioend->io_bios[i + 1];
	return NULL;
}

/* ---- the completion worker ---- */

/* Everything in @ioends that belongs to the file system of the first, in order, to @batch. */
static struct iomap_writeback_ops take_batch(struct list_head *ioends, struct list_head *batch)
{
	struct iomap_writeback_ops ops =
		list_first_entry(ioends, struct iomap_ioend, io_list)->io_ops;
	struct iomap_ioend *ioend, *next;

	list_for_each_entry_safe(ioend, next, ioends, io_list)
		if (ioend->io_ops.end_ioends == ops.end_ioends &&
		    ioend->io_ops.host_fs == ops.host_fs)
			list_move_tail(&ioend->io_list, batch);
	return ops;
}

static void end_batch(const struct iomap_writeback_ops *ops, struct list_head *batch)
{
	LIST_HEAD(merged);
	struct iomap_ioend *ioend, *next;

	while (!list_empty(batch)) {
		ioend = list_first_entry(batch, struct iomap_ioend, io_list);
		list_move_tail(&ioend->io_list, &merged);
		iomap_ioend_try_merge(ioend, batch, ops->merge_private);
		if (!list_empty(&ioend->io_merged))
			atomic_fetch_add(&ioend->io_mapping->cache->ioends_merged, 1);
	}
	if (ops->end_ioends) {
		ops->end_ioends(ops->host_fs, &merged);
		return;
	}
	list_for_each_entry_safe(ioend, next, &merged, io_list)
		iomap_finish_ioends(ioend, 0);
}

static void ioend_work_fn(struct work *w)
{
	LIST_HEAD(ioends);
	struct iomap_ioend *ioend;

	pthread_mutex_lock(&ioend_lock);
	ioend_queued = false;
	list_splice_tail_init(&ioend_completed, &ioends);
	pthread_mutex_unlock(&ioend_lock);
	list_for_each_entry(ioend, &ioends, io_list)
		ioend->io_error = atomic_load(&ioend->io_status);
	iomap_sort_ioends(&ioends);
	while (!list_empty(&ioends)) {
		LIST_HEAD(batch);
		struct iomap_writeback_ops ops = take_batch(&ioends, &batch);

		end_batch(&ops, &batch);
	}
}

/* ---- the end of writeback ---- */

/* Blocks whose writeback failed stay dirty, as the file system's policy has it. */
static void redirty_blocks(struct iomap_ioend *ioend, struct folio *f, unsigned int first,
			   unsigned int n)
{
	struct folio_state *fs = folio_state(f);
	unsigned int newly = 0;

	pthread_mutex_lock(&fs->lock);
	bitmap_set_range(folio_bits(f, fs, FB_ERROR), first, n);
	atomic_fetch_or(&f->flags, FOLIO_ERROR);
	if (ioend->io_ops.keep_dirty_on_error) {
		newly = bitmap_set_range(folio_bits(f, fs, FB_DIRTY), first, n);
		fs->nr_dirty += newly;
	}
	pthread_mutex_unlock(&fs->lock);
	folio_account_dirty(ioend->io_mapping, f, newly);
	if (newly && ioend->io_ops.redirty)
		ioend->io_ops.redirty(ioend, newly);
}

/* The mapping may be gone when this returns, if nothing else of it is under writeback. */
static void finish_folio(struct iomap_ioend *ioend, uint64_t pos, unsigned int n, bool failed)
{
	struct address_space *m = ioend->io_mapping;
	struct folio *f = filemap_get_folio(m, pos >> m->folio_shift);
	struct folio_state *fs = folio_state(f);
	unsigned int first = (unsigned int)((pos - folio_pos(m, f)) >> m->blkbits), cleared,
		     bytes = n << m->blkbits;

	if (failed)
		redirty_blocks(ioend, f, first, n);
	/*
	 * All in one: who finds the count at zero must find no block under writeback,
	 * and who removes the folio, and then the mapping, takes this lock first.
	 */
	pthread_mutex_lock(&fs->lock);
	cleared = bitmap_clear_range(folio_bits(f, fs, FB_WRITEBACK), first, n);
	assert(cleared == n && fs->write_bytes_pending >= bytes);
	(void)cleared;
	fs->write_bytes_pending -= bytes;
	mapping_account(m, 0, -(int64_t)n);
	if (!fs->write_bytes_pending)
		folio_end_writeback(f);
	pthread_mutex_unlock(&fs->lock);
	folio_put(f);
}

static void log_failed(const struct iomap_ioend *ioend, int error)
{
	char more[RATELIMIT_TEXT];
	unsigned int held;

	if ((ioend->io_first_bio && ioend->io_first_bio->bi_flags & BIO_F_QUIET) ||
	    !ratelimit_ok(&ioend_log_limit, &held))
		return;
	log_err("writeback error %d on inode %llu, offset %llu, sector %llu%s", error,
		(unsigned long long)ioend->io_mapping->ino, (unsigned long long)ioend->io_offset,
		(unsigned long long)(ioend->io_addr >> SECTOR_SHIFT), ratelimit_text(held, more));
}

static void finish_ioend(struct iomap_ioend *ioend, int error)
{
	struct address_space *m = ioend->io_mapping;
	uint64_t size = 1ULL << m->folio_shift, pos = ioend->io_offset, end = pos + ioend->io_size;
	unsigned int blkbits = m->blkbits;

	if (!error)
		error = ioend->io_error;
	if (error)
		log_failed(ioend, error);
	if (ioend->io_dio) {
		struct iomap_dio *dio = ioend->io_dio;

		list_del_init(&ioend->io_list);
		iomap_ioend_free(ioend);
		iomap_dio_end_ioend(dio, pos, error);
		return;
	}
	if (error) {
		mapping_set_error(m, error);
		mapping_back_off(m);
	} else if (atomic_load(&m->wb_retry_ns)) {
		atomic_store(&m->wb_retry_ns, 0);
	}
	while (pos < end) {
		uint64_t n = min_t(uint64_t, size - (pos & (size - 1)), end - pos);

		finish_folio(ioend, pos, (unsigned int)(n >> blkbits), error);
		pos += n;
	}
	list_del_init(&ioend->io_list);
	iomap_ioend_free(ioend);
}

void iomap_finish_ioends(struct iomap_ioend *ioend, int error)
{
	struct iomap_ioend *next, *n;
	LIST_HEAD(merged);

	trace4(iomap_ioend_finish, ioend->io_mapping->ino, ioend->io_offset, ioend->io_size, error);
	list_splice_tail_init(&ioend->io_merged, &merged);
	finish_ioend(ioend, error);
	list_for_each_entry_safe(next, n, &merged, io_list)
		finish_ioend(next, error);
}

/* ---- start and stop ---- */

void iomap_ioend_drain(void)
{
	pthread_mutex_lock(&ioend_lock);
	while (ioend_live)
		pthread_cond_wait(&ioend_idle, &ioend_lock);
	pthread_mutex_unlock(&ioend_lock);
	/* what end_ioends() does after the last ioend is part of it */
	if (ioend_wq)
		flush_workqueue(ioend_wq);
}

int iomap_ioend_init(void)
{
	int err = 0;

	pthread_mutex_lock(&init_lock);
	if (!init_count) {
		work_init(&ioend_work, ioend_work_fn);
		ioend_wq = workqueue_create("ioend", 1);
		err = ioend_wq ? 0 : -ENOMEM;
	}
	if (!err)
		init_count++;
	pthread_mutex_unlock(&init_lock);
	return err;
}

void iomap_ioend_exit(void)
{
	pthread_mutex_lock(&init_lock);
	assert(init_count > 0);
	if (!--init_count) {
		iomap_ioend_drain();
		workqueue_destroy(ioend_wq);
		ioend_wq = NULL;
	}
	pthread_mutex_unlock(&init_lock);
}
