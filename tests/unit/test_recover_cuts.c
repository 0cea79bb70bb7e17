/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fs/journal/recover.c, recover_super.c: something the file system has twice is damaged, and then
 * the power goes while a mount mends it.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "tests/lib/crashdev.h"
#include "tests/lib/faultdev.h"
#include "tests/lib/fixture_bare.h"
#include "tests/lib/random.h"
#include "core/block/bdev.h"
#include "core/lib/util.h"
#include "fs/disk/geom.h"
#include "fs/journal/journal.h"
#include "fsck/check.h"
#include "tallyfs/format.h"

enum damage {
	PRIMARY_FLIPPED,
	PRIMARY_ZEROED,
	PRIMARY_STALE,
	COPY_1,
	COPY_2,
	HEADER_0,
	HEADER_1,
	HEADER_1_STALE,
	DAMAGES,
};

struct places {
	uint64_t super, copy[2], header[2]; /* device bytes */
	uint8_t old_super[TFS_SUPER_BYTES], old_header[TFS_LOG_BLOCK];
};

static uint8_t *at(struct fixture *m, uint64_t off)
{
	return (uint8_t *)bdev_mem_data(m->dev) + off;
}

/* Item 1 is 7 in the log (@pending) or at home. */
static void make(struct fixture *m, struct places *p, bool pending)
{
	const struct tfs_geom *g;
	int i;

	fx_bare_create(m);
	g = &m->fs->geom;
	p->super = g->super_block << g->blkbits;
	for (i = 0; i < 2; i++) {
		cr_assert(g->super_copies[i]);
		p->copy[i] = g->super_copies[i] << g->blkbits;
		p->header[i] = (g->journal_start << g->blkbits) + (uint64_t)i * TFS_LOG_BLOCK;
	}
	cr_assert_eq(fx_item_set(m, 1, 3, 100), 0);
	fx_bare_close(m);
	memcpy(p->old_super, at(m, p->super), sizeof(p->old_super));
	memcpy(p->old_header, at(m, p->header[1]), sizeof(p->old_header));
	cr_assert_eq(fx_bare_open(m), 0, "%s", m->why);
	cr_assert_eq(fx_item_set(m, 1, 5, 100), 0);
	cr_assert_eq(journal_checkpoint(m->fs), 0);
	cr_assert_eq(fx_item_set(m, 1, 7, 100), 0);
	cr_assert_eq(pending ? journal_commit_all(m->fs) : journal_checkpoint(m->fs), 0);
	fx_bare_crash(m);
}

static void damage(struct fixture *m, const struct places *p, enum damage what)
{
	switch (what) {
	case PRIMARY_FLIPPED:
		at(m, p->super)[100] ^= 1;
		break;
	case PRIMARY_ZEROED:
		memset(at(m, p->super), 0, TFS_SUPER_BYTES);
		break;
	case PRIMARY_STALE:
		memcpy(at(m, p->super), p->old_super, TFS_SUPER_BYTES);
		break;
	case COPY_1:
	case COPY_2:
		at(m, p->copy[what - COPY_1])[100] ^= 1;
		break;
	case HEADER_0:
	case HEADER_1:
		at(m, p->header[what - HEADER_0])[20] ^= 1;
		break;
	case HEADER_1_STALE:
	default:
		memcpy(at(m, p->header[1]), p->old_header, TFS_LOG_BLOCK);
	}
}

static void holds(struct fixture *m, enum damage what, bool pending, enum crash_mode mode,
		  uint64_t cut)
{
	cr_assert_eq(fx_bare_open(m), 0, "damage %d, pending %d, mode %d, cut %llu: %s", (int)what,
		     pending, (int)mode, (unsigned long long)cut, m->why);
	cr_assert_eq(fx_item_get(m, 1), 7, "damage %d, pending %d, mode %d, cut %llu: the data",
		     (int)what, pending, (int)mode, (unsigned long long)cut);
	fx_bare_crash(m);
}

