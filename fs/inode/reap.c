/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The reaper: inodes without a name whose last user has gone, and at mount what a
 * crash left behind.
 *
 * The transaction that removed the last name left an ORPHAN item; without it nothing is
 * removed.  Removal then takes as
 * many transactions as it needs: extents, then attributes and all else under the inode's
 * number, and in the last one the inode item together with the orphan.
 */
#include <errno.h>
#include "core/block/bdev.h"
#include "core/lib/list.h"
#include "core/lib/log.h"
#include "core/pagecache/pagecache.h"
#include "fs/btree/btree.h"
#include "fs/btree/btree_delete.h"
#include "fs/disk/btree_key.h"
#include "fs/inode/icache.h"
#include "fs/inode/icache_priv.h"
#include "fs/inode/iget.h"
#include "fs/inode/inode.h"
#include "fs/inode/inode_flush.h"
#include "fs/inode/reap.h"
#include "fs/inode/truncate.h"
#include "fs/journal/trans.h"
#include "fs/names/orphan.h"
#include "fs/state/error.h"
#include "fs/state/fs.h"
#include "tallyfs/format.h"

#define ITEMS_PER_STEP 16u

static int look_inode(struct tfs_trans *t, uint64_t ino)
{
	struct tkey orphan = TKEY(TFS_INO_META, TFS_KEY_ORPHAN, ino);
	struct tkey intent = TKEY(TFS_INO_META, TFS_KEY_INTENT, ino);
	int err = inode_prefault(t, ino);

	if (!err)
		err = btree_prefault(t, TFS_TREE_FS, &orphan);
	if (!err)
		err = btree_prefault(t, TFS_TREE_FS, &intent);
	return err;
}

static int remove_inode(struct tfs_trans *t, uint64_t ino)
{
	struct tkey item = TKEY(ino, TFS_KEY_INODE, 0);
	int err = btree_delete(t, TFS_TREE_FS, &item);

	if (!err)
		err = orphan_remove(t, ino);
	if (err)
		return err;
	err = intent_remove(t, ino);
	if (err && err != -ENOENT)
		return err;
	t->fs->cnt.nr_inodes--;
	t->fs->super_dirty = true;
	return 0;
}

/* Some of what is left; with the last of it the inode itself. */
static int remove_step(struct tfs_trans *t, uint64_t ino, bool *more)
{
	/* everything but the inode item */
	struct tkey from = TKEY(ino, TFS_KEY_LINK, 0), to = TKEY(ino, TFS_KEY_DIRENT + 1, 0);
	unsigned int done;
	int err = look_inode(t, ino);

	if (!err)
		err = btree_prefault(t, TFS_TREE_FS, &from);
	if (!err)
		err = btree_delete_range(t, TFS_TREE_FS, &from, &to, ITEMS_PER_STEP, &done, more);
	return err || *more ? err : remove_inode(t, ino);
}

/* Before anything of it goes: is it one that may go?  An image can say that a file with a name has
 * no links. */
static int check_listed(struct tfs_fs *fs, uint64_t ino)
{
	return TRANS_READ(t, fs, orphan_check(t, ino, true));
}

/* Nobody else can reach the inode. */
static int reap_inode(struct tfs_inode *i)
{
	struct tfs_fs *fs = i->fs;
	bool more = true;
	int err = check_listed(fs, i->ino);

	if (!err && inode_is_reg(i)) {
		truncate_inode_pages(&i->mapping, 0);
		err = inode_remove_extents(i, 0, UINT64_MAX);
	}
	while (!err && more)
		err = TRANS_WRITE(t, fs, TRANS_CREDITS(fs), remove_step(t, i->ino, &more));
	return err;
}

/* The next inode to be removed for good: no longer to be found.  NULL: none. */
static struct tfs_inode *take_dead(struct tfs_fs *fs)
{
	struct tfs_icache *ic = fs->icache;
	struct tfs_inode *i = NULL;

	pthread_mutex_lock(&ic->lock);
	if (!list_empty(&ic->reap)) {
		i = list_first_entry(&ic->reap, struct tfs_inode, lru);
		list_del_init(&i->lru);
		i->state |= INODE_FREEING | INODE_REAPING;
	}
	pthread_mutex_unlock(&ic->lock);
	return i;
}

static void drop_dead(struct tfs_inode *i)
{
	struct tfs_icache *ic = i->fs->icache;

	inode_drop_pages(i);
	pthread_mutex_lock(&ic->lock);
	/* a completion worker may be about to let go of it */
	while (i->refs)
		pthread_cond_wait(&ic->cond, &ic->lock);
	icache_remove_locked(ic, i);
	ic->reaped++;
	pthread_mutex_unlock(&ic->lock);
	inode_free(i);
}

void reap_run(struct tfs_fs *fs)
{
	struct tfs_inode *i;

	while ((i = take_dead(fs))) {
		/* if it can't be done now, the orphan item sees to it at the next mount */
		int err = fs->opts.ro ? 0 : reap_inode(i);

		if (err && err != -EROFS)
			log_warn("%s: inode %llu could not be removed (error %d); the next mount "
				 "tries again",
				 fs->bdev->name, (unsigned long long)i->ino, err);
		drop_dead(i);
	}
}

/* ---- at mount ---- */

static int next_intent(struct tfs_fs *fs, uint64_t after, uint64_t *ino, struct tfs_intent_item *it)
{
	return TRANS_READ(t, fs, intent_next(t, after, ino, it));
}

static int next_orphan(struct tfs_fs *fs, uint64_t after, uint64_t *ino)
{
	return TRANS_READ(t, fs, orphan_next(t, after, ino));
}

static int finish_intents(struct tfs_fs *fs)
{
	struct tfs_intent_item it;
	struct tfs_inode *i;
	uint64_t ino = 0;
	int err;

	while (!(err = next_intent(fs, ino, &ino, &it))) {
		if (le32_get(it.op) != TFS_INTENT_TRUNCATE)
			return tfs_handle_fs_error(fs, -EUCLEAN, "inode %llu: unknown intent",
						   (unsigned long long)ino);
		err = inode_get(fs, ino, &i);
		if (err == -ESTALE)
			return tfs_handle_fs_error(fs, -EUCLEAN,
						   "intent for inode %llu, which does not exist",
						   (unsigned long long)ino);
		if (err)
			return err;
		if (inode_is_reg(i))
			err = inode_finish_intent(i, le64_get(it.arg));
		inode_put(i);
		if (err)
			return err;
	}
	return err == -ENOENT ? 0 : err;
}

int reap_mount(struct tfs_fs *fs)
{
	struct tfs_inode *i;
	uint64_t ino = 0, n = 0;
	int err = finish_intents(fs);

	if (err)
		return err;
	while (!(err = next_orphan(fs, ino, &ino))) {
		err = inode_get(fs, ino, &i);
		if (err == -ESTALE || (!err && !atomic_load(&i->unlinked))) {
			if (!err)
				inode_put(i);
			return tfs_handle_fs_error(fs, -EUCLEAN,
						   "inode %llu is listed as unlinked, but is not",
						   (unsigned long long)ino);
		}
		if (err)
			return err;
		inode_put(i);
		reap_run(fs);
		n++;
	}
	if (n)
		log_info("%s: removed %llu unlinked files left behind", fs->bdev->name,
			 (unsigned long long)n);
	return err == -ENOENT ? 0 : err;
}
