/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bios: one I/O on a contiguous range of a device, scattered over memory.
 * The user-space twin of Linux's struct bio, same names, same rules:
 *  - bi_iter is consumed as the bio travels; what walks a completed bio walks
 *    all segments from the first (bio_for_each_segment_all), never from bi_iter;
 *  - bi_status is 0 or a negative errno, set before bio_endio();
 *    -EILSEQ means "read well, but did not match its tuple";
 *  - a reference is dropped by bio_put(), the last one frees payload and bio.
 */
#ifndef CORE_BIO_H
#define CORE_BIO_H

#include <stdatomic.h>
#include "core/block/bdev.h"
#include "core/lib/list.h"
#include "core/block/seg.h"
#include "core/lib/workqueue.h"

typedef uint64_t sector_t; /* in units of 512 bytes */

enum bio_op { BIO_OP_READ, BIO_OP_WRITE, BIO_OP_FLUSH, BIO_OP_DISCARD };

enum {
	BIO_F_QUIET = 1 << 0,	     /* no log line on error */
	BIO_F_CLONED = 1 << 1,	     /* shares its vector with another bio */
	BIO_F_RAHEAD = 1 << 2,	     /* nobody waits for it */
	BIO_F_INTEGRITY = 1 << 3,    /* payload attached */
	BIO_F_NO_INTEGRITY = 1 << 4, /* submit attaches no payload: what this bio carries has
					checksums of its own */
	BIO_F_VEC_POOL = 1 << 5,     /* private to the block layer: where the vector came from */
	BIO_F_VEC_HEAP = 1 << 6,
};

struct bio_vec {
	void *bv_base;
	uint32_t bv_len;
	struct seg *bv_seg; /* reference held by the bio, or NULL: caller keeps the memory alive */
};

struct bvec_iter {
	sector_t bi_sector;
	uint32_t bi_size;      /* bytes left */
	uint32_t bi_idx;       /* current vector */
	uint32_t bi_bvec_done; /* bytes done of it */
};

struct bio_integrity_payload;
struct bio_set;
typedef void bio_end_io_t(struct bio *bio);

struct bio {
	struct bdev *bi_bdev;
	enum bio_op bi_op;
	unsigned int bi_flags;
	int bi_status;
	struct bvec_iter bi_iter;
	bio_end_io_t *bi_end_io;
	void *bi_private;
	struct bio_integrity_payload *bi_integrity;
	uint64_t bi_issued;	 /* when the device was asked, now_ns() */
	struct bio_set *bi_pool; /* NULL: plain allocation */
	atomic_uint bi_refs;
	atomic_uint bi_remaining; /* chained completions outstanding */
	uint16_t bi_vcnt, bi_max_vecs;
	struct work bi_work; /* the block layer's, from submission to completion */
	struct bio_vec *bi_io_vec;
	struct bio_vec bi_inline_vecs[];
};

#define BIO_MAX_VECS 256

/*
 * A set of pools that guarantees forward progress: a bio and, after
 * bioset_integrity_create(), its payload can always be had, at the price of
 * waiting for another to be freed.  0 or -ENOMEM.
 */
int bioset_create(struct bio_set **bs, unsigned int pool_size);
void bioset_free(struct bio_set *bs);

/*
 * Start and stop the block layer (pools, @workers >= 1 integrity workers);
 * calls nest.  Starts threads: a daemon calls it after it has detached.
 * 0, -ENOMEM or -EAGAIN.
 */
int blk_init(unsigned int workers);
void blk_exit(void);

/*
 * @nr_vecs 1..BIO_MAX_VECS.  From a set: never fails (waits).  bs == NULL:
 * NULL when out of memory.
 */
struct bio *bio_alloc(struct bdev *bdev, unsigned int nr_vecs, enum bio_op op, struct bio_set *bs);
/* The same from a set, but NULL instead of waiting. */
struct bio *bio_try_alloc(struct bdev *bdev, unsigned int nr_vecs, enum bio_op op,
			  struct bio_set *bs);
struct bio *bio_get(struct bio *bio);
void bio_put(struct bio *bio);

/*
 * Append @len bytes at @base (taking a reference on @seg when given).  Merged
 * into the last vector where memory goes on.  Returns @len, or 0 when full.
 */
unsigned int bio_add_vec(struct bio *bio, struct seg *seg, void *base, unsigned int len);
bool bio_full(const struct bio *bio);

/* Move the front of the bio on by @bytes (a multiple of 512); payload follows. */
void bio_advance(struct bio *bio, unsigned int bytes);
/* Keep @sectors sectors from @offset (sectors) on; payload follows. */
void bio_trim(struct bio *bio, unsigned int offset, unsigned int sectors);
/* New bio sharing the vector and payload window of @src (which must outlive it).  NULL if out of
 * memory. */
struct bio *bio_clone(struct bio *src, struct bio_set *bs);
/*
 * Cut the first @sectors off into a new bio that shares memory (so @bio must
 * outlive it); @bio keeps the rest.  0 < @sectors < sectors of @bio, and where
 * a payload is attached the cut lies between two intervals.  The new bio has
 * no completion yet.  NULL if out of memory (only without a set) or if the cut
 * is not a legal one.
 */
struct bio *bio_split(struct bio *bio, unsigned int sectors, struct bio_set *bs);
/*
 * @parent completes only after @bio has; errors travel up.  @bio must have no
 * bi_end_io and bi_private; its completion drops the caller's reference.
 */
void bio_chain(struct bio *bio, struct bio *parent);

/*
 * Iterate single segments from @iter's position (does not change the bio).
 * bvec_iter_advance leaves bi_sector alone: segments need not be whole sectors.
 */
struct bio_vec bvec_iter_bvec(const struct bio_vec *bv, struct bvec_iter it);
void bvec_iter_advance(const struct bio_vec *bv, struct bvec_iter *it, unsigned int bytes);
#define bio_for_each_segment(bvl, bio, it)                                                         \
	for (it = (bio)->bi_iter; it.bi_size && ((bvl = bvec_iter_bvec((bio)->bi_io_vec, it)), 1); \
	     bvec_iter_advance((bio)->bi_io_vec, &it, bvl.bv_len))
/* Every vector, wherever the iterator stands (owner of the bio only). */
#define bio_for_each_segment_all(bvp, bio) \
	for (bvp = (bio)->bi_io_vec; bvp < (bio)->bi_io_vec + (bio)->bi_vcnt; bvp++)

/*
 * Submit.  Splits at the device's limits, attaches integrity where the device
 * has a profile and the bio has no payload yet (bio_integrity_prep).  The
 * completion runs in another thread, except for submit_bio_wait, which runs
 * the I/O and its verification in the calling thread where that is cheaper,
 * and returns bi_status; it drops no reference.
 */
void submit_bio(struct bio *bio);
int submit_bio_wait(struct bio *bio);
/* For drivers: the I/O is over, bi_status says how.  Runs verification, then bi_end_io. */
void bio_endio(struct bio *bio);
/* Set bi_status unless an earlier error is there already; safe against chained bios that fail at
 * the same time. */
void bio_set_error(struct bio *bio, int err);

#endif
