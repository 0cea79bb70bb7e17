/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Extents: finding, removing, inserting. */
#include <errno.h>
#include "core/lib/util.h"
#include "fs/alloc/alloc.h"
#include "fs/btree/btree.h"
#include "fs/btree/btree_delete.h"
#include "fs/btree/btree_insert.h"
#include "fs/disk/btree_key.h"
#include "fs/disk/geom.h"
#include "fs/inode/extent.h"
#include "fs/inode/inode.h"
#include "fs/inode/block_refs.h"
#include "fs/journal/buffer.h"
#include "fs/journal/trans.h"
#include "fs/state/error.h"
#include "fs/state/fs.h"
#include "tallyfs/format.h"

static int bad_extent(struct tfs_trans *t, uint64_t ino, uint64_t off, const char *what)
{
	return tfs_handle_fs_error(t->fs, -EUCLEAN, "inode %llu: extent at file block %llu: %s",
				   (unsigned long long)ino, (unsigned long long)off, what);
}

/*
 * What the trees are standing on while somebody looks: their roots, and the nodes that lead to the
 * extent.  Other nodes and other files' blocks can lie below an extent that lies, too; only fsck
 * sees all of them at once.
 */
static bool under_trees(struct tfs_trans *t, const struct btree_path *p, const struct extent *e)
{
	uint64_t n = t->fs->geom.node_blocks, at;
	int i;

	for (i = 0; i < TFS_NR_TREES + p->depth; i++) {
		at = i < TFS_NR_TREES ? t->fs->roots[i].addr : p->node[i - TFS_NR_TREES].buf->block;
		if (at && e->start < at + n && at < e->start + e->len)
			return true;
	}
	return false;
}

/* The item @p stands on.  All that uses an extent gets it from here, so nothing is ever read,
 * written or freed that can't be a file's. */
static int extent_decode(struct tfs_trans *t, const struct btree_path *p,
			 const struct btree_item *it, struct extent *e)
{
	const struct tfs_extent_item *x = it->data;
	const struct tfs_geom *g = &t->fs->geom;
	uint64_t total = g->total_blocks;
	uint64_t max_fblk = (uint64_t)TFS_MAX_FILE_SIZE >> t->fs->geom.blkbits;

	if (it->len != sizeof(*x))
		return bad_extent(t, it->key.ino, it->key.off, "item has the wrong size");
	*e = (struct extent){ .off = it->key.off,
			      .start = le64_get(x->start),
			      .len = le32_get(x->len),
			      .flags = le32_get(x->flags) };
	if (!e->len || e->len > TFS_EXTENT_MAX_LEN || e->start >= total ||
	    e->len > total - e->start)
		return bad_extent(t, it->key.ino, it->key.off, "outside the device");
	/* a group begins with structures of its own, but for the first */
	if (tfs_group_of(g, e->start) != tfs_group_of(g, e->start + e->len - 1) ||
	    tfs_geom_fixed(g, e->start, e->len))
		return bad_extent(t, it->key.ino, it->key.off, "over fixed structures");
	if (under_trees(t, p, e))
		return bad_extent(t, it->key.ino, it->key.off, "over a tree node");
	if (e->off > max_fblk || e->len > max_fblk + 1 - e->off)
		return bad_extent(t, it->key.ino, it->key.off, "beyond the largest file");
	if (e->flags & ~(uint32_t)(TFS_EXTENT_UNWRITTEN | TFS_EXTENT_SHARED))
		return bad_extent(t, it->key.ino, it->key.off, "unknown flags");
	if (e->flags == (TFS_EXTENT_UNWRITTEN | TFS_EXTENT_SHARED))
		return bad_extent(t, it->key.ino, it->key.off, "shared but never written");
	return 0;
}

