/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Block integrity: payloads, and the tuples in them made and compared.  After
 * Linux's bio-integrity.
 *
 * A payload is attached when a bio is submitted (or before, by who has the
 * tuples).  A write's tuples are generated before it goes out.  A read is
 * verified between the device's completion and the bio's own: BIP_CHECK on the
 * payload is the hook, which bio_endio() sees, so that whoever sets bi_end_io
 * after preparing, or chains the bio, cannot lose it.
 */
#include "core/block/integrity.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "core/block/blk_priv.h"

#define INTERVAL_MAX (1u << 16)

/* Bytes that completions in this thread may verify themselves, beyond which a worker does it. */
static __thread uint32_t inline_limit;

/* Completions between the device's end and theirs. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t idle;
	unsigned int count;
} in_flight = { .lock = PTHREAD_MUTEX_INITIALIZER, .idle = PTHREAD_COND_INITIALIZER };

void integrity_allow_inline(uint32_t bytes)
{
	inline_limit = bytes;
}

/* Payloads */

struct bio_integrity_payload *bio_integrity_alloc(struct bio *bio, unsigned int nr_vecs)
{
	struct bio_set *bs = bio->bi_pool;
	bool pooled = bs && bs->bip_pool;
	struct bio_integrity_payload *bip =
		pooled ? mempool_alloc(bs->bip_pool) : tl_alloc(sizeof(*bip));

	assert(!bio->bi_integrity && nr_vecs <= BIO_MAX_VECS);
	if (!bip)
		return NULL;
	memset(bip, 0, sizeof(*bip));
	bip->bip_bio = bio;
	bip->bip_flags = pooled ? BIP_FROM_POOL : 0;
	bip->bip_vec = bip->bip_inline_vecs;
	bip->bip_max_vcnt = ARRAY_SIZE(bip->bip_inline_vecs);
	INIT_LIST_HEAD(&bip->bip_work.list);
	if (nr_vecs > bip->bip_max_vcnt) {
		bip->bip_vec = tl_alloc(nr_vecs * sizeof(struct bio_vec));
		bip->bip_flags |= BIP_VECS_EXTERNAL;
		if (!bip->bip_vec && pooled) {
			bip->bip_vec = mempool_alloc(bs->vec_pool);
			bip->bip_flags |= BIP_VECS_FROM_POOL;
		}
		if (!bip->bip_vec) {
			tl_free(bip);
			return NULL;
		}
	}
	bip->bip_max_vcnt = (uint16_t)max_t(unsigned int, nr_vecs, 1);
	if (bio->bi_bdev->integrity)
		bip->bip_app = bio->bi_bdev->integrity->app;
	bio->bi_integrity = bip;
	bio->bi_flags |= BIO_F_INTEGRITY;
	return bip;
}

void bio_integrity_free(struct bio *bio)
{
	struct bio_integrity_payload *bip = bio->bi_integrity;
	struct bio_set *bs = bio->bi_pool;

	if (!bip)
		return;
	if (bip->bip_flags & BIP_BUF_FROM_POOL)
		mempool_free(bs->buf_pool, bip->bip_vec[0].bv_base);
	else if (bip->bip_flags & BIP_OWNS_BUF)
		tl_free(bip->bip_vec[0].bv_base);
	if (bip->bip_flags & BIP_VECS_FROM_POOL)
		mempool_free(bs->vec_pool, bip->bip_vec);
	else if (bip->bip_flags & BIP_VECS_EXTERNAL)
		tl_free(bip->bip_vec);
	if (bip->bip_flags & BIP_FROM_POOL)
		mempool_free(bs->bip_pool, bip);
	else
		tl_free(bip);
	bio->bi_integrity = NULL;
	bio->bi_flags &= ~(unsigned int)BIO_F_INTEGRITY;
}

/* Would a list of segments that goes from @prev to @base have a gap the device can't take? */
static bool leaves_gap(const struct bdev *b, const struct bio_vec *prev, const void *base)
{
	return (((uintptr_t)prev->bv_base + prev->bv_len) | (uintptr_t)base) & b->virt_boundary;
}

