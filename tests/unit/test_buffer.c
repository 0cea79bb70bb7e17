/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fs/journal/buffer.c, bufcache.c, buffer_read.c, image.c: the buffer cache: verification, copy on
 * write, ranges, eviction.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "tests/lib/fixture_bare.h"
#include "core/block/bdev.h"
#include "core/block/guard.h"
#include "core/lib/util.h"
#include "fs/disk/geom.h"
#include "fs/disk/group.h"
#include "fs/disk/super.h"
#include "fs/journal/buffer.h"
#include "fs/journal/bufcache.h"
#include "fs/journal/checkpoint.h"
#include "fs/journal/journal.h"
#include "fs/journal/journal_priv.h"
#include "fs/journal/trans.h"
#include "fs/state/fs.h"
#include "tallyfs/format.h"

static struct tfs_bufcache_stats stats(struct fixture *m)
{
	struct tfs_bufcache_stats st;

	bufcache_get_stats(m->fs, &st);
	return st;
}

/* Load a block in a section of its own.  0 or -errno. */
static int fetch(struct fixture *m, uint64_t block, enum tfs_buf_kind kind)
{
	struct tfs_trans t = { 0 };
	struct tfs_buf *b;
	int err;

	do {
		trans_read_begin(&t, m->fs);
		err = buf_get(&t, block, kind, &b);
		if (!err)
			buf_put(b);
	} while (trans_again(&t, &err));
	return err;
}

static uint8_t *home(struct fixture *m, uint64_t block)
{
	return (uint8_t *)bdev_mem_data(m->dev) + block * 4096;
}

static void reopen(struct fixture *m)
{
	fx_bare_close(m);
	cr_assert_eq(fx_bare_open(m), 0, "%s", m->why);
}

Test(buffer, miss_then_hit)
{
	struct tfs_buf *b = NULL;
	struct tfs_trans t = { 0 };
	struct fixture m;
	uint64_t root;
	int err;

	fx_bare_create(&m);
	root = m.fs->roots[TFS_TREE_FS].addr;
	trans_read_begin(&t, m.fs);
	err = buf_get(&t, root, BUF_NODE, &b);
	cr_assert_eq(err, -TRANS_RESTART);
	cr_assert(trans_again(&t, &err));
	trans_read_begin(&t, m.fs);
	err = buf_get(&t, root, BUF_NODE, &b);
	cr_assert_eq(err, 0);
	cr_assert_eq(le64_get(((struct tfs_node *)buf_data(b))->addr), root);
	buf_put(b);
	cr_assert(!trans_again(&t, &err));
	cr_assert_eq(stats(&m).sync_reads, 0);
	fx_bare_destroy(&m);
}

/* One flipped bit anywhere in any kind of block: an error, counted, and (by default) no more
 * writing. */
Test(buffer, flipped_bits)
{
	enum tfs_buf_kind kind;
	struct fixture m;
	uint64_t block;
	unsigned int i;

	for (kind = BUF_GROUP; kind <= BUF_NODE; kind++) {
		for (i = 0; i < 4; i++) {
			fx_bare_create(&m);
			cr_assert_eq(fx_item_set(&m, 1, 1, 100), 0);
			reopen(&m);
			block = kind == BUF_NODE     ? m.fs->roots[TFS_TREE_FS].addr
				: kind == BUF_GROUP  ? tfs_group_header_block(&m.fs->geom, 0)
				: kind == BUF_BITMAP ? tfs_group_bitmap_block(&m.fs->geom, 0)
						     : tfs_group_tuple_block(&m.fs->geom, 0, 0);
			home(&m, block)[i * 1361] ^= (uint8_t)(1 << i);
			cr_assert_eq(fetch(&m, block, kind), -EUCLEAN, "%s", buf_kind_name(kind));
			cr_assert_eq(atomic_load(&m.fs->mismatches), 1);
			cr_assert(atomic_load(&m.fs->read_only));
			cr_assert_eq(fx_item_set(&m, 2, 1, 1), -EROFS);
			home(&m, block)[i * 1361] ^= (uint8_t)(1 << i);
			cr_assert_eq(fetch(&m, block, kind), 0, "nothing wrong was kept");
			fx_bare_destroy(&m);
		}
	}
}

