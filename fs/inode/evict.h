/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Unused inodes leave memory. */
#ifndef FS_INODE_EVICT_H
#define FS_INODE_EVICT_H

#include "fs/state/fs.h"

/* Evict unused inodes above the bound.  No lock held. */
void icache_trim(struct tfs_fs *fs);

#endif
