/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Random numbers of tests, the same in every run unless somebody asks for others. */
#ifndef TESTS_RANDOM_H
#define TESTS_RANDOM_H

#include <stdint.h>

/* xorshift64*: *state must not be 0. */
uint64_t test_rand(uint64_t *state);
/* From the environment variable TALLYFS_SEED, or @fallback; printed to stderr. */
uint64_t test_seed(uint64_t fallback);
/* 1; under AddressSanitizer, which makes all of it slow, 4: of many cases of one kind, every
 * fourth. What it looks for shows in these, and without it all of them are run. */
uint64_t test_stride(void);
/* From the environment variable TALLYFS_OPS, or @fallback, of which test_stride() leaves a part. */
uint64_t test_ops(uint64_t fallback);

#endif
