/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Buffers in sections: had, changed and freed.
 *
 * Images.  b->image changes only under meta_lock exclusive, and so does the number
 * of references that an image gains (freezing).  References go away at any time, when
 * the journal is done with one.  So "one reference" under meta_lock exclusive means
 * the image is ours to write, and more than one means copy.
 */
#include <errno.h>
#include <string.h>
#include "core/lib/list.h"
#include "core/lib/util.h"
#include "fs/disk/geom.h"
#include "fs/journal/buffer.h"
#include "fs/journal/buffer_read.h"
#include "fs/journal/bufcache.h"
#include "fs/journal/image.h"
#include "fs/journal/journal_priv.h"
#include "fs/journal/trans.h"
#include "fs/state/error.h"
#include "fs/state/fs.h"
#include "tallyfs/format.h"

#define RANGE_GAP 32 /* bytes: nearer ranges are cheaper as one record */

uint32_t buf_kind_bytes(const struct tfs_geom *g, enum tfs_buf_kind kind)
{
	switch (kind) {
	case BUF_SUPER:
		return TFS_SUPER_BYTES;
	case BUF_GROUP:
		return TFS_GROUP_BYTES;
	case BUF_NODE:
		return g->node_size;
	case BUF_BITMAP:
	case BUF_TUPLE:
		break;
	}
	return g->block_size;
}

const char *buf_kind_name(enum tfs_buf_kind kind)
{
	static const char *const names[] = { "superblock", "group header", "bitmap", "tuple block",
					     "tree node" };

	return names[kind];
}

/* ---- references ---- */

struct tfs_buf *buf_hold(struct tfs_buf *b)
{
	atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
	return b;
}

static void buf_destroy(struct tfs_buf *b)
{
	assert(!b->hashed && !b->dirty && !b->frozen && !b->committed && !b->pins[0] &&
	       !b->pins[1]);
	image_put(b->image);
	tl_free(b);
}

void buf_put(struct tfs_buf *b)
{
	if (b && atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) == 1)
		buf_destroy(b);
}

struct tfs_buf *buf_alloc(struct tfs_fs *fs, uint64_t block, enum tfs_buf_kind kind)
{
	struct tfs_buf *b = tl_zalloc(sizeof(*b));

	if (!b)
		return NULL;
	b->block = block;
	b->kind = kind;
	b->bytes = buf_kind_bytes(&fs->geom, kind);
	b->cache = fs->bufs;
	b->image = image_alloc(fs->bufs->segs, b->bytes);
	if (!b->image) {
		tl_free(b);
		return NULL;
	}
	atomic_init(&b->refs, 1);
	atomic_init(&b->hot, true);
	INIT_LIST_HEAD(&b->lru);
	INIT_LIST_HEAD(&b->tx_list);
	INIT_LIST_HEAD(&b->commit_list);
	INIT_LIST_HEAD(&b->ckpt_list);
	return b;
}

/* ---- what sections call ---- */

int buf_get(struct tfs_trans *t, uint64_t block, enum tfs_buf_kind kind, struct tfs_buf **out)
{
	struct tfs_bufcache *c = t->fs->bufs;
	struct tfs_buf *b;
	int err;

	assert(t->active);
	err = bufcache_lookup(c, block, kind, &b);
	if (err)
		return tfs_handle_fs_error(
			t->fs, err, "block %llu is referred to as a %s but is something else",
			(unsigned long long)block, buf_kind_name(kind));
	if (b) {
		atomic_store_explicit(&b->hot, true, memory_order_relaxed);
		atomic_fetch_add_explicit(&c->hits, 1, memory_order_relaxed);
		err = t->write ? buf_back(t->fs, b) : 0;
		if (err)
			buf_put(b);
		else
			*out = b;
		return err;
	}
	atomic_fetch_add_explicit(&c->misses, 1, memory_order_relaxed);
	if (t->modified || t->sync) {
		err = buf_load_locked(t, block, kind, out);
		if (!err && t->write && (err = buf_back(t->fs, *out)))
			buf_put(*out);
		return err;
	}
	t->missed = true;
	t->miss_block = block;
	t->miss_kind = kind;
	return -TRANS_RESTART;
}