unsigned int bio_integrity_add_page(struct bio *bio, void *base, unsigned int len)
{
	struct bio_integrity_payload *bip = bio->bi_integrity;
	struct bio_vec *last;

	assert(!bip->bip_iter.bi_bvec_done && !bip->bip_iter.bi_idx);
	if (len > UINT32_MAX - bip->bip_iter.bi_size)
		return 0;
	last = bip->bip_vcnt ? &bip->bip_vec[bip->bip_vcnt - 1] : NULL;
	if (last && (char *)last->bv_base + last->bv_len == (char *)base) {
		last->bv_len += len;
	} else {
		if (bip->bip_vcnt >= bip->bip_max_vcnt)
			return 0;
		if (last && leaves_gap(bio->bi_bdev, last, base))
			return 0;
		bip->bip_vec[bip->bip_vcnt++] = (struct bio_vec){ .bv_base = base, .bv_len = len };
	}
	bip->bip_iter.bi_size += len;
	bip->bip_prep_iter = bip->bip_iter;
	integrity_mark_submitted(bio);
	return len;
}

void integrity_mark_submitted(struct bio *bio)
{
	struct bio_integrity_payload *bip = bio->bi_integrity;

	bip->bip_data_iter = bio->bi_iter;
	bip->bip_tuple_iter = bip->bip_iter;
}

bool bio_integrity_enabled(struct bio *bio)
{
	const struct blk_integrity *bi = bio->bi_bdev->integrity;

	if (bio->bi_integrity || !bi || !bi->profile || !bio->bi_iter.bi_size)
		return false;
	if (bio->bi_flags & BIO_F_NO_INTEGRITY)
		return false;
	if (bio->bi_op == BIO_OP_READ)
		return (bi->flags & BLK_INTEGRITY_VERIFY) && bi->profile->verify_fn &&
		       bi->store_ops && bi->store_ops->load;
	if (bio->bi_op == BIO_OP_WRITE)
		return (bi->flags & BLK_INTEGRITY_GENERATE) && bi->profile->generate_fn;
	return false;
}

/* Preparing */

static bool whole_intervals(const struct bio *bio, const struct blk_integrity *bi)
{
	uint64_t mask = (UINT64_C(1) << bi->interval_exp) - 1;

	return !(((bio->bi_iter.bi_sector << SECTOR_SHIFT) | bio->bi_iter.bi_size) & mask);
}

/* Tuple memory of our own for the whole bio, in one piece. */
static int alloc_tuples(struct bio *bio, const struct blk_integrity *bi)
{
	unsigned int bytes = bio_integrity_bytes(bi, bio->bi_iter.bi_size >> SECTOR_SHIFT);
	struct bio_integrity_payload *bip = bio_integrity_alloc(bio, 1);
	void *buf;

	if (!bip)
		return -ENOMEM;
	bip->bip_iter.bi_sector = bio->bi_iter.bi_sector >> (bi->interval_exp - SECTOR_SHIFT);
	buf = tl_alloc(bytes);
	if (buf) {
		bip->bip_flags |= BIP_OWNS_BUF;
	} else if ((bip->bip_flags & BIP_FROM_POOL) && bytes <= BIP_POOL_BUF_BYTES) {
		buf = mempool_alloc(bio->bi_pool->buf_pool);
		bip->bip_flags |= BIP_OWNS_BUF | BIP_BUF_FROM_POOL;
	} else {
		bio_integrity_free(bio);
		return -ENOMEM;
	}
	bio_integrity_add_page(bio, buf, bytes);
	return 0;
}

/* @tuples given: copy them.  Else a read loads them from the store and a write is marked for
 * generation. */
int integrity_attach(struct bio *bio, const void *tuples)
{
	const struct blk_integrity *bi = bio->bi_bdev->integrity;
	struct bio_integrity_payload *bip;
	void *buf;
	int err;

	if (!whole_intervals(bio, bi))
		return -EINVAL;
	err = alloc_tuples(bio, bi);
	if (err)
		return err;
	bip = bio->bi_integrity;
	buf = bip->bip_vec[0].bv_base;
	if (bio->bi_op == BIO_OP_WRITE) {
		bip->bip_flags |= BIP_GENERATE;
		if (bi->store_ops && bi->store_ops->save)
			bip->bip_flags |= BIP_SAVE;
		return 0;
	}
	bip->bip_flags |= BIP_CHECK;
	if (tuples) {
		memcpy(buf, tuples, bip->bip_iter.bi_size);
		return 0;
	}
	err = bi->store_ops->load(bi->store, bip->bip_iter.bi_sector,
				  bip->bip_iter.bi_size / bi->profile->tuple_size, buf);
	if (err)
		bio_integrity_free(bio);
	return err;
}

