/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inside of the journal: journal.c, journal_tx.c, journal_write.c, checkpoint.c. */
#ifndef FS_JOURNAL_PRIV_H
#define FS_JOURNAL_PRIV_H

#include "core/lib/hist.h"
#include "core/lib/list.h"
#include "core/lib/util.h"
#include "core/lib/workqueue.h"
#include "fs/disk/log_ring.h"
#include "fs/journal/buffer.h"
#include "fs/journal/journal.h"
#include "fs/journal/journal_tx.h"
#include "fs/journal/recover.h"
#include "fs/state/fs.h"
#include "tallyfs/format.h"

struct tfs_journal {
	struct tfs_fs *fs;
	struct journal_hooks hooks;
	struct log_ring ring;
	uint64_t max_tx;     /* bytes of payload one transaction is let grow to: both log and memory
				bound it */
	uint64_t max_pinned; /* bytes of committed images before a checkpoint is due */

	/* meta_lock exclusive; the sizes are also looked at without */
	struct tfs_tx run;
	atomic_ullong run_txid, run_bytes; /* bytes: the most its payload can take */

	pthread_mutex_t lock;
	pthread_cond_t changed; /* busy, room or durable changed, or the file system went down */
	pthread_cond_t work;	/* for the thread */
	bool busy;		/* somebody commits or checkpoints: owns what follows */
	bool threaded, stop, want_commit, want_checkpoint;
	pthread_t thread;
	atomic_ullong durable; /* last durable transaction */

	/* owner of busy */
	struct tfs_tx cmt;	     /* the transaction being committed */
	struct list_head committing; /* its buffers, by commit_list */
	struct list_head ckpt;	     /* committed buffers not yet at home */
	uint64_t gen;		     /* checkpoint generation: see tfs_buf.log_gen */
	uint64_t epoch, seq;
	uint64_t head; /* log block where the next transaction goes */
	uint8_t *chunk;
	bool failed; /* a commit or checkpoint broke off: what is on disk, or in the superblock, is
		      * not what is durable
		      */
	bool idle;   /* nothing was committed in the last interval */
	struct tfs_buf *super;

	atomic_ullong used;   /* log blocks between tail and head */
	atomic_ullong pinned; /* bytes of committed images */
	atomic_ullong nr_commits, nr_checkpoints, log_bytes, nr_images, nr_ranges, nr_revokes;
	struct hist commit_time; /* of the commits that were written */
};

#define LOG_CHUNK (1u << 20) /* bytes of payload written to the log at once */
#define LOG_CHUNK_MORE 3u    /* log blocks written with the last of them */
#define REC_BYTES(len) (sizeof(struct tfs_log_record) + round_up_to(len, 8))
#define BASE_BYTES REC_BYTES(TFS_SUPER_BYTES) /* every transaction has the superblock in it */

static inline uint64_t counter_read(atomic_ullong *x)
{
	return atomic_load_explicit(x, memory_order_relaxed);
}

static inline void counter_add(atomic_ullong *x, uint64_t n)
{
	atomic_fetch_add_explicit(x, n, memory_order_relaxed);
}

/* ---- journal.c ---- */
/* Exact with meta_lock held exclusively. */
bool journal_has_room(struct tfs_journal *j, uint64_t credits);
/* Do, or wait for, something that makes room, or find the file system shut down.  No lock held. */
void journal_make_room(struct tfs_journal *j, uint64_t credits);
uint64_t journal_max_credits(const struct tfs_journal *j);
/* Wake everyone who waits for the journal (the file system was shut down). */
void journal_wake(struct tfs_journal *j);
bool journal_wants_checkpoint(struct tfs_journal *j);

/* ---- owner of busy only ---- */
/* Commit the running transaction, if there is anything in it.  0 or -errno (file system shut
 * down). */
int journal_commit_once(struct tfs_journal *j);
/* journal_write.c: write cmt and make it durable. */
int journal_write_tx(struct tfs_journal *j, uint64_t payload);
/* Bytes of payload that the frozen transaction takes. */
uint64_t journal_payload_bytes(const struct tfs_journal *j);

#endif
