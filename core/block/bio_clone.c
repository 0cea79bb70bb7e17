/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Parts and copies of a bio.  Submission splits; advance, trim and clone are for programs other
 * than the daemon (docs/IO.md, row I10), which has no use for them.
 */
#include "core/block/blk_priv.h"

static bool bio_has_data(const struct bio *bio)
{
	return bio->bi_op == BIO_OP_READ || bio->bi_op == BIO_OP_WRITE;
}

static void bio_advance_data(struct bio *bio, unsigned int bytes)
{
	bio->bi_iter.bi_sector += bytes >> SECTOR_SHIFT;
	if (bio_has_data(bio))
		bvec_iter_advance(bio->bi_io_vec, &bio->bi_iter, bytes);
	else
		bio->bi_iter.bi_size -= bytes;
}

void bio_advance(struct bio *bio, unsigned int bytes)
{
	assert(bytes <= bio->bi_iter.bi_size);
	if (bio->bi_integrity)
		bio_integrity_advance(bio, bytes);
	bio_advance_data(bio, bytes);
}

void bio_trim(struct bio *bio, unsigned int offset, unsigned int sectors)
{
	assert(((uint64_t)offset + sectors) << SECTOR_SHIFT <= bio->bi_iter.bi_size);
	/* The payload first: it reads off the bio where it stands. */
	if (bio->bi_integrity)
		bio_integrity_trim(bio, offset, sectors);
	bio_advance_data(bio, offset << SECTOR_SHIFT);
	bio->bi_iter.bi_size = sectors << SECTOR_SHIFT;
	if (bio->bi_integrity)
		integrity_mark_submitted(bio);
}

/* A new bio over the same vector, at the same place, without payload and completion. */
static struct bio *bio_share(struct bio *src, struct bio_set *bs)
{
	struct bio *bio = bio_alloc_vecless(src->bi_bdev, src->bi_op, bs);

	if (!bio)
		return NULL;
	bio->bi_flags =
		BIO_F_CLONED | (src->bi_flags & (BIO_F_QUIET | BIO_F_RAHEAD | BIO_F_NO_INTEGRITY));
	bio->bi_iter = src->bi_iter;
	bio->bi_io_vec = src->bi_io_vec;
	bio->bi_vcnt = src->bi_vcnt;
	bio->bi_max_vecs = src->bi_vcnt;
	return bio;
}

struct bio *bio_clone(struct bio *src, struct bio_set *bs)
{
	struct bio *bio = bio_share(src, bs);

	if (bio && src->bi_integrity && bio_integrity_clone(bio, src)) {
		bio_put(bio);
		return NULL;
	}
	return bio;
}

struct bio *bio_split(struct bio *bio, unsigned int sectors, struct bio_set *bs)
{
	struct bio *front;

	assert(sectors > 0 && sectors < bio->bi_iter.bi_size >> SECTOR_SHIFT);
	front = bio_share(bio, bs);
	if (!front)
		return NULL;
	front->bi_iter.bi_size = sectors << SECTOR_SHIFT;
	if (bio->bi_integrity && bio_integrity_split(bio, front, sectors)) {
		bio_put(front);
		return NULL;
	}
	bio_advance_data(bio, sectors << SECTOR_SHIFT);
	if (bio->bi_integrity)
		integrity_mark_submitted(bio);
	return front;
}