int bio_integrity_prep(struct bio *bio)
{
	int err;

	if (!bio_integrity_enabled(bio))
		return 0;
	err = integrity_attach(bio, NULL);
	if (!err && bio->bi_op == BIO_OP_WRITE)
		err = bio_integrity_generate(bio);
	return err;
}

int bio_integrity_prep_tuples(struct bio *bio, const void *tuples)
{
	const struct blk_integrity *bi = bio->bi_bdev->integrity;

	if (bio->bi_op != BIO_OP_READ || bio->bi_integrity || !bio->bi_iter.bi_size)
		return -EINVAL;
	if (!bi || !bi->profile || !bi->profile->verify_fn || !(bi->flags & BLK_INTEGRITY_VERIFY))
		return 0;
	return integrity_attach(bio, tuples);
}

/* Generating and verifying */

static void copy_data(const struct bio *bio, struct bvec_iter it, char *to, uint32_t len)
{
	while (len) {
		struct bio_vec bv = bvec_iter_bvec(bio->bi_io_vec, it);
		uint32_t n = min_t(uint32_t, bv.bv_len, len);

		memcpy(to, bv.bv_base, n);
		bvec_iter_advance(bio->bi_io_vec, &it, n);
		to += n;
		len -= n;
	}
}

/*
 * One interval whose data or tuple lies in several pieces, through a copy.
 * Apart from the loop below because of the stack it takes.
 */
static __attribute__((noinline)) int process_straddling(struct bio *bio, struct bvec_iter data,
							struct bvec_iter tuples,
							struct integrity_iter *it, integrity_fn *fn,
							bool store)
{
	const struct bio_integrity_payload *bip = bio->bi_integrity;
	unsigned int tuple_size = bio->bi_bdev->integrity->profile->tuple_size;
	char interval[INTERVAL_MAX], tuple[sizeof(struct tuple16)];
	int err;

	copy_data(bio, data, interval, it->interval);
	integrity_tuple_bytes_get(bip, tuples, 0, tuple, tuple_size);
	it->data_buf = interval;
	it->data_size = it->interval;
	it->prot_buf = tuple;
	err = fn(it);
	if (!err && store)
		integrity_tuple_bytes_set(bip, tuples, 0, tuple, tuple_size);
	return err;
}

/*
 * Run @fn over all intervals from @data on, in lockstep with the tuples from
 * @tuples on, in runs as long as both lie in one piece.
 */
static int integrity_process(struct bio *bio, struct bvec_iter data, struct bvec_iter tuples,
			     integrity_fn *fn, bool store)
{
	const struct blk_integrity *bi = bio->bi_bdev->integrity;
	struct bio_integrity_payload *bip = bio->bi_integrity;
	unsigned int tuple_size = bi->profile->tuple_size;
	struct integrity_iter it = {
		.seed = tuples.bi_sector,
		.interval = 1u << bi->interval_exp,
		.key = bi->key,
		.app = bip->bip_app,
		.name = bio->bi_bdev->name,
	};
	int err = 0;

	while (data.bi_size >= it.interval && tuples.bi_size >= tuple_size) {
		struct bio_vec dv = bvec_iter_bvec(bio->bi_io_vec, data);
		struct bio_vec tv = bvec_iter_bvec(bip->bip_vec, tuples);
		unsigned int n =
			min_t(unsigned int, dv.bv_len >> bi->interval_exp, tv.bv_len / tuple_size);

		if (n) {
			it.data_buf = dv.bv_base;
			it.data_size = n << bi->interval_exp;
			it.prot_buf = tv.bv_base;
			err = fn(&it);
		} else {
			n = 1;
			err = process_straddling(bio, data, tuples, &it, fn, store);
		}
		if (err)
			break;
		bvec_iter_advance(bio->bi_io_vec, &data, n << bi->interval_exp);
		bvec_iter_advance(bip->bip_vec, &tuples, n * tuple_size);
	}
	/* What was not compared does not count as good. */
	if (!err && (data.bi_size || tuples.bi_size))
		return -EINVAL;
	if (err == -EILSEQ) {
		bip->bip_bad_ref = it.bad_ref;
		bip->bip_expected = it.expected;
		bip->bip_found = it.found;
		bip->bip_what = it.what;
	}
	return err;
}

