/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Final images of the log, built by recovery. */
#ifndef FS_DISK_LOG_OVERLAY_H
#define FS_DISK_LOG_OVERLAY_H

#include <stdint.h>

/* @align: of the images' memory (the device's).  NULL: no memory. */
struct tfs_overlay *overlay_create(uint32_t align);

/*
 * Replay one record; transactions and records in the log's order.  -EUCLEAN: makes
 * no sense (a range without an image); -ENOMEM.
 */
int overlay_image(struct tfs_overlay *o, uint64_t block, const void *data, uint32_t bytes);
int overlay_range(struct tfs_overlay *o, uint64_t block, uint32_t bytes, uint32_t off,
		  const void *data, uint32_t len);

/* Takes effect with overlay_end_tx(): on records of this transaction too, wherever in it they
 * are. */
int overlay_revoke(struct tfs_overlay *o, uint64_t block, uint32_t n);

/* All records of a transaction have been replayed. */
void overlay_end_tx(struct tfs_overlay *o);

void overlay_free(struct tfs_overlay *o); /* NULL is fine */

/* Final image of the structure at home block @block if the log has one (bytes in *bytes), else
 * NULL. */
const void *overlay_lookup(const struct tfs_overlay *o, uint64_t block, uint32_t *bytes);

/* Each entry in block order; stops when fn returns non-zero. */
int overlay_each(const struct tfs_overlay *o,
		 int (*fn)(void *arg, uint64_t block, uint32_t bytes, const void *data), void *arg);

#endif
