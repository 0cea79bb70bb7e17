/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * In-memory inodes and the cache that bounds them.
 *
 * Locks:
 *   inode->lock   content of a regular file: shared to read it, exclusive to write, truncate, punch (inode_lock.c).
 *                 Outermost; who needs two (fs/vfs/reflink.c) takes the lower inode number first.  Completion
 *                 workers never take it.
 *   meta_lock     (fs/state/fs.h) every change of the name space and of what is on disk.  A namespace
 *                 operation looks and changes in one write section, so it is alone and atomic: directories need
 *                 no lock of their own, and rename no order of locks.
 *   attr_lock     the decoded attributes; innermost, held for a few instructions.  On-disk attributes change
 *                 under meta_lock (exclusive) and attr_lock; times of cached writes under attr_lock alone.
 *   icache->lock  hash, reference counts, lists, lookup counts; a leaf.
 */
#ifndef FS_INODE_H
#define FS_INODE_H

#include "core/lib/workqueue.h"
#include "fs/names/names.h"
#include "fs/vfs/vfs.h"

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

/*
 * The size of the file when its EOF block was taken for writeback: the bytes
 * behind it are zero in that copy, so the size on disk may not pass it by this copy's
 * completion.
 */
struct tfs_wb_eof {
	struct list_head link;
	uint64_t fblk; /* file block */
	uint64_t size; /* bytes */
	bool trunc;    /* the completion performs the pending truncation */
};

enum {
	INODE_FREEING = 1 << 0, /* icache lock: leaving memory; wait for it */
	INODE_REAPING = 1 << 1, /* icache lock: unlinked and being removed for good */
	INODE_HASHED = 1 << 2,	/* icache lock */
};

struct tfs_inode {
	struct tfs_fs *fs;
	uint64_t ino;
	uint32_t fmt; /* S_IFMT part of the mode: never changes */
	/* icache lock */
	unsigned int refs, state;
	struct tfs_inode *hash_next;
	struct list_head lru;	/* unused, or waiting for the reaper */
	struct list_head dirty; /* item on disk lags behind */
	atomic_bool unlinked;	/* nlink is 0 */
	atomic_bool no_caps;	/* known to have no security.capability; set in a section, cleared in a write section */
	atomic_bool no_default_acl; /* known to have none; cleared and set under meta_lock (exclusive) */

	pthread_rwlock_t lock; /* by way of inode_lock() and the like */
	pthread_mutex_t turn;
	atomic_uint writers, io_readers;
	pthread_mutex_t attr_lock;
	struct tfs_iattr a;		     /* attr_lock */
	struct list_head wb_eofs;	     /* attr_lock */
	atomic_bool stale;		     /* attributes have changed since the item was written */
	atomic_ullong d_size;		     /* bytes: size in the tree; changes under meta_lock */
	atomic_ullong map_seq;		     /* raised under meta_lock by every change of a mapping */
	atomic_ullong txid;		     /* last transaction that changed the inode */
	atomic_ullong data_txid;	     /* ... its size or mapping */
	atomic_ullong hint_fblk, hint_block; /* where the last allocation ended: file block, device block */
	struct list_head gaps;		     /* inode lock: of an append-only file, see append.c */
	unsigned int nr_gaps;		     /* inode lock */
	/* truncation under way: set under the inode lock, cleared by the section that performs it */
	bool gives_back;	      /* the inode lock's holder removes data: its zeroing may take from the pool */
	atomic_bool trunc_pending;    /* content behind @trunc_size is still on disk */
	atomic_bool intent;	      /* an intent item is on disk: extents behind @trunc_size wait for removal */
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
	bool runtime;			   /* vfs_start_threads has started block layer and completion workers */
	struct iomap_writeback_ops wb_ops; /* ioends point to it */
	struct bio_set *wb_bios;	   /* writeback gets on without memory */
	uint64_t evicted, reaped;
};

int icache_create(struct tfs_fs *fs);
/* Every inode must be unused.  Cached pages go; nothing is written. */
void icache_destroy(struct tfs_fs *fs);
int icache_start(struct tfs_fs *fs); /* reaper thread */
void icache_stop(struct tfs_fs *fs);
/* The front end is gone, and its lookups with it. */
void icache_forget_all(struct tfs_fs *fs);
/* Evict unused inodes above the bound.  No lock held. */
void icache_trim(struct tfs_fs *fs);
/* Write the items of all dirty inodes.  First error. */
int icache_flush(struct tfs_fs *fs);
/* How many there are. */
uint64_t icache_nr_dirty(struct tfs_fs *fs);
/* The next inode to be removed for good: no longer to be found.  NULL: none. */
struct tfs_inode *icache_take_dead(struct tfs_fs *fs);
void icache_drop_dead(struct tfs_inode *i);
/* Any inode, referenced, after @prev (which is put); NULL at the end.  For unmount: the set must not change. */
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

/* ---- fs/inode/inode_lock.c ---- */
/* inode->lock, exclusive. */
void inode_lock(struct tfs_inode *i);
void inode_unlock(struct tfs_inode *i);
/* Shared; @io: what follows may wait for the device (or for anything but memory and processor).  The same for both. */
void inode_lock_shared(struct tfs_inode *i, bool io);
void inode_unlock_shared(struct tfs_inode *i, bool io);

/* Lookup counts.  -ENOMEM. */
int lookup_ref(struct tfs_fs *fs, uint64_t ino, uint64_t n);
void lookup_unref(struct tfs_fs *fs, uint64_t ino, uint64_t n);
/* Room for one more, so that lookup_ref can't fail next. */
int lookup_prepare(struct tfs_fs *fs);

