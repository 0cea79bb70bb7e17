/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The way of a bio to its device: checks, integrity, splitting at the device's
 * limits, and the thread pool for what has no asynchronous operation.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "core/block/blk_priv.h"
#include "core/lib/clock.h"
#include "core/lib/log.h"
#include "core/lib/trace.h"

#define SPLIT_POOL_SIZE 64
#define IO_THREADS 8
/* From here on a write's tuples are made by a worker, so that one writer keeps several cores
 * busy. */
#define GENERATE_ASYNC_BYTES (256u << 10)

struct workqueue *blk_integrity_wq;

static pthread_mutex_t init_lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned int init_count;
/*
 * Where the parts of split bios come from.  Those that complete through the
 * integrity workers have a set of their own: a worker that issues a write may
 * wait for the other set, and must not wait for itself.
 */
static struct bio_set *split_set, *split_set_checked;
/* Made by the first bio that needs it. */
static struct workqueue *_Atomic io_wq;
static pthread_mutex_t io_wq_lock = PTHREAD_MUTEX_INITIALIZER;

static int create_set(struct bio_set **bs)
{
	int err = bioset_create(bs, SPLIT_POOL_SIZE);

	return err ? err : bioset_integrity_create(*bs, SPLIT_POOL_SIZE);
}

static void free_sets(void)
{
	bioset_free(split_set);
	bioset_free(split_set_checked);
	split_set = split_set_checked = NULL;
}

static int start(unsigned int workers)
{
	int err = create_set(&split_set);

	if (!err)
		err = create_set(&split_set_checked);
	if (err)
		goto out_sets;
	blk_integrity_wq = workqueue_create("tally-integrity", max_t(unsigned int, workers, 1));
	if (blk_integrity_wq)
		return 0;
	err = -EAGAIN;
out_sets:
	free_sets();
	return err;
}

int blk_init(unsigned int workers)
{
	int err = 0;

	pthread_mutex_lock(&init_lock);
	if (!init_count)
		err = start(workers);
	if (!err)
		init_count++;
	pthread_mutex_unlock(&init_lock);
	return err;
}

void blk_exit(void)
{
	pthread_mutex_lock(&init_lock);
	assert(init_count > 0);
	if (!--init_count) {
		/* In the order in which completions travel. */
		workqueue_destroy(atomic_exchange(&io_wq, NULL));
		workqueue_destroy(blk_integrity_wq);
		blk_integrity_wq = NULL;
		free_sets();
	}
	pthread_mutex_unlock(&init_lock);
}

/* The pool, or, where not one thread can be had, the integrity workers. */
static struct workqueue *get_io_wq(void)
{
	struct workqueue *wq = atomic_load_explicit(&io_wq, memory_order_acquire);

	if (likely(wq))
		return wq;
	pthread_mutex_lock(&io_wq_lock);
	wq = atomic_load(&io_wq);
	if (!wq) {
		wq = workqueue_create("tally-io", IO_THREADS);
		atomic_store(&io_wq, wq);
	}
	pthread_mutex_unlock(&io_wq_lock);
	return wq ? wq : blk_integrity_wq;
}

/* Completion */

static void log_io_error(const struct bio *bio, int err)
{
	static const char *const names[] = { "read", "write", "flush", "discard" };
	static struct ratelimit rl = RATELIMIT_INIT;
	unsigned int held;

	if ((bio->bi_flags & BIO_F_QUIET) || !ratelimit_ok(&rl, &held))
		return;
	if (held)
		log_err("%u I/O errors not shown", held);
	log_err("%s: %s of %u bytes at sector %llu failed: %s", bio->bi_bdev->name,
		names[bio->bi_op], bio->bi_iter.bi_size, (unsigned long long)bio->bi_iter.bi_sector,
		strerror(-err));
}

