/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Does a tree node make sense on its own?  Everything in the B+tree code relies on this having been
 * asked of each node read from the device: the bytes may be anything. */
#ifndef FS_DISK_BTREE_CHECK_H
#define FS_DISK_BTREE_CHECK_H

#include <stddef.h>
#include <stdint.h>
#include "fs/disk/geom.h"

/* Nodes from the root to a leaf, at most. */
#define BTREE_MAX_DEPTH 12

/*
 * Does the node at @data make sense on its own: magic, address, tree, level,
 * bounds, order, no overlap?  For the buffer cache, fsck and tallydump.
 * 0 or -EUCLEAN with *why.
 */
int btree_check_node(const struct tfs_geom *g, uint64_t block, const void *data, char *why,
		     size_t why_len);

#endif
