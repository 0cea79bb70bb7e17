/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Files with holes.  FIEMAP knows space that was given but never written; where there is none
 * (tmpfs, NFS), SEEK_DATA and SEEK_HOLE know what was written.
 */
#include "core/block/bdev_thin.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "core/lib/util.h"

#define EXTENTS 64

/* Extents that follow each other count as one. */
static int by_fiemap(int fd, uint64_t off, uint64_t end, uint64_t *start, uint64_t *stop)
{
	union {
		struct fiemap map;
		char room[sizeof(struct fiemap) + EXTENTS * sizeof(struct fiemap_extent)];
	} u = { .map = { .fm_start = off, .fm_length = end - off, .fm_extent_count = EXTENTS } };
	const struct fiemap_extent *e = u.map.fm_extents;
	unsigned int i;

	if (ioctl(fd, FS_IOC_FIEMAP, &u.map))
		return errno == ENOTTY || errno == ENOSYS || errno == EBADR ? -EOPNOTSUPP : -errno;
	*start = *stop = end;
	for (i = 0; i < u.map.fm_mapped_extents; i++) {
		uint64_t from = max_t(uint64_t, e[i].fe_logical, off),
			 to = min_t(uint64_t, e[i].fe_logical + e[i].fe_length, end);

		if (from >= to)
			continue;
		if (*start == end)
			*start = from;
		else if (from != *stop)
			break;
		*stop = to;
	}
	return 0;
}

static int by_seeking(int fd, uint64_t off, uint64_t end, uint64_t *start, uint64_t *stop)
{
	off_t data = lseek(fd, (off_t)off, SEEK_DATA), hole;

	*start = *stop = end;
	if (data < 0)
		return errno == ENXIO ? 0 : -errno;
	if ((uint64_t)data >= end)
		return 0;
	hole = lseek(fd, data, SEEK_HOLE);
	if (hole < 0)
		return -errno;
	*start = (uint64_t)data;
	*stop = min_t(uint64_t, (uint64_t)hole, end);
	return 0;
}

int bdev_thin_backed(int fd, uint64_t off, uint64_t end, uint64_t *start, uint64_t *stop)
{
	int err = by_fiemap(fd, off, end, start, stop);

	return err == -EOPNOTSUPP ? by_seeking(fd, off, end, start, stop) : err;
}

static bool has_all(int fd, uint64_t off, uint64_t end)
{
	uint64_t start, stop;

	while (off < end) {
		if (bdev_thin_backed(fd, off, end, &start, &stop) || start > off || stop <= off)
			return false;
		off = stop;
	}
	return true;
}

/* What says that a host, or its file system, does not do this at all. */
static bool not_possible(int err)
{
	switch (err) {
	case ENOSYS:
	case EOPNOTSUPP:
	case EINVAL:
	case EPERM:
	case ENODEV:
		return true;
	}
	return false;
}

/* 0, or errno. */
static int allocate(int fd, int mode, uint64_t off, uint64_t len)
{
	int ret;

	do {
		ret = fallocate(fd, mode, (off_t)off, (off_t)len);
	} while (ret && errno == EINTR);
	return ret ? errno : 0;
}

/* NFS knows no other mode than 0; within the file's size it is the same. */
static int allocate_inside(int fd, uint64_t off, uint64_t len)
{
	struct stat st;

	if (fstat(fd, &st) || off + len > (uint64_t)st.st_size)
		return EOPNOTSUPP;
	return allocate(fd, 0, off, len);
}

int bdev_thin_provision(int fd, uint64_t off, uint64_t len)
{
	int err = allocate(fd, FALLOC_FL_KEEP_SIZE, off, len);

	if (not_possible(err))
		err = allocate_inside(fd, off, len);
	if (not_possible(err))
		return -EOPNOTSUPP;
	/* some (XFS) want as much to be free before they look whether it is needed */
	if (err == ENOSPC || err == EDQUOT)
		return has_all(fd, off, off + len) ? 0 : -ENOSPC;
	return -err;
}

int bdev_thin_usage(int fd, struct bdev_usage *u)
{
	struct statvfs sv;
	struct stat st;

	if (fstat(fd, &st) || fstatvfs(fd, &sv))
		return -errno;
	u->taken = (uint64_t)st.st_blocks * 512;
	u->free = (uint64_t)sv.f_bfree * sv.f_frsize;
	u->avail = (uint64_t)sv.f_bavail * sv.f_frsize;
	return 0;
}

bool bdev_thin_cow(int fd)
{
	struct statfs sf;
	int flags;

	return !fstatfs(fd, &sf) && sf.f_type == BTRFS_SUPER_MAGIC &&
	       !ioctl(fd, FS_IOC_GETFLAGS, &flags) && !(flags & FS_NOCOW_FL);
}
