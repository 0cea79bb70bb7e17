/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The content of a buffer: immutable while shared, so that a commit and a checkpoint write what was
 * committed, whatever happens to the buffer meanwhile (buffer.h).
 */
#ifndef FS_IMAGE_H
#define FS_IMAGE_H

#include <stdatomic.h>
#include <stdint.h>
#include "core/block/seg.h"

struct tfs_image {
	uint8_t *data; /* page aligned */
	struct seg *seg;
	atomic_uint refs;
	uint32_t bytes;
};

/* One reference; the memory is not cleared.  NULL: no memory. */
struct tfs_image *image_alloc(struct seg_pool *segs, uint32_t bytes);
struct tfs_image *image_get(struct tfs_image *img);
void image_put(struct tfs_image *img); /* NULL is fine */

#endif
