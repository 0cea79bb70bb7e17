/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What namespace operations (namei.c, create.c, rename.c) share. */
#ifndef FS_NAMEI_H
#define FS_NAMEI_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include "fs/inode/inode.h"
#include "fs/journal/trans.h"
#include "fs/names/dir.h"
#include "fs/state/fs.h"
#include "fs/vfs/vfs.h"

#define TFS_LINK_MAX 0x80000000u

/* A name in a directory, with the inodes it speaks of (referenced by whoever set them). */
struct name_ref {
	const char *name;
	size_t len;
	struct tfs_inode *dir, *inode; /* inode: NULL if there is none */
	struct tfs_dirent de;
};

/* Length of a good name, or -EINVAL, -ENAMETOOLONG. */
int name_check(const char *name);
static inline uint8_t dirent_type(uint32_t mode)
{
	return (uint8_t)((mode & S_IFMT) >> 12);
}
/* -ENOTDIR, -ENOENT (removed). */
int dir_usable(struct tfs_inode *dir);
/* @dir referenced; the name checked. */
int name_init(struct tfs_fs *fs, struct name_ref *r, uint64_t dir, const char *name);
/* Look the name up and load its inode.  -ENOENT: none. */
int name_find(struct tfs_fs *fs, struct name_ref *r);
/* In a section: does the name still mean r->inode (NULL: nothing)?  -ESTALE if not: find again. */
int name_recheck(struct tfs_trans *t, struct name_ref *r);
void name_put(struct name_ref *r);

/* Attributes of a directory after an entry has come or gone; the caller writes the item. */
void dir_changed(struct tfs_inode *dir, int entries, int subdirs, struct timespec now);
/* A name of @i has gone (a directory: the only one).  May leave an orphan.  Looked up: everything
 * in memory. */
int drop_link(struct tfs_trans *t, struct tfs_inode *i, struct timespec now);
int drop_link_prefault(struct tfs_trans *t, uint64_t ino);
/* The same, and with its last name the inode can be listed as unlinked. */
int drop_link_check(struct tfs_trans *t, struct tfs_inode *i);

#endif
