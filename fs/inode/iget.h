/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An inode by its number. */
#ifndef FS_INODE_IGET_H
#define FS_INODE_IGET_H

#include <stdint.h>
#include "fs/inode/inode.h"
#include "fs/state/fs.h"

/* Referenced.  Loads it when it is not in memory; no lock held.  -ESTALE: no such inode. */
int inode_get(struct tfs_fs *fs, uint64_t ino, struct tfs_inode **out);

#endif
