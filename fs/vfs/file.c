/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Open files: read, write, fsync, seek. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include <string.h>
#include "core/block/seg.h"
#include "core/iomap/iomap.h"
#include "core/lib/util.h"
#include "core/pagecache/pagecache.h"
#include "fs/alloc/space.h"
#include "fs/inode/append.h"
#include "fs/inode/damage.h"
#include "fs/inode/inode.h"
#include "fs/inode/inode_lock.h"
#include "fs/inode/inode_sync.h"
#include "fs/inode/iomap_ops.h"
#include "fs/inode/truncate.h"
#include "fs/journal/journal.h"
#include "fs/journal/trans.h"
#include "fs/state/error.h"
#include "fs/state/fs.h"
#include "fs/vfs/attr.h"
#include "fs/vfs/file.h"
#include "fs/vfs/flags.h"
#include "fs/vfs/vfs.h"
#include "tallyfs/format.h"

void file_init(struct vfs_file *f, struct tfs_inode *i, int flags)
{
	inode_hold(i);
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
		err = vfs_writable(fs);
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
	inode_put(f->inode);
	tl_free(f);
	reap_kick(fs);
	icache_trim(fs);
}

/* ---- reading ---- */

static uint64_t bytes_to_eof(struct tfs_inode *i, uint64_t pos, uint64_t len)
{
	uint64_t size = i_size_read(&i->mapping);

	return pos >= size ? 0 : min_t(uint64_t, len, size - pos);
}

/* Whole blocks into memory of our own, of which @use gets the part asked for.  0, -errno, or what
 * @use says. */
static int read_direct(struct tfs_inode *i, uint64_t pos, size_t len,
		       int (*use)(void *arg, struct iovec *iov, int n, size_t bytes), void *arg)
{
	uint64_t bs = i->fs->geom.block_size, start = round_down_to(pos, bs),
		 want = bytes_to_eof(i, pos, len);
	size_t bytes = round_up_to(pos + want, bs) - start;
	struct iovec iov = { .iov_len = want };
	struct seg *seg;
	int64_t n;
	int ret;

	if (!want)
		return use(arg, &iov, 0, 0);
	seg = seg_alloc(pagecache_segs(i->fs->pagecache), bytes);
	if (!seg)
		seg = pagecache_seg_alloc(i->fs->pagecache, bytes);
	if (!seg)
		return -ENOMEM;
	n = iomap_dio_read(&i->mapping, start, seg->base, bytes, &tfs_iomap_ops);
	iov.iov_base = (char *)seg->base + (pos - start);
	if (n < 0)
		ret = (int)n;
	else
		ret = start + (uint64_t)n < pos + want ? -EIO : use(arg, &iov, 1, want);
	seg_put(seg);
	return ret;
}

/*
 * What has been found for a read, to whoever wants it.  *more: there is something to fetch, or to
 * drop, afterwards: the reader need not wait for what it has not asked for.
 */
static int use_result(struct tfs_inode *i, uint64_t pos, size_t len, struct iomap_read_result *res,
		      int (*use)(void *arg, struct iovec *iov, int n, size_t bytes), void *arg,
		      struct iomap_ahead *ahead, bool *more)
{
	int ret;

	*more = iomap_read_note(&i->mapping, pos, pos + res->bytes, ahead);
	/*
	 * A short answer means end of file to the kernel, which with its
	 * write-back cache takes the rest for a hole and gives out zeros.
	 */
	if (res->bytes < bytes_to_eof(i, pos, len))
		ret = -EIO;
	else
		ret = use(arg, res->iov, (int)res->nr_iov, res->bytes);
	iomap_read_result_release(res);
	return ret;
}

