/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The journal: who commits and checkpoints when.  What a transaction consists of is in
 * journal_tx.c.
 *
 * Committing and checkpointing belong to the owner of `busy`, one at a time,
 * whichever thread that is: an fsync commits by itself, and those who came meanwhile
 * wait and find themselves served by it or by the next; the journal thread
 * does what nobody waits for.  That the two never overlap is what makes
 * freed blocks safe: they are released at the end of a commit, when no checkpoint is
 * writing an older image of them.
 *
 * Room.  run_bytes is the most the running transaction's payload can be: whole
 * images of everything in it, and of what freezing will add (tuple blocks, group headers,
 * the superblock).  A section starts only if that plus its credits stays within
 * max_tx (a quarter of the log), and within what is free in the log.  A section
 * that takes more than it asked for does no harm by itself: a commit that does not fit
 * checkpoints first, which empties the log.
 */
#include <errno.h>
#include <string.h>
#include "core/lib/clock.h"
#include "core/lib/trace.h"
#include "core/lib/util.h"
#include "fs/journal/checkpoint.h"
#include "fs/journal/journal.h"
#include "fs/journal/journal_priv.h"
#include "fs/journal/journal_tx.h"
#include "fs/journal/trans.h"
#include "fs/state/error.h"
#include "fs/state/fs.h"
#include "tallyfs/format.h"

/* ---- committing ---- */

/* Log blocks that @bytes of payload take, with the two commit records. */
static uint64_t log_blocks(uint64_t bytes)
{
	return div_up(bytes, TFS_LOG_BLOCK) + 2;
}

static bool fits(struct tfs_journal *j, uint64_t bytes)
{
	return counter_read(&j->used) + log_blocks(bytes) <
	       j->ring.size; /* one is the log's end: ring_end() */
}

/* 1: frozen; 0: nothing to do; or -errno. */
static int lock_and_freeze(struct tfs_journal *j)
{
	struct tfs_fs *fs = j->fs;
	int err;

	for (;;) {
		pthread_rwlock_wrlock(&fs->meta_lock);
		err = atomic_load(&fs->shutdown);
		if (err || journal_tx_empty(j) || fits(j, counter_read(&j->run_bytes)))
			break;
		pthread_rwlock_unlock(&fs->meta_lock);
		err = counter_read(&j->used) ? journal_checkpoint_once(j) : -EFBIG;
		if (err)
			return err;
	}
	if (!err && !journal_tx_empty(j)) {
		err = journal_tx_seal(j);
		if (!err) {
			journal_tx_freeze(j);
			err = 1;
		}
	}
	pthread_rwlock_unlock(&fs->meta_lock);
	return err;
}

int journal_commit_once(struct tfs_journal *j)
{
	uint64_t since = now_ns();
	int err = lock_and_freeze(j);

	if (err == 1) {
		uint64_t payload = journal_payload_bytes(j);

		journal_wake(j); /* room for new sections while we write */
		err = journal_write_tx(j, payload);
		trace3(journal_commit, j->cmt.txid, payload, err);
		if (!err) {
			journal_tx_durable(j);
			hist_record(&j->commit_time, now_ns() - since);
		}
	}
	if (err && !atomic_load(&j->fs->shutdown))
		tfs_force_shutdown(j->fs, err, "the journal could not be written: %s",
				   strerror(-err));
	return err;
}

/* ---- taking turns ---- */

/* Become the owner of busy.  False: not needed any more, transaction @txid is durable. */
static bool take_busy(struct tfs_journal *j, uint64_t txid)
{
	bool mine;

	pthread_mutex_lock(&j->lock);
	while (j->busy && atomic_load(&j->durable) < txid)
		pthread_cond_wait(&j->changed, &j->lock);
	mine = atomic_load(&j->durable) < txid;
	if (mine)
		j->busy = true;
	pthread_mutex_unlock(&j->lock);
	return mine;
}

static void drop_busy(struct tfs_journal *j)
{
	pthread_mutex_lock(&j->lock);
	j->busy = false;
	pthread_cond_broadcast(&j->changed);
	pthread_mutex_unlock(&j->lock);
}

void journal_wake(struct tfs_journal *j)
{
	pthread_mutex_lock(&j->lock);
	pthread_cond_broadcast(&j->changed);
	pthread_mutex_unlock(&j->lock);
}

bool journal_wants_checkpoint(struct tfs_journal *j)
{
	return counter_read(&j->used) > j->ring.size / 2 ||
	       counter_read(&j->pinned) > j->max_pinned;
}