static void note_io_error(struct bio *bio, int err)
{
	/* What a device never could is no failure of the device. */
	if (err != -EOPNOTSUPP) {
		atomic_fetch_add_explicit(&bio->bi_bdev->stats.errors, 1, memory_order_relaxed);
		log_io_error(bio, err);
	}
	bio_set_error(bio, err);
}

void blk_end(struct bio *bio, int err)
{
	if (err)
		note_io_error(bio, err);
	bio_endio(bio);
}

/* The device has answered; @bio has been through account(). */
static void record_time(const struct bio *bio)
{
	struct bdev_stats *st = &bio->bi_bdev->stats;
	struct hist *const time[] = { [BIO_OP_READ] = &st->read_time,
				      [BIO_OP_WRITE] = &st->write_time,
				      [BIO_OP_FLUSH] = &st->flush_time,
				      [BIO_OP_DISCARD] = &st->discard_time };

	hist_record(time[bio->bi_op], now_ns() - bio->bi_issued);
}

void blk_io_done(struct bio *bio, int err)
{
	record_time(bio);
	blk_end(bio, err);
}

static void endio_work(struct work *w)
{
	bio_endio(container_of(w, struct bio, bi_work));
}

/* Complete with @err, but not in the submitter's thread: it may hold locks that the completion
 * takes. */
static void fail_later(struct bio *bio, int err)
{
	note_io_error(bio, err);
	work_init(&bio->bi_work, endio_work);
	queue_work(get_io_wq(), &bio->bi_work);
}

/* What one call to a device can carry */

/*
 * How many bytes from @it on the device takes at once: all, or a multiple of
 * @unit (a power of two); 0 if there is none.
 */
static uint32_t device_takes(const struct bdev *b, const struct bio_vec *vecs, struct bvec_iter it,
			     uint32_t unit)
{
	uint32_t all = it.bi_size, bytes = 0;
	struct bio_vec bv, prev = { .bv_base = NULL };
	unsigned int segs = 0;

	for (; it.bi_size && segs < b->max_segs && bytes < b->max_io; segs++) {
		bv = bvec_iter_bvec(vecs, it);
		if (segs && ((((uintptr_t)prev.bv_base + prev.bv_len) | (uintptr_t)bv.bv_base) &
			     b->virt_boundary))
			break;
		bytes += min_t(uint32_t, bv.bv_len, b->max_io - bytes);
		bvec_iter_advance(vecs, &it, bv.bv_len);
		prev = bv;
	}
	return bytes == all ? bytes : bytes & ~(unit - 1);
}

/* Synchronous I/O */

static int rw_sync(struct bio *bio)
{
	struct bdev *b = bio->bi_bdev;
	struct bvec_iter it = bio->bi_iter;
	uint64_t off = it.bi_sector << SECTOR_SHIFT;
	struct iovec iov[BIO_MAX_VECS];
	int err = 0;

	while (it.bi_size && !err) {
		uint32_t left = device_takes(b, bio->bi_io_vec, it, b->align), bytes = left;
		int n = 0;

		if (!bytes)
			return -EINVAL;
		while (left) {
			struct bio_vec bv = bvec_iter_bvec(bio->bi_io_vec, it);

			bv.bv_len = min_t(uint32_t, bv.bv_len, left);
			iov[n++] = (struct iovec){ .iov_base = bv.bv_base, .iov_len = bv.bv_len };
			bvec_iter_advance(bio->bi_io_vec, &it, bv.bv_len);
			left -= bv.bv_len;
		}
		if (bio->bi_op == BIO_OP_READ)
			err = b->ops->readv(b, iov, n, off);
		else
			err = b->ops->writev(b, iov, n, off);
		off += bytes;
	}
	return err;
}

