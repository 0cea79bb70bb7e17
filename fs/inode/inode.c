/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The inode cache: finding, loading, evicting. */
#include <errno.h>
#include <sys/sysmacros.h>
#include "core/block/bio.h"
#include "core/block/integrity.h"
#include "core/lib/list.h"
#include "core/lib/trace.h"
#include "core/lib/util.h"
#include "core/lib/workqueue.h"
#include "core/pagecache/pagecache.h"
#include "fs/inode/aops.h"
#include "fs/alloc/space.h"
#include "fs/inode/append.h"
#include "fs/inode/inode.h"
#include "fs/inode/inode_sync.h"
#include "fs/inode/reap.h"
#include "fs/inode/wb_eof.h"
#include "fs/journal/journal.h"
#include "fs/journal/trans.h"
#include "fs/names/inode_item.h"
#include "fs/state/error.h"
#include "fs/state/fs.h"
#include "tallyfs/format.h"

#define ICACHE_MIN 1024u
#define ICACHE_MAX 65536u
#define WB_BIOS 16u	/* kept in reserve */
#define ICACHE_SCAN 16u /* inodes looked at per trim: the price a caller pays at most */

static uint64_t hash_ino(uint64_t ino)
{
	return (ino * 0x9e3779b97f4a7c15ull) >> 17;
}

static struct tfs_inode **hash_slot(struct tfs_icache *ic, uint64_t ino)
{
	struct tfs_inode **p = &ic->hash[hash_ino(ino) & (ic->hash_size - 1)];

	while (*p && (*p)->ino != ino)
		p = &(*p)->hash_next;
	return p;
}

int icache_create(struct tfs_fs *fs)
{
	struct tfs_icache *ic = tl_zalloc(sizeof(*ic));
	int err;

	if (!ic)
		return -ENOMEM;
	ic->fs = fs;
	ic->limit = fs->opts.max_inodes;
	if (!ic->limit)
		ic->limit = min_t(uint64_t, max_t(uint64_t, fs->opts.cache_size / 8192, ICACHE_MIN),
				  ICACHE_MAX);
	ic->hash_size = 1ull << (ilog2_u64(ic->limit) + 1);
	ic->hash = tl_zalloc(ic->hash_size * sizeof(*ic->hash));
	err = ic->hash ? bioset_create(&ic->wb_bios, WB_BIOS) : -ENOMEM;
	if (!err)
		err = bioset_integrity_create(ic->wb_bios, WB_BIOS);
	if (err) {
		bioset_free(ic->wb_bios);
		tl_free(ic->hash);
		tl_free(ic);
		return err;
	}
	pthread_mutex_init(&ic->flush_lock, NULL);
	pthread_mutex_init(&ic->lock, NULL);
	pthread_cond_init(&ic->cond, NULL);
	INIT_LIST_HEAD(&ic->lru);
	INIT_LIST_HEAD(&ic->dirty);
	INIT_LIST_HEAD(&ic->reap);
	ic->wb_ops = tfs_writeback_ops(fs);
	fs->icache = ic;
	return 0;
}

/* ---- objects ---- */

struct tfs_inode *inode_alloc(struct tfs_fs *fs)
{
	struct tfs_inode *i = tl_zalloc(sizeof(*i));

	if (!i)
		return NULL;
	i->fs = fs;
	i->refs = 1;
	INIT_LIST_HEAD(&i->lru);
	INIT_LIST_HEAD(&i->dirty);
	INIT_LIST_HEAD(&i->wb_eofs);
	INIT_LIST_HEAD(&i->gaps);
	pthread_rwlock_init(&i->lock, NULL);
	pthread_mutex_init(&i->turn, NULL);
	pthread_mutex_init(&i->attr_lock, NULL);
	return i;
}

void inode_free(struct tfs_inode *i)
{
	wb_eof_forget(i, 0, UINT64_MAX);
	append_forget(i);
	pthread_mutex_destroy(&i->attr_lock);
	pthread_mutex_destroy(&i->turn);
	pthread_rwlock_destroy(&i->lock);
	tl_free(i);
}

static void mapping_setup(struct tfs_inode *i)
{
	unsigned int blkbits = i->fs->geom.blkbits;

	/* 64 KiB folios: few enough objects for streams, small enough for random 4 KiB I/O */
	if (inode_is_reg(i))
		mapping_init(&i->mapping, i->fs->pagecache, i, i->ino, &tfs_aops, blkbits,
			     blkbits > 16 ? blkbits : 16);
}