Test(buffer, errors_continue)
{
	struct tfs_super s;
	struct tfs_geom g;
	struct fixture m;
	uint64_t root;

	fx_bare_create(&m);
	m.opts.errors = TFS_ERRORS_CONTINUE;
	reopen(&m);
	root = m.fs->roots[TFS_TREE_FS].addr;
	home(&m, root)[99] ^= 1;
	cr_assert_eq(fx_item_set(&m, 1, 1, 1), -EUCLEAN);
	cr_assert(!atomic_load(&m.fs->read_only));
	home(&m, root)[99] ^= 1;
	cr_assert_eq(fx_item_set(&m, 1, 1, 1), 0);
	fx_bare_close(&m);
	cr_assert_eq(tfs_super_read(m.dev, 0, &s, &g, m.why, sizeof(m.why)), 0);
	cr_assert(le32_get(s.state) & TFS_STATE_ERRORS);
	cr_assert_geq(le64_get(s.mismatches), 1);
	fx_bare_destroy(&m);
}

Test(buffer, pointers_to_nowhere)
{
	struct fixture m;

	fx_bare_create(&m);
	m.opts.errors = TFS_ERRORS_CONTINUE;
	reopen(&m);
	cr_assert_eq(fetch(&m, UINT64_MAX, BUF_NODE), -EUCLEAN);
	cr_assert_eq(fetch(&m, m.fs->geom.total_blocks, BUF_NODE), -EUCLEAN);
	cr_assert_eq(fetch(&m, m.fs->geom.journal_start, BUF_NODE), -EUCLEAN);
	cr_assert_eq(fetch(&m, tfs_group_header_block(&m.fs->geom, 1), BUF_NODE), -EUCLEAN);
	cr_assert_eq(fetch(&m, m.fs->geom.total_blocks - 2, BUF_NODE), -EUCLEAN, "never written");
	cr_assert_eq(fetch(&m, m.fs->roots[0].addr, BUF_BITMAP), -EUCLEAN);
	cr_assert_eq(fetch(&m, m.fs->geom.super_block, BUF_NODE), -EUCLEAN);
	cr_assert_eq(fx_item_get(&m, 1), -ENOENT, "all is well");
	fx_bare_destroy(&m);
}

Test(buffer, never_written)
{
	uint8_t bitmap[4096];
	struct tfs_trans t = { 0 };
	struct tfs_buf *b;
	struct fixture m;
	int err;

	fx_bare_create(&m);
	cr_assert_lt(m.fs->cnt.groups_init, 7);
	memset(home(&m, tfs_group_start(&m.fs->geom, 6)), 0xaa, 1 << 20); /* left over */
	group_fresh_bitmap(&m.fs->geom, 6, bitmap);
	do {
		trans_read_begin(&t, m.fs);
		err = buf_get(&t, tfs_group_bitmap_block(&m.fs->geom, 6), BUF_BITMAP, &b);
		if (!err) {
			cr_assert_eq(memcmp(buf_data(b), bitmap, 4096), 0);
			buf_put(b);
		}
	} while (trans_again(&t, &err));
	cr_assert_eq(err, 0);
	cr_assert_eq(fetch(&m, tfs_group_tuple_block(&m.fs->geom, 6, 0), BUF_TUPLE), 0);
	cr_assert_eq(fetch(&m, tfs_group_header_block(&m.fs->geom, 6), BUF_GROUP), 0);
	fx_bare_destroy(&m);
}

