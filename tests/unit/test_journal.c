/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fs/journal/journal*.c, checkpoint.c: the journal: commits, checkpoints, what is logged how, and
 * what happens when the device fails.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "fs/journal/journal_priv.h"
#include "tests/lib/crashdev.h"
#include "tests/lib/faultdev.h"
#include "tests/lib/fixture_bare.h"
#include "tests/lib/random.h"
#include "core/block/bdev.h"
#include "core/lib/list.h"
#include "core/lib/util.h"
#include "fs/alloc/space.h"
#include "fs/disk/geom.h"
#include "fs/disk/super.h"
#include "fs/journal/buffer.h"
#include "fs/journal/journal.h"
#include "fs/journal/trans.h"
#include "fs/vfs/fs_open.h"
#include "tallyfs/format.h"

static struct tfs_journal_stats stats(struct fixture *m)
{
	struct tfs_journal_stats st;

	journal_get_stats(m->fs, &st);
	return st;
}

Test(journal, images_first_then_ranges_until_the_next_checkpoint)
{
	struct tfs_journal_stats a, b;
	struct fixture m;

	fx_bare_create(&m);
	cr_assert_eq(fx_item_set(&m, 1, 1, 64), 0);
	cr_assert_eq(journal_commit_all(m.fs), 0);
	a = stats(&m);
	cr_assert_gt(a.images, 0);
	cr_assert_eq(a.ranges, 0);
	cr_assert_eq(fx_item_set(&m, 1, 2, 64), 0);
	cr_assert_eq(journal_commit_all(m.fs), 0);
	b = stats(&m);
	cr_assert_eq(b.images, a.images, "all of it is in the log already");
	cr_assert_gt(b.ranges, 0);
	cr_assert_lt(b.log_bytes - a.log_bytes, a.log_bytes);
	cr_assert_eq(journal_checkpoint(m.fs), 0);
	a = stats(&m);
	cr_assert_eq(a.log_used, 0);
	cr_assert_eq(fx_item_set(&m, 1, 3, 64), 0);
	cr_assert_eq(journal_commit_all(m.fs), 0);
	b = stats(&m);
	cr_assert_gt(b.images, a.images);
	cr_assert_eq(b.ranges, a.ranges);
	fx_bare_crash(&m);
	cr_assert_eq(fx_bare_open(&m), 0, "%s", m.why);
	cr_assert_eq(fx_item_get(&m, 1), 3);
	fx_bare_destroy(&m);
}

Test(journal, nothing_to_commit_costs_nothing)
{
	struct tfs_journal_stats a, b;
	struct fixture m;

	fx_bare_create(&m);
	a = stats(&m);
	cr_assert_eq(journal_commit_all(m.fs), 0);
	cr_assert_eq(journal_checkpoint(m.fs), 0);
	b = stats(&m);
	cr_assert_eq(a.commits, b.commits);
	cr_assert_eq(a.checkpoints, b.checkpoints);
	cr_assert_eq(journal_commit(m.fs, b.running_txid - 1), 0);
	fx_bare_destroy(&m);
}

/* Each commit record is a command of its own: one that is lost takes one.  Durable by itself, or by
 * a flush for both.
 */
Test(journal, device_commands_of_a_commit)
{
	struct bdev *mem, *good;
	struct crashdev *cd;
	struct fixture m;
	uint64_t before;
	int fua;

	fx_bare_create(&m);
	fx_bare_close(&m);
	mem = m.dev;
	for (fua = 0; fua < 2; fua++) {
		good = fx_copy_dev(m.dev);
		cd = crashdev_create(bdev_mem_data(good), good->size);
		crashdev_allow_fua(cd, fua);
		m.dev = crashdev_bdev(cd);
		cr_assert_eq(fx_bare_open(&m), 0, "%s", m.why);
		cr_assert_eq(fx_item_set(&m, 1, 5, 100), 0);
		before = crashdev_events(cd);
		cr_assert_eq(journal_commit_all(m.fs), 0);
		/* payload, flush, record, record, and a flush where they need one */
		cr_assert_eq(crashdev_events(cd) - before, fua ? 4 : 5);
		fx_bare_crash(&m);
		m.dev = mem;
		crashdev_destroy(cd);
		bdev_close(good);
	}
	fx_bare_destroy(&m);
}