int bio_integrity_generate(struct bio *bio)
{
	const struct blk_integrity *bi = bio->bi_bdev->integrity;
	struct bio_integrity_payload *bip = bio->bi_integrity;

	bip->bip_flags &= ~(unsigned int)BIP_GENERATE;
	integrity_count(bip->bip_iter.bi_size / bi->profile->tuple_size, 0, 0);
	return integrity_process(bio, bio->bi_iter, bip->bip_iter, bi->profile->generate_fn, true);
}

int bio_integrity_verify(struct bio *bio)
{
	const struct blk_integrity *bi = bio->bi_bdev->integrity;
	struct bio_integrity_payload *bip = bio->bi_integrity;
	int err = integrity_process(bio, bip->bip_data_iter, bip->bip_tuple_iter,
				    bi->profile->verify_fn, false);

	integrity_count(0, bip->bip_tuple_iter.bi_size / bi->profile->tuple_size, err ? 1 : 0);
	return err;
}

/* Completion */

static int save_tuples(struct bio *bio)
{
	const struct blk_integrity *bi = bio->bi_bdev->integrity;
	const struct bio_integrity_payload *bip = bio->bi_integrity;
	/* BIP_SAVE is only set on payloads whose tuples are ours, in one piece. */
	struct bio_vec bv = bvec_iter_bvec(bip->bip_vec, bip->bip_tuple_iter);

	return bi->store_ops->save(bi->store, bip->bip_tuple_iter.bi_sector,
				   bv.bv_len / bi->profile->tuple_size, bv.bv_base);
}

int integrity_finish(struct bio *bio)
{
	unsigned int flags = bio->bi_integrity ? bio->bi_integrity->bip_flags : 0;
	int err = 0;

	if (bio->bi_status)
		return bio->bi_status;
	if (flags & BIP_CHECK)
		err = bio_integrity_verify(bio);
	else if (flags & BIP_SAVE)
		err = save_tuples(bio);
	if (err)
		bio_set_error(bio, err);
	return err;
}

static void finish_and_complete(struct bio *bio)
{
	integrity_finish(bio);
	bio_complete(bio);
	pthread_mutex_lock(&in_flight.lock);
	if (!--in_flight.count)
		pthread_cond_broadcast(&in_flight.idle);
	pthread_mutex_unlock(&in_flight.lock);
}

static void finish_work(struct work *w)
{
	/* Workers are here to burn time: what completes below them stays with them. */
	integrity_allow_inline(UINT32_MAX);
	finish_and_complete(container_of(w, struct bio_integrity_payload, bip_work)->bip_bio);
}

void bio_integrity_endio(struct bio *bio)
{
	struct bio_integrity_payload *bip = bio->bi_integrity;

	/* What did not arrive needs no verification. */
	if (bio->bi_status) {
		bio_complete(bio);
		return;
	}
	pthread_mutex_lock(&in_flight.lock);
	in_flight.count++;
	pthread_mutex_unlock(&in_flight.lock);
	/* Saving may take the store's locks and time: never in a thread that others' completions
	 * wait for. */
	if (bip->bip_data_iter.bi_size <= inline_limit && !(bip->bip_flags & BIP_SAVE)) {
		finish_and_complete(bio);
		return;
	}
	work_init(&bip->bip_work, finish_work);
	queue_work(blk_integrity_wq, &bip->bip_work);
}

static void generate_work(struct work *w)
{
	struct bio *bio = container_of(w, struct bio_integrity_payload, bip_work)->bip_bio;
	int err = bio_integrity_generate(bio);

	if (err)
		blk_end(bio, err);
	else
		blk_issue(bio);
}

void integrity_generate_async(struct bio *bio)
{
	work_init(&bio->bi_integrity->bip_work, generate_work);
	queue_work(blk_integrity_wq, &bio->bi_integrity->bip_work);
}

void blk_flush_integrity(void)
{
	pthread_mutex_lock(&in_flight.lock);
	while (in_flight.count)
		pthread_cond_wait(&in_flight.idle, &in_flight.lock);
	pthread_mutex_unlock(&in_flight.lock);
}
