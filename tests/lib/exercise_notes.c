/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include "tests/lib/exercise_notes.h"

void exercise_notes_begin(struct exercise_notes *n, uint64_t op)
{
	n->op = op;
	snprintf(n->line[op % NOTES], NOTE_LEN, "-");
}

void exercise_note(struct exercise_notes *n, const char *fmt, va_list ap)
{
	char *line = n->line[n->op % NOTES];

	vsnprintf(line, NOTE_LEN, fmt, ap);
	exercise_say(n->steps, n->op, "%s", line);
}

void exercise_notes_fail(const struct exercise_notes *n, const char *fmt, va_list ap)
{
	uint64_t k = n->op < NOTES ? 1 : n->op - NOTES + 1;

	fprintf(stderr, "seed %llu, operation %llu: ", (unsigned long long)n->seed,
		(unsigned long long)n->op);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	if (n->steps->replay)
		return;
	fputs("the last operations (names by their numbers):\n", stderr);
	for (; k <= n->op; k++)
		fprintf(stderr, "  %llu: %s\n", (unsigned long long)k, n->line[k % NOTES]);
}