/* The log is passed many times; after any crash exactly what was committed is there. */
Test(journal, wraps_around)
{
	uint64_t rng = 7, i, k, commits;
	uint8_t now[200] = { 0 }, durable[200] = { 0 };
	struct fixture m;

	fx_bare_create(&m);
	for (i = 0; i < 1500; i++) {
		k = test_rand(&rng) % 200;
		now[k] = (uint8_t)(1 + test_rand(&rng) % 255);
		cr_assert_eq(fx_item_set(&m, k, now[k], 400), 0);
		if (test_rand(&rng) % 4 == 0) {
			cr_assert_eq(journal_commit_all(m.fs), 0);
			memcpy(durable, now, sizeof(now));
		}
		commits = stats(&m).durable_txid;
		if (test_rand(&rng) % 100 == 0) {
			fx_bare_crash(&m);
			cr_assert_eq(fx_bare_open(&m), 0, "%s", m.why);
			cr_assert_eq(stats(&m).durable_txid, commits);
			/* a full transaction may have been committed by itself: then more is there,
			 * not less */
			for (k = 0; k < 200; k++)
				if (durable[k] && durable[k] == now[k])
					cr_assert_eq(fx_item_get(&m, k), durable[k]);
			for (k = 0; k < 200; k++) {
				int v = fx_item_get(&m, k);

				now[k] = durable[k] = v < 0 ? 0 : (uint8_t)v;
			}
		}
	}
	fx_bare_destroy(&m);
}

Test(journal, log_passes_its_end_more_than_once)
{
	struct fixture m;
	uint64_t i;

	fx_bare_create(&m);
	for (i = 0; stats(&m).log_bytes < 4 * stats(&m).log_size; i++) {
		cr_assert_eq(fx_item_set(&m, i % 300, (uint8_t)i, 400), 0);
		cr_assert_eq(journal_commit_all(m.fs), 0);
		cr_assert_leq(stats(&m).log_used, stats(&m).log_size);
	}
	cr_assert_gt(stats(&m).checkpoints, 2);
	fx_bare_crash(&m);
	cr_assert_eq(fx_bare_open(&m), 0, "%s", m.why);
	cr_assert_eq(fx_item_get(&m, (i - 1) % 300), (uint8_t)(i - 1));
	fx_bare_destroy(&m);
}

Test(journal, freed_nodes_are_revoked_and_released_when_durable)
{
	struct tfs_space_stats before, freed, after;
	struct fixture m;
	uint64_t i;

	fx_bare_create(&m);
	for (i = 0; i < 100; i++)
		cr_assert_eq(fx_item_set(&m, i, 1, 500), 0);
	cr_assert_eq(journal_commit_all(m.fs), 0);
	space_get_stats(m.fs, &before);
	for (i = 0; i < 100; i++)
		cr_assert_eq(fx_item_delete(&m, i), 0);
	space_get_stats(m.fs, &freed);
	cr_assert_gt(freed.pending_free, 0);
	cr_assert_eq(stats(&m).revokes, 0);
	cr_assert_eq(journal_commit_all(m.fs), 0);
	space_get_stats(m.fs, &after);
	cr_assert_eq(after.pending_free, 0);
	cr_assert_gt(stats(&m).revokes, 0);
	/* one of the freed blocks becomes something else: replay must not touch it */
	fx_bare_crash(&m);
	cr_assert_eq(fx_bare_open(&m), 0, "%s", m.why);
	for (i = 0; i < 100; i++)
		cr_assert_eq(fx_item_get(&m, i), -ENOENT);
	fx_bare_destroy(&m);
}

/* Every freed node's home, overwritten as by file data once the freeing was durable, stays as it is
 * through replay. */
Test(journal, replay_keeps_off_freed_blocks)
{
	uint64_t nodes[256], i, n = 0;
	struct tfs_buf *b;
	struct fixture m;
	uint8_t *dev;

	fx_bare_create(&m);
	dev = bdev_mem_data(m.dev);
	for (i = 0; i < 100; i++)
		cr_assert_eq(fx_item_set(&m, i, 1, 500), 0);
	cr_assert_eq(journal_commit_all(m.fs), 0);
	list_for_each_entry(b, &m.fs->journal->ckpt, ckpt_list)
		if (b->kind == BUF_NODE)
			nodes[n++] = b->block;
	for (i = 0; i < 100; i++)
		cr_assert_eq(fx_item_delete(&m, i), 0);
	cr_assert_eq(journal_commit_all(m.fs), 0);
	/* what is still a node is on the list */
	list_for_each_entry(b, &m.fs->journal->ckpt, ckpt_list)
		for (i = 0; i < n; i++)
			if (nodes[i] == b->block)
				nodes[i] = 0;
	fx_bare_crash(&m);
	for (i = 0; i < n; i++)
		if (nodes[i])
			memset(dev + nodes[i] * 4096, 0x77, 4096);
	cr_assert_eq(fx_bare_open(&m), 0, "%s", m.why);
	cr_assert_eq(fx_item_set(&m, 1, 1, 10), 0);
	fx_bare_close(&m);
	for (i = 0, b = NULL; i < n; i++) {
		if (!nodes[i])
			continue;
		cr_assert_eq(dev[nodes[i] * 4096 + 2000], 0x77);
		b = (void *)dev;
	}
	cr_assert(b, "some nodes were freed");
	cr_assert_eq(fx_bare_open(&m), 0);
	fx_bare_destroy(&m);
}

