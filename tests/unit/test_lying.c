/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A disk that lies and goes on living.
 *
 * A workload (tests/lib/ledger_work.c) runs again and again on the same image, and each time
 * another one of its write commands is a lie: lost, read once as it was before, delivered at
 * another place, torn at a sector, read back with a flipped bit once or always.  The mount goes on
 * and all is read; it ends with an unmount or a crash; fsck looks; the next mount reads everything,
 * writes more until the device is full, reads all again; and so does a third one.  What comes back
 * is right, or an error, or the mount is refused.  Wrong is what no error told of: other bytes,
 * another size, mode, owner, time, attribute or number of links, a name that is not there, or one
 * that should not be.
 *
 * What format 1 cannot know is listed (classes[]) and counted apart; every other wrong answer, hang
 * or crash is a failure.  What fsck calls clean must be read without errors.
 *
 * TALLYFS_OPS: how many lies of each kind and end, spread evenly; as many as there are: all.  A
 * case is printed as names/4k/torn/crash/57/3 (workload, blocks, kind, end, number of the write,
 * variant); TALLYFS_CASE=names/4k runs all cases whose names begin so.
 */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <stdio.h>
#include <stdlib.h>
#include "core/block/bdev.h"
#include "core/lib/util.h"
#include "fs/disk/geom.h"
#include "tests/lib/faultdev.h"
#include "tests/lib/fixture.h"
#include "tests/lib/ledger_case.h"
#include "tests/lib/random.h"

#define MAX_WRITES 4096 /* of a workload */

enum lie_kind { LOST, STALE, MISDIRECTED, TORN, FLIPPED, FLIPPED_ONCE, NR_LIES };
static const struct {
	const char *name;
	enum fault_kind fault;
	bool lasts; /* the medium is not as it should be */
} lies[NR_LIES] = {
	[LOST] = { "lost", FAULT_LOSE, true },
	[STALE] = { "stale", FAULT_STALE, false },
	[MISDIRECTED] = { "misdirected", FAULT_MISDIRECT, true },
	[TORN] = { "torn", FAULT_TEAR, true },
	[FLIPPED] = { "flipped", FAULT_FLIP, true },
	[FLIPPED_ONCE] = { "flipped-once", FAULT_FLIP_ONCE, false },
};

struct lie {
	enum lie_kind kind;
	bool crash;
	uint64_t n;	  /* of the write, from 1; 0: no lie */
	uint64_t variant; /* torn: sectors that arrive; misdirected: where to */
};

enum verdict {
	NO_LIE,	 /* the medium held those bytes already */
	RIGHT,	 /* and nothing is known to be amiss */
	BY_FSCK, /* all that was read is right, and fsck tells */
	ERRORS,
	REFUSED,
	LISTED,
	WRONG,
	NR_VERDICTS
};
static const char *const verdict_name[] = { "no lie", "right",	 "right, fsck tells",
					    "error",  "refused", "listed",
					    "WRONG" };

/* One workload on one image. */
struct rig {
	struct ledger_image img;
	struct tfs_geom geom;
	struct faultdev_write log[MAX_WRITES];
	uint64_t writes;
	unsigned int failures;
};

/* ---- what format 1 cannot know ---- */

/* Bytes [off, off + len) of one command are, together, as they were before. */
static bool header_and_bitmap(const struct tfs_geom *g, uint64_t off, uint64_t len)
{
	for (uint64_t group = 0; group < g->nr_groups; group++) {
		uint64_t header = tfs_group_header_block(g, group) << g->blkbits;

		if (off <= header && off + len > tfs_group_bitmap_block(g, group) << g->blkbits)
			return true;
	}
	return false;
}

static const struct {
	const char *name, *why;
	bool (*is)(const struct tfs_geom *g, uint64_t off, uint64_t len);
} classes[] = {
	{ "header-and-bitmap",
	  "a group header is taken by its own checksum: a command that holds the bitmap (and "
	  "perhaps "
	  "tuple blocks) too takes them back together",
	  header_and_bitmap },
};

/* Of a lie about @off, @len.  NULL: none, it must be noticed. */
static const char *class_of(const struct rig *r, const struct lie *lie, uint64_t off, uint64_t len)
{
	uint64_t at = lie->kind == TORN ? lie->variant * SECTOR_SIZE : 0;

	/* with a flipped bit, or half of one, nothing is as it ever was */
	if (lie->kind == FLIPPED || lie->kind == FLIPPED_ONCE)
		return NULL;
	for (unsigned int i = 0; i < ARRAY_SIZE(classes); i++)
		if (classes[i].is(&r->geom, off + at, len - at))
			return classes[i].name;
	return NULL;
}

