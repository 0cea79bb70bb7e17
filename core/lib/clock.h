/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The time since some point in the past: it never goes back. */
#ifndef CORE_CLOCK_H
#define CORE_CLOCK_H

#include <pthread.h>
#include <stdint.h>
#include <time.h>

static inline uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* A condition variable whose time-outs are of this clock.  0 or -errno. */
int cond_init_monotonic(pthread_cond_t *c);
/* The time @ns from now, for pthread_cond_timedwait() on such a one. */
struct timespec deadline_ns(uint64_t ns);

#endif
