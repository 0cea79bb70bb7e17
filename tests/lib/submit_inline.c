/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/submit_inline.h"

void submit_inline(struct bdev *b, struct bio *bio)
{
	uint64_t off = bio->bi_iter.bi_sector << SECTOR_SHIFT;
	struct bvec_iter it = bio->bi_iter;
	int err = 0;

	while (it.bi_size && !err) {
		struct bio_vec bv = bvec_iter_bvec(bio->bi_io_vec, it);
		struct iovec iov = { bv.bv_base, bv.bv_len };

		err = bio->bi_op == BIO_OP_READ ? b->ops->readv(b, &iov, 1, off)
						: b->ops->writev(b, &iov, 1, off);
		off += bv.bv_len;
		bvec_iter_advance(bio->bi_io_vec, &it, bv.bv_len);
	}
	bio_set_error(bio, err);
	bio_endio(bio);
}
