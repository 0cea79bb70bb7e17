/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A disk that fails honestly: reads, writes or flushes say EIO, the n-th one alone or all from the
 * n-th on.
 *
 * In a workload (tests/lib/ledger_work.c), which then ends in one of three ways: the disk is good
 * again and the mount goes on; it stays bad until the unmount; the power is cut.  Or while a log is
 * replayed that a power cut has left, and then, after another cut, while that is replayed.  In the
 * end the disk is good, and a mount must succeed: what was acknowledged is there, what was not may
 * be, nothing else is, and fsck finds nothing amiss but what was told before (may_find()).
 *
 * TALLYFS_OPS: how many commands of each kind and end fail, spread evenly; as many as there are:
 * all.  A case is printed as names/4k/flush-always/cut/57 (workload, blocks, kind of error, end,
 * number of the command); TALLYFS_CASE=names/4k runs all cases whose names begin so.
 */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core/block/bdev.h"
#include "core/lib/util.h"
#include "fs/journal/journal.h"
#include "tests/lib/crashdev.h"
#include "tests/lib/faultdev.h"
#include "tests/lib/ledger_case.h"
#include "tests/lib/random.h"

static const struct {
	const char *name;
	unsigned int op; /* enum fault_op */
	unsigned int times;
} kinds[] = {
	{ "read-once", FAULT_READ, 1 },
	{ "read-always", FAULT_READ, FAULT_ALWAYS },
	{ "write-once", FAULT_WRITE, 1 },
	{ "write-always", FAULT_WRITE, FAULT_ALWAYS },
	{ "flush-once", FAULT_FLUSH, 1 },
	{ "flush-always", FAULT_FLUSH, FAULT_ALWAYS },
	{ "any-always", FAULT_IO | FAULT_FLUSH, FAULT_ALWAYS },
};

enum ending { MENDED, UNMOUNTED, CUT, IN_RECOVERY, NR_ENDINGS };
static const char *const ending_name[] = { "mended", "unmounted", "cut", "recovery" };

enum verdict { NO_ERROR, OVERCOME, TOLD, DAMAGE_TOLD, WRONG, NR_VERDICTS };
static const char *const verdict_name[] = { "no error", "overcome", "told", "fsck tells too",
					    "WRONG" };

struct error {
	unsigned int kind; /* of kinds[] */
	enum ending end;
	uint64_t n; /* of the command, from 1; 0: no error */
};

/* What a device was asked for. */
struct commands {
	uint64_t reads, writes, flushes;
};

/* One case under way. */
struct run {
	struct ledger_image *img;
	struct ledger l;
	struct crashdev *cd;
	uint64_t rng;
	uint64_t struck;
	bool ruined;	      /* the last cut: whatever was being written */
	struct commands seen; /* by the last device */
};

/* ---- devices ---- */

/* The disk, as it is in img->mem now, and the errors over it. */
static void plug_in(struct run *r, const struct error *e, uint64_t n)
{
	r->cd = crashdev_create(bdev_mem_data(r->img->mem), r->img->mem->size);
	r->l.dev = faultdev_borrow(crashdev_bdev(r->cd));
	if (n)
		faultdev_plan(r->l.dev, .kind = FAULT_ERROR, .ops = kinds[e->kind].op, .nth = n,
			      .times = kinds[e->kind].times);
}

/* Into img->mem: what a cut after @events has left. */
static void unplug(struct run *r, uint64_t events, enum crash_mode mode)
{
	r->struck += faultdev_struck(r->l.dev, NULL, NULL);
	r->seen.reads = faultdev_reads(r->l.dev);
	r->seen.writes = faultdev_writes(r->l.dev);
	r->seen.flushes = faultdev_flushes(r->l.dev);
	r->ruined = mode == CRASH_RUINED;
	bdev_close(r->l.dev);
	crashdev_image(r->cd, events, mode, &r->rng, bdev_mem_data(r->img->mem));
	crashdev_destroy(r->cd);
	r->l.dev = r->img->mem;
}

static enum crash_mode any_mode(struct run *r)
{
	return (enum crash_mode)(test_rand(&r->rng) % CRASH_MODES);
}

/* ---- what comes before the last mount ---- */