static int seek_extent(struct tfs_trans *t, uint64_t ino, uint64_t fblk, enum btree_seek how,
		       struct extent *e)
{
	struct btree_path p = BTREE_PATH_INIT;
	struct tkey key = TKEY(ino, TFS_KEY_EXTENT, fblk);
	struct btree_item it;
	int err = btree_seek(t, TFS_TREE_FS, &key, how, &p);

	if (err)
		return err;
	btree_item(&p, &it);
	if (it.key.ino != ino || it.key.type != TFS_KEY_EXTENT)
		err = -ENOENT;
	else
		err = extent_decode(t, &p, &it, e);
	btree_release(&p);
	return err;
}

int extent_before(struct tfs_trans *t, uint64_t ino, uint64_t fblk, struct extent *e)
{
	return fblk ? seek_extent(t, ino, fblk - 1, BTREE_LE, e) : -ENOENT;
}

int extent_seek(struct tfs_trans *t, uint64_t ino, uint64_t fblk, struct extent *e)
{
	int err = seek_extent(t, ino, fblk, BTREE_LE, e);

	if (!err && extent_end(e) > fblk)
		return 0;
	if (err && err != -ENOENT)
		return err;
	return seek_extent(t, ino, fblk, BTREE_GE, e);
}

/* ---- looking before leaping ---- */

static int look_buf(struct tfs_trans *t, uint64_t block, enum tfs_buf_kind kind)
{
	struct tfs_buf *b;
	int err = buf_get(t, block, kind, &b);

	if (!err)
		buf_put(b);
	return err;
}

int extent_prefault_blocks(struct tfs_trans *t, uint64_t start, uint64_t n, bool tuples)
{
	const struct tfs_geom *g = &t->fs->geom;
	int err = 0;

	while (n && !err) {
		uint64_t group = tfs_group_of(g, start);
		uint64_t left = tfs_group_start(g, group) + g->blocks_per_group - start;
		uint64_t run = n < left ? n : left;

		/* a group without a header is made within the transaction: nothing to read */
		if (group < t->fs->cnt.groups_init) {
			err = look_buf(t, tfs_group_header_block(g, group), BUF_GROUP);
			if (!err)
				err = look_buf(t, tfs_group_bitmap_block(g, group), BUF_BITMAP);
			for (uint64_t b = start; tuples && !err && b < start + run;) {
				unsigned int slot;
				uint64_t tb = tfs_tuple_block_of(g, b, &slot);

				err = look_buf(t, tb, BUF_TUPLE);
				b += g->tuples_per_block - slot;
			}
		}
		start += run;
		n -= run;
	}
	return err;
}

/* Changes of reference counts in the removal of @n extents: they may lie all over their tree. */
static unsigned int max_refs(unsigned int n)
{
	return n < 4 ? 1 : n / 4;
}

/*
 * Everything that removing the mapping of extent @e between @pos and @to needs is in memory.
 * *reach: how far, which is less than that for a shared one whose blocks' counts are more than
 * *refs allows.
 */
static int look_extent(struct tfs_trans *t, uint64_t ino, const struct extent *e, uint64_t pos,
		       uint64_t to, unsigned int *refs, uint64_t *reach)
{
	uint64_t from = max_t(uint64_t, pos, e->off), n;
	struct tkey key = TKEY(ino, TFS_KEY_EXTENT, e->off);
	int err = btree_prefault(t, TFS_TREE_FS, &key);

	*reach = min_t(uint64_t, to, extent_end(e));
	if (!err)
		err = extent_prefault_blocks(t, e->start, e->len, false);
	if (err || !(e->flags & TFS_EXTENT_SHARED))
		return err;
	err = refs_prefault(t, e->start + (from - e->off), *reach - from, false, refs, &n);
	*reach = from + n;
	return err;
}

/* Looks at the extents of [from, *stop) one after another, and moves *stop to where it is enough.
 */
