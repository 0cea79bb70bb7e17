/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The cache of inodes: who is in memory, and who holds it. */
#include <errno.h>
#include "core/block/bio.h"
#include "core/block/integrity.h"
#include "core/lib/list.h"
#include "core/lib/util.h"
#include "fs/inode/dying.h"
#include "fs/inode/icache.h"
#include "fs/inode/icache_priv.h"
#include "fs/inode/inode.h"
#include "fs/inode/lookup_table.h"
#include "fs/state/fs.h"

#define ICACHE_MIN 1024u
#define ICACHE_MAX 65536u
#define WB_BIOS 16u /* kept in reserve */

struct tfs_inode **icache_slot(struct tfs_icache *ic, uint64_t ino)
{
	struct tfs_inode **p = &ic->hash[inode_hash(ino) & (ic->hash_size - 1)];

	while (*p && (*p)->ino != ino)
		p = &(*p)->hash_next;
	return p;
}

int icache_create(struct tfs_fs *fs, const struct address_space_ops *aops,
		  const struct iomap_writeback_ops *wb_ops)
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
	ic->aops = aops;
	ic->wb_ops = *wb_ops;
	fs->icache = ic;
	return 0;
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
			inode_drop_pages(i);
			inode_free(i);
		}
	}
	pthread_cond_destroy(&ic->cond);
	pthread_mutex_destroy(&ic->lock);
	pthread_mutex_destroy(&ic->flush_lock);
	bioset_free(ic->wb_bios);
	lookup_table_free(&ic->lookups);
	tl_free(ic->hash);
	tl_free(ic);
	fs->icache = NULL;
}

/* ---- who is in memory ---- */

void icache_insert_locked(struct tfs_icache *ic, struct tfs_inode *i)
{
	struct tfs_inode **slot = icache_slot(ic, i->ino);

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
	inode_init_mapping(i);
	pthread_mutex_lock(&ic->lock);
	icache_insert_locked(ic, i);
	pthread_mutex_unlock(&ic->lock);
}

void icache_remove_locked(struct tfs_icache *ic, struct tfs_inode *i)
{
	struct tfs_inode **slot = icache_slot(ic, i->ino);

	assert(*slot == i);
	*slot = i->hash_next;
	list_del_init(&i->lru);
	list_del_init(&i->dirty);
	ic->nr_inodes--;
	i->state &= ~INODE_HASHED;
	inode_judge_locked(i);
	pthread_cond_broadcast(&ic->cond);
}

struct tfs_inode *icache_next(struct tfs_fs *fs, struct tfs_inode *prev)
{
	struct tfs_icache *ic = fs->icache;
	struct tfs_inode *i;
	uint64_t h = 0;

	pthread_mutex_lock(&ic->lock);
	i = prev ? prev->hash_next : NULL;
	if (prev)
		h = (inode_hash(prev->ino) & (ic->hash_size - 1)) + 1;
	for (; !i && h < ic->hash_size; h++)
		i = ic->hash[h];
	if (i)
		inode_hold_locked(i);
	pthread_mutex_unlock(&ic->lock);
	if (prev)
		inode_put(prev);
	return i;
}

/* ---- who holds it ---- */

void inode_hold(struct tfs_inode *i)
{
	struct tfs_icache *ic = i->fs->icache;

	pthread_mutex_lock(&ic->lock);
	inode_hold_locked(i);
	pthread_mutex_unlock(&ic->lock);
}

bool inode_tryhold(struct tfs_inode *i)
{
	struct tfs_icache *ic = i->fs->icache;
	bool ok;

	pthread_mutex_lock(&ic->lock);
	ok = !(i->state & INODE_FREEING);
	if (ok)
		inode_hold_locked(i);
	pthread_mutex_unlock(&ic->lock);
	return ok;
}

void icache_park_locked(struct tfs_icache *ic, struct tfs_inode *i)
{
	if (i->state & INODE_FREEING) {
		pthread_cond_broadcast(&ic->cond);
		return;
	}
	list_del_init(&i->lru);
	if (atomic_load(&i->unlinked) && !lookup_table_count(&ic->lookups, i->ino))
		list_add_tail(&i->lru, &ic->reap);
	else
		list_add_tail(&i->lru, &ic->lru);
}

void inode_put(struct tfs_inode *i)
{
	struct tfs_icache *ic = i->fs->icache;

	pthread_mutex_lock(&ic->lock);
	assert(i->refs);
	if (!--i->refs)
		icache_park_locked(ic, i);
	else if (i->state & INODE_FREEING)
		pthread_cond_broadcast(&ic->cond);
	pthread_mutex_unlock(&ic->lock);
}
