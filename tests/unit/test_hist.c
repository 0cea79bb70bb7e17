/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Histograms of latencies: where buckets begin, percentiles, overflow, one made of two. */
#include <criterion/criterion.h>
#include <string.h>

#include "core/lib/hist.h"
#include "core/lib/util.h"

#define US UINT64_C(1000) /* nanoseconds */
#define TOP (UINT64_C(1) << 26)

static unsigned int only_bucket(const struct hist *h)
{
	unsigned int found = HIST_BUCKETS;

	for (unsigned int i = 0; i < HIST_BUCKETS; i++) {
		if (!atomic_load(&h->count[i]))
			continue;
		cr_assert_eq(found, HIST_BUCKETS, "buckets %u and %u", found, i);
		found = i;
	}
	return found;
}

static unsigned int bucket_of(uint64_t ns)
{
	struct hist h = { 0 };

	hist_record(&h, ns);
	cr_assert_eq(hist_total(&h), 1);
	return only_bucket(&h);
}

Test(hist, buckets_begin_where_they_should)
{
	static const uint64_t first[] = {
		0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(first); i++)
		cr_assert_eq(hist_bucket_start(i), first[i]);
	for (unsigned int e = 0; e <= 26; e++) {
		unsigned int i = bucket_of((UINT64_C(1) << e) * US);

		cr_assert_eq(hist_bucket_start(i), UINT64_C(1) << e);
	}
	cr_assert_eq(hist_bucket_start(HIST_BUCKETS - 1), TOP);
}

Test(hist, every_border)
{
	for (unsigned int i = 0; i < HIST_BUCKETS; i++) {
		uint64_t start = hist_bucket_start(i) * US;

		cr_assert_eq(bucket_of(start), i);
		cr_assert_eq(bucket_of(start + US - 1), i);
		if (i)
			cr_assert_eq(bucket_of(start - 1), i - 1);
	}
}

Test(hist, no_bucket_is_wider_than_a_quarter)
{
	for (unsigned int i = 4; i < HIST_BUCKETS - 1; i++)
		cr_assert_leq(hist_bucket_start(i + 1) - hist_bucket_start(i),
			      hist_bucket_start(i) / 4);
}

Test(hist, overflow)
{
	struct hist h = { 0 };

	hist_record(&h, TOP * US);
	hist_record(&h, UINT64_MAX);
	cr_assert_eq(only_bucket(&h), HIST_BUCKETS - 1);
	cr_assert_eq(hist_total(&h), 2);
	cr_assert_eq(hist_percentile(&h, 50), UINT64_MAX / US);
}

Test(hist, percentiles)
{
	struct hist h = { 0 };

	cr_assert_eq(hist_percentile(&h, 50), 0);
	hist_record(&h, 9 * US);
	cr_assert_eq(hist_percentile(&h, 1), 9);
	hist_record(&h, 100 * US);
	cr_assert_eq(hist_percentile(&h, 50), 9);
	cr_assert_eq(hist_percentile(&h, 51), 100, "the maximum, not the bucket's end");
	for (int i = 0; i < 98; i++)
		hist_record(&h, 2 * US);
	cr_assert_eq(hist_percentile(&h, 98), 2);
	cr_assert_eq(hist_percentile(&h, 99), 9);
	cr_assert_eq(hist_percentile(&h, 100), 100);
}

Test(hist, percentile_of_a_great_many)
{
	struct hist h = { 0 };

	cr_assert(hist_import(&h, "16", UINT64_MAX / 2));
	cr_assert(hist_import(&h, "64", UINT64_MAX / 4));
	cr_assert(hist_import(&h, "max", 70));
	cr_assert_eq(hist_percentile(&h, 50), 19);
	cr_assert_eq(hist_percentile(&h, 99), 70);
}

static void import_one(void *arg, const char *group, const char *name, uint64_t value)
{
	const char *dot = strrchr(name, '.');

	cr_assert_str_eq(group, "latency");
	cr_assert_eq(strncmp(name, "read.", 5), 0);
	cr_assert(hist_import(arg, dot + 1, value));
}

/* Two that are told one after the other are as one that was there for all. */
Test(hist, told_and_added_up)
{
	struct hist a = { 0 }, b = { 0 }, both = { 0 }, sum = { 0 };

	hist_export(&a, "latency", "read", import_one, &sum);
	cr_assert_eq(hist_total(&sum), 0);
	for (uint64_t ns = 100; ns < 100 * TOP * US; ns = ns * 9 / 7) {
		hist_record(ns % 3 ? &a : &b, ns);
		hist_record(&both, ns);
	}
	hist_export(&a, "latency", "read", import_one, &sum);
	hist_export(&b, "latency", "read", import_one, &sum);
	cr_assert_eq(memcmp(&sum, &both, sizeof(sum)), 0);
}

Test(hist, what_is_no_bucket_is_not_added)
{
	struct hist h = { 0 };

	cr_assert(!hist_import(&h, "", 1));
	cr_assert(!hist_import(&h, "min", 1));
	cr_assert(!hist_import(&h, "8x", 1));
	cr_assert_eq(hist_total(&h), 0);
}
