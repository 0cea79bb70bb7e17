/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Growing a B+tree: insert, update, splits.
 *
 * A split takes all the nodes it needs before it changes anything, then goes from
 * the leaf up.  An item takes at most a quarter of a leaf, so one leaf split always
 * makes room.  A leaf that is full and gets its new item behind the last one is not
 * halved: the item starts a new leaf (the append optimisation of btrfs and XFS), so
 * that files written and inodes made in order leave full leaves behind.
 */
#include <errno.h>
#include <string.h>

#include "fs/alloc/alloc_node.h"
#include "fs/btree/btree.h"
#include "fs/btree/btree_insert.h"
#include "fs/btree/btree_node.h"
#include "fs/disk/btree_check.h"
#include "fs/disk/btree_key.h"
#include "fs/journal/buffer.h"
#include "fs/journal/trans.h"
#include "fs/state/fs.h"
#include "tallyfs/format.h"

#define ITEM ((uint32_t)sizeof(struct tfs_item))

unsigned int path_split_nodes(const struct btree_path *p, uint32_t len)
{
	unsigned int n = 1;
	int i;

	if (leaf_free(path_leaf(p)) >= ITEM + len)
		return 0;
	for (i = p->depth - 2; i >= 0; i--) {
		if (node_count(p->node[i].buf) < inner_max(p->node[i].buf))
			return n;
		n++;
	}
	return n + 1; /* and a new root */
}

static void give_back(struct tfs_trans *t, const uint64_t *blocks, unsigned int n)
{
	while (n)
		if (alloc_free_node(t, blocks[--n]))
			return; /* the section fails anyway */
}

static int take_nodes(struct tfs_trans *t, uint64_t goal, uint64_t *blocks, unsigned int n)
{
	unsigned int i;
	int err;

	for (i = 0; i < n; i++) {
		err = alloc_node(t, goal, &blocks[i]);
		if (err) {
			give_back(t, blocks, i);
			return err;
		}
	}
	return 0;
}

static int new_node(struct tfs_trans *t, uint64_t block, enum tfs_tree_id tree, unsigned int level,
		    struct tfs_buf **out)
{
	int err = buf_new(t, block, BUF_NODE, out);

	if (!err)
		node_init(t, *out, tree, level);
	return err;
}

void btree_set_root(struct tfs_trans *t, enum tfs_tree_id tree, uint64_t addr, unsigned int level)
{
	t->fs->roots[tree] = (struct tfs_tree_root){ .addr = addr, .level = level };
	t->fs->super_dirty = true;
}

int btree_create(struct tfs_trans *t, enum tfs_tree_id tree)
{
	struct tfs_buf *b;
	uint64_t block;
	int err;

	if (t->fs->roots[tree].addr)
		return -EEXIST;
	if (!t->modified) {
		err = alloc_prefault_nodes(t, 0, 1);
		if (err)
			return err;
	}
	err = take_nodes(t, 0, &block, 1);
	if (err)
		return err;
	err = new_node(t, block, tree, 0, &b);
	if (err) {
		give_back(t, &block, 1);
		return err;
	}
	btree_set_root(t, tree, block, 0);
	buf_put(b);
	return 0;
}

/*
 * How many items the left leaf of a split keeps, counting the new one: the
 * fewest that are half of the bytes.
 */
static unsigned int split_point(const struct tfs_buf *leaf, unsigned int slot, uint32_t len)
{
	uint32_t total = leaf_used(leaf) + ITEM + len, sum = 0;
	unsigned int i, n = node_count(leaf);

	if (slot == n)
		return n;
	for (i = 0; i < n; i++) {
		if (i == slot)
			sum += ITEM + len;
		else
			sum += ITEM + item_len(leaf, i < slot ? i : i - 1);
		if (sum >= total / 2)
			return i + 1;
	}
	return n;
}

/* Split @left and insert.  *sep: the first key of the new leaf @block. */
static int split_leaf(struct tfs_trans *t, const struct btree_path *p, uint64_t block,
		      const struct tkey *key, const void *data, uint32_t len, struct tkey *sep)
{
	struct tfs_buf *left = path_leaf(p), *right;
	unsigned int slot = path_slot(p), keep = split_point(left, slot, len);
	bool to_left = slot < keep;
	int err;

	if (to_left)
		keep--; /* the new one is not there yet */
	err = new_node(t, block, p->tree, 0, &right);
	if (err)
		return err;
	if (keep < node_count(left)) {
		err = buf_modify(t, left);
		if (!err)
			err = leaf_copy_tail(t, right, left, keep);
		if (err)
			goto out;
		leaf_cut(t, left, keep);
	}
	if (to_left)
		err = leaf_insert(t, left, slot, key, data, len);
	else
		err = leaf_insert(t, right, slot - keep, key, data, len);
	*sep = tkey_get(&leaf_items(right)[0].key);
out:
	buf_put(right);
	return err;
}

/*
 * Split inner node @left and insert the child (@sep, @child) at @slot.  *sep
 * becomes the key under which the parent gets the new node @block.
 */
static int split_inner(struct tfs_trans *t, enum tfs_tree_id tree, struct tfs_buf *left,
		       unsigned int slot, uint64_t block, struct tkey *sep, uint64_t child)
{
	unsigned int n = node_count(left), keep = n / 2;
	struct tfs_buf *right;
	struct tkey up;
	int err;

	err = new_node(t, block, tree, node_level(left), &right);
	if (err)
		return err;
	if (slot == n) { /* appending: as with leaves; *sep is right as it is */
		inner_insert(t, right, 0, sep, child);
		goto out;
	}
	err = buf_modify(t, left);
	if (err)
		goto out;
	up = tkey_get(&inner_children(left)[keep].key);
	inner_copy_tail(t, right, left, keep, NULL);
	inner_cut(t, left, keep);
	if (slot <= keep)
		inner_insert(t, left, slot, sep, child);
	else
		inner_insert(t, right, slot - keep, sep, child);
	*sep = up;
out:
	buf_put(right);
	return err;
}

