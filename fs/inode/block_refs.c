/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reference counts of shared blocks.
 *
 *   extents of files   A: [--------------------]        B: [-------]     C: [----]
 *   on the device      |----------|=======|####|---|
 *   items of tree 1               | len 2 | 3  |
 *
 * Only what is referenced twice or more has an item; stretches next to one another with the same
 * count are one item.  A file's extent carries the flag SHARED from the moment when any of its
 * blocks was shared, and keeps it when the others have gone: the flag says where to
 * look, the items say what is so.
 */
#include <errno.h>
#include "core/lib/util.h"
#include "fs/alloc/alloc.h"
#include "fs/btree/btree.h"
#include "fs/btree/btree_delete.h"
#include "fs/btree/btree_insert.h"
#include "fs/disk/btree_key.h"
#include "fs/disk/geom.h"
#include "fs/inode/block_refs.h"
#include "fs/journal/trans.h"
#include "fs/state/error.h"
#include "fs/state/fs.h"
#include "tallyfs/format.h"

/* Blocks with @count references: an item, or (count 1) a stretch without. */
struct ref {
	uint64_t start, len;
	uint32_t count;
};

static uint64_t ref_end(const struct ref *r)
{
	return r->start + r->len;
}

static int ref_decode(struct tfs_trans *t, const struct btree_item *it, struct ref *r)
{
	const struct tfs_refs_item *x = it->data;
	const struct tfs_geom *g = &t->fs->geom;
	uint64_t total = g->total_blocks;

	if (it->len == sizeof(*x)) {
		*r = (struct ref){ .start = it->key.off,
				   .len = le32_get(x->len),
				   .count = le32_get(x->count) };
		if (r->len && r->len <= TFS_EXTENT_MAX_LEN && r->start < total &&
		    r->len <= total - r->start && r->count >= 2 &&
		    tfs_group_of(g, r->start) == tfs_group_of(g, ref_end(r) - 1) &&
		    !tfs_geom_fixed(g, r->start, r->len))
			return 0;
	}
	return tfs_handle_fs_error(t->fs, -EUCLEAN,
				   "the reference count of blocks from %llu on makes no sense",
				   (unsigned long long)it->key.off);
}

static int ref_item(struct tfs_trans *t, uint64_t block, enum btree_seek how, struct ref *r)
{
	struct btree_path p = BTREE_PATH_INIT;
	struct tkey key = TKEY(TFS_INO_META, TFS_KEY_REFS, block);
	struct btree_item it;
	int err = btree_seek(t, TFS_TREE_REFS, &key, how, &p);

	if (err)
		return err;
	btree_item(&p, &it);
	if (it.key.ino != TFS_INO_META || it.key.type != TFS_KEY_REFS)
		err = -ENOENT;
	else
		err = ref_decode(t, &it, r);
	btree_release(&p);
	return err;
}

/* The item that holds @block; or else the stretch without one that begins there, no longer than
 * @n. */
static int ref_at(struct tfs_trans *t, uint64_t block, uint64_t n, struct ref *r)
{
	struct ref next;
	int err = ref_item(t, block, BTREE_LE, r);

	if (!err && ref_end(r) > block)
		return 0;
	if (err && err != -ENOENT)
		return err;
	err = ref_item(t, block, BTREE_GE, &next);
	if (err && err != -ENOENT)
		return err;
	/* every walk relies on it: a stretch is never empty */
	if (!err && next.start <= block)
		return tfs_handle_fs_error(t->fs, -EUCLEAN,
					   "the reference counts of blocks around %llu contradict",
					   (unsigned long long)block);
	*r = (struct ref){ .start = block, .len = n, .count = 1 };
	if (!err && next.start - block < n)
		r->len = next.start - block;
	return 0;
}

int refs_get(struct tfs_trans *t, uint64_t start, uint64_t n, uint32_t *count, uint64_t *run)
{
	struct ref r;
	int err = ref_at(t, start, n, &r);

	if (err)
		return err;
	*count = r.count;
	*run = min_t(uint64_t, ref_end(&r) - start, n);
	return 0;
}

static int look_key(struct tfs_trans *t, uint64_t block)
{
	return btree_prefault(t, TFS_TREE_REFS, &TKEY(TFS_INO_META, TFS_KEY_REFS, block));
}

