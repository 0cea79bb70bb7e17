/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Inodes in memory.
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

#include "core/lib/list.h"
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

/* A stretch of an append-only file that has not come yet, though what follows has: append.c */
struct tfs_gap {
	struct list_head link;
	uint64_t from, to; /* bytes of the file */
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
	atomic_bool removing; /* see inode_begin_removal() */
	bool gives_back; /* the inode lock's holder removes data: its zeroing may take from the pool
			  */
	atomic_bool trunc_pending; /* content behind @trunc_size is still on disk */
	atomic_bool
		intent; /* an intent item is on disk: extents behind @trunc_size wait for removal */
	uint64_t trunc_size;	      /* bytes; stable while either is set */
	struct address_space mapping; /* regular files only */
};

/* A new one, in no cache yet: for creation, and to be loaded. */
struct tfs_inode *inode_alloc(struct tfs_fs *fs);
void inode_forget_gaps(struct tfs_inode *i); /* inode lock, or nobody else has it */
void inode_free(struct tfs_inode *i);	     /* in no cache, and without pages */

/* Of a regular file: before it gets into the cache, and after it has left it. */
void inode_init_mapping(struct tfs_inode *i);
void inode_drop_pages(struct tfs_inode *i);

static inline uint64_t inode_hash(uint64_t ino)
{
	return (ino * 0x9e3779b97f4a7c15ull) >> 17;
}

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

#endif
