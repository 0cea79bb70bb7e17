/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Inside one tree node, and what the parts of the B+tree share.  Only btree*.c include this.
 *
 * A buffer that got past btree_check_node() is consistent in itself, so nothing
 * here checks bounds again.  What a node says of its neighbours (its place in the
 * tree) is checked on the way down, in btree.c.
 *
 * The first key of an inner node is all zeros and stands for "from the node's
 * lower bound on", which the parent knows.  So an insertion below the smallest key
 * never touches inner nodes, and removing the first child needs nothing but the new
 * first child's key set to zeros.
 */
#ifndef FS_BTREE_NODE_H
#define FS_BTREE_NODE_H

#include "core/lib/util.h"
#include "fs/btree/btree.h"
#include "fs/disk/btree_key.h"
#include "fs/journal/buffer.h"
#include "fs/journal/trans.h"
#include "tallyfs/format.h"

static inline struct tfs_node *node_of(const struct tfs_buf *b)
{
	return buf_data(b);
}
static inline unsigned int node_count(const struct tfs_buf *b)
{
	return le16_get(node_of(b)->nritems);
}
static inline unsigned int node_level(const struct tfs_buf *b)
{
	return le16_get(node_of(b)->level);
}
static inline struct tfs_item *leaf_items(const struct tfs_buf *b)
{
	return (struct tfs_item *)(node_of(b) + 1);
}
static inline struct tfs_child *inner_children(const struct tfs_buf *b)
{
	return (struct tfs_child *)(node_of(b) + 1);
}
static inline void *item_data(const struct tfs_buf *b, unsigned int slot)
{
	return (char *)node_of(b) + le32_get(leaf_items(b)[slot].off);
}
static inline uint32_t item_len(const struct tfs_buf *b, unsigned int slot)
{
	return le32_get(leaf_items(b)[slot].len);
}
static inline uint64_t child_addr(const struct tfs_buf *b, unsigned int slot)
{
	return le64_get(inner_children(b)[slot].addr);
}
/* Bytes behind the node header. */
static inline uint32_t node_room(const struct tfs_buf *b)
{
	return b->bytes - (uint32_t)sizeof(struct tfs_node);
}
static inline unsigned int inner_max(const struct tfs_buf *b)
{
	return node_room(b) / (unsigned int)sizeof(struct tfs_child);
}

/* Compare a key on disk with a native one: <0, 0, >0. */
int key_cmp_disk(const struct tfs_key *disk, const struct tkey *key);
/* First slot whose key is >= @key (node_count() if none); *exact: it is equal. */
unsigned int node_search(const struct tfs_buf *b, const struct tkey *key, bool *exact);
/* The child whose subtree @key belongs to. */
unsigned int inner_search(const struct tfs_buf *b, const struct tkey *key);

/*
 * Changing a node: the caller has called buf_modify() (or buf_new()); these log
 * what they change.
 */
void node_init(struct tfs_trans *t, struct tfs_buf *b, enum tfs_tree_id tree, unsigned int level);

uint32_t leaf_free(const struct tfs_buf *b); /* bytes left for items with their headers */
uint32_t leaf_used(const struct tfs_buf *b);
/* Put an item at @slot; leaf_free() says that it fits.  -ENOMEM, with nothing changed. */
int leaf_insert(struct tfs_trans *t, struct tfs_buf *b, unsigned int slot, const struct tkey *key,
		const void *data, uint32_t len);
void leaf_remove(struct tfs_trans *t, struct tfs_buf *b, unsigned int slot, unsigned int n);
/* Other data of at most the old length. */
void leaf_overwrite(struct tfs_trans *t, struct tfs_buf *b, unsigned int slot, const void *data,
		    uint32_t len);
/* Append items [@first, end) of @from to @to, which has room for them.  @from stays as it is.
 * -ENOMEM. */
int leaf_copy_tail(struct tfs_trans *t, struct tfs_buf *to, const struct tfs_buf *from,
		   unsigned int first);
/* Forget the items from @n on. */
void leaf_cut(struct tfs_trans *t, struct tfs_buf *b, unsigned int n);

void inner_insert(struct tfs_trans *t, struct tfs_buf *b, unsigned int slot, const struct tkey *key,
		  uint64_t addr);
void inner_remove(struct tfs_trans *t, struct tfs_buf *b, unsigned int slot);
/* Append children [@first, end) of @from to @to; the first of them is given @key. */
void inner_copy_tail(struct tfs_trans *t, struct tfs_buf *to, const struct tfs_buf *from,
		     unsigned int first, const struct tkey *key);
void inner_cut(struct tfs_trans *t, struct tfs_buf *b, unsigned int n);

/* ---- paths, btree.c ---- */

/* The keys a subtree may hold: lo <= key < hi.  hi NULL: no bound. */
struct key_bounds {
	const struct tfs_key *lo, *hi;
};
/* The bounds of child @slot of the path's inner node at @depth. */
void path_bounds(const struct btree_path *p, int depth, unsigned int slot, struct key_bounds *kb);
/* Does @b belong into tree @tree at @level with these bounds? */
bool node_belongs(const struct tfs_buf *b, enum tfs_tree_id tree, unsigned int level,
		  const struct key_bounds *kb);
/*
 * Stand at the first item >= @key of the leaf that @key belongs to (maybe behind
 * its last item); *exact: it is equal.  -ENOENT: no such tree.
 */
int path_descend(struct tfs_trans *t, enum tfs_tree_id tree, const struct tkey *key,
		 struct btree_path *p, bool *exact);
static inline struct tfs_buf *path_leaf(const struct btree_path *p)
{
	return p->node[p->depth - 1].buf;
}
static inline unsigned int path_slot(const struct btree_path *p)
{
	return p->node[p->depth - 1].slot;
}
void btree_set_root(struct tfs_trans *t, enum tfs_tree_id tree, uint64_t addr, unsigned int level);
/* Tree nodes an insertion at @p may need, at most. */
unsigned int path_split_nodes(const struct btree_path *p, uint32_t len);
/*
 * What changing the leaf needs in memory besides the path: what vouches for
 * the nodes, the bitmaps if they may be freed (@freed: the leaf will be), and room for
 * @nodes new ones.
 */
int path_prefault(struct tfs_trans *t, const struct btree_path *p, unsigned int nodes, bool freed);

#endif
