/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The inode item, by number. */
#include "fs/btree/btree.h"
#include "fs/btree/btree_insert.h"
#include "fs/disk/btree_key.h"
#include "fs/journal/trans.h"
#include "fs/names/inode_item.h"
#include "fs/names/names_prefault.h"
#include "tallyfs/format.h"

int inode_item_read(struct tfs_trans *t, uint64_t ino, struct tfs_inode_item *it)
{
	return btree_lookup(t, TFS_TREE_FS, &TKEY(ino, TFS_KEY_INODE, 0), it, sizeof(*it));
}

int inode_item_write(struct tfs_trans *t, uint64_t ino, const struct tfs_inode_item *it)
{
	struct tkey key = TKEY(ino, TFS_KEY_INODE, 0);
	int err = names_prefault(t, &key);

	return err ? err : btree_set(t, TFS_TREE_FS, &key, it, sizeof(*it));
}
