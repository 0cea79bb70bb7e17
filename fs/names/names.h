/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Names in the tree: directory entries with their back-references, extended
 * attributes, symbolic links, inode items, orphans.  Tree level only: no in-memory inodes, no
 * policy.  All inside a section; -EAGAIN before anything was changed.
 */
#ifndef FS_NAMES_H
#define FS_NAMES_H

#include "fs/btree/btree.h"

uint64_t siphash24(const uint8_t key[16], const void *data, size_t len); /* fs/disk/siphash.c */
/* Cookie of a name with probe 0; see format.h. */
uint64_t dir_cookie(const struct tfs_fs *fs, uint64_t dir, const char *name, size_t len);

struct tfs_dirent {
	uint64_t ino, cookie;
	uint8_t type; /* DT_* */
	uint8_t len;
	char name[TFS_NAME_MAX + 1]; /* terminated for convenience; may hold any byte but '/' and NUL */
};

/* -ENOENT; *de may be NULL. */
int dir_lookup(struct tfs_trans *t, uint64_t dir, const char *name, size_t len, struct tfs_dirent *de);
/*
 * Adds DIRENT and LINK items.  The name must not exist (-EEXIST).  -ENOSPC when 256
 * names share a hash, -EMLINK when 100 directories do, -EINVAL, -ENAMETOOLONG.
 */
int dir_add(struct tfs_trans *t, uint64_t dir, const char *name, size_t len, uint64_t ino, uint8_t type);
/* Removes both.  -ENOENT when the entry is not what @de says (name, inode, cookie) any more. */
int dir_remove(struct tfs_trans *t, uint64_t dir, const struct tfs_dirent *de);
/* Point an existing entry at another inode (rename over, exchange): LINK items follow. */
int dir_replace(struct tfs_trans *t, uint64_t dir, const struct tfs_dirent *de, uint64_t ino, uint8_t type);
/*
 * Everything these may touch is in memory: the entry, if there, and its inode's back-reference;
 * else the place for it; and the back-reference of @ino (0: none).  The name may or may not exist.
 */
int dir_prefault(struct tfs_trans *t, uint64_t dir, const char *name, size_t len, uint64_t ino);
/* First entry with cookie > @after.  -ENOENT at the end. */
int dir_next(struct tfs_trans *t, uint64_t dir, uint64_t after, struct tfs_dirent *de);
int dir_is_empty(struct tfs_trans *t, uint64_t dir, bool *empty);
/* One parent directory and the name there (any, if several links).  -ENOENT: none. */
int link_first(struct tfs_trans *t, uint64_t ino, uint64_t *dir, uint64_t *cookie);
/* An absolute path of @ino into @buf (its first link; "?" parts where it is damaged).  -ENOENT unlinked, -ERANGE. */
int inode_path(struct tfs_trans *t, uint64_t ino, char *buf, size_t size);

int inode_item_read(struct tfs_trans *t, uint64_t ino, struct tfs_inode_item *it);
int inode_item_write(struct tfs_trans *t, uint64_t ino, const struct tfs_inode_item *it); /* insert or update */

int symlink_write(struct tfs_trans *t, uint64_t ino, const char *target, size_t len);
/* Length, or -errno (-ERANGE: @size is less).  NUL-terminated if there is room for that. */
int symlink_read(struct tfs_trans *t, uint64_t ino, char *buf, size_t size);

/*
 * Extended attributes; @name is the full name.  @it is the inode's item: its
 * xattr_value_id may move (the caller writes the item).  xattr_get: length; with size 0 just the
 * length; -ENODATA, -ERANGE.  xattr_set flags: XATTR_CREATE, XATTR_REPLACE.  A
 * large value takes many items: trans credits must cover TFS_XATTR_MAX.
 */
int xattr_get(struct tfs_trans *t, uint64_t ino, const char *name, void *buf, size_t size);
int xattr_set(struct tfs_trans *t, uint64_t ino, struct tfs_inode_item *it, const char *name, const void *value,
	      size_t len, int flags);
int xattr_remove(struct tfs_trans *t, uint64_t ino, const char *name);
/* Before a section's first change: what setting it to @len bytes, or removing it, will touch later is in memory. */
int xattr_prefault(struct tfs_trans *t, uint64_t ino, const char *name, size_t len);
/* NUL-separated names; length; size 0: just the length; -ERANGE. */
int xattr_list(struct tfs_trans *t, uint64_t ino, char *buf, size_t size);

int orphan_add(struct tfs_trans *t, uint64_t ino);
int orphan_remove(struct tfs_trans *t, uint64_t ino);
/* Is the inode listed as unlinked, or (@listed false) not?  -EUCLEAN: the image says otherwise. */
int orphan_check(struct tfs_trans *t, uint64_t ino, bool listed);
int orphan_next(struct tfs_trans *t, uint64_t after, uint64_t *ino); /* -ENOENT: no more */
int intent_set(struct tfs_trans *t, uint64_t ino, const struct tfs_intent_item *it);
int intent_get(struct tfs_trans *t, uint64_t ino, struct tfs_intent_item *it);
int intent_remove(struct tfs_trans *t, uint64_t ino);
int intent_next(struct tfs_trans *t, uint64_t after, uint64_t *ino, struct tfs_intent_item *it);

#endif
