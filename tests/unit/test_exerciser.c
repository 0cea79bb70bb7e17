/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tests/lib/exercise_*.c: the exercisers on the library: file contents and the name space against
 * models, with power cuts too.  TALLYFS_SEED replays a run, TALLYFS_OPS makes it longer.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include "fs/state/fs.h"
#include "tallyfs/format.h"
#include "tests/lib/exercise_cuts.h"
#include "tests/lib/exercise_lib.h"
#include "tests/lib/random.h"

static struct fixture fx;

TestSuite(exerciser, .timeout = 3000);

struct run {
	enum fx_size size;
	uint64_t seed, ops;
	const struct content_ops *content;
	const struct names_ops *names;
};

/* What a failure leaves is not cleaned up: it may not be possible. */
static int run_content(void *arg, const struct exercise_steps *steps)
{
	const struct run *r = arg;
	struct content_opts o = { .seed = r->seed,
				  .ops = r->ops,
				  .nr_files = LIB_BACKEND_FILES,
				  .max_size = 400000,
				  .remount_every = 60,
				  .steps = *steps };
	struct lib_backend e;
	int err;

	fx_init();
	fx_create(&fx, r->size);
	lib_backend_start(&e, &fx, TFS_INO_ROOT);
	err = exercise_content(&o, r->content, &e);
	lib_backend_close(&e);
	if (err)
		return -1;
	fx_destroy(&fx);
	fx_exit();
	return 0;
}

static void content(enum fx_size size, uint64_t seed)
{
	struct run r = { size, test_seed(seed), test_ops(1500), .content = &lib_content_ops };

	cr_assert_eq(exercise_shortest(run_content, &r, r.seed, r.ops, 60, NULL), 0);
}

Test(exerciser, content_4k)
{
	content(FX_SMALL, 41001);
}

Test(exerciser, content_1k)
{
	content(FX_SMALL1K, 41002);
}

Test(exerciser, content_medium)
{
	content(FX_MEDIUM, 41003);
}

static int run_names(void *arg, const struct exercise_steps *steps)
{
	const struct run *r = arg;
	struct names_opts o = {
		.seed = r->seed, .ops = r->ops, .remount_every = 400, .steps = *steps
	};
	struct lib_backend e = { .fx = &fx, .top = TFS_INO_ROOT };

	fx_init();
	fx_create(&fx, r->size);
	if (exercise_names(&o, r->names, &e))
		return -1;
	fx_destroy(&fx);
	fx_exit();
	return 0;
}

static void names(enum fx_size size, uint64_t seed)
{
	struct run r = { size, test_seed(seed), test_ops(8000), .names = &lib_names_ops };

	cr_assert_eq(exercise_shortest(run_names, &r, r.seed, r.ops, 60, NULL), 0);
}

Test(exerciser, names_4k)
{
	names(FX_SMALL, 42001);
}

Test(exerciser, names_1k)
{
	names(FX_SMALL1K, 42002);
}

/* ---- under the crash simulator ---- */

struct cuts_run {
	int (*run)(const struct exercise_cuts_opts *o, unsigned int *images);
	struct exercise_cuts_opts o;
	unsigned int images;
};

static int run_cuts(void *arg, const struct exercise_steps *steps)
{
	struct cuts_run *r = arg;

	int err;

	fx_init();
	r->o.steps = *steps;
	err = r->run(&r->o, &r->images);
	if (!err)
		fx_exit();
	return err;
}

static void cuts(int (*run)(const struct exercise_cuts_opts *o, unsigned int *images),
		 struct exercise_cuts_opts o)
{
	struct cuts_run r = { run, o, 0 };

	r.o.seed = test_seed(o.seed);
	r.o.ops = test_ops(o.ops);
	cr_assert_eq(exercise_shortest(run_cuts, &r, r.o.seed, r.o.ops, 60, NULL), 0);
	fprintf(stderr, "%u images of power cuts, no difference\n", r.images);
}

Test(exerciser, content_cuts_4k)
{
	cuts(exercise_content_cuts, (struct exercise_cuts_opts){ .size = FX_SMALL,
								 .seed = 44001,
								 .ops = 1000,
								 .cut_every = 8,
								 .remount_every = 300 });
}

Test(exerciser, content_cuts_1k)
{
	cuts(exercise_content_cuts, (struct exercise_cuts_opts){ .size = FX_SMALL1K,
								 .seed = 44002,
								 .ops = 1000,
								 .cut_every = 8,
								 .remount_every = 300 });
}

Test(exerciser, names_cuts_4k)
{
	cuts(exercise_names_cuts, (struct exercise_cuts_opts){ .size = FX_SMALL,
							       .seed = 45001,
							       .ops = 1500,
							       .cut_every = 10,
							       .remount_every = 400 });
}

