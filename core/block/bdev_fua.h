/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writes to files and block devices that are durable when they return, without a flush of all the
 * rest. */
#ifndef CORE_BDEV_FUA_H
#define CORE_BDEV_FUA_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

/*
 * Does the disk @dev (st_rdev of a block device, st_dev of a file) do that by itself?  Elsewhere
 * the kernel flushes behind each such write, and one flush behind several is cheaper.
 */
bool bdev_fua_disk(dev_t dev);
/* One command.  0, -EOPNOTSUPP (the kernel doesn't know), -EIO, -errno. */
int bdev_fua_writev(int fd, const struct iovec *iov, int n, uint64_t off);

#endif
