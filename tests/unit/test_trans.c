/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fs/journal/trans.c: sections: what they wait for, how they start over, what an error in them
 * does.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "tests/lib/fixture_bare.h"
#include "core/lib/util.h"
#include "fs/disk/geom.h"
#include "fs/journal/buffer.h"
#include "fs/journal/bufcache.h"
#include "fs/journal/journal.h"
#include "fs/journal/trans.h"
#include "tallyfs/format.h"

Test(trans, changes_survive_commit_and_close)
{
	struct fixture m;
	uint64_t i;

	fx_bare_create(&m);
	for (i = 0; i < 500; i++)
		cr_assert_eq(fx_item_set(&m, i, (uint8_t)i, 200), 0);
	fx_bare_close(&m);
	cr_assert_eq(fx_bare_open(&m), 0, "%s", m.why);
	for (i = 0; i < 500; i++)
		cr_assert_eq(fx_item_get(&m, i), (uint8_t)i);
	cr_assert_eq(fx_item_get(&m, 500), -ENOENT);
	fx_bare_destroy(&m);
}

Test(trans, committed_survives_a_crash_and_the_rest_does_not)
{
	struct fixture m;
	uint64_t i;

	fx_bare_create(&m);
	for (i = 0; i < 100; i++)
		cr_assert_eq(fx_item_set(&m, i, 1, 300), 0);
	cr_assert_eq(journal_commit_all(m.fs), 0);
	cr_assert_eq(fx_item_set(&m, 5, 2, 300), 0);
	fx_bare_crash(&m);
	cr_assert_eq(fx_bare_open(&m), 0, "%s", m.why);
	for (i = 0; i < 100; i++)
		cr_assert_eq(fx_item_get(&m, i), 1);
	fx_bare_destroy(&m);
}

Test(trans, read_only_mount)
{
	struct fixture m;
	struct tfs_trans t = { 0 };
	int err = 0;

	fx_bare_create(&m);
	cr_assert_eq(fx_item_set(&m, 1, 1, 10), 0);
	fx_bare_close(&m);
	m.opts.ro = true;
	cr_assert_eq(fx_bare_open(&m), 0, "%s", m.why);
	cr_assert_eq(fx_item_get(&m, 1), 1);
	err = trans_begin(&t, m.fs, 1);
	cr_assert_eq(err, -EROFS);
	cr_assert(!trans_again(&t, &err));
	cr_assert_eq(journal_commit_all(m.fs), 0);
	cr_assert_eq(journal_checkpoint(m.fs), 0);
	cr_assert_eq(trans_max_credits(m.fs), 0);
	fx_bare_close(&m);
	fx_bare_destroy(&m);
}

/* Each missing block costs one more try, read without the lock; the handle counts, until its loop
 * has ended. */
Test(trans, tries)
{
	struct tfs_bufcache_stats st;
	struct fixture m;
	struct tfs_trans t = { 0 };
	struct tfs_buf *b;
	unsigned int i, tries = 0;
	uint64_t group;
	int err;

	fx_bare_create(&m);
	do {
		trans_read_begin(&t, m.fs);
		cr_assert_eq(t.tries, tries++);
		for (group = 0, err = 0; group < 8 && !err; group++) {
			err = buf_get(&t, tfs_group_header_block(&m.fs->geom, group), BUF_GROUP,
				      &b);
			if (!err)
				buf_put(b);
		}
	} while (trans_again(&t, &err));
	cr_assert_eq(err, 0);
	bufcache_get_stats(m.fs, &st);
	cr_assert_eq(st.sync_reads, 0);
	cr_assert_leq(tries, 9);
	/* then it is forgotten */
	for (i = 0; i < 2; i++) {
		trans_read_begin(&t, m.fs);
		cr_assert_eq(t.tries, 0);
		cr_assert(!trans_again(&t, &err));
	}
	fx_bare_destroy(&m);
}

/* In a section that has changed something, what is missing is read on the spot. */
Test(trans, missing_after_a_change)
{
	struct tfs_bufcache_stats st;
	struct fixture m;
	struct tfs_trans t = { 0 };
	struct tfs_buf *b;
	int err;

	fx_bare_create(&m);
	do {
		err = trans_begin(&t, m.fs, TRANS_CREDITS(m.fs));
		if (!err)
			err = buf_get(&t, m.fs->roots[TFS_TREE_FS].addr, BUF_NODE, &b);
		if (err)
			continue;
		err = buf_modify(&t, b);
		buf_put(b);
		if (err)
			continue;
		err = buf_get(&t, tfs_group_tuple_block(&m.fs->geom, 3, 0), BUF_TUPLE, &b);
		cr_assert_eq(err, 0);
		buf_put(b);
	} while (trans_again(&t, &err));
	cr_assert_eq(err, 0);
	bufcache_get_stats(m.fs, &st);
	cr_assert_gt(st.sync_reads, 0);
	fx_bare_close(&m);
	cr_assert_eq(fx_bare_open(&m), 0);
	fx_bare_destroy(&m);
}

/*
 * An error behind the first change is the end.  Where it is not for want of something, the image
 * contradicts itself: nobody is told that a file does not exist because of that.
 */
Test(trans, half_made)
{
	static const struct {
		int err, says;
	} t[] = { { -ENOENT, -EUCLEAN }, { -EEXIST, -EUCLEAN }, { -ESTALE, -EUCLEAN },
		  { -EIO, -EIO },	 { -ENOMEM, -ENOMEM },	{ -ENOSPC, -ENOSPC },
		  { -EMLINK, -EUCLEAN }, { -EUCLEAN, -EUCLEAN } };
	struct fixture m;
	struct tfs_trans s = { 0 };
	struct tfs_buf *b;
	int err;

	for (unsigned int i = 0; i < ARRAY_SIZE(t); i++) {
		fx_bare_create(&m);
		do {
			err = trans_begin(&s, m.fs, TRANS_CREDITS(m.fs));
			if (!err)
				err = buf_get(&s, m.fs->roots[TFS_TREE_FS].addr, BUF_NODE, &b);
			if (err)
				continue;
			cr_assert_eq(buf_modify(&s, b), 0);
			buf_put(b);
			err = t[i].err;
		} while (trans_again(&s, &err));
		cr_assert_eq(err, t[i].says, "row %u: %d", i, err);
		cr_assert_eq(fx_item_set(&m, 1, 1, 10), t[i].says, "row %u", i);
		fx_bare_crash(&m);
		fx_bare_destroy(&m);
	}
}

Test(trans, no_memory_for_a_read)
{
	struct fixture m;
	uint64_t n;
	int err = -ENOMEM;

	fx_bare_create(&m);
	for (n = 1; err != -ENOENT; n++) {
		fx_bare_close(&m);
		cr_assert_eq(fx_bare_open(&m), 0);
		tl_alloc_fail_nth(n);
		err = fx_item_get(&m, 1);
		tl_alloc_fail_nth(0);
		cr_assert(err == -ENOMEM || err == -ENOENT, "%d", err);
		cr_assert_eq(fx_item_set(&m, 5, 1, 1), 0, "no harm done");
	}
	cr_assert_gt(n, 3);
	fx_bare_destroy(&m);
}
