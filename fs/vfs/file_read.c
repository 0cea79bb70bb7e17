/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading an open file: from the page cache, through it, or past it. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include "core/block/seg.h"
#include "core/iomap/iomap.h"
#include "core/lib/util.h"
#include "core/pagecache/pagecache.h"
#include "fs/inode/damage.h"
#include "fs/inode/inode.h"
#include "fs/inode/inode_lock.h"
#include "fs/inode/iomap_ops.h"
#include "fs/state/fs.h"
#include "fs/vfs/vfs.h"

static uint64_t bytes_to_eof(struct tfs_inode *i, uint64_t pos, uint64_t len)
{
	uint64_t size = i_size_read(&i->mapping);

	return pos >= size ? 0 : min_t(uint64_t, len, size - pos);
}

/* A read, and who gets what is found. */
struct read_request {
	struct tfs_inode *i;
	uint64_t pos; /* bytes */
	size_t len;
	int (*use)(void *arg, struct iovec *iov, int n, size_t bytes);
	void *arg;
	/* what is to be fetched, or dropped, afterwards: the reader need not wait for what it has
	 * not asked for */
	struct iomap_ahead ahead;
	bool more; /* there is something of that kind */
};

/* Whole blocks into memory of our own, of which r->use gets the part asked for.  0, -errno, or what
 * it says. */
static int read_direct(struct read_request *r)
{
	struct tfs_inode *i = r->i;
	uint64_t bs = i->fs->geom.block_size, start = round_down_to(r->pos, bs),
		 want = bytes_to_eof(i, r->pos, r->len);
	size_t bytes = round_up_to(r->pos + want, bs) - start;
	struct iovec iov = { .iov_len = want };
	struct seg *seg;
	int64_t n;
	int ret;

	if (!want)
		return r->use(r->arg, &iov, 0, 0);
	seg = seg_alloc(pagecache_segs(i->fs->pagecache), bytes);
	if (!seg)
		seg = pagecache_seg_alloc(i->fs->pagecache, bytes);
	if (!seg)
		return -ENOMEM;
	n = iomap_dio_read(&i->mapping, start, seg->base, bytes, &tfs_iomap_ops);
	iov.iov_base = (char *)seg->base + (r->pos - start);
	if (n < 0)
		ret = (int)n;
	else
		ret = start + (uint64_t)n < r->pos + want ? -EIO : r->use(r->arg, &iov, 1, want);
	seg_put(seg);
	return ret;
}

/* What has been found, to whoever wants it. */
static int use_result(struct read_request *r, struct iomap_read_result *res)
{
	int ret;

	r->more = iomap_read_note(&r->i->mapping, r->pos, r->pos + res->bytes, &r->ahead);
	/*
	 * A short answer means end of file to the kernel, which with its
	 * write-back cache takes the rest for a hole and gives out zeros.
	 */
	if (res->bytes < bytes_to_eof(r->i, r->pos, r->len))
		ret = -EIO;
	else
		ret = r->use(r->arg, res->iov, (int)res->nr_iov, res->bytes);
	iomap_read_result_release(res);
	return ret;
}

/*
 * Through the cache.  Without @wait for nobody who waits for the device: -EAGAIN when not all of it
 * is there.
 */
static int read_buffered(struct read_request *r, bool wait)
{
	struct address_space *m = &r->i->mapping;
	struct iomap_read_result res = { 0 };
	int ret;

	inode_lock_shared(r->i, wait);
	ret = iomap_file_buffered_read(m, r->pos, r->len, wait ? 0 : IOMAP_NOWAIT, &tfs_iomap_ops,
				       &res);
	if (!ret) {
		ret = use_result(r, &res);
		if (!wait && ret == -EAGAIN)
			ret = -EIO; /* has a meaning of its own here */
	}
	if (r->more && !wait) {
		inode_unlock_shared(r->i, false);
		wait = true;
		inode_lock_shared(r->i, true);
	}
	if (r->more)
		iomap_read_ahead(m, &r->ahead, &tfs_iomap_ops);
	inode_unlock_shared(r->i, wait);
	return ret;
}

int vfs_read(struct tfs_fs *fs, struct vfs_file *f, uint64_t pos, size_t len,
	     int (*use)(void *arg, struct iovec *iov, int n, size_t bytes), void *arg)
{
	struct tfs_inode *i = f->inode;
	struct read_request r = { .i = i, .pos = pos, .len = len, .use = use, .arg = arg };
	int ret;

	if (!inode_is_reg(i))
		return inode_is_dir(i) ? -EISDIR : -EINVAL;
	if (f->flags & O_DIRECT) {
		inode_lock_shared(i, true);
		ret = read_direct(&r);
		inode_unlock_shared(i, true);
	} else {
		ret = read_buffered(&r, false);
		if (ret == -EAGAIN)
			ret = read_buffered(&r, true);
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
