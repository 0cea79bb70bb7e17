/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The buffer cache: finding, holding, changing and evicting buffers.  Reading
 * them is in buffer_read.c.
 *
 * Life of a buffer.  The hash holds one reference, so a count of one under
 * the cache lock means that nobody else has it or can get it, and eviction may
 * free it.  A buffer that leaves the hash (freed, replaced) dies with its last reference.
 * Dirty buffers are on the running transaction's list, committed ones on the
 * checkpoint's, and both lists hold references: so what is on the device is never
 * older than what a load may see.
 *
 * Images.  b->image changes only under meta_lock exclusive, and so does the number
 * of references that an image gains (freezing).  References go away at any time, when
 * the journal is done with one.  So "one reference" under meta_lock exclusive means
 * the image is ours to write, and more than one means copy.
 */
#include <errno.h>
#include <string.h>
#include "core/block/seg.h"
#include "core/lib/list.h"
#include "core/lib/util.h"
#include "core/lib/workqueue.h"
#include "fs/disk/geom.h"
#include "fs/journal/buffer.h"
#include "fs/journal/buffer_priv.h"
#include "fs/journal/journal_priv.h"
#include "fs/journal/trans.h"
#include "fs/state/error.h"
#include "fs/state/fs.h"
#include "tallyfs/format.h"

#define EVICT_SCAN 128 /* buffers looked at per insertion: bounds the time under the lock */
#define RANGE_GAP 32   /* bytes: nearer ranges are cheaper as one record */

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

/* ---- images ---- */

struct tfs_image *image_alloc(const struct tfs_bufcache *c, uint32_t bytes)
{
	struct tfs_image *img = tl_alloc(sizeof(*img));

	if (!img)
		return NULL;
	img->seg = seg_alloc(c->segs, bytes);
	if (!img->seg) {
		tl_free(img);
		return NULL;
	}
	img->data = img->seg->base;
	img->bytes = bytes;
	atomic_init(&img->refs, 1);
	return img;
}

struct tfs_image *image_get(struct tfs_image *img)
{
	atomic_fetch_add_explicit(&img->refs, 1, memory_order_relaxed);
	return img;
}

