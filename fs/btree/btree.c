/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Looking into a B+tree: paths, seeking, stepping.
 *
 * Leaves have no sibling pointers: a step across a leaf's edge climbs the path to
 * the first node with another child and goes down again.  On the way down each
 * node is held against what its parent says of it (tree, level, key bounds), so
 * that an image with crossed or looping pointers gives -EUCLEAN, never an endless
 * walk: levels fall by one per step down, and keys only go up along the leaves.
 */
#include <errno.h>
#include <string.h>

#include "fs/alloc/alloc.h"
#include "fs/alloc/alloc_node.h"
#include "fs/btree/btree.h"
#include "fs/btree/btree_node.h"
#include "fs/disk/btree_check.h"
#include "fs/disk/btree_key.h"
#include "fs/journal/buffer.h"
#include "fs/journal/buffer_load.h"
#include "fs/journal/trans.h"
#include "fs/state/error.h"
#include "fs/state/fs.h"
#include "tallyfs/format.h"

#define READAHEAD_LEAVES 8

void btree_release(struct btree_path *p)
{
	while (p->depth)
		buf_put(p->node[--p->depth].buf);
}

void path_bounds(const struct btree_path *p, int depth, unsigned int slot, struct key_bounds *kb)
{
	const struct tfs_buf *b;
	int i;

	kb->lo = kb->hi = NULL;
	for (i = depth; i >= 0 && (!kb->lo || !kb->hi); i--) {
		b = p->node[i].buf;
		if (i < depth)
			slot = p->node[i].slot;
		if (!kb->lo && slot)
			kb->lo = &inner_children(b)[slot].key;
		if (!kb->hi && slot + 1 < node_count(b))
			kb->hi = &inner_children(b)[slot + 1].key;
	}
}

static bool key_in(const struct tfs_key *disk, const struct key_bounds *kb)
{
	struct tkey k = tkey_get(disk);

	return (!kb->lo || key_cmp_disk(kb->lo, &k) <= 0) &&
	       (!kb->hi || key_cmp_disk(kb->hi, &k) > 0);
}

bool node_belongs(const struct tfs_buf *b, enum tfs_tree_id tree, unsigned int level,
		  const struct key_bounds *kb)
{
	unsigned int n = node_count(b);

	if (le32_get(node_of(b)->tree) != tree || node_level(b) != level)
		return false;
	if (level) /* the first child's key says nothing */
		return n < 2 || (key_in(&inner_children(b)[1].key, kb) &&
				 key_in(&inner_children(b)[n - 1].key, kb));
	if (!n)
		return !kb->lo && !kb->hi; /* only a root may be empty */
	return key_in(&leaf_items(b)[0].key, kb) && key_in(&leaf_items(b)[n - 1].key, kb);
}

static int node_misplaced(struct tfs_trans *t, const struct tfs_buf *b, enum tfs_tree_id tree)
{
	return tfs_handle_fs_error(t->fs, -EUCLEAN,
				   "tree node at block %llu does not belong where tree %u has it",
				   (unsigned long long)b->block, (unsigned int)tree);
}

static int path_push(struct tfs_trans *t, struct btree_path *p, uint64_t block, unsigned int level)
{
	struct key_bounds kb = { NULL, NULL };
	struct tfs_buf *b;
	int err;

	err = buf_get(t, block, BUF_NODE, &b);
	if (err)
		return err;
	if (p->depth)
		path_bounds(p, p->depth - 1, p->node[p->depth - 1].slot, &kb);
	/* below the root no leaf is empty, and an inner root's lone child has no bounds to say
	 * so */
	if (!node_belongs(b, p->tree, level, &kb) || (p->depth && !node_count(b))) {
		err = node_misplaced(t, b, p->tree);
		buf_put(b);
		return err;
	}
	p->node[p->depth].buf = b;
	p->node[p->depth].slot = 0;
	p->depth++;
	return 0;
}

static int path_push_root(struct tfs_trans *t, struct btree_path *p)
{
	const struct tfs_tree_root *root = &t->fs->roots[p->tree];

	if (!root->addr)
		return -ENOENT;
	if (root->level >= BTREE_MAX_DEPTH)
		return tfs_handle_fs_error(t->fs, -EUCLEAN, "tree %u is %u levels high",
					   (unsigned int)p->tree, root->level);
	return path_push(t, p, root->addr, root->level);
}

static int path_push_child(struct tfs_trans *t, struct btree_path *p)
{
	const struct tfs_buf *b = p->node[p->depth - 1].buf;

	return path_push(t, p, child_addr(b, p->node[p->depth - 1].slot), node_level(b) - 1);
}

int path_descend(struct tfs_trans *t, enum tfs_tree_id tree, const struct tkey *key,
		 struct btree_path *p, bool *exact)
{
	int err;

	btree_release(p);
	p->tree = tree;
	err = path_push_root(t, p);
	while (!err && node_level(path_leaf(p))) {
		p->node[p->depth - 1].slot = inner_search(path_leaf(p), key);
		err = path_push_child(t, p);
	}
	if (err) {
		btree_release(p);
		return err;
	}
	p->node[p->depth - 1].slot = node_search(path_leaf(p), key, exact);
	return 0;
}

