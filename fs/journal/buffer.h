/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The buffer cache: verified metadata blocks in memory.
 *
 * Nothing enters it unverified (rule 1): tree nodes by their blocks' tuples, tuple
 * blocks and bitmaps by their group header, group headers by their own checksum; and
 * each kind by what it says it is (magic, own address, bounds).
 *
 * The content of a buffer is an *image*, refcounted and immutable while shared.
 * A commit freezes by taking references; the next change in a later transaction finds
 * the image shared and copies it first.  So the journal and the checkpoint
 * always write exactly what was committed (rule 3), and nobody waits for them.
 *
 * A buffer is evicted only when nobody holds it, it is in no transaction, and it
 * needs no checkpoint: the lists of a transaction and of the checkpoint hold references.
 */
#ifndef FS_BUFFER_H
#define FS_BUFFER_H

#include "core/lib/list.h"
#include "fs/disk/geom.h"
#include "fs/journal/image.h"
#include "fs/journal/trans.h"
#include "fs/state/fs.h"

#define BUF_MAX_RANGES 8

struct tfs_buf_range {
	uint32_t off, len; /* bytes into the structure */
};

struct tfs_buf {
	uint64_t block;
	uint32_t bytes;
	enum tfs_buf_kind kind;
	atomic_uint refs; /* the hash holds one */
	struct tfs_bufcache *cache;

	/* cache lock */
	struct tfs_buf *hash_next;
	struct list_head lru;
	bool hashed;	      /* clear: replaced, freed or failed; dies with its last reference */
	bool loading;	      /* a placeholder: its content is being read */
	atomic_bool hot;      /* used since eviction last came by */
	atomic_bool unbacked; /* a tree node in a hole of the image, for which the host had no
				 space: may not change */

	/* meta_lock */
	struct tfs_image *image;  /* as of the running transaction */
	struct list_head tx_list; /* in the running transaction, or freed by it */
	bool dirty;		  /* changed by the running transaction */
	bool whole;		  /* all of it; else @ranges */
	unsigned int nr_ranges;
	struct tfs_buf_range ranges[BUF_MAX_RANGES];
	uint64_t counted_txid;	 /* transaction whose size it is part of */
	struct tfs_buf *pins[2]; /* what freezing it will change: tuple block, group header */

	/* whoever commits or checkpoints (one at a time) */
	struct tfs_image *frozen; /* of the commit under way */
	bool frozen_whole;
	unsigned int nr_frozen;
	struct tfs_buf_range frozen_ranges[BUF_MAX_RANGES];
	struct tfs_image *committed; /* durable in the log, not yet at home; or NULL */
	struct list_head commit_list;
	struct list_head ckpt_list; /* committed, waiting for checkpoint */
	uint64_t log_gen;	    /* checkpoint generation in which the log got its full image */
};

static inline void *buf_data(const struct tfs_buf *b)
{
	return b->image->data;
}

uint32_t buf_kind_bytes(const struct tfs_geom *g, enum tfs_buf_kind kind);
const char *buf_kind_name(enum tfs_buf_kind kind);

/* Outside of the cache; for the cache itself, and for buf_new().  NULL: no memory. */
struct tfs_buf *buf_alloc(struct tfs_fs *fs, uint64_t block, enum tfs_buf_kind kind);
struct tfs_buf *buf_hold(struct tfs_buf *b);
void buf_put(struct tfs_buf *b); /* NULL is fine */

/*
 * Cached buffer, referenced.  -TRANS_RESTART: not cached (noted in @t, return it up to
 * trans_again).  -EUCLEAN: does not verify (already logged).  -EIO, -ENOMEM.
 */
int buf_get(struct tfs_trans *t, uint64_t block, enum tfs_buf_kind kind, struct tfs_buf **out);
/* A newly allocated block: zeroed, wholly dirty, referenced.  Write section only. */
int buf_new(struct tfs_trans *t, uint64_t block, enum tfs_buf_kind kind, struct tfs_buf **out);
/*
 * Before changing buf_data(): joins the running transaction and unshares the
 * image (buf_data() may move).  -ENOMEM.
 */
int buf_modify(struct tfs_trans *t, struct tfs_buf *b);
/* After changing bytes [off, off+len) of a buffer that buf_modify was called for. */
void buf_log(struct tfs_trans *t, struct tfs_buf *b, uint32_t off, uint32_t len);
/*
 * The block is being freed by this transaction: forget changes to it, never
 * write it again, and keep replay away from it (revoke).  Drops the caller's
 * reference.  The caller frees the blocks themselves (fs/alloc/alloc.h).
 */
void buf_free(struct tfs_trans *t, struct tfs_buf *b);
/* meta_lock exclusive: @b was frozen, or will not be. */
void buf_unpin(struct tfs_buf *b);

#endif
