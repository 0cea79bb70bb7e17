/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A device in memory that is as before again at the cost of what was written to it. */
#ifndef TESTS_FUZZ_FUZZDEV_H
#define TESTS_FUZZ_FUZZDEV_H

#include "core/block/bdev.h"

struct bdev *fuzzdev_create(uint64_t bytes);
void *fuzzdev_data(struct bdev *b);
/* What is there now is what fuzzdev_reset() brings back. */
void fuzzdev_keep(struct bdev *b);
void fuzzdev_reset(struct bdev *b);
/* What fuzzdev_reset() brings back, to look at. */
const void *fuzzdev_kept(struct bdev *b);
/* Whoever changes fuzzdev_data() says where. */
void fuzzdev_touch(struct bdev *b, uint64_t off, uint64_t len);
/* While this is so, a write ends the run. */
void fuzzdev_read_only(struct bdev *b, bool ro);

#endif