int refs_prefault(struct tfs_trans *t, uint64_t start, uint64_t n, bool add, unsigned int *budget,
		  uint64_t *got)
{
	uint64_t at = start, end = start + n;
	struct ref r;
	int err = 0;

	for (; at < end && *budget; --*budget) {
		err = ref_at(t, at, end - at, &r);
		if (!err && add && r.count == UINT32_MAX)
			err = -EMLINK;
		if (!err)
			err = look_key(t, r.start);
		if (!err && r.start != at)
			err = look_key(t, at);
		if (err)
			return err;
		at = min_t(uint64_t, ref_end(&r), end);
	}
	*got = at - start;
	/* a rest, or a neighbour to be joined with */
	return look_key(t, at);
}

static int put_ref(struct tfs_trans *t, const struct ref *r)
{
	struct tfs_refs_item x = { .len = le32_of((uint32_t)r->len), .count = le32_of(r->count) };

	return btree_set(t, TFS_TREE_REFS, &TKEY(TFS_INO_META, TFS_KEY_REFS, r->start), &x,
			 sizeof(x));
}

static int del_ref(struct tfs_trans *t, uint64_t start)
{
	return btree_delete(t, TFS_TREE_REFS, &TKEY(TFS_INO_META, TFS_KEY_REFS, start));
}

/* Where no item is: a new one, joined with those on both sides where they count the same. */
static int put_joined(struct tfs_trans *t, const struct ref *new)
{
	struct ref r = *new, side;
	int err = r.start ? ref_item(t, r.start - 1, BTREE_LE, &side) : -ENOENT;

	if (err && err != -ENOENT)
		return err;
	if (!err && ref_end(&side) == r.start && side.count == r.count &&
	    side.len + r.len <= TFS_EXTENT_MAX_LEN) {
		r.start = side.start;
		r.len += side.len;
	}
	err = ref_item(t, ref_end(&r), BTREE_EQ, &side);
	if (err && err != -ENOENT)
		return err;
	if (!err && side.count == r.count && side.len + r.len <= TFS_EXTENT_MAX_LEN) {
		err = del_ref(t, side.start);
		if (err)
			return err;
		r.len += side.len;
	}
	return put_ref(t, &r);
}

/* [from, to), which lies within @old, has @count references from now on. */
static int ref_change(struct tfs_trans *t, const struct ref *old, uint64_t from, uint64_t to,
		      uint32_t count)
{
	struct ref left = *old, right = *old,
		   new = { .start = from, .len = to - from, .count = count };
	int err = 0;

	left.len = from - left.start;
	right.start = to;
	right.len = ref_end(old) - to;
	if (old->count >= 2)
		err = left.len ? put_ref(t, &left) : del_ref(t, old->start);
	if (!err && old->count >= 2 && right.len)
		err = put_ref(t, &right);
	if (!err && count >= 2)
		err = put_joined(t, &new);
	return err;
}

int refs_add(struct tfs_trans *t, uint64_t start, uint64_t n)
{
	uint64_t end = start + n;

	while (start < end) {
		struct ref r;
		int err = ref_at(t, start, end - start, &r);
		uint64_t to;

		if (err)
			return err;
		if (r.count == UINT32_MAX)
			return -EMLINK;
		to = min_t(uint64_t, ref_end(&r), end);
		err = ref_change(t, &r, start, to, r.count + 1);
		if (err)
			return err;
		start = to;
	}
	return 0;
}

int refs_drop(struct tfs_trans *t, uint64_t start, uint64_t n)
{
	uint64_t end = start + n;

	while (start < end) {
		struct ref r;
		int err = ref_at(t, start, end - start, &r);
		uint64_t to;

		if (err)
			return err;
		to = min_t(uint64_t, ref_end(&r), end);
		if (r.count >= 2) {
			err = ref_change(t, &r, start, to, r.count - 1);
		} else {
			err = alloc_free(t, start, to - start);
			if (!err)
				t->fs->cnt.data_blocks -= to - start;
		}
		if (err)
			return err;
		start = to;
	}
	return 0;
}

uint64_t refs_credits(struct tfs_fs *fs, unsigned int n)
{
	/* each in a leaf of its own; a split on two levels */
	return atomic_load(&fs->refs_used) ? (uint64_t)(n + 3) * fs->geom.node_size : 0;
}
