/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Blocks for data: at the goal if that is free, else next-fit from where the last stream of data
 * ended, in runs as long as can be had. */
#ifndef FS_ALLOC_ALLOC_DATA_H
#define FS_ALLOC_ALLOC_DATA_H

#include <stdbool.h>
#include <stdint.h>
#include "fs/state/fs.h"

/*
 * Claim up to @want contiguous free blocks near @goal (0: anywhere) for data
 * about to be written, in memory only; one reservation unit per block claimed is used up.
 * *got >= 1.  Reads bitmaps as needed: no meta_lock held.  -ENOSPC, -EIO, ...
 */
int alloc_data(struct tfs_fs *fs, uint64_t goal, uint64_t want, uint64_t *start, uint64_t *got);

/* A claim that was not used: back to free, the reservation units back too if @rereserve. */
void alloc_cancel(struct tfs_fs *fs, uint64_t start, uint64_t n, bool rereserve);

#endif
