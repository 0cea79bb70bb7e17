/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The end of the file in copies under writeback. */
#include <errno.h>
#include "core/lib/list.h"
#include "core/lib/util.h"
#include "core/pagecache/pagecache.h"
#include "fs/inode/inode.h"
#include "fs/inode/wb_eof.h"

int wb_eof_note(struct tfs_inode *i, uint64_t fblk, uint64_t size)
{
	struct tfs_wb_eof *e = tl_alloc(sizeof(*e));

	if (!e)
		return -ENOMEM;
	e->fblk = fblk;
	e->size = size;
	/* the size was set to the truncation's before the flag: this copy has the tail zeroed */
	e->trunc = atomic_load(&i->trunc_pending) && size == i->trunc_size;
	pthread_mutex_lock(&i->attr_lock);
	list_add_tail(&e->link, &i->wb_eofs);
	pthread_mutex_unlock(&i->attr_lock);
	return 0;
}

struct tfs_wb_eof *wb_eof_find(struct tfs_inode *i, uint64_t from, uint64_t to)
{
	struct tfs_wb_eof *e, *found = NULL;

	pthread_mutex_lock(&i->attr_lock);
	list_for_each_entry(e, &i->wb_eofs, link) {
		if (e->fblk >= from && e->fblk < to && (!found || e->fblk >= found->fblk))
			found = e;
	}
	pthread_mutex_unlock(&i->attr_lock);
	return found;
}

void wb_eof_forget(struct tfs_inode *i, uint64_t from, uint64_t to)
{
	struct tfs_wb_eof *e, *n;

	pthread_mutex_lock(&i->attr_lock);
	list_for_each_entry_safe(e, n, &i->wb_eofs, link) {
		if (e->fblk >= from && e->fblk < to) {
			list_del_init(&e->link);
			tl_free(e);
		}
	}
	pthread_mutex_unlock(&i->attr_lock);
}
