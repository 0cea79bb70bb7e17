/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The part of an input that changes an image: a list of lies, and of rot. */
#ifndef TESTS_FUZZ_LIES_H
#define TESTS_FUZZ_LIES_H

#include "tests/fuzz/base.h"
#include "tests/fuzz/fuzz.h"

/* Bytes of one lie: see struct lie in lies.c. */
#define LIE_BYTES 16
#define LIES_MAX 16

enum {
	LIES_BY_LOG = 1 << 0,	   /* what changes comes by the log, where that is empty */
	LIES_TUPLES_OPEN = 1 << 1, /* tuples are left as they were; likewise the others */
	LIES_VOUCHES_OPEN = 1 << 2,
	LIES_SUPERS_OPEN = 1 << 3,
	LIES_LOG_OPEN = 1 << 4,
};

/* @n lies and @rots from @in, sealed as @flags say.  True: something was rotten or left open. */
bool lies_tell(struct base *b, struct fuzz_in *in, unsigned int n, unsigned int rots,
	       unsigned int flags);

#endif
