/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Open files, and what is asked of one but for its bytes; those are in file_read.c, file_write.c
 * and file_sync.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include "core/iomap/iomap.h"
#include "core/lib/util.h"
#include "core/pagecache/pagecache.h"
#include "fs/inode/dying.h"
#include "fs/inode/evict.h"
#include "fs/inode/icache.h"
#include "fs/inode/iget.h"
#include "fs/inode/inode.h"
#include "fs/inode/inode_lock.h"
#include "fs/inode/iomap_ops.h"
#include "fs/inode/reaper.h"
#include "fs/state/error.h"
#include "fs/state/fs.h"
#include "fs/vfs/file.h"
#include "fs/vfs/flags.h"
#include "fs/vfs/vfs.h"

void file_init(struct vfs_file *f, struct tfs_inode *i, int flags)
{
	inode_hold(i);
	inode_opened(i, 1);
	*f = (struct vfs_file){ .inode = i, .flags = flags };
	if (inode_is_reg(i))
		f->wb_err = mapping_sample_error(&i->mapping);
}

/* For writing. */
static bool flags_let_open(struct tfs_inode *i, int flags)
{
	unsigned int have = inode_flags(i);

	return !(have & VFS_FLAG_IMMUTABLE) && (!(have & VFS_FLAG_APPEND) || flags & O_APPEND);
}

int vfs_open(struct tfs_fs *fs, uint64_t ino, int flags, struct vfs_file **f)
{
	struct tfs_inode *i;
	int err = inode_get(fs, ino, &i);

	if (err)
		return err;
	if ((flags & O_ACCMODE) != O_RDONLY && inode_is_dir(i))
		err = -EISDIR;
	else if ((flags & O_ACCMODE) != O_RDONLY)
		err = tfs_writable(fs);
	if (!err && (flags & O_ACCMODE) != O_RDONLY && !flags_let_open(i, flags))
		err = -EPERM;
	*f = err ? NULL : tl_alloc(sizeof(**f));
	if (*f)
		file_init(*f, i, flags);
	else if (!err)
		err = -ENOMEM;
	inode_put(i);
	return err;
}

void vfs_release(struct tfs_fs *fs, struct vfs_file *f)
{
	inode_opened(f->inode, -1);
	inode_put(f->inode);
	tl_free(f);
	reap_kick(fs);
	icache_trim(fs);
}

int64_t vfs_lseek(struct tfs_fs *fs, struct vfs_file *f, uint64_t pos, int whence)
{
	struct tfs_inode *i = f->inode;
	int64_t ret;

	(void)fs;
	if (!inode_is_reg(i) || (whence != SEEK_DATA && whence != SEEK_HOLE))
		return -EINVAL;
	inode_lock_shared(i, true);
	if (pos >= i_size_read(&i->mapping))
		ret = -ENXIO;
	else if (whence == SEEK_DATA)
		ret = iomap_seek_data(&i->mapping, pos, &tfs_iomap_ops);
	else
		ret = iomap_seek_hole(&i->mapping, pos, &tfs_iomap_ops);
	inode_unlock_shared(i, true);
	return ret;
}