/*
 * To the first item of the next leaf (@step 1) or the last of the previous one
 * (-1).  On any error the path is released.
 */
static int path_cross(struct tfs_trans *t, struct btree_path *p, int step)
{
	unsigned int slot;
	int err = -ENOENT;

	while (p->depth) {
		buf_put(p->node[--p->depth].buf);
		if (!p->depth)
			break;
		slot = p->node[p->depth - 1].slot;
		if (step > 0 ? slot + 1 < node_count(path_leaf(p)) : slot > 0) {
			p->node[p->depth - 1].slot = slot + (unsigned int)step;
			err = 0;
			break;
		}
	}
	while (!err && node_level(path_leaf(p))) {
		err = path_push_child(t, p);
		if (!err && step < 0)
			p->node[p->depth - 1].slot = node_count(path_leaf(p)) - 1;
	}
	if (err)
		btree_release(p);
	return err;
}

int btree_next(struct tfs_trans *t, struct btree_path *p)
{
	int err;

	if (!p->depth)
		return -ENOENT;
	if (path_slot(p) + 1 < node_count(path_leaf(p))) {
		p->node[p->depth - 1].slot++;
		return 0;
	}
	err = path_cross(t, p, 1);
	if (!err)
		btree_readahead(t, p);
	return err;
}

int btree_prev(struct tfs_trans *t, struct btree_path *p)
{
	if (!p->depth)
		return -ENOENT;
	if (path_slot(p)) {
		p->node[p->depth - 1].slot--;
		return 0;
	}
	return path_cross(t, p, -1);
}

int btree_seek(struct tfs_trans *t, enum tfs_tree_id tree, const struct tkey *key,
	       enum btree_seek how, struct btree_path *p)
{
	bool exact;
	int err;

	err = path_descend(t, tree, key, p, &exact);
	if (err || exact)
		return err;
	if (how == BTREE_GE) {
		if (path_slot(p) < node_count(path_leaf(p)))
			return 0;
		return path_cross(t, p, 1);
	}
	if (how == BTREE_LE)
		return btree_prev(t, p);
	btree_release(p);
	return -ENOENT;
}

void btree_readahead(struct tfs_trans *t, const struct btree_path *p)
{
	uint64_t blocks[READAHEAD_LEAVES];
	const struct tfs_buf *parent;
	unsigned int i, n = 0;

	if (p->depth < 2)
		return;
	parent = p->node[p->depth - 2].buf;
	for (i = p->node[p->depth - 2].slot + 1; i < node_count(parent) && n < READAHEAD_LEAVES;
	     i++)
		blocks[n++] = child_addr(parent, i);
	if (n)
		buf_readahead(t->fs, blocks, n, BUF_NODE);
}

void btree_item(const struct btree_path *p, struct btree_item *it)
{
	const struct tfs_buf *leaf = path_leaf(p);
	unsigned int slot = path_slot(p);

	it->key = tkey_get(&leaf_items(leaf)[slot].key);
	it->data = item_data(leaf, slot);
	it->len = item_len(leaf, slot);
}

int btree_lookup(struct tfs_trans *t, enum tfs_tree_id tree, const struct tkey *key, void *data,
		 uint32_t len)
{
	struct btree_path p = BTREE_PATH_INIT;
	struct btree_item it;
	int err;

	err = btree_seek(t, tree, key, BTREE_EQ, &p);
	if (err)
		return err;
	btree_item(&p, &it);
	if (it.len == len && len)
		memcpy(data, it.data, len);
	else if (it.len != len)
		err = tfs_handle_fs_error(
			t->fs, -EUCLEAN, "item (%llu %u %llu) in tree %u has %u bytes, not %u",
			(unsigned long long)key->ino, key->type, (unsigned long long)key->off,
			(unsigned int)tree, it.len, len);
	btree_release(&p);
	return err;
}

int path_prefault(struct tfs_trans *t, const struct btree_path *p, unsigned int nodes, bool freed)
{
	const struct tfs_buf *leaf = path_leaf(p);
	int i, err = 0;

	/* a parent changes with a split, or when the leaf is freed or merged */
	for (i = p->depth - 1; !err && i >= 0; i--) {
		err = alloc_prefault(t, p->node[i].buf->block, t->fs->geom.node_blocks);
		if (!nodes && !freed && leaf_used(leaf) > node_room(leaf) / 2)
			break;
	}
	if (!err && nodes)
		err = alloc_prefault_nodes(t, leaf->block, nodes);
	return err;
}

int btree_prefault(struct tfs_trans *t, enum tfs_tree_id tree, const struct tkey *key)
{
	struct btree_path p = BTREE_PATH_INIT;
	bool exact;
	int err;

	err = path_descend(t, tree, key, &p, &exact);
	if (err == -ENOENT)
		return alloc_prefault_nodes(t, 0, 1);
	if (err)
		return err;
	err = path_prefault(t, &p, path_split_nodes(&p, TFS_MAX_ITEM(t->fs->geom.node_size)),
			    false);
	btree_release(&p);
	return err;
}
