/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files whose blocks are about to go free, which who needs room waits for (fs/alloc/space.h). */
#ifndef FS_INODE_DYING_H
#define FS_INODE_DYING_H

#include <stdbool.h>
#include "fs/inode/inode.h"

/* @n more (or fewer) opens of a file. */
void inode_opened(struct tfs_inode *i, int n);

/* The last name has gone, or a first one come back. */
void inode_set_unlinked(struct tfs_inode *i, bool unlinked);

/* icache lock held: what it depends on has changed. */
void inode_judge_locked(struct tfs_inode *i);

#endif