static int do_sync(struct bio *bio)
{
	struct bdev *b = bio->bi_bdev;

	switch (bio->bi_op) {
	case BIO_OP_READ:
	case BIO_OP_WRITE:
		return rw_sync(bio);
	case BIO_OP_FLUSH:
		return b->ops->flush ? b->ops->flush(b) : 0;
	case BIO_OP_DISCARD:
		if (!b->ops->discard)
			return -EOPNOTSUPP;
		return b->ops->discard(b, bio->bi_iter.bi_sector << SECTOR_SHIFT,
				       bio->bi_iter.bi_size);
	}
	return -EINVAL;
}

static void sync_io_work(struct work *w)
{
	struct bio *bio = container_of(w, struct bio, bi_work);

	/* These threads are ours to keep busy. */
	integrity_allow_inline(UINT32_MAX);
	blk_io_done(bio, do_sync(bio));
}

void blk_queue_sync_io(struct bio *bio)
{
	work_init(&bio->bi_work, sync_io_work);
	queue_work(get_io_wq(), &bio->bi_work);
}

/* Submission */

static bool is_rw(const struct bio *bio)
{
	return bio->bi_op == BIO_OP_READ || bio->bi_op == BIO_OP_WRITE;
}

/* Memory as the device wants it; some devices (a file on tmpfs) would take any. */
static bool aligned_memory(const struct bio *bio)
{
	uintptr_t where = 0;
	struct bvec_iter it;
	struct bio_vec bv;

	bio_for_each_segment(bv, bio, it)
		where |= (uintptr_t)bv.bv_base | bv.bv_len;
	return !(where & (bio->bi_bdev->align - 1));
}

static int check(const struct bio *bio)
{
	const struct bdev *b = bio->bi_bdev;
	uint64_t off = bio->bi_iter.bi_sector << SECTOR_SHIFT, len = bio->bi_iter.bi_size;

	if (bio->bi_op == BIO_OP_FLUSH)
		return 0;
	if (bio->bi_op != BIO_OP_READ && b->read_only)
		return -EROFS;
	if (!len || ((off | len) & (b->align - 1)))
		return -EINVAL;
	if (is_rw(bio) && !aligned_memory(bio))
		return -EINVAL;
	if (bio->bi_iter.bi_sector > b->size >> SECTOR_SHIFT || len > b->size - off)
		return -EIO;
	return 0;
}

/* A payload must speak for every byte of its bio, or verification would leave some out. */
static int check_payload(const struct bio *bio)
{
	const struct blk_integrity *bi = bio->bi_bdev->integrity;
	uint64_t off = bio->bi_iter.bi_sector << SECTOR_SHIFT, len = bio->bi_iter.bi_size;

	if (!bio->bi_integrity)
		return 0;
	if (!bi || ((off | len) & ((UINT64_C(1) << bi->interval_exp) - 1)))
		return -EINVAL;
	if (bio->bi_integrity->bip_iter.bi_size !=
	    bio_integrity_bytes(bi, (unsigned int)(len >> SECTOR_SHIFT)))
		return -EINVAL;
	return 0;
}

static int prepare(struct bio *bio)
{
	int err = check(bio);

	if (!err && bio_integrity_enabled(bio))
		err = integrity_attach(bio, NULL);
	return err ? err : check_payload(bio);
}

/* @bio goes to the device as it is now. */
static void account(struct bio *bio)
{
	struct bdev_stats *st = &bio->bi_bdev->stats;
	uint32_t bytes = bio->bi_iter.bi_size;

	bio->bi_issued = now_ns();
	if (bio->bi_integrity)
		integrity_mark_submitted(bio);
	switch (bio->bi_op) {
	case BIO_OP_READ:
		atomic_fetch_add_explicit(&st->reads, 1, memory_order_relaxed);
		atomic_fetch_add_explicit(&st->read_bytes, bytes, memory_order_relaxed);
		break;
	case BIO_OP_WRITE:
		atomic_fetch_add_explicit(&st->writes, 1, memory_order_relaxed);
		atomic_fetch_add_explicit(&st->write_bytes, bytes, memory_order_relaxed);
		break;
	case BIO_OP_FLUSH:
		atomic_fetch_add_explicit(&st->flushes, 1, memory_order_relaxed);
		break;
	case BIO_OP_DISCARD:
		atomic_fetch_add_explicit(&st->discards, 1, memory_order_relaxed);
		break;
	}
}