static int grow_root(struct tfs_trans *t, const struct btree_path *p, uint64_t block,
		     const struct tkey *sep, uint64_t child)
{
	unsigned int level = node_level(p->node[0].buf) + 1;
	struct tfs_buf *root;
	int err;

	err = new_node(t, block, p->tree, level, &root);
	if (err)
		return err;
	inner_insert(t, root, 0, sep, p->node[0].buf->block);
	inner_insert(t, root, 1, sep, child);
	btree_set_root(t, p->tree, block, level);
	buf_put(root);
	return 0;
}

static int split_insert(struct tfs_trans *t, const struct btree_path *p, const uint64_t *blocks,
			const struct tkey *key, const void *data, uint32_t len)
{
	unsigned int used = 0, slot;
	struct tfs_buf *parent;
	struct tkey sep;
	uint64_t child;
	int i, err;

	child = blocks[used++];
	err = split_leaf(t, p, child, key, data, len, &sep);
	for (i = p->depth - 2; !err && i >= 0; i--) {
		parent = p->node[i].buf;
		slot = p->node[i].slot + 1;
		if (node_count(parent) < inner_max(parent)) {
			err = buf_modify(t, parent);
			if (!err)
				inner_insert(t, parent, slot, &sep, child);
			return err;
		}
		err = split_inner(t, p->tree, parent, slot, blocks[used], &sep, child);
		child = blocks[used++];
	}
	return err ? err : grow_root(t, p, blocks[used], &sep, child);
}

/* Nodes for a split at the path, taken before anything is changed; *n = 0: it fits. */
static int split_prepare(struct tfs_trans *t, const struct btree_path *p, uint32_t len,
			 uint64_t *blocks, unsigned int *n)
{
	int err;

	*n = path_split_nodes(p, len);
	if (!*n)
		return 0;
	if (*n == (unsigned int)p->depth + 1 && p->depth == BTREE_MAX_DEPTH)
		return -ENOSPC;
	if (!t->modified) {
		err = path_prefault(t, p, *n, false);
		if (err)
			return err;
	}
	return take_nodes(t, path_leaf(p)->block, blocks, *n);
}

static int path_insert(struct tfs_trans *t, const struct btree_path *p, const struct tkey *key,
		       const void *data, uint32_t len)
{
	uint64_t blocks[BTREE_MAX_DEPTH + 1];
	unsigned int n;
	int err;

	err = split_prepare(t, p, len, blocks, &n);
	if (err)
		return err;
	if (n)
		return split_insert(t, p, blocks, key, data, len);
	err = buf_modify(t, path_leaf(p));
	if (err)
		return err;
	return leaf_insert(t, path_leaf(p), path_slot(p), key, data, len);
}

/* Other data for the item the path stands on. */
static int path_update(struct tfs_trans *t, const struct btree_path *p, const struct tkey *key,
		       const void *data, uint32_t len)
{
	struct tfs_buf *leaf = path_leaf(p);
	uint32_t old = item_len(leaf, path_slot(p));
	uint64_t blocks[BTREE_MAX_DEPTH + 1];
	unsigned int n = 0;
	int err;

	/* what the old data leaves free counts as room; the header stays */
	if (len > old && leaf_free(leaf) + old < len) {
		err = split_prepare(t, p, len, blocks, &n);
		if (err)
			return err;
	}
	err = buf_modify(t, leaf);
	if (err)
		return err;
	if (len <= old) {
		leaf_overwrite(t, leaf, path_slot(p), data, len);
		return 0;
	}
	leaf_remove(t, leaf, path_slot(p), 1);
	if (n)
		return split_insert(t, p, blocks, key, data, len);
	return leaf_insert(t, leaf, path_slot(p), key, data, len);
}

int btree_insert(struct tfs_trans *t, enum tfs_tree_id tree, const struct tkey *key,
		 const void *data, uint32_t len)
{
	struct btree_path p = BTREE_PATH_INIT;
	bool exact;
	int err;

	if (len > TFS_MAX_ITEM(t->fs->geom.node_size))
		return -EFBIG;
	err = path_descend(t, tree, key, &p, &exact);
	if (err == -ENOENT) {
		err = btree_create(t, tree);
		if (!err)
			err = path_descend(t, tree, key, &p, &exact);
	}
	if (err)
		return err;
	err = exact ? -EEXIST : path_insert(t, &p, key, data, len);
	btree_release(&p);
	return err;
}

int btree_update(struct tfs_trans *t, enum tfs_tree_id tree, const struct tkey *key,
		 const void *data, uint32_t len)
{
	struct btree_path p = BTREE_PATH_INIT;
	int err;

	if (len > TFS_MAX_ITEM(t->fs->geom.node_size))
		return -EFBIG;
	err = btree_seek(t, tree, key, BTREE_EQ, &p);
	if (err)
		return err;
	err = path_update(t, &p, key, data, len);
	btree_release(&p);
	return err;
}

int btree_set(struct tfs_trans *t, enum tfs_tree_id tree, const struct tkey *key, const void *data,
	      uint32_t len)
{
	int err = btree_update(t, tree, key, data, len);

	return err == -ENOENT ? btree_insert(t, tree, key, data, len) : err;
}
