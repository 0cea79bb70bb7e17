/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is in a transaction: while it runs, when it is frozen, and when it has become durable.
 *
 * The running transaction belongs to whoever holds meta_lock exclusively; the one being committed
 * to the owner of `busy` (journal.c).
 */
#include <errno.h>
#include <string.h>
#include "core/lib/list.h"
#include "core/lib/util.h"
#include "fs/disk/super.h"
#include "fs/journal/buffer.h"
#include "fs/journal/image.h"
#include "fs/journal/journal.h"
#include "fs/journal/journal_priv.h"
#include "fs/journal/journal_tx.h"
#include "fs/journal/trans.h"
#include "fs/journal/tuple.h"
#include "fs/state/fs.h"
#include "tallyfs/format.h"

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
	counter_add(&j->run_bytes, REC_BYTES(b->bytes));
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
	counter_add(&j->run_bytes, REC_BYTES(0));
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

bool journal_tx_empty(struct tfs_journal *j)
{
	const struct tfs_super *s = buf_data(j->super);

	if (atomic_load(&j->fs->inconsistent) && !(le32_get(s->state) & TFS_STATE_ERRORS))
		return false;
	return list_empty(&j->run.bufs) && list_empty(&j->run.freed) && !j->run.nr_release &&
	       !j->fs->super_dirty && le64_get(s->mismatches) == atomic_load(&j->fs->mismatches);
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

int journal_tx_seal(struct tfs_journal *j)
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

void journal_tx_freeze(struct tfs_journal *j)
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

void journal_tx_durable(struct tfs_journal *j)
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
		counter_add(&j->pinned, b->bytes);
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
	counter_add(&j->nr_commits, 1);
	atomic_store(&j->durable, j->cmt.txid);
}