static void on_faultdev(struct fixture *m)
{
	fx_bare_create(m);
	fx_bare_close(m);
	m->dev = faultdev_create(m->dev);
	cr_assert_eq(fx_bare_open(m), 0, "%s", m->why);
}

/*
 * Whatever write fails: an error for who waits, read-only from then on, the old state after a
 * mount.  (What is only read, the headers, is not needed.)
 */
Test(journal, failed_writes)
{
	struct fixture m;
	unsigned int n, failed = 0;
	bool done = false;
	int err;

	for (n = 1; !done; n++) {
		on_faultdev(&m);
		cr_assert_eq(fx_item_set(&m, 1, 1, 100), 0);
		cr_assert_eq(journal_commit_all(m.fs), 0);
		cr_assert_eq(fx_item_set(&m, 1, 2, 100), 0);
		faultdev_plan(m.dev, .kind = FAULT_ERROR, .ops = FAULT_IO, .nth = n);
		err = journal_checkpoint(m.fs);
		done = !faultdev_struck(m.dev, NULL, NULL);
		faultdev_clear(m.dev);
		cr_assert(!err || (err == -EIO && !done));
		if (err) {
			failed++;
			cr_assert(atomic_load(&m.fs->read_only));
			cr_assert_eq(fx_item_set(&m, 1, 3, 100), -EIO);
			cr_assert_eq(journal_commit_all(m.fs), err);
			cr_assert_eq(fx_item_get(&m, 1), 2, "reading goes on");
			cr_assert_eq(tfs_close(m.fs), -EIO);
			m.fs = NULL;
		}
		fx_bare_crash(&m);
		cr_assert_eq(fx_bare_open(&m), 0, "%s", m.why);
		err = fx_item_get(&m, 1);
		cr_assert(err == 1 || err == 2);
		fx_bare_destroy(&m);
	}
	cr_assert_gt(failed, 6);
}

/* Fails each @op of @step once: that fails who waits, and stops everything.  How many there were.
 */
static unsigned int fail_each(enum fault_op op, int (*step)(struct tfs_fs *fs))
{
	struct fixture m;
	unsigned int n;
	bool struck = true;
	uint64_t writes;
	int err;

	for (n = 0; struck; n++) {
		on_faultdev(&m);
		cr_assert_eq(fx_item_set(&m, 1, 1, 100), 0);
		cr_assert_eq(journal_commit_all(m.fs), 0);
		cr_assert_eq(fx_item_set(&m, 1, 2, 100), 0);
		faultdev_plan(m.dev, .kind = FAULT_ERROR, .ops = op, .nth = n + 1);
		err = step(m.fs);
		struck = faultdev_struck(m.dev, NULL, NULL);
		faultdev_clear(m.dev);
		cr_assert_eq(err, struck ? -EIO : 0, "command %u", n);
		cr_assert_eq(atomic_load(&m.fs->shutdown), err);
		if (struck) {
			writes = faultdev_writes(m.dev);
			cr_assert_eq(fx_item_set(&m, 1, 3, 100), -EIO);
			cr_assert_eq(journal_commit_all(m.fs), -EIO);
			cr_assert_eq(journal_checkpoint(m.fs), -EIO);
			cr_assert_eq(tfs_close(m.fs), -EIO);
			m.fs = NULL;
			cr_assert_eq(faultdev_writes(m.dev), writes);
		}
		fx_bare_crash(&m);
		cr_assert_eq(fx_bare_open(&m), 0, "%s", m.why);
		cr_assert_geq(fx_item_get(&m, 1), 1);
		fx_bare_destroy(&m);
	}
	return n - 1;
}

/* Nobody knows what of it is on the medium, and a flush that succeeds later does not say. */
Test(journal, each_failed_flush)
{
	/* payload, records; home, primary, two headers */
	cr_assert_eq(fail_each(FAULT_FLUSH, journal_checkpoint), 6);
}

