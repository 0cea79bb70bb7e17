/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Growing a B+tree: insert, update, splits. */
#ifndef FS_BTREE_BTREE_INSERT_H
#define FS_BTREE_BTREE_INSERT_H

#include "fs/disk/btree_key.h"
#include "fs/journal/trans.h"
#include "tallyfs/format.h"

/* -EEXIST, -EFBIG (len > TFS_MAX_ITEM), -ENOSPC (no room for a node: check space_check_meta
 * first). */
int btree_insert(struct tfs_trans *t, enum tfs_tree_id tree, const struct tkey *key,
		 const void *data, uint32_t len);

/* Replace an item's data, any new length.  -ENOENT. */
int btree_update(struct tfs_trans *t, enum tfs_tree_id tree, const struct tkey *key,
		 const void *data, uint32_t len);

/* insert or update */
int btree_set(struct tfs_trans *t, enum tfs_tree_id tree, const struct tkey *key, const void *data,
	      uint32_t len);

/* An empty tree (mkfs, first use): allocates the root.  */
int btree_create(struct tfs_trans *t, enum tfs_tree_id tree);

#endif
