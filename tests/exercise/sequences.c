/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Every short sequence of operations, cut at every command of the device (tests/lib/sequence.h):
 *
 *   sequences [--depth 1|2|3] [--sample N] [--first N --of N] [options]    all of them, or some
 *   sequences --run "creat A/n; fsync A/n; rename A/n B/z"                 one of them
 *   sequences --list                                                       say which, and end
 *
 * Of two operations the second is cut: the first is cut where it stands alone.  With --threads the
 * first is also followed by what threads would do: writeback, commit.  Exit 0: all held;
 * 1: one did not, told on stderr with the sequence to run again; 2: usage.
 */
#include <getopt.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "core/lib/log.h"
#include "tests/lib/fixture.h"
#include "tests/lib/random.h"
#include "tests/lib/sequence.h"
#include "tests/lib/sequence_set.h"

#define MAX_JOBS 64
#define MAX_TOLD 20 /* failures of one process that are told */

static struct options {
	unsigned int depth;
	uint64_t sample, first, of;
	long jobs;
	unsigned int ways; /* of the first of two */
	bool list;
	const char *run;
	struct seq_opts lab;
} o = { .depth = 1, .of = 1, .ways = SEQ_LASTING, .lab = { .seed = 1 } };

/* What the processes share. */
static struct shared {
	atomic_ullong next, said, sequences, inapplicable, mirrored, failures, looked_at;
	atomic_ullong images[CRASH_MODES];
} * shared;

static struct seq_lab *lab;
static struct seq_counts told; /* already added to what is shared */
static double started;

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void report(void)
{
	uint64_t images = 0;

	for (int k = 0; k < CRASH_MODES; k++)
		images += atomic_load(&shared->images[k]);
	printf("%llu sequences, %llu do not apply, %llu mirrored; %llu images:",
	       (unsigned long long)atomic_load(&shared->sequences),
	       (unsigned long long)atomic_load(&shared->inapplicable),
	       (unsigned long long)atomic_load(&shared->mirrored), (unsigned long long)images);
	for (int k = 0; k < CRASH_MODES; k++)
		printf(" %llu %s", (unsigned long long)atomic_load(&shared->images[k]),
		       seq_kind_name((enum crash_mode)k));
	printf("; %llu of them different; %llu failures; %.0f s\n",
	       (unsigned long long)atomic_load(&shared->looked_at),
	       (unsigned long long)atomic_load(&shared->failures), now() - started);
	fflush(stdout);
}

static void share_counts(void)
{
	const struct seq_counts *c = seq_counts(lab);

	atomic_fetch_add(&shared->sequences, c->sequences - told.sequences);
	atomic_fetch_add(&shared->inapplicable, c->inapplicable - told.inapplicable);
	atomic_fetch_add(&shared->failures, c->failures - told.failures);
	atomic_fetch_add(&shared->looked_at, c->looked_at - told.looked_at);
	for (int k = 0; k < CRASH_MODES; k++)
		atomic_fetch_add(&shared->images[k], c->images[k] - told.images[k]);
	told = *c;
}

/* Held or does not apply: not to be gone into, if it doesn't. */
static enum seq_verdict run_one(const char *text, unsigned int cut_from)
{
	enum seq_verdict v;

	if (o.list) {
		puts(text);
		return SEQ_HELD;
	}
	v = seq_run(lab, text, cut_from);
	if (v == SEQ_FAILED && seq_counts(lab)->failures <= MAX_TOLD)
		fprintf(stderr, "FAILED: sequences --seed %llu --run \"%s\"\n  %s\n",
			(unsigned long long)o.lab.seed, text, seq_why(lab));
	return v;
}

/* All that end with @op, behind @before (or ""), whose last step is @step. */
static void run_ways(const char *before, unsigned int step, unsigned int op)
{
	char unit[SEQ_TEXT], text[SEQ_TEXT * 2];

	if (seq_mirrored(before, op)) {
		atomic_fetch_add(&shared->mirrored, 1);
		return;
	}
	for (unsigned int way = 0; way < SEQ_LASTING; way++) {
		if (!seq_unit(op, way, unit, sizeof(unit)))
			continue;
		snprintf(text, sizeof(text), "%s%s%s", before, *before ? "; " : "", unit);
		if (run_one(text, *before ? step + 1 : 0) == SEQ_INAPPLICABLE && !way)
			break;
	}
	if (!o.list) {
		seq_lab_forget(lab);
		share_counts();
	}
}

static unsigned int steps_in(const char *text)
{
	unsigned int n = 1;

	for (; *text; text++)
		n += *text == ';';
	return n;
}

/* Number @nr of the bundles of sequences that differ in how the last operation is made to last.
 * False: there are no more. */
static bool run_bundle(uint64_t nr)
{
	uint64_t ops = seq_nr_ops();
	char first[SEQ_TEXT];
	unsigned int op;

	if (o.depth == 1) {
		if (nr >= ops)
			return false;
		run_ways("", 0, (unsigned int)nr);
		return true;
	}
	if (nr >= ops * o.ways * ops)
		return false;
	op = (unsigned int)(nr / ops / o.ways);
	if (seq_mirrored("", op) ||
	    !seq_unit(op, (unsigned int)(nr / ops % o.ways), first, sizeof(first)))
		return true;
	run_ways(first, steps_in(first), (unsigned int)(nr % ops));
	return true;
}

