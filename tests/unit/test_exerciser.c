// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The exercisers on the library: file contents and the name space against models.  TALLYFS_SEED replays a run,
 * TALLYFS_OPS makes it longer.
 */
#include <criterion/criterion.h>
#include "tests/lib/crashdev.h"
#include "tests/lib/libexer.h"

static struct fsfix fx;

TestSuite(exerciser, .timeout = 3000);

static void content(enum fx_size size, uint64_t seed)
{
	struct fsxer_opts o = { .seed = test_seed(seed),
				.ops = test_ops(1500),
				.nr_files = LIBEXER_FILES,
				.max_size = 400000,
				.remount_every = 60 };
	struct libexer e;

	fx_init();
	fx_create(&fx, size);
	libexer_start(&e, &fx, TFS_INO_ROOT);
	cr_assert_eq(fsxer_run(&o, &libexer_file_ops, &e), 0);
	libexer_close(&e);
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
	struct treexer_opts o = { .seed = test_seed(seed), .ops = test_ops(8000), .remount_every = 400 };
	struct libexer e = { .fx = &fx, .top = TFS_INO_ROOT };

	fx_init();
	fx_create(&fx, size);
	cr_assert_eq(treexer_run(&o, &libexer_tree_ops, &e), 0);
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
