/* SPDX-License-Identifier: GPL-2.0-or-later */
/* core/lib/radix.c: the index of a mapping against a plain table. */
#include <criterion/criterion.h>
#include <errno.h>
#include "core/lib/radix.h"
#include "tests/lib/random.h"

static uint64_t rng = 88172645463325252ULL;

static uint64_t rnd(uint64_t n)
{
	return test_rand(&rng) % n;
}

Test(radix, far_apart_indices)
{
	static const uint64_t at[] = {
		0, 1, 63, 64, 4095, 4096, 1ULL << 36, 1ULL << 60, UINT64_MAX
	};
	struct radix_tree t = { 0 };
	uint64_t index = 0;

	for (unsigned int i = 0; i < ARRAY_SIZE(at); i++)
		cr_assert_eq(radix_insert(&t, at[i], (void *)&at[i]), 0);
	cr_assert_eq(radix_insert(&t, 64, (void *)&at[0]), -EEXIST);
	for (unsigned int i = 0; i < ARRAY_SIZE(at); i++) {
		cr_assert_eq(radix_lookup(&t, at[i]), &at[i]);
		cr_assert_eq(radix_next(&t, &index, false), &at[i]);
		cr_assert_eq(index, at[i]);
		index++;
	}
	cr_assert_null(radix_lookup(&t, 65));
	cr_assert_null(radix_lookup(&t, 1ULL << 61));
	for (unsigned int i = 0; i < ARRAY_SIZE(at); i++)
		cr_assert_eq(radix_delete(&t, at[i]), &at[i]);
	cr_assert_null(t.root);
	cr_assert_eq(t.height, 0);
}

/* Dense and sparse stretches, tags, iteration in order. */
Test(radix, random_against_table)
{
	enum { N = 20000 };
	static bool there[N], tagged[N];
	static char item[N];
	struct radix_tree t = { 0 };

	for (unsigned int op = 0; op < 100000; op++) {
		uint64_t i = rnd(2) ? rnd(N) : rnd(300), at = i;
		void *found;

		switch (rnd(6)) {
		case 0:
		case 1:
			cr_assert_eq(radix_insert(&t, i, &item[i]), there[i] ? -EEXIST : 0);
			there[i] = true;
			break;
		case 2:
			cr_assert_eq(radix_delete(&t, i), there[i] ? &item[i] : NULL);
			there[i] = tagged[i] = false;
			break;
		case 3:
			if (!there[i])
				break;
			cr_assert_eq(radix_tag_set(&t, i), !tagged[i]);
			tagged[i] = true;
			break;
		case 4:
			cr_assert_eq(radix_tag_clear(&t, i), tagged[i]);
			tagged[i] = false;
			break;
		default:
			found = radix_next(&t, &at, op & 1);
			while (i < N && !((op & 1) ? tagged[i] : there[i]))
				i++;
			cr_assert_eq(found, i < N ? &item[i] : NULL);
			if (found)
				cr_assert_eq(at, i);
		}
	}
	for (uint64_t i = 0; i < N; i++) {
		uint64_t at = i;

		cr_assert_eq(radix_next(&t, &at, true) && at == i, tagged[i]);
		radix_delete(&t, i);
	}
	cr_assert_null(t.root);
}

/* An insertion that runs out of memory changes nothing and leaks nothing. */
Test(radix, out_of_memory)
{
	struct radix_tree t = { 0 };
	int one, two;

	for (unsigned int n = 1; n < 8; n++) {
		tl_alloc_fail_nth(n);
		if (!radix_insert(&t, 1ULL << 30, &one)) {
			tl_alloc_fail_nth(0);
			break;
		}
		tl_alloc_fail_nth(0);
		cr_assert_null(t.root);
	}
	tl_alloc_fail_nth(1);
	cr_assert_eq(radix_insert(&t, 5, &two), -ENOMEM);
	tl_alloc_fail_nth(0);
	cr_assert_eq(radix_lookup(&t, 1ULL << 30), &one);
	cr_assert_null(radix_lookup(&t, 5));
	radix_delete(&t, 1ULL << 30);
	cr_assert_null(t.root);
}
