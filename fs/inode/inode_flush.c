/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An inode's attributes: to the item in the tree, and to those who ask. */
#include <errno.h>
#include <sys/sysmacros.h>
#include <time.h>
#include "core/lib/list.h"
#include "core/lib/util.h"
#include "core/pagecache/pagecache.h"
#include "fs/btree/btree.h"
#include "fs/disk/btree_key.h"
#include "fs/inode/icache.h"
#include "fs/inode/inode.h"
#include "fs/inode/inode_flush.h"
#include "fs/inode/inode_lock.h"
#include "fs/inode/truncate.h"
#include "fs/journal/trans.h"
#include "fs/names/inode_item.h"
#include "fs/state/fs.h"
#include "tallyfs/format.h"

static struct tfs_time time_put(struct timespec ts)
{
	return (struct tfs_time){ .sec = le64_of((uint64_t)ts.tv_sec),
				  .nsec = le32_of((uint32_t)ts.tv_nsec) };
}

struct timespec tfs_now(void)
{
	struct timespec ts;

	/* the kernel's own clock for file times: a coarse one, so that both agree on "the same
	 * moment" */
	clock_gettime(CLOCK_REALTIME_COARSE, &ts);
	return ts;
}

void inode_item_of(struct tfs_inode *i, struct tfs_inode_item *it)
{
	struct tfs_iattr a;

	pthread_mutex_lock(&i->attr_lock);
	a = i->a;
	pthread_mutex_unlock(&i->attr_lock);
	*it = (struct tfs_inode_item){
		.mode = le32_of(a.mode),
		.uid = le32_of(a.uid),
		.gid = le32_of(a.gid),
		.nlink = le32_of(a.nlink),
		.size = le64_of(S_ISDIR(a.mode) ? a.entries : i->d_size),
		.blocks = le64_of(a.blocks),
		.generation = le64_of(a.generation),
		.rdev = le64_of((uint64_t)major(a.rdev) << 32 | minor(a.rdev)),
		.flags = le32_of(a.flags),
		.xattr_value_id = le32_of(a.xattr_value_id),
		.atime = time_put(a.atime),
		.mtime = time_put(a.mtime),
		.ctime = time_put(a.ctime),
		.btime = time_put(a.btime),
	};
}

int inode_prefault(struct tfs_trans *t, uint64_t ino)
{
	struct tkey key = TKEY(ino, TFS_KEY_INODE, 0);

	return btree_prefault(t, TFS_TREE_FS, &key);
}

int inode_write(struct tfs_trans *t, struct tfs_inode *i)
{
	struct tfs_inode_item it;
	int err;

	/* before it looks clean: who finds nothing to write waits for this transaction */
	atomic_store(&i->txid, t->txid);
	/* first: what changes from here on is stale again */
	atomic_store(&i->stale, false);
	inode_item_of(i, &it);
	err = inode_item_write(t, i->ino, &it);
	if (err)
		atomic_store(&i->stale, true);
	return err;
}

void inode_mark_dirty(struct tfs_inode *i)
{
	struct tfs_icache *ic = i->fs->icache;

	atomic_store(&i->stale, true);
	pthread_mutex_lock(&ic->lock);
	if (list_empty(&i->dirty))
		list_add_tail(&i->dirty, &ic->dirty);
	pthread_mutex_unlock(&ic->lock);
}

static int flush_in_section(struct tfs_trans *t, struct tfs_inode *i, uint64_t size)
{
	int err = inode_prefault(t, i->ino);

	if (err)
		return err;
	/* a truncation since @size was looked at has made i_size smaller */
	if (inode_is_reg(i) && !atomic_load(&i->trunc_pending)) {
		uint64_t now = i_size_read(&i->mapping);

		size = size < now ? size : now;
		if (size > i->d_size) {
			atomic_store(&i->data_txid, t->txid);
			i->d_size = size;
		}
	}
	return inode_write(t, i);
}

/* Is the item behind memory?  @size: bytes that a regular file should have in it. */
static bool item_lags(struct tfs_inode *i, bool size_only, uint64_t size)
{
	return (!size_only && atomic_load(&i->stale)) ||
	       (inode_is_reg(i) && atomic_load(&i->d_size) < size);
}

/*
 * Off the list of dirty ones, unless something has changed again, or the size is still behind.  Not
 * before it is written: whoever syncs everything goes by the list, and would not wait for a thread
 * that is just about to write this one.
 */