static bool run_sample(uint64_t nr)
{
	uint64_t rng = (o.lab.seed * 1000003 + nr) | 1;
	char text[SEQ_TEXT];

	for (int i = 0; i < 8; i++)
		test_rand(&rng);
	seq_random(o.depth, &rng, text, sizeof(text));
	run_one(text, 0);
	if (!o.list) {
		seq_lab_forget(lab);
		share_counts();
	}
	return !o.list || nr + 1 < o.sample;
}

static void work(void)
{
	fx_init();
	log_init("sequences", false, LOG_LVL_ERR);
	if (!o.list)
		lab = seq_lab_create(&o.lab);
	while (!o.sample || atomic_load(&shared->sequences) < o.sample) {
		uint64_t nr = atomic_fetch_add(&shared->next, 1);

		if (!(o.sample ? run_sample(nr) : run_bundle(nr * o.of + o.first)))
			break;
	}
	if (!o.list)
		seq_lab_destroy(lab);
	fx_exit();
}

static int run_text(void)
{
	enum seq_verdict v;

	fx_init();
	log_init("sequences", false, LOG_LVL_ERR);
	lab = seq_lab_create(&o.lab);
	v = run_one(o.run, 0);
	share_counts();
	if (v == SEQ_INAPPLICABLE)
		puts("does not apply");
	report();
	seq_lab_destroy(lab);
	fx_exit();
	return v == SEQ_HELD ? 0 : 1;
}

/* A line a minute; how many processes failed. */
static int wait_for_all(long jobs)
{
	double said = now();
	int bad = 0, status;

	while (jobs) {
		pid_t pid = waitpid(-1, &status, WNOHANG);

		if (pid > 0) {
			jobs--;
			bad += status != 0;
			continue;
		}
		usleep(20000);
		if (now() - said > 60) {
			said = now();
			report();
		}
	}
	return bad;
}

static int run_all(void)
{
	int bad;

	for (long j = 0; j < o.jobs; j++) {
		pid_t pid = fork();

		if (pid < 0) {
			perror("sequences: fork");
			return 1;
		}
		if (!pid) {
			work();
			_exit(0);
		}
	}
	bad = wait_for_all(o.jobs);
	report();
	if (bad)
		fprintf(stderr, "%d processes died\n", bad);
	return bad || atomic_load(&shared->failures) ? 1 : 0;
}

static bool take_option(int c)
{
	if (c == 'd')
		o.depth = (unsigned int)atoi(optarg);
	else if (c == 's')
		o.lab.seed = strtoull(optarg, NULL, 0);
	else if (c == 'n')
		o.sample = strtoull(optarg, NULL, 0);
	else if (c == 'j')
		o.jobs = atol(optarg);
	else if (c == 'f')
		o.first = strtoull(optarg, NULL, 0);
	else if (c == 'o')
		o.of = strtoull(optarg, NULL, 0);
	else if (c == 'b')
		o.lab.block_size = (uint32_t)atoi(optarg);
	else if (c == 'k')
		for (unsigned int k = 0; k < CRASH_MODES; k++)
			o.lab.kinds |= strstr(optarg, seq_kind_name(k)) ? 1u << k : 0;
	else if (c == 'r')
		o.run = optarg;
	else if (c == 'l')
		o.list = true;
	else if (c == 'u')
		o.lab.fua = true;
	else if (c == 't')
		o.ways = SEQ_WAYS;
	else
		return false;
	return true;
}

int main(int argc, char **argv)
{
	static const struct option longopts[] = { { "depth", 1, NULL, 'd' },
						  { "seed", 1, NULL, 's' },
						  { "sample", 1, NULL, 'n' },
						  { "jobs", 1, NULL, 'j' },
						  { "first", 1, NULL, 'f' },
						  { "of", 1, NULL, 'o' },
						  { "block-size", 1, NULL, 'b' },
						  { "kinds", 1, NULL, 'k' },
						  { "run", 1, NULL, 'r' },
						  { "list", 0, NULL, 'l' },
						  { "fua", 0, NULL, 'u' },
						  { "threads", 0, NULL, 't' },
						  { 0 } };
	bool good = true;
	int c;

	o.jobs = sysconf(_SC_NPROCESSORS_ONLN);
	while ((c = getopt_long(argc, argv, "", longopts, NULL)) != -1)
		good &= take_option(c);
	if (!good || optind != argc || o.depth < 1 || o.depth > SEQ_DEPTH_MAX || o.jobs < 1 ||
	    o.jobs > MAX_JOBS || !o.of || o.first >= o.of || (o.depth == 3 && !o.sample)) {
		fputs("usage: sequences [--depth 1|2|3] [--sample N] [--first N --of N] "
		      "[--threads]\n"
		      "                 [--seed N] [--jobs N] [--block-size N] [--fua]\n"
		      "                 [--kinds all,none,subset,torn,ruined]\n"
		      "                 [--list | --run SEQUENCE]\n"
		      "       of three operations only a sample\n",
		      stderr);
		return 2;
	}
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	FX_CHECK(shared != MAP_FAILED);
	started = now();
	if (o.list)
		o.jobs = 1;
	return o.run ? run_text() : run_all();
}
