/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Space: which blocks are free, who was promised how many, and tuples.
 *
 * Two views of a group's bitmap: the one in the buffer cache is what the running
 * transaction will commit; the *claim map* in memory is what may be handed out: in-use
 * blocks, plus blocks claimed for writeback under way (not yet in any
 * transaction), plus blocks freed by a transaction that is not durable
 * yet (rule 3).  Allocation only ever looks at the claim map.
 */
#ifndef FS_ALLOC_H
#define FS_ALLOC_H

#include "core/block/integrity.h"
#include "fs/journal/buffer.h"

/* ---- promises (rule 6).  No meta_lock held; may wait for commits. ---- */
enum space_use {
	SPACE_NEW,	 /* blocks that the file has not got: the users' part */
	SPACE_OVERWRITE, /* they replace mapped, unshared ones: all of the hidden pool, waits instead of failing */
	SPACE_TRUNCATE,	 /* EOF block of a file that shrinks, edge of a hole, where none goes free: most of the pool */
};

/*
 * Promise space for @blocks blocks of file data, each to be given back
 * (space_unreserve), or used up by the extent written (alloc_data's claim takes
 * over).  From the pool many blocks at once may be refused where one would be
 * waited for.  -ENOSPC only after a forced commit freed nothing.
 */
int space_reserve(struct tfs_fs *fs, uint64_t blocks, enum space_use use);
void space_unreserve(struct tfs_fs *fs, uint64_t blocks);
/*
 * The same for blocks that are dirty already, because writing them has failed: never refused, never waits.
 * Should there be no such space, everybody else waits until it is there.
 */
void space_reserve_again(struct tfs_fs *fs, uint64_t blocks);
/*
 * Before an operation that may grow trees: waits or -ENOSPC.  Deleting never asks.  SPACE_NEW for names and
 * attributes; SPACE_TRUNCATE for what brings no content of its own (sharing): it may take most of the pool.
 */
int space_check_meta(struct tfs_fs *fs, enum space_use use);
/* For statfs: blocks free for users, and all free ones. */
void space_statfs(struct tfs_fs *fs, uint64_t *avail, uint64_t *free_blocks, uint64_t *total);

/* ---- data blocks ---- */
/*
 * Claim up to @want contiguous free blocks near @goal (0: anywhere) for data
 * about to be written, in memory only; one reservation unit per block claimed is used up.
 * *got >= 1.  Reads bitmaps as needed: no meta_lock held.  -ENOSPC, -EIO, ...
 */
int alloc_data(struct tfs_fs *fs, uint64_t goal, uint64_t want, uint64_t *start, uint64_t *got);
/* A claim that was not used: back to free, the reservation units back too if @rereserve. */
void alloc_cancel(struct tfs_fs *fs, uint64_t start, uint64_t n, bool rereserve);
/*
 * See that alloc_commit or alloc_free, and tuple_write, of [start, start + n)
 * will find all they need in memory: call it before the first change of a section.
 * 0, -EAGAIN, -EUCLEAN, -EIO, -ENOMEM.
 */
int alloc_prefault(struct tfs_trans *t, uint64_t start, uint64_t n);
/*
 * The claim enters the running transaction: bits set on disk, its group made if
 * it was not in use before.  The range lies in one group.
 */
int alloc_commit(struct tfs_trans *t, uint64_t start, uint64_t n);
/*
 * Blocks of the tree's or a file's go free in this transaction; they can be
 * handed out again once it is durable.  Their tuples stay as they are.
 */
int alloc_free(struct tfs_trans *t, uint64_t start, uint64_t n);
/*
 * Discard the runs of at least @minlen free blocks in [from, to), in @trimmed as many blocks as that were, also on
 * failure.  @stop (or NULL) is asked between steps.  No lock held.  -EINTR, -EOPNOTSUPP, -EIO, -EROFS, ...
 */
int alloc_trim(struct tfs_fs *fs, uint64_t from, uint64_t to, uint64_t minlen, bool (*stop)(void *arg), void *arg,
	       uint64_t *trimmed);