static void ask_thread(struct tfs_journal *j, bool commit, bool checkpoint)
{
	pthread_mutex_lock(&j->lock);
	j->want_commit |= commit;
	j->want_checkpoint |= checkpoint;
	pthread_cond_signal(&j->work);
	pthread_mutex_unlock(&j->lock);
}

static int commit_turn(struct tfs_journal *j)
{
	int err = journal_commit_once(j);

	if (!err && journal_wants_checkpoint(j)) {
		if (j->threaded)
			ask_thread(j, false, true);
		else
			err = journal_checkpoint_once(j);
	}
	return err;
}

int journal_commit(struct tfs_fs *fs, uint64_t txid)
{
	struct tfs_journal *j = fs->journal;
	int err;

	if (!j)
		return 0;
	if (atomic_load(&j->durable) >= txid)
		return 0;
	err = atomic_load(&fs->shutdown);
	if (err)
		return err;
	if (!take_busy(j, txid))
		return 0;
	err = commit_turn(j);
	drop_busy(j);
	return err;
}

int journal_commit_all(struct tfs_fs *fs)
{
	return journal_commit(fs, journal_running_txid(fs));
}

int journal_checkpoint(struct tfs_fs *fs)
{
	struct tfs_journal *j = fs->journal;
	int err;

	if (!j)
		return 0;
	take_busy(j, UINT64_MAX);
	err = journal_commit_once(j);
	if (!err)
		err = journal_checkpoint_once(j);
	drop_busy(j);
	return err;
}

void journal_kick(struct tfs_fs *fs)
{
	if (fs->journal && fs->journal->threaded)
		ask_thread(fs->journal, true, false);
}

uint64_t journal_max_credits(const struct tfs_journal *j)
{
	return j->max_tx - BASE_BYTES;
}

static bool small_enough(struct tfs_journal *j, uint64_t credits)
{
	uint64_t run = counter_read(&j->run_bytes);

	return run == BASE_BYTES || run + credits <= j->max_tx;
}

static bool log_has_room(struct tfs_journal *j, uint64_t credits)
{
	return !counter_read(&j->used) || fits(j, counter_read(&j->run_bytes) + credits);
}

bool journal_has_room(struct tfs_journal *j, uint64_t credits)
{
	credits = min_t(uint64_t, credits, journal_max_credits(j));
	return small_enough(j, credits) && log_has_room(j, credits);
}

static void make_room_here(struct tfs_journal *j, uint64_t credits)
{
	int err = 0;

	take_busy(j, UINT64_MAX);
	if (!small_enough(j, credits))
		err = journal_commit_once(j);
	if (!err && !log_has_room(j, credits))
		journal_checkpoint_once(j);
	drop_busy(j);
}

void journal_make_room(struct tfs_journal *j, uint64_t credits)
{
	credits = min_t(uint64_t, credits, journal_max_credits(j));
	if (!j->threaded) {
		make_room_here(j, credits);
		return;
	}
	pthread_mutex_lock(&j->lock);
	while (!journal_has_room(j, credits) && !atomic_load(&j->fs->shutdown) && j->threaded) {
		j->want_commit |= !small_enough(j, credits);
		j->want_checkpoint |= !log_has_room(j, credits);
		pthread_cond_signal(&j->work);
		pthread_cond_wait(&j->changed, &j->lock);
	}
	pthread_mutex_unlock(&j->lock);
}

uint64_t journal_running_txid(struct tfs_fs *fs)
{
	return fs->journal ? counter_read(&fs->journal->run_txid) : 0;
}

uint64_t journal_durable_txid(struct tfs_fs *fs)
{
	return fs->journal ? atomic_load(&fs->journal->durable) : 0;
}

const struct hist *journal_commit_time(struct tfs_fs *fs)
{
	return &fs->journal->commit_time;
}

void journal_get_stats(struct tfs_fs *fs, struct tfs_journal_stats *st)
{
	struct tfs_journal *j = fs->journal;

	memset(st, 0, sizeof(*st));
	if (!j)
		return;
	st->running_txid = counter_read(&j->run_txid);
	st->durable_txid = counter_read(&j->durable);
	st->commits = counter_read(&j->nr_commits);
	st->checkpoints = counter_read(&j->nr_checkpoints);
	st->log_bytes = counter_read(&j->log_bytes);
	st->log_used = counter_read(&j->used) * TFS_LOG_BLOCK;
	st->log_size = j->ring.size * TFS_LOG_BLOCK;
	st->images = counter_read(&j->nr_images);
	st->ranges = counter_read(&j->nr_ranges);
	st->revokes = counter_read(&j->nr_revokes);
	st->pinned_bytes = counter_read(&j->pinned) + counter_read(&j->run_bytes) - BASE_BYTES;
}
