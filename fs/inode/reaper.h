/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The thread that removes what is dead (reap.h), and how it is woken. */
#ifndef FS_INODE_REAPER_H
#define FS_INODE_REAPER_H

#include "fs/state/fs.h"

int reaper_start(struct tfs_fs *fs);
void reaper_stop(struct tfs_fs *fs); /* from then on, the caller reaps */

/* After an operation that may have left something: hands it to the reaper or does it.  No lock
 * held. */
void reap_kick(struct tfs_fs *fs);

/* From a worker that may not wait for writeback: hands it to the reaper, or leaves it to the next
 * operation. */
void reap_kick_async(struct tfs_fs *fs);

#endif