int buf_new(struct tfs_trans *t, uint64_t block, enum tfs_buf_kind kind, struct tfs_buf **out)
{
	enum tfs_buf_kind used_as;
	struct tfs_buf *b;
	int err;

	assert(t->active && t->write);
	if (!buf_place_ok(&t->fs->geom, block, kind))
		return tfs_handle_fs_error(t->fs, -EUCLEAN,
					   "block %llu was allocated as a %s, but can't be one",
					   (unsigned long long)block, buf_kind_name(kind));
	b = buf_alloc(t->fs, block, kind);
	if (!b)
		return -ENOMEM;
	memset(buf_data(b), 0, b->bytes);
	used_as = kind;
	err = bufcache_replace(b, &used_as);
	if (err)
		tfs_handle_fs_error(t->fs, err, "block %llu was allocated, but is in use as a %s",
				    (unsigned long long)block, buf_kind_name(used_as));
	else
		err = buf_modify(t, b);
	if (err) {
		bufcache_remove(b);
		buf_put(b);
		return err;
	}
	b->whole = true;
	*out = b;
	return 0;
}

/*
 * What freezing @b at commit will change must be in memory then, for nobody reads
 * under the exclusive lock: a node's tuple block and group header, a
 * tuple block's or bitmap's group header.
 */
static int pin_vouchers(struct tfs_trans *t, struct tfs_buf *b)
{
	const struct tfs_geom *g = &t->fs->geom;
	uint64_t header = tfs_group_header_block(g, tfs_group_of(g, b->block));
	struct tfs_buf *group = NULL, *tuples = NULL;
	unsigned int slot;
	int err;

	if (b->kind == BUF_SUPER || b->kind == BUF_GROUP)
		return 0;
	err = buf_get(t, header, BUF_GROUP, &group);
	if (err)
		return err;
	if (b->kind == BUF_NODE) {
		err = buf_get(t, tfs_tuple_block_of(g, b->block, &slot), BUF_TUPLE, &tuples);
		if (err) {
			buf_put(group);
			return err;
		}
	}
	b->pins[0] = group;
	b->pins[1] = tuples;
	return 0;
}

void buf_unpin(struct tfs_buf *b)
{
	buf_put(b->pins[0]);
	buf_put(b->pins[1]);
	b->pins[0] = b->pins[1] = NULL;
}

static int unshare_image(struct tfs_buf *b)
{
	struct tfs_image *own;

	if (atomic_load_explicit(&b->image->refs, memory_order_acquire) == 1)
		return 0;
	own = image_alloc(b->cache->segs, b->bytes);
	if (!own)
		return -ENOMEM;
	memcpy(own->data, b->image->data, b->bytes);
	image_put(b->image);
	b->image = own;
	return 0;
}

int buf_modify(struct tfs_trans *t, struct tfs_buf *b)
{
	int err;

	assert(t->active && t->write && b->hashed);
	if (!b->dirty) {
		err = pin_vouchers(t, b);
		if (err)
			return err;
		err = unshare_image(b);
		if (err) {
			buf_unpin(b);
			return err;
		}
		b->dirty = true;
		b->whole = false;
		b->nr_ranges = 0;
		journal_join(t->fs->journal, b);
	}
	assert(atomic_load_explicit(&b->image->refs, memory_order_relaxed) == 1);
	t->modified = true;
	return 0;
}

void buf_log(struct tfs_trans *t, struct tfs_buf *b, uint32_t off, uint32_t len)
{
	uint32_t end = (uint32_t)round_up_to((uint64_t)off + len, 8), rend;
	unsigned int i, n = 0;

	assert(t->write && b->dirty && off <= b->bytes && len <= b->bytes - off);
	if (b->whole || !len)
		return;
	off &= ~7u;
	/* swallow what touches it; what stays moves up */
	for (i = 0; i < b->nr_ranges; i++) {
		rend = b->ranges[i].off + b->ranges[i].len;
		if (off <= rend + RANGE_GAP && b->ranges[i].off <= end + RANGE_GAP) {
			off = min_t(uint32_t, off, b->ranges[i].off);
			end = max_t(uint32_t, end, rend);
		} else {
			b->ranges[n++] = b->ranges[i];
		}
	}
	b->nr_ranges = n;
	if (n == BUF_MAX_RANGES || (off == 0 && end == b->bytes)) {
		b->whole = true;
		b->nr_ranges = 0;
		return;
	}
	b->ranges[b->nr_ranges++] = (struct tfs_buf_range){ .off = off, .len = end - off };
}

void buf_free(struct tfs_trans *t, struct tfs_buf *b)
{
	assert(t->active && t->write && b->kind == BUF_NODE && b->hashed);
	if (b->dirty) {
		b->dirty = false;
		buf_unpin(b);
	}
	journal_revoke(t->fs->journal, b);
	bufcache_remove(b);
	t->modified = true;
	buf_put(b);
}
