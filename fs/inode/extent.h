/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Extents of files in the tree.  All functions run inside a section; units are
 * blocks.  Items are checked when read: a hostile image gets -EUCLEAN.
 */
#ifndef FS_EXTENT_H
#define FS_EXTENT_H

#include <stdbool.h>
#include <stdint.h>

#include "fs/inode/inode.h"
#include "fs/journal/trans.h"
#include "fs/state/fs.h"

struct extent {
	uint64_t off;	/* file block */
	uint64_t start; /* device block */
	uint64_t len;
	uint32_t flags; /* TFS_EXTENT_* */
};

static inline uint64_t extent_end(const struct extent *e)
{
	return e->off + e->len;
}

/* The extent that holds file block @fblk, or else the first behind it.  -ENOENT: none. */
int extent_seek(struct tfs_trans *t, uint64_t ino, uint64_t fblk, struct extent *e);
/* The last extent that begins below @fblk.  -ENOENT. */
int extent_before(struct tfs_trans *t, uint64_t ino, uint64_t fblk, struct extent *e);

/*
 * Everything that removing the mapping of [from, to) needs is in memory,
 * looking at no more than @max extents, and a quarter of that in reference counts.  *stop: how far
 * that reaches (@to if all; into an extent, if its blocks' counts differ).
 */
int extent_prefault(struct tfs_trans *t, uint64_t ino, uint64_t from, uint64_t to, unsigned int max,
		    uint64_t *stop);
/* The bitmap, and with @tuples the tuple blocks, of a run of blocks are in memory. */
int extent_prefault_blocks(struct tfs_trans *t, uint64_t start, uint64_t n, bool tuples);
/*
 * Remove the mapping of [from, to); with @free_blocks the blocks go free, shared ones with their
 * last user.  Counters of the file system and of @i follow; the caller writes the inode item.
 */
int extent_remove(struct tfs_trans *t, struct tfs_inode *i, uint64_t from, uint64_t to,
		  bool free_blocks);
/*
 * Map a run that is not mapped; joined with its neighbours where they go on.  With the
 * flag SHARED the blocks are another extent's too: the caller has counted the reference.
 */
int extent_insert(struct tfs_trans *t, struct tfs_inode *i, const struct extent *e);
/* Blocks of extent @e, just looked up, are about to be shared. */
int extent_mark_shared(struct tfs_trans *t, struct tfs_inode *i, struct extent *e);

/* Bytes of log that removing the mapping of @n extents, or mapping @blocks new blocks, may take. */
uint64_t extent_remove_credits(struct tfs_fs *fs, unsigned int n);
uint64_t extent_insert_credits(struct tfs_fs *fs, uint64_t blocks);

#endif
