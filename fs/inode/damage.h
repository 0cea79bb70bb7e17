/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The damage list: blocks that were read well but did not match their tuple, and data that could
 * not be kept, as items in the tree that survive remounts. */
#ifndef FS_INODE_DAMAGE_H
#define FS_INODE_DAMAGE_H

#include <stdbool.h>
#include <stdint.h>
#include "fs/inode/inode.h"
#include "fs/state/fs.h"

int damage_create(struct tfs_fs *fs);
void damage_destroy(struct tfs_fs *fs);
int damage_start(struct tfs_fs *fs);
void damage_stop(struct tfs_fs *fs);

/* Remember a mismatch; any lock may be held.  Logged and written by damage_run. */
void damage_record(struct tfs_fs *fs, uint64_t ino, uint64_t pos, uint64_t block, uint64_t expected,
		   uint64_t found);

/* Work on what was recorded (no thread for it: callers of reads do). No lock held. */
void damage_run(struct tfs_fs *fs);
bool damage_pending(struct tfs_fs *fs);

/* Dirty data of @i is about to be dropped for good: flag and damage item. */
int damage_lost(struct tfs_inode *i);
void damage_get_stats(struct tfs_fs *fs, uint64_t *recorded, uint64_t *dropped);

/* A file of which data could not be kept. */
struct vfs_lost {
	uint64_t ino, bytes;
	time_t time; /* when that happened last */
	char path[4096];
};
/* The next one with a higher inode number than @after.  -ENOENT: no more. */
int vfs_lost_next(struct tfs_fs *fs, uint64_t after, struct vfs_lost *l);

#endif
