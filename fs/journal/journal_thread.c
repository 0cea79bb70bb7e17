/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The journal's life: made at mount, its thread, its end. */
#include <errno.h>
#include <string.h>
#include <time.h>
#include "core/block/bdev.h"
#include "core/lib/clock.h"
#include "core/lib/list.h"
#include "core/lib/util.h"
#include "fs/disk/log_ring.h"
#include "fs/journal/buffer.h"
#include "fs/journal/bufcache.h"
#include "fs/journal/image.h"
#include "fs/journal/checkpoint.h"
#include "fs/journal/journal.h"
#include "fs/journal/journal_priv.h"
#include "fs/journal/journal_thread.h"
#include "fs/journal/journal_tx.h"
#include "fs/journal/recover.h"
#include "fs/journal/trans.h"
#include "fs/state/fs.h"
#include "tallyfs/format.h"

#define DEFAULT_INTERVAL 5 /* seconds */

/*
 * Work done without being asked: a commit each interval, and, when an interval brought
 * nothing to commit, a checkpoint, so that an idle file system holds no memory for it and
 * is recovered in no time.
 */
static void interval_over(struct tfs_journal *j)
{
	uint64_t before = atomic_load(&j->durable);

	if (journal_commit_once(j))
		return;
	j->idle = atomic_load(&j->durable) == before;
	if (j->idle && atomic_load(&j->used))
		journal_checkpoint_once(j);
}

static void work(struct tfs_journal *j, bool commit, bool checkpoint)
{
	if (atomic_load(&j->fs->shutdown))
		return;
	if (!commit && !checkpoint) {
		interval_over(j);
		return;
	}
	if (commit && journal_commit_once(j))
		return;
	if (checkpoint || journal_wants_checkpoint(j))
		journal_checkpoint_once(j);
}

/* Returns at the end of the interval that began at @since at the latest. */
static bool wait_for_work(struct tfs_journal *j, const struct timespec *until)
{
	while (!j->stop && !j->want_commit && !j->want_checkpoint)
		if (pthread_cond_timedwait(&j->work, &j->lock, until) == ETIMEDOUT)
			return true;
	return false;
}

static void next_interval(struct tfs_journal *j, struct timespec *until)
{
	uint64_t seconds =
		j->fs->opts.commit_interval ? j->fs->opts.commit_interval : DEFAULT_INTERVAL;

	*until = deadline_ns(seconds * 1000000000ull);
}

static void *journal_thread(void *arg)
{
	struct tfs_journal *j = arg;
	struct timespec until;
	bool commit, checkpoint;

	pthread_mutex_lock(&j->lock);
	next_interval(j, &until);
	for (;;) {
		if (wait_for_work(j, &until)) {
			j->want_commit = j->want_checkpoint = false;
			next_interval(j, &until);
		}
		if (j->stop)
			break;
		while (j->busy)
			pthread_cond_wait(&j->changed, &j->lock);
		commit = j->want_commit;
		checkpoint = j->want_checkpoint;
		j->want_commit = j->want_checkpoint = false;
		j->busy = true;
		pthread_mutex_unlock(&j->lock);
		work(j, commit, checkpoint);
		pthread_mutex_lock(&j->lock);
		j->busy = false;
		pthread_cond_broadcast(&j->changed);
	}
	pthread_mutex_unlock(&j->lock);
	return NULL;
}

int journal_thread_start(struct tfs_fs *fs)
{
	struct tfs_journal *j = fs->journal;
	int err;

	j->threaded = true;
	err = pthread_create(&j->thread, NULL, journal_thread, j);
	if (err)
		j->threaded = false;
	return -err;
}

void journal_thread_stop(struct tfs_fs *fs)
{
	struct tfs_journal *j = fs->journal;

	if (!j || !j->threaded)
		return;
	pthread_mutex_lock(&j->lock);
	j->stop = true;
	pthread_cond_signal(&j->work);
	pthread_mutex_unlock(&j->lock);
	pthread_join(j->thread, NULL);
	j->threaded = false;
	j->stop = false;
}

/* What was acknowledged before goes to the device soon; if nothing can any more, nobody waits for
 * it. */
static void on_broken(struct tfs_fs *fs)
{
	if (atomic_load(&fs->shutdown))
		journal_wake(fs->journal);
	else
		journal_kick(fs);
}

int journal_create(struct tfs_fs *fs, const struct tfs_recovery *r,
		   const struct journal_hooks *hooks)
{
	struct tfs_journal *j = tl_zalloc(sizeof(*j));
	int err;

	if (!j)
		return -ENOMEM;
	j->fs = fs;
	j->hooks = *hooks;
	ring_init(&j->ring, fs->bdev, &fs->super, &fs->geom);
	j->chunk = tl_alloc_aligned(TFS_LOG_BLOCK, LOG_CHUNK + LOG_CHUNK_MORE * TFS_LOG_BLOCK);
	err = j->chunk ? bufcache_enter(fs, fs->geom.super_block, BUF_SUPER, &fs->super, &j->super)
		       : -ENOMEM;
	if (err) {
		tl_free(j->chunk);
		tl_free(j);
		return err;
	}
	j->max_pinned = fs->bufs->limit / 2;
	j->max_tx = min_t(uint64_t, j->ring.size * TFS_LOG_BLOCK / 4, j->max_pinned);
	j->gen = 1;
	j->epoch = r->epoch;
	j->seq = r->seq;
	j->head = r->end;
	atomic_init(&j->durable, r->next_txid - 1);
	journal_tx_begin(j, r->next_txid);
	INIT_LIST_HEAD(&j->cmt.bufs);
	INIT_LIST_HEAD(&j->cmt.freed);
	INIT_LIST_HEAD(&j->committing);
	INIT_LIST_HEAD(&j->ckpt);
	pthread_mutex_init(&j->lock, NULL);
	pthread_cond_init(&j->changed, NULL);
	cond_init_monotonic(&j->work);
	fs->journal = j;
	fs->broken = on_broken;
	return 0;
}

static void drop_running(struct tfs_journal *j)
{
	struct tfs_buf *b, *next;

	list_for_each_entry_safe(b, next, &j->run.bufs, tx_list) {
		list_del_init(&b->tx_list);
		b->dirty = false;
		buf_unpin(b);
		buf_put(b);
	}
	list_splice_tail_init(&j->cmt.freed, &j->run.freed);
	list_for_each_entry_safe(b, next, &j->run.freed, tx_list) {
		list_del_init(&b->tx_list);
		buf_put(b);
	}
}

void journal_destroy(struct tfs_fs *fs)
{
	struct tfs_journal *j = fs->journal;
	struct tfs_buf *b, *next;

	if (!j)
		return;
	assert(!j->threaded && !j->busy);
	drop_running(j);
	list_for_each_entry_safe(b, next, &j->committing, commit_list) {
		list_del_init(&b->commit_list);
		image_put(b->frozen);
		b->frozen = NULL;
		buf_put(b);
	}
	list_for_each_entry_safe(b, next, &j->ckpt, ckpt_list)
		journal_drop_committed(j, b);
	buf_put(j->super);
	tl_free(j->run.release);
	tl_free(j->cmt.release);
	tl_free(j->chunk);
	pthread_mutex_destroy(&j->lock);
	pthread_cond_destroy(&j->changed);
	pthread_cond_destroy(&j->work);
	tl_free(j);
	fs->broken = NULL;
	fs->journal = NULL;
}
