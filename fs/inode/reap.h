/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The reaper: inodes without a name whose last user has gone, and at mount what a crash left
 * behind. */
#ifndef FS_INODE_REAP_H
#define FS_INODE_REAP_H

#include "fs/state/fs.h"

/* Remove what is waiting (unlinked and unused).  No lock held. */
void reap_run(struct tfs_fs *fs);

/* At mount: finish truncations and removals that a crash cut short. */
int reap_mount(struct tfs_fs *fs);

#endif
