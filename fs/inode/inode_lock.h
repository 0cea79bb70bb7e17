/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The lock of a file's content. */
#ifndef FS_INODE_INODE_LOCK_H
#define FS_INODE_INODE_LOCK_H

#include <stdbool.h>
#include "fs/inode/inode.h"

/* inode->lock, exclusive. */
void inode_lock(struct tfs_inode *i);
void inode_unlock(struct tfs_inode *i);

/* Shared; @io: what follows may wait for the device (or for anything but memory and processor). The
 * same for both. */
void inode_lock_shared(struct tfs_inode *i, bool io);
void inode_unlock_shared(struct tfs_inode *i, bool io);

#endif