/* A vouched-for bitmap that has the tuple blocks free (a hostile image). */
Test(buffer, bitmap_that_gives_structures_away)
{
	struct tfs_group *h;
	struct fixture m;
	uint8_t *bmp;

	fx_bare_create(&m);
	cr_assert_eq(fx_item_set(&m, 1, 1, 1), 0);
	reopen(&m);
	h = (struct tfs_group *)home(&m, tfs_group_header_block(&m.fs->geom, 0));
	bmp = home(&m, tfs_group_bitmap_block(&m.fs->geom, 0));
	bmp[2] = 0;
	h->bitmap.flags = le32_of(TFS_VOUCH_WRITTEN);
	h->bitmap.guard = le64_of(group_guard(TFS_GUARD_XXH3, m.fs->seed, bmp, 4096));
	h->csum = le64_of(group_csum(h, m.fs->seed));
	cr_assert_eq(fetch(&m, tfs_group_bitmap_block(&m.fs->geom, 0), BUF_BITMAP), -EUCLEAN);
	fx_bare_destroy(&m);
}

/* Change bytes of the root in a section. */
static int touch(struct fixture *m, const struct tfs_buf_range *r, unsigned int n,
		 struct tfs_buf **out)
{
	struct tfs_trans t = { 0 };
	struct tfs_buf *b;
	unsigned int i;
	int err;

	do {
		err = trans_begin(&t, m->fs, TRANS_CREDITS(m->fs));
		if (!err)
			err = buf_get(&t, m->fs->roots[TFS_TREE_FS].addr, BUF_NODE, &b);
		if (err)
			continue;
		err = buf_modify(&t, b);
		for (i = 0; i < n && !err; i++)
			buf_log(&t, b, r[i].off, r[i].len);
		*out = b;
		buf_put(b);
	} while (trans_again(&t, &err));
	return err;
}

Test(buffer, ranges)
{
	static const struct tfs_buf_range near[] = { { 1000, 10 }, { 1020, 10 }, { 900, 4 } };
	static const struct tfs_buf_range bridge[] = { { 904, 100 } };
	static const struct tfs_buf_range many[] = { { 0, 8 },	  { 200, 8 },  { 400, 8 },
						     { 600, 8 },  { 800, 8 },  { 1200, 8 },
						     { 1400, 8 }, { 1600, 8 }, { 2000, 8 } };
	struct tfs_buf *b;
	struct fixture m;

	fx_bare_create(&m);
	cr_assert_eq(touch(&m, near, 3, &b), 0);
	cr_assert_eq(b->nr_ranges, 2);
	cr_assert_eq(b->ranges[0].off, 1000);
	cr_assert_eq(b->ranges[0].len, 32);
	cr_assert_eq(touch(&m, bridge, 1, &b), 0);
	cr_assert_eq(b->nr_ranges, 1);
	cr_assert_eq(b->ranges[0].off, 896);
	cr_assert_eq(b->ranges[0].len, 1032 - 896);
	cr_assert_eq(touch(&m, many, ARRAY_SIZE(many), &b), 0);
	cr_assert(b->whole);
	cr_assert_eq(b->nr_ranges, 0);
	fx_bare_destroy(&m);
}

/* What was committed is what goes home, whatever the running transaction has done to it since. */
Test(buffer, committed_images_do_not_change)
{
	struct fixture m;
	struct tfs_buf *b;
	uint64_t root;
	void *frozen;

	fx_bare_create(&m);
	root = m.fs->roots[TFS_TREE_FS].addr;
	cr_assert_eq(fx_item_set(&m, 1, 1, 100), 0);
	cr_assert_eq(journal_commit_all(m.fs), 0);
	cr_assert_eq(touch(&m, NULL, 0, &b), 0);
	cr_assert(b->committed && b->image != b->committed);
	frozen = tl_alloc(4096);
	memcpy(frozen, b->committed->data, 4096);
	cr_assert_eq(fx_item_set(&m, 1, 2, 100), 0);
	cr_assert_eq(memcmp(frozen, b->committed->data, 4096), 0);
	/* only the checkpoint, no commit */
	m.fs->journal->busy = true;
	cr_assert_eq(journal_checkpoint_once(m.fs->journal), 0);
	m.fs->journal->busy = false;
	cr_assert_eq(memcmp(frozen, home(&m, root), 4096), 0);
	fx_bare_crash(&m);
	cr_assert_eq(fx_bare_open(&m), 0);
	cr_assert_eq(fx_item_get(&m, 1), 1);
	tl_free(frozen);
	fx_bare_destroy(&m);
}

