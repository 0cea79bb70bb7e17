/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Directories: entries with their back-references.  Tree level only; inside a section. */
#ifndef FS_NAMES_DIR_H
#define FS_NAMES_DIR_H

#include "fs/journal/trans.h"
#include "fs/state/fs.h"
#include "tallyfs/format.h"

struct tfs_dirent {
	uint64_t ino, cookie;
	uint8_t type; /* DT_* */
	uint8_t len;
	char name[TFS_NAME_MAX +
		  1]; /* terminated for convenience; may hold any byte but '/' and NUL */
};

/* Cookie of a name with probe 0; see format.h. */
uint64_t dir_cookie(const struct tfs_fs *fs, uint64_t dir, const char *name, size_t len);

/* -ENOENT; *de may be NULL. */
int dir_lookup(struct tfs_trans *t, uint64_t dir, const char *name, size_t len,
	       struct tfs_dirent *de);

/*
 * Adds DIRENT and LINK items.  The name must not exist (-EEXIST).  -ENOSPC when 256
 * names share a hash, -EMLINK when 100 directories do, -EINVAL, -ENAMETOOLONG.
 */
int dir_add(struct tfs_trans *t, uint64_t dir, const char *name, size_t len, uint64_t ino,
	    uint8_t type);

/* Removes both.  -ENOENT when the entry is not what @de says (name, inode, cookie) any more. */
int dir_remove(struct tfs_trans *t, uint64_t dir, const struct tfs_dirent *de);

/* Point an existing entry at another inode (rename over, exchange): LINK items follow. */
int dir_replace(struct tfs_trans *t, uint64_t dir, const struct tfs_dirent *de, uint64_t ino,
		uint8_t type);

/*
 * Everything these may touch is in memory: the entry, if there, and its inode's back-reference;
 * else the place for it; and the back-reference of @ino (0: none).  The name may or may not exist.
 */
int dir_prefault(struct tfs_trans *t, uint64_t dir, const char *name, size_t len, uint64_t ino);

/* First entry with cookie > @after.  -ENOENT at the end. */
int dir_next(struct tfs_trans *t, uint64_t dir, uint64_t after, struct tfs_dirent *de);
int dir_is_empty(struct tfs_trans *t, uint64_t dir, bool *empty);

/* The directory entry with this very cookie.  -ENOENT. */
int dir_entry_at(struct tfs_trans *t, uint64_t dir, uint64_t cookie, struct tfs_dirent *de);

#endif
