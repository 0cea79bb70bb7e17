/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A regular file or a block device. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <pthread.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/block/bdev_fua.h"
#include "core/block/bdev_lock.h"
#include "core/block/bdev_thin.h"
#include "core/block/bdev_uring.h"
#include "core/block/blk_priv.h"
#include "core/lib/log.h"

#define MAX_IO (1u << 20)
#define MAX_SEGS 256
#define ALIGN_MAX 4096

struct bdev_file {
	struct bdev b;
	int fd;
	unsigned int flags;
	bool fua; /* a write can be made durable by itself */
	char *name;
	struct bdev_lock lock;
	pthread_mutex_t start_lock;
	atomic_bool started;
	struct bdev_uring *ring; /* once started: NULL where the thread pool does the work */
};

static struct bdev_file *bdev_file_of(struct bdev *b)
{
	return container_of(b, struct bdev_file, b);
}

/* Synchronous I/O */

/* One preadv or pwritev; bytes or -errno. */
static ssize_t transfer(int fd, bool write, const struct iovec *iov, int n, uint64_t off)
{
	ssize_t ret;

	do {
		if (write)
			ret = pwritev(fd, iov, n, (off_t)off);
		else
			ret = preadv(fd, iov, n, (off_t)off);
	} while (ret < 0 && errno == EINTR);
	return ret < 0 ? -errno : ret;
}

/* What a short transfer left over of one piece. */
static int transfer_rest(int fd, bool write, struct iovec v, uint64_t off)
{
	while (v.iov_len) {
		ssize_t ret = transfer(fd, write, &v, 1, off);

		if (ret < 0)
			return (int)ret;
		if (!ret)
			return -EIO;
		v.iov_base = (char *)v.iov_base + ret;
		v.iov_len -= (size_t)ret;
		off += (uint64_t)ret;
	}
	return 0;
}

static int transfer_some(int fd, bool write, const struct iovec *iov, int n, uint64_t *off)
{
	ssize_t done = transfer(fd, write, iov, n, *off);
	int i, err = 0;

	if (done < 0)
		return (int)done;
	for (i = 0; i < n && !err; i++) {
		size_t skip = min_t(size_t, (size_t)done, iov[i].iov_len);
		struct iovec rest = { .iov_base = (char *)iov[i].iov_base + skip,
				      .iov_len = iov[i].iov_len - skip };

		err = transfer_rest(fd, write, rest, *off + skip);
		*off += iov[i].iov_len;
		done -= (ssize_t)skip;
	}
	return err;
}

static int transfer_all(int fd, bool write, const struct iovec *iov, int n, uint64_t off)
{
	int err = 0;

	while (n && !err) {
		int some = min_t(int, n, IOV_MAX);

		err = transfer_some(fd, write, iov, some, &off);
		iov += some;
		n -= some;
	}
	return err;
}

static int file_readv(struct bdev *b, const struct iovec *iov, int n, uint64_t off)
{
	int err = bdev_check_iov(b, iov, n, off);

	return err ? err : transfer_all(bdev_file_of(b)->fd, false, iov, n, off);
}

static int file_writev(struct bdev *b, const struct iovec *iov, int n, uint64_t off)
{
	int err = bdev_check_iov(b, iov, n, off);

	return err ? err : transfer_all(bdev_file_of(b)->fd, true, iov, n, off);
}

static int file_writev_fua(struct bdev *b, const struct iovec *iov, int n, uint64_t off)
{
	return bdev_file_of(b)->fua ? bdev_fua_writev(bdev_file_of(b)->fd, iov, n, off)
				    : -EOPNOTSUPP;
}

static int file_flush(struct bdev *b)
{
	return fdatasync(bdev_file_of(b)->fd) ? -errno : 0;
}

static int file_discard(struct bdev *b, uint64_t off, uint64_t len)
{
	uint64_t range[2] = { off, len };
	int ret;

	if (b->is_block)
		ret = ioctl(bdev_file_of(b)->fd, BLKDISCARD, range);
	else
		ret = fallocate(bdev_file_of(b)->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				(off_t)off, (off_t)len);
	if (!ret)
		return 0;
	return errno == ENOTTY || errno == ENOSYS ? -EOPNOTSUPP : -errno;
}

