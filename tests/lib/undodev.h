/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A device in memory that is as before again at the cost of what was written to it. */
#ifndef TESTS_UNDODEV_H
#define TESTS_UNDODEV_H

#include "core/block/bdev.h"

struct bdev *undodev_create(uint64_t bytes);
void *undodev_data(struct bdev *b);
/* What is there now is what undodev_reset() brings back. */
void undodev_keep(struct bdev *b);
void undodev_reset(struct bdev *b);
/* What undodev_reset() brings back, to look at. */
const void *undodev_kept(struct bdev *b);
/* Whoever changes undodev_data() says where. */
void undodev_touch(struct bdev *b, uint64_t off, uint64_t len);
/* Of what differs from that: alike for images that are alike. */
uint64_t undodev_hash(struct bdev *b);
/* While this is so, a write ends the run. */
void undodev_read_only(struct bdev *b, bool ro);

#endif
