/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inside of the buffer cache, for buffer*.c and the journal. */
#ifndef FS_BUFFER_PRIV_H
#define FS_BUFFER_PRIV_H

#include "core/lib/list.h"
#include "core/lib/workqueue.h"
#include "fs/disk/geom.h"
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

struct tfs_image *image_alloc(const struct tfs_bufcache *c, uint32_t bytes);
struct tfs_image *image_get(struct tfs_image *img);
void image_put(struct tfs_image *img); /* NULL is fine */

struct tfs_buf *buf_hold(struct tfs_buf *b);

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

/* Can a structure of this kind be at @block at all? */
bool buf_place_ok(const struct tfs_geom *g, uint64_t block, enum tfs_buf_kind kind);
/*
 * Read and verify @block with no lock held; quiet about failures, since what
 * was wanted may have been freed meanwhile.  0 (cached now, or worth another try) or -errno.
 */
int buf_load(struct tfs_fs *fs, uint64_t block, enum tfs_buf_kind kind);
/* The same inside a section, on the spot; failures are real: logged, counted, acted upon. */
int buf_load_locked(struct tfs_trans *t, uint64_t block, enum tfs_buf_kind kind,
		    struct tfs_buf **out);
/* A node that is about to change has its space from the host.  -ENOSPC. */
int buf_back(struct tfs_fs *fs, struct tfs_buf *b);
const char *buf_kind_name(enum tfs_buf_kind kind);

#endif
