/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An image file may have holes, and the file system it lies on, its *host*, may be full.  What must
 * never meet a full host gets its space before it is relied on:
 *
 *   superblocks, journal, and header, bitmap   by mkfs, and by each read-write mount
 *   and tuple blocks of groups in use (whose
 *   header says so: a superblock could claim
 *   as many groups as it likes)
 *   the same of a further group                when the first block of the group is made
 *                                              available (alloc_grow.c)
 *   blocks for tree nodes and data             the allocator sees none that have no space
 *                                              (alloc_grow.c)
 *   tree nodes in use                          when they are read (an image copied with holes)
 *
 * So what a host refuses is refused where the image's own free blocks would run out: by the
 * reservation (fs/alloc/alloc.h).
 */
#ifndef FS_BACKING_H
#define FS_BACKING_H

#include "core/block/bdev.h"
#include "fs/disk/geom.h"
#include "fs/state/fs.h"

/*
 * Space for the fixed structures of groups below @groups, if @in_use says so (NULL: of all), the
 * superblocks and the journal.  -ENOSPC with a line for people in @why, -EOPNOTSUPP (the device is
 * not thin any more), or another error.
 */
int backing_fixed(struct bdev *b, const struct tfs_geom *g, uint64_t groups,
		  bool (*in_use)(void *arg, uint64_t group), void *arg, char *why, size_t why_len);
/* For mkfs on such a host: zeros in their place.  Overwrites them. */
int backing_zero_fixed(struct bdev *b, const struct tfs_geom *g, uint64_t groups);
/* The fixed structures at the front of one group. */
int backing_group(struct bdev *b, const struct tfs_geom *g, uint64_t group);

/* The host's word on space has come: refused, or given again.  Logged once each time. */
void backing_refused(struct tfs_fs *fs);
void backing_given(struct tfs_fs *fs);

#endif