static void dispatch(struct bio *bio)
{
	struct bdev *b = bio->bi_bdev;

	account(bio);
	if (is_rw(bio) && b->ops->submit)
		b->ops->submit(b, bio);
	else
		blk_queue_sync_io(bio);
}

void blk_issue(struct bio *bio)
{
	const struct bdev *b = bio->bi_bdev;
	struct bio_set *bs = integrity_wants_completion(bio) ? split_set_checked : split_set;
	uint32_t unit = b->align;

	/* A payload can only be cut between intervals. */
	if (bio->bi_integrity)
		unit = max_t(uint32_t, unit, 1u << b->integrity->interval_exp);
	while (is_rw(bio)) {
		uint32_t bytes = device_takes(b, bio->bi_io_vec, bio->bi_iter, unit);
		struct bio *front;

		if (bytes == bio->bi_iter.bi_size)
			break;
		front = bytes ? bio_split(bio, bytes >> SECTOR_SHIFT, bs) : NULL;
		if (!front) {
			fail_later(bio, -EINVAL);
			return;
		}
		bio_chain(front, bio);
		dispatch(front);
	}
	dispatch(bio);
}

void submit_bio(struct bio *bio)
{
	int err = prepare(bio);

	trace4(block_bio_queue, bio, bio->bi_op, bio->bi_iter.bi_sector << SECTOR_SHIFT,
	       bio->bi_iter.bi_size);
	if (err) {
		fail_later(bio, err);
		return;
	}
	if (bio->bi_integrity && (bio->bi_integrity->bip_flags & BIP_GENERATE)) {
		if (bio->bi_iter.bi_size >= GENERATE_ASYNC_BYTES &&
		    !integrity_wants_completion(bio)) {
			integrity_generate_async(bio);
			return;
		}
		err = bio_integrity_generate(bio);
		if (err) {
			fail_later(bio, err);
			return;
		}
	}
	blk_issue(bio);
}

/* Waiting */

struct waiter {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool done;
};

static void wake_waiter(struct bio *bio)
{
	struct waiter *w = bio->bi_private;

	pthread_mutex_lock(&w->lock);
	w->done = true;
	pthread_cond_signal(&w->cond);
	pthread_mutex_unlock(&w->lock);
}

static int submit_async_and_wait(struct bio *bio)
{
	struct waiter w = { .lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER };
	bio_end_io_t *end_io = bio->bi_end_io;
	void *private = bio->bi_private;

	bio->bi_private = &w;
	bio->bi_end_io = wake_waiter;
	submit_bio(bio);
	pthread_mutex_lock(&w.lock);
	while (!w.done)
		pthread_cond_wait(&w.cond, &w.lock);
	pthread_mutex_unlock(&w.lock);
	pthread_cond_destroy(&w.cond);
	pthread_mutex_destroy(&w.lock);
	bio->bi_end_io = end_io;
	bio->bi_private = private;
	return bio->bi_status;
}

int submit_bio_wait(struct bio *bio)
{
	const struct bdev_ops *ops = bio->bi_bdev->ops;
	int err;

	if (!ops->readv || !ops->writev || atomic_load(&bio->bi_remaining) > 1)
		return submit_async_and_wait(bio);
	err = prepare(bio);
	if (!err && bio->bi_integrity && (bio->bi_integrity->bip_flags & BIP_GENERATE))
		err = bio_integrity_generate(bio);
	if (!err) {
		account(bio);
		err = do_sync(bio);
		record_time(bio);
	}
	if (err)
		note_io_error(bio, err);
	else
		integrity_finish(bio);
	return bio->bi_status;
}
