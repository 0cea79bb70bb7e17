/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Immutable and append-only files and directories. */
#ifndef FS_VFS_FLAGS_H
#define FS_VFS_FLAGS_H

#include "fs/inode/inode.h"

unsigned int inode_flags(struct tfs_inode *i); /* VFS_FLAG_*; any lock */

/* Append to it (a directory: a name comes); change anything else of it; take a name of @i from
 * @dir.  0 or -EPERM. */
int inode_may_grow(struct tfs_inode *i);
int inode_may_change(struct tfs_inode *i);
int dir_may_remove(struct tfs_inode *dir, struct tfs_inode *i);

#endif
