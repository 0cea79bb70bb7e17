/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shrinking a B+tree: delete, merging, giving nodes back. */
#ifndef FS_BTREE_BTREE_DELETE_H
#define FS_BTREE_BTREE_DELETE_H

#include "fs/disk/btree_key.h"
#include "fs/journal/trans.h"
#include "tallyfs/format.h"

int btree_delete(struct tfs_trans *t, enum tfs_tree_id tree, const struct tkey *key);

/*
 * Delete items in [from, to) until none is left or @max are gone.  *done = number
 * deleted; *more = there are more.
 */
int btree_delete_range(struct tfs_trans *t, enum tfs_tree_id tree, const struct tkey *from,
		       const struct tkey *to, unsigned int max, unsigned int *done, bool *more);

#endif
