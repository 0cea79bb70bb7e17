/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The locks on an image file; the rules are told at bdev_open(). */
#ifndef CORE_BDEV_LOCK_H
#define CORE_BDEV_LOCK_H

#include <stdbool.h>

/* Take "main" and "serving".  0, -EBUSY, -EINTR, or what fcntl(2) says. */
int bdev_lock_take(int fd, const char *name, bool shared, bool wait);
void bdev_lock_set_serving(int fd, bool shared, bool serving);

#endif
