/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How often the front end (the kernel) has looked up an inode: as long as it knows it by number, it
 * may come back for it. */
#ifndef FS_INODE_LOOKUP_COUNT_H
#define FS_INODE_LOOKUP_COUNT_H

#include <stdint.h>
#include "fs/state/fs.h"

/* -ENOMEM. */
int lookup_ref(struct tfs_fs *fs, uint64_t ino, uint64_t n);
void lookup_unref(struct tfs_fs *fs, uint64_t ino, uint64_t n);

/* Room for one more, so that lookup_ref can't fail next. */
int lookup_prepare(struct tfs_fs *fs);

/* The front end is gone, and its lookups with it. */
void lookup_forget_all(struct tfs_fs *fs);

#endif
