/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The cache of inodes: who is in memory, and who holds it. */
#ifndef FS_INODE_ICACHE_H
#define FS_INODE_ICACHE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include "core/iomap/iomap.h"
#include "core/lib/list.h"
#include "core/lib/workqueue.h"
#include "fs/inode/inode.h"
#include "fs/inode/lookup_table.h"
#include "fs/state/fs.h"

struct tfs_icache {
	struct tfs_fs *fs;
	pthread_mutex_t flush_lock; /* icache_flush(): one at a time.  Outside of everything */
	pthread_mutex_t lock;
	pthread_cond_t cond; /* an inode has left */
	struct tfs_inode **hash;
	uint64_t hash_size, nr_inodes, limit;
	struct lookup_table lookups; /* see lookup_count.h */
	struct list_head lru, dirty; /* unused; item on disk lags behind */
	struct list_head reap;	     /* unlinked and unused: see reap.c */
	struct workqueue *reaper;    /* NULL: the caller reaps */
	struct work reap_work;
	bool reap_queued;
	bool runtime; /* vfs_start_threads has started block layer and completion workers */
	const struct address_space_ops *aops;
	struct iomap_writeback_ops wb_ops; /* ioends point to it */
	struct bio_set *wb_bios;	   /* writeback gets on without memory */
	uint64_t evicted, reaped;
};

/* @aops, @wb_ops: what the page cache and writeback call for its inodes.  @aops must stay. */
int icache_create(struct tfs_fs *fs, const struct address_space_ops *aops,
		  const struct iomap_writeback_ops *wb_ops);

/* Every inode must be unused.  Cached pages go; nothing is written. */
void icache_destroy(struct tfs_fs *fs);

/* Any inode, referenced, after @prev (which is put); NULL at the end.  For unmount: the set must
 * not change. */
struct tfs_inode *icache_next(struct tfs_fs *fs, struct tfs_inode *prev);

/* One more reference on an inode that is surely alive. */
void inode_hold(struct tfs_inode *i);
bool inode_tryhold(struct tfs_inode *i); /* false if it is on its way out */
void inode_put(struct tfs_inode *i);

/* Give a new one its number and make it visible (inside the section that creates it). */
void inode_insert(struct tfs_inode *i, uint64_t ino);

#endif
