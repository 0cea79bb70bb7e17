/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The B+tree: one implementation for all trees.  Nodes of geom.node_size bytes,
 * changed in place under the journal.  All functions run inside a section
 * (fs/journal/trans.h) and return -TRANS_RESTART up when a node must be read first.
 */
#ifndef FS_BTREE_H
#define FS_BTREE_H

#include "fs/disk/btree_check.h"
#include "fs/disk/btree_key.h"
#include "fs/journal/buffer.h"
#include "fs/journal/trans.h"
#include "tallyfs/format.h"

/* A position: the nodes from the root to a leaf, referenced.  Zero-initialise with
 * BTREE_PATH_INIT. */
struct btree_path {
	enum tfs_tree_id tree;
	int depth; /* number of nodes held; 0: none */
	struct {
		struct tfs_buf *buf;
		unsigned int slot;
	} node[BTREE_MAX_DEPTH]; /* [0] is the root */
};

#define BTREE_PATH_INIT    \
	{                  \
		.depth = 0 \
	}

/* The item a path stands on.  Points into the node: good until the section ends or the tree
 * changes. */
struct btree_item {
	struct tkey key;
	const void *data;
	uint32_t len;
};
enum btree_seek { BTREE_EQ, BTREE_GE, BTREE_LE };

/*
 * Stand on the item equal to / first at or after / last at or before @key.
 * 0, -ENOENT (none such; the path is released), -TRANS_RESTART, -EUCLEAN, -EIO.
 */
int btree_seek(struct tfs_trans *t, enum tfs_tree_id tree, const struct tkey *key,
	       enum btree_seek how, struct btree_path *p);

/* Next / previous item.  -ENOENT at the end. */
int btree_next(struct tfs_trans *t, struct btree_path *p);
int btree_prev(struct tfs_trans *t, struct btree_path *p);

/* Hint: a scan that entered the path's leaf goes on; read the next few leaves in the background. */
void btree_readahead(struct tfs_trans *t, const struct btree_path *p);
void btree_item(const struct btree_path *p, struct btree_item *it);
void btree_release(struct btree_path *p);

/* Copy of an item's data, exactly @len bytes expected (-EUCLEAN otherwise).  -ENOENT. */
int btree_lookup(struct tfs_trans *t, enum tfs_tree_id tree, const struct tkey *key, void *data,
		 uint32_t len);

/*
 * Make sure a later insert, update or delete at @key finds every node it may
 * touch in memory (path, and for splits the bitmaps of a node allocation).  Call
 * for each key before the first change of a section.  0 or -TRANS_RESTART, ...
 */
int btree_prefault(struct tfs_trans *t, enum tfs_tree_id tree, const struct tkey *key);

#endif
