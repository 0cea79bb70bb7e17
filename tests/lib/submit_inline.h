/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bdev_ops.submit of devices in memory: in the thread that asks, two wake-ups less for each bio,
 * and in the same order each time.  Real devices complete from elsewhere (see struct bdev_ops), but
 * nobody in a test without threads holds a lock that a completion takes.
 */
#ifndef TESTS_SUBMIT_INLINE_H
#define TESTS_SUBMIT_INLINE_H

#include "core/block/bio.h"

/* By the device's readv and writev. */
void submit_inline(struct bdev *b, struct bio *bio);

#endif
