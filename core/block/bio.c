/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bios: allocation, vectors, moving and cutting, completion.  After struct
 * bio and block/bio.c of Linux.
 */
#include "core/block/bio.h"

#include <errno.h>
#include <string.h>

#include "core/block/blk_priv.h"
#include "core/lib/trace.h"

/* False: there is no memory, and @wait is not. */
static bool bio_get_vecs(struct bio *bio, unsigned int nr_vecs, bool wait)
{
	struct bio_set *bs = bio->bi_pool;

	bio->bi_max_vecs = (uint16_t)nr_vecs;
	bio->bi_io_vec = bio->bi_inline_vecs;
	if (!bs || nr_vecs <= BIO_INLINE_VECS)
		return true;
	/* Most bios are far shorter than what the pool has in reserve. */
	bio->bi_io_vec = tl_alloc(nr_vecs * sizeof(struct bio_vec));
	bio->bi_flags |= BIO_F_VEC_HEAP;
	if (!bio->bi_io_vec) {
		bio->bi_io_vec =
			wait ? mempool_alloc(bs->vec_pool) : mempool_try_alloc(bs->vec_pool);
		bio->bi_flags ^= BIO_F_VEC_HEAP | BIO_F_VEC_POOL;
	}
	return bio->bi_io_vec;
}

static struct bio *bio_alloc_any(struct bdev *bdev, unsigned int nr_vecs, enum bio_op op,
				 struct bio_set *bs, bool wait)
{
	struct bio *bio;

	if (bs)
		bio = wait ? mempool_alloc(bs->bio_pool) : mempool_try_alloc(bs->bio_pool);
	else
		bio = tl_alloc(sizeof(*bio) + nr_vecs * sizeof(struct bio_vec));
	if (!bio)
		return NULL;
	memset(bio, 0, sizeof(*bio));
	bio->bi_bdev = bdev;
	bio->bi_op = op;
	bio->bi_pool = bs;
	atomic_init(&bio->bi_refs, 1);
	atomic_init(&bio->bi_remaining, 1);
	INIT_LIST_HEAD(&bio->bi_work.list);
	if (bio_get_vecs(bio, nr_vecs, wait))
		return bio;
	mempool_free(bs->bio_pool, bio);
	return NULL;
}

struct bio *bio_alloc(struct bdev *bdev, unsigned int nr_vecs, enum bio_op op, struct bio_set *bs)
{
	assert(nr_vecs >= 1 && nr_vecs <= BIO_MAX_VECS);
	return bio_alloc_any(bdev, nr_vecs, op, bs, true);
}

struct bio *bio_try_alloc(struct bdev *bdev, unsigned int nr_vecs, enum bio_op op,
			  struct bio_set *bs)
{
	assert(nr_vecs >= 1 && nr_vecs <= BIO_MAX_VECS);
	return bio_alloc_any(bdev, nr_vecs, op, bs, false);
}

struct bio *bio_alloc_vecless(struct bdev *bdev, enum bio_op op, struct bio_set *bs)
{
	return bio_alloc_any(bdev, 0, op, bs, true);
}

struct bio *bio_get(struct bio *bio)
{
	atomic_fetch_add_explicit(&bio->bi_refs, 1, memory_order_relaxed);
	return bio;
}

void bio_put(struct bio *bio)
{
	struct bio_set *bs = bio->bi_pool;
	struct bio_vec *bv;

	if (atomic_fetch_sub_explicit(&bio->bi_refs, 1, memory_order_acq_rel) != 1)
		return;
	bio_integrity_free(bio);
	if (!(bio->bi_flags & BIO_F_CLONED))
		bio_for_each_segment_all(bv, bio)
			seg_put(bv->bv_seg);
	if (bio->bi_flags & BIO_F_VEC_POOL)
		mempool_free(bs->vec_pool, bio->bi_io_vec);
	else if (bio->bi_flags & BIO_F_VEC_HEAP)
		tl_free(bio->bi_io_vec);
	if (bs)
		mempool_free(bs->bio_pool, bio);
	else
		tl_free(bio);
}

bool bio_full(const struct bio *bio)
{
	return bio->bi_vcnt >= bio->bi_max_vecs;
}

