/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What all backing devices share: checked synchronous access, with statistics. */
#include "core/block/bdev.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/lib/clock.h"

void bdev_open_error(char *why, size_t size, int err, const char *busy_by)
{
	const char *text = strerror(-err);

	if (err == -EBUSY)
		text = "in use: it is mounted, or another program has it open";
	else if (err == -ENOTBLK)
		text = "neither a block device nor a regular file";
	else if (err == -EROFS)
		text = "read-only";
	else if (err == -EINVAL)
		text = "empty: no tallyfs superblock";
	if (err == -EBUSY && *busy_by)
		snprintf(why, size, "%s (%s)", text, busy_by);
	else
		snprintf(why, size, "%s", text);
}

static int check_range(const struct bdev *b, uint64_t off, uint64_t len)
{
	if ((off | len) & (b->align - 1))
		return -EINVAL;
	if (off > b->size || len > b->size - off)
		return -EIO;
	return 0;
}

static uint64_t iov_bytes(const struct iovec *iov, int n)
{
	uint64_t len = 0;

	while (n--)
		len += iov[n].iov_len;
	return len;
}

int bdev_check_iov(const struct bdev *b, const struct iovec *iov, int n, uint64_t off)
{
	uintptr_t where = 0;
	int i;

	for (i = 0; i < n; i++)
		where |= (uintptr_t)iov[i].iov_base | iov[i].iov_len;
	return where & (b->align - 1) ? -EINVAL : check_range(b, off, iov_bytes(iov, n));
}

/* What was asked of the device at @since has ended; @ops and @time are those of its kind. */
static int ended(struct bdev *b, atomic_ullong *ops, struct hist *time, uint64_t since, int err)
{
	hist_record(time, now_ns() - since);
	atomic_fetch_add_explicit(ops, 1, memory_order_relaxed);
	if (err)
		atomic_fetch_add_explicit(&b->stats.errors, 1, memory_order_relaxed);
	return err;
}

static int read_ended(struct bdev *b, uint64_t len, uint64_t since, int err)
{
	atomic_fetch_add_explicit(&b->stats.read_bytes, len, memory_order_relaxed);
	return ended(b, &b->stats.reads, &b->stats.read_time, since, err);
}

static int write_ended(struct bdev *b, uint64_t len, uint64_t since, int err)
{
	atomic_fetch_add_explicit(&b->stats.write_bytes, len, memory_order_relaxed);
	return ended(b, &b->stats.writes, &b->stats.write_time, since, err);
}

int bdev_read(struct bdev *b, void *buf, size_t len, uint64_t off)
{
	struct iovec iov = { .iov_base = buf, .iov_len = len };
	int err = bdev_check_iov(b, &iov, 1, off);
	uint64_t since = now_ns();

	if (err || !len)
		return err;
	return read_ended(b, len, since, b->ops->readv(b, &iov, 1, off));
}

int bdev_writev(struct bdev *b, const struct iovec *iov, int n, uint64_t off)
{
	int err = b->read_only ? -EROFS : bdev_check_iov(b, iov, n, off);
	uint64_t len = iov_bytes(iov, n), since = now_ns();

	if (err || !len)
		return err;
	return write_ended(b, len, since, b->ops->writev(b, iov, n, off));
}

int bdev_write(struct bdev *b, const void *buf, size_t len, uint64_t off)
{
	struct iovec iov = { .iov_base = (void *)buf, .iov_len = len };

	return bdev_writev(b, &iov, 1, off);
}

int bdev_write_fua(struct bdev *b, const void *buf, size_t len, uint64_t off)
{
	struct iovec iov = { .iov_base = (void *)buf, .iov_len = len };
	int err = b->read_only ? -EROFS : bdev_check_iov(b, &iov, 1, off);
	uint64_t since = now_ns();

	if (!err)
		err = b->ops->writev_fua ? b->ops->writev_fua(b, &iov, 1, off) : -EOPNOTSUPP;
	if (err == -EOPNOTSUPP)
		return err;
	return write_ended(b, len, since, err);
}

int bdev_flush(struct bdev *b)
{
	uint64_t since = now_ns();

	if (!b->ops->flush)
		return 0;
	return ended(b, &b->stats.flushes, &b->stats.flush_time, since, b->ops->flush(b));
}

int bdev_discard(struct bdev *b, uint64_t off, uint64_t len)
{
	int err = b->read_only ? -EROFS : check_range(b, off, len);
	uint64_t since = now_ns();

	if (err || !len)
		return err;
	if (!b->ops->discard)
		return -EOPNOTSUPP;
	return ended(b, &b->stats.discards, &b->stats.discard_time, since,
		     b->ops->discard(b, off, len));
}

int bdev_provision(struct bdev *b, uint64_t off, uint64_t len)
{
	int err;

	if (b->read_only)
		return -EROFS;
	if (!b->thin || !len)
		return 0;
	err = b->ops->provision(b, off, len);
	if (err == -EOPNOTSUPP)
		b->thin = false;
	return err;
}

int bdev_backed(struct bdev *b, uint64_t off, uint64_t end, uint64_t *start, uint64_t *stop)
{
	*start = off;
	*stop = end;
	return b->thin && off < end ? b->ops->backed(b, off, end, start, stop) : 0;
}

bool bdev_all_backed(struct bdev *b, uint64_t off, uint64_t len)
{
	uint64_t start, stop, end = off + len;

	while (off < end) {
		if (bdev_backed(b, off, end, &start, &stop) || start > off || stop <= off)
			return false;
		off = stop;
	}
	return true;
}

int bdev_usage(struct bdev *b, struct bdev_usage *u)
{
	*u = (struct bdev_usage){ .taken = b->size };
	return b->ops->usage ? b->ops->usage(b, u) : 0;
}

int bdev_start(struct bdev *b)
{
	return b->ops->start ? b->ops->start(b) : 0;
}

void bdev_close(struct bdev *b)
{
	if (b)
		b->ops->close(b);
}
