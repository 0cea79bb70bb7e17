/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What goes wrong on a faultdev: faults, and which command each hits. */
#ifndef TESTS_FAULT_PLAN_H
#define TESTS_FAULT_PLAN_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

enum fault_op {
	FAULT_READ = 1 << 0,
	FAULT_WRITE = 1 << 1,
	FAULT_FLUSH = 1 << 2,
	FAULT_DISCARD = 1 << 3,
	FAULT_IO = FAULT_READ | FAULT_WRITE,
};

enum fault_kind {
	FAULT_ERROR,	 /* nothing is transferred, @err */
	FAULT_SHORT,	 /* read, write: the first half is, and then @err */
	FAULT_FLIP,	 /* read, write: done, but with a flipped bit in memory or on the medium */
	FAULT_FLIP_ONCE, /* write: done, but the next read of its middle sector has a flipped bit */
	FAULT_LOSE,	 /* write, flush, discard: confirmed and forgotten */
	FAULT_STALE,	 /* write: done, but the next read of each sector brings what was there
			    before */
	FAULT_TEAR,	 /* write: confirmed, but only the first @at bytes arrive */
	FAULT_MISDIRECT, /* read, write: done at device byte @at instead */
	FAULT_DELAY,	 /* any: takes @usec longer */
	FAULT_STALL,	 /* any: goes on only after faultdev_clear() */
};

/* Hits, of all commands of these kinds that touch this range, @times from the @nth on. */
struct fault {
	enum fault_kind kind;
	unsigned int ops;   /* enum fault_op, any of them */
	uint64_t off, len;  /* bytes; len 0: anywhere.  Flushes are everywhere. */
	uint64_t nth;	    /* from 1; 0 is 1 */
	unsigned int times; /* 0 is 1 */
	bool sticky; /* from then on every command of its kind that touches the same bytes, too */
	int err;     /* FAULT_ERROR, FAULT_SHORT; 0 is -EIO */
	unsigned int usec;
	uint64_t at; /* multiples of the device's align */
};
#define FAULT_ALWAYS UINT_MAX

#define FAULT_PLAN_MAX 256

struct fault_rule {
	struct fault f;
	uint64_t seen;		/* commands it is about, so far */
	bool struck;		/* where, if sticky: */
	unsigned int struck_op; /* enum fault_op */
	uint64_t struck_off, struck_len;
};

struct fault_plan {
	struct fault_rule rule[FAULT_PLAN_MAX];
	unsigned int nr;
};

/* What hits one command.  kind of @spoil decides if @spoilt. */
struct fault_hit {
	bool delayed, stalled, spoilt;
	unsigned int usec;
	struct fault spoil;
};

/* Aborts when there are more than FAULT_PLAN_MAX that have not run out. */
void fault_plan_add(struct fault_plan *p, const struct fault *f);
/* A command comes: what hits it, which counts it. */
struct fault_hit fault_plan_hit(struct fault_plan *p, enum fault_op op, uint64_t off, uint64_t len);

#endif
