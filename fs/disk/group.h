/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Groups: what a fresh one looks like, and whether a loaded header makes sense.
 * Pure functions on memory, for the buffer cache, mkfs, fsck and tallydump.
 */
#ifndef FS_GROUP_H
#define FS_GROUP_H

#include "fs/disk/geom.h"
#include "tallyfs/format.h"

/* The guard a vouch holds: of the whole block, by the file system's own guard function. */
uint64_t group_guard(enum tfs_guard guard, uint64_t seed, const void *data, size_t len);

/* Checksum of a header as it should be stored in h->csum. */
uint64_t group_csum(const struct tfs_group *h, uint64_t seed);

/* Bitmap (block_size bytes) of a group in which nothing was ever allocated. */
void group_fresh_bitmap(const struct tfs_geom *g, uint64_t group, void *bitmap);

/* Its header, sealed, txid 0. */
void group_fresh_header(const struct tfs_geom *g, uint64_t seed, uint64_t group,
			struct tfs_group *h);

/* Free blocks and free node slots of a group in which nothing was ever allocated. */
void group_fresh_counts(const struct tfs_geom *g, uint64_t group, uint32_t *blocks,
			uint32_t *slots);

/*
 * Is @h (4096 bytes as read) the header of @group?  0; -EUCLEAN with one line in
 * @why; -EPROTONOSUPPORT for a version or region type we don't know.
 */
int group_check_header(const struct tfs_geom *g, uint64_t seed, uint64_t group,
		       const struct tfs_group *h, char *why, size_t why_len);

#endif