Test(journal, each_failed_write_of_a_commit)
{
	/* payload, two records */
	cr_assert_eq(fail_each(FAULT_WRITE, journal_commit_all), 3);
}

Test(journal, failed_flush)
{
	struct fixture m;

	on_faultdev(&m);
	cr_assert_eq(fx_item_set(&m, 1, 1, 100), 0);
	faultdev_plan(m.dev, .kind = FAULT_ERROR, .ops = FAULT_FLUSH, .times = FAULT_ALWAYS);
	cr_assert_eq(journal_commit_all(m.fs), -EIO);
	cr_assert_eq(atomic_load(&m.fs->shutdown), -EIO);
	fx_bare_destroy(&m);
}

Test(journal, sections_larger_than_asked_for)
{
	struct tfs_trans t = { 0 };
	struct fixture m;
	uint64_t i;
	int err;

	fx_bare_create(&m);
	cr_assert_gt(trans_max_credits(m.fs), 0);
	for (i = 0; i < 300; i++) {
		do {
			err = trans_begin(&t, m.fs, i % 3 ? 1 : UINT64_MAX);
		} while (trans_again(&t, &err));
		cr_assert_eq(err, 0);
		cr_assert_eq(fx_item_set(&m, i, 1, 500), 0);
	}
	cr_assert_gt(stats(&m).commits, 1,
		     "asking for all there can be leaves no room beside others");
	fx_bare_close(&m);
	cr_assert_eq(fx_bare_open(&m), 0);
	for (i = 0; i < 300; i++)
		cr_assert_eq(fx_item_get(&m, i), 1);
	fx_bare_destroy(&m);
}

Test(journal, an_error_after_a_change_stops_everything)
{
	struct tfs_super s;
	struct tfs_geom g;
	struct fixture m;
	struct tfs_trans t = { 0 };
	struct tfs_buf *b = NULL;
	int err;

	fx_bare_create(&m);
	cr_assert_eq(fx_item_set(&m, 1, 1, 100), 0);
	cr_assert_eq(journal_commit_all(m.fs), 0);
	do {
		err = trans_begin(&t, m.fs, TRANS_CREDITS(m.fs));
		if (!err)
			err = buf_get(&t, m.fs->roots[TFS_TREE_FS].addr, BUF_NODE, &b);
		if (!err)
			err = buf_modify(&t, b);
		if (!err)
			err = -ENOSPC;
		buf_put(b);
		b = NULL;
	} while (trans_again(&t, &err));
	cr_assert_eq(err, -ENOSPC);
	cr_assert_eq(fx_item_set(&m, 2, 1, 100), -ENOSPC);
	cr_assert_eq(journal_commit_all(m.fs), -ENOSPC);
	cr_assert_eq(tfs_close(m.fs), -ENOSPC);
	m.fs = NULL;
	cr_assert_eq(tfs_super_read(m.dev, 0, &s, &g, m.why, sizeof(m.why)), 0);
	cr_assert(le32_get(s.state) & TFS_STATE_ERRORS, "marked");
	cr_assert_eq(fx_bare_open(&m), 0);
	cr_assert_eq(fx_item_get(&m, 1), 1);
	fx_bare_destroy(&m);
}

/* A commit that ran out of memory, at any point, leaves nothing of itself in the superblock
 * either. */
Test(journal, no_memory_for_a_commit)
{
	uint64_t root, k, nth;
	struct fixture m;
	bool failed = true;

	for (nth = 1; failed; nth++) {
		fx_bare_create(&m);
		for (k = 0; k < 3; k++)
			cr_assert_eq(fx_item_set(&m, k, 7, 100), 0);
		cr_assert_eq(journal_commit_all(m.fs), 0);
		root = m.fs->roots[TFS_TREE_FS].addr;
		for (; m.fs->roots[TFS_TREE_FS].addr == root; k++)
			cr_assert_eq(fx_item_set(&m, k, 7, 500), 0);
		tl_alloc_fail_nth(nth);
		failed = journal_commit_all(m.fs) != 0;
		tl_alloc_fail_nth(0);
		cr_assert_eq(tfs_close(m.fs) != 0, failed);
		cr_assert_eq(fx_bare_open(&m), 0, "%s", m.why);
		cr_assert_eq(m.fs->roots[TFS_TREE_FS].addr == root, failed, "allocation %llu",
			     (unsigned long long)nth);
		cr_assert_eq(fx_item_get(&m, 0), 7);
		cr_assert_eq(fx_item_get(&m, k - 1), failed ? -ENOENT : 7);
		fx_bare_destroy(&m);
	}
	cr_assert_gt(nth, 3);
}
