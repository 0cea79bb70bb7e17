/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Back-references: each name of an inode is noted with the inode, so that any inode can be named by
 * path without searching. */
#ifndef FS_NAMES_BACKREF_H
#define FS_NAMES_BACKREF_H

#include <stdint.h>
#include "fs/journal/trans.h"

/*
 * The directories that hold a name with this cookie for one inode: one, unless
 * two directories' names collide in 55 bits of a keyed hash.  The bound is
 * there because an image may say anything.
 */
#define LINK_MAX_DIRS 100u

/* One parent directory and the name there (any, if several links).  -ENOENT: none. */
int backref_first(struct tfs_trans *t, uint64_t ino, uint64_t *dir, uint64_t *cookie);

/* May @dir be added to / is it in the LINK item?  Everything a change will touch is in memory
 * then. */
int backref_can_add(struct tfs_trans *t, uint64_t ino, uint64_t cookie, uint64_t dir);
int backref_can_del(struct tfs_trans *t, uint64_t ino, uint64_t cookie, uint64_t dir);
int backref_add(struct tfs_trans *t, uint64_t ino, uint64_t cookie, uint64_t dir);
int backref_del(struct tfs_trans *t, uint64_t ino, uint64_t cookie, uint64_t dir);

#endif
