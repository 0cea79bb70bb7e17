/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Images: what buffers have in them, refcounted. */
#include "core/block/seg.h"
#include "core/lib/util.h"
#include "fs/journal/image.h"

struct tfs_image *image_alloc(struct seg_pool *segs, uint32_t bytes)
{
	struct tfs_image *img = tl_alloc(sizeof(*img));

	if (!img)
		return NULL;
	img->seg = seg_alloc(segs, bytes);
	if (!img->seg) {
		tl_free(img);
		return NULL;
	}
	img->data = img->seg->base;
	img->bytes = bytes;
	atomic_init(&img->refs, 1);
	return img;
}

struct tfs_image *image_get(struct tfs_image *img)
{
	atomic_fetch_add_explicit(&img->refs, 1, memory_order_relaxed);
	return img;
}

void image_put(struct tfs_image *img)
{
	if (!img || atomic_fetch_sub_explicit(&img->refs, 1, memory_order_acq_rel) != 1)
		return;
	seg_put(img->seg);
	tl_free(img);
}
