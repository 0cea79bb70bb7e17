/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How fast each guard is computed:  guards [MILLISECONDS]
 *
 * GB/s (10^9 bytes) of one thread, for intervals of 512, 4096 and 65536 bytes,
 * out of 256 KiB that stay in the processor's cache: what the guard costs, not
 * what memory does.  Of five runs the best.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "core/block/guard.h"
#include "core/lib/util.h"

#define AREA (256u << 10)
#define RUNS 5

static volatile uint64_t sink; /* what is computed is used */

static uint64_t xxh3(const void *data, size_t len)
{
	return guard_xxh3(data, len, 1);
}

static uint64_t crc32(const void *data, size_t len)
{
	return guard_crc32(data, len, 1);
}

static uint64_t t10_crc(const void *data, size_t len)
{
	return guard_t10_crc(data, len);
}

static uint64_t ip(const void *data, size_t len)
{
	return guard_ip(data, len);
}

static const struct {
	const char *name;
	uint64_t (*fn)(const void *data, size_t len);
} guards[] = { { "xxh3", xxh3 }, { "crc32", crc32 }, { "t10-crc", t10_crc }, { "ip", ip } };

static double seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* GB/s of one run that takes about @limit seconds. */
static double run(uint64_t (*fn)(const void *data, size_t len), const char *area, size_t interval,
		  double limit)
{
	double start = seconds(), now;
	uint64_t bytes = 0, sum = 0;

	do {
		for (size_t at = 0; at < AREA; at += interval)
			sum += fn(area + at, interval);
		bytes += AREA;
		now = seconds();
	} while (now - start < limit);
	sink += sum;
	return (double)bytes / (now - start) / 1e9;
}

int main(int argc, char **argv)
{
	static const size_t intervals[] = { 512, 4096, 65536 };
	double limit = (argc > 1 ? atof(argv[1]) : 100) / 1000;
	char *area = tl_alloc_aligned(4096, AREA);

	if (!area || limit <= 0) {
		fprintf(stderr, "usage: guards [MILLISECONDS]\n");
		return 1;
	}
	for (size_t i = 0; i < AREA; i++)
		area[i] = (char)(i * 131 + (i >> 9));
	printf("%-10s %10s %10s %10s   GB/s\n", "bytes", "512", "4096", "65536");
	for (size_t g = 0; g < ARRAY_SIZE(guards); g++) {
		printf("%-10s", guards[g].name);
		for (size_t i = 0; i < ARRAY_SIZE(intervals); i++) {
			double best = 0, v;

			for (int r = 0; r < RUNS; r++) {
				v = run(guards[g].fn, area, intervals[i], limit);
				best = v > best ? v : best;
			}
			printf(" %10.2f", best);
		}
		printf("\n");
	}
	tl_free(area);
	return 0;
}
