/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writing an open file. */
#include <errno.h>
#include <fcntl.h>
#include "core/iomap/iomap.h"
#include "core/lib/util.h"
#include "core/pagecache/pagecache.h"
#include "fs/inode/append.h"
#include "fs/inode/icache.h"
#include "fs/inode/inode.h"
#include "fs/inode/inode_lock.h"
#include "fs/inode/inode_flush.h"
#include "fs/inode/iomap_ops.h"
#include "fs/inode/truncate.h"
#include "fs/journal/trans.h"
#include "fs/state/error.h"
#include "fs/state/fs.h"
#include "fs/vfs/attr.h"
#include "fs/vfs/flags.h"
#include "fs/vfs/vfs.h"
#include "tallyfs/format.h"

static void touch(struct tfs_inode *i)
{
	struct timespec now = tfs_now();

	pthread_mutex_lock(&i->attr_lock);
	i->a.mtime = i->a.ctime = now;
	pthread_mutex_unlock(&i->attr_lock);
}

/*
 * Blocks of a direct write that failed may have been written behind the size that the file was left
 * with; then they count, since on disk they do.
 */
static void size_after_failure(struct tfs_inode *i)
{
	struct tfs_trans t = { 0 };
	uint64_t size;
	int err = 0;

	do {
		trans_read_begin(&t, i->fs);
		size = i->d_size;
	} while (trans_again(&t, &err));
	if (size > i_size_read(&i->mapping))
		i_size_write(&i->mapping, size);
}

static int64_t write_direct(struct tfs_inode *i, uint64_t pos, const struct iomap_src *src)
{
	struct tfs_icache *ic = i->fs->icache;
	struct iomap_writepage_ctx wpc = { .bs = ic->wb_bios, .app = TFS_APP_DATA };
	int64_t ret = iomap_dio_write(&i->mapping, pos, src, &tfs_iomap_ops, &wpc, &ic->wb_ops);

	if (ret < (int64_t)src->len)
		size_after_failure(i);
	return ret;
}

static int64_t write_locked(struct tfs_inode *i, struct vfs_file *f, uint64_t pos,
			    const struct iomap_src *src, unsigned int flags, bool *killed)
{
	unsigned int have = inode_flags(i);
	struct iomap_src s = *src;
	int64_t ret;
	int err;

	if (have & VFS_FLAG_IMMUTABLE)
		return -EPERM;
	if (f->flags & O_APPEND && !(flags & VFS_WRITE_CACHE))
		pos = i_size_read(&i->mapping);
	if (have & VFS_FLAG_APPEND && !(flags & VFS_WRITE_CACHE) && pos < i_size_read(&i->mapping))
		return -EPERM;
	if (pos >= (uint64_t)TFS_MAX_FILE_SIZE)
		return -EFBIG;
	if (s.len > (uint64_t)TFS_MAX_FILE_SIZE - pos)
		s.len = (size_t)((uint64_t)TFS_MAX_FILE_SIZE - pos);
	err = inode_finish_truncate(i);
	if (!err && flags & VFS_WRITE_KILL_PRIV)
		err = inode_kill_priv(i, killed);
	if (err)
		return err;
	/* what comes from the kernel's cache came there through some descriptor without O_DIRECT */
	if (f->flags & O_DIRECT && !(flags & VFS_WRITE_CACHE))
		ret = write_direct(i, pos, &s);
	else if (have & VFS_FLAG_APPEND && flags & VFS_WRITE_CACHE)
		ret = append_write(i, pos, &s);
	else
		ret = iomap_file_buffered_write(&i->mapping, pos, &s, &tfs_iomap_ops);
	if (ret > 0) {
		if (!(flags & VFS_WRITE_CACHE) || flags & VFS_WRITE_TOUCH)
			touch(i);
		inode_mark_dirty(i);
	}
	return ret;
}

static int fetch(struct tfs_inode *i, uint64_t pos, bool wait)
{
	struct iomap_read_result res = { 0 };
	int err;

	inode_lock_shared(i, wait);
	err = iomap_file_buffered_read(&i->mapping, pos, 1, wait ? 0 : IOMAP_NOWAIT, &tfs_iomap_ops,
				       &res);
	inode_unlock_shared(i, wait);
	iomap_read_result_release(&res);
	return err;
}

static void fetch_block(struct tfs_inode *i, uint64_t pos)
{
	if (fetch(i, pos, false) == -EAGAIN)
		fetch(i, pos, true);
}

/*
 * Blocks that a write changes in part, and the one with the old end of the file if it begins behind
 * that, are read before it locks out those who read what is cached.  What goes wrong here, the
 * write finds out for itself.
 */
static void fetch_edges(struct tfs_inode *i, uint64_t pos, uint64_t len)
{
	uint64_t size = i_size_read(&i->mapping), mask = i->fs->geom.block_size - 1;
	uint64_t start = pos < size ? pos : size,
		 end = pos < size && len < size - pos ? pos + len : size;

	if (start & mask)
		fetch_block(i, start - 1);
	if (end & mask && end < size && !(start & mask && (start | mask) == (end | mask)))
		fetch_block(i, end);
}

int64_t vfs_write(struct tfs_fs *fs, struct vfs_file *f, uint64_t pos, const struct iomap_src *src,
		  unsigned int flags, bool *killed)
{
	struct tfs_inode *i = f->inode;
	int64_t ret;
	int err;

	if (!inode_is_reg(i))
		return inode_is_dir(i) ? -EISDIR : -EINVAL;
	err = tfs_writable(fs);
	/* what the kernel took from a program while that could be written is to be kept */
	if (err == -EROFS && flags & VFS_WRITE_CACHE && !fs->opts.ro)
		err = 0;
	if (err)
		return err;
	if (!src->len)
		return 0;
	if (!(f->flags & O_DIRECT) || flags & VFS_WRITE_CACHE)
		fetch_edges(i, f->flags & O_APPEND && !(flags & VFS_WRITE_CACHE) ? UINT64_MAX : pos,
			    src->len);
	inode_lock(i);
	ret = write_locked(i, f, pos, src, flags, killed);
	inode_unlock(i);
	balance_dirty_pages(&i->mapping);
	if (ret > 0 && f->flags & (O_SYNC | O_DSYNC)) {
		/* O_SYNC includes the bit of O_DSYNC */
		err = vfs_fsync(fs, f, (f->flags & O_SYNC) != O_SYNC);
		if (err)
			return err;
	}
	return ret;
}

int64_t vfs_pwrite(struct tfs_fs *fs, struct vfs_file *f, const void *buf, size_t len, uint64_t pos)
{
	struct iomap_src src = { .buf = buf, .len = len };

	return vfs_write(fs, f, pos, &src, 0, NULL);
}
