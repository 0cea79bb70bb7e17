/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Extended attributes: one XATTR item per name, found by a cookie like a directory entry's.  A
 * short value follows the name in the item; a long one lies in chunks of its own, so that the items
 * stay small enough to be searched through.
 */
#ifndef FS_NAMES_XATTR_H
#define FS_NAMES_XATTR_H

#include "fs/journal/trans.h"
#include "tallyfs/format.h"

/*
 * Extended attributes; @name is the full name.  @it is the inode's item: its
 * xattr_value_id may move (the caller writes the item).  xattr_get: length; with size 0 just the
 * length; -ENODATA, -ERANGE.  xattr_set flags: XATTR_CREATE, XATTR_REPLACE.  A
 * large value takes many items: trans credits must cover TFS_XATTR_MAX.
 */
int xattr_get(struct tfs_trans *t, uint64_t ino, const char *name, void *buf, size_t size);
int xattr_set(struct tfs_trans *t, uint64_t ino, struct tfs_inode_item *it, const char *name,
	      const void *value, size_t len, int flags);
int xattr_remove(struct tfs_trans *t, uint64_t ino, const char *name);

/* Before a section's first change: what setting it to @len bytes, or removing it, will touch later
 * is in memory. */
int xattr_prefault(struct tfs_trans *t, uint64_t ino, const char *name, size_t len);

/* NUL-separated names; length; size 0: just the length; -ERANGE. */
int xattr_list(struct tfs_trans *t, uint64_t ino, char *buf, size_t size);

#endif
