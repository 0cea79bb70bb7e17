/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A thin device over another one: its space comes, 4 KiB at a time, from a host that may run out of
 * it.  A write that would need more fails with -ENOSPC, and nothing of it is written.
 */
#ifndef TESTS_THINDEV_H
#define TESTS_THINDEV_H

#include "core/block/bdev.h"

/* Closing it closes @lower.  The host has @room bytes for it.  NULL: out of memory. */
struct bdev *thindev_create(struct bdev *lower, uint64_t room);
/* What the host has left from now on. */
void thindev_set_room(struct bdev *b, uint64_t room);
/* It can't give space ahead of a write. */
void thindev_no_provision(struct bdev *b);
/* A copy with holes of what is all zeros, as cp --sparse=always makes one. */
void thindev_sparsify(struct bdev *b);
/* Requests refused so far: writes; provision. */
uint64_t thindev_refused_writes(struct bdev *b);
uint64_t thindev_refused_provisions(struct bdev *b);
uint64_t thindev_taken(struct bdev *b); /* bytes */

#endif
