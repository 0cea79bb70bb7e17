/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Two mounted file systems, the same operations on both, and every answer compared, and every
 * so often all there is:
 *
 *   differ OURS THEIRS SEED OPERATIONS      both are emptied first
 *   differ OURS THEIRS --replay FILE        the operations of a file
 *   differ OURS THEIRS --tree               only compare what is there
 *
 * Needs root: operations are those of several users, and each side is shut in by chroot(2).
 * Exit 0: no difference, or only such as are meant; 1: one, told on stderr; 2: usage, or it cannot
 * be done.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include "core/lib/util.h"
#include "tests/exercise/differ.h"
#include "tests/lib/shrink.h"

#define ROUND 4096 /* operations from one emptying to the next */
#define SHRINK_SECONDS 60

struct differ {
	struct side sides[2];
	struct shared *sh;
	struct oplist done; /* since all was emptied */
	bool quiet;
	uint64_t all[OP_KINDS], good[OP_KINDS];
};

static void say_result(const char *top, const struct result *r)
{
	fprintf(stderr, "  %s: %lld%s%s, %s(%016llx)\n", top, (long long)r->ret,
		r->ret < 0 ? " " : "", r->ret < 0 ? strerror((int)-r->ret) : "", r->text,
		(unsigned long long)r->hash);
}

static void say_difference(const struct differ *d, size_t i)
{
	char words[400];

	if (d->quiet)
		return;
	differ_describe(&d->sh->ops[i], words, sizeof(words));
	fprintf(stderr, "operation %zu: %s\n", d->done.nr - d->sh->nr + i + 1, words);
	for (int k = 0; k < 2; k++)
		say_result(d->sides[k].top, &d->sh->results[k][i]);
}

/* Of the answers of this batch.  0 or -1; then nothing counts behind the first. */
static int compare_results(struct differ *d)
{
	const struct result *ours = d->sh->results[0], *theirs = d->sh->results[1];

	for (size_t i = 0; i < d->sh->nr; i++) {
		const struct op *op = &d->sh->ops[i];

		d->all[op->kind]++;
		d->good[op->kind] += ours[i].ret >= 0;
		if ((ours[i].ret == theirs[i].ret && ours[i].hash == theirs[i].hash) ||
		    differ_meant(op, &ours[i], &theirs[i]))
			continue;
		say_difference(d, i);
		d->done.nr -= d->sh->nr - i - 1;
		return -1;
	}
	return 0;
}

static void say_line(const char *top, const char *line)
{
	fprintf(stderr, "  %s: %.*s\n", top, (int)strcspn(line, "\n"), line);
}

static int compare_trees(struct differ *d)
{
	const char *a = d->sh->tree[0], *b = d->sh->tree[1];

	if (sides_do(d->sides, SIDE_TREE))
		return -1;
	if (!strcmp(a, b))
		return 0;
	while (*a == *b && strcspn(a, "\n") == strcspn(b, "\n") &&
	       !strncmp(a, b, strcspn(a, "\n"))) {
		a += strcspn(a, "\n") + 1;
		b += strcspn(b, "\n") + 1;
	}
	if (!d->quiet) {
		fprintf(stderr, "what is there differs, first in:\n");
		say_line(d->sides[0].top, a);
		say_line(d->sides[1].top, b);
	}
	return -1;
}

static int empty(struct differ *d)
{
	d->done.nr = 0;
	return sides_do(d->sides, SIDE_WIPE);
}

static int run_batch(struct differ *d)
{
	for (size_t i = 0; i < d->sh->nr; i++)
		oplist_add(&d->done, &d->sh->ops[i]);
	if (sides_do(d->sides, SIDE_RUN) || compare_results(d))
		return -1;
	return compare_trees(d);
}

static int run_list(struct differ *d, const struct oplist *l)
{
	int err = empty(d);

	for (size_t at = 0; at < l->nr && !err; at += d->sh->nr) {
		d->sh->nr = min_t(size_t, BATCH, l->nr - at);
		memcpy(d->sh->ops, l->ops + at, d->sh->nr * sizeof(*l->ops));
		for (size_t i = 0; i < d->sh->nr; i++) /* nor in what shrinking made */
			differ_avoid(&d->sh->ops[i]);
		err = run_batch(d);
	}
	return err;
}

static void say_counts(const struct differ *d, uint64_t ops, time_t began)
{
	time_t took = time(NULL) - began;

	for (unsigned int k = 0; k < OP_KINDS; k++)
		printf("%s %llu/%llu%s", differ_kind(k), (unsigned long long)d->good[k],
		       (unsigned long long)d->all[k], k + 1 < OP_KINDS ? ", " : " succeeded\n");
	differ_print_meant(stdout);
	printf("%llu operations, no other difference, %llu a second\n", (unsigned long long)ops,
	       (unsigned long long)ops / (unsigned long long)(took ? took : 1));
}

static bool fails(void *arg, const struct oplist *l)
{
	return run_list(arg, l) != 0;
}

/* What has failed is the operations in d->done. */
static void say_shortest(struct differ *d)
{
	struct oplist l = { 0 };
	unsigned int runs;

	oplist_copy(&l, &d->done);
	d->quiet = true;
	runs = shrink(&l, fails, d, SHRINK_SECONDS);
	d->quiet = false;
	fprintf(stderr, "after %u runs, the shortest that still fails, for --replay:\n", runs);
	oplist_print(&l, stderr, differ_describe);
	run_list(d, &l);
	oplist_free(&l);
}

static int run_random(struct differ *d, uint64_t seed, uint64_t ops)
{
	uint64_t rng = seed * 0x9e3779b97f4a7c15ull | 1, n;
	time_t began = time(NULL);
	int err = 0;

	for (n = 0; n < ops && !err; n += d->sh->nr) {
		if (n % ROUND == 0)
			err = empty(d);
		d->sh->nr = min_t(uint64_t, BATCH, ops - n);
		for (size_t i = 0; i < d->sh->nr; i++)
			differ_choose(&rng, &d->sh->ops[i]);
		err = err ? err : run_batch(d);
	}
	if (!err) {
		say_counts(d, ops, began);
		return 0;
	}
	fprintf(stderr, "seed %llu, %zu operations\n", (unsigned long long)seed, d->done.nr);
	say_shortest(d);
	return err;
}

static int run_file(struct differ *d, const char *path)
{
	struct oplist l = { 0 };
	int err = oplist_load(&l, path);

	err = err ? err : run_list(d, &l);
	oplist_free(&l);
	return err;
}

int main(int argc, char **argv)
{
	struct differ d = { 0 };
	int err;

	if (argc < 4 || argc > 5 || (argc == 4) != !strcmp(argv[3], "--tree")) {
		fprintf(stderr,
			"usage: differ OURS THEIRS SEED OPERATIONS | --replay FILE | --tree\n");
		return 2;
	}
	d.sh = mmap(NULL, sizeof(*d.sh), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (d.sh == MAP_FAILED) {
		perror("differ");
		return 2;
	}
	differ_meet(argv[2]);
	for (int i = 0; i < 2; i++)
		side_start(&d.sides[i], d.sh, i, argv[1 + i]);
	if (argc == 4)
		err = compare_trees(&d);
	else if (!strcmp(argv[3], "--replay"))
		err = run_file(&d, argv[4]);
	else
		err = run_random(&d, strtoull(argv[3], NULL, 0), strtoull(argv[4], NULL, 0));
	sides_end(d.sides);
	oplist_free(&d.done);
	munmap(d.sh, sizeof(*d.sh));
	return err ? 1 : 0;
}
