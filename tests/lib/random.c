/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <stdlib.h>
#include "tests/lib/random.h"

uint64_t test_rand(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 0x2545f4914f6cdd1dull;
}

uint64_t test_seed(uint64_t fallback)
{
	const char *s = getenv("TALLYFS_SEED");
	uint64_t seed = s ? strtoull(s, NULL, 0) : fallback;

	if (!seed)
		seed = 1;
	fprintf(stderr, "TALLYFS_SEED=%llu\n", (unsigned long long)seed);
	return seed;
}

uint64_t test_stride(void)
{
#ifdef __SANITIZE_ADDRESS__
	return 4;
#else
	return 1;
#endif
}

uint64_t test_ops(uint64_t fallback)
{
	const char *s = getenv("TALLYFS_OPS");

	return s ? strtoull(s, NULL, 0) : (fallback + test_stride() - 1) / test_stride();
}
