/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the page cache and writeback call. */
#ifndef FS_INODE_AOPS_H
#define FS_INODE_AOPS_H

#include "core/iomap/iomap.h"
#include "core/pagecache/pagecache.h"
#include "fs/state/fs.h"

extern const struct address_space_ops tfs_aops;
struct iomap_writeback_ops tfs_writeback_ops(struct tfs_fs *fs);

#endif
