/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Immutable and append-only files and directories.
 *
 * What they forbid is asked where it would be done: changes of content with the inode lock held,
 * changes of names and attributes in their section.  A flag is set with both, so an operation is
 * wholly before it or refused.
 */
#include <errno.h>
#include "fs/inode/append.h"
#include "fs/inode/icache.h"
#include "fs/inode/iget.h"
#include "fs/inode/inode.h"
#include "fs/inode/inode_lock.h"
#include "fs/inode/inode_flush.h"
#include "fs/journal/trans.h"
#include "fs/state/error.h"
#include "fs/state/fs.h"
#include "fs/vfs/flags.h"
#include "fs/vfs/vfs.h"
#include "tallyfs/format.h"

#define PROTECTIONS (TFS_INODE_IMMUTABLE | TFS_INODE_APPEND)

_Static_assert((int)VFS_FLAG_IMMUTABLE << 1 == (int)TFS_INODE_IMMUTABLE &&
		       (int)VFS_FLAG_APPEND << 1 == (int)TFS_INODE_APPEND,
	       "the same flags, one bit on");

static bool can_have_flags(const struct tfs_inode *i)
{
	return inode_is_reg(i) || inode_is_dir(i);
}

unsigned int inode_flags(struct tfs_inode *i)
{
	uint32_t flags;

	/* of other types they could not be taken away again */
	if (!can_have_flags(i))
		return 0;
	pthread_mutex_lock(&i->attr_lock);
	flags = i->a.flags;
	pthread_mutex_unlock(&i->attr_lock);
	return (flags & PROTECTIONS) >> 1;
}

int inode_may_grow(struct tfs_inode *i)
{
	return inode_flags(i) & VFS_FLAG_IMMUTABLE ? -EPERM : 0;
}

int inode_may_change(struct tfs_inode *i)
{
	return inode_flags(i) ? -EPERM : 0;
}

int dir_may_remove(struct tfs_inode *dir, struct tfs_inode *i)
{
	int err = inode_may_change(dir);

	return err ? err : inode_may_change(i);
}

static int set_in_section(struct tfs_trans *t, struct tfs_inode *i, unsigned int flags)
{
	struct tfs_iattr old;
	int err = inode_prefault(t, i->ino);

	if (err)
		return err;
	pthread_mutex_lock(&i->attr_lock);
	old = i->a;
	i->a.flags = (i->a.flags & ~(uint32_t)PROTECTIONS) | flags << 1;
	i->a.ctime = tfs_now();
	pthread_mutex_unlock(&i->attr_lock);
	err = inode_write(t, i);
	if (err) {
		pthread_mutex_lock(&i->attr_lock);
		i->a = old;
		pthread_mutex_unlock(&i->attr_lock);
	}
	return err;
}

unsigned int vfs_flags(const struct vfs_file *f)
{
	return inode_flags(f->inode);
}

int vfs_set_flags(struct tfs_fs *fs, uint64_t ino, unsigned int flags)
{
	struct tfs_inode *i;
	int err = tfs_writable(fs);

	if (flags & ~(unsigned int)(VFS_FLAG_IMMUTABLE | VFS_FLAG_APPEND))
		return -EOPNOTSUPP;
	if (!err)
		err = inode_get(fs, ino, &i);
	if (err)
		return err;
	if (!can_have_flags(i)) {
		inode_put(i);
		return -EOPNOTSUPP;
	}
	inode_lock(i);
	err = TRANS_WRITE(t, fs, TRANS_CREDITS(fs), set_in_section(t, i, flags));
	if (!err && !(flags & VFS_FLAG_APPEND))
		inode_forget_gaps(i);
	inode_unlock(i);
	inode_put(i);
	return err;
}
