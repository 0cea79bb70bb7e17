/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How often shared blocks are referenced: the items of tree 1.  A block of a
 * shared extent that no item covers is referenced once.  All functions run inside a
 * section; units are blocks.  Items are checked when read: a hostile image
 * gets -EUCLEAN.
 */
#ifndef FS_INODE_BLOCK_REFS_H
#define FS_INODE_BLOCK_REFS_H

#include <stdbool.h>
#include <stdint.h>

#include "fs/journal/trans.h"
#include "fs/state/fs.h"

/* References to block @start of a shared extent, and for how many of the @n blocks from there on
 * that is so. */
int refs_get(struct tfs_trans *t, uint64_t start, uint64_t n, uint32_t *count, uint64_t *run);
/*
 * Everything that refs_add or refs_drop needs for [start, start + *got) is in memory.  Goes through
 * at most *budget stretches of equal count (which are taken off it), so *got may be less than @n.
 * -EMLINK: with @add, a block is referenced as often as can be counted.
 */
int refs_prefault(struct tfs_trans *t, uint64_t start, uint64_t n, bool add, unsigned int *budget,
		  uint64_t *got);
/* One reference more. */
int refs_add(struct tfs_trans *t, uint64_t start, uint64_t n);
/* One less; blocks that nobody refers to any more go free.  The file system's data_blocks
 * follows. */
int refs_drop(struct tfs_trans *t, uint64_t start, uint64_t n);
/* Bytes of log that changing the counts of @n stretches may take; 0 while nothing was ever
 * shared. */
uint64_t refs_credits(struct tfs_fs *fs, unsigned int n);

#endif
