/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Unused inodes leave memory. */
#include "core/lib/list.h"
#include "core/lib/trace.h"
#include "core/lib/util.h"
#include "core/pagecache/pagecache.h"
#include "fs/inode/evict.h"
#include "fs/inode/icache.h"
#include "fs/inode/icache_priv.h"
#include "fs/inode/inode.h"
#include "fs/inode/inode_flush.h"
#include "fs/state/fs.h"

#define ICACHE_SCAN 16u /* inodes looked at per trim: the price a caller pays at most */

/*
 * May @i leave memory?  icache lock held, and one reference of ours: with none but that, nobody
 * else has the inode, so nothing of it can change; and once it is INODE_FREEING nobody gets it any
 * more.  All is looked at in this one moment, for whatever was seen before is old: flushing waits
 * for the journal, and people open, write and close meanwhile. (Writeback on its way holds a
 * reference or has its blocks counted as busy.)
 */
static bool may_go_locked(struct tfs_inode *i)
{
	/* whatever the item lacks, times or size, is told by the list */
	if (i->refs != 1 || !list_empty(&i->dirty) || atomic_load(&i->stale))
		return false;
	/* those who hold a lookup count of an unlinked inode have only this object to find it
	 * unlinked by */
	if (atomic_load(&i->unlinked) || atomic_load(&i->intent) || atomic_load(&i->trunc_pending))
		return false;
	return !inode_is_reg(i) || !mapping_busy(&i->mapping);
}

/* An unused inode is taken out of memory; its item must say all that memory knows.  Returns false
 * if it has to stay. */
static bool try_evict(struct tfs_icache *ic, struct tfs_inode *i)
{
	uint64_t size = inode_is_reg(i) ? i_size_read(&i->mapping) : 0;
	bool go;

	/* @i is pinned by one reference of ours; what is busy would have to stay, so its item need
	 * not be written */
	if (inode_is_reg(i) && mapping_busy(&i->mapping))
		return false;
	if (inode_flush(i, false, size))
		return false;
	pthread_mutex_lock(&ic->lock);
	go = may_go_locked(i);
	if (go)
		i->state |= INODE_FREEING;
	pthread_mutex_unlock(&ic->lock);
	if (!go)
		return false;
	assert(!inode_is_reg(i) || !mapping_busy(&i->mapping));
	inode_drop_pages(i);
	pthread_mutex_lock(&ic->lock);
	assert(i->refs == 1);
	icache_remove_locked(ic, i);
	ic->evicted++;
	trace1(inode_evict, i->ino);
	pthread_mutex_unlock(&ic->lock);
	inode_free(i);
	return true;
}

void icache_trim(struct tfs_fs *fs)
{
	struct tfs_icache *ic = fs->icache;

	for (unsigned int n = 0; n < ICACHE_SCAN; n++) {
		struct tfs_inode *i = NULL;

		pthread_mutex_lock(&ic->lock);
		if (ic->nr_inodes > ic->limit && !list_empty(&ic->lru)) {
			i = list_first_entry(&ic->lru, struct tfs_inode, lru);
			inode_hold_locked(i);
		}
		pthread_mutex_unlock(&ic->lock);
		if (!i)
			return;
		if (!try_evict(ic, i))
			inode_put(i); /* to the far end of the list */
	}
}
