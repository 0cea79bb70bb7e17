/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How often the front end has looked up an inode. */
#include "core/lib/list.h"
#include "fs/inode/dying.h"
#include "fs/inode/icache.h"
#include "fs/inode/icache_priv.h"
#include "fs/inode/inode.h"
#include "fs/inode/lookup_count.h"
#include "fs/inode/lookup_table.h"
#include "fs/state/fs.h"

int lookup_prepare(struct tfs_fs *fs)
{
	struct tfs_icache *ic = fs->icache;
	int err;

	pthread_mutex_lock(&ic->lock);
	/* callers run side by side: room for as many threads as anyone has */
	err = lookup_table_reserve(&ic->lookups, 256);
	pthread_mutex_unlock(&ic->lock);
	return err;
}

int lookup_ref(struct tfs_fs *fs, uint64_t ino, uint64_t n)
{
	struct tfs_icache *ic = fs->icache;
	int err;

	pthread_mutex_lock(&ic->lock);
	err = lookup_table_reserve(&ic->lookups, 1);
	if (!err) {
		uint64_t s = lookup_table_find(&ic->lookups, ino);

		if (!ic->lookups.slots[s].count)
			ic->lookups.used++;
		ic->lookups.slots[s].ino = ino;
		ic->lookups.slots[s].count += n;
	}
	pthread_mutex_unlock(&ic->lock);
	return err;
}

void lookup_unref(struct tfs_fs *fs, uint64_t ino, uint64_t n)
{
	struct tfs_icache *ic = fs->icache;
	struct lookup_table *lk = &ic->lookups;
	struct tfs_inode *i;

	pthread_mutex_lock(&ic->lock);
	if (lookup_table_count(lk, ino) > n) {
		lk->slots[lookup_table_find(lk, ino)].count -= n;
	} else if (lookup_table_count(lk, ino)) {
		lookup_table_delete(lk, lookup_table_find(lk, ino));
		i = *icache_slot(ic, ino);
		if (i)
			inode_judge_locked(i);
		if (i && !i->refs && atomic_load(&i->unlinked))
			icache_park_locked(ic, i);
	}
	pthread_mutex_unlock(&ic->lock);
}

void lookup_forget_all(struct tfs_fs *fs)
{
	struct tfs_icache *ic = fs->icache;
	struct tfs_inode *i, *n;

	pthread_mutex_lock(&ic->lock);
	lookup_table_free(&ic->lookups);
	list_for_each_entry_safe(i, n, &ic->lru, lru) {
		if (atomic_load(&i->unlinked))
			list_move_tail(&i->lru, &ic->reap);
	}
	pthread_mutex_unlock(&ic->lock);
}
