/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Work left for the next mount, should this one end in a crash: inodes without a name that were
 * still in use, and truncations that take several transactions. */
#ifndef FS_NAMES_ORPHAN_H
#define FS_NAMES_ORPHAN_H

#include "fs/journal/trans.h"
#include "tallyfs/format.h"

int orphan_add(struct tfs_trans *t, uint64_t ino);
int orphan_remove(struct tfs_trans *t, uint64_t ino);

/* Is the inode listed as unlinked, or (@listed false) not?  -EUCLEAN: the image says otherwise. */
int orphan_check(struct tfs_trans *t, uint64_t ino, bool listed);
int orphan_next(struct tfs_trans *t, uint64_t after, uint64_t *ino); /* -ENOENT: no more */
int intent_set(struct tfs_trans *t, uint64_t ino, const struct tfs_intent_item *it);
int intent_remove(struct tfs_trans *t, uint64_t ino);
int intent_next(struct tfs_trans *t, uint64_t after, uint64_t *ino, struct tfs_intent_item *it);

#endif
