/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files with holes: which parts of one have space on the host's file system, and getting more. */
#ifndef CORE_BDEV_THIN_H
#define CORE_BDEV_THIN_H

#include "core/block/bdev.h"

/*
 * See bdev_ops.  A quota that is used up is -ENOSPC too; whatever says that it is not possible here
 * is -EOPNOTSUPP. "Backed" may be less than the truth where the host can only tell what was
 * written; asking for such space again does no harm.
 */
int bdev_thin_provision(int fd, uint64_t off, uint64_t len);
int bdev_thin_backed(int fd, uint64_t off, uint64_t end, uint64_t *start, uint64_t *stop);
int bdev_thin_usage(int fd, struct bdev_usage *u);
/* The host copies on write (btrfs, unless the file has the attribute C): space that was given is no
 * promise. */
bool bdev_thin_cow(int fd);

#endif