/* ---- one case ---- */

static const char *name_case(const struct rig *r, const struct lie *lie)
{
	return ledger_case_name(&r->img, "%s/%s/%llu/%llu", lies[lie->kind].name,
				lie->crash ? "crash" : "unmount", (unsigned long long)lie->n,
				(unsigned long long)lie->variant);
}

/* Another place for a write: that of one of the same length, or anywhere. */
static uint64_t misdirected(const struct rig *r, const struct lie *lie)
{
	const struct faultdev_write *w = &r->log[lie->n - 1], *other;
	uint64_t rng = r->img.begin.rng + lie->n * 2 + lie->variant, at, tries;
	uint64_t block = min_t(uint64_t, w->len, 1ull << r->geom.blkbits);

	for (tries = 0; !lie->variant && tries < 200; tries++) {
		other = &r->log[test_rand(&rng) % r->writes];
		if (other->len == w->len && other->off != w->off)
			return other->off;
	}
	do {
		at = test_rand(&rng) % ((r->img.mem->size - w->len) / block) * block;
	} while (at == w->off);
	return at;
}

static void plan_lie(struct rig *r, const struct lie *lie, struct bdev *dev)
{
	struct fault f = { .kind = lies[lie->kind].fault, .ops = FAULT_WRITE, .nth = lie->n };

	if (!lie->n)
		return;
	if (lie->kind == TORN)
		f.at = lie->variant * SECTOR_SIZE;
	if (lie->kind == MISDIRECTED)
		f.at = misdirected(r, lie);
	faultdev_add(dev, &f);
}

static void end(struct ledger *l, bool crash)
{
	if (crash)
		ledger_crash(l);
	else
		ledger_unmount(l);
}

/* What comes after the mount that was lied to.  False: refused. */
static bool go_on(struct rig *r, struct ledger *l, bool crash)
{
	if (ledger_mount(l))
		return false;
	ledger_judge(l, true);
	ledger_run(l, r->img.work, 2);
	ledger_fill(l);
	ledger_judge(l, false);
	end(l, !crash);
	if (ledger_mount(l))
		return false;
	ledger_judge(l, true);
	ledger_crash(l);
	return true;
}

/* What became of a case. */
struct outcome {
	bool struck, refused, clean; /* clean: said fsck of the medium after the first mount */
	bool later;		     /* an error or refusal since then */
	uint64_t off, len;	     /* of the write that was struck */
};

static enum verdict judged(const struct rig *r, const struct lie *lie, const struct ledger *l,
			   const struct outcome *o)
{
	if (l->wrong)
		return o->struck && class_of(r, lie, o->off, o->len) ? LISTED : WRONG;
	if (!o->struck)
		return o->clean && !o->refused && !l->errors ? NO_LIE : WRONG;
	if (o->clean && o->later && lies[lie->kind].lasts)
		return WRONG;
	return o->refused ? REFUSED : l->errors ? ERRORS : o->clean ? RIGHT : BY_FSCK;
}

/* The first mount, in which the lie is told.  Without one, notes which writes there are. */
static bool lied_to(struct rig *r, struct ledger *l, const struct lie *lie)
{
	plan_lie(r, lie, l->dev);
	if (!lie->n)
		faultdev_log_writes(l->dev, r->log, MAX_WRITES);
	if (ledger_mount(l))
		return false;
	r->geom = l->fs->geom;
	ledger_run(l, r->img.work, r->img.work->rounds);
	ledger_judge(l, false);
	end(l, lie->crash);
	if (!lie->n) {
		r->writes = faultdev_writes(l->dev);
		cr_assert_leq(r->writes, MAX_WRITES);
		faultdev_log_writes(l->dev, NULL, 0);
	}
	return true;
}

/* The same every time, up to the lie. */
static enum verdict one_case(struct rig *r, const struct lie *lie)
{
	struct outcome o = { 0 };
	unsigned int before;
	enum verdict v;
	const char *name = name_case(r, lie);
	struct ledger l;