static void insert_locked(struct tfs_icache *ic, struct tfs_inode *i)
{
	struct tfs_inode **slot = hash_slot(ic, i->ino);

	assert(!*slot);
	i->hash_next = NULL;
	*slot = i;
	i->state |= INODE_HASHED;
	ic->nr_inodes++;
}

void inode_insert(struct tfs_inode *i, uint64_t ino)
{
	struct tfs_icache *ic = i->fs->icache;

	i->ino = ino;
	i->fmt = i->a.mode & S_IFMT;
	atomic_store(&i->unlinked, i->a.nlink == 0);
	mapping_setup(i);
	pthread_mutex_lock(&ic->lock);
	insert_locked(ic, i);
	pthread_mutex_unlock(&ic->lock);
}

static void destroy_inode(struct tfs_inode *i)
{
	if (inode_is_reg(i)) {
		truncate_inode_pages(&i->mapping, 0);
		mapping_destroy(&i->mapping);
	}
	inode_free(i);
}

/* icache lock held: whether its blocks are about to go free, which who needs room waits for. */
static void judge_locked(struct tfs_inode *i)
{
	bool is = i->state & INODE_DYING;
	bool now = inode_is_reg(i) && i->state & INODE_HASHED && atomic_load(&i->unlinked) &&
		   !i->opens;

	if (is == now)
		return;
	i->state ^= INODE_DYING;
	space_dying(i->fs, now ? 1 : -1);
}

void inode_opened(struct tfs_inode *i, int n)
{
	struct tfs_icache *ic = i->fs->icache;

	pthread_mutex_lock(&ic->lock);
	i->opens += (unsigned int)n;
	judge_locked(i);
	pthread_mutex_unlock(&ic->lock);
}

void inode_set_unlinked(struct tfs_inode *i, bool unlinked)
{
	struct tfs_icache *ic = i->fs->icache;

	pthread_mutex_lock(&ic->lock);
	atomic_store(&i->unlinked, unlinked);
	judge_locked(i);
	pthread_mutex_unlock(&ic->lock);
}

static void unhash_locked(struct tfs_icache *ic, struct tfs_inode *i)
{
	struct tfs_inode **slot = hash_slot(ic, i->ino);

	assert(*slot == i);
	*slot = i->hash_next;
	list_del_init(&i->lru);
	list_del_init(&i->dirty);
	ic->nr_inodes--;
	i->state &= ~INODE_HASHED;
	judge_locked(i);
	pthread_cond_broadcast(&ic->cond);
}

void icache_destroy(struct tfs_fs *fs)
{
	struct tfs_icache *ic = fs->icache;

	if (!ic)
		return;
	for (uint64_t h = 0; h < ic->hash_size; h++) {
		while (ic->hash[h]) {
			struct tfs_inode *i = ic->hash[h];

			ic->hash[h] = i->hash_next;
			list_del_init(&i->lru);
			list_del_init(&i->dirty);
			destroy_inode(i);
		}
	}
	pthread_cond_destroy(&ic->cond);
	pthread_mutex_destroy(&ic->lock);
	pthread_mutex_destroy(&ic->flush_lock);
	bioset_free(ic->wb_bios);
	tl_free(ic->lookups.slots);
	tl_free(ic->hash);
	tl_free(ic);
	fs->icache = NULL;
}

/* ---- loading ---- */

static struct timespec time_get(const struct tfs_time *t)
{
	return (struct timespec){ .tv_sec = (time_t)(int64_t)le64_get(t->sec),
				  .tv_nsec = le32_get(t->nsec) };
}

