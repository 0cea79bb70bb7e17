/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The journal: transactions of metadata, physical redo.  See docs/DESIGN.md for
 * the argument and format.h for the log's layout.
 *
 * Order of a commit (each arrow waits):
 *   freeze (meta_lock exclusive, microseconds): tuples of changed nodes -> tuple
 *   blocks, guards of changed tuple blocks and bitmaps -> group headers, headers and
 *   superblock sealed, images referenced
 *   -> payload written -> FLUSH (also makes all data written so far durable)
 *   -> two commit records -> FLUSH -> durable: waiters woken, blocks freed by the
 *   transaction given to the allocator.
 * Checkpoint: committed images written home (superblock copies too) -> FLUSH -> primary superblock
 * -> FLUSH -> one header copy with the new tail -> FLUSH -> the other (log_write_headers).
 */
#ifndef FS_JOURNAL_H
#define FS_JOURNAL_H

#include "fs/journal/buffer.h"

/* Make transaction @txid (or any later one) durable; returns when it is.  0 or -errno.  No lock may be held. */
int journal_commit(struct tfs_fs *fs, uint64_t txid);
/* Everything changed so far. */
int journal_commit_all(struct tfs_fs *fs);
/* Ask for a commit soon; does not wait. */
void journal_kick(struct tfs_fs *fs);
/* Commit all, write everything home, empty the log. */
int journal_checkpoint(struct tfs_fs *fs);
/* Running transaction; last durable one. */
uint64_t journal_running_txid(struct tfs_fs *fs);
uint64_t journal_durable_txid(struct tfs_fs *fs);

/*
 * Called with blocks [start, start+n) freed in the running transaction @t; after
 * it is durable the journal calls alloc_release() for them.
 */
int journal_defer_release(struct tfs_trans *t, uint64_t start, uint64_t n);

struct tfs_journal_stats {
	uint64_t running_txid, durable_txid, commits, checkpoints, log_bytes, log_used, log_size, images, ranges,
		revokes;
};
void journal_get_stats(struct tfs_fs *fs, struct tfs_journal_stats *st);

/* ---- recovery, fs/journal/recover.c: used by tfs_open, fsck and tallydump ---- */
struct tfs_recovery {
	bool pending;			/* the log holds transactions that are not at home */
	uint64_t first_txid, last_txid; /* of those */
	uint64_t epoch, seq;		/* of the header in force */
	uint64_t next_txid;		/* for the next one written */
	uint64_t tail, end;		/* log blocks: where the first begins, and the next one will */
	bool header_damaged[2];
	bool super_damaged[3]; /* primary and copies that are bad, another file system's or, with nothing pending, old
				*/
	/* the damaged copies of header and superblock are no more than what a cut within a checkpoint leaves */
	bool interrupted;
	uint64_t unreadable; /* log blocks */
	bool copy_lost;	     /* a copy of the superblock could not be written, the other and the primary are good */
	unsigned int lone_commits; /* transactions before the last that have lost one of their two commit records */
	/* corruption of something known durable: nothing of it is papered over */
	bool corrupt;
	bool base_unknown; /* and not even what the log builds on is known: reading makes no sense either */
	uint64_t corrupt_txid;
	char what[200];
	struct tfs_overlay *overlay; /* final images by home block; NULL if nothing is pending */
};
/*
 * Scan the log and build the overlay in memory; writes nothing.  *super, as tfs_super_read found it, becomes the one
 * that goes with the log, should that be a copy.  0 or -ENOMEM; damage is told in *r.
 */
int journal_recover_scan(struct bdev *b, struct tfs_super *super, const struct tfs_geom *g, struct tfs_recovery *r);
/* Has something been lost, not by a cut, that journal_recover_apply() puts right? */
static inline bool journal_recovery_mends(const struct tfs_recovery *r)
{
	bool copies = r->header_damaged[0] || r->header_damaged[1] || r->super_damaged[0] || r->super_damaged[1] ||
		      r->super_damaged[2];

	return (copies && !r->interrupted) || r->unreadable || r->lone_commits;
}
/* Write the overlay home, mend superblocks, flush, and start a new epoch.  Idempotent under crashes. */
int journal_recover_apply(struct bdev *b, const struct tfs_super *super, const struct tfs_geom *g,
			  struct tfs_recovery *r);
void journal_recovery_free(struct tfs_recovery *r);
void overlay_free(struct tfs_overlay *o); /* NULL is fine */
/* Final image of the structure at home block @block if the log has one (bytes in *bytes), else NULL. */
const void *overlay_lookup(const struct tfs_overlay *o, uint64_t block, uint32_t *bytes);
/* Each entry in block order; stops when fn returns non-zero. */
int overlay_each(const struct tfs_overlay *o, int (*fn)(void *arg, uint64_t block, uint32_t bytes, const void *data),
		 void *arg);
/* An empty journal for mkfs: both headers, epoch 1. */
int journal_format(struct bdev *b, const struct tfs_super *super, const struct tfs_geom *g);

#endif
