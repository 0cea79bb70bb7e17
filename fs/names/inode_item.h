/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The inode item, by number. */
#ifndef FS_NAMES_INODE_ITEM_H
#define FS_NAMES_INODE_ITEM_H

#include "fs/journal/trans.h"
#include "tallyfs/format.h"

int inode_item_read(struct tfs_trans *t, uint64_t ino, struct tfs_inode_item *it);
int inode_item_write(struct tfs_trans *t, uint64_t ino,
		     const struct tfs_inode_item *it); /* insert or update */

#endif
