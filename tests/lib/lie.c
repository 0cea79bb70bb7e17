/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fs/btree/btree.h"
#include "fs/btree/btree_delete.h"
#include "fs/btree/btree_insert.h"
#include "fs/disk/btree_key.h"
#include "fs/journal/trans.h"
#include "fs/names/inode_item.h"
#include "tests/lib/fixture.h"
#include "tests/lib/lie.h"

struct lie {
	enum tfs_tree_id tree;
	struct tkey key;
	const void *data;
	uint32_t len;
};

static int tell(struct tfs_trans *t, const struct lie *l)
{
	int err = btree_prefault(t, l->tree, &l->key);

	if (err)
		return err;
	return l->data ? btree_set(t, l->tree, &l->key, l->data, l->len)
		       : btree_delete(t, l->tree, &l->key);
}

void lie_item(struct tfs_fs *fs, enum tfs_tree_id tree, uint64_t ino, enum tfs_key_type type,
	      uint64_t off, const void *data, uint32_t len)
{
	struct lie l = { tree, TKEY(ino, type, off), data, len };
	int err;

	err = TRANS_WRITE(t, fs, TRANS_CREDITS(fs), tell(t, &l));
	FX_OK(err);
}

struct tfs_inode_item lie_inode_of(struct tfs_fs *fs, uint64_t ino)
{
	struct tfs_inode_item it;
	int err;

	err = TRANS_READ(t, fs, inode_item_read(t, ino, &it));
	FX_OK(err);
	return it;
}

void lie_inode(struct tfs_fs *fs, uint64_t ino, const struct tfs_inode_item *it)
{
	lie_item(fs, TFS_TREE_FS, ino, TFS_KEY_INODE, 0, it, sizeof(*it));
}