unsigned int bio_add_vec(struct bio *bio, struct seg *seg, void *base, unsigned int len)
{
	struct bio_vec *last;

	assert(!(bio->bi_flags & BIO_F_CLONED));
	if (len > UINT32_MAX - bio->bi_iter.bi_size)
		return 0;
	if (bio->bi_vcnt) {
		last = &bio->bi_io_vec[bio->bi_vcnt - 1];
		if (last->bv_seg == seg && (char *)last->bv_base + last->bv_len == (char *)base) {
			last->bv_len += len;
			bio->bi_iter.bi_size += len;
			return len;
		}
	}
	if (bio_full(bio))
		return 0;
	last = &bio->bi_io_vec[bio->bi_vcnt++];
	last->bv_base = base;
	last->bv_len = len;
	last->bv_seg = seg ? seg_get(seg) : NULL;
	bio->bi_iter.bi_size += len;
	return len;
}

struct bio_vec bvec_iter_bvec(const struct bio_vec *bv, struct bvec_iter it)
{
	const struct bio_vec *cur = &bv[it.bi_idx];

	return (struct bio_vec){
		.bv_base = (char *)cur->bv_base + it.bi_bvec_done,
		.bv_len = min_t(uint32_t, cur->bv_len - it.bi_bvec_done, it.bi_size),
		.bv_seg = cur->bv_seg,
	};
}

void bvec_iter_advance(const struct bio_vec *bv, struct bvec_iter *it, unsigned int bytes)
{
	assert(bytes <= it->bi_size);
	it->bi_size -= bytes;
	bytes += it->bi_bvec_done;
	while (bytes && bytes >= bv[it->bi_idx].bv_len) {
		bytes -= bv[it->bi_idx].bv_len;
		it->bi_idx++;
	}
	it->bi_bvec_done = bytes;
}

void bio_set_error(struct bio *bio, int err)
{
	int none = 0;

	__atomic_compare_exchange_n(&bio->bi_status, &none, err, false, __ATOMIC_ACQ_REL,
				    __ATOMIC_ACQUIRE);
}

/* The first error of a chain wins, and with it what is known about a mismatch. */
static void pass_error_up(const struct bio *bio, struct bio *parent)
{
	struct bio_integrity_payload *from = bio->bi_integrity, *to = parent->bi_integrity;
	int none = 0;

	if (!bio->bi_status ||
	    !__atomic_compare_exchange_n(&parent->bi_status, &none, bio->bi_status, false,
					 __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		return;
	if (bio->bi_status == -EILSEQ && from && to) {
		to->bip_bad_ref = from->bip_bad_ref;
		to->bip_expected = from->bip_expected;
		to->bip_found = from->bip_found;
		to->bip_what = from->bip_what;
	}
}

/* Marks a chained bio; bio_complete does the work, in a loop, so that long chains need no stack. */
static void bio_chain_endio(struct bio *bio)
{
	bio_complete(bio);
}

void bio_chain(struct bio *bio, struct bio *parent)
{
	assert(!bio->bi_private && !bio->bi_end_io);
	bio->bi_private = parent;
	bio->bi_end_io = bio_chain_endio;
	atomic_fetch_add(&parent->bi_remaining, 1);
}

/* True for the last of a bio's completions: its own and those chained to it. */
static bool bio_remaining_done(struct bio *bio)
{
	if (atomic_fetch_sub_explicit(&bio->bi_remaining, 1, memory_order_acq_rel) != 1)
		return false;
	/* As new, for an owner who submits it again. */
	atomic_store_explicit(&bio->bi_remaining, 1, memory_order_relaxed);
	return true;
}

void bio_complete(struct bio *bio)
{
	while (bio->bi_end_io == bio_chain_endio) {
		struct bio *parent = bio->bi_private;

		pass_error_up(bio, parent);
		bio_put(bio);
		bio = parent;
		if (!bio_remaining_done(bio))
			return;
		if (integrity_wants_completion(bio)) {
			bio_integrity_endio(bio);
			return;
		}
	}
	if (bio->bi_end_io)
		bio->bi_end_io(bio);
}

void bio_endio(struct bio *bio)
{
	if (!bio_remaining_done(bio))
		return;
	trace4(block_bio_complete, bio, bio->bi_op, bio->bi_iter.bi_sector << SECTOR_SHIFT,
	       bio->bi_status);
	if (integrity_wants_completion(bio))
		bio_integrity_endio(bio);
	else
		bio_complete(bio);
}
