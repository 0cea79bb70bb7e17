/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Final images of the log, built by recovery. */
#ifndef FS_OVERLAY_H
#define FS_OVERLAY_H

#include "fs/journal.h"

/* @align: of the images' memory (the device's).  NULL: no memory. */
struct tfs_overlay *overlay_create(uint32_t align);
/*
 * Replay one record of transaction @txid; transactions and records in the
 * log's order.  -EUCLEAN: makes no sense (a range without an image); -ENOMEM.
 */
int overlay_image(struct tfs_overlay *o, uint64_t txid, uint64_t block, const void *data, uint32_t bytes);
int overlay_range(struct tfs_overlay *o, uint64_t txid, uint64_t block, uint32_t bytes, uint32_t off, const void *data,
		  uint32_t len);
int overlay_revoke(struct tfs_overlay *o, uint64_t txid, uint64_t block);

#endif
