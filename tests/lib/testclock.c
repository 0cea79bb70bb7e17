/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdatomic.h>
#include <time.h>
#include "tests/lib/testclock.h"

#define SECOND 1000000000

int __real_clock_gettime(clockid_t clock, struct timespec *ts);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ts);

static atomic_llong now;

void testclock_set(int64_t ns)
{
	atomic_store(&now, ns);
}

/* What the linker puts in the place of clock_gettime(). */
int __wrap_clock_gettime(clockid_t clock, struct timespec *ts)
{
	int64_t ns = atomic_load(&now);

	if (!ns || (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE))
		return __real_clock_gettime(clock, ts);
	ts->tv_sec = ns / SECOND;
	ts->tv_nsec = ns % SECOND;
	return 0;
}
