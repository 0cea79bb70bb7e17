/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading metadata: what proves a block right, and who reads it when.
 *
 * The *proof* of a block (its tuples, or the vouch in its group header) is copied
 * under meta_lock, together with entering a placeholder into the cache; the device is
 * read after letting go of the lock.  Between the two nobody else can change or write
 * the block: to change it one must have it in the cache, where the placeholder says that it is
 * not there yet; a committed image waiting for its checkpoint would have been in the
 * cache.  The exception is a pointer that had gone stale before the placeholder
 * was entered: the block may be anything, so such a read may fail and means nothing.
 * The section starts over, and if it still wants the block, reads it again under
 * its lock, where no pointer is stale and a failure is real.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "core/block/bdev.h"
#include "core/block/integrity.h"
#include "core/lib/log.h"
#include "core/lib/util.h"
#include "fs/disk/btree_check.h"
#include "fs/disk/geom.h"
#include "fs/disk/group.h"
#include "fs/disk/log_overlay.h"
#include "fs/disk/super.h"
#include "fs/journal/buffer.h"
#include "fs/journal/buffer_read.h"
#include "fs/journal/bufcache.h"
#include "fs/journal/trans.h"
#include "fs/journal/tuple.h"
#include "fs/state/backing.h"
#include "fs/state/error.h"
#include "fs/state/fs.h"
#include "tallyfs/format.h"

bool buf_place_ok(const struct tfs_geom *g, uint64_t block, enum tfs_buf_kind kind)
{
	uint64_t group = tfs_group_of(g, block), first;

	if (block >= g->total_blocks)
		return false;
	switch (kind) {
	case BUF_SUPER:
		return block == g->super_block;
	case BUF_GROUP:
		return block == tfs_group_header_block(g, group);
	case BUF_BITMAP:
		return block == tfs_group_bitmap_block(g, group);
	case BUF_TUPLE:
		first = tfs_group_tuple_block(g, group, 0);
		return block >= first && block - first < tfs_group_nr_tuple_blocks(g, group);
	case BUF_NODE:
		break;
	}
	return (block - tfs_group_start(g, group)) % g->node_blocks == 0 &&
	       !tfs_geom_fixed(g, block, g->node_blocks);
}

/* The group header's word on a tuple block or the bitmap. */
static int get_vouch(struct tfs_trans *t, uint64_t block, enum tfs_buf_kind kind,
		     struct buf_proof *p)
{
	const struct tfs_geom *g = &t->fs->geom;
	uint64_t group = tfs_group_of(g, block);
	const struct tfs_group *h;
	const struct tfs_vouch *v;
	struct tfs_buf *b;
	int err;

	err = buf_get(t, tfs_group_header_block(g, group), BUF_GROUP, &b);
	if (err)
		return err;
	h = buf_data(b);
	v = kind == BUF_BITMAP ? &h->bitmap
			       : &h->tuples[block - tfs_group_tuple_block(g, group, 0)];
	p->fresh = !(le32_get(v->flags) & TFS_VOUCH_WRITTEN);
	p->guard = le64_get(v->guard);
	buf_put(b);
	return 0;
}

int buf_get_proof(struct tfs_trans *t, uint64_t block, enum tfs_buf_kind kind, struct buf_proof *p)
{
	p->fresh = false;
	switch (kind) {
	case BUF_SUPER:
		return 0;
	case BUF_GROUP:
		p->fresh = tfs_group_of(&t->fs->geom, block) >= t->fs->cnt.groups_init;
		return 0;
	case BUF_BITMAP:
	case BUF_TUPLE:
		return get_vouch(t, block, kind, p);
	case BUF_NODE:
		break;
	}
	return tuple_read(t, block, t->fs->geom.node_blocks, p->tuples);
}

static void make_fresh(struct tfs_fs *fs, struct tfs_buf *b)
{
	uint64_t group = tfs_group_of(&fs->geom, b->block);

	if (b->kind == BUF_GROUP)
		group_fresh_header(&fs->geom, fs->seed, group, buf_data(b));
	else if (b->kind == BUF_BITMAP)
		group_fresh_bitmap(&fs->geom, group, buf_data(b));
	else
		memset(buf_data(b), 0, b->bytes);
}

static int read_home(struct tfs_fs *fs, struct tfs_buf *b)
{
	const void *data;
	uint32_t bytes;

	data = fs->overlay ? overlay_lookup(fs->overlay, b->block, &bytes) : NULL;
	if (!data)
		return bdev_read(fs->bdev, buf_data(b), b->bytes, tfs_block_to_byte(fs, b->block));
	if (bytes != b->bytes)
		return -EUCLEAN;
	memcpy(buf_data(b), data, bytes);
	return 0;
}

/* Whatever its guard says, a bitmap that has the fixed structures free would have us overwrite
 * them. */
static int check_bitmap(struct tfs_fs *fs, struct tfs_buf *b, char *why, size_t why_len)
{
	const uint64_t *have = buf_data(b);
	uint64_t *must = tl_alloc(b->bytes);
	unsigned int i;
	int err = 0;

	if (!must)
		return -ENOMEM;
	group_fresh_bitmap(&fs->geom, tfs_group_of(&fs->geom, b->block), must);
	for (i = 0; i < b->bytes / 8 && !err; i++)
		if (must[i] & ~have[i])
			err = -EUCLEAN;
	tl_free(must);
	if (err)
		snprintf(why, why_len, "a fixed structure is marked free");
	return err;
}