/* Space */

static int file_provision(struct bdev *b, uint64_t off, uint64_t len)
{
	return bdev_thin_provision(bdev_file_of(b)->fd, off, len);
}

static int file_backed(struct bdev *b, uint64_t off, uint64_t end, uint64_t *start, uint64_t *stop)
{
	return bdev_thin_backed(bdev_file_of(b)->fd, off, end, start, stop);
}

static int file_usage(struct bdev *b, struct bdev_usage *u)
{
	return b->is_block ? 0 : bdev_thin_usage(bdev_file_of(b)->fd, u);
}

/* Asynchronous I/O */

static int file_start(struct bdev *b)
{
	struct bdev_file *f = bdev_file_of(b);
	int err;

	pthread_mutex_lock(&f->start_lock);
	if (!atomic_load(&f->started)) {
		if (!(f->flags & BDEV_OPEN_NO_URING)) {
			err = bdev_uring_create(f->fd, &f->ring);
			if (err)
				log_debug("%s: no io_uring (%s), using threads", f->name,
					  strerror(-err));
		}
		atomic_store(&f->started, true);
	}
	pthread_mutex_unlock(&f->start_lock);
	return 0;
}

static void file_submit(struct bdev *b, struct bio *bio)
{
	struct bdev_file *f = bdev_file_of(b);

	if (unlikely(!atomic_load_explicit(&f->started, memory_order_acquire)))
		file_start(b);
	if (f->ring)
		bdev_uring_submit(f->ring, bio);
	else
		blk_queue_sync_io(bio);
}

/* Opening */

static void file_close(struct bdev *b)
{
	struct bdev_file *f = bdev_file_of(b);

	bdev_uring_destroy(f->ring);
	bdev_lock_drop(&f->lock);
	/* Drops its locks with it. */
	if (f->fd >= 0)
		close(f->fd);
	pthread_mutex_destroy(&f->start_lock);
	tl_free(f->name);
	tl_free(f);
}

static const struct bdev_ops file_ops = {
	.readv = file_readv,
	.writev = file_writev,
	.flush = file_flush,
	.writev_fua = file_writev_fua,
	.discard = file_discard,
	.provision = file_provision,
	.backed = file_backed,
	.usage = file_usage,
	.submit = file_submit,
	.close = file_close,
	.start = file_start,
};

/* What the kernel says direct I/O on a file has to be aligned to at least; SECTOR_SIZE where it
 * does not say. */
static uint32_t told_direct_align(int fd)
{
	uint32_t align = SECTOR_SIZE;
#ifdef STATX_DIOALIGN
	struct statx stx;

	if (!statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) && (stx.stx_mask & STATX_DIOALIGN))
		align = max_t(uint32_t, align,
			      max_t(uint32_t, stx.stx_dio_offset_align, stx.stx_dio_mem_align));
#endif
	return align;
}

/*
 * The smallest block that a direct read takes: what the kernel tells, then by
 * trying, since not every file system tells, and some read through the page
 * cache what does not suit them.  0 if there is none up to ALIGN_MAX.
 */
static int probe_direct(int fd, uint32_t *align)
{
	char *buf = tl_alloc_aligned(2 * ALIGN_MAX, 2 * ALIGN_MAX);
	uint32_t a;

	if (!buf)
		return -ENOMEM;
	*align = 0;
	for (a = told_direct_align(fd); a <= ALIGN_MAX && !*align; a *= 2) {
		/* Memory just as aligned as will be promised, no better. */
		struct iovec iov = { .iov_base = buf + a, .iov_len = a };

		if (transfer(fd, false, &iov, 1, 0) != -EINVAL)
			*align = a;
	}
	tl_free(buf);
	return 0;
}

