/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Blocks for tree nodes.  They are kept together in the front part of each group, so that few tuple
 * blocks, bitmaps and headers go into a commit, and are found where data is not: a new group is
 * opened before nodes and data are mixed. */
#ifndef FS_ALLOC_ALLOC_NODE_H
#define FS_ALLOC_ALLOC_NODE_H

#include <stdint.h>
#include "fs/journal/trans.h"

/*
 * The next @n (at most 32) calls of alloc_node in this section will find bitmaps,
 * headers and tuple blocks in memory.  0, -TRANS_RESTART, -ENOSPC, ...
 */
int alloc_prefault_nodes(struct tfs_trans *t, uint64_t goal, unsigned int n);

/* Aligned blocks of a node near @goal (a block, 0: anywhere).  The tree takes them over with
 * buf_new.  -ENOSPC, -TRANS_RESTART, ... */
int alloc_node(struct tfs_trans *t, uint64_t goal, uint64_t *block);
int alloc_free_node(struct tfs_trans *t, uint64_t block);

#endif
