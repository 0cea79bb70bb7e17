/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Open files: read, write, fsync, seek. */
#ifndef FS_VFS_FILE_H
#define FS_VFS_FILE_H

#include "fs/inode/inode.h"
#include "fs/vfs/vfs.h"

/* An open file, in memory the caller has (tl_alloc); takes a reference on @i. */
void file_init(struct vfs_file *f, struct tfs_inode *i, int flags);

#endif
