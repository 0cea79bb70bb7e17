/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What an exerciser's last operations were, in words, for when it fails. */
#ifndef TESTS_EXERCISE_NOTES_H
#define TESTS_EXERCISE_NOTES_H

#include <stdarg.h>
#include "tests/lib/exercise_shortest.h"

#define NOTES 24
#define NOTE_LEN 160

struct exercise_notes {
	const struct exercise_steps *steps;
	uint64_t seed, op; /* of the run; under way, from 1 */
	char line[NOTES][NOTE_LEN];
};

/* Operation @op begins, and has not said yet what it is. */
void exercise_notes_begin(struct exercise_notes *n, uint64_t op);
/* What it is; also on stderr as exercise_say() has it. */
void exercise_note(struct exercise_notes *n, const char *fmt, va_list ap);
/* It failed: a line on stderr, and the last operations, unless they have been told one by one. */
void exercise_notes_fail(const struct exercise_notes *n, const char *fmt, va_list ap);

#endif
