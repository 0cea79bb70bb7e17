/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the inode cache share: icache.c, iget.c, evict.c, lookup_count.c, reap.c. */
#ifndef FS_INODE_ICACHE_PRIV_H
#define FS_INODE_ICACHE_PRIV_H

#include <stdint.h>
#include "core/lib/list.h"
#include "fs/inode/icache.h"
#include "fs/inode/inode.h"

/* All with the icache lock held. */

/* Where the inode hangs in its chain; *slot is NULL if it is not in memory. */
struct tfs_inode **icache_slot(struct tfs_icache *ic, uint64_t ino);

/* Its number must be free. */
void icache_insert_locked(struct tfs_icache *ic, struct tfs_inode *i);

/* It leaves memory: who waits for that is woken. */
void icache_remove_locked(struct tfs_icache *ic, struct tfs_inode *i);

/* One more reference; it is surely alive. */
static inline void inode_hold_locked(struct tfs_inode *i)
{
	i->refs++;
	list_del_init(&i->lru);
}

/* Where an inode goes that nobody uses any more. */
void icache_park_locked(struct tfs_icache *ic, struct tfs_inode *i);

#endif
