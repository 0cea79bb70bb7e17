/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writing a planned file system (mkfs and tests). */
#ifndef FS_VFS_MKFS_H
#define FS_VFS_MKFS_H

#include "core/block/bdev.h"
#include "fs/disk/geom.h"
#include "fs/vfs/mkfs_plan.h"
#include "tallyfs/format.h"

/* Make sure that nothing takes the device for a tallyfs, neither an old one nor the planned one.  0
 * or -errno. */
int tfs_format_erase(struct bdev *b, const struct tfs_geom *geom);

/* Write what was planned.  The old superblocks are destroyed first and the new primary is written
 * last. */
int tfs_format_write(struct bdev *b, const struct tfs_format_opts *o, const struct tfs_super *super,
		     const struct tfs_geom *geom);

#endif