	ledger_case_begin(&r->img, &l);
	l.dev = faultdev_borrow(r->img.mem);
	o.refused = !lied_to(r, &l, lie);
	o.struck = faultdev_struck(l.dev, &o.off, &o.len);
	/* not later: threads may have left fewer writes than there were without it */
	if (!o.struck)
		faultdev_clear(l.dev);
	o.clean = !ledger_fsck(r->img.mem, NULL, 0);
	before = l.errors;
	if (!o.refused)
		o.refused = o.later = !go_on(r, &l, lie->crash);
	o.later = o.later || l.errors > before;
	ledger_fsck(r->img.mem, NULL, 0); /* whatever it says */
	v = judged(r, lie, &l, &o);
	if (v == WRONG || ledger_case_only())
		fprintf(stderr,
			"%s: %s: %u wrong: %s; %u errors: %s; fsck: %s; %llu bytes at %llu\n", name,
			verdict_name[v], l.wrong, l.first_wrong, l.errors, l.first_error,
			o.clean ? "clean" : "not clean", (unsigned long long)o.len,
			(unsigned long long)o.off);
	bdev_close(l.dev);
	ledger_free(&l);
	return v;
}

/* ---- all cases ---- */

static uint64_t variants(const struct rig *r, enum lie_kind kind, uint64_t n)
{
	return kind == TORN ? r->log[n - 1].len / SECTOR_SIZE - 1 : kind == MISDIRECTED ? 2 : 1;
}

/* The @i-th lie of a kind. */
static struct lie nth_lie(const struct rig *r, enum lie_kind kind, bool crash, uint64_t i)
{
	struct lie lie = { .kind = kind, .crash = crash, .n = 1 };

	while (i >= variants(r, kind, lie.n))
		i -= variants(r, kind, lie.n++);
	lie.variant = kind == TORN ? i + 1 : i; /* none at all is lost */
	return lie;
}

static void sweep_kind(struct rig *r, enum lie_kind kind, bool crash)
{
	uint64_t all = 0, n, i, nr, first, seen[NR_VERDICTS] = { 0 };
	uint64_t rng = r->img.begin.rng + kind * 2 + crash;
	unsigned int v;
	struct lie lie;

	for (n = 1; n <= r->writes; n++)
		all += variants(r, kind, n);
	nr = ledger_case_count(all, kind + crash + r->img.nr);
	first = test_rand(&rng);
	for (i = 0; i < nr; i++) {
		lie = nth_lie(r, kind, crash, (first + i * all / nr) % all);
		if (ledger_case_asked(name_case(r, &lie)))
			seen[one_case(r, &lie)]++;
	}
	r->failures += (unsigned int)seen[WRONG];
	lie.kind = kind;
	fprintf(stderr, "%s, %s, %s, %s: %llu of %llu:", r->img.work->name,
		r->img.size == FX_SMALL1K ? "1k" : "4k", lies[kind].name,
		crash ? "crash" : "unmount", (unsigned long long)nr, (unsigned long long)all);
	for (v = 0; v < NR_VERDICTS; v++)
		fprintf(stderr, "%s %llu %s", v ? "," : "", (unsigned long long)seen[v],
			verdict_name[v]);
	fputc('\n', stderr);
}

static void sweep(const struct ledger_work *work, enum fx_size size)
{
	struct rig *r = calloc(1, sizeof(*r));
	unsigned int kind, crash;

	cr_assert_not_null(r);
	ledger_image_create(&r->img, work, size);
	for (crash = 0; crash < 2; crash++) {
		cr_assert_eq(one_case(r, &(struct lie){ .crash = crash }), NO_LIE);
		for (kind = 0; kind < NR_LIES; kind++)
			sweep_kind(r, (enum lie_kind)kind, crash);
	}
	cr_assert_eq(r->failures, 0);
	ledger_image_destroy(&r->img);
	free(r);
}

/* ---- the table: each workload with each size of blocks ---- */

struct combination {
	unsigned int work;
	enum fx_size size;
};

ParameterizedTestParameters(lying, sweep)
{
	static struct combination c[64];
	size_t nr = 0;

	for (unsigned int w = 0; w < ledger_nr_works; w++) {
		c[nr++] = (struct combination){ w, FX_SMALL };
		c[nr++] = (struct combination){ w, FX_SMALL1K };
	}
	return cr_make_param_array(struct combination, c, nr);
}

ParameterizedTest(struct combination *c, lying, sweep)
{
	/* Criterion runs no .init for these */
	fx_init();
	ledger_case_init();
	sweep(&ledger_works[c->work], c->size);
	fx_exit();
}

Test(lying, what_is_listed)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(classes); i++)
		fprintf(stderr, "listed: %s: %s\n", classes[i].name, classes[i].why);
}
