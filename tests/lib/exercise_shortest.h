/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A run of an exerciser, or of another random test, that fails, made shorter: each of its
 * operations has a seed of its own, and so is what it was with others left out (on the state that
 * there then is).
 */
#ifndef TESTS_EXERCISE_SHORTEST_H
#define TESTS_EXERCISE_SHORTEST_H

#include <stdbool.h>
#include "tests/lib/oplist.h"

/* Part of the exercisers' options. */
struct exercise_steps {
	const struct oplist *replay; /* these operations; NULL: random ones */
};

/* A run's operations, one after the other: those of @replay, or @nr of a seed. */
struct exercise_walk {
	const struct exercise_steps *steps;
	uint64_t rng, op, nr;
};
struct exercise_walk exercise_walk(const struct exercise_steps *s, uint64_t seed, uint64_t ops);
/* The next one: its number, from 1, and the state of its random numbers.  False: that was all, and
 * *op stays. */
bool exercise_next(struct exercise_walk *w, uint64_t *op, uint64_t *rng);
/* What operation @op is about to do: told of a sequence that was made short, on stderr. */
void exercise_say(const struct exercise_steps *s, uint64_t op, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Starts from nothing each time, fx_init() included.  0, or -1 after a line on stderr. */
typedef int exercise_run_fn(void *arg, const struct exercise_steps *steps);

/*
 * Run @ops operations of @seed in this process, which has no threads yet; if that fails, or the
 * process dies of it, then again and again in others, for @seconds at most, and the shortest
 * sequence that still fails is printed on stderr.  What @run returned; @left, unless NULL, gets the
 * sequence.  Where @run has threads the same operations may not fail again; then that is said.
 */
int exercise_shortest(exercise_run_fn *run, void *arg, uint64_t seed, uint64_t ops,
		      unsigned int seconds, struct oplist *left);
/* All of it in other processes, for what is known to fail: @left, empty before, gets the sequence;
 * stays empty if it did not. */
void exercise_shrink(exercise_run_fn *run, void *arg, uint64_t seed, uint64_t ops,
		     unsigned int seconds, struct oplist *left);

#endif
