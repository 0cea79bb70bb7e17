/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * In-memory inodes and the cache that bounds them.
 *
 * Locks:
 *   inode->lock   content of a regular file: shared to read it, exclusive to write, truncate,
 *                 punch (inode_lock.c).  Outermost; who needs two (fs/vfs/reflink.c) takes the
 *                 lower inode number first.  Completion workers never take it.
 *   meta_lock     (fs/state/fs.h) every change of the name space and of what is on disk.  A
 *                 namespace operation looks and changes in one write section, so it is alone and
 *                 atomic: directories need no lock of their own, and rename no order of locks.
 *   attr_lock     the decoded attributes; innermost, held for a few instructions.  On-disk
 *                 attributes change under meta_lock (exclusive) and attr_lock; times of cached
 *                 writes under attr_lock alone.
 *   icache->lock  hash, reference counts, lists, lookup counts; a leaf.
 */
#ifndef FS_INODE_H
#define FS_INODE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <time.h>

#include "core/iomap/iomap.h"
#include "core/lib/list.h"
#include "core/lib/workqueue.h"
#include "core/pagecache/pagecache.h"
#include "fs/journal/trans.h"
#include "fs/state/fs.h"

struct tfs_iattr {
	uint32_t mode, uid, gid, nlink;
	uint32_t flags; /* TFS_INODE_* */
	uint32_t xattr_value_id;
	uint64_t entries; /* directory: names in it */
	uint64_t blocks;  /* referenced by extents */
	uint64_t generation;
	dev_t rdev;
	struct timespec atime, mtime, ctime, btime;
};

enum {
	INODE_FREEING = 1 << 0, /* icache lock: leaving memory; wait for it */
	INODE_REAPING = 1 << 1, /* icache lock: unlinked and being removed for good */
	INODE_HASHED = 1 << 2,	/* icache lock */
	INODE_DYING = 1 << 3,	/* icache lock: see space_dying() */
};

struct tfs_inode {
	struct tfs_fs *fs;
	uint64_t ino;
	uint32_t fmt; /* S_IFMT part of the mode: never changes */
	/* icache lock */
	unsigned int refs, opens, state;
	struct tfs_inode *hash_next;
	struct list_head lru;	/* unused, or waiting for the reaper */
	struct list_head dirty; /* item on disk lags behind */
	atomic_bool unlinked;	/* nlink is 0 */
	atomic_bool no_caps; /* known to have no security.capability; set in a section, cleared in a
				write section */
	atomic_bool no_default_acl; /* known to have none; cleared and set under meta_lock
				       (exclusive) */

	pthread_rwlock_t lock; /* by way of inode_lock() and the like */
	pthread_mutex_t turn;
	atomic_uint writers, io_readers;
	pthread_mutex_t attr_lock;
	struct tfs_iattr a;	  /* attr_lock */
	struct list_head wb_eofs; /* attr_lock: see wb_eof.h */
	atomic_bool stale;	  /* attributes have changed since the item was written */
	atomic_ullong d_size;	  /* bytes: size in the tree; changes under meta_lock */
	atomic_ullong map_seq;	  /* raised under meta_lock by every change of a mapping */
	atomic_ullong txid;	  /* last transaction that changed the inode */
	atomic_ullong data_txid;  /* ... its size or mapping */
	atomic_ullong hint_fblk,
		hint_block;    /* where the last allocation ended: file block, device block */
	struct list_head gaps; /* inode lock: of an append-only file, see append.c */
	unsigned int nr_gaps;  /* inode lock */
	/* truncation under way: set under the inode lock, cleared by the section that performs
	 * it */
	bool gives_back; /* the inode lock's holder removes data: its zeroing may take from the pool
			  */
	atomic_bool trunc_pending; /* content behind @trunc_size is still on disk */
	atomic_bool
		intent; /* an intent item is on disk: extents behind @trunc_size wait for removal */
	uint64_t trunc_size;	      /* bytes; stable while either is set */
	struct address_space mapping; /* regular files only */
};