/* ---- the item ---- */
int inode_prefault(struct tfs_trans *t, uint64_t ino);
/* Write the item as memory has it.  Write section. */
int inode_write(struct tfs_trans *t, struct tfs_inode *i);
void inode_item_of(struct tfs_inode *i, struct tfs_inode_item *it);
/* The item on disk lags behind (times, size without data). */
void inode_mark_dirty(struct tfs_inode *i);
/*
 * Persist what mark_dirty spoke of, in a section of its own, if no transaction has since. @size_only: times may wait.
 * @written: bytes, of a regular file; all that was dirty below it, when the file was already so long, is in the tree.
 * So it may be that long there too, whatever has become dirty since: that is not there yet, as with any write.
 */
int inode_flush(struct tfs_inode *i, bool size_only, uint64_t written);
/* All that was written to the regular file @i so far comes into the tree, with the size that it gave the file. */
int inode_settle(struct tfs_inode *i);
void inode_attr(struct tfs_inode *i, struct vfs_attr *attr);
struct timespec tfs_now(void);
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

/* ---- fs/inode/reap.c ---- */
/* Remove what is waiting (unlinked and unused).  No lock held. */
void reap_run(struct tfs_fs *fs);
/* At mount: finish truncations and removals that a crash cut short. */
int reap_mount(struct tfs_fs *fs);
/* After an operation that may have left something: hands it to the reaper or does it.  No lock held. */
void reap_kick(struct tfs_fs *fs);
/* From a worker that may not wait for writeback: hands it to the reaper, or leaves it to the next operation. */
void reap_kick_async(struct tfs_fs *fs);

/* ---- fs/inode/truncate.c ---- */
/* Change the size.  Inode lock held exclusively. */
int inode_set_size(struct tfs_inode *i, uint64_t size);
/* An earlier truncation failed half way: finish it.  Inode lock held exclusively. */
int inode_finish_truncate(struct tfs_inode *i);
/*
 * The part of a truncation that commits at once: size, inline data, and
 * the extents behind; an intent stands for those beyond @TRUNC_EXTENTS.  look before any
 * change, apply after.
 */
#define TRUNC_EXTENTS 16u
int truncate_look(struct tfs_trans *t, struct tfs_inode *i, uint64_t size);
int truncate_apply(struct tfs_trans *t, struct tfs_inode *i, uint64_t size);
uint64_t truncate_credits(struct tfs_fs *fs);
/* Remove all extents from file block @from on, in as many sections as it takes. */
int inode_remove_extents(struct tfs_inode *i, uint64_t from, uint64_t to);
/* Finish and remove the intent of an inode. */
int inode_finish_intent(struct tfs_inode *i, uint64_t from);

/* ---- fs/vfs/file.c ---- */
/* An open file, in memory the caller has (tl_alloc); takes a reference on @i. */
void file_init(struct vfs_file *f, struct tfs_inode *i, int flags);

/* ---- fs/vfs/attr.c ---- */
/*
 * Clear set-id bits and file capabilities in memory and on disk, if there are any; *killed is set if there were, and
 * stays as it is if not.  No section.
 */
int inode_kill_priv(struct tfs_inode *i, bool *killed);
void attr_kill_suid(struct tfs_iattr *a);

/* ---- fs/vfs/flags.c: the inode lock (content) held, or in a section (names, attributes) ---- */
unsigned int inode_flags(struct tfs_inode *i); /* VFS_FLAG_*; any lock */
/* Append to it (a directory: a name comes); change anything else of it; take a name of @i from @dir.  0 or -EPERM. */
int inode_may_grow(struct tfs_inode *i);
int inode_may_change(struct tfs_inode *i);
int dir_may_remove(struct tfs_inode *dir, struct tfs_inode *i);

/* ---- fs/inode/append.c: inode lock held exclusively ---- */
/* A write from the kernel's cache to an append-only file.  Bytes; -EPERM: it would have changed what is there. */
int64_t append_write(struct tfs_inode *i, uint64_t pos, const struct iomap_src *src);
/* [from, to) becomes part of the file before anything has come for it. */
int append_gap(struct tfs_inode *i, uint64_t from, uint64_t to);
void append_forget(struct tfs_inode *i);

/* ---- fs/inode/iomap_ops.c, fs/inode/writeback.c ---- */
extern const struct iomap_ops tfs_iomap_ops;
extern const struct address_space_ops tfs_aops;
void writeback_init(struct tfs_fs *fs, struct iomap_writeback_ops *ops);

/* ---- fs/inode/damage.c ---- */
int damage_create(struct tfs_fs *fs);
void damage_destroy(struct tfs_fs *fs);
int damage_start(struct tfs_fs *fs);
void damage_stop(struct tfs_fs *fs);
/* Remember a mismatch; any lock may be held.  Logged and written by damage_run. */
void damage_record(struct tfs_fs *fs, uint64_t ino, uint64_t pos, uint64_t block, uint64_t expected, uint64_t found);
/* Work on what was recorded (no thread for it: callers of reads do). No lock held. */
void damage_run(struct tfs_fs *fs);
bool damage_pending(struct tfs_fs *fs);
/* Dirty data of @i is about to be dropped for good: flag and damage item. */
int damage_lost(struct tfs_inode *i);
void damage_get_stats(struct tfs_fs *fs, uint64_t *recorded, uint64_t *dropped);

#endif
