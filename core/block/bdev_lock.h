/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The locks on an image; the rules are told at bdev_open(). */
#ifndef CORE_BDEV_LOCK_H
#define CORE_BDEV_LOCK_H

#include <stdbool.h>
#include <stdint.h>
#include "core/block/lockholder.h"

/* A loop device of a loop device ... of a file: so deep it is looked into. */
#define BDEV_LOCK_LEVELS 8

struct bdev_lock {
	unsigned int nr;
	struct bdev_lock_level {
		int fd;		      /* the first is the caller's */
		short type;	      /* F_WRLCK or F_RDLCK */
		uint64_t first, last; /* the sectors of it that are ours */
	} level[BDEV_LOCK_LEVELS];
};

/*
 * Take "main" and "serving" of the open file or device @fd, and of what is behind it.  0, -EBUSY,
 * -EINTR, or what fcntl(2) says.  @busy_by: see bdev_open_by().  @fd must outlive the lock.
 */
int bdev_lock_take(struct bdev_lock *l, int fd, const char *name, bool shared, bool wait,
		   char busy_by[LOCKHOLDER_TEXT]);
void bdev_lock_set_serving(struct bdev_lock *l, bool serving);
void bdev_lock_drop(struct bdev_lock *l);

#endif
