/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Walk of the trees: nodes verify, levels fall by one, keys lie within the parent's bounds and
 * rise. */
#include <errno.h>
#include "core/lib/log.h"
#include "core/lib/util.h"
#include "fs/disk/btree_check.h"
#include "fs/disk/btree_key.h"
#include "fs/disk/geom.h"
#include "fs/journal/buffer.h"
#include "fs/journal/trans.h"
#include "fs/state/fs.h"
#include "fsck/check_priv.h"
#include "tallyfs/format.h"

struct level {
	struct tfs_buf *buf;
	unsigned int slot;
	/* keys below this node: from (inclusive) .. to (exclusive); absent on the outer edges */
	struct tkey from, to;
	bool has_from, has_to;
};

static const struct tfs_node *node_of(const struct level *l)
{
	return buf_data(l->buf);
}

static const struct tfs_child *child_of(const struct level *l, unsigned int i)
{
	return (const struct tfs_child *)(node_of(l) + 1) + i;
}

/*
 * Is it the first time that something points to a node at @block?  A node that is named again and
 * again, on each level of a tree that lies, would otherwise be walked as often as there are ways to
 * it.
 */
static bool first_time(struct check *c, uint64_t block)
{
	const struct tfs_geom *g = &c->fs->geom;
	uint64_t group = tfs_group_of(g, block),
		 i = (block - tfs_group_start(g, group)) / g->node_blocks;
	uint8_t bit = (uint8_t)(1u << i % 8);

	if (!c->nodes[group])
		c->nodes[group] = tl_zalloc(div_up(g->blocks_per_group / g->node_blocks, 8));
	if (!c->nodes[group]) {
		c->err = -ENOMEM;
		return false;
	}
	if (c->nodes[group][i / 8] & bit)
		return false;
	c->nodes[group][i / 8] |= bit;
	return true;
}

/* Read the node and push it.  False: unreadable, out of place or entered before (reported). */
static bool enter(struct check *c, enum tfs_tree_id tree, uint64_t block, int level,
		  struct level *l)
{
	const struct tfs_node *n;

	if (!check_block_ok(c, block, c->fs->geom.node_blocks)) {
		check_report(c, CHECK_ERROR, "node-address", 0, block,
			     "tree %d: a node is said to be at block %llu, where none can be", tree,
			     (unsigned long long)block);
		c->tree_incomplete = true;
		return false;
	}
	if (!first_time(c, block)) {
		if (!c->err)
			check_report(c, CHECK_ERROR, "node-twice", 0, block,
				     "tree %d: the node at block %llu is pointed to a second time",
				     tree, (unsigned long long)block);
		c->tree_incomplete = true;
		return false;
	}
	if (check_buf(c, block, BUF_NODE, &l->buf)) {
		check_report(c, CHECK_ERROR, "node-unreadable", 0, block,
			     "tree %d: node at block %llu: %s", tree, (unsigned long long)block,
			     c->log_line);
		c->tree_incomplete = true;
		return false;
	}
	l->slot = 0;
	n = node_of(l);
	c->res->nodes++;
	c->node_blocks += c->fs->geom.node_blocks;
	check_mark(c, block, c->fs->geom.node_blocks, "a tree node", 0);
	if (le16_get(n->level) != level || le32_get(n->tree) != (uint32_t)tree) {
		check_report(c, CHECK_ERROR, "node-misplaced", 0, block,
			     "tree %d level %d: node at block %llu belongs to tree %u level %u",
			     tree, level, (unsigned long long)block, le32_get(n->tree),
			     le16_get(n->level));
		c->tree_incomplete = true;
		buf_put(l->buf);
		return false;
	}
	return true;
}

static void leaf_items(struct check *c, enum tfs_tree_id tree, const struct level *l)
{
	const struct tfs_node *n = node_of(l);
	const struct tfs_item *it = (const struct tfs_item *)(n + 1);

	for (unsigned int i = 0; i < le16_get(n->nritems) && !c->err; i++) {
		struct tkey k = tkey_get(&it[i].key);

		if ((l->has_from && tkey_cmp(&k, &l->from) < 0) ||
		    (l->has_to && tkey_cmp(&k, &l->to) >= 0) ||
		    (c->have_last && tkey_cmp(&k, &c->last_key) <= 0))
			check_report(c, CHECK_ERROR, "key-order", k.ino, l->buf->block,
				     "tree %d: node at block %llu holds a key (%llu %u %llu) "
				     "outside its bounds",
				     tree, (unsigned long long)l->buf->block,
				     (unsigned long long)k.ino, k.type, (unsigned long long)k.off);
		c->last_key = k;
		c->have_last = true;
		check_item(c, tree, &k, (const char *)n + le32_get(it[i].off), le32_get(it[i].len));
	}
	if (!le16_get(n->nritems) && le64_get(n->addr) != c->fs->roots[tree].addr)
		check_report(c, CHECK_LEAK, "leaf-empty", 0, l->buf->block,
			     "tree %d: leaf at block %llu is empty", tree,
			     (unsigned long long)l->buf->block);
}

/* Bounds of child @l->slot: its own key (slot 0 takes the parent's) and the next child's. */
static void child_bounds(const struct level *l, struct level *child)
{
	unsigned int nr = le16_get(node_of(l)->nritems);

	child->from = l->from;
	child->has_from = l->has_from;
	if (l->slot > 0) {
		child->from = tkey_get(&child_of(l, l->slot)->key);
		child->has_from = true;
	}
	child->to = l->to;
	child->has_to = l->has_to;
	if (l->slot + 1 < nr) {
		child->to = tkey_get(&child_of(l, l->slot + 1)->key);
		child->has_to = true;
	}
}

static void walk(struct check *c, enum tfs_tree_id tree)
{
	const struct tfs_tree_root *root = &c->fs->roots[tree];
	struct level stack[BTREE_MAX_DEPTH];
	int depth = 0;

	memset(stack, 0, sizeof(stack));
	if (root->level >= BTREE_MAX_DEPTH) {
		check_report(c, CHECK_ERROR, "root-level", 0, UINT64_MAX,
			     "tree %d: root level %u is impossible", tree, root->level);
		c->tree_incomplete = true;
		return;
	}
	if (!enter(c, tree, root->addr, (int)root->level, &stack[0]))
		return;
	depth = 1;
	while (depth && !c->err) {
		struct level *l = &stack[depth - 1];
		int level = le16_get(node_of(l)->level);
		bool leaf = level == 0;

		if (leaf)
			leaf_items(c, tree, l);
		if (leaf || l->slot >= le16_get(node_of(l)->nritems)) {
			buf_put(l->buf);
			if (--depth)
				stack[depth - 1].slot++;
			check_progress(c, "trees", c->res->nodes,
				       c->fs->cnt.node_blocks / c->fs->geom.node_blocks);
			continue;
		}
		child_bounds(l, &stack[depth]);
		if (enter(c, tree, le64_get(child_of(l, l->slot)->addr), level - 1, &stack[depth]))
			depth++;
		else
			l->slot++;
	}
	while (depth)
		buf_put(stack[--depth].buf);
}

void check_trees(struct check *c)
{
	if (!c->fs->roots[TFS_TREE_FS].addr) {
		check_report(c, CHECK_ERROR, "root-missing", 0, UINT64_MAX,
			     "there is no file tree");
		c->tree_incomplete = true;
		return;
	}
	for (int tree = 0; tree < TFS_NR_TREES && !c->err; tree++) {
		if (!c->fs->roots[tree].addr)
			continue;
		c->have_last = false;
		walk(c, tree);
		if (tree == TFS_TREE_FS)
			check_inode_end(c);
	}
}
