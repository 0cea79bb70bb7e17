/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files behind fs/names/names.h share. */
#ifndef FS_NAMES_PRIV_H
#define FS_NAMES_PRIV_H

#include "fs/names/names.h"

/*
 * Before a section's first change: what a change at @key will touch.  Later there
 * is nothing to be won: whoever changed something asked for all keys before.
 */
static inline int names_prefault(struct tfs_trans *t, const struct tkey *key)
{
	return t->modified ? 0 : btree_prefault(t, TFS_TREE_FS, key);
}

/* ---- back-references, link.c ---- */
/*
 * The directories that hold a name with this cookie for one inode: one, unless
 * two directories' names collide in 55 bits of a keyed hash.  The bound is
 * there because an image may say anything.
 */
#define LINK_MAX_DIRS 100u

/* May @dir be added to / is it in the LINK item?  Everything a change will touch is in memory then. */
int link_can_add(struct tfs_trans *t, uint64_t ino, uint64_t cookie, uint64_t dir);
int link_can_del(struct tfs_trans *t, uint64_t ino, uint64_t cookie, uint64_t dir);
int link_add(struct tfs_trans *t, uint64_t ino, uint64_t cookie, uint64_t dir);
int link_del(struct tfs_trans *t, uint64_t ino, uint64_t cookie, uint64_t dir);

/* The directory entry with this very cookie.  -ENOENT. */
int dir_entry_at(struct tfs_trans *t, uint64_t dir, uint64_t cookie, struct tfs_dirent *de);

/* ---- values over several items, chunks.c ---- */
/*
 * Chunk i of a value is the item @base with off + i.  All but the last have
 * chunk_size() bytes, none is empty.
 */
uint32_t chunk_size(const struct tfs_fs *fs);
/* Room for @len bytes and the old chunks of a value of @old_len bytes are in memory. */
int chunks_prefault(struct tfs_trans *t, const struct tkey *base, size_t len, size_t old_len);
/* Write @len bytes over a value that had @old_len (0: none); surplus chunks go. */
int chunks_write(struct tfs_trans *t, const struct tkey *base, const void *data, size_t len, size_t old_len);
/*
 * Copy a value to @buf.  Its length, at most @limit (else -EUCLEAN); -ERANGE when
 * @size is less; 0 when there is no chunk.
 */
int chunks_read(struct tfs_trans *t, const struct tkey *base, void *buf, size_t size, size_t limit);

#endif