static int check_tuples(struct tfs_fs *fs, struct tfs_buf *b, const struct buf_proof *p, char *why,
			size_t why_len)
{
	uint32_t i, n = fs->geom.node_blocks;
	struct tuple16 found[MAX_NODE_TUPLES];

	tuple_make(fs, b->block, n, buf_data(b), TFS_APP_NODE, found);
	for (i = 0; i < n; i++) {
		if (!memcmp(&found[i], &p->tuples[i], sizeof(found[i])))
			continue;
		snprintf(why, why_len,
			 "block %llu does not match its tuple: expected %016llx/%u, found %016llx",
			 (unsigned long long)(b->block + i),
			 (unsigned long long)le64_get(p->tuples[i].guard),
			 le16_get(p->tuples[i].app), (unsigned long long)le64_get(found[i].guard));
		return -EUCLEAN;
	}
	return btree_check_node(&fs->geom, b->block, buf_data(b), why, why_len);
}

static int check(struct tfs_fs *fs, struct tfs_buf *b, const struct buf_proof *p, char *why,
		 size_t why_len)
{
	uint64_t found;

	switch (b->kind) {
	case BUF_SUPER:
		return tfs_super_check(buf_data(b), why, why_len);
	case BUF_GROUP:
		return group_check_header(&fs->geom, fs->seed, tfs_group_of(&fs->geom, b->block),
					  buf_data(b), why, why_len);
	case BUF_BITMAP:
	case BUF_TUPLE:
		found = group_guard(le32_get(fs->super.guard), fs->seed, buf_data(b), b->bytes);
		if (found != p->guard) {
			snprintf(why, why_len,
				 "does not match its group header: expected %016llx, found %016llx",
				 (unsigned long long)p->guard, (unsigned long long)found);
			return -EUCLEAN;
		}
		return b->kind == BUF_BITMAP ? check_bitmap(fs, b, why, why_len) : 0;
	case BUF_NODE:
		break;
	}
	return check_tuples(fs, b, p, why, why_len);
}

/*
 * Who copies an image with holes makes holes inside of tree nodes too.  They get their space before
 * anybody can change them, or are not changed.
 */
static bool back_node(struct tfs_fs *fs, struct tfs_buf *b)
{
	uint64_t at = tfs_block_to_byte(fs, b->block);

	if (b->kind != BUF_NODE || fs->opts.ro || !fs->bdev->thin ||
	    bdev_all_backed(fs->bdev, at, b->bytes))
		return true;
	return bdev_provision(fs->bdev, at, b->bytes) != -ENOSPC;
}

int buf_back(struct tfs_fs *fs, struct tfs_buf *b)
{
	if (!atomic_load_explicit(&b->unbacked, memory_order_relaxed))
		return 0;
	if (!back_node(fs, b)) {
		backing_refused(fs);
		return -ENOSPC;
	}
	atomic_store(&b->unbacked, false);
	return 0;
}

int buf_fill(struct tfs_fs *fs, struct tfs_buf *b, const struct buf_proof *p, bool put, char *why,
	     size_t why_len)
{
	int err = 0;

	if (p->fresh) {
		make_fresh(fs, b);
	} else {
		err = read_home(fs, b);
		if (err)
			snprintf(why, why_len, "can't be read: %s", strerror(-err));
		else
			err = check(fs, b, p, why, why_len);
		if (!err)
			atomic_store(&b->unbacked, !back_node(fs, b));
	}
	bufcache_publish(b, err, put);
	return err;
}

int buf_load_locked(struct tfs_trans *t, uint64_t block, enum tfs_buf_kind kind,
		    struct tfs_buf **out)
{
	struct tfs_fs *fs = t->fs;
	struct tfs_trans sub = *t;
	char why[160] = "";
	struct buf_proof p;
	int err;

	if (!buf_place_ok(&fs->geom, block, kind))
		return tfs_handle_fs_error(
			fs, -EUCLEAN, "a pointer to a %s leads to block %llu, where none can be",
			buf_kind_name(kind), (unsigned long long)block);
	sub.sync = true;
	err = buf_get_proof(&sub, block, kind, &p);
	if (err)
		return err;
	/* Whoever else is reading it needs none of our locks to finish. */
	while ((err = bufcache_start_load(fs, block, kind, out)) == -EBUSY)
		bufcache_wait(fs->bufs, block);
	if (err <= 0)
		return err;
	atomic_fetch_add_explicit(&fs->bufs->sync_reads, 1, memory_order_relaxed);
	err = buf_fill(fs, *out, &p, false, why, sizeof(why));
	if (!err)
		return 0;
	buf_put(*out);
	*out = NULL;
	if (err == -EIO || err == -ENOMEM) {
		log_err("%s at block %llu %s", buf_kind_name(kind), (unsigned long long)block, why);
		return err;
	}
	atomic_fetch_add(&fs->mismatches, 1);
	return tfs_handle_fs_error(fs, -EUCLEAN, "%s at block %llu: %s", buf_kind_name(kind),
				   (unsigned long long)block, why);
}
