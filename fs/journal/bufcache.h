/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The buffer cache: which metadata blocks are in memory, and which go when it is full.
 *
 * The hash holds one reference, so a count of one under the cache lock means that nobody else has
 * the buffer or can get it, and eviction may free it.  A buffer that leaves the hash (freed,
 * replaced) dies with its last reference.  Dirty buffers are on the running transaction's list,
 * committed ones on the checkpoint's, and both lists hold references: so what is on the device is
 * never older than what a load may see.
 */
#ifndef FS_BUFCACHE_H
#define FS_BUFCACHE_H

#include <pthread.h>
#include <stdatomic.h>
#include "core/lib/list.h"
#include "core/lib/workqueue.h"
#include "fs/journal/buffer.h"
#include "fs/journal/trans.h"
#include "fs/state/fs.h"

struct tfs_bufcache {
	pthread_mutex_t lock;
	pthread_cond_t loaded; /* some placeholder got its content, or failed */
	struct tfs_buf **hash;
	unsigned int hash_bits;
	struct list_head lru; /* every hashed buffer; the coldest first */
	uint64_t bytes, limit, count;
	struct seg_pool *segs; /* memory of images */
	atomic_ullong hits, misses, evicted, sync_reads;
	struct workqueue *readers; /* for buf_readahead; NULL: no threads */
	atomic_uint queued;
};

/* Bytes of memory clean buffers may take.  0 or -ENOMEM. */
int bufcache_create(struct tfs_fs *fs, uint64_t limit);
/* Threads for readahead. */
int bufcache_start(struct tfs_fs *fs);
void bufcache_stop(struct tfs_fs *fs);
/* Nobody holds a buffer any more. */
void bufcache_destroy(struct tfs_fs *fs);

struct tfs_bufcache_stats {
	uint64_t buffers, bytes, hits, misses, evicted, sync_reads;
};
void bufcache_get_stats(struct tfs_fs *fs, struct tfs_bufcache_stats *st);

/*
 * 0: *out is @block, referenced, or NULL if that is not cached (or still being read).  -EUCLEAN: it
 * is cached as another kind.
 */
int bufcache_lookup(struct tfs_bufcache *c, uint64_t block, enum tfs_buf_kind kind,
		    struct tfs_buf **out);
bool bufcache_has(struct tfs_bufcache *c, uint64_t block);
/*
 * Find or make room for @block: 0 *out is cached (referenced); 1 *out is a new placeholder the
 * caller has to fill and publish; -EBUSY somebody else is reading it; -EUCLEAN cached as another
 * kind; -ENOMEM.
 */
int bufcache_start_load(struct tfs_fs *fs, uint64_t block, enum tfs_buf_kind kind,
			struct tfs_buf **out);
/*
 * The placeholder is filled (err 0) or failed: then it goes away.  With @put the caller's
 * reference goes in the same moment, for who holds meta_lock exclusively must find none but those
 * of transactions.
 */
void bufcache_publish(struct tfs_buf *b, int err, bool put);
/* Wait until nobody is reading @block any more. */
void bufcache_wait(struct tfs_bufcache *c, uint64_t block);
/* Enter @data as the verified content of @block (the superblock at mount).  Referenced. */
int bufcache_enter(struct tfs_fs *fs, uint64_t block, enum tfs_buf_kind kind, const void *data,
		   struct tfs_buf **out);

/*
 * Enter @fresh, meta_lock exclusive.  A newly allocated block is referenced by nothing, so what the
 * cache may hold of it is a leftover that somebody read through a pointer that had gone stale; it
 * goes.  -EUCLEAN: it is in use after all, as *used_as, so the bitmap lied.
 */
int bufcache_replace(struct tfs_buf *fresh, enum tfs_buf_kind *used_as);
/* Out of the cache, if it is in. */
void bufcache_remove(struct tfs_buf *b);

#endif
