/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Application bytes carried in the tuples (docs/IO.md, row I9).  For programs that have some: the
 * daemon has one tag for all blocks of a kind, which is given to the payload (bip_app), and calls
 * none of these.
 */
#include <errno.h>
#include "core/block/blk_priv.h"

unsigned int bio_integrity_tag_size(struct bio *bio)
{
	const struct blk_integrity *bi = bio->bi_bdev->integrity;

	if (!bi || !bi->profile || !bio->bi_integrity)
		return 0;
	return bio->bi_integrity->bip_tuple_iter.bi_size / bi->profile->tuple_size *
	       bi->profile->tag_size;
}

/* Spread @tag over the tuples, or gather it from them. */
static int copy_tag(struct bio *bio, char *tag, unsigned int len, bool set)
{
	const struct blk_integrity *bi = bio->bi_bdev->integrity;
	struct bio_integrity_payload *bip = bio->bi_integrity;
	uint32_t pos;

	if (!bip || !bi->profile->tag_size)
		return -EINVAL;
	if (len > bio_integrity_tag_size(bio))
		return -ENOSPC;
	for (pos = bi->profile->tag_offset; len; pos += bi->profile->tuple_size) {
		unsigned int n = min_t(unsigned int, len, bi->profile->tag_size);

		if (set)
			integrity_tuple_bytes_set(bip, bip->bip_tuple_iter, pos, tag, n);
		else
			integrity_tuple_bytes_get(bip, bip->bip_tuple_iter, pos, tag, n);
		tag += n;
		len -= n;
	}
	return 0;
}

int bio_integrity_set_tag(struct bio *bio, const void *tag, unsigned int len)
{
	return copy_tag(bio, (char *)tag, len, true);
}

int bio_integrity_get_tag(struct bio *bio, void *tag, unsigned int len)
{
	return copy_tag(bio, tag, len, false);
}
