/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Targets of symbolic links. */
#include <errno.h>
#include <string.h>

#include "fs/btree/btree.h"
#include "fs/disk/btree_key.h"
#include "fs/journal/trans.h"
#include "fs/names/chunks.h"
#include "fs/names/symlink.h"
#include "fs/state/error.h"
#include "tallyfs/format.h"

int symlink_write(struct tfs_trans *t, uint64_t ino, const char *target, size_t len)
{
	struct tkey base = TKEY(ino, TFS_KEY_SYMLINK, 0);
	struct btree_path p = BTREE_PATH_INIT;
	int err;

	if (!len || memchr(target, 0, len))
		return -EINVAL;
	if (len > TFS_SYMLINK_MAX)
		return -ENAMETOOLONG;
	err = btree_seek(t, TFS_TREE_FS, &base, BTREE_EQ, &p);
	btree_release(&p);
	if (err != -ENOENT)
		return err ? err : -EEXIST;
	err = chunks_prefault(t, &base, len, 0);
	return err ? err : chunks_write(t, &base, target, len, 0);
}

int symlink_read(struct tfs_trans *t, uint64_t ino, char *buf, size_t size)
{
	struct tkey base = TKEY(ino, TFS_KEY_SYMLINK, 0);
	int len = chunks_read(t, &base, buf, size, TFS_SYMLINK_MAX);

	if (!len || (len > 0 && memchr(buf, 0, (size_t)len)))
		return tfs_handle_fs_error(t->fs, -EUCLEAN,
					   "inode %llu: the symbolic link has no valid target",
					   (unsigned long long)ino);
	if (len > 0 && (size_t)len < size)
		buf[len] = 0;
	return len;
}
