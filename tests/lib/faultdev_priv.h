/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the parts of the fault device share: faultdev.c (the device), faultdev_spoil.c (what becomes
 * of a command that a fault hits). */
#ifndef TESTS_FAULTDEV_PRIV_H
#define TESTS_FAULTDEV_PRIV_H

#include <pthread.h>
#include "tests/lib/faultdev.h"

/* A write after which sectors are to be read once as they were, or with a flipped bit. */
struct stale {
	struct stale *next;
	uint64_t off, len;
	uint8_t *old;
	bool *pending; /* by sector */
};

struct faultdev {
	struct bdev b;
	struct bdev *lower;
	bool borrowed, fua;
	struct workqueue *wq; /* of an asynchronous one */
	atomic_ullong nr_reads, nr_writes, nr_flushes;
	atomic_uint too_big;
	pthread_mutex_t lock; /* what follows */
	pthread_cond_t cleared;
	struct fault_plan plan;
	unsigned int clears, stalled;
	uint64_t struck, struck_off, struck_len;
	struct stale *stale;
	struct faultdev_write *log; /* or NULL */
	uint64_t log_max, logged;
};

/* One read or write. */
struct command {
	struct faultdev *d;
	enum fault_op op;
	bool fua;
	const struct iovec *iov;
	int n;
	uint64_t off, len;
};

/* Aborts on NULL. */
void *faultdev_must(void *p);

/* ---- faultdev_spoil.c ---- */
/* As if there were no fault.  0 or -errno, here and below. */
int faultdev_pass(const struct command *c);
int faultdev_spoil(const struct command *c, const struct fault *f);
void faultdev_count_struck(struct faultdev *d, uint64_t off, uint64_t len);
/* A write is about to happen, a read has: of sectors that are to be read as they were. */
void faultdev_meet_stale(const struct command *c);
/* Lock held, or nobody else there. */
void faultdev_free_stale(struct faultdev *d);

#endif