Test(exerciser, names_cuts_1k)
{
	cuts(exercise_names_cuts, (struct exercise_cuts_opts){ .size = FX_SMALL1K,
							       .seed = 45002,
							       .ops = 1500,
							       .cut_every = 10,
							       .remount_every = 400 });
}

/* They must notice what they are there to notice. */
static void noticed(int (*run)(const struct exercise_cuts_opts *o, unsigned int *images),
		    struct exercise_cuts_opts o)
{
	unsigned int images = 0;
	int err = 0;

	fx_init();
	for (o.seed = 1; o.seed <= 8 && !err; o.seed++)
		err = run(&o, &images);
	cr_assert_neq(err, 0, "nothing seen in %u images", images);
	fx_exit();
}

Test(exerciser, content_notices_lost_flushes)
{
	noticed(exercise_content_cuts,
		(struct exercise_cuts_opts){ .ops = 500, .cut_every = 8, .lose_nth_flush = 1 });
}

Test(exerciser, names_notice_lost_flushes)
{
	noticed(exercise_names_cuts,
		(struct exercise_cuts_opts){ .ops = 500, .cut_every = 8, .lose_nth_flush = 1 });
}

Test(exerciser, content_notices_missing_commit_flush)
{
	noticed(exercise_content_cuts,
		(struct exercise_cuts_opts){
			.ops = 1000, .cut_every = 4, .break_rules = TFS_BREAK_COMMIT_FLUSH });
}

Test(exerciser, names_notice_missing_commit_flush)
{
	noticed(exercise_names_cuts,
		(struct exercise_cuts_opts){
			.ops = 1000, .cut_every = 4, .break_rules = TFS_BREAK_COMMIT_FLUSH });
}

Test(exerciser, content_notices_early_reuse)
{
	noticed(exercise_content_cuts,
		(struct exercise_cuts_opts){
			.ops = 2000, .cut_every = 4, .break_rules = TFS_BREAK_EARLY_REUSE });
}

/* ---- a failure is made short ---- */

/* Planted: a write of more than 1000 bytes to a file that was truncated to less than 100000 loses
 * its last byte. */
static bool truncated[LIB_BACKEND_FILES];

static int bad_truncate(void *be, unsigned int k, uint64_t size)
{
	truncated[k] = size < 100000;
	return lib_content_ops.truncate(be, k, size);
}

static int64_t bad_pwrite(void *be, unsigned int k, const void *buf, size_t len, uint64_t pos)
{
	char none = 0;
	int64_t n = lib_content_ops.pwrite(be, k, buf, len, pos);

	if (truncated[k] && len > 1000)
		lib_content_ops.pwrite(be, k, &none, 1, pos + len - 1);
	return n;
}

static int run_bad_content(void *arg, const struct exercise_steps *steps)
{
	memset(truncated, 0, sizeof(truncated));
	return run_content(arg, steps);
}

Test(exerciser, content_failure_is_made_short)
{
	struct content_ops ops = lib_content_ops;
	struct run r = { FX_SMALL, 43001, 2000, .content = &ops };
	struct oplist left = { 0 };

	ops.pwrite = bad_pwrite;
	ops.truncate = bad_truncate;
	cr_assert_neq(exercise_shortest(run_bad_content, &r, r.seed, r.ops, 60, &left), 0);
	cr_assert_leq(left.nr, 3, "%zu operations", left.nr);
	oplist_free(&left);
}

/* Planted: after a link was made, a rename that may not replace says that it did, and has not. */
static bool linked;

static int bad_link(void *be, const char *path, const char *new_path)
{
	int err = lib_names_ops.link(be, path, new_path);

	linked |= !err;
	return err;
}

static int bad_rename(void *be, const char *path, const char *new_path, unsigned int flags)
{
	if (linked && flags == 1)
		return 0;
	return lib_names_ops.rename(be, path, new_path, flags);
}

static int run_bad_names(void *arg, const struct exercise_steps *steps)
{
	linked = false;
	return run_names(arg, steps);
}

Test(exerciser, names_failure_is_made_short)
{
	struct names_ops ops = lib_names_ops;
	struct run r = { FX_SMALL, 43002, 3000, .names = &ops };
	struct oplist left = { 0 };

	ops.link = bad_link;
	ops.rename = bad_rename;
	cr_assert_neq(exercise_shortest(run_bad_names, &r, r.seed, r.ops, 60, &left), 0);
	cr_assert_leq(left.nr, 6, "%zu operations", left.nr);
	oplist_free(&left);
}