/* Inode lock held shared with I/O. */
static int read_missing(struct tfs_inode *i, uint64_t pos, size_t len,
			int (*use)(void *arg, struct iovec *iov, int n, size_t bytes), void *arg)
{
	struct iomap_read_result res = { 0 };
	int ret = iomap_file_buffered_read(&i->mapping, pos, len, &tfs_iomap_ops, &res);
	struct iomap_ahead ahead;
	bool more = false;

	if (!ret)
		ret = use_result(i, pos, len, &res, use, arg, &ahead, &more);
	if (more)
		iomap_read_ahead(&i->mapping, &ahead, &tfs_iomap_ops);
	return ret;
}

/* -EAGAIN: not all of it is cached.  Waits for nobody who waits for the device. */
static int read_cached(struct tfs_inode *i, uint64_t pos, size_t len,
		       int (*use)(void *arg, struct iovec *iov, int n, size_t bytes), void *arg)
{
	struct iomap_read_result res = { 0 };
	struct iomap_ahead ahead;
	bool more = false;
	int ret;

	inode_lock_shared(i, false);
	ret = iomap_file_cached_read(&i->mapping, pos, len, &res);
	if (!ret) {
		ret = use_result(i, pos, len, &res, use, arg, &ahead, &more);
		ret = ret == -EAGAIN ? -EIO : ret; /* has a meaning of its own here */
	}
	inode_unlock_shared(i, false);
	if (more) {
		inode_lock_shared(i, true);
		iomap_read_ahead(&i->mapping, &ahead, &tfs_iomap_ops);
		inode_unlock_shared(i, true);
	}
	return ret;
}

int vfs_read(struct tfs_fs *fs, struct vfs_file *f, uint64_t pos, size_t len,
	     int (*use)(void *arg, struct iovec *iov, int n, size_t bytes), void *arg)
{
	struct tfs_inode *i = f->inode;
	int ret;

	if (!inode_is_reg(i))
		return inode_is_dir(i) ? -EISDIR : -EINVAL;
	ret = f->flags & O_DIRECT ? -EAGAIN : read_cached(i, pos, len, use, arg);
	if (ret == -EAGAIN) {
		inode_lock_shared(i, true);
		ret = (f->flags & O_DIRECT ? read_direct : read_missing)(i, pos, len, use, arg);
		inode_unlock_shared(i, true);
	}
	if (damage_pending(fs))
		damage_run(fs);
	return ret;
}

struct copy_out {
	char *buf;
	size_t done;
};

static int copy_out(void *arg, struct iovec *iov, int n, size_t bytes)
{
	struct copy_out *c = arg;

	for (int k = 0; k < n; k++) {
		memcpy(c->buf + c->done, iov[k].iov_base, iov[k].iov_len);
		c->done += iov[k].iov_len;
	}
	(void)bytes;
	return 0;
}

/* Straight into the caller's memory. */
static int64_t pread_direct(struct tfs_fs *fs, struct tfs_inode *i, void *buf, size_t len,
			    uint64_t pos)
{
	int64_t ret;

	inode_lock_shared(i, true);
	ret = iomap_dio_read(&i->mapping, pos, buf, len, &tfs_iomap_ops);
	inode_unlock_shared(i, true);
	if (damage_pending(fs))
		damage_run(fs);
	return ret;
}

int64_t vfs_pread(struct tfs_fs *fs, struct vfs_file *f, void *buf, size_t len, uint64_t pos)
{
	struct copy_out c = { .buf = buf };
	uint64_t mask = fs->geom.block_size - 1;
	bool single = false;

	if (f->flags & O_DIRECT && inode_is_reg(f->inode))
		return pread_direct(fs, f->inode, buf, len, pos);
	while (c.done < len) {
		size_t before = c.done, n = len - c.done;
		int err;

		if (single)
			n = min_t(size_t, n, fs->geom.block_size - ((pos + c.done) & mask));
		err = vfs_read(fs, f, pos + c.done, n, copy_out, &c);
		if (err && !single) {
			/* a bad block fails the whole read: what lies before it is good */
			single = true;
			continue;
		}
		if (err)
			return c.done ? (int64_t)c.done : err;
		if (c.done == before)
			break;
	}
	return (int64_t)c.done;
}

