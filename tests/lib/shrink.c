/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>
#include <time.h>
#include "core/lib/util.h"
#include "tests/lib/shrink.h"

struct shrinker {
	struct oplist *best, try;
	shrink_fails_fn *fails;
	void *arg;
	time_t end;
	unsigned int runs;
};

static time_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec;
}

static bool in_time(const struct shrinker *s)
{
	return now() < s->end;
}

/* @try is the best one now, if it fails too. */
static bool better(struct shrinker *s)
{
	s->runs++;
	if (!s->fails(s->arg, &s->try))
		return false;
	oplist_copy(s->best, &s->try);
	return true;
}

/* Without the operations [at, at + n). */
static bool without(struct shrinker *s, size_t at, size_t n)
{
	oplist_copy(&s->try, s->best);
	memmove(s->try.ops + at, s->try.ops + at + n, (s->try.nr - at - n) * sizeof(*s->try.ops));
	s->try.nr -= n;
	return better(s);
}

/* From the end, since what fails there needs what comes before. */
static bool drop_parts(struct shrinker *s, size_t part)
{
	size_t at = s->best->nr;
	bool some = false;

	while (at && in_time(s)) {
		size_t n = min_t(size_t, part, at);

		at -= n;
		some |= without(s, at, n);
	}
	return some;
}

static void drop(struct shrinker *s)
{
	size_t part = s->best->nr / 2;

	while (part && in_time(s))
		if (!drop_parts(s, part) || part > s->best->nr)
			part /= 2;
}

static bool with(struct shrinker *s, size_t i, unsigned int k, int64_t value)
{
	if (value == s->best->ops[i].arg[k])
		return false;
	oplist_copy(&s->try, s->best);
	s->try.ops[i].arg[k] = value;
	return better(s);
}

/* 0, or a round number, or as small as by halves and ones it gets. */
static bool simplify_arg(struct shrinker *s, size_t i, unsigned int k)
{
	int64_t *v = &s->best->ops[i].arg[k], step;
	bool some = false;

	if (!*v)
		return false;
	if (with(s, i, k, 0))
		return true;
	if (*v > 4096)
		some = with(s, i, k, *v - *v % 4096);
	for (step = *v / 2; step && in_time(s); step /= 2)
		while ((*v > 0 ? *v > step : *v < step) && in_time(s) && with(s, i, k, *v - step)) {
			v = &s->best->ops[i].arg[k];
			some = true;
		}
	return some;
}

static bool simplify(struct shrinker *s)
{
	bool some = false;

	for (size_t i = 0; i < s->best->nr; i++)
		for (unsigned int k = 0; k < OP_ARGS && in_time(s); k++)
			some |= simplify_arg(s, i, k);
	return some;
}

unsigned int shrink(struct oplist *l, shrink_fails_fn *fails, void *arg, unsigned int seconds)
{
	struct shrinker s = { .best = l, .fails = fails, .arg = arg, .end = now() + seconds };

	do
		drop(&s);
	while (simplify(&s) && in_time(&s));
	oplist_free(&s.try);
	return s.runs;
}
