/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Time that nobody sets back. */
#include "core/lib/clock.h"

#define NSEC_PER_SEC 1000000000ull

struct timespec deadline_ns(uint64_t ns)
{
	uint64_t t = now_ns() + ns;

	return (struct timespec){ .tv_sec = (time_t)(t / NSEC_PER_SEC),
				  .tv_nsec = (long)(t % NSEC_PER_SEC) };
}

int cond_init_monotonic(pthread_cond_t *c)
{
	pthread_condattr_t attr;
	int err;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	err = pthread_cond_init(c, &attr);
	pthread_condattr_destroy(&attr);
	return -err;
}
