/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Changing the size of a file. */
#ifndef FS_INODE_TRUNCATE_H
#define FS_INODE_TRUNCATE_H

#include <stdint.h>
#include "fs/inode/inode.h"
#include "fs/journal/trans.h"
#include "fs/state/fs.h"

/*
 * The part of a truncation that commits at once: size, inline data, and
 * the extents behind; an intent stands for those beyond @TRUNC_EXTENTS.  look before any
 * change, apply after.
 */
#define TRUNC_EXTENTS 16u

/* Change the size.  Inode lock held exclusively. */
int inode_set_size(struct tfs_inode *i, uint64_t size);

/* An earlier truncation failed half way: finish it.  Inode lock held exclusively. */
int inode_finish_truncate(struct tfs_inode *i);
int truncate_prefault(struct tfs_trans *t, struct tfs_inode *i, uint64_t size);
int truncate_apply(struct tfs_trans *t, struct tfs_inode *i, uint64_t size);
uint64_t truncate_credits(struct tfs_fs *fs);

/* Remove all extents from file block @from on, in as many sections as it takes. */
int inode_remove_extents(struct tfs_inode *i, uint64_t from, uint64_t to);

/* Finish and remove the intent of an inode. */
int inode_finish_intent(struct tfs_inode *i, uint64_t from);

#endif
