/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Loop devices: what is behind them. */
#ifndef CORE_BDEV_BACKING_H
#define CORE_BDEV_BACKING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * If @fd is a loop device or a partition of one: what is behind it, opened for reading and, if
 * possible and
 * @write, for writing.  *offset: where in it @fd's first byte lies.  1; 0 nothing is behind it that
 * can be known; or -errno: there is something that cannot be opened, @path says what.
 */
int bdev_backing_open(int fd, bool write, int *backing, uint64_t *offset, char *path, size_t size);

/* Is there a loop device through which the open file @fd can be written? */
bool bdev_backing_used(int fd);

#endif