static void work(struct run *r, const struct error *e)
{
	plug_in(r, e, e->n);
	if (ledger_mount(&r->l)) {
		ledger_error(&r->l, "mount", -EIO);
		unplug(r, crashdev_events(r->cd), any_mode(r));
		return;
	}
	ledger_run(&r->l, r->img->work, r->img->work->rounds);
	ledger_judge(&r->l, false);
	if (e->end == MENDED) {
		r->struck += faultdev_struck(r->l.dev, NULL, NULL);
		faultdev_clear(r->l.dev);
		ledger_sync(&r->l);
		ledger_judge(&r->l, false);
	}
	if (e->end == CUT)
		ledger_crash(&r->l);
	else
		ledger_unmount(&r->l);
	unplug(r, crashdev_events(r->cd), any_mode(r));
}

/* A log to be replayed: the cut comes while work that nobody has been promised is made durable. */
static void leave_log(struct run *r)
{
	uint64_t from;

	plug_in(r, NULL, 0);
	FX_OK(ledger_mount(&r->l));
	ledger_run(&r->l, r->img->work, 2);
	from = crashdev_events(r->cd);
	ledger_run_unsynced(&r->l, r->img->work);
	ledger_crash(&r->l);
	FX_IS(r->l.errors, 0);
	unplug(r, from + test_rand(&r->rng) % (crashdev_events(r->cd) - from + 1), any_mode(r));
}

/* A mount, in which the @n-th command fails and that a cut ends, at any moment. */
static void recovery(struct run *r, const struct error *e, uint64_t n)
{
	plug_in(r, e, n);
	if (ledger_mount(&r->l)) {
		ledger_error(&r->l, "mount", -EIO);
	} else {
		ledger_judge(&r->l, true);
		ledger_crash(&r->l);
	}
	unplug(r, test_rand(&r->rng) % (crashdev_events(r->cd) + 1), any_mode(r));
}

/* ---- one case ---- */

static const char *name_case(const struct ledger_image *img, const struct error *e)
{
	return ledger_case_name(img, "%s/%s/%llu", kinds[e->kind].name, ending_name[e->end],
				(unsigned long long)e->n);
}

/*
 * What fsck may find before the next mount mends it.  When a command has failed: of what there is
 * several times, one that could not be written, or was being mended when the power went, is not as
 * the others.  When the cut has ruined a whole sector: the last header, with the log empty
 * (fs/journal/recover_super.c).
 */
static bool may_find(const struct run *r, const char *codes)
{
	static const char *const mended[] = { "journal-header", "super-stale", "super-bad" };
	const char *end;
	size_t i, len;

	if (!r->struck)
		return r->ruined && !strcmp(codes, mended[0]);
	for (; *codes; codes = end + (*end != '\0')) {
		end = codes + strcspn(codes, " ");
		len = (size_t)(end - codes);
		for (i = 0; i < ARRAY_SIZE(mended); i++)
			if (strlen(mended[i]) == len && !memcmp(codes, mended[i], len))
				break;
		if (i == ARRAY_SIZE(mended))
			return false;
	}
	return true;
}

/* The disk is good from now on. */
static enum verdict last_mount(struct run *r, char *codes, size_t len)
{
	struct ledger *l = &r->l;
	unsigned int before = l->errors;
	int64_t amiss = ledger_fsck(r->img->mem, codes, len);

	if (ledger_mount(l)) {
		ledger_wrong(l, "does not mount", -1, 0);
		return WRONG;
	}
	ledger_judge(l, true);
	ledger_run(l, r->img->work, 1);
	ledger_judge(l, false);
	ledger_unmount(l);
	if (l->errors != before)
		ledger_wrong(l, "errors on a good disk", -1, l->errors - before);
	if (amiss && !may_find(r, codes))
		ledger_wrong(l, "fsck is not content", -1, (uint64_t)amiss);
	if (ledger_fsck(r->img->mem, NULL, 0))
		ledger_wrong(l, "fsck is not content afterwards", -1, 0);
	return l->wrong	    ? WRONG
	       : !r->struck ? NO_ERROR
	       : amiss	    ? DAMAGE_TOLD
	       : before	    ? TOLD
			    : OVERCOME;
}

