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

#include <stdbool.h>
#include <stdint.h>

#include "core/lib/hist.h"
#include "core/lib/list.h"
#include "fs/journal/recover.h"
#include "fs/journal/trans.h"
#include "fs/state/fs.h"

/* Make transaction @txid (or any later one) durable; returns when it is.  0 or -errno.  No lock may
 * be held. */
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

/* What others do at a commit. */
struct journal_hooks {
	/*
	 * Freezing, meta_lock exclusive: tuples of nodes are in their blocks; guards of all changed
	 * blocks in @tx_bufs that something vouches for go there, and what joins the transaction by
	 * that goes to the end of the list. 0 or -errno, which ends the file system.
	 */
	int (*seal)(struct tfs_trans *t, struct list_head *tx_bufs);
	/* The transaction that freed these blocks is durable. */
	void (*release)(struct tfs_fs *fs, uint64_t start, uint64_t n);
};

struct tfs_journal_stats {
	uint64_t running_txid, durable_txid, commits, checkpoints, log_bytes, log_used, log_size,
		images, ranges, revokes,
		pinned_bytes; /* of buffers that wait for a commit or a checkpoint */
};
void journal_get_stats(struct tfs_fs *fs, struct tfs_journal_stats *st);
/* How long commits took, waiting for the sections under way included. */
const struct hist *journal_commit_time(struct tfs_fs *fs);

/* Has something been lost, not by a cut, that journal_recover_apply() puts right? */
static inline bool journal_recovery_mends(const struct tfs_recovery *r)
{
	bool copies = r->header_damaged[0] || r->header_damaged[1] || r->super_damaged[0] ||
		      r->super_damaged[1] || r->super_damaged[2];

	return (copies && !r->interrupted) || r->unreadable || r->lone_commits;
}

#endif