/* A cut at every event of a mount that mends @what. */
static void cut_everywhere(struct fixture *m, enum damage what, bool pending, uint64_t *rng)
{
	struct crashdev *cd;
	struct bdev *mem = m->dev;
	uint64_t i, events;
	int mode;
	void *before = tl_alloc(mem->size);

	memcpy(before, bdev_mem_data(mem), mem->size);
	for (mode = 0; mode < CRASH_MODES; mode++) {
		cd = crashdev_create(before, mem->size);
		m->dev = crashdev_bdev(cd);
		holds(m, what, pending, (enum crash_mode)mode, 0);
		m->dev = mem;
		events = crashdev_events(cd);
		cr_assert_geq(events, 4);
		for (i = 0; i <= events; i++) {
			crashdev_image(cd, i, (enum crash_mode)mode, rng, bdev_mem_data(mem));
			holds(m, what, pending, (enum crash_mode)mode, i);
		}
		crashdev_destroy(cd);
	}
	tl_free(before);
}

Test(recover_cuts, one_of_two_is_damaged)
{
	uint64_t rng = test_seed(17);
	struct places p;
	struct fixture m;
	int what, pending;

	for (pending = 0; pending < 2; pending++) {
		for (what = 0; what < DAMAGES; what++) {
			make(&m, &p, pending);
			damage(&m, &p, (enum damage)what);
			cut_everywhere(&m, (enum damage)what, pending, &rng);
			fx_bare_destroy(&m);
		}
	}
}

/* The same while it is mounted: the checkpoint writes the damaged copy first. */
Test(recover_cuts, header_damaged_while_mounted)
{
	uint64_t rng = test_seed(18), i, events;
	struct crashdev *cd;
	struct places p;
	struct bdev *mem;
	struct fixture m;
	uint8_t *copy;
	int which;

	for (which = 0; which < 2; which++) {
		make(&m, &p, true);
		mem = m.dev;
		cd = crashdev_create(bdev_mem_data(mem), mem->size);
		m.dev = crashdev_bdev(cd);
		cr_assert_eq(fx_bare_open(&m), 0, "%s", m.why);
		copy = tl_alloc_aligned(4096, TFS_LOG_BLOCK);
		memset(copy, 0x5a, TFS_LOG_BLOCK);
		cr_assert_eq(bdev_write(m.dev, copy, TFS_LOG_BLOCK, p.header[which]), 0);
		cr_assert_eq(bdev_flush(m.dev), 0);
		tl_free(copy);
		cr_assert_eq(fx_item_set(&m, 2, 9, 100), 0);
		i = crashdev_events(cd);
		cr_assert_eq(journal_checkpoint(m.fs), 0);
		fx_bare_crash(&m);
		m.dev = mem;
		for (events = crashdev_events(cd); i <= events; i++) {
			crashdev_image(cd, i, CRASH_RUINED, &rng, bdev_mem_data(mem));
			holds(&m, (enum damage)(HEADER_0 + which), true, CRASH_RUINED, i);
		}
		crashdev_destroy(cd);
		fx_bare_destroy(&m);
	}
}

/* A copy of the superblock that can't be written: the other and the primary do. */
Test(recover_cuts, copy_that_cannot_be_written)
{
	struct places p;
	struct fixture m;
	struct bdev *mem, *dev;
	int which, damaged;

	for (which = 0; which < 2; which++) {
		for (damaged = 0; damaged < 2; damaged++) {
			make(&m, &p, false);
			if (damaged)
				damage(&m, &p, (enum damage)(COPY_1 + which));
			mem = m.dev;
			dev = faultdev_create(mem);
			faultdev_plan(dev, .kind = FAULT_ERROR, .ops = FAULT_WRITE,
				      .off = p.copy[which], .len = 512, .times = FAULT_ALWAYS);
			m.dev = dev;
			cr_assert_eq(fx_bare_open(&m), 0, "%s", m.why);
			cr_assert_eq(fx_item_set(&m, 1, 8, 100), 0);
			cr_assert_eq(journal_checkpoint(m.fs), 0);
			cr_assert(atomic_load(&m.fs->inconsistent), "told to fsck");
			cr_assert_eq(fx_item_set(&m, 1, 7, 100), 0);
			fx_bare_close(&m);
			m.dev = mem;
			holds(&m, COPY_1, false, CRASH_MODES, 0);
			m.dev = dev; /* which goes with the one below it */
			fx_bare_destroy(&m);
		}
	}
}