static int look_extents(struct tfs_trans *t, uint64_t ino, uint64_t from, unsigned int max,
			uint64_t *stop)
{
	unsigned int refs = max_refs(max);
	uint64_t pos = from, to = *stop, reach;
	struct extent e;

	for (unsigned int n = 0; pos < to; n++, pos = reach) {
		int err = extent_seek(t, ino, pos, &e);

		if (err == -ENOENT || (!err && e.off >= to))
			return 0;
		if (err)
			return err;
		if (n == max || (e.flags & TFS_EXTENT_SHARED && !refs)) {
			*stop = max_t(uint64_t, e.off, pos);
			return 0;
		}
		err = look_extent(t, ino, &e, pos, to, &refs, &reach);
		if (err)
			return err;
		if (reach < to && reach < extent_end(&e)) {
			*stop = reach;
			return 0;
		}
	}
	return 0;
}

int extent_prefault(struct tfs_trans *t, uint64_t ino, uint64_t from, uint64_t to, unsigned int max,
		    uint64_t *stop)
{
	int err;

	*stop = to;
	err = look_extents(t, ino, from, max, stop);
	if (err)
		return err;
	/* whoever goes on from *stop gets somewhere */
	if (from < to && *stop <= from)
		return bad_extent(t, ino, from, "no way on from here");
	/* where the new item will stand */
	return btree_prefault(t, TFS_TREE_FS, &TKEY(ino, TFS_KEY_EXTENT, from));
}

/* ---- changing ---- */

static struct tfs_extent_item extent_item(uint64_t start, uint64_t len, uint32_t flags)
{
	return (struct tfs_extent_item){ .start = le64_of(start),
					 .len = le32_of((uint32_t)len),
					 .flags = le32_of(flags) };
}

static int put_item(struct tfs_trans *t, uint64_t ino, const struct extent *e)
{
	struct tfs_extent_item x = extent_item(e->start, e->len, e->flags);
	struct tkey key = TKEY(ino, TFS_KEY_EXTENT, e->off);

	return btree_update(t, TFS_TREE_FS, &key, &x, sizeof(x));
}

static int new_item(struct tfs_trans *t, uint64_t ino, const struct extent *e)
{
	struct tfs_extent_item x = extent_item(e->start, e->len, e->flags);
	struct tkey key = TKEY(ino, TFS_KEY_EXTENT, e->off);
	int err = btree_insert(t, TFS_TREE_FS, &key, &x, sizeof(x));

	if (!err) {
		t->fs->cnt.nr_extents++;
		t->fs->cnt.shared_extents += !!(e->flags & TFS_EXTENT_SHARED);
	}
	return err;
}

static int del_item(struct tfs_trans *t, uint64_t ino, const struct extent *e)
{
	struct tkey key = TKEY(ino, TFS_KEY_EXTENT, e->off);
	int err = btree_delete(t, TFS_TREE_FS, &key);

	if (!err) {
		t->fs->cnt.nr_extents--;
		t->fs->cnt.shared_extents -= !!(e->flags & TFS_EXTENT_SHARED);
	}
	return err;
}

static void count_blocks(struct tfs_trans *t, struct tfs_inode *i, uint64_t plus, uint64_t minus)
{
	t->fs->super_dirty = true;
	pthread_mutex_lock(&i->attr_lock);
	i->a.blocks = i->a.blocks + plus >= minus ? i->a.blocks + plus - minus : 0;
	pthread_mutex_unlock(&i->attr_lock);
}

/* Take [from, to) out of extent @e, which overlaps it: up to two rests stay. */
static int cut_extent(struct tfs_trans *t, uint64_t ino, const struct extent *e, uint64_t from,
		      uint64_t to)
{
	struct extent left = *e, right = *e;
	int err;

	if (e->off < from) {
		left.len = from - e->off;
		err = put_item(t, ino, &left);
	} else {
		err = del_item(t, ino, e);
	}
	if (!err && extent_end(e) > to) {
		right.off = to;
		right.start = e->start + (to - e->off);
		right.len = extent_end(e) - to;
		err = new_item(t, ino, &right);
	}
	return err;
}

