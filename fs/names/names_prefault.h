/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of this room share. */
#ifndef FS_NAMES_NAMES_PREFAULT_H
#define FS_NAMES_NAMES_PREFAULT_H

#include "fs/btree/btree.h"
#include "fs/disk/btree_key.h"
#include "fs/journal/trans.h"
#include "tallyfs/format.h"

/*
 * Before a section's first change: what a change at @key will touch.  Later there
 * is nothing to be won: whoever changed something asked for all keys before.
 */
static inline int names_prefault(struct tfs_trans *t, const struct tkey *key)
{
	return t->modified ? 0 : btree_prefault(t, TFS_TREE_FS, key);
}

#endif
