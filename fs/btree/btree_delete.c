/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Shrinking a B+tree: delete, merging, giving nodes back.
 *
 * A leaf that becomes empty goes at once, with every inner node that it leaves
 * without a child; a tree that is emptied is one leaf again.  A node that is merely
 * poorly filled is merged with a neighbour, but only if that one is in memory:
 * merging saves space, and is not worth a read in the middle of a change.  For the
 * same reason an inner root with a single child may last until the next deletion.
 */
#include <errno.h>
#include <string.h>

#include "core/lib/util.h"
#include "fs/alloc/alloc.h"
#include "fs/alloc/alloc_node.h"
#include "fs/btree/btree.h"
#include "fs/btree/btree_delete.h"
#include "fs/btree/btree_node.h"
#include "fs/disk/btree_key.h"
#include "fs/journal/buffer.h"
#include "fs/journal/trans.h"
#include "tallyfs/format.h"

/* Merge below a third full, if the result is at most three quarters: it must not split again at
 * once. */
static bool poorly_filled(uint32_t used, uint32_t room)
{
	return used < room / 3;
}

static bool merge_fits(uint32_t used, uint32_t room)
{
	return used <= room / 4 * 3;
}

static uint32_t node_used(const struct tfs_buf *b)
{
	return node_level(b) ? node_count(b) * (uint32_t)sizeof(struct tfs_child) : leaf_used(b);
}

/* The node goes out of the tree.  Takes over the caller's reference. */
static int free_node(struct tfs_trans *t, struct tfs_buf *b)
{
	uint64_t block = b->block;

	buf_free(t, b);
	return alloc_free_node(t, block);
}

/* The leaf is empty, and the only one: it becomes the root. */
static int collapse_to_leaf(struct tfs_trans *t, struct btree_path *p)
{
	struct tfs_buf *b;
	int i, err;

	for (i = 0; i < p->depth - 1; i++) {
		b = p->node[i].buf;
		p->node[i].buf = NULL;
		err = free_node(t, b);
		if (err)
			return err;
	}
	btree_set_root(t, p->tree, path_leaf(p)->block, 0);
	return 0;
}

static bool path_is_lone(const struct btree_path *p)
{
	int i;

	for (i = 0; i < p->depth - 1; i++)
		if (node_count(p->node[i].buf) > 1)
			return false;
	return true;
}

/*
 * Only what is in memory.  A section that has changed something reads what is missing on the spot;
 * one that has not is told -TRANS_RESTART without further ado, so ask as such a one.
 */
static struct tfs_trans probe_of(const struct tfs_trans *t)
{
	struct tfs_trans probe = *t;

	probe.modified = probe.sync = false;
	return probe;
}

/* The node at @block if it is in memory, else NULL. */
static struct tfs_buf *node_peek(const struct tfs_trans *t, uint64_t block)
{
	struct tfs_trans probe = probe_of(t);
	struct tfs_buf *b;

	return buf_get(&probe, block, BUF_NODE, &b) ? NULL : b;
}

/* Is all in memory that changing or freeing the node at @block takes?  Nobody reads half way. */
static bool at_hand(const struct tfs_trans *t, uint64_t block)
{
	struct tfs_trans probe = probe_of(t);

	return !alloc_prefault(&probe, block, t->fs->geom.node_blocks);
}

/* Child @slot of @parent, if it is in memory, with what belongs to it, and is what it should be
 * there; else NULL. */
static struct tfs_buf *peek_child(struct tfs_trans *t, const struct btree_path *p, int depth,
				  unsigned int slot)
{
	const struct tfs_buf *parent = p->node[depth].buf;
	struct key_bounds kb;
	struct tfs_buf *b;

	b = node_peek(t, child_addr(parent, slot));
	if (!b)
		return NULL;
	path_bounds(p, depth, slot, &kb);
	if (node_belongs(b, p->tree, node_level(parent) - 1, &kb) && node_count(b) &&
	    at_hand(t, b->block))
		return b;
	buf_put(b); /* whoever goes there will say so */
	return NULL;
}

/*
 * Move everything from @right into @left, its neighbour under the same parent,
 * where @right is child @slot.  Frees @right (and the reference to it), and takes it
 * out of the parent.
 */
static int merge_into(struct tfs_trans *t, struct tfs_buf *parent, unsigned int slot,
		      struct tfs_buf *left, struct tfs_buf *right)
{
	struct tkey sep = tkey_get(&inner_children(parent)[slot].key);
	int err;

	err = buf_modify(t, left);
	if (!err)
		err = buf_modify(t, parent);
	if (!err && !node_level(left))
		err = leaf_copy_tail(t, left, right, 0);
	else if (!err)
		inner_copy_tail(t, left, right, 0, &sep);
	if (err) {
		buf_put(right);
		return err;
	}
	inner_remove(t, parent, slot);
	return free_node(t, right);
}

/* Merge the path's node at @depth with a neighbour in memory, if that is worth it.  *merged: the
 * parent lost a child.
 */