/* Open with O_DIRECT where that works; fills in the descriptor and the alignment. */
static int open_fd(struct bdev_file *f, const char *path)
{
	int mode = (f->flags & BDEV_OPEN_RDONLY ? O_RDONLY : O_RDWR) | O_CLOEXEC;
	int err;

	if (!(f->flags & BDEV_OPEN_BUFFERED)) {
		f->fd = open(path, mode | O_DIRECT);
		if (f->fd < 0 && errno != EINVAL)
			return -errno;
		if (f->fd >= 0) {
			err = probe_direct(f->fd, &f->b.align);
			if (err || f->b.align)
				return err;
			close(f->fd);
		}
	}
	f->fd = open(path, mode);
	f->b.align = SECTOR_SIZE;
	return f->fd < 0 ? -errno : 0;
}

static int block_device_limits(struct bdev_file *f)
{
	int sector = 0, read_only = 0;

	if (ioctl(f->fd, BLKGETSIZE64, &f->b.size) || ioctl(f->fd, BLKSSZGET, &sector) ||
	    ioctl(f->fd, BLKROGET, &read_only))
		return -errno;
	if (read_only && !(f->flags & BDEV_OPEN_RDONLY))
		return -EROFS;
	/* The block layer's unit even where the page cache would take less. */
	if (sector > ALIGN_MAX || !is_pow2((uint64_t)sector))
		return -EINVAL;
	f->b.align = max_t(uint32_t, f->b.align, (uint32_t)sector);
	f->b.is_block = true;
	return 0;
}

static int read_limits(struct bdev_file *f)
{
	struct stat st;
	int err;

	if (fstat(f->fd, &st))
		return -errno;
	if (S_ISBLK(st.st_mode)) {
		err = block_device_limits(f);
		if (err)
			return err;
	} else if (S_ISREG(st.st_mode)) {
		f->b.size = (uint64_t)st.st_size;
		f->b.thin = true;
		f->b.cow = bdev_thin_cow(f->fd);
	} else {
		return -ENOTBLK;
	}
	f->fua = bdev_fua_disk(f->b.is_block ? st.st_rdev : st.st_dev);
	f->b.size = round_down_to(f->b.size, f->b.align);
	if (!f->b.size)
		return -EINVAL;
	f->b.max_io = MAX_IO;
	f->b.max_segs = MAX_SEGS;
	f->b.read_only = f->flags & BDEV_OPEN_RDONLY;
	return 0;
}

/* Before opening: the open of a FIFO would wait, that of some devices has effects. */
static int check_kind(const char *path)
{
	struct stat st;

	if (stat(path, &st))
		return -errno;
	return S_ISREG(st.st_mode) || S_ISBLK(st.st_mode) ? 0 : -ENOTBLK;
}

int bdev_open_by(const char *path, unsigned int flags, struct bdev **out,
		 char busy_by[LOCKHOLDER_TEXT])
{
	struct bdev_file *f;
	size_t len = strlen(path) + 1;
	int err = check_kind(path);

	busy_by[0] = '\0';
	if (err)
		return err;
	f = tl_zalloc(sizeof(*f));
	if (!f)
		return -ENOMEM;
	f->fd = -1;
	f->flags = flags;
	f->b.ops = &file_ops;
	pthread_mutex_init(&f->start_lock, NULL);
	f->name = tl_alloc(len);
	if (!f->name) {
		err = -ENOMEM;
		goto out_close;
	}
	memcpy(f->name, path, len);
	f->b.name = f->name;
	err = open_fd(f, path);
	if (err)
		goto out_close;
	if (!(flags & BDEV_OPEN_NO_LOCK)) {
		err = bdev_lock_take(&f->lock, f->fd, path, flags & BDEV_OPEN_RDONLY,
				     flags & BDEV_OPEN_WAIT, busy_by);
		if (err)
			goto out_close;
	}
	/* After the lock: whoever held it may have changed the size. */
	err = read_limits(f);
	if (err)
		goto out_close;
	*out = &f->b;
	return 0;

out_close:
	file_close(&f->b);
	return err;
}

int bdev_open(const char *path, unsigned int flags, struct bdev **out)
{
	char busy_by[LOCKHOLDER_TEXT];

	return bdev_open_by(path, flags, out, busy_by);
}

void bdev_set_serving(struct bdev *b, bool serving)
{
	if (b->ops == &file_ops)
		bdev_lock_set_serving(&bdev_file_of(b)->lock, serving);
}