Test(buffer, allocation_over_what_is_in_use)
{
	struct tfs_buf *b, *c = NULL;
	struct tfs_trans t = { 0 };
	struct fixture m;
	int err;

	fx_bare_create(&m);
	m.opts.errors = TFS_ERRORS_CONTINUE;
	reopen(&m);
	do {
		err = trans_begin(&t, m.fs, TRANS_CREDITS(m.fs));
		if (!err)
			err = buf_get(&t, m.fs->roots[TFS_TREE_FS].addr, BUF_NODE, &b);
		if (!err) {
			err = buf_new(&t, b->block, BUF_NODE, &c);
			cr_assert(!t.modified);
			buf_put(b);
		}
	} while (trans_again(&t, &err));
	cr_assert_eq(err, -EUCLEAN);
	cr_assert_eq(fx_item_set(&m, 1, 1, 1), 0, "nothing had changed");
	fx_bare_destroy(&m);
}

/* The cache stays within its bound, and nothing is lost by eviction. */
Test(buffer, eviction)
{
	struct tfs_journal_stats js;
	struct fixture m;
	uint64_t i;

	fx_bare_create(&m);
	m.fs->bufs->limit = 64 << 10;
	for (i = 0; i < 2000; i++) {
		cr_assert_eq(fx_item_set(&m, i, (uint8_t)i, 500), 0);
		if (i % 20 == 0)
			cr_assert_eq(journal_checkpoint(m.fs), 0);
	}
	cr_assert_eq(journal_checkpoint(m.fs), 0);
	for (i = 0; i < 2000; i++) {
		cr_assert_eq(fx_item_get(&m, i * 7 % 2000), (uint8_t)(i * 7 % 2000));
		cr_assert(i < 200 || stats(&m).bytes <= 64 << 10);
	}
	cr_assert_gt(stats(&m).evicted, 100);
	journal_get_stats(m.fs, &js);
	cr_assert_eq(js.pinned_bytes, 0);
	fx_bare_destroy(&m);
}

/* Too small to hold what a section needs: it is read on the spot in the end. */
Test(buffer, hopeless_cache)
{
	struct fixture m;
	uint64_t i;

	fx_bare_create(&m);
	for (i = 0; i < 400; i++)
		cr_assert_eq(fx_item_set(&m, i, (uint8_t)i, 500), 0);
	reopen(&m);
	m.fs->bufs->limit = 1;
	for (i = 0; i < 400; i += 37)
		cr_assert_eq(fx_item_get(&m, i), (uint8_t)i);
	cr_assert_eq(fx_item_set(&m, 1, 9, 500), 0);
	cr_assert_eq(fx_item_get(&m, 1), 9);
	fx_bare_destroy(&m);
}

Test(buffer, no_memory_in_a_section)
{
	struct fixture m;
	uint64_t n;
	int err = -1;

	for (n = 1; err; n++) {
		fx_bare_create(&m);
		tl_alloc_fail_nth(n);
		err = fx_item_set(&m, 1, 1, 500);
		if (!err)
			err = journal_commit_all(m.fs);
		tl_alloc_fail_nth(0);
		cr_assert(!err || err == -ENOMEM, "%d", err);
		fx_bare_crash(&m);
		cr_assert_eq(fx_bare_open(&m), 0, "%s", m.why);
		cr_assert_eq(fx_item_get(&m, 1), err ? -ENOENT : 1);
		fx_bare_destroy(&m);
	}
	cr_assert_gt(n, 5);
}
