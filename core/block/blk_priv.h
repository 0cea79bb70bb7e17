/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the block layer share with each other and with nobody else. */
#ifndef CORE_BLK_PRIV_H
#define CORE_BLK_PRIV_H

#include "core/block/bio.h"
#include "core/block/integrity.h"
#include "core/lib/mempool.h"

/* Vectors inside a bio from a set; longer ones come from vec_pool or the heap. */
#define BIO_INLINE_VECS 4

struct bio_set {
	struct mempool *bio_pool;
	struct mempool *vec_pool; /* BIO_MAX_VECS vectors each; also for payloads */
	struct mempool *bip_pool; /* after bioset_integrity_create */
	struct mempool *buf_pool; /* tuple memory, BIP_POOL_BUF_BYTES each */
};

/* Tuples of 1 MiB in intervals of 4 KiB. */
#define BIP_POOL_BUF_BYTES 4096

/* bio.c: a bio that will share the vector of another; as bio_alloc(). */
struct bio *bio_alloc_vecless(struct bdev *bdev, enum bio_op op, struct bio_set *bs);
/* Completion after verification. */
void bio_complete(struct bio *bio);

/* blk.c */
extern struct workqueue *blk_integrity_wq;
/* Run @bio with the device's synchronous operations on the I/O pool. */
void blk_queue_sync_io(struct bio *bio);
/* The device is done with @bio: its time, and blk_end(). */
void blk_io_done(struct bio *bio, int err);
/* Count an error, log it, complete. */
void blk_end(struct bio *bio, int err);
/* Generation has finished (submit_bio left it to a worker): send the bio to its device. */
void blk_issue(struct bio *bio);

/* integrity.c: prepare without generating (BIP_GENERATE is set instead). */
int integrity_attach(struct bio *bio, const void *tuples);
/* From here on data and tuples are as they go to the device. */
void integrity_mark_submitted(struct bio *bio);
/* Verification or saving in the calling thread: the status of the bio. */
int integrity_finish(struct bio *bio);
/* Completions in the calling thread may verify up to @bytes themselves. */
void integrity_allow_inline(uint32_t bytes);
/* Generate in a worker, then blk_issue(). */
void integrity_generate_async(struct bio *bio);
static inline bool integrity_wants_completion(const struct bio *bio)
{
	return bio->bi_integrity && (bio->bi_integrity->bip_flags & (BIP_CHECK | BIP_SAVE));
}

/* integrity_window.c: @len bytes at @pos in the tuples that @it covers. */
void integrity_tuple_bytes_get(const struct bio_integrity_payload *bip, struct bvec_iter it,
			       uint32_t pos, void *buf, uint32_t len);
void integrity_tuple_bytes_set(const struct bio_integrity_payload *bip, struct bvec_iter it,
			       uint32_t pos, const void *buf, uint32_t len);

/* integrity_profile.c: for generate and verify functions. */
/* The interval that @it is at does not match: -EILSEQ, told in @it. */
int integrity_mismatch(struct integrity_iter *it, const char *what, uint64_t expected,
		       uint64_t found);
void integrity_next_interval(struct integrity_iter *it, unsigned int tuple_size);
/* Counters. */
void integrity_count(uint64_t generated, uint64_t verified, uint64_t mismatches);

#endif
