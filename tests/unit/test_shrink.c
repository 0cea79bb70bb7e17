/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/lib/shrink.c, tests/lib/oplist.c: planted failures come down to what they take. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "tests/lib/random.h"
#include "tests/lib/shrink.h"

/* A queue with a mistake: after a 1 and, later, a 2 of at least 1000 to the same place, a 3. */
static bool fails(void *arg, const struct oplist *l)
{
	unsigned int at = 0;
	int64_t where = 0;

	++*(unsigned int *)arg;
	for (size_t i = 0; i < l->nr; i++) {
		const struct op *op = &l->ops[i];

		if (!at && op->kind == 1)
			where = op->arg[0], at = 1;
		else if (at == 1 && op->kind == 2 && op->arg[0] == where && op->arg[1] >= 1000)
			at = 2;
		else if (at == 2 && op->kind == 3)
			return true;
	}
	return false;
}

static void describe(const struct op *op, char *buf, size_t size)
{
	snprintf(buf, size, "kind %u", op->kind);
}

static void make(struct oplist *l, uint64_t seed, size_t nr)
{
	for (size_t i = 0; i < nr; i++) {
		struct op op = { .kind = (unsigned int)(test_rand(&seed) % 20) };

		for (int k = 0; k < OP_ARGS; k++)
			op.arg[k] = (int64_t)(test_rand(&seed) % 5000) - 100 * k;
		op.arg[0] &= 7;
		oplist_add(l, &op);
	}
}

Test(shrink, to_what_it_takes)
{
	for (uint64_t seed = 1; seed <= 20; seed++) {
		unsigned int runs = 0, told;
		struct oplist l = { 0 };

		make(&l, seed, 4000);
		cr_assert(fails(&runs, &l));
		runs = 0;
		told = shrink(&l, fails, &runs, 60);
		cr_assert_eq(told, runs);
		cr_assert(fails(&runs, &l));
		cr_expect_eq(l.nr, 3, "seed %llu: %zu operations", (unsigned long long)seed, l.nr);
		cr_expect_lt(told, 1000, "%u runs", told);
		cr_expect_eq(l.ops[1].arg[1], 1000, "%lld", (long long)l.ops[1].arg[1]);
		cr_expect_eq(l.ops[1].arg[2], 0);
		oplist_free(&l);
	}
}

static bool fails_slowly(void *arg, const struct oplist *l)
{
	usleep(20000);
	return fails(arg, l);
}

Test(shrink, stops_in_time, .timeout = 900)
{
	struct oplist l = { 0 };
	unsigned int runs = 0;

	make(&l, 5, 4000);
	cr_assert(fails(&runs, &l));
	shrink(&l, fails_slowly, &runs, 1);
	cr_expect_lt(runs, 150);
	cr_expect(fails(&runs, &l));
	oplist_free(&l);
}

Test(shrink, a_file_has_it_all)
{
	struct oplist l = { 0 }, back = { 0 };
	char path[] = "/tmp/oplist-XXXXXX";
	int fd = mkstemp(path);

	cr_assert_geq(fd, 0);
	close(fd);
	make(&l, 7, 300);
	l.ops[3] = (struct op){ 0 };
	l.ops[4].arg[2] = INT64_MIN;
	cr_assert_eq(oplist_save(&l, path, describe), 0);
	cr_assert_eq(oplist_load(&back, path), 0);
	cr_assert_eq(back.nr, l.nr);
	for (size_t i = 0; i < l.nr; i++) {
		cr_expect_eq(back.ops[i].kind, l.ops[i].kind);
		for (int k = 0; k < OP_ARGS; k++)
			cr_expect_eq(back.ops[i].arg[k], l.ops[i].arg[k]);
	}
	unlink(path);
	oplist_free(&l);
	oplist_free(&back);
}
