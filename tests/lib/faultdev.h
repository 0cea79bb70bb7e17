/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A device over another one, on which chosen reads and writes fail, take long, or bring back
 * flipped bits. */
#ifndef TESTS_FAULTDEV_H
#define TESTS_FAULTDEV_H

#include "core/block/bdev.h"

enum fault_kind {
	FAULT_READ_EIO,
	FAULT_WRITE_EIO,
	FAULT_READ_FLIP,
	FAULT_DELAY,
	FAULT_READ_STALL, /* does not come back before faultdev_clear() */
	FAULT_WRITE_STALL,
	FAULT_FLUSH_STALL, /* wherever; @off and @len of faultdev_add() do not matter */
	FAULT_FLUSH_DELAY, /* likewise */
};

/* Closing it closes @lower.  NULL: out of memory. */
struct bdev *faultdev_create(struct bdev *lower);
/*
 * I/O that touches [off, off + len) suffers, @count times (negative: for ever).
 * FAULT_READ_FLIP flips a bit of byte @off; FAULT_DELAY and FAULT_FLUSH_DELAY sleep @usec.
 */
void faultdev_add(struct bdev *b, enum fault_kind kind, uint64_t off, uint64_t len, int count,
		  unsigned int usec);
void faultdev_clear(struct bdev *b);
/* Requests that stall now. */
unsigned int faultdev_stalled(struct bdev *b);

/* What the N-th I/O suffers, for sweeps. */
enum nth_fault {
	NTH_ERROR,    /* nothing is transferred, -EIO */
	NTH_SHORT,    /* half of it is, and then -EIO */
	NTH_BAD_DATA, /* all of it, and 0, but with a flipped bit: in memory (read) or on the medium
			 (write) */
};
/*
 * The @n-th read or write from now (1: the next; 0: none) suffers.  @sticky: so does, from then on,
 * every other of the same direction that touches the same bytes.  faultdev_clear() ends it.
 */
void faultdev_nth(struct bdev *b, uint64_t n, enum nth_fault how, bool sticky);
/* Has the N-th come? */
bool faultdev_nth_struck(struct bdev *b);
/* Requests that have reached the device. */
uint64_t faultdev_reads(struct bdev *b);
uint64_t faultdev_writes(struct bdev *b);

#endif
