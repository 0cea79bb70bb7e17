/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Back-references: each name of an inode is noted with the inode, so that any
 * inode can be named by path without searching.
 */
#include <errno.h>
#include <string.h>

#include "core/lib/util.h"
#include "fs/btree/btree.h"
#include "fs/btree/btree_delete.h"
#include "fs/btree/btree_insert.h"
#include "fs/disk/btree_key.h"
#include "fs/journal/trans.h"
#include "fs/names/backref.h"
#include "fs/names/names_prefault.h"
#include "fs/state/error.h"
#include "tallyfs/format.h"

static struct tkey link_key(uint64_t ino, uint64_t cookie)
{
	return TKEY(ino, TFS_KEY_LINK, cookie);
}

static int damaged(struct tfs_trans *t, uint64_t ino, uint64_t cookie)
{
	return tfs_handle_fs_error(t->fs, -EUCLEAN, "inode %llu: the back-reference %llu is wrong",
				   (unsigned long long)ino, (unsigned long long)cookie);
}

static bool link_len_ok(uint32_t len)
{
	return len && len % sizeof(le64) == 0 && len <= LINK_MAX_DIRS * sizeof(le64);
}

/* The item's directories; *n = 0: there is no item. */
static int link_read(struct tfs_trans *t, uint64_t ino, uint64_t cookie, le64 *dirs,
		     unsigned int *n)
{
	struct btree_path p = BTREE_PATH_INIT;
	struct tkey key = link_key(ino, cookie);
	struct btree_item it;
	int err;

	*n = 0;
	err = btree_seek(t, TFS_TREE_FS, &key, BTREE_EQ, &p);
	if (err)
		return err == -ENOENT ? 0 : err;
	btree_item(&p, &it);
	if (link_len_ok(it.len)) {
		memcpy(dirs, it.data, it.len);
		*n = it.len / (unsigned int)sizeof(le64);
	} else {
		err = damaged(t, ino, cookie);
	}
	btree_release(&p);
	return err;
}

/* Index of @dir, or @n. */
static unsigned int find_dir(const le64 *dirs, unsigned int n, uint64_t dir)
{
	unsigned int i;

	for (i = 0; i < n; i++)
		if (le64_get(dirs[i]) == dir)
			break;
	return i;
}

static int link_write(struct tfs_trans *t, uint64_t ino, uint64_t cookie, const le64 *dirs,
		      unsigned int n)
{
	struct tkey key = link_key(ino, cookie);

	if (!n)
		return btree_delete(t, TFS_TREE_FS, &key);
	return btree_set(t, TFS_TREE_FS, &key, dirs, n * (uint32_t)sizeof(le64));
}

/* May @dir be put into the item (@add), or taken out?  If so, all that this needs is in memory. */
static int can_change(struct tfs_trans *t, uint64_t ino, uint64_t cookie, uint64_t dir, bool add)
{
	struct tkey key = link_key(ino, cookie);
	le64 dirs[LINK_MAX_DIRS];
	unsigned int n;
	int err;

	err = link_read(t, ino, cookie, dirs, &n);
	if (err)
		return err;
	if (add && n == LINK_MAX_DIRS)
		return -EMLINK;
	/* a name that isn't there is pointed at, or one that is there is not */
	if ((find_dir(dirs, n, dir) < n) == add)
		return damaged(t, ino, cookie);
	return names_prefault(t, &key);
}

int backref_can_add(struct tfs_trans *t, uint64_t ino, uint64_t cookie, uint64_t dir)
{
	return can_change(t, ino, cookie, dir, true);
}

int backref_can_del(struct tfs_trans *t, uint64_t ino, uint64_t cookie, uint64_t dir)
{
	return can_change(t, ino, cookie, dir, false);
}

int backref_add(struct tfs_trans *t, uint64_t ino, uint64_t cookie, uint64_t dir)
{
	le64 dirs[LINK_MAX_DIRS];
	unsigned int n;
	int err;

	err = link_read(t, ino, cookie, dirs, &n);
	if (err)
		return err;
	if (n == LINK_MAX_DIRS)
		return -EMLINK;
	dirs[n++] = le64_of(dir);
	return link_write(t, ino, cookie, dirs, n);
}

int backref_del(struct tfs_trans *t, uint64_t ino, uint64_t cookie, uint64_t dir)
{
	le64 dirs[LINK_MAX_DIRS];
	unsigned int i, n;
	int err;

	err = link_read(t, ino, cookie, dirs, &n);
	if (err)
		return err;
	i = find_dir(dirs, n, dir);
	if (i == n)
		return damaged(t, ino, cookie);
	dirs[i] = dirs[--n];
	return link_write(t, ino, cookie, dirs, n);
}

int backref_first(struct tfs_trans *t, uint64_t ino, uint64_t *dir, uint64_t *cookie)
{
	struct btree_path p = BTREE_PATH_INIT;
	struct tkey key = link_key(ino, 0);
	struct btree_item it;
	le64 first;
	int err;

	err = btree_seek(t, TFS_TREE_FS, &key, BTREE_GE, &p);
	if (err)
		return err;
	btree_item(&p, &it);
	if (it.key.ino != ino || it.key.type != TFS_KEY_LINK) {
		err = -ENOENT;
	} else if (!link_len_ok(it.len)) {
		err = damaged(t, ino, it.key.off);
	} else {
		memcpy(&first, it.data, sizeof(first));
		*dir = le64_get(first);
		*cookie = it.key.off;
	}
	btree_release(&p);
	return err;
}