/* ---- what fsck says of it ---- */

enum { OLD, LAST, BAD }; /* what is in a superblock's place */

static void count_copies(void *arg, const struct check_problem *p)
{
	unsigned int *n = arg;

	if (p->severity == CHECK_ERROR &&
	    (!strncmp(p->code, "super-", 6) || !strcmp(p->code, "journal-header")))
		(*n)++;
}

static bool found_clean(struct fixture *m)
{
	unsigned int n = 0;
	struct check_opts co = { .report = count_copies, .arg = &n };
	struct check_result res;

	cr_assert_eq(tfs_check_device(m->dev, &co, &res, m->why, sizeof(m->why)), 0, "%s", m->why);
	return !n;
}

/* What a cut within a checkpoint can leave: see recover_super.c. */
static bool honest(const int *is, int header, bool pending)
{
	if (!pending)
		return is[0] == LAST && is[1] == LAST && is[2] == LAST && header < 0;
	if (is[0] == BAD)
		return is[1] == LAST && is[2] == LAST;
	return header < 0 || is[0] == LAST;
}

static void put_super(struct fixture *m, uint64_t place, int is, const uint8_t *old,
		      const uint8_t *last)
{
	memcpy(at(m, place), is == OLD ? old : last, TFS_SUPER_BYTES);
	if (is == BAD)
		at(m, place)[100] ^= 1;
}

Test(recover_cuts, what_a_cut_leaves_is_clean)
{
	static uint8_t old[TFS_SUPER_BYTES], last[TFS_SUPER_BYTES];
	int is[3], i, all, header, pending;
	struct places p;
	struct fixture m;
	struct bdev *good;

	for (pending = 0; pending < 2; pending++) {
		make(&m, &p, true);
		memcpy(old, at(&m, p.super), sizeof(old));
		fx_bare_destroy(&m);
		make(&m, &p, false);
		memcpy(last, at(&m, p.super), sizeof(last));
		fx_bare_destroy(&m);
		make(&m, &p, pending);
		good = fx_copy_dev(m.dev);
		for (all = 0; all < 3 * 3 * 3 * 3; all++) {
			memcpy(bdev_mem_data(m.dev), bdev_mem_data(good), good->size);
			for (i = 0; i < 3; i++)
				is[i] = all / (i == 0 ? 1 : i == 1 ? 3 : 9) % 3;
			header = all / 27 - 1;
			for (i = 0; i < 3 && (pending ? is[i] == BAD : is[i] != LAST); i++)
				;
			/* no file system at all; or only the copy that nobody finds without the
			 * primary (groups of 1 MiB) */
			if (i == 3 || (is[0] == BAD && is[2] == BAD) ||
			    (!pending && is[0] == BAD && is[2] == OLD))
				continue;
			put_super(&m, p.super, is[0], old, last);
			put_super(&m, p.copy[0], is[1], old, last);
			put_super(&m, p.copy[1], is[2], old, last);
			if (header >= 0)
				at(&m, p.header[header])[20] ^= 1;
			cr_assert_eq(found_clean(&m), honest(is, header, pending),
				     "primary %d, copies %d and %d, header %d, pending %d: %d",
				     is[0], is[1], is[2], header, pending, found_clean(&m));
			holds(&m, (enum damage)all, pending, CRASH_MODES, 0);
		}
		bdev_close(good);
		fx_bare_destroy(&m);
	}
}