static enum verdict one_case(struct ledger_image *img, const struct error *e)
{
	struct run r = { .img = img, .rng = img->begin.rng + e->n * 8 + e->kind };
	const char *name = name_case(img, e);
	char codes[200] = "";
	enum verdict v;

	ledger_case_begin(img, &r.l);
	if (e->end == IN_RECOVERY) {
		leave_log(&r);
		recovery(&r, e, e->n);
		recovery(&r, e, 1 + test_rand(&r.rng) % 40);
	} else {
		work(&r, e);
	}
	v = last_mount(&r, codes, sizeof(codes));
	if (v == WRONG || ledger_case_only())
		fprintf(stderr, "%s: %s: %u wrong: %s; %u errors: %s; fsck: %s\n", name,
			verdict_name[v], r.l.wrong, r.l.first_wrong, r.l.errors, r.l.first_error,
			codes);
	ledger_free(&r.l);
	return v;
}

/* ---- all cases ---- */

/* What there is to fail, up to that end, when nothing does. */
static struct commands count(struct ledger_image *img, enum ending end)
{
	const struct error none = { .end = end };
	struct run r = { .img = img, .rng = img->begin.rng };

	ledger_case_name(img, "counting");
	ledger_case_begin(img, &r.l);
	if (end == IN_RECOVERY) {
		leave_log(&r);
		recovery(&r, &none, 0);
	} else {
		work(&r, &none);
	}
	FX_IS(r.l.errors, 0);
	ledger_free(&r.l);
	return r.seen;
}

static uint64_t that_fail(const struct commands *c, unsigned int ops)
{
	return (ops & FAULT_READ ? c->reads : 0) + (ops & FAULT_WRITE ? c->writes : 0) +
	       (ops & FAULT_FLUSH ? c->flushes : 0);
}

static unsigned int sweep_kind(struct ledger_image *img, unsigned int kind, enum ending end,
			       uint64_t all)
{
	uint64_t seen[NR_VERDICTS] = { 0 }, i, nr, first, rng = img->begin.rng + kind;
	struct error e = { .kind = kind, .end = end };
	unsigned int v;

	nr = ledger_case_count(all, kind + end + img->nr);
	first = test_rand(&rng);
	for (i = 0; i < nr; i++) {
		e.n = 1 + (first + i * all / nr) % all;
		if (ledger_case_asked(name_case(img, &e)))
			seen[one_case(img, &e)]++;
	}
	fprintf(stderr, "%s, %s, %s, %s: %llu of %llu:", img->work->name,
		img->size == FX_SMALL1K ? "1k" : "4k", kinds[kind].name, ending_name[end],
		(unsigned long long)nr, (unsigned long long)all);
	for (v = 0; v < NR_VERDICTS; v++)
		fprintf(stderr, "%s %llu %s", v ? "," : "", (unsigned long long)seen[v],
			verdict_name[v]);
	fputc('\n', stderr);
	return (unsigned int)seen[WRONG];
}

struct combination {
	unsigned int work;
	enum fx_size size;
};

ParameterizedTestParameters(io_errors, sweep)
{
	static struct combination c[64];
	size_t nr = 0;

	for (unsigned int w = 0; w < ledger_nr_works; w++) {
		c[nr++] = (struct combination){ w, FX_SMALL };
		c[nr++] = (struct combination){ w, FX_SMALL1K };
	}
	return cr_make_param_array(struct combination, c, nr);
}

ParameterizedTest(struct combination *c, io_errors, sweep)
{
	struct ledger_image img;
	unsigned int failures = 0;

	/* Criterion runs no .init for these */
	fx_init();
	ledger_case_init();
	ledger_image_create(&img, &ledger_works[c->work], c->size);
	for (unsigned int end = 0; end < NR_ENDINGS; end++) {
		struct commands all = count(&img, (enum ending)end);

		for (unsigned int kind = 0; kind < ARRAY_SIZE(kinds); kind++)
			failures += sweep_kind(&img, kind, (enum ending)end,
					       that_fail(&all, kinds[kind].op));
	}
	ledger_image_destroy(&img);
	fx_exit();
	cr_assert_eq(failures, 0);
}
