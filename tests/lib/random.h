/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Random numbers of tests, the same in every run unless somebody asks for others. */
#ifndef TESTS_RANDOM_H
#define TESTS_RANDOM_H

#include <stdint.h>

/* xorshift64*: *state must not be 0. */
uint64_t test_rand(uint64_t *state);
/* From the environment variable TALLYFS_SEED, or @fallback; printed to stderr. */
uint64_t test_seed(uint64_t fallback);
/* From the environment variable TALLYFS_OPS, or @fallback. */
uint64_t test_ops(uint64_t fallback);

#endif