static int try_merge(struct tfs_trans *t, struct btree_path *p, int depth, bool *merged)
{
	struct tfs_buf *b = p->node[depth].buf, *parent = p->node[depth - 1].buf, *other;
	unsigned int slot = p->node[depth - 1].slot;
	int err;

	*merged = false;
	if (slot) {
		other = peek_child(t, p, depth - 1, slot - 1);
		if (other && merge_fits(node_used(other) + node_used(b), node_room(b))) {
			*merged = true;
			p->node[depth].buf = NULL;
			err = merge_into(t, parent, slot, other, b);
			buf_put(other);
			return err;
		}
		buf_put(other);
	}
	if (slot + 1 < node_count(parent)) {
		other = peek_child(t, p, depth - 1, slot + 1);
		if (other && merge_fits(node_used(other) + node_used(b), node_room(b))) {
			*merged = true;
			return merge_into(t, parent, slot + 1, b, other);
		}
		buf_put(other);
	}
	return 0;
}

static int remove_from_parent(struct tfs_trans *t, struct btree_path *p, int depth)
{
	struct tfs_buf *b = p->node[depth].buf, *parent = p->node[depth - 1].buf;
	int err;

	err = buf_modify(t, parent);
	if (err)
		return err;
	inner_remove(t, parent, p->node[depth - 1].slot);
	p->node[depth].buf = NULL;
	return free_node(t, b);
}

/* An inner root with one child is not needed. */
static int lower_root(struct tfs_trans *t, enum tfs_tree_id tree, struct tfs_buf *root)
{
	struct key_bounds all = { NULL, NULL };
	unsigned int level;
	uint64_t child;
	int err;

	while (root && (level = node_level(root)) > 0 && node_count(root) == 1) {
		child = child_addr(root, 0);
		err = free_node(t, root);
		if (err)
			return err;
		btree_set_root(t, tree, child, level - 1);
		root = node_peek(t, child);
		if (root && !node_belongs(root, tree, level - 1, &all))
			break;
	}
	buf_put(root);
	return 0;
}

/* Items were removed from the path's leaf: restore what must hold.  The path is good for nothing
 * but release then. */
static int path_shrink(struct tfs_trans *t, struct btree_path *p)
{
	struct tfs_buf *b, *root;
	bool shrunk = true;
	int i, err = 0;

	if (!node_count(path_leaf(p)) && path_is_lone(p))
		return collapse_to_leaf(t, p);
	for (i = p->depth - 1; i > 0 && shrunk; i--) {
		b = p->node[i].buf;
		shrunk = false;
		if (!node_count(b)) {
			shrunk = true;
			err = remove_from_parent(t, p, i);
		} else if (poorly_filled(node_used(b), node_room(b))) {
			err = try_merge(t, p, i, &shrunk);
		}
		if (err)
			return err;
	}
	root = p->node[0].buf;
	p->node[0].buf = NULL;
	return lower_root(t, p->tree, root);
}

static int path_delete(struct tfs_trans *t, struct btree_path *p, unsigned int n)
{
	struct tfs_buf *leaf = path_leaf(p);
	int err;

	if (!t->modified) {
		err = path_prefault(t, p, 0, n == node_count(leaf));
		if (err)
			return err;
	}
	err = buf_modify(t, leaf);
	if (err)
		return err;
	leaf_remove(t, leaf, path_slot(p), n);
	return path_shrink(t, p);
}

int btree_delete(struct tfs_trans *t, enum tfs_tree_id tree, const struct tkey *key)
{
	struct btree_path p = BTREE_PATH_INIT;
	int err;

	err = btree_seek(t, tree, key, BTREE_EQ, &p);
	if (err)
		return err;
	err = path_delete(t, &p, 1);
	btree_release(&p);
	return err;
}

/* Items of the path's leaf, from where it stands, that are below @to; @max at most. */
static unsigned int run_length(const struct btree_path *p, const struct tkey *to, unsigned int max)
{
	unsigned int end;
	bool exact;

	end = node_search(path_leaf(p), to, &exact);
	return end <= path_slot(p) ? 0 : min_t(unsigned int, end - path_slot(p), max);
}

/* All leaves with the first @max items of [@from, @to), and one item more, in memory. */
static int range_prefault(struct tfs_trans *t, enum tfs_tree_id tree, const struct tkey *from,
			  const struct tkey *to, unsigned int max)
{
	struct btree_path p = BTREE_PATH_INIT;
	unsigned int n, seen = 0;
	int err;

	err = btree_seek(t, tree, from, BTREE_GE, &p);
	while (!err) {
		n = run_length(&p, to, max - seen);
		seen += n;
		if (n)
			err = path_prefault(t, &p, 0, true);
		if (err || path_slot(&p) + n < node_count(path_leaf(&p)))
			break;
		p.node[p.depth - 1].slot += n - 1;
		err = btree_next(t, &p);
	}
	btree_release(&p);
	return err == -ENOENT ? 0 : err;
}

int btree_delete_range(struct tfs_trans *t, enum tfs_tree_id tree, const struct tkey *from,
		       const struct tkey *to, unsigned int max, unsigned int *done, bool *more)
{
	struct btree_path p = BTREE_PATH_INIT;
	unsigned int n;
	int err = 0;

	*done = 0;
	*more = false;
	if (!t->modified)
		err = range_prefault(t, tree, from, to, max);
	while (!err) {
		err = btree_seek(t, tree, from, BTREE_GE, &p);
		if (err)
			break;
		n = run_length(&p, to, UINT32_MAX);
		*more = n > 0;
		n = min_t(unsigned int, n, max - *done);
		if (!n)
			break;
		err = path_delete(t, &p, n);
		*done += n;
	}
	btree_release(&p);
	if (err == -ENOENT) {
		*more = false;
		err = 0;
	}
	return err;
}