/* Journal only: the transaction that freed these is durable. */
void alloc_release(struct tfs_fs *fs, uint64_t start, uint64_t n);

/* ---- tree nodes: geom.node_blocks aligned blocks ---- */
/*
 * The next @n (at most 32) calls of alloc_node in this section will find bitmaps,
 * headers and tuple blocks in memory.  0, -EAGAIN, -ENOSPC, ...
 */
int alloc_prefault_nodes(struct tfs_trans *t, uint64_t goal, unsigned int n);
/* Aligned blocks of a node near @goal (a block, 0: anywhere).  The tree takes them over with buf_new.  -ENOSPC,
 * -EAGAIN, ... */
int alloc_node(struct tfs_trans *t, uint64_t goal, uint64_t *block);
int alloc_free_node(struct tfs_trans *t, uint64_t block);

int alloc_init(struct tfs_fs *fs);
void alloc_exit(struct tfs_fs *fs);

/* ---- tuples, fs/journal/tuple.c (inside a section; -EAGAIN on a miss) ---- */
int tuple_read(struct tfs_trans *t, uint64_t block, uint32_t n, struct tuple16 *out);
/* Read in what tuple_read or tuple_write of the range needs. */
int tuple_prefault(struct tfs_trans *t, uint64_t block, uint32_t n);
int tuple_write(struct tfs_trans *t, uint64_t block, uint32_t n, const struct tuple16 *tuples);
/* Tuples of @n blocks of @data, kind @app. */
void tuple_make(const struct tfs_fs *fs, uint64_t block, uint32_t n, const void *data, enum tfs_app_tag app,
		struct tuple16 *out);

/* ---- freezing, called by the journal at commit with meta_lock exclusive ---- */
/* Tuples for all changed nodes, then guards of changed tuple blocks and bitmaps into group headers, then seals. */
int tuple_seal_nodes(struct tfs_trans *t, struct list_head *tx_bufs);
int group_seal(struct tfs_trans *t, struct list_head *tx_bufs);

/* Make sure @group has a header (first use of an uninitialised group).  Write section. */
int group_init(struct tfs_trans *t, uint64_t group);
/*
 * Headers for all groups up to @group, in as many sections of its own as it takes: claims may be far ahead of what is
 * in use, and whichever of them is committed first would have to make all headers at once.  No meta_lock held.
 */
int group_open(struct tfs_fs *fs, uint64_t group);

struct tfs_space_stats {
	uint64_t free_blocks, claimed, reserved, pending_free, hidden_pool, enospc_commits;
};
void space_get_stats(struct tfs_fs *fs, struct tfs_space_stats *st);

/* ---- making a file system, fs/vfs/mkfs.c (mkfs and tests) ---- */
struct tfs_format_opts {
	uint32_t block_size, node_size; /* 0: defaults */
	uint32_t blocks_per_group;	/* 0: 8 * block_size; smaller for tests */
	enum tfs_guard guard;		/* 0: xxh3 */
	uint64_t journal_bytes;		/* 0: by size */
	uint8_t uuid[16];		/* all zero: random */
	char label[TFS_LABEL_MAX + 1];
	uint32_t root_uid, root_gid;
	uint64_t size;	    /* bytes; 0: the device's */
	uint64_t test_seed; /* not 0: deterministic seed, hash key, uuid and times (tests) */
};
/*
 * Check the options against the device and fill *super and *geom.  -EINVAL
 * with *why for people.
 */
int tfs_format_plan(struct bdev *b, const struct tfs_format_opts *o, struct tfs_super *super, struct tfs_geom *geom,
		    char *why, size_t why_len);
/* Make sure that nothing takes the device for a tallyfs, neither an old one nor the planned one.  0 or -errno. */
int tfs_format_erase(struct bdev *b, const struct tfs_geom *geom);
/* Write what was planned.  The old superblocks are destroyed first and the new primary is written last. */
int tfs_format_write(struct bdev *b, const struct tfs_format_opts *o, const struct tfs_super *super,
		     const struct tfs_geom *geom);

#endif
