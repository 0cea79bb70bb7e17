/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/block/bdev_fua.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/sysmacros.h>
#include <unistd.h>

bool bdev_fua_disk(dev_t dev)
{
	/* a partition's queue is its disk's */
	static const char *const queue[] = { "queue/fua", "../queue/fua" };
	char path[96], yes = '0';
	unsigned int i;
	int fd = -1;

	for (i = 0; i < 2 && fd < 0; i++) {
		snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%s", major(dev), minor(dev),
			 queue[i]);
		fd = open(path, O_RDONLY | O_CLOEXEC);
	}
	if (fd < 0)
		return false;
	if (read(fd, &yes, 1) != 1)
		yes = '0';
	close(fd);
	return yes == '1';
}

int bdev_fua_writev(int fd, const struct iovec *iov, int n, uint64_t off)
{
	ssize_t ret, len = 0;
	int i;

	for (i = 0; i < n; i++)
		len += (ssize_t)iov[i].iov_len;
	do {
		ret = pwritev2(fd, iov, n, (off_t)off, RWF_DSYNC);
	} while (ret < 0 && errno == EINTR);
	if (ret < 0)
		return errno == ENOSYS ? -EOPNOTSUPP : -errno;
	return ret == len ? 0 : -EIO;
}
