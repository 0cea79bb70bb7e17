/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tests/lib/exercise_*.c: the exercisers on the library: file contents and the name space against
 * models, with power cuts too.  TALLYFS_SEED replays a run, TALLYFS_OPS makes it longer.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include "fs/state/fs.h"
#include "tallyfs/format.h"
#include "tests/lib/exercise_cuts.h"
#include "tests/lib/exercise_lib.h"
#include "tests/lib/random.h"

static struct fixture fx;

TestSuite(exerciser, .timeout = 3000);

static void content(enum fx_size size, uint64_t seed)
{
	struct content_opts o = { .seed = test_seed(seed),
				  .ops = test_ops(1500),
				  .nr_files = LIB_BACKEND_FILES,
				  .max_size = 400000,
				  .remount_every = 60 };
	struct lib_backend e;

	fx_init();
	fx_create(&fx, size);
	lib_backend_start(&e, &fx, TFS_INO_ROOT);
	cr_assert_eq(exercise_content(&o, &lib_content_ops, &e), 0);
	lib_backend_close(&e);
	fx_destroy(&fx);
	fx_exit();
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

static void names(enum fx_size size, uint64_t seed)
{
	struct names_opts o = { .seed = test_seed(seed),
				.ops = test_ops(8000),
				.remount_every = 400 };
	struct lib_backend e = { .fx = &fx, .top = TFS_INO_ROOT };

	fx_init();
	fx_create(&fx, size);
	cr_assert_eq(exercise_names(&o, &lib_names_ops, &e), 0);
	fx_destroy(&fx);
	fx_exit();
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

static void cuts(int (*run)(const struct exercise_cuts_opts *o, unsigned int *images),
		 struct exercise_cuts_opts o)
{
	unsigned int images = 0;

	fx_init();
	o.seed = test_seed(o.seed);
	o.ops = test_ops(o.ops);
	cr_assert_eq(run(&o, &images), 0);
	fprintf(stderr, "%u images of power cuts, no difference\n", images);
	fx_exit();
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
