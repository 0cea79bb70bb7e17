/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A payload's window onto its tuples, and how it follows the bio: advance, split; and, which only
 * programs other than the daemon call, trim and clone.
 *
 * The rule that keeps tuples and data together: interval numbers are taken
 * from the bio's place on the device, before and after a move, and the window
 * moves by their difference.  So a bio that advances in steps smaller than an
 * interval comes out right once the steps add up.
 */
#include <errno.h>
#include <string.h>

#include "core/block/blk_priv.h"

static unsigned int sector_shift(const struct blk_integrity *bi)
{
	return bi->interval_exp - SECTOR_SHIFT;
}

unsigned int bio_integrity_intervals(const struct blk_integrity *bi, unsigned int sectors)
{
	return sectors >> sector_shift(bi);
}

unsigned int bio_integrity_bytes(const struct blk_integrity *bi, unsigned int sectors)
{
	return bio_integrity_intervals(bi, sectors) * bi->profile->tuple_size;
}

static void window_advance(struct bio_integrity_payload *bip, const struct blk_integrity *bi,
			   uint64_t intervals)
{
	bip->bip_iter.bi_sector += intervals;
	bvec_iter_advance(bip->bip_vec, &bip->bip_iter,
			  (unsigned int)intervals * bi->profile->tuple_size);
}

static uint64_t intervals_between(const struct blk_integrity *bi, sector_t from, uint64_t sectors)
{
	return ((from + sectors) >> sector_shift(bi)) - (from >> sector_shift(bi));
}

void bio_integrity_advance(struct bio *bio, unsigned int bytes_done)
{
	const struct blk_integrity *bi = bio->bi_bdev->integrity;

	window_advance(bio->bi_integrity, bi,
		       intervals_between(bi, bio->bi_iter.bi_sector, bytes_done >> SECTOR_SHIFT));
}

void bio_integrity_trim(struct bio *bio, unsigned int offset, unsigned int sectors)
{
	const struct blk_integrity *bi = bio->bi_bdev->integrity;
	struct bio_integrity_payload *bip = bio->bi_integrity;

	bio_integrity_advance(bio, offset << SECTOR_SHIFT);
	/* Down: a trim inside an interval leaves a bio that cannot be submitted, but nothing beyond
	 * the window. */
	bip->bip_iter.bi_size =
		(uint32_t)intervals_between(bi, bio->bi_iter.bi_sector + offset, sectors) *
		bi->profile->tuple_size;
}

/* A payload for @to over the tuples of @from, at the same place. */
static struct bio_integrity_payload *share_payload(struct bio *to,
						   const struct bio_integrity_payload *from)
{
	struct bio_integrity_payload *bip = bio_integrity_alloc(to, 0);

	if (!bip)
		return NULL;
	bip->bip_vec = from->bip_vec;
	bip->bip_vcnt = bip->bip_max_vcnt = from->bip_vcnt;
	bip->bip_iter = bip->bip_prep_iter = from->bip_iter;
	bip->bip_app = from->bip_app;
	return bip;
}

int bio_integrity_split(struct bio *bio, struct bio *front, unsigned int sectors)
{
	const struct blk_integrity *bi = bio->bi_bdev->integrity;
	struct bio_integrity_payload *rest = bio->bi_integrity, *bip;
	sector_t cut = bio->bi_iter.bi_sector + sectors;

	if (cut & ((UINT64_C(1) << sector_shift(bi)) - 1))
		return -EINVAL;
	bip = share_payload(front, rest);
	if (!bip)
		return -ENOMEM;
	bip->bip_flags |= rest->bip_flags & (BIP_CHECK | BIP_SAVE);
	bip->bip_iter.bi_size = (uint32_t)intervals_between(bi, bio->bi_iter.bi_sector, sectors) *
				bi->profile->tuple_size;
	bip->bip_prep_iter = bip->bip_iter;
	integrity_mark_submitted(front);
	bio_integrity_advance(bio, sectors << SECTOR_SHIFT);
	return 0;
}

/* The clone verifies what it reads; storing tuples stays the business of the bio it was cloned
 * from. */
int bio_integrity_clone(struct bio *bio, struct bio *src)
{
	struct bio_integrity_payload *bip = share_payload(bio, src->bi_integrity);

	if (!bip)
		return -ENOMEM;
	bip->bip_flags |= src->bi_integrity->bip_flags & BIP_CHECK;
	integrity_mark_submitted(bio);
	return 0;
}

/* Copy @len bytes at @pos of the window @it, out of it or into it; pieces may end anywhere. */
static void window_copy(const struct bio_integrity_payload *bip, struct bvec_iter it, uint32_t pos,
			char *buf, uint32_t len, bool in)
{
	bvec_iter_advance(bip->bip_vec, &it, pos);
	while (len) {
		struct bio_vec bv = bvec_iter_bvec(bip->bip_vec, it);
		uint32_t n = min_t(uint32_t, len, bv.bv_len);

		if (in)
			memcpy(bv.bv_base, buf, n);
		else
			memcpy(buf, bv.bv_base, n);
		bvec_iter_advance(bip->bip_vec, &it, n);
		buf += n;
		len -= n;
	}
}

void integrity_tuple_bytes_get(const struct bio_integrity_payload *bip, struct bvec_iter it,
			       uint32_t pos, void *buf, uint32_t len)
{
	window_copy(bip, it, pos, buf, len, false);
}

void integrity_tuple_bytes_set(const struct bio_integrity_payload *bip, struct bvec_iter it,
			       uint32_t pos, const void *buf, uint32_t len)
{
	window_copy(bip, it, pos, (char *)buf, len, true);
}

unsigned int bio_integrity_copy_tuples(const struct bio *bio, void *buf, unsigned int size)
{
	const struct bio_integrity_payload *bip = bio->bi_integrity;
	unsigned int n;

	if (!bip)
		return 0;
	n = min_t(unsigned int, size, bip->bip_prep_iter.bi_size);
	integrity_tuple_bytes_get(bip, bip->bip_prep_iter, 0, buf, n);
	return n;
}
