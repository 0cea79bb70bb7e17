/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What an image goes through: checker, repair, mounts, work; and what must hold between them. */
#ifndef TESTS_FUZZ_ROUNDS_H
#define TESTS_FUZZ_ROUNDS_H

#include "tests/fuzz/base.h"
#include "tests/fuzz/fuzz.h"

enum {
	ROUNDS_CONTINUE = 1 << 0, /* errors=continue */
	ROUNDS_CRASH = 1 << 1,	  /* the power is cut instead of an unmount */
};

/* @in: the operations.  @flags: ROUNDS_*.  Whether the checker called it clean. */
bool rounds(struct base *b, struct fuzz_in *in, unsigned int flags);

#endif
