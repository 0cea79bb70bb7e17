/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reads and writes of one file through io_uring, completed by a thread of its own. */
#ifndef CORE_BDEV_URING_H
#define CORE_BDEV_URING_H

#include "core/block/bio.h"

struct bdev_uring;

/* 0, or what the kernel says where io_uring is not to be had (-EPERM, -ENOSYS, -ENOMEM, ...). */
int bdev_uring_create(int fd, struct bdev_uring **out);
/* All bios must have completed. */
void bdev_uring_destroy(struct bdev_uring *u); /* NULL is fine */
/* Reads and writes only.  Never completes the bio in the calling thread. */
void bdev_uring_submit(struct bdev_uring *u, struct bio *bio);

#endif
