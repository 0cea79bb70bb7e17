/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writeback: where dirty blocks go, and what happens once they are there. */
#ifndef FS_INODE_WRITEBACK_H
#define FS_INODE_WRITEBACK_H

#include "core/iomap/iomap.h"
#include "core/pagecache/pagecache.h"
#include "fs/state/fs.h"

extern const struct address_space_ops tfs_aops;
void writeback_init(struct tfs_fs *fs, struct iomap_writeback_ops *ops);

#endif
