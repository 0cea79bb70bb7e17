/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Attributes: getattr, setattr, set-id bits. */
#include <errno.h>
#include "core/lib/util.h"
#include "core/pagecache/pagecache.h"
#include "fs/inode/evict.h"
#include "fs/inode/icache.h"
#include "fs/inode/iget.h"
#include "fs/inode/inode.h"
#include "fs/inode/inode_lock.h"
#include "fs/inode/inode_flush.h"
#include "fs/inode/truncate.h"
#include "fs/journal/trans.h"
#include "fs/names/acl.h"
#include "fs/names/xattr.h"
#include "fs/state/error.h"
#include "fs/state/fs.h"
#include "fs/vfs/attr.h"
#include "fs/vfs/flags.h"
#include "fs/vfs/vfs.h"
#include "tallyfs/format.h"

#define CAPS "security.capability"

/* Blocks that wait for their first writeback are as good as used (else a fresh file looks
 * sparse). */
static uint64_t blocks_to_be(struct tfs_inode *i, uint64_t blocks, uint64_t size)
{
	uint64_t sum = blocks + atomic_load(&i->mapping.nr_dirty_blocks);
	uint64_t most = div_up(size, i->fs->geom.block_size);

	/* dirty blocks may have a place already: never more than the size explains */
	if (sum > most)
		sum = blocks > most ? blocks : most;
	return sum;
}

void inode_attr(struct tfs_inode *i, struct vfs_attr *attr)
{
	struct tfs_iattr a;

	pthread_mutex_lock(&i->attr_lock);
	a = i->a;
	pthread_mutex_unlock(&i->attr_lock);
	*attr = (struct vfs_attr){
		.ino = i->ino,
		.generation = a.generation,
		.blocks512 = a.blocks << (i->fs->geom.blkbits - 9),
		.mode = a.mode,
		.nlink = a.nlink,
		.uid = a.uid,
		.gid = a.gid,
		.flags = inode_flags(i),
		.rdev = a.rdev,
		.atime = a.atime,
		.mtime = a.mtime,
		.ctime = a.ctime,
		.btime = a.btime,
	};
	if (S_ISREG(a.mode)) {
		attr->size = i_size_read(&i->mapping);
		attr->blocks512 = blocks_to_be(i, a.blocks, attr->size)
				  << (i->fs->geom.blkbits - 9);
	} else if (S_ISDIR(a.mode)) {
		attr->size = a.entries;
	} else {
		attr->size = i->d_size;
	}
}

int vfs_getattr(struct tfs_fs *fs, uint64_t ino, struct vfs_attr *attr)
{
	struct tfs_inode *i;
	int err = inode_get(fs, ino, &i);

	if (err)
		return err;
	inode_attr(i, attr);
	inode_put(i);
	icache_trim(fs);
	return 0;
}

void attr_kill_suid(struct tfs_iattr *a)
{
	if (S_ISDIR(a->mode))
		return;
	a->mode &= ~(uint32_t)S_ISUID;
	/* without group execution the bit means mandatory locking, not privilege */
	if (a->mode & S_IXGRP)
		a->mode &= ~(uint32_t)S_ISGID;
}

/* -ENODATA: no capabilities to lose.  Looks only, at all that removing them needs. */
static int look_caps(struct tfs_trans *t, struct tfs_inode *i)
{
	int ret = xattr_get(t, i->ino, CAPS, NULL, 0);

	return ret > 0 ? 0 : ret;
}

static bool same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

/* The kernel's way to tell the ctime it keeps: the mtime with it is the one that is there. */
static bool only_ctime(const struct tfs_iattr *a, unsigned int what, const struct vfs_attr *set)
{
	return what == (VFS_SET_MTIME | VFS_SET_CTIME) && same_time(&set->mtime, &a->mtime);
}

/* A time of the caller's choice.  (Where the kernel keeps the times it says "now" by giving mtime
 * and ctime alike.) */
static bool sets_time(unsigned int what, const struct vfs_attr *set)
{
	if (what & VFS_SET_ATIME && !(what & VFS_SET_ATIME_NOW))
		return true;
	if (!(what & VFS_SET_MTIME) || what & VFS_SET_MTIME_NOW)
		return false;
	return !(what & VFS_SET_CTIME) || !same_time(&set->mtime, &set->ctime);
}

/* What an append-only file still lets happen is what comes with appending. */
static int flags_let_set(struct tfs_inode *i, unsigned int what, const struct vfs_attr *set)
{
	unsigned int have = inode_flags(i);

	if (!have || what & VFS_SET_WRITTEN || only_ctime(&i->a, what, set))
		return 0;
	if (have & VFS_FLAG_IMMUTABLE || what & (VFS_SET_MODE | VFS_SET_UID | VFS_SET_GID))
		return -EPERM;
	return sets_time(what, set) ? -EPERM : 0;
}

static int remove_caps(struct tfs_trans *t, struct tfs_inode *i)
{
	int err = look_caps(t, i);

	if (!err)
		err = xattr_remove(t, i->ino, CAPS);
	if (err && err != -ENODATA)
		return err;
	atomic_store(&i->no_caps, true);
	return 0;
}

/* @acl is as long as the one it replaces: it stays where that is, and the inode's item as it is. */
static int write_acl(struct tfs_trans *t, struct tfs_inode *i, const struct tfs_acl *acl)
{
	struct tfs_inode_item it;

	inode_item_of(i, &it);
	return acl_write(t, i->ino, &it, ACL_NAME_ACCESS, acl);
}

