/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the fuzzers share.  Each target is a program with LLVMFuzzerTestOneInput(); linked without
 * libFuzzer, replay.c has its main().
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

/* An input as it is used up: zeros behind its end. */
struct fuzz_in {
	const uint8_t *p;
	size_t left;
};
/* All of it, at its beginning. */
struct fuzz_in fuzz_start(const uint8_t *data, size_t size);
uint64_t fuzz_get(struct fuzz_in *in, unsigned int bytes); /* little-endian, at most 8 */
/* At most @n bytes; how many. */
size_t fuzz_take(struct fuzz_in *in, size_t n, const uint8_t **bytes);

/* Ends the run with a line: what may never happen has. */
void fuzz_die(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));
/*
 * What a call that failed may say: an errno, and none of those that are spoken inside only.
 * Returns @ret.
 */
int64_t fuzz_errno(int64_t ret, const char *what);

/* Once: threads of the block layer, and no log lines. */
void fuzz_init(void);
/*
 * Whether FUZZ_THREADS is set: mounts have their own threads, and two work on them at once.  What
 * is found then need not be found again by the same input.
 */
bool fuzz_threads(void);
/* Log lines go nowhere, unless FUZZ_LOG is set (again after the checker has had them). */
void fuzz_quiet(void);

/* Eight bytes that no block has which anything vouches for: see rot() in lies.c. */
#define FUZZ_POISON 0x9d5fd2f0e1c3a7b5ull
/* None of these bytes are poison, unless the input brought it: a fuzzer that watches what is
 * compared comes to know it. */
void fuzz_no_poison(const void *data, size_t len, const char *where);

#endif
