/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The journal: the running transaction, and who commits and checkpoints when.
 *
 * The running transaction belongs to whoever holds meta_lock exclusively.
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
#include "core/lib/list.h"
#include "core/lib/trace.h"
#include "core/lib/util.h"
#include "core/lib/workqueue.h"
#include "fs/disk/super.h"
#include "fs/journal/buffer.h"
#include "fs/journal/buffer_priv.h"
#include "fs/journal/journal.h"
#include "fs/journal/journal_priv.h"
#include "fs/journal/trans.h"
#include "fs/journal/tuple.h"
#include "fs/state/error.h"
#include "fs/state/fs.h"
#include "tallyfs/format.h"

#define BASE_BYTES REC_BYTES(TFS_SUPER_BYTES) /* every transaction has the superblock in it */

static uint64_t load(atomic_ullong *x)
{
	return atomic_load_explicit(x, memory_order_relaxed);
}

static void add(atomic_ullong *x, uint64_t n)
{
	atomic_fetch_add_explicit(x, n, memory_order_relaxed);
}

/* ---- the running transaction ---- */

static void tx_init(struct tfs_tx *tx, uint64_t txid)
{
	memset(tx, 0, sizeof(*tx));
	tx->txid = txid;
	INIT_LIST_HEAD(&tx->bufs);
	INIT_LIST_HEAD(&tx->freed);
}

void journal_tx_begin(struct tfs_journal *j, uint64_t txid)
{
	tx_init(&j->run, txid);
	atomic_store(&j->run_txid, txid);
	atomic_store(&j->run_bytes, BASE_BYTES);
}

static void count_in(struct tfs_journal *j, struct tfs_buf *b)
{
	if (!b || b->counted_txid == j->run.txid)
		return;
	b->counted_txid = j->run.txid;
	add(&j->run_bytes, REC_BYTES(b->bytes));
}

void journal_join(struct tfs_journal *j, struct tfs_buf *b)
{
	assert(b->dirty && list_empty(&b->tx_list));
	list_add_tail(&buf_hold(b)->tx_list, &j->run.bufs);
	if (b != j->super)
		count_in(j, b);
	count_in(j, b->pins[0]);
	count_in(j, b->pins[1]);
}

void journal_revoke(struct tfs_journal *j, struct tfs_buf *b)
{
	if (list_empty(&b->tx_list))
		buf_hold(b);
	list_move_tail(&b->tx_list, &j->run.freed);
	j->run.nr_freed++;
	add(&j->run_bytes, REC_BYTES(0));
}

int journal_defer_release(struct tfs_trans *t, uint64_t start, uint64_t n)
{
	struct tfs_tx *tx = &t->fs->journal->run;
	struct tx_range *r;
	size_t max;

	assert(t->active && t->write);
	if (tx->nr_release) {
		r = &tx->release[tx->nr_release - 1];
		if (r->start + r->n == start) {
			r->n += n;
			return 0;
		}
	}
	if (tx->nr_release == tx->max_release) {
		max = tx->max_release ? 2 * tx->max_release : 64;
		r = tl_realloc(tx->release, max * sizeof(*r));
		if (!r)
			return -ENOMEM;
		tx->release = r;
		tx->max_release = max;
	}
	tx->release[tx->nr_release++] = (struct tx_range){ .start = start, .n = n };
	t->modified = true;
	return 0;
}

static bool tx_empty(struct tfs_journal *j)
{
	const struct tfs_super *s = buf_data(j->super);

	if (atomic_load(&j->fs->inconsistent) && !(le32_get(s->state) & TFS_STATE_ERRORS))
		return false;
	return list_empty(&j->run.bufs) && list_empty(&j->run.freed) && !j->run.nr_release &&
	       !j->fs->super_dirty && le64_get(s->mismatches) == atomic_load(&j->fs->mismatches);
}

uint64_t journal_running_txid(struct tfs_fs *fs)
{
	return fs->journal ? load(&fs->journal->run_txid) : 0;
}

uint64_t journal_durable_txid(struct tfs_fs *fs)
{
	return fs->journal ? atomic_load(&fs->journal->durable) : 0;
}

/* ---- freezing; meta_lock exclusive ---- */