/* ---- writing ---- */

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
		if (!(flags & VFS_WRITE_CACHE))
			touch(i);
		inode_mark_dirty(i);
	}
	return ret;
}

static void fetch_block(struct tfs_inode *i, uint64_t pos)
{
	struct iomap_read_result res = { 0 };
	int err;

	inode_lock_shared(i, false);
	err = iomap_file_cached_read(&i->mapping, pos, 1, &res);
	inode_unlock_shared(i, false);
	if (err == -EAGAIN) {
		inode_lock_shared(i, true);
		iomap_file_buffered_read(&i->mapping, pos, 1, &tfs_iomap_ops, &res);
		inode_unlock_shared(i, true);
	}
	iomap_read_result_release(&res);
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
	err = vfs_writable(fs);
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

/* ---- durability ---- */

int vfs_flush(struct tfs_fs *fs, struct vfs_file *f)
{
	(void)fs;
	if (!inode_is_reg(f->inode) || (f->flags & O_ACCMODE) == O_RDONLY)
		return 0;
	return mapping_check_and_advance_error(&f->inode->mapping, &f->wb_err);
}

/* Data of the file that could not be kept (DESIGN rule 5): said by every fsync. */
static bool has_lost(struct tfs_inode *i)
{
	bool lost;

	pthread_mutex_lock(&i->attr_lock);
	lost = i->a.flags & TFS_INODE_LOST;
	pthread_mutex_unlock(&i->attr_lock);
	return lost;
}

int vfs_fsync(struct tfs_fs *fs, struct vfs_file *f, bool datasync)
{
	struct tfs_inode *i = f->inode;
	uint64_t txid, size = 0;
	int err = 0, err2;

	if (inode_is_reg(i)) {
		/* first the size, as in inode_settle() */
		size = i_size_read(&i->mapping);
		err = filemap_write_and_wait_range(&i->mapping, 0, UINT64_MAX);
		err2 = mapping_check_and_advance_error(&i->mapping, &f->wb_err);
		err = err ? err : err2;
		if (has_lost(i))
			err = err ? err : -EIO;
	}
	if (!err && !fs->opts.ro)
		err = inode_flush(i, datasync, size);
	txid = datasync ? atomic_load(&i->data_txid) : atomic_load(&i->txid);
	if (!err)
		err = atomic_load(&fs->shutdown);
	if (!err && txid > journal_durable_txid(fs))
		err = journal_commit(fs, txid);
	return err;
}

int vfs_sync(struct tfs_fs *fs)
{
	int err, err2;

	if (fs->opts.ro)
		return 0;
	damage_run(fs);
	err = pagecache_sync(fs->pagecache, true);
	err2 = icache_flush(fs);
	err = err ? err : err2;
	err2 = journal_commit_all(fs);
	return err ? err : err2;
}

int vfs_fsyncdir(struct tfs_fs *fs, uint64_t dir)
{
	if (fs->opts.ro)
		return 0;
	/* over FUSE this is the only way to ask for all of it */
	return dir == TFS_INO_ROOT ? vfs_sync(fs) : journal_commit_all(fs);
}

/* ---- the rest ---- */

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

int vfs_statfs(struct tfs_fs *fs, struct statvfs *st)
{
	uint64_t avail, free_blocks, total, inodes;
	struct tfs_trans t = { 0 };
	int err = 0;

	space_statfs(fs, &avail, &free_blocks, &total);
	do {
		trans_read_begin(&t, fs);
		inodes = fs->cnt.nr_inodes;
	} while (trans_again(&t, &err));
	*st = (struct statvfs){
		.f_bsize = fs->geom.block_size,
		.f_frsize = fs->geom.block_size,
		.f_blocks = total,
		.f_bfree = free_blocks,
		.f_bavail = avail,
		/* inodes are made as needed: as many as there is room for */
		.f_files = inodes + avail,
		.f_ffree = avail,
		.f_favail = avail,
		.f_namemax = TFS_NAME_MAX,
	};
	return 0;
}
