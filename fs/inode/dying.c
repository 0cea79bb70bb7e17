/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files whose blocks are about to go free. */
#include "fs/alloc/space.h"
#include "fs/inode/dying.h"
#include "fs/inode/icache.h"
#include "fs/inode/inode.h"
#include "fs/inode/lookup_table.h"
#include "fs/state/fs.h"

static bool unused(const struct tfs_inode *i)
{
	return inode_is_reg(i) && i->state & INODE_HASHED && atomic_load(&i->unlinked) && !i->opens;
}

static bool looked_up(const struct tfs_inode *i)
{
	return lookup_table_count(&i->fs->icache->lookups, i->ino);
}

void inode_judge_locked(struct tfs_inode *i)
{
	bool is = i->state & INODE_DYING;
	bool now = unused(i) && !looked_up(i);

	if (is == now)
		return;
	i->state ^= INODE_DYING;
	space_dying(i->fs, now ? 1 : -1);
}

/* The same when it has just lost its name or an opener. */
static void judge_loss_locked(struct tfs_inode *i)
{
	inode_judge_locked(i);
	if (unused(i) && looked_up(i))
		space_may_die(i->fs);
}

void inode_opened(struct tfs_inode *i, int n)
{
	struct tfs_icache *ic = i->fs->icache;

	pthread_mutex_lock(&ic->lock);
	i->opens += (unsigned int)n;
	judge_loss_locked(i);
	pthread_mutex_unlock(&ic->lock);
}

void inode_set_unlinked(struct tfs_inode *i, bool unlinked)
{
	struct tfs_icache *ic = i->fs->icache;

	pthread_mutex_lock(&ic->lock);
	atomic_store(&i->unlinked, unlinked);
	judge_loss_locked(i);
	pthread_mutex_unlock(&ic->lock);
}
