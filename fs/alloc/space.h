/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reservations of space (rule 6).  No meta_lock held; may wait for commits. */
#ifndef FS_ALLOC_SPACE_H
#define FS_ALLOC_SPACE_H

#include <stdint.h>
#include "fs/state/fs.h"

enum space_use {
	SPACE_NEW,	 /* blocks that the file has not got: the users' part */
	SPACE_OVERWRITE, /* they replace mapped, unshared ones: all of the hidden pool, waits
			    instead of failing */
	SPACE_TRUNCATE,	 /* EOF block of a file that shrinks, edge of a hole, where none goes free:
			    most of the pool */
};
struct tfs_space_stats {
	uint64_t free_blocks, claimed, reserved, pending_free, hidden_pool, enospc_commits;
};

/*
 * Reserve space for @blocks blocks of file data, each to be given back
 * (space_unreserve), or used up by the extent written (alloc_data's claim takes
 * over).  From the pool many blocks at once may be refused where one would be
 * waited for.  -ENOSPC only after a forced commit freed
 * nothing, or two seconds of commits that freed what others took.
 */
int space_reserve(struct tfs_fs *fs, uint64_t blocks, enum space_use use);
void space_unreserve(struct tfs_fs *fs, uint64_t blocks);

/*
 * The same for blocks that are dirty already, because writing them has failed: never refused, never
 * waits. Should there be no such space, everybody else waits until it is there.
 */
void space_reserve_again(struct tfs_fs *fs, uint64_t blocks);

/*
 * Before an operation that may grow trees: waits or -ENOSPC.  Deleting never asks.  SPACE_NEW for
 * names and attributes; SPACE_TRUNCATE for what brings no content of its own (sharing): it may take
 * most of the pool.
 */
int space_check_meta(struct tfs_fs *fs, enum space_use use);

/*
 * @n more (or fewer) files without a name, which nobody has open or can reach, wait for their
 * removal: as long as there are any, who finds the device full waits, two seconds at most.  Atomic;
 * any lock may be held.
 */
void space_dying(struct tfs_fs *fs, int n);
/* The same for one that the front end has yet to forget, as it mostly does at once: for a second.
 */
void space_may_die(struct tfs_fs *fs);

/* At mount: the pool gets its space from the host. */
void space_back_pool(struct tfs_fs *fs);

/* For statfs: blocks free for users, and all free ones. */
void space_statfs(struct tfs_fs *fs, uint64_t *avail, uint64_t *free_blocks, uint64_t *total);
void space_get_stats(struct tfs_fs *fs, struct tfs_space_stats *st);

#endif
