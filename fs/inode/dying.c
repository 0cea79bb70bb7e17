/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files whose blocks are about to go free. */
#include "fs/alloc/space.h"
#include "fs/inode/dying.h"
#include "fs/inode/icache.h"
#include "fs/inode/inode.h"
#include "fs/state/fs.h"

void inode_judge_locked(struct tfs_inode *i)
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
	inode_judge_locked(i);
	pthread_mutex_unlock(&ic->lock);
}

void inode_set_unlinked(struct tfs_inode *i, bool unlinked)
{
	struct tfs_icache *ic = i->fs->icache;

	pthread_mutex_lock(&ic->lock);
	atomic_store(&i->unlinked, unlinked);
	inode_judge_locked(i);
	pthread_mutex_unlock(&ic->lock);
}
