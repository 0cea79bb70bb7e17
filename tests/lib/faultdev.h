/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A device over another one (memory, a crashdev, a thindev) on which commands go wrong as a plan of
 * faults says: which command, which fault.  What no fault hits passes through unchanged.
 */
#ifndef TESTS_FAULTDEV_H
#define TESTS_FAULTDEV_H

#include "core/block/bdev.h"
#include "tests/lib/fault_plan.h"

/* Closing it closes @lower.  Out of memory, the test ends, here and below. */
struct bdev *faultdev_create(struct bdev *lower);
/* @lower stays the caller's, who closes it later. */
struct bdev *faultdev_borrow(struct bdev *lower);
/*
 * Bios come by way of ops->submit, are done by threads of the device's own and, as drivers may,
 * their bi_iter is used up on the way; there is no readv and writev then.
 */
struct bdev *faultdev_create_async(struct bdev *lower);
struct bdev *faultdev_lower(struct bdev *b);
/* Let it take writes that are durable by themselves, if @lower does.  To the plan, they are writes.
 * Default: it knows none. */
void faultdev_allow_fua(struct bdev *b, bool fua);

/* One more line of the plan.  Where two faults hit one command, the one that was added first is
 * it; but a delay and a stall come on top. */
void faultdev_add(struct bdev *b, const struct fault *f);
/* faultdev_plan(b, .kind = FAULT_ERROR, .ops = FAULT_WRITE, .nth = 3) */
#define faultdev_plan(b, ...) faultdev_add(b, &(struct fault){ __VA_ARGS__ })
/* The end of the plan and all its effects: what stalls goes on, stale sectors are read as they
 * are. */
void faultdev_clear(struct bdev *b);
/* What stalls now goes on; the plan stays. */
void faultdev_release(struct bdev *b);

/*
 * How many commands have suffered (been spoilt, not just delayed) since the plan began.  @off,
 * @len, may be NULL: the bytes of the last.  A write that is lost, torn or read stale is not
 * counted if the medium held those bytes already: nothing was lost.
 */
uint64_t faultdev_struck(struct bdev *b, uint64_t *off, uint64_t *len);
/* Commands that stall now. */
unsigned int faultdev_stalled(struct bdev *b);
/* Commands that have reached the device, those that stall included. */
uint64_t faultdev_reads(struct bdev *b);
uint64_t faultdev_writes(struct bdev *b);
uint64_t faultdev_flushes(struct bdev *b);
/* Where the first @max writes from now on go is noted in @log, which is the caller's. */
struct faultdev_write {
	uint64_t off, len;
};
void faultdev_log_writes(struct bdev *b, struct faultdev_write *log, uint64_t max);
/* Of the commands, how many were larger than max_io, in more pieces than max_segs, or not aligned:
 * a bio that was not split as it should. */
unsigned int faultdev_too_big(struct bdev *b);

#endif
