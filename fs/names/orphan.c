/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Work left for the next mount, should this one end in a crash: inodes without a
 * name that were still in use, and truncations that take several transactions.
 */
#include <errno.h>
#include <string.h>

#include "fs/btree/btree.h"
#include "fs/btree/btree_delete.h"
#include "fs/btree/btree_insert.h"
#include "fs/disk/btree_key.h"
#include "fs/journal/trans.h"
#include "fs/names/names_prefault.h"
#include "fs/names/orphan.h"
#include "fs/state/error.h"
#include "tallyfs/format.h"

static int meta_delete(struct tfs_trans *t, enum tfs_key_type type, uint64_t ino)
{
	struct tkey key = TKEY(TFS_INO_META, type, ino);
	int err = names_prefault(t, &key);

	return err ? err : btree_delete(t, TFS_TREE_FS, &key);
}

/* First item of @type for an inode above @after, copied if it has @len bytes (else -EUCLEAN). */
static int meta_next(struct tfs_trans *t, enum tfs_key_type type, uint64_t after, uint64_t *ino,
		     void *data, uint32_t len)
{
	struct btree_path p = BTREE_PATH_INIT;
	struct btree_item it;
	int err;

	if (after == UINT64_MAX)
		return -ENOENT;
	err = btree_seek(t, TFS_TREE_FS, &TKEY(TFS_INO_META, type, after + 1), BTREE_GE, &p);
	if (err)
		return err;
	btree_item(&p, &it);
	if (it.key.ino != TFS_INO_META || it.key.type != type) {
		err = -ENOENT;
	} else if (it.len != len) {
		err = tfs_handle_fs_error(t->fs, -EUCLEAN, "item (0 %u %llu) has %u bytes, not %u",
					  it.key.type, (unsigned long long)it.key.off, it.len, len);
	} else {
		*ino = it.key.off;
		if (len)
			memcpy(data, it.data, len);
	}
	btree_release(&p);
	return err;
}

int orphan_add(struct tfs_trans *t, uint64_t ino)
{
	struct tkey key = TKEY(TFS_INO_META, TFS_KEY_ORPHAN, ino);
	int err = names_prefault(t, &key);

	return err ? err : btree_insert(t, TFS_TREE_FS, &key, NULL, 0);
}

int orphan_remove(struct tfs_trans *t, uint64_t ino)
{
	return meta_delete(t, TFS_KEY_ORPHAN, ino);
}

int orphan_check(struct tfs_trans *t, uint64_t ino, bool listed)
{
	int err = btree_lookup(t, TFS_TREE_FS, &TKEY(TFS_INO_META, TFS_KEY_ORPHAN, ino), NULL, 0);

	if (listed ? !err : err == -ENOENT)
		return 0;
	if (err && err != -ENOENT)
		return err;
	return tfs_handle_fs_error(t->fs, -EUCLEAN, "inode %llu %s", (unsigned long long)ino,
				   listed ? "has no links, but is not listed as unlinked"
					  : "has links, but is listed as unlinked");
}

int orphan_next(struct tfs_trans *t, uint64_t after, uint64_t *ino)
{
	return meta_next(t, TFS_KEY_ORPHAN, after, ino, NULL, 0);
}

int intent_set(struct tfs_trans *t, uint64_t ino, const struct tfs_intent_item *it)
{
	struct tkey key = TKEY(TFS_INO_META, TFS_KEY_INTENT, ino);
	int err = names_prefault(t, &key);

	return err ? err : btree_set(t, TFS_TREE_FS, &key, it, sizeof(*it));
}

int intent_remove(struct tfs_trans *t, uint64_t ino)
{
	return meta_delete(t, TFS_KEY_INTENT, ino);
}

int intent_next(struct tfs_trans *t, uint64_t after, uint64_t *ino, struct tfs_intent_item *it)
{
	return meta_next(t, TFS_KEY_INTENT, after, ino, it, sizeof(*it));
}
