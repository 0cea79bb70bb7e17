/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Groups in transactions: first use, and the seals a commit puts on them. */
#ifndef FS_ALLOC_GROUP_TRANS_H
#define FS_ALLOC_GROUP_TRANS_H

#include "core/lib/list.h"
#include "fs/journal/trans.h"
#include "fs/state/fs.h"

int group_seal(struct tfs_trans *t, struct list_head *tx_bufs);

/* Make sure @group has a header (first use of an uninitialised group).  Write section. */
int group_init(struct tfs_trans *t, uint64_t group);

/*
 * Headers for all groups up to @group, in as many sections of its own as it takes: claims may be
 * far ahead of what is in use, and whichever of them is committed first would have to make all
 * headers at once.  No meta_lock held.
 */
int group_open(struct tfs_fs *fs, uint64_t group);

#endif
