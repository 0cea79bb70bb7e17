/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The exercisers on the library for as long as one likes:
 *
 *   soak [-j JOBS] [-s SEED] OPERATIONS
 *
 * Rounds, each with a seed of its own from SEED (default: the clock) upwards, on a file system of
 * its own: contents and names by turns, with all sizes of blocks, and every eighth round under the
 * crash simulator.  JOBS processes (default: as many as there are CPUs) share them.  A round that
 * fails prints the shortest sequence of its operations that still does, and its seed: `soak -s THAT
 * 1` is that round alone.  Exit 0: no difference; 1: one, told on stderr; 2: usage.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "core/lib/util.h"
#include "tests/lib/exercise_cuts.h"
#include "tests/lib/exercise_lib.h"

#define CONTENT_OPS 20000
#define NAMES_OPS 20000
#define CRASH_OPS 2000
#define MAX_JOBS 256
#define SHRINK_SECONDS 60

enum kind { CONTENT, NAMES, CONTENT_CUTS, NAMES_CUTS };

/* What the processes share. */
static struct shared {
	atomic_ullong next, ops, content_ops, names_ops, images;
	atomic_bool failed;
	_Atomic uint64_t seed_of[MAX_JOBS]; /* under way */
} * shared;

static uint64_t first_seed, wanted;

struct round {
	uint64_t seed, ops;
	enum kind kind;
	unsigned int images; /* of power cuts */
};

static enum kind kind_of(uint64_t seed)
{
	if (seed % 8 == 7)
		return seed / 8 % 2 ? CONTENT_CUTS : NAMES_CUTS;
	return seed % 2 ? NAMES : CONTENT;
}

static enum fx_size size_of(uint64_t seed)
{
	/* a larger image costs a power cut most of its time */
	static const enum fx_size sizes[] = { FX_SMALL, FX_SMALL1K, FX_MEDIUM };

	return sizes[seed / 16 % (seed % 8 == 7 ? 2 : 3)];
}

static int run_content(const struct round *r, const struct exercise_steps *steps)
{
	struct content_opts o = { .seed = r->seed,
				  .ops = r->ops,
				  .nr_files = LIB_BACKEND_FILES,
				  .max_size = 400000,
				  .remount_every = 500,
				  .steps = *steps };
	struct fixture fx;
	struct lib_backend e;
	int err;

	fx_create(&fx, size_of(r->seed));
	lib_backend_start(&e, &fx, TFS_INO_ROOT);
	err = exercise_content(&o, &lib_content_ops, &e);
	lib_backend_close(&e);
	fx_destroy(&fx);
	return err;
}

static int run_names(const struct round *r, const struct exercise_steps *steps)
{
	struct names_opts o = {
		.seed = r->seed, .ops = r->ops, .remount_every = 2000, .steps = *steps
	};
	struct fixture fx;
	struct lib_backend e = { .fx = &fx, .top = TFS_INO_ROOT };
	int err;

	fx_create(&fx, size_of(r->seed));
	err = exercise_names(&o, &lib_names_ops, &e);
	fx_destroy(&fx);
	return err;
}

static int run_cuts(struct round *r, const struct exercise_steps *steps)
{
	struct exercise_cuts_opts o = { .size = size_of(r->seed),
					.seed = r->seed,
					.ops = r->ops,
					.cut_every = 20,
					.remount_every = 500,
					.steps = *steps };

	return r->kind == CONTENT_CUTS ? exercise_content_cuts(&o, &r->images)
				       : exercise_names_cuts(&o, &r->images);
}

static int run_round(void *arg, const struct exercise_steps *steps)
{
	struct round *r = arg;
	int err;

	fx_init();
	err = r->kind == CONTENT ? run_content(r, steps)
	      : r->kind == NAMES ? run_names(r, steps)
				 : run_cuts(r, steps);
	fx_exit();
	return err;
}