static void fill_super(struct tfs_journal *j, struct tfs_super *s)
{
	struct tfs_fs *fs = j->fs;
	uint32_t state = le32_get(fs->super.state);
	int i;

	if (atomic_load(&fs->inconsistent))
		state |= TFS_STATE_ERRORS;
	fs->super.state = le32_of(state);
	s->state = fs->super.state;
	s->txid = le64_of(j->run.txid);
	s->groups_init = le64_of(fs->cnt.groups_init);
	s->free_blocks = le64_of(fs->cnt.free_blocks);
	s->free_slots = le64_of(fs->cnt.free_slots);
	s->data_blocks = le64_of(fs->cnt.data_blocks);
	s->node_blocks = le64_of(fs->cnt.node_blocks);
	s->nr_extents = le64_of(fs->cnt.nr_extents);
	s->shared_extents = le64_of(fs->cnt.shared_extents);
	s->nr_inodes = le64_of(fs->cnt.nr_inodes);
	s->next_ino = le64_of(fs->cnt.next_ino);
	s->mount_time = fs->super.mount_time;
	s->mount_count = fs->super.mount_count;
	s->check_time = fs->super.check_time;
	s->mismatches = le64_of(atomic_load(&fs->mismatches));
	for (i = 0; i < TFS_NR_TREES; i++) {
		s->roots[i].addr = le64_of(fs->roots[i].addr);
		s->roots[i].level = le32_of(fs->roots[i].level);
	}
	tfs_super_seal(s);
}

/* Everything that vouches for something else, from the leaves of trust up to the superblock. */
static int seal(struct tfs_journal *j)
{
	struct tfs_trans t = {
		.fs = j->fs, .active = true, .write = true, .modified = true, .txid = j->run.txid
	};
	int err;

	err = tuple_seal_nodes(&t, &j->run.bufs);
	if (!err)
		err = j->hooks.seal(&t, &j->run.bufs);
	if (!err)
		err = buf_modify(&t, j->super);
	if (err)
		return err;
	fill_super(j, buf_data(j->super));
	buf_log(&t, j->super, offsetof(struct tfs_super, csum), sizeof(le64));
	buf_log(&t, j->super, offsetof(struct tfs_super, txid),
		offsetof(struct tfs_super, reserved) - offsetof(struct tfs_super, txid));
	j->fs->super_dirty = false;
	return 0;
}

/* Ranges may be logged only on top of an image in this log, and only if they are worth it. */
static bool log_whole(const struct tfs_journal *j, const struct tfs_buf *b)
{
	uint64_t bytes = 0;
	unsigned int i;

	if (b->whole || !b->nr_ranges || b->log_gen != j->gen)
		return true;
	for (i = 0; i < b->nr_ranges; i++)
		bytes += REC_BYTES(b->ranges[i].len);
	return bytes >= b->bytes;
}

static void freeze_buf(struct tfs_journal *j, struct tfs_buf *b)
{
	assert(b->dirty && !b->frozen);
	b->frozen = image_get(b->image);
	b->frozen_whole = log_whole(j, b);
	b->nr_frozen = b->frozen_whole ? 0 : b->nr_ranges;
	memcpy(b->frozen_ranges, b->ranges, b->nr_frozen * sizeof(b->ranges[0]));
	b->dirty = false;
	buf_unpin(b);
	list_del_init(&b->tx_list);
	list_add_tail(&b->commit_list, &j->committing); /* with the reference */
}

/* The running transaction becomes j->cmt and a new one runs. */
static void freeze(struct tfs_journal *j)
{
	struct tfs_buf *b, *next;

	list_for_each_entry_safe(b, next, &j->run.bufs, tx_list)
		freeze_buf(j, b);
	j->cmt = j->run;
	INIT_LIST_HEAD(&j->cmt.bufs);
	INIT_LIST_HEAD(&j->cmt.freed);
	list_splice_tail_init(&j->run.freed, &j->cmt.freed);
	journal_tx_begin(j, j->cmt.txid + 1);
}

/* Log blocks that @bytes of payload take, with the two commit records. */
static uint64_t log_blocks(uint64_t bytes)
{
	return div_up(bytes, TFS_LOG_BLOCK) + 2;
}

