/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inside of the journal: journal.c (running transaction, who commits when), journal_write.c,
 * checkpoint.c. */
#ifndef FS_JOURNAL_PRIV_H
#define FS_JOURNAL_PRIV_H

#include "core/block/bdev.h"
#include "core/lib/list.h"
#include "core/lib/util.h"
#include "core/lib/workqueue.h"
#include "fs/disk/geom.h"
#include "fs/disk/log_ring.h"
#include "fs/journal/buffer.h"
#include "fs/journal/journal.h"
#include "fs/journal/recover.h"
#include "fs/state/fs.h"
#include "tallyfs/format.h"

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
};

#define LOG_CHUNK (1u << 20) /* bytes of payload written to the log at once */
#define LOG_CHUNK_MORE 3u    /* log blocks written with the last of them */
#define REC_BYTES(len) (sizeof(struct tfs_log_record) + round_up_to(len, 8))

/* ---- journal_thread.c ---- */
/*
 * A journal that goes on behind recovery @r, with the superblock @super in the buffer
 * cache.  0 or -ENOMEM.
 */
int journal_create(struct tfs_fs *fs, const struct tfs_recovery *r,
		   const struct journal_hooks *hooks);
int journal_start_thread(struct tfs_fs *fs);
/* Finish what is under way; the thread ends. */
void journal_stop_thread(struct tfs_fs *fs);
/* Drop everything that is not durable or not at home. */
void journal_destroy(struct tfs_fs *fs);

/* ---- journal.c ---- */
/* An empty running transaction. */
void journal_tx_begin(struct tfs_journal *j, uint64_t txid);
/* meta_lock exclusive: @b was made dirty; takes a reference. */
void journal_join(struct tfs_journal *j, struct tfs_buf *b);
/* meta_lock exclusive: node @b is freed; takes a reference.  @b has left the cache or is about
 * to. */
void journal_revoke(struct tfs_journal *j, struct tfs_buf *b);
void buf_unpin(struct tfs_buf *b);

/* Exact with meta_lock held exclusively. */
bool journal_has_room(struct tfs_journal *j, uint64_t credits);
/* Do, or wait for, something that makes room, or find the file system shut down.  No lock held. */
void journal_make_room(struct tfs_journal *j, uint64_t credits);
uint64_t journal_max_credits(const struct tfs_journal *j);
uint64_t journal_pinned_bytes(struct tfs_journal *j);
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
/* checkpoint.c: everything committed goes home and the log is empty.  0 or -errno (file system shut
 * down). */
int journal_checkpoint_once(struct tfs_journal *j);
/* Nothing runs any more, the file system was shut down: TFS_STATE_ERRORS goes to the device if that
 * is still possible.
 */
void journal_mark_broken(struct tfs_journal *j);
/* @b needs no checkpoint any more. */
void journal_drop_committed(struct tfs_journal *j, struct tfs_buf *b);

/* ---- writing structures home: checkpoint and recovery ---- */
#define HOME_VECS 64
struct home_writer {
	struct bdev *bdev;
	struct iovec iov[HOME_VECS];
	int n;
	uint64_t start, end; /* device bytes collected */
};
/* @data at device byte @off; adjacent pieces are merged, so it must stay until home_flush. */
int home_write(struct home_writer *w, uint64_t off, const void *data, uint32_t bytes);
int home_flush(struct home_writer *w);
/*
 * The superblock goes to its copies, and, when all that was written before is durable, to its
 * own place; home_write_super ends with a flush.  In this order: one of them is whole after any
 * cut.
 */
/* One copy that can't be written is warned of and *lost set, if the other can: the primary is only
 * written after a copy. */
int home_write_super_copies(struct bdev *b, const struct tfs_geom *g, const void *super,
			    bool *lost);
int home_write_super(struct bdev *b, const struct tfs_geom *g, const void *super);

#endif