static int inode_decode(struct tfs_inode *i, const struct tfs_inode_item *it)
{
	struct tfs_iattr *a = &i->a;
	uint64_t size = le64_get(it->size), rdev = le64_get(it->rdev);

	a->mode = le32_get(it->mode);
	i->fmt = a->mode & S_IFMT;
	a->uid = le32_get(it->uid);
	a->gid = le32_get(it->gid);
	a->nlink = le32_get(it->nlink);
	a->flags = le32_get(it->flags);
	a->xattr_value_id = le32_get(it->xattr_value_id);
	a->blocks = le64_get(it->blocks);
	a->generation = le64_get(it->generation);
	a->rdev = makedev((unsigned int)(rdev >> 32), (unsigned int)rdev);
	a->atime = time_get(&it->atime);
	a->mtime = time_get(&it->mtime);
	a->ctime = time_get(&it->ctime);
	a->btime = time_get(&it->btime);
	if (size > (uint64_t)TFS_MAX_FILE_SIZE)
		return tfs_fs_error(i->fs, -EUCLEAN, "inode %llu: size out of range",
				    (unsigned long long)i->ino);
	switch (a->mode & S_IFMT) {
	case S_IFREG:
	case S_IFLNK:
		i->d_size = size;
		break;
	case S_IFDIR:
		a->entries = size;
		break;
	case S_IFCHR:
	case S_IFBLK:
	case S_IFIFO:
	case S_IFSOCK:
		break;
	default:
		return tfs_fs_error(i->fs, -EUCLEAN, "inode %llu: unknown type in mode %o",
				    (unsigned long long)i->ino, a->mode);
	}
	return 0;
}

/*
 * Read the item and insert in the same section: no change of the item can come in
 * between.  -EEXIST: somebody else was quicker.
 */
static int load_in_section(struct tfs_trans *t, struct tfs_inode *i)
{
	struct tfs_icache *ic = i->fs->icache;
	struct tfs_inode_item it;
	int err = inode_item_read(t, i->ino, &it);

	if (!err)
		err = inode_decode(i, &it);
	if (err)
		return err;
	atomic_store(&i->unlinked, i->a.nlink == 0);
	/*
	 * It may have been changed, evicted and loaded again within the running transaction: fsync
	 * must wait for that. Before anybody finds it: what they change is in this transaction or a
	 * later one, and not to be forgotten.
	 */
	atomic_store(&i->txid, journal_running_txid(i->fs));
	atomic_store(&i->data_txid, atomic_load(&i->txid));
	pthread_mutex_lock(&ic->lock);
	if (*hash_slot(ic, i->ino)) {
		err = -EEXIST;
	} else {
		mapping_setup(i);
		if (inode_is_reg(i))
			i_size_write(&i->mapping, i->d_size);
		insert_locked(ic, i);
	}
	pthread_mutex_unlock(&ic->lock);
	return err;
}

static int inode_load(struct tfs_fs *fs, uint64_t ino, struct tfs_inode **out)
{
	struct tfs_inode *i = inode_alloc(fs);
	int err;

	if (!i)
		return -ENOMEM;
	i->ino = ino;
	err = TRANS_READ(t, fs, load_in_section(t, i));
	if (err) {
		inode_free(i);
		return err == -ENOENT ? -ESTALE : err;
	}
	*out = i;
	return 0;
}

int inode_get(struct tfs_fs *fs, uint64_t ino, struct tfs_inode **out)
{
	struct tfs_icache *ic = fs->icache;
	struct tfs_inode *i;
	int err = 0;

	for (;;) {
		pthread_mutex_lock(&ic->lock);
		i = *hash_slot(ic, ino);
		if (i && i->state & INODE_REAPING) {
			err = -ESTALE;
		} else if (i && i->state & INODE_FREEING) {
			pthread_cond_wait(&ic->cond, &ic->lock);
			pthread_mutex_unlock(&ic->lock);
			continue;
		} else if (i) {
			i->refs++;
			list_del_init(&i->lru);
			*out = i;
		}
		pthread_mutex_unlock(&ic->lock);
		if (i)
			return err;
		err = inode_load(fs, ino, out);
		if (err != -EEXIST)
			return err;
		err = 0;
	}
}

void inode_hold(struct tfs_inode *i)
{
	struct tfs_icache *ic = i->fs->icache;

	pthread_mutex_lock(&ic->lock);
	i->refs++;
	list_del_init(&i->lru);
	pthread_mutex_unlock(&ic->lock);
}

bool inode_tryhold(struct tfs_inode *i)
{
	struct tfs_icache *ic = i->fs->icache;
	bool ok;

	pthread_mutex_lock(&ic->lock);
	ok = !(i->state & INODE_FREEING);
	if (ok) {
		i->refs++;
		list_del_init(&i->lru);
	}
	pthread_mutex_unlock(&ic->lock);
	return ok;
}

/* ---- lookup counts ---- */

static uint64_t lk_find(const struct tfs_lookups *lk, uint64_t ino)
{
	uint64_t s = hash_ino(ino) & (lk->nr_slots - 1);

	while (lk->slots[s].count && lk->slots[s].ino != ino)
		s = (s + 1) & (lk->nr_slots - 1);
	return s;
}