static bool fits(struct tfs_journal *j, uint64_t bytes)
{
	return load(&j->used) + log_blocks(bytes) <
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
		if (err || tx_empty(j) || fits(j, load(&j->run_bytes)))
			break;
		pthread_rwlock_unlock(&fs->meta_lock);
		err = load(&j->used) ? journal_checkpoint_once(j) : -EFBIG;
		if (err)
			return err;
	}
	if (!err && !tx_empty(j)) {
		err = seal(j);
		if (!err) {
			freeze(j);
			err = 1;
		}
	}
	pthread_rwlock_unlock(&fs->meta_lock);
	return err;
}

/* ---- after the commit is durable ---- */

void journal_drop_committed(struct tfs_journal *j, struct tfs_buf *b)
{
	if (!b->committed)
		return;
	atomic_fetch_sub_explicit(&j->pinned, b->bytes, memory_order_relaxed);
	image_put(b->committed);
	b->committed = NULL;
	list_del_init(&b->ckpt_list);
	buf_put(b);
}

static void became_durable(struct tfs_journal *j)
{
	struct tfs_buf *b, *next;
	size_t i;

	list_for_each_entry_safe(b, next, &j->committing, commit_list) {
		list_del_init(&b->commit_list);
		journal_drop_committed(j, b);
		b->committed = b->frozen;
		b->frozen = NULL;
		if (b->frozen_whole)
			b->log_gen = j->gen;
		list_add_tail(&b->ckpt_list, &j->ckpt); /* the reference moves here */
		add(&j->pinned, b->bytes);
	}
	/* Only now may the blocks become something else: no image of them will be written any
	 * more. */
	list_for_each_entry_safe(b, next, &j->cmt.freed, tx_list) {
		list_del_init(&b->tx_list);
		journal_drop_committed(j, b);
		buf_put(b);
	}
	for (i = 0; i < j->cmt.nr_release; i++)
		j->hooks.release(j->fs, j->cmt.release[i].start, j->cmt.release[i].n);
	tl_free(j->cmt.release);
	j->cmt.release = NULL;
	j->cmt.nr_release = j->cmt.max_release = 0;
	add(&j->nr_commits, 1);
	atomic_store(&j->durable, j->cmt.txid);
}

int journal_commit_once(struct tfs_journal *j)
{
	int err = lock_and_freeze(j);

	if (err == 1) {
		uint64_t payload = journal_payload_bytes(j);

		journal_wake(j); /* room for new sections while we write */
		err = journal_write_tx(j, payload);
		trace3(journal_commit, j->cmt.txid, payload, err);
		if (!err)
			became_durable(j);
	}
	if (err && !atomic_load(&j->fs->shutdown))
		tfs_fs_shutdown(j->fs, err, "the journal could not be written: %s", strerror(-err));
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
	return load(&j->used) > j->ring.size / 2 || load(&j->pinned) > j->max_pinned;
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
	uint64_t run = load(&j->run_bytes);

	return run == BASE_BYTES || run + credits <= j->max_tx;
}

static bool log_has_room(struct tfs_journal *j, uint64_t credits)
{
	return !load(&j->used) || fits(j, load(&j->run_bytes) + credits);
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

uint64_t journal_pinned_bytes(struct tfs_journal *j)
{
	return load(&j->pinned) + load(&j->run_bytes) - BASE_BYTES;
}

void journal_get_stats(struct tfs_fs *fs, struct tfs_journal_stats *st)
{
	struct tfs_journal *j = fs->journal;

	memset(st, 0, sizeof(*st));
	if (!j)
		return;
	st->running_txid = load(&j->run_txid);
	st->durable_txid = load(&j->durable);
	st->commits = load(&j->nr_commits);
	st->checkpoints = load(&j->nr_checkpoints);
	st->log_bytes = load(&j->log_bytes);
	st->log_used = load(&j->used) * TFS_LOG_BLOCK;
	st->log_size = j->ring.size * TFS_LOG_BLOCK;
	st->images = load(&j->nr_images);
	st->ranges = load(&j->nr_ranges);
	st->revokes = load(&j->nr_revokes);
}
