/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is in a transaction: while it runs, when it is frozen, and when it has become durable. */
#ifndef FS_JOURNAL_TX_H
#define FS_JOURNAL_TX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "core/lib/list.h"
#include "fs/journal/trans.h"

struct tfs_buf;
struct tfs_journal;

struct tx_range {
	uint64_t start, n; /* blocks */
};

struct tfs_tx {
	uint64_t txid;
	struct list_head bufs;	/* changed */
	struct list_head freed; /* nodes freed: revoke records, then gone */
	uint64_t nr_freed;
	struct tx_range *release; /* blocks to give back once durable */
	size_t nr_release, max_release;
};

/* An empty running transaction. */
void journal_tx_begin(struct tfs_journal *j, uint64_t txid);
/* meta_lock exclusive: @b was made dirty; takes a reference. */
void journal_join(struct tfs_journal *j, struct tfs_buf *b);
/* meta_lock exclusive: node @b is freed; takes a reference.  @b has left the cache or is about
 * to. */
void journal_revoke(struct tfs_journal *j, struct tfs_buf *b);

/*
 * Called with blocks [start, start+n) freed in the running transaction @t; after
 * it is durable the journal calls its hook for them.
 */
int journal_defer_release(struct tfs_trans *t, uint64_t start, uint64_t n);

/* meta_lock exclusive: is there anything to commit? */
bool journal_tx_empty(struct tfs_journal *j);
/*
 * meta_lock exclusive: everything that vouches for something else, from the leaves of trust up to
 * the superblock.  0 or -errno, which ends the file system.
 */
int journal_tx_seal(struct tfs_journal *j);
/* meta_lock exclusive: the running transaction becomes j->cmt and a new one runs. */
void journal_tx_freeze(struct tfs_journal *j);
/* Owner of busy: j->cmt is on the device, and what it freed may be used again. */
void journal_tx_durable(struct tfs_journal *j);
/* @b needs no checkpoint any more. */
void journal_drop_committed(struct tfs_journal *j, struct tfs_buf *b);

#endif
