/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inodes in memory. */
#include "core/lib/list.h"
#include "core/lib/util.h"
#include "core/pagecache/pagecache.h"
#include "fs/inode/icache.h"
#include "fs/inode/inode.h"
#include "fs/inode/wb_eof.h"
#include "fs/state/fs.h"

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

void inode_forget_gaps(struct tfs_inode *i)
{
	struct tfs_gap *g, *n;

	list_for_each_entry_safe(g, n, &i->gaps, link) {
		list_del_init(&g->link);
		tl_free(g);
	}
	i->nr_gaps = 0;
}

void inode_free(struct tfs_inode *i)
{
	wb_eof_forget(i, 0, UINT64_MAX);
	inode_forget_gaps(i);
	pthread_mutex_destroy(&i->attr_lock);
	pthread_mutex_destroy(&i->turn);
	pthread_rwlock_destroy(&i->lock);
	tl_free(i);
}

void inode_init_mapping(struct tfs_inode *i)
{
	unsigned int blkbits = i->fs->geom.blkbits;

	/* 64 KiB folios: few enough objects for streams, small enough for random 4 KiB I/O */
	if (inode_is_reg(i))
		mapping_init(&i->mapping, i->fs->pagecache, i, i->ino, i->fs->icache->aops, blkbits,
			     blkbits > 16 ? blkbits : 16);
}

void inode_drop_pages(struct tfs_inode *i)
{
	if (!inode_is_reg(i))
		return;
	truncate_inode_pages(&i->mapping, 0);
	mapping_destroy(&i->mapping);
}