/* In memory. */
static void change_attrs(struct tfs_iattr *a, unsigned int what, const struct vfs_attr *set,
			 struct timespec now)
{
	if (what & VFS_KILL_PRIV)
		attr_kill_suid(a);
	if (what & VFS_SET_MODE)
		a->mode = (a->mode & S_IFMT) | (set->mode & 07777);
	if (what & VFS_SET_UID)
		a->uid = set->uid;
	if (what & VFS_SET_GID)
		a->gid = set->gid;
	if (what & VFS_SET_ATIME)
		a->atime = what & VFS_SET_ATIME_NOW ? now : set->atime;
	if (what & VFS_SET_MTIME)
		a->mtime = what & VFS_SET_MTIME_NOW ? now : set->mtime;
	a->ctime = what & VFS_SET_CTIME ? set->ctime : now;
}

/* The inode's own, in memory and in the tree, or not at all. */
static int write_attrs(struct tfs_trans *t, struct tfs_inode *i, unsigned int what,
		       const struct vfs_attr *set)
{
	struct timespec now = tfs_now();
	struct tfs_iattr old;
	int err;

	pthread_mutex_lock(&i->attr_lock);
	old = i->a;
	change_attrs(&i->a, what, set, now);
	pthread_mutex_unlock(&i->attr_lock);
	err = inode_write(t, i);
	if (err) {
		pthread_mutex_lock(&i->attr_lock);
		i->a = old;
		pthread_mutex_unlock(&i->attr_lock);
	}
	return err;
}

static int set_in_section(struct tfs_trans *t, struct tfs_inode *i, unsigned int what,
			  const struct vfs_attr *set)
{
	struct tfs_acl acl;
	int err = flags_let_set(i, what, set);

	acl.n = 0;
	if (!err)
		err = inode_prefault(t, i->ino);
	if (!err && what & VFS_SET_MODE && i->fmt != S_IFLNK)
		err = acl_chmod_prefault(t, i->ino, set->mode, &acl);
	if (!err && what & VFS_KILL_PRIV)
		err = remove_caps(t, i);
	if (!err && acl.n)
		err = write_acl(t, i, &acl);
	return err ? err : write_attrs(t, i, what, set);
}

static int set_attrs(struct tfs_inode *i, unsigned int what, const struct vfs_attr *set)
{
	struct tfs_trans t = { 0 };
	int err;

	do {
		/* both, and nothing else: times that the kernel kept for what it wrote, now that it
		 * is asked to sync */
		err = (what == (VFS_SET_MTIME | VFS_SET_CTIME) ? trans_begin_settle : trans_begin)(
			&t, i->fs, TRANS_CREDITS(i->fs));
		if (!err)
			err = set_in_section(&t, i, what, set);
	} while (trans_again(&t, &err));
	return err;
}

int inode_kill_priv(struct tfs_inode *i, bool *killed)
{
	struct tfs_iattr a;
	struct tfs_trans t = { 0 };
	uint32_t mode;
	int err;

	pthread_mutex_lock(&i->attr_lock);
	a = i->a;
	pthread_mutex_unlock(&i->attr_lock);
	mode = a.mode;
	attr_kill_suid(&a);
	if (a.mode == mode && !atomic_load(&i->no_caps)) {
		do {
			trans_read_begin(&t, i->fs);
			err = look_caps(&t, i);
			if (err == -ENODATA)
				atomic_store(&i->no_caps, true);
		} while (trans_again(&t, &err));
		if (err && err != -ENODATA)
			return err;
	}
	if (a.mode == mode && atomic_load(&i->no_caps))
		return 0;
	*killed = true;
	return set_attrs(i, VFS_KILL_PRIV, NULL);
}

int vfs_kill_priv(struct tfs_fs *fs, uint64_t ino, bool *killed)
{
	struct tfs_inode *i;
	int err = inode_get(fs, ino, &i);

	if (err)
		return err;
	err = inode_kill_priv(i, killed);
	inode_put(i);
	return err;
}

static int set_size(struct tfs_inode *i, uint64_t size)
{
	int err;

	if (inode_is_dir(i))
		return -EISDIR;
	if (!inode_is_reg(i))
		return -EINVAL;
	err = tfs_writable(i->fs);
	if (err)
		return err;
	inode_lock(i);
	err = inode_may_change(i);
	if (!err)
		err = inode_set_size(i, size);
	inode_unlock(i);
	return err;
}

int vfs_setattr(struct tfs_fs *fs, uint64_t ino, unsigned int what, const struct vfs_attr *set,
		const struct vfs_cred *cred, struct vfs_attr *attr)
{
	struct tfs_inode *i;
	bool killed;
	int err = inode_get(fs, ino, &i);

	(void)cred;
	if (err)
		return err;
	/* ATIME_NOW without ATIME says the same */
	if (what & VFS_SET_ATIME_NOW)
		what |= VFS_SET_ATIME;
	if (what & VFS_SET_MTIME_NOW)
		what |= VFS_SET_MTIME;
	if (what & VFS_SET_SIZE) {
		/* privileges first: should the rest fail, or a crash come between, nothing runs
		 * with them that was cut
		 */
		err = inode_may_change(i);
		if (!err && what & VFS_KILL_PRIV)
			err = inode_kill_priv(i, &killed);
		if (!err)
			err = set_size(i, set->size);
		what &= ~(unsigned int)(VFS_SET_SIZE | VFS_KILL_PRIV);
	}
	if (!err && what)
		err = set_attrs(i, what, set);
	if (!err && attr)
		inode_attr(i, attr);
	inode_put(i);
	return err;
}
