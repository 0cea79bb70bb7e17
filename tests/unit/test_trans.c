/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sections: what they wait for, how they start over, what an error in them does. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "../lib/metafix.h"
#include "fs/alloc.h"

Test(trans, changes_survive_commit_and_close)
{
	struct metafix m;
	uint64_t i;

	metafix_make(&m);
	for (i = 0; i < 500; i++)
		cr_assert_eq(metafix_set(&m, i, (uint8_t)i, 200), 0);
	metafix_close(&m);
	cr_assert_eq(metafix_open(&m), 0, "%s", m.why);
	for (i = 0; i < 500; i++)
		cr_assert_eq(metafix_get(&m, i), (uint8_t)i);
	cr_assert_eq(metafix_get(&m, 500), -ENOENT);
	metafix_free(&m);
}

Test(trans, committed_survives_a_crash_and_the_rest_does_not)
{
	struct metafix m;
	uint64_t i;

	metafix_make(&m);
	for (i = 0; i < 100; i++)
		cr_assert_eq(metafix_set(&m, i, 1, 300), 0);
	cr_assert_eq(journal_commit_all(m.fs), 0);
	cr_assert_eq(metafix_set(&m, 5, 2, 300), 0);
	metafix_crash(&m);
	cr_assert_eq(metafix_open(&m), 0, "%s", m.why);
	for (i = 0; i < 100; i++)
		cr_assert_eq(metafix_get(&m, i), 1);
	metafix_free(&m);
}
