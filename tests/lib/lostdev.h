/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A device that lies once: one write command, of all there are, is confirmed and forgotten, or each
 * of its sectors is read as it was before, one time.  Then it goes on as if nothing had been.
 */
#ifndef TESTS_LOSTDEV_H
#define TESTS_LOSTDEV_H

#include "core/block/bdev.h"

enum lost_how {
	LOST_WRITE, /* nothing of it reaches the medium */
	LOST_STALE, /* it does, but the next read of each sector brings what was there before */
	LOST_MODES,
};

/* Over @mem, of bdev_mem_create(), which stays the caller's. */
struct bdev *lostdev_create(struct bdev *mem);
/* The @n-th write from now on, counted from 1; 0: none. */
void lostdev_nth(struct bdev *b, uint64_t n, enum lost_how how);
/* Write commands since lostdev_nth(). */
uint64_t lostdev_writes(struct bdev *b);
/* Has it struck?  Which bytes; false also if they were on the medium already, so that nothing was
 * lost. */
bool lostdev_struck(struct bdev *b, uint64_t *off, uint64_t *len);

#endif
