/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The exercisers under the crash simulator: the library on a recording device.  Now and then, at
 * any moment of an operation, an image is made that a power cut could have left there.  The checker
 * must find it clean (with its data verified) before and after a mount has recovered it, and what
 * it holds is compared with the model: all that was synced is there, and what was not is whole
 * (docs/DESIGN.md, rule 4).
 */
#ifndef TESTS_EXERCISE_CUTS_H
#define TESTS_EXERCISE_CUTS_H

#include "tests/lib/exercise_shortest.h"
#include "tests/lib/fixture.h"

struct exercise_cuts_opts {
	enum fx_size size;
	uint64_t seed, ops;
	unsigned int cut_every;	     /* operations, on average */
	unsigned int remount_every;  /* likewise */
	unsigned int lose_nth_flush; /* break the device: see crashdev_lose_flushes */
	unsigned int break_rules;    /* break the file system: TFS_BREAK_* */
	struct exercise_steps steps;
};

/* 0, or -1 after a line on stderr.  @images: how many were checked. */
int exercise_content_cuts(const struct exercise_cuts_opts *o, unsigned int *images);
int exercise_names_cuts(const struct exercise_cuts_opts *o, unsigned int *images);

#endif