static int lk_grow(struct tfs_lookups *lk)
{
	struct tfs_lookups bigger = { .nr_slots = lk->nr_slots ? lk->nr_slots * 2 : 1024,
				      .used = lk->used };

	bigger.slots = tl_zalloc(bigger.nr_slots * sizeof(*bigger.slots));
	if (!bigger.slots)
		return -ENOMEM;
	for (uint64_t s = 0; s < lk->nr_slots; s++) {
		if (lk->slots[s].count)
			bigger.slots[lk_find(&bigger, lk->slots[s].ino)] = lk->slots[s];
	}
	tl_free(lk->slots);
	*lk = bigger;
	return 0;
}

/* Keeps the table at most three quarters full; on a failed growth it may fill up to one free
 * slot. */
static int lk_reserve(struct tfs_lookups *lk, uint64_t more)
{
	if ((lk->used + more) * 4 <= lk->nr_slots * 3 || !lk_grow(lk))
		return 0;
	return lk->used + more < lk->nr_slots ? 0 : -ENOMEM;
}

/* Deletion without tombstones: pull back those behind that would no longer be found. */
static void lk_delete(struct tfs_lookups *lk, uint64_t s)
{
	uint64_t mask = lk->nr_slots - 1, hole = s;

	lk->used--;
	for (uint64_t j = (s + 1) & mask; lk->slots[j].count; j = (j + 1) & mask) {
		uint64_t home = hash_ino(lk->slots[j].ino) & mask;

		if (((j - home) & mask) >= ((j - hole) & mask)) {
			lk->slots[hole] = lk->slots[j];
			hole = j;
		}
	}
	lk->slots[hole].count = 0;
}

static uint64_t lk_count(const struct tfs_lookups *lk, uint64_t ino)
{
	return lk->nr_slots ? lk->slots[lk_find(lk, ino)].count : 0;
}

int lookup_prepare(struct tfs_fs *fs)
{
	struct tfs_icache *ic = fs->icache;
	int err;

	pthread_mutex_lock(&ic->lock);
	/* callers run side by side: room for as many threads as anyone has */
	err = lk_reserve(&ic->lookups, 256);
	pthread_mutex_unlock(&ic->lock);
	return err;
}

int lookup_ref(struct tfs_fs *fs, uint64_t ino, uint64_t n)
{
	struct tfs_icache *ic = fs->icache;
	int err;

	pthread_mutex_lock(&ic->lock);
	err = lk_reserve(&ic->lookups, 1);
	if (!err) {
		uint64_t s = lk_find(&ic->lookups, ino);

		if (!ic->lookups.slots[s].count)
			ic->lookups.used++;
		ic->lookups.slots[s].ino = ino;
		ic->lookups.slots[s].count += n;
	}
	pthread_mutex_unlock(&ic->lock);
	return err;
}

/* Where an inode goes that nobody uses any more. */
static void park_locked(struct tfs_icache *ic, struct tfs_inode *i)
{
	if (i->state & INODE_FREEING) {
		pthread_cond_broadcast(&ic->cond);
		return;
	}
	list_del_init(&i->lru);
	if (atomic_load(&i->unlinked) && !lk_count(&ic->lookups, i->ino))
		list_add_tail(&i->lru, &ic->reap);
	else
		list_add_tail(&i->lru, &ic->lru);
}

void lookup_unref(struct tfs_fs *fs, uint64_t ino, uint64_t n)
{
	struct tfs_icache *ic = fs->icache;
	struct tfs_inode *i;
	uint64_t s;

	pthread_mutex_lock(&ic->lock);
	s = ic->lookups.nr_slots ? lk_find(&ic->lookups, ino) : 0;
	if (ic->lookups.nr_slots && ic->lookups.slots[s].count) {
		if (ic->lookups.slots[s].count > n) {
			ic->lookups.slots[s].count -= n;
		} else {
			lk_delete(&ic->lookups, s);
			i = *hash_slot(ic, ino);
			if (i && !i->refs && atomic_load(&i->unlinked))
				park_locked(ic, i);
		}
	}
	pthread_mutex_unlock(&ic->lock);
}

void inode_put(struct tfs_inode *i)
{
	struct tfs_icache *ic = i->fs->icache;

	pthread_mutex_lock(&ic->lock);
	assert(i->refs);
	if (!--i->refs)
		park_locked(ic, i);
	else if (i->state & INODE_FREEING)
		pthread_cond_broadcast(&ic->cond);
	pthread_mutex_unlock(&ic->lock);
}