void image_put(struct tfs_image *img)
{
	if (!img || atomic_fetch_sub_explicit(&img->refs, 1, memory_order_acq_rel) != 1)
		return;
	seg_put(img->seg);
	tl_free(img);
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

static struct tfs_buf *buf_alloc(struct tfs_fs *fs, uint64_t block, enum tfs_buf_kind kind)
{
	struct tfs_buf *b = tl_zalloc(sizeof(*b));

	if (!b)
		return NULL;
	b->block = block;
	b->kind = kind;
	b->bytes = buf_kind_bytes(&fs->geom, kind);
	b->cache = fs->bufs;
	b->image = image_alloc(fs->bufs, b->bytes);
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

/* ---- the hash; all with the cache lock held ---- */

static struct tfs_buf **hash_slot(struct tfs_bufcache *c, uint64_t block)
{
	return &c->hash[(block * 0x9e3779b97f4a7c15ull) >> (64 - c->hash_bits)];
}

static struct tfs_buf *hash_find(struct tfs_bufcache *c, uint64_t block)
{
	struct tfs_buf *b;

	for (b = *hash_slot(c, block); b && b->block != block; b = b->hash_next)
		;
	return b;
}

static void hash_insert(struct tfs_bufcache *c, struct tfs_buf *b)
{
	struct tfs_buf **slot = hash_slot(c, b->block);

	b->hash_next = *slot;
	*slot = buf_hold(b);
	b->hashed = true;
	list_add_tail(&b->lru, &c->lru);
	c->bytes += b->bytes;
	c->count++;
}

/* The hash's reference goes with it. */
static void hash_remove(struct tfs_bufcache *c, struct tfs_buf *b)
{
	struct tfs_buf **p = hash_slot(c, b->block);

	while (*p != b)
		p = &(*p)->hash_next;
	*p = b->hash_next;
	b->hashed = false;
	list_del_init(&b->lru);
	c->bytes -= b->bytes;
	c->count--;
	buf_put(b);
}

/* Second chance: what was used since the last visit goes to the warm end once more. */
static void evict(struct tfs_bufcache *c, uint32_t bytes)
{
	struct tfs_buf *b;
	unsigned int n;

	for (n = 0; n < EVICT_SCAN && c->bytes + bytes > c->limit && !list_empty(&c->lru); n++) {
		b = list_first_entry(&c->lru, struct tfs_buf, lru);
		if (atomic_load_explicit(&b->refs, memory_order_acquire) != 1 ||
		    atomic_exchange_explicit(&b->hot, false, memory_order_relaxed)) {
			list_move_tail(&b->lru, &c->lru);
			continue;
		}
		hash_remove(c, b);
		atomic_fetch_add_explicit(&c->evicted, 1, memory_order_relaxed);
	}
}

int bufcache_start_load(struct tfs_fs *fs, uint64_t block, enum tfs_buf_kind kind,
			struct tfs_buf **out)
{
	struct tfs_bufcache *c = fs->bufs;
	struct tfs_buf *fresh, *b;
	int ret = 1;

	fresh = buf_alloc(fs, block, kind);
	if (!fresh)
		return -ENOMEM;
	pthread_mutex_lock(&c->lock);
	b = hash_find(c, block);
	if (!b) {
		evict(c, fresh->bytes);
		fresh->loading = true;
		hash_insert(c, fresh);
		*out = fresh;
		fresh = NULL;
	} else if (b->loading) {
		ret = -EBUSY;
	} else if (b->kind != kind) {
		ret = -EUCLEAN;
	} else {
		*out = buf_hold(b);
		ret = 0;
	}
	pthread_mutex_unlock(&c->lock);
	buf_put(fresh);
	return ret;
}

void bufcache_publish(struct tfs_buf *b, int err, bool put)
{
	struct tfs_bufcache *c = b->cache;

	pthread_mutex_lock(&c->lock);
	b->loading = false;
	if (err && b->hashed)
		hash_remove(c, b);
	if (put)
		buf_put(b);
	pthread_cond_broadcast(&c->loaded);
	pthread_mutex_unlock(&c->lock);
}

void bufcache_wait(struct tfs_bufcache *c, uint64_t block)
{
	struct tfs_buf *b;

	pthread_mutex_lock(&c->lock);
	while ((b = hash_find(c, block)) && b->loading)
		pthread_cond_wait(&c->loaded, &c->lock);
	pthread_mutex_unlock(&c->lock);
}

int bufcache_enter(struct tfs_fs *fs, uint64_t block, enum tfs_buf_kind kind, const void *data,
		   struct tfs_buf **out)
{
	int err = bufcache_start_load(fs, block, kind, out);

	if (err != 1)
		return err ? err : -EUCLEAN;
	memcpy(buf_data(*out), data, (*out)->bytes);
	bufcache_publish(*out, 0, false);
	return 0;
}

/* ---- what sections call ---- */

int buf_get(struct tfs_trans *t, uint64_t block, enum tfs_buf_kind kind, struct tfs_buf **out)
{
	struct tfs_bufcache *c = t->fs->bufs;
	struct tfs_buf *b;
	bool other = false;
	int err;

	assert(t->active);
	pthread_mutex_lock(&c->lock);
	b = hash_find(c, block);
	if (b && !b->loading) {
		other = b->kind != kind;
		if (!other)
			buf_hold(b);
	} else {
		b = NULL;
	}
	pthread_mutex_unlock(&c->lock);
	if (other)
		return tfs_fs_error(t->fs, -EUCLEAN,
				    "block %llu is referred to as a %s but is something else",
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

/*
 * References are held under meta_lock, by transactions and by the checkpoint, so
 * with meta_lock exclusive one more than the hash's means "in use".
 *
 * An allocated block is referenced by nothing, so what the cache may hold of
 * it is a leftover that somebody read through a pointer that had gone stale.  If it is in
 * use after all, the bitmap lied.
 */
static int replace_leftover(struct tfs_fs *fs, struct tfs_buf *fresh)
{
	struct tfs_bufcache *c = fs->bufs;
	enum tfs_buf_kind used_as = fresh->kind;
	struct tfs_buf *old;
	int err = 0;

	pthread_mutex_lock(&c->lock);
	old = hash_find(c, fresh->block);
	if (old && !old->loading && atomic_load_explicit(&old->refs, memory_order_acquire) != 1) {
		err = -EUCLEAN;
		used_as = old->kind;
	} else {
		if (old)
			hash_remove(c, old);
		evict(c, fresh->bytes);
		hash_insert(c, fresh);
	}
	pthread_mutex_unlock(&c->lock);
	if (err)
		return tfs_fs_error(fs, err, "block %llu was allocated, but is in use as a %s",
				    (unsigned long long)fresh->block, buf_kind_name(used_as));
	return 0;
}

int buf_new(struct tfs_trans *t, uint64_t block, enum tfs_buf_kind kind, struct tfs_buf **out)
{
	struct tfs_buf *b;
	int err;

	assert(t->active && t->write);
	if (!buf_place_ok(&t->fs->geom, block, kind))
		return tfs_fs_error(t->fs, -EUCLEAN,
				    "block %llu was allocated as a %s, but can't be one",
				    (unsigned long long)block, buf_kind_name(kind));
	b = buf_alloc(t->fs, block, kind);
	if (!b)
		return -ENOMEM;
	memset(buf_data(b), 0, b->bytes);
	err = replace_leftover(t->fs, b);
	if (!err)
		err = buf_modify(t, b);
	if (err) {
		pthread_mutex_lock(&b->cache->lock);
		if (b->hashed)
			hash_remove(b->cache, b);
		pthread_mutex_unlock(&b->cache->lock);
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
	own = image_alloc(b->cache, b->bytes);
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
	struct tfs_bufcache *c = b->cache;

	assert(t->active && t->write && b->kind == BUF_NODE && b->hashed);
	if (b->dirty) {
		b->dirty = false;
		buf_unpin(b);
	}
	journal_revoke(t->fs->journal, b);
	pthread_mutex_lock(&c->lock);
	hash_remove(c, b);
	pthread_mutex_unlock(&c->lock);
	t->modified = true;
	buf_put(b);
}

/* ---- readahead ---- */

#define MAX_QUEUED 64 /* reads waiting for a thread: more is not a hint any more */

struct readahead {
	struct work work;
	struct tfs_fs *fs;
	uint64_t block;
	enum tfs_buf_kind kind;
};

static void readahead_fn(struct work *w)
{
	struct readahead *ra = container_of(w, struct readahead, work);
	struct tfs_bufcache *c = ra->fs->bufs;

	buf_load(ra->fs, ra->block, ra->kind);
	atomic_fetch_sub(&c->queued, 1);
	tl_free(ra);
}

void buf_readahead(struct tfs_fs *fs, const uint64_t *blocks, unsigned int n,
		   enum tfs_buf_kind kind)
{
	struct tfs_bufcache *c = fs->bufs;
	struct readahead *ra;
	unsigned int i;
	bool cached;

	if (!c->readers)
		return;
	for (i = 0; i < n && atomic_load(&c->queued) < MAX_QUEUED; i++) {
		pthread_mutex_lock(&c->lock);
		cached = hash_find(c, blocks[i]);
		pthread_mutex_unlock(&c->lock);
		if (cached || !buf_place_ok(&fs->geom, blocks[i], kind))
			continue;
		ra = tl_alloc(sizeof(*ra));
		if (!ra)
			return;
		work_init(&ra->work, readahead_fn);
		ra->fs = fs;
		ra->block = blocks[i];
		ra->kind = kind;
		atomic_fetch_add(&c->queued, 1);
		queue_work(c->readers, &ra->work);
	}
}

/* ---- the cache as a whole ---- */

int bufcache_create(struct tfs_fs *fs, uint64_t limit)
{
	struct tfs_bufcache *c = tl_zalloc(sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->limit = limit;
	/* about one buffer a slot when full of blocks */
	c->hash_bits = ilog2_u64(min_t(uint64_t, max_t(uint64_t, limit >> 13, 256), 1 << 18));
	c->hash = tl_zalloc(sizeof(*c->hash) << c->hash_bits);
	c->segs = seg_pool_create();
	if (!c->hash || !c->segs) {
		if (c->segs)
			seg_pool_destroy(c->segs);
		tl_free(c->hash);
		tl_free(c);
		return -ENOMEM;
	}
	/* A section that is refused an image half way is the end of its transaction. */
	seg_pool_is_vital(c->segs);
	INIT_LIST_HEAD(&c->lru);
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->loaded, NULL);
	fs->bufs = c;
	return 0;
}

int bufcache_start(struct tfs_fs *fs)
{
	fs->bufs->readers = workqueue_create("tfs-meta-read", 2);
	return fs->bufs->readers ? 0 : -ENOMEM;
}

void bufcache_stop(struct tfs_fs *fs)
{
	if (fs->bufs && fs->bufs->readers)
		workqueue_destroy(fs->bufs->readers);
	if (fs->bufs)
		fs->bufs->readers = NULL;
}

void bufcache_destroy(struct tfs_fs *fs)
{
	struct tfs_bufcache *c = fs->bufs;
	struct tfs_buf *b, *next;

	if (!c)
		return;
	list_for_each_entry_safe(b, next, &c->lru, lru) {
		assert(atomic_load(&b->refs) == 1);
		hash_remove(c, b);
	}
	pthread_mutex_destroy(&c->lock);
	pthread_cond_destroy(&c->loaded);
	seg_pool_destroy(c->segs);
	tl_free(c->hash);
	tl_free(c);
	fs->bufs = NULL;
}

void buf_get_stats(struct tfs_fs *fs, struct tfs_buf_stats *st)
{
	struct tfs_bufcache *c = fs->bufs;

	memset(st, 0, sizeof(*st));
	pthread_mutex_lock(&c->lock);
	st->buffers = c->count;
	st->bytes = c->bytes;
	pthread_mutex_unlock(&c->lock);
	st->dirty_bytes = fs->journal ? journal_pinned_bytes(fs->journal) : 0;
	st->hits = atomic_load(&c->hits);
	st->misses = atomic_load(&c->misses);
	st->evicted = atomic_load(&c->evicted);
	st->sync_reads = atomic_load(&c->sync_reads);
}
