/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Histograms of latencies.  A bucket holds whole microseconds, rounded down: 0, 1, 2 and 3 have one
 * each, from 4 on there are four to a power of two (4, 5, 6, 7, 8, 10, 12, 14, 16, 20, ...), so a
 * percentile is never told more than a quarter too high; the last one takes all from 67 s on.
 *
 * Any thread may record at any time: two relaxed atomic operations.  Whoever reads meanwhile gets
 * some requests and not yet others, which is good enough for people.
 */
#ifndef CORE_HIST_H
#define CORE_HIST_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define HIST_BUCKETS 101

struct hist {
	atomic_ullong max; /* microseconds */
	atomic_ullong count[HIST_BUCKETS];
};

void hist_record(struct hist *h, uint64_t ns);

/* The least that bucket @i < HIST_BUCKETS takes, in microseconds. */
uint64_t hist_bucket_start(unsigned int i);
uint64_t hist_total(const struct hist *h);
/*
 * The most that @percent (1..100) of all took, in microseconds: the end of the bucket where that
 * is, or the maximum if that is less.  0: there are none.
 */
uint64_t hist_percentile(const struct hist *h, unsigned int percent);

/* Called with "@name.max", and "@name.START" for each bucket that is not empty. */
typedef void hist_value_fn(void *arg, const char *group, const char *name, uint64_t value);
/* Nothing is told of a histogram that is empty. */
void hist_export(const struct hist *h, const char *group, const char *name, hist_value_fn *fn,
		 void *arg);
/* Add what the part of such a name behind the last dot says.  False: it says nothing. */
bool hist_import(struct hist *h, const char *key, uint64_t value);

#endif
