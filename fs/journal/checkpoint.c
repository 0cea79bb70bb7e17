/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Checkpoint: committed images go home, then the log is empty.
 *
 * Order: images and copies of the superblock -> FLUSH -> primary superblock -> FLUSH ->
 * the header copy not in force, with the new tail -> FLUSH -> the other -> FLUSH.  The log's space
 * is reused only after the last of these, so whichever header copy a crash leaves in force, the log
 * it points to is whole: replaying transactions that are home already writes the same once more.
 * Without a superblock nobody finds the log, so the primary is never in flight together with its
 * copies: a cut that ruins all that is being written leaves one.
 *
 * The generation goes up first: what is committed from now on starts with full
 * images again, for the ones logged so far are about to be cut off.
 */
#include <errno.h>
#include <string.h>
#include "core/block/bdev.h"
#include "core/lib/list.h"
#include "core/lib/log.h"
#include "core/lib/trace.h"
#include "core/lib/util.h"
#include "fs/disk/geom.h"
#include "fs/disk/log_ring.h"
#include "fs/disk/super.h"
#include "fs/journal/buffer.h"
#include "fs/journal/checkpoint.h"
#include "fs/journal/journal.h"
#include "fs/journal/journal_priv.h"
#include "fs/journal/trans.h"
#include "fs/state/error.h"
#include "fs/state/fs.h"
#include "tallyfs/format.h"

#define HOME_MAX_BYTES (1u << 20) /* per device write */

int home_flush(struct home_writer *w)
{
	int err = 0;

	if (w->n)
		err = bdev_writev(w->bdev, w->iov, w->n, w->start);
	w->n = 0;
	return err;
}

int home_write(struct home_writer *w, uint64_t off, const void *data, uint32_t bytes)
{
	int err = 0;

	if (w->n && (off != w->end || w->n == HOME_VECS || w->end - w->start >= HOME_MAX_BYTES))
		err = home_flush(w);
	if (!w->n)
		w->start = off;
	w->iov[w->n].iov_base = (void *)(uintptr_t)data;
	w->iov[w->n++].iov_len = bytes;
	w->end = off + bytes;
	return err;
}

int home_write_super_copies(struct bdev *b, const struct tfs_geom *g, const void *super, bool *lost)
{
	static struct ratelimit limit = RATELIMIT_INIT;
	int i, err = 0, first_err = 0;
	bool written = false;
	unsigned int held;

	for (i = 0; i < 2; i++) {
		if (!g->super_copies[i])
			continue;
		err = bdev_write(b, super, TFS_SUPER_BYTES, g->super_copies[i] << g->blkbits);
		if (err && ratelimit_ok(&limit, &held))
			log_warn("%s: copy %d of the superblock can't be written: %s; the device "
				 "may be failing",
				 b->name, i + 1, strerror(-err));
		written |= !err;
		first_err = first_err ? first_err : err;
	}
	if (!written)
		return first_err;
	*lost |= first_err != 0;
	return 0;
}

int home_write_super(struct bdev *b, const struct tfs_geom *g, const void *super)
{
	int err = bdev_flush(b);

	if (!err)
		err = bdev_write(b, super, TFS_SUPER_BYTES, g->super_block << g->blkbits);
	return err ? err : bdev_flush(b);
}

static int by_block(const struct list_head *a, const struct list_head *b)
{
	uint64_t x = list_entry(a, struct tfs_buf, ckpt_list)->block,
		 y = list_entry(b, struct tfs_buf, ckpt_list)->block;

	return x < y ? -1 : x > y;
}

static int write_home(struct tfs_journal *j)
{
	struct tfs_fs *fs = j->fs;
	struct home_writer w = { .bdev = fs->bdev };
	const void *super = NULL;
	struct tfs_buf *b;
	bool lost = false;
	int err = 0;

	list_sort(&j->ckpt, by_block);
	list_for_each_entry(b, &j->ckpt, ckpt_list) {
		if (b->kind == BUF_SUPER)
			super = b->committed->data;
		else
			err = home_write(&w, tfs_block_to_byte(fs, b->block), b->committed->data,
					 b->bytes);
		if (err)
			return err;
	}
	err = home_flush(&w);
	if (!err && super)
		err = home_write_super_copies(fs->bdev, &fs->geom, super, &lost);
	if (lost)
		atomic_store(&fs->inconsistent, true); /* told with the next commit */
	if (err)
		return err;
	return super ? home_write_super(fs->bdev, &fs->geom, super) : bdev_flush(fs->bdev);
}

static int empty_log(struct tfs_journal *j)
{
	struct log_head h = { .epoch = j->epoch,
			      .seq = ++j->seq,
			      .tail = j->head,
			      .tail_txid = atomic_load(&j->durable) + 1 };
	struct tfs_buf *b, *next;
	int err;

	j->gen++;
	err = write_home(j);
	if (!err)
		err = log_write_headers(&j->ring, &h);
	if (err) {
		j->failed = true;
		return err;
	}
	list_for_each_entry_safe(b, next, &j->ckpt, ckpt_list)
		journal_drop_committed(j, b);
	atomic_store(&j->used, 0);
	atomic_fetch_add(&j->nr_checkpoints, 1);
	return 0;
}

int journal_checkpoint_once(struct tfs_journal *j)
{
	struct tfs_fs *fs = j->fs;
	uint64_t used = atomic_load(&j->used);
	int err = atomic_load(&fs->shutdown);

	if (err || !used)
		return err;
	err = empty_log(j);
	if (err) {
		tfs_force_shutdown(fs, err, "the checkpoint could not be written: %s",
				   strerror(-err));
		return err;
	}
	trace3(journal_checkpoint, atomic_load(&j->durable), used, err);
	journal_wake(j);
	return 0;
}

/*
 * What was committed before the error is sound.  Bring it home, and only then
 * change the superblock there: the log would put its own over it.
 */
void journal_mark_broken(struct tfs_journal *j)
{
	struct tfs_fs *fs = j->fs;
	struct tfs_super *s;
	bool lost = false;
	int err = 0;

	if (j->failed)
		return;
	s = tl_alloc_aligned(4096, sizeof(*s));
	if (!s)
		return;
	if (atomic_load(&j->used))
		err = empty_log(j);
	memcpy(s, buf_data(j->super), sizeof(*s));
	s->state = le32_of(le32_get(s->state) | TFS_STATE_ERRORS);
	s->mismatches = le64_of(atomic_load(&fs->mismatches));
	tfs_super_seal(s);
	if (!err)
		err = home_write_super_copies(fs->bdev, &fs->geom, s, &lost);
	if (!err)
		err = home_write_super(fs->bdev, &fs->geom, s);
	if (err)
		log_err("%s: could not be marked as in need of a check: %s", fs->bdev->name,
			strerror(-err));
	tl_free(s);
}
