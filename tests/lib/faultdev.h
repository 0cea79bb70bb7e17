/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A device over another one, on which chosen reads and writes fail, take long, or bring back flipped bits. */
#ifndef TESTS_FAULTDEV_H
#define TESTS_FAULTDEV_H

#include "core/bdev.h"

enum fault_kind { FAULT_READ_EIO, FAULT_WRITE_EIO, FAULT_READ_FLIP, FAULT_DELAY };

/* Closing it closes @lower.  NULL: out of memory. */
struct bdev *faultdev_create(struct bdev *lower);
/*
 * I/O that touches [off, off + len) suffers, @count times (negative: for ever).
 * FAULT_READ_FLIP flips a bit of byte @off; FAULT_DELAY sleeps @usec.
 */
void faultdev_add(struct bdev *b, enum fault_kind kind, uint64_t off, uint64_t len, int count, unsigned int usec);
void faultdev_clear(struct bdev *b);
/* Requests that have reached the device. */
uint64_t faultdev_reads(struct bdev *b);
uint64_t faultdev_writes(struct bdev *b);

#endif