static int free_run(struct tfs_trans *t, const struct extent *e, uint64_t start, uint64_t n)
{
	int err;

	if (e->flags & TFS_EXTENT_SHARED)
		return refs_drop(t, start, n);
	err = alloc_free(t, start, n);
	if (!err)
		t->fs->cnt.data_blocks -= n;
	return err;
}

int extent_remove(struct tfs_trans *t, struct tfs_inode *i, uint64_t from, uint64_t to,
		  bool free_blocks)
{
	struct extent e;
	int err;

	while (from < to) {
		uint64_t a, b;

		err = extent_seek(t, i->ino, from, &e);
		if (err == -ENOENT || (!err && e.off >= to))
			return 0;
		if (err)
			return err;
		a = e.off > from ? e.off : from;
		b = extent_end(&e) < to ? extent_end(&e) : to;
		err = cut_extent(t, i->ino, &e, a, b);
		if (!err && free_blocks)
			err = free_run(t, &e, e.start + (a - e.off), b - a);
		if (err)
			return err;
		if (!free_blocks)
			t->fs->cnt.data_blocks -= b - a;
		count_blocks(t, i, 0, b - a);
		inode_mapping_changed(t, i);
		from = b;
	}
	return 0;
}

/* Do the blocks of @b follow those of @a in file and on the device? */
static bool goes_on(const struct extent *a, const struct extent *b)
{
	return extent_end(a) == b->off && a->start + a->len == b->start && a->flags == b->flags &&
	       a->len + b->len <= TFS_EXTENT_MAX_LEN;
}

int extent_insert(struct tfs_trans *t, struct tfs_inode *i, const struct extent *new)
{
	struct extent e = *new, prev, next;
	bool joined = false;
	int err;

	err = extent_before(t, i->ino, e.off, &prev);
	if (err && err != -ENOENT)
		return err;
	if (!err && goes_on(&prev, &e)) {
		prev.len += e.len;
		e = prev;
		joined = true;
	}
	err = seek_extent(t, i->ino, extent_end(new), BTREE_EQ, &next);
	if (err && err != -ENOENT)
		return err;
	if (!err && goes_on(&e, &next)) {
		e.len += next.len;
		err = del_item(t, i->ino, &next);
		if (err)
			return err;
	}
	err = joined ? put_item(t, i->ino, &e) : new_item(t, i->ino, &e);
	if (err)
		return err;
	/* shared blocks have been counted with their first extent */
	if (!(e.flags & TFS_EXTENT_SHARED))
		t->fs->cnt.data_blocks += new->len;
	count_blocks(t, i, new->len, 0);
	inode_mapping_changed(t, i);
	return 0;
}

int extent_mark_shared(struct tfs_trans *t, struct tfs_inode *i, struct extent *e)
{
	int err;

	if (e->flags & TFS_EXTENT_SHARED)
		return 0;
	e->flags |= TFS_EXTENT_SHARED;
	err = put_item(t, i->ino, e);
	if (err)
		return err;
	t->fs->cnt.shared_extents++;
	t->fs->super_dirty = true;
	inode_mapping_changed(t, i);
	return 0;
}

/* ---- credits: what a section may log at most ---- */

uint64_t extent_remove_credits(struct tfs_fs *fs, unsigned int n)
{
	/* each in a group of its own, each in a leaf of its own for every few dozen */
	return (uint64_t)n * (fs->geom.block_size + 4096u) +
	       (2 + n / 16) * (uint64_t)fs->geom.node_size + refs_credits(fs, max_refs(n));
}

uint64_t extent_insert_credits(struct tfs_fs *fs, uint64_t blocks)
{
	uint64_t tuple_blocks = blocks / fs->geom.tuples_per_block + 2;

	/* a leaf and what its split takes; tuples, bitmap, header */
	return 4 * (uint64_t)fs->geom.node_size + (tuple_blocks + 2) * fs->geom.block_size +
	       2 * 4096u;
}
