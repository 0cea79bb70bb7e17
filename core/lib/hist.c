/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Histograms of latencies: recording, percentiles, from one program to another. */
#include "core/lib/hist.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/lib/util.h"

#define NS_PER_US 1000u
/* Buckets to a power of two, and its logarithm. */
#define STEPS 4u
#define STEPS_SHIFT 2u

static unsigned int bucket_of(uint64_t us)
{
	unsigned int e;

	if (us >= hist_bucket_start(HIST_BUCKETS - 1))
		return HIST_BUCKETS - 1;
	if (us < STEPS)
		return (unsigned int)us;
	e = ilog2_u64(us) - STEPS_SHIFT;
	return e * STEPS + (unsigned int)(us >> e);
}

uint64_t hist_bucket_start(unsigned int i)
{
	unsigned int e = i < STEPS ? 0 : i / STEPS - 1;

	return (uint64_t)(i - e * STEPS) << e;
}

static uint64_t count_of(const atomic_ullong *n)
{
	return atomic_load_explicit(n, memory_order_relaxed);
}

static void raise_max(struct hist *h, uint64_t us)
{
	unsigned long long max = count_of(&h->max);

	while (us > max && !atomic_compare_exchange_weak_explicit(
				   &h->max, &max, us, memory_order_relaxed, memory_order_relaxed))
		;
}

void hist_record(struct hist *h, uint64_t ns)
{
	uint64_t us = ns / NS_PER_US;

	raise_max(h, us);
	atomic_fetch_add_explicit(&h->count[bucket_of(us)], 1, memory_order_relaxed);
}

uint64_t hist_total(const struct hist *h)
{
	uint64_t n = 0;

	for (unsigned int i = 0; i < HIST_BUCKETS; i++)
		n += count_of(&h->count[i]);
	return n;
}

uint64_t hist_percentile(const struct hist *h, unsigned int percent)
{
	uint64_t total = hist_total(h), max = count_of(&h->max), seen = 0;
	/* total * percent may not fit */
	uint64_t rank = total / 100 * percent + div_up(total % 100 * percent, 100);

	if (!total)
		return 0;
	for (unsigned int i = 0; i < HIST_BUCKETS - 1; i++) {
		seen += count_of(&h->count[i]);
		if (seen >= rank)
			return min_t(uint64_t, hist_bucket_start(i + 1) - 1, max);
	}
	return max;
}

void hist_export(const struct hist *h, const char *group, const char *name, hist_value_fn *fn,
		 void *arg)
{
	char full[64];

	if (!hist_total(h))
		return;
	snprintf(full, sizeof(full), "%s.max", name);
	fn(arg, group, full, count_of(&h->max));
	for (unsigned int i = 0; i < HIST_BUCKETS; i++) {
		uint64_t n = count_of(&h->count[i]);

		snprintf(full, sizeof(full), "%s.%llu", name,
			 (unsigned long long)hist_bucket_start(i));
		if (n)
			fn(arg, group, full, n);
	}
}

bool hist_import(struct hist *h, const char *key, uint64_t value)
{
	char *end;
	uint64_t start = strtoull(key, &end, 10);

	if (!strcmp(key, "max")) {
		raise_max(h, value);
		return true;
	}
	if (end == key || *end)
		return false;
	atomic_fetch_add_explicit(&h->count[bucket_of(start)], value, memory_order_relaxed);
	return true;
}