/* Numbers of lookups the front end holds, by inode number: open addressing, 16 bytes a slot. */
struct tfs_lookups {
	struct {
		uint64_t ino, count;
	} * slots;
	uint64_t nr_slots, used;
};

struct tfs_icache {
	struct tfs_fs *fs;
	pthread_mutex_t flush_lock; /* icache_flush(): one at a time.  Outside of everything */
	pthread_mutex_t lock;
	pthread_cond_t cond; /* an inode has left */
	struct tfs_inode **hash;
	uint64_t hash_size, nr_inodes, limit;
	struct tfs_lookups lookups;
	struct list_head lru, dirty, reap;
	struct workqueue *reaper; /* NULL: the caller reaps */
	struct work reap_work;
	bool reap_queued;
	bool runtime; /* vfs_start_threads has started block layer and completion workers */
	struct iomap_writeback_ops wb_ops; /* ioends point to it */
	struct bio_set *wb_bios;	   /* writeback gets on without memory */
	uint64_t evicted, reaped;
};
int icache_create(struct tfs_fs *fs);

/* Every inode must be unused.  Cached pages go; nothing is written. */
void icache_destroy(struct tfs_fs *fs);
int icache_start(struct tfs_fs *fs); /* reaper thread */
void icache_stop(struct tfs_fs *fs);

/* @n more (or fewer) opens of a file. */
void inode_opened(struct tfs_inode *i, int n);
/* The last name has gone, or a first one come back. */
void inode_set_unlinked(struct tfs_inode *i, bool unlinked);

/* The front end is gone, and its lookups with it. */
void icache_forget_all(struct tfs_fs *fs);

/* Evict unused inodes above the bound.  No lock held. */
void icache_trim(struct tfs_fs *fs);

/* The next inode to be removed for good: no longer to be found.  NULL: none. */
struct tfs_inode *icache_take_dead(struct tfs_fs *fs);
void icache_drop_dead(struct tfs_inode *i);

/* Any inode, referenced, after @prev (which is put); NULL at the end.  For unmount: the set must
 * not change. */
struct tfs_inode *icache_next(struct tfs_fs *fs, struct tfs_inode *prev);

/* Referenced.  Loads it when it is not in memory; no lock held.  -ESTALE: no such inode. */
int inode_get(struct tfs_fs *fs, uint64_t ino, struct tfs_inode **out);

/* One more reference on an inode that is surely alive. */
void inode_hold(struct tfs_inode *i);
bool inode_tryhold(struct tfs_inode *i); /* false if it is on its way out */
void inode_put(struct tfs_inode *i);

/* A new one, in no cache yet: for creation. */
struct tfs_inode *inode_alloc(struct tfs_fs *fs);
void inode_free(struct tfs_inode *i); /* never inserted */

/* Give it its number and make it visible (inside the section that creates it). */
void inode_insert(struct tfs_inode *i, uint64_t ino);

/* Lookup counts.  -ENOMEM. */
int lookup_ref(struct tfs_fs *fs, uint64_t ino, uint64_t n);
void lookup_unref(struct tfs_fs *fs, uint64_t ino, uint64_t n);

/* Room for one more, so that lookup_ref can't fail next. */
int lookup_prepare(struct tfs_fs *fs);

static inline bool inode_is_dir(const struct tfs_inode *i)
{
	return S_ISDIR(i->fmt);
}

static inline bool inode_is_reg(const struct tfs_inode *i)
{
	return S_ISREG(i->fmt);
}

/* The mapping of the inode has changed in the running transaction. */
static inline void inode_mapping_changed(struct tfs_trans *t, struct tfs_inode *i)
{
	atomic_fetch_add(&i->map_seq, 1);
	atomic_store(&i->txid, t->txid);
	atomic_store(&i->data_txid, t->txid);
}

/* After an operation that may have left something: hands it to the reaper or does it.  No lock
 * held. */
void reap_kick(struct tfs_fs *fs);

/* From a worker that may not wait for writeback: hands it to the reaper, or leaves it to the next
 * operation. */
void reap_kick_async(struct tfs_fs *fs);

#endif
