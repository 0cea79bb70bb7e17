/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The buffer cache: hash, eviction, placeholders of what is being read. */
#include <errno.h>
#include <string.h>
#include "core/block/seg.h"
#include "core/lib/list.h"
#include "core/lib/util.h"
#include "core/lib/workqueue.h"
#include "fs/journal/bufcache.h"
#include "fs/journal/buffer.h"
#include "fs/journal/journal_priv.h"
#include "fs/state/fs.h"

#define EVICT_SCAN 128 /* buffers looked at per insertion: bounds the time under the lock */

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

/* ---- finding, entering, leaving ---- */

int bufcache_lookup(struct tfs_bufcache *c, uint64_t block, enum tfs_buf_kind kind,
		    struct tfs_buf **out)
{
	struct tfs_buf *b;
	int err = 0;

	pthread_mutex_lock(&c->lock);
	b = hash_find(c, block);
	if (!b || b->loading)
		b = NULL;
	else if (b->kind != kind)
		err = -EUCLEAN;
	else
		buf_hold(b);
	pthread_mutex_unlock(&c->lock);
	*out = err ? NULL : b;
	return err;
}

bool bufcache_has(struct tfs_bufcache *c, uint64_t block)
{
	bool has;

	pthread_mutex_lock(&c->lock);
	has = hash_find(c, block);
	pthread_mutex_unlock(&c->lock);
	return has;
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

/*
 * References are held under meta_lock, by transactions and by the checkpoint, so with meta_lock
 * exclusive one more than the hash's means "in use".
 */
int bufcache_replace(struct tfs_buf *fresh, enum tfs_buf_kind *used_as)
{
	struct tfs_bufcache *c = fresh->cache;
	struct tfs_buf *old;
	int err = 0;

	pthread_mutex_lock(&c->lock);
	old = hash_find(c, fresh->block);
	if (old && !old->loading && atomic_load_explicit(&old->refs, memory_order_acquire) != 1) {
		err = -EUCLEAN;
		*used_as = old->kind;
	} else {
		if (old)
			hash_remove(c, old);
		evict(c, fresh->bytes);
		hash_insert(c, fresh);
	}
	pthread_mutex_unlock(&c->lock);
	return err;
}

void bufcache_remove(struct tfs_buf *b)
{
	struct tfs_bufcache *c = b->cache;

	pthread_mutex_lock(&c->lock);
	if (b->hashed)
		hash_remove(c, b);
	pthread_mutex_unlock(&c->lock);
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

void bufcache_get_stats(struct tfs_fs *fs, struct tfs_bufcache_stats *st)
{
	struct tfs_bufcache *c = fs->bufs;

	memset(st, 0, sizeof(*st));
	pthread_mutex_lock(&c->lock);
	st->buffers = c->count;
	st->bytes = c->bytes;
	pthread_mutex_unlock(&c->lock);
	st->hits = atomic_load(&c->hits);
	st->misses = atomic_load(&c->misses);
	st->evicted = atomic_load(&c->evicted);
	st->sync_reads = atomic_load(&c->sync_reads);
}