static int shortest_round(uint64_t seed)
{
	struct round r = { .seed = seed, .kind = kind_of(seed) };
	int err;

	r.ops = r.kind == CONTENT ? CONTENT_OPS : r.kind == NAMES ? NAMES_OPS : CRASH_OPS;
	err = exercise_shortest(run_round, &r, r.seed, r.ops, SHRINK_SECONDS, NULL);
	atomic_fetch_add(&shared->images, r.images);
	atomic_fetch_add(&shared->ops, r.ops);
	atomic_fetch_add(r.kind == CONTENT || r.kind == CONTENT_CUTS ? &shared->content_ops
								     : &shared->names_ops,
			 r.ops);
	return err;
}

static int work(unsigned int job)
{
	int err = 0;

	while (!err && !atomic_load(&shared->failed) && atomic_load(&shared->ops) < wanted) {
		uint64_t seed = first_seed + atomic_fetch_add(&shared->next, 1);

		atomic_store(&shared->seed_of[job], seed);
		err = shortest_round(seed);
	}
	return err ? 1 : 0;
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void report(double seconds)
{
	printf("%llu operations (%llu on contents, %llu on names), %llu images of power cuts, %.0f "
	       "s, %.0f "
	       "operations/s\n",
	       (unsigned long long)atomic_load(&shared->ops),
	       (unsigned long long)atomic_load(&shared->content_ops),
	       (unsigned long long)atomic_load(&shared->names_ops),
	       (unsigned long long)atomic_load(&shared->images), seconds,
	       (double)atomic_load(&shared->ops) / seconds);
	fflush(stdout);
}

/* Wait for all of them; a line a minute.  How many failed. */
static unsigned int wait_for_all(const pid_t *pids, unsigned int jobs)
{
	double began = now(), said = began;
	unsigned int left = jobs, bad = 0;

	while (left) {
		int status;
		pid_t pid = waitpid(-1, &status, WNOHANG);

		for (unsigned int j = 0; pid > 0 && j < jobs; j++) {
			if (pids[j] != pid)
				continue;
			left--;
			if (!status)
				continue;
			bad++;
			atomic_store(&shared->failed, true);
			fprintf(stderr, "soak: FAILED: soak -s %llu 1\n",
				(unsigned long long)atomic_load(&shared->seed_of[j]));
		}
		if (pid <= 0)
			usleep(20000);
		if (now() - said > 60) {
			said = now();
			report(said - began);
		}
	}
	report(now() - began);
	return bad;
}

static int start_all(unsigned int jobs)
{
	pid_t pids[MAX_JOBS];

	for (unsigned int j = 0; j < jobs; j++) {
		pids[j] = fork();
		if (!pids[j])
			_exit(work(j));
		if (pids[j] < 0) {
			perror("soak: fork");
			return 1;
		}
	}
	return wait_for_all(pids, jobs) ? 1 : 0;
}

int main(int argc, char **argv)
{
	long jobs = sysconf(_SC_NPROCESSORS_ONLN);
	int c;

	first_seed = (uint64_t)time(NULL) * 1000;
	while ((c = getopt(argc, argv, "j:s:")) != -1) {
		if (c == 'j')
			jobs = atol(optarg);
		else if (c == 's')
			first_seed = strtoull(optarg, NULL, 0);
		else
			goto usage;
	}
	if (optind != argc - 1 || jobs < 1 || jobs > MAX_JOBS)
		goto usage;
	wanted = strtoull(argv[optind], NULL, 0);
	if (!wanted)
		goto usage;
	if (wanted == 1)
		jobs = 1;
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	if (shared == MAP_FAILED) {
		perror("soak");
		return 1;
	}
	printf("seeds from %llu, %ld processes\n", (unsigned long long)first_seed, jobs);
	fflush(stdout);
	return start_all((unsigned int)jobs);
usage:
	fprintf(stderr, "usage: soak [-j JOBS] [-s SEED] OPERATIONS\n");
	return 2;
}
