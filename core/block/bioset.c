/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sets of pools that bios and their payloads come from. */
#include <errno.h>

#include "core/block/blk_priv.h"

int bioset_create(struct bio_set **out, unsigned int pool_size)
{
	struct bio_set *bs = tl_zalloc(sizeof(*bs));

	if (!bs)
		return -ENOMEM;
	bs->bio_pool = mempool_create(pool_size, sizeof(struct bio) +
							 BIO_INLINE_VECS * sizeof(struct bio_vec));
	bs->vec_pool = mempool_create(pool_size, BIO_MAX_VECS * sizeof(struct bio_vec));
	if (!bs->bio_pool || !bs->vec_pool) {
		bioset_free(bs);
		return -ENOMEM;
	}
	*out = bs;
	return 0;
}

void bioset_free(struct bio_set *bs)
{
	if (!bs)
		return;
	bioset_integrity_free(bs);
	mempool_destroy(bs->vec_pool);
	mempool_destroy(bs->bio_pool);
	tl_free(bs);
}

int bioset_integrity_create(struct bio_set *bs, unsigned int pool_size)
{
	if (bs->bip_pool)
		return 0;
	bs->bip_pool = mempool_create(pool_size, sizeof(struct bio_integrity_payload));
	bs->buf_pool = mempool_create(pool_size, BIP_POOL_BUF_BYTES);
	if (!bs->bip_pool || !bs->buf_pool) {
		bioset_integrity_free(bs);
		return -ENOMEM;
	}
	return 0;
}

void bioset_integrity_free(struct bio_set *bs)
{
	mempool_destroy(bs->bip_pool);
	mempool_destroy(bs->buf_pool);
	bs->bip_pool = bs->buf_pool = NULL;
}
