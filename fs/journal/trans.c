/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sections: begin, start over, end. */
#include <errno.h>
#include <string.h>
#include "core/lib/trace.h"
#include "fs/journal/buffer_load.h"
#include "fs/journal/journal.h"
#include "fs/journal/journal_priv.h"
#include "fs/journal/trans.h"
#include "fs/state/error.h"
#include "fs/state/fs.h"

/* then blocks are read on the spot: something takes them away as fast as we read them */
#define MAX_TRIES 100

/* Sections do not nest: asserted. */
static __thread bool inside;

static void begin(struct tfs_trans *t, struct tfs_fs *fs, bool write)
{
	*t = (struct tfs_trans){ .fs = fs, .write = write, .tries = t->tries, .sync = t->sync };
}

void trans_read_begin(struct tfs_trans *t, struct tfs_fs *fs)
{
	assert(!inside);
	begin(t, fs, false);
	pthread_rwlock_rdlock(&fs->meta_lock);
	inside = true;
	t->active = true;
}

static int may_write(struct tfs_fs *fs, bool settle)
{
	int err = atomic_load(&fs->shutdown);

	if (err)
		return err;
	return fs->opts.ro || (!settle && atomic_load(&fs->read_only)) ? -EROFS : 0;
}

static int begin_write(struct tfs_trans *t, struct tfs_fs *fs, uint64_t credits, bool settle)
{
	int err;

	assert(!inside);
	begin(t, fs, true);
	for (;;) {
		err = may_write(fs, settle);
		if (err)
			return err;
		pthread_rwlock_wrlock(&fs->meta_lock);
		if (journal_has_room(fs->journal, credits))
			break;
		pthread_rwlock_unlock(&fs->meta_lock);
		journal_make_room(fs->journal, credits);
	}
	err = may_write(fs, settle);
	if (err) {
		pthread_rwlock_unlock(&fs->meta_lock);
		return err;
	}
	inside = true;
	t->active = true;
	t->txid = journal_running_txid(fs);
	return 0;
}

int trans_begin(struct tfs_trans *t, struct tfs_fs *fs, uint64_t credits)
{
	return begin_write(t, fs, credits, false);
}

int trans_begin_settle(struct tfs_trans *t, struct tfs_fs *fs, uint64_t credits)
{
	return begin_write(t, fs, credits, true);
}

uint64_t trans_max_credits(struct tfs_fs *fs)
{
	return fs->journal ? journal_max_credits(fs->journal) : 0;
}

/*
 * Everything that can be refused was looked at before the first change: what fails behind it, and
 * is not for want of memory, space or a device, fails because the image contradicts itself.
 */
static int as_damage(int err)
{
	switch (err) {
	case -EIO:
	case -ENOMEM:
	case -ENOSPC:
	case -EPROTONOSUPPORT:
		return err;
	}
	return -EUCLEAN;
}

/* With the section's lock still held, so that nobody builds upon, or commits, half a change. */
static int half_changed(struct tfs_trans *t, int err)
{
	err = as_damage(err);
	tfs_force_shutdown(t->fs, err, "transaction %llu was left half made (%s)",
			   (unsigned long long)t->txid, strerror(-err));
	return err;
}

bool trans_again(struct tfs_trans *t, int *err)
{
	struct tfs_fs *fs = t->fs;
	int load;

	if (!t->active)
		return false;
	if (t->modified && *err < 0)
		*err = half_changed(t, *err);
	t->active = false;
	inside = false;
	pthread_rwlock_unlock(&fs->meta_lock);
	if (*err != -TRANS_RESTART || t->modified || !t->missed) {
		*t = (struct tfs_trans){ 0 };
		return false;
	}
	load = buf_load(fs, t->miss_block, t->miss_kind);
	if (load == -ENOMEM) {
		*t = (struct tfs_trans){ 0 };
		*err = load;
		return false;
	}
	t->tries++;
	trace3(trans_restart, t->miss_block, t->miss_kind, t->tries);
	/* A failure may mean that the block is not the one we want any more: the section itself
	 * finds out. */
	t->sync = load || t->tries > MAX_TRIES;
	return true;
}
