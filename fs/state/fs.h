/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * struct tfs_fs: one open file system, and the rules of its locks.
 *
 * Lock order, outer to inner:
 *   inode->lock (rw)  ->  folio locks  ->  fs->meta_lock (rw)  ->  alloc lock, buffer cache
 *   lock, journal lock
 *
 * fs->meta_lock guards every metadata structure: tree nodes, bitmaps, tuple
 * blocks, group headers, superblock, and the on-disk part of in-memory inodes.
 * Shared to look, exclusive to change.  A transaction handle *is* the exclusive
 * lock: whoever holds it is the only one who changes metadata, and a commit
 * freezes the running transaction by taking it for a moment.  Nobody does
 * device I/O under it: code that needs a block that is not cached returns
 * -TRANS_RESTART up to its loop (see fs/journal/trans.h), which lets go, reads, and starts over.
 */
#ifndef FS_FS_H
#define FS_FS_H

#include <pthread.h>
#include <stdatomic.h>
#include "core/block/bdev.h"
#include "core/block/integrity.h"
#include "core/lib/log.h"
#include "core/pagecache/pagecache.h"
#include "fs/disk/geom.h"
#include "tallyfs/format.h"

struct tfs_bufcache;
struct tfs_journal;
struct tfs_alloc;
struct tfs_icache;
struct tfs_damage;
struct tfs_overlay;
enum tfs_errors { TFS_ERRORS_REMOUNT_RO, TFS_ERRORS_CONTINUE, TFS_ERRORS_ABORT };

/* Rules broken on purpose, to show that the crash simulator notices.  No program sets them. */
enum {
	TFS_BREAK_COMMIT_FLUSH =
		1 << 0, /* no flush between a transaction's payload and its commit record */
	TFS_BREAK_EARLY_REUSE =
		1 << 1, /* freed blocks are handed out before their transaction is durable */
	TFS_BREAK_HASH =
		1 << 2, /* no rule: names have one of 16 hashes, as if somebody knew the key */
};

struct tfs_mount_opts {
	bool ro;	    /* the device is never written; the journal is replayed into memory */
	bool norecovery;    /* with ro: do not even replay */
	bool whole_journal; /* with ro too: refuse a damaged journal, which would show an older
			     * state than was promised
			     */
	unsigned int super; /* 0: the best superblock; 1: the primary and no other, 2 and 3: the
			       copies */
	bool no_verify;	    /* data reads unverified: measurement only */
	uint64_t cache_size, dirty_size; /* bytes; 0: defaults */
	uint64_t max_inodes;		 /* kept in memory while unused; 0: by the cache's size */
	unsigned int commit_interval;	 /* seconds; 0: default 5 */
	enum tfs_errors errors;
	unsigned int break_rules; /* tests of the tests: TFS_BREAK_* */
	unsigned int claim_maps;  /* tests: kept in memory; 0: AGROUP_MAX_LOADED */
	bool no_threads; /* tests: no periodic commits, no flusher; the caller drives everything */
};

/* The changing numbers of the superblock, as of the running transaction.  Under meta_lock. */
struct tfs_counters {
	uint64_t free_blocks, free_slots, data_blocks, node_blocks, nr_extents, nr_inodes, next_ino,
		groups_init;
	uint64_t shared_extents; /* of nr_extents: those with the flag SHARED */
};

struct tfs_tree_root {
	uint64_t addr; /* 0: none */
	unsigned int level;
};

struct tfs_fs {
	struct bdev *bdev;
	struct blk_integrity integrity; /* for data bios: registered on bdev */
	struct tfs_geom geom;
	struct tfs_super super; /* as read; identity and features.  Changing fields: see below */
	uint64_t seed;
	uint8_t hash_key[16];
	struct tfs_mount_opts opts;

	pthread_rwlock_t meta_lock;
	struct tfs_counters cnt;		  /* meta_lock */
	struct tfs_tree_root roots[TFS_NR_TREES]; /* meta_lock */
	uint64_t dir_moves; /* meta_lock: raised whenever a directory gets another parent */
	bool super_dirty;   /* meta_lock: cnt, roots or state changed in the running transaction */

	struct tfs_overlay *overlay; /* ro: what the log says, over what the device says; or NULL */
	atomic_bool read_only; /* nobody may change anything: mounted ro, or damage was found */
	atomic_int shutdown; /* nothing is written any more: first fatal error (negative errno), 0:
				none */
	void (*broken)(struct tfs_fs *fs); /* the journal is to look: read-only from now on, or shut
					      down.  NULL: no journal */
	atomic_bool host_full; /* the host has refused space for the image (fs/state/backing.h) */
	atomic_bool inconsistent; /* seen damage: TFS_STATE_ERRORS goes to disk with the next
				     superblock */
	atomic_bool refs_used;	  /* blocks are shared, or were once: reference counts may have to
				     change */
	struct log_recent told;	  /* errors */
	atomic_ullong mismatches; /* blocks found not to match, ever (starts from the superblock) */

	struct tfs_bufcache *bufs;
	struct tfs_journal *journal;
	struct tfs_alloc *alloc;
	struct pagecache *pagecache;
	struct tfs_icache *icache;
	struct tfs_damage *damage;
};

static inline uint64_t tfs_block_to_byte(const struct tfs_fs *fs, uint64_t block)
{
	return block << fs->geom.blkbits;
}

#endif