/* ---- eviction ---- */

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
	if (inode_is_reg(i)) {
		assert(!mapping_busy(&i->mapping));
		truncate_inode_pages(&i->mapping, 0);
		mapping_destroy(&i->mapping);
	}
	pthread_mutex_lock(&ic->lock);
	assert(i->refs == 1);
	unhash_locked(ic, i);
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
			list_del_init(&i->lru);
			i->refs++;
		}
		pthread_mutex_unlock(&ic->lock);
		if (!i)
			return;
		if (!try_evict(ic, i))
			inode_put(i); /* to the far end of the list */
	}
}

/* ---- the dead ---- */

struct tfs_inode *icache_take_dead(struct tfs_fs *fs)
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

void icache_drop_dead(struct tfs_inode *i)
{
	struct tfs_icache *ic = i->fs->icache;

	if (inode_is_reg(i)) {
		truncate_inode_pages(&i->mapping, 0);
		mapping_destroy(&i->mapping);
	}
	pthread_mutex_lock(&ic->lock);
	/* a completion worker may be about to let go of it */
	while (i->refs)
		pthread_cond_wait(&ic->cond, &ic->lock);
	unhash_locked(ic, i);
	ic->reaped++;
	pthread_mutex_unlock(&ic->lock);
	inode_free(i);
}

static void reap_work(struct work *w)
{
	struct tfs_icache *ic = container_of(w, struct tfs_icache, reap_work);

	pthread_mutex_lock(&ic->lock);
	ic->reap_queued = false;
	pthread_mutex_unlock(&ic->lock);
	reap_run(ic->fs);
}

void icache_forget_all(struct tfs_fs *fs)
{
	struct tfs_icache *ic = fs->icache;
	struct tfs_inode *i, *n;

	pthread_mutex_lock(&ic->lock);
	tl_free(ic->lookups.slots);
	ic->lookups = (struct tfs_lookups){ 0 };
	list_for_each_entry_safe(i, n, &ic->lru, lru) {
		if (atomic_load(&i->unlinked))
			list_move_tail(&i->lru, &ic->reap);
	}
	pthread_mutex_unlock(&ic->lock);
}

int icache_start(struct tfs_fs *fs)
{
	struct tfs_icache *ic = fs->icache;

	work_init(&ic->reap_work, reap_work);
	ic->reaper = workqueue_create("reap", 1);
	return ic->reaper ? 0 : -ENOMEM;
}

void icache_stop(struct tfs_fs *fs)
{
	struct tfs_icache *ic = fs->icache;
	struct workqueue *wq;

	/* a completion worker may be about to hand something over */
	pthread_mutex_lock(&ic->lock);
	wq = ic->reaper;
	ic->reaper = NULL;
	pthread_mutex_unlock(&ic->lock);
	if (wq)
		workqueue_destroy(wq);
}

/* Hand what is dead to the reaper.  False: there is none. */
static bool wake_reaper(struct tfs_icache *ic)
{
	bool there;

	pthread_mutex_lock(&ic->lock);
	there = ic->reaper;
	if (there && !list_empty(&ic->reap) && !ic->reap_queued) {
		ic->reap_queued = true;
		queue_work(ic->reaper, &ic->reap_work);
	}
	pthread_mutex_unlock(&ic->lock);
	return there;
}

void reap_kick_async(struct tfs_fs *fs)
{
	wake_reaper(fs->icache);
}

void reap_kick(struct tfs_fs *fs)
{
	if (!wake_reaper(fs->icache))
		reap_run(fs);
}

struct tfs_inode *icache_next(struct tfs_fs *fs, struct tfs_inode *prev)
{
	struct tfs_icache *ic = fs->icache;
	struct tfs_inode *i;
	uint64_t h = 0;

	pthread_mutex_lock(&ic->lock);
	i = prev ? prev->hash_next : NULL;
	if (prev)
		h = (hash_ino(prev->ino) & (ic->hash_size - 1)) + 1;
	for (; !i && h < ic->hash_size; h++)
		i = ic->hash[h];
	if (i) {
		i->refs++;
		list_del_init(&i->lru);
	}
	pthread_mutex_unlock(&ic->lock);
	if (prev)
		inode_put(prev);
	return i;
}
