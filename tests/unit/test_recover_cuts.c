/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Something the file system has twice is damaged, and then the power goes while a mount mends it. */
#include <criterion/criterion.h>
#include <string.h>

#include "../lib/crashdev.h"
#include "../lib/metafix.h"

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

static uint8_t *at(struct metafix *m, uint64_t off)
{
	return (uint8_t *)bdev_mem_data(m->dev) + off;
}

/* Item 1 is 7 in the log (@pending) or at home. */
static void make(struct metafix *m, struct places *p, bool pending)
{
	const struct tfs_geom *g;
	int i;

	metafix_make(m);
	g = &m->fs->geom;
	p->super = g->super_block << g->blkbits;
	for (i = 0; i < 2; i++) {
		cr_assert(g->super_copies[i]);
		p->copy[i] = g->super_copies[i] << g->blkbits;
		p->header[i] = (g->journal_start << g->blkbits) + (uint64_t)i * TFS_LOG_BLOCK;
	}
	cr_assert_eq(metafix_set(m, 1, 3, 100), 0);
	metafix_close(m);
	memcpy(p->old_super, at(m, p->super), sizeof(p->old_super));
	memcpy(p->old_header, at(m, p->header[1]), sizeof(p->old_header));
	cr_assert_eq(metafix_open(m), 0, "%s", m->why);
	cr_assert_eq(metafix_set(m, 1, 5, 100), 0);
	cr_assert_eq(journal_checkpoint(m->fs), 0);
	cr_assert_eq(metafix_set(m, 1, 7, 100), 0);
	cr_assert_eq(pending ? journal_commit_all(m->fs) : journal_checkpoint(m->fs), 0);
	metafix_crash(m);
}

static void damage(struct metafix *m, const struct places *p, enum damage what)
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

static void holds(struct metafix *m, enum damage what, bool pending, enum crash_mode mode, uint64_t cut)
{
	cr_assert_eq(metafix_open(m), 0, "damage %d, pending %d, mode %d, cut %llu: %s", (int)what, pending, (int)mode,
		     (unsigned long long)cut, m->why);
	cr_assert_eq(metafix_get(m, 1), 7, "damage %d, pending %d, mode %d, cut %llu: the data", (int)what, pending,
		     (int)mode, (unsigned long long)cut);
	metafix_crash(m);
}

/* A cut at every event of a mount that mends @what. */
static void cut_everywhere(struct metafix *m, enum damage what, bool pending, uint64_t *rng)
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
	struct metafix m;
	int what, pending;

	for (pending = 0; pending < 2; pending++) {
		for (what = 0; what < DAMAGES; what++) {
			make(&m, &p, pending);
			damage(&m, &p, (enum damage)what);
			cut_everywhere(&m, (enum damage)what, pending, &rng);
			metafix_free(&m);
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
	struct metafix m;
	uint8_t *copy;
	int which;

	for (which = 0; which < 2; which++) {
		make(&m, &p, true);
		mem = m.dev;
		cd = crashdev_create(bdev_mem_data(mem), mem->size);
		m.dev = crashdev_bdev(cd);
		cr_assert_eq(metafix_open(&m), 0, "%s", m.why);
		copy = tl_alloc_aligned(4096, TFS_LOG_BLOCK);
		memset(copy, 0x5a, TFS_LOG_BLOCK);
		cr_assert_eq(bdev_write(m.dev, copy, TFS_LOG_BLOCK, p.header[which]), 0);
		cr_assert_eq(bdev_flush(m.dev), 0);
		tl_free(copy);
		cr_assert_eq(metafix_set(&m, 2, 9, 100), 0);
		i = crashdev_events(cd);
		cr_assert_eq(journal_checkpoint(m.fs), 0);
		metafix_crash(&m);
		m.dev = mem;
		for (events = crashdev_events(cd); i <= events; i++) {
			crashdev_image(cd, i, CRASH_RUINED, &rng, bdev_mem_data(mem));
			holds(&m, (enum damage)(HEADER_0 + which), true, CRASH_RUINED, i);
		}
		crashdev_destroy(cd);
		metafix_free(&m);
	}
}
