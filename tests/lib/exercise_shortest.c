/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "tests/lib/exercise_shortest.h"
#include "tests/lib/random.h"
#include "tests/lib/shrink.h"

#define PATIENCE 60 /* seconds; a run that takes so much longer than the first stands still */
#define FEW 100	    /* operations that somebody would read */

struct runner {
	exercise_run_fn *run;
	void *arg;
	unsigned int patience; /* seconds */
};

/* The process that makes a failure of this one short, and the pipes to and from it. */
static struct {
	pid_t pid;
	int to, from;
} observer;

static uint64_t start(uint64_t seed)
{
	return seed * 0x9e3779b97f4a7c15ull | 1;
}

static unsigned int next(uint64_t *rng)
{
	return (unsigned int)(test_rand(rng) >> 32);
}

struct exercise_walk exercise_walk(const struct exercise_steps *s, uint64_t seed, uint64_t ops)
{
	return (struct exercise_walk){ .steps = s,
				       .rng = start(seed),
				       .nr = s->replay ? s->replay->nr : ops };
}

bool exercise_next(struct exercise_walk *w, uint64_t *op, uint64_t *rng)
{
	const struct oplist *l = w->steps->replay;

	if (w->op == w->nr)
		return false;
	*rng = start((l ? l->ops[w->op].kind : next(&w->rng)) + 1ull);
	*op = ++w->op;
	return true;
}

void exercise_say(const struct exercise_steps *s, uint64_t op, const char *fmt, ...)
{
	va_list ap;

	if (!s->replay)
		return;
	va_start(ap, fmt);
	fprintf(stderr, "  %llu: ", (unsigned long long)op);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
}

static bool fails_in_child(const struct runner *r, const struct oplist *l, bool quiet)
{
	struct exercise_steps steps = { .replay = l };
	int pid, status;

	fflush(NULL);
	pid = fork();
	if (!pid) {
		int null = quiet ? open("/dev/null", O_WRONLY) : -1;

		if (null >= 0) {
			dup2(null, STDERR_FILENO);
			close(null);
		}
		alarm(r->patience);
		_exit(r->run(r->arg, &steps) ? 1 : 0);
	}
	return pid > 0 && waitpid(pid, &status, 0) == pid && status;
}

static bool fails(void *arg, const struct oplist *l)
{
	return fails_in_child(arg, l, true);
}

static void describe(const struct op *op, char *buf, size_t size)
{
	snprintf(buf, size, "a seed; what it does is said below");
}

static void shorten(struct runner *r, uint64_t seed, uint64_t ops, unsigned int seconds,
		    struct oplist *l)
{
	uint64_t rng = start(seed);
	unsigned int runs;

	while (ops--)
		oplist_add(l, &(struct op){ .kind = next(&rng) });
	if (!fails(r, l)) {
		fprintf(stderr, "the same operations did not fail a second time\n");
		l->nr = 0;
		return;
	}
	runs = shrink(l, fails, r, seconds);
	fprintf(stderr, "after %u runs, the %zu operations that still fail:\n", runs, l->nr);
	if (l->nr <= FEW)
		oplist_print(l, stderr, describe);
	fails_in_child(r, l, false);
}

void exercise_shrink(exercise_run_fn *run, void *arg, uint64_t seed, uint64_t ops,
		     unsigned int seconds, struct oplist *left)
{
	shorten(&(struct runner){ run, arg, PATIENCE }, seed, ops, seconds, left);
}

/* In a process that was there before the run that failed, and shares nothing with it. */
static void observe(struct runner *r, uint64_t seed, uint64_t ops, unsigned int seconds, int from,
		    int to)
{
	time_t began = time(NULL);
	struct oplist l = { 0 };
	char well;

	if (read(from, &well, 1) == 1 && well == 'w')
		return;
	r->patience = PATIENCE + (unsigned int)(time(NULL) - began);
	shorten(r, seed, ops, seconds, &l);
	if (l.nr && write(to, l.ops, l.nr * sizeof(*l.ops)) < 0)
		perror("exercise_shortest");
	oplist_free(&l);
}

static void get(struct oplist *left, int from)
{
	struct op op;

	while (left && read(from, &op, sizeof(op)) == sizeof(op))
		oplist_add(left, &op);
}

/* A failed check ends the process, but not before it was said how little it takes. */
static void wait_for_observer(int sig)
{
	close(observer.to);
	close(observer.from);
	waitpid(observer.pid, NULL, 0);
}

int exercise_shortest(exercise_run_fn *run, void *arg, uint64_t seed, uint64_t ops,
		      unsigned int seconds, struct oplist *left)
{
	struct sigaction sa = { .sa_handler = wait_for_observer }, before;
	struct runner r = { .run = run, .arg = arg };
	int down[2], up[2], err;

	fflush(NULL);
	if (pipe(down) || pipe(up) || (observer.pid = fork()) < 0)
		return -1;
	if (!observer.pid) {
		close(down[1]);
		close(up[0]);
		observe(&r, seed, ops, seconds, down[0], up[1]);
		_exit(0);
	}
	close(down[0]);
	close(up[1]);
	observer.to = down[1];
	observer.from = up[0];
	sigaction(SIGABRT, &sa, &before);
	err = run(arg, &(struct exercise_steps){ 0 });
	sigaction(SIGABRT, &before, NULL);
	if (write(down[1], err ? "f" : "w", 1) != 1)
		perror("exercise_shortest");
	close(down[1]);
	get(err ? left : NULL, up[0]);
	close(up[0]);
	waitpid(observer.pid, NULL, 0);
	return err;
}