static void unlist(struct tfs_inode *i)
{
	struct tfs_icache *ic = i->fs->icache;

	pthread_mutex_lock(&ic->lock);
	if (!atomic_load(&i->removing) &&
	    !item_lags(i, false, inode_is_reg(i) ? i_size_read(&i->mapping) : 0))
		list_del_init(&i->dirty);
	pthread_mutex_unlock(&ic->lock);
}

int inode_flush(struct tfs_inode *i, bool size_only, uint64_t written)
{
	struct tfs_trans t = { 0 };
	int err = 0;

	if (item_lags(i, size_only, written)) {
		do {
			err = trans_begin_settle(&t, i->fs, TRANS_CREDITS(i->fs));
			if (!err)
				err = flush_in_section(&t, i, written);
		} while (trans_again(&t, &err));
	}
	if (err)
		inode_mark_dirty(i);
	else if (!size_only)
		unlist(i);
	return err;
}

/* First the flag: who finds the inode on no list finds the removal in the tree. */
void inode_begin_removal(struct tfs_inode *i)
{
	atomic_store(&i->removing, true);
	inode_mark_dirty(i);
}

void inode_end_removal(struct tfs_inode *i)
{
	atomic_store(&i->removing, false);
}

/* A removal comes to its end: whoever is at it goes on, and a truncation that failed is tried
 * again. */
static int await_removal(struct tfs_inode *i)
{
	int err;

	inode_lock(i);
	err = inode_finish_truncate(i);
	inode_unlock(i);
	return err;
}

int inode_flush_written(struct tfs_inode *i, bool size_only, uint64_t written)
{
	uint64_t size;
	int err;

	do {
		err = atomic_load(&i->removing) ? await_removal(i) : 0;
		if (!err)
			err = inode_flush(i, size_only, written);
		/* a truncation that came between leaves the size alone, until it is over */
		size = inode_is_reg(i) ? i_size_read(&i->mapping) : 0;
		size = size < written ? size : written;
	} while (!err && atomic_load(&i->removing) && item_lags(i, true, size));
	return err;
}

int inode_settle(struct tfs_inode *i)
{
	/* a writer dirties first and moves the size after: so all that made the file so long is
	 * written here */
	uint64_t size = i_size_read(&i->mapping);
	int err = filemap_write_and_wait_range(&i->mapping, 0, UINT64_MAX);

	return err ? err : inode_flush_written(i, true, size);
}

/* Like inode_settle(), but of the data only as much as the size needs. */
static int settle_tail(struct tfs_inode *i)
{
	uint64_t from, size = 0;
	int err = 0;

	if (inode_is_reg(i)) {
		from = atomic_load(&i->d_size);
		size = i_size_read(&i->mapping);
		if (filemap_range_busy(&i->mapping, from, size))
			err = filemap_write_and_wait_range(&i->mapping, from, size);
	}
	return err ? err : inode_flush_written(i, false, size);
}

/* The next on the list of dirty ones, held; it goes to the list's end.  NULL: it is on its way
 * out. */
static struct tfs_inode *next_dirty(struct tfs_icache *ic, bool *none)
{
	struct tfs_inode *i = NULL;

	pthread_mutex_lock(&ic->lock);
	*none = list_empty(&ic->dirty);
	if (!*none) {
		i = list_first_entry(&ic->dirty, struct tfs_inode, dirty);
		list_move_tail(&i->dirty, &ic->dirty);
		if (i->state & INODE_FREEING) {
			i = NULL;
		} else {
			i->refs++;
			list_del_init(&i->lru);
		}
	}
	pthread_mutex_unlock(&ic->lock);
	return i;
}

uint64_t icache_nr_dirty(struct tfs_fs *fs)
{
	struct tfs_icache *ic = fs->icache;
	struct tfs_inode *i;
	uint64_t n = 0;

	pthread_mutex_lock(&ic->lock);
	list_for_each_entry(i, &ic->dirty, dirty)
		n++;
	pthread_mutex_unlock(&ic->lock);
	return n;
}

int icache_flush(struct tfs_fs *fs)
{
	struct tfs_icache *ic = fs->icache;
	struct tfs_inode *i;
	bool none = false;
	int err = 0, err2;
	uint64_t n;

	/* with another at work, neither would see all of the list go by */
	pthread_mutex_lock(&ic->flush_lock);
	n = icache_nr_dirty(fs); /* those that fail, or are dirty again, go to the end: bounded */
	while (n-- && !none) {
		i = next_dirty(ic, &none);
		if (!i)
			continue;
		err2 = settle_tail(i);
		err = err ? err : err2;
		inode_put(i);
	}
	pthread_mutex_unlock(&ic->flush_lock);
	return err;
}
