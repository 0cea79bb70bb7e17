/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tests/lib/crashsim.c: the crash simulator's seeded slice.  A long run: TALLYFS_SEED=n
 * TALLYFS_OPS=images test_crash --filter crash/mixed
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include "core/block/bio.h"
#include "core/iomap/iomap.h"
#include "core/lib/log.h"
#include "fs/state/fs.h"
#include "tests/lib/crashsim.h"
#include "tests/lib/random.h"

static void setup(void)
{
	log_init("test_crash", false, LOG_LVL_ERR);
	cr_assert_eq(blk_init(1), 0);
	cr_assert_eq(iomap_ioend_init(), 0);
}

static void teardown(void)
{
	iomap_ioend_exit();
	blk_exit();
}

TestSuite(crash, .init = setup, .fini = teardown, .timeout = 3000);

static void runs(struct crashsim_opts o, uint64_t seed, unsigned int images)
{
	struct crashsim_result r;
	unsigned int done = 0, recuts = 0;

	while (done < images) {
		o.seed = seed++;
		o.images = images - done < 120 ? images - done : 120;
		crashsim_run(&o, &r);
		cr_assert_eq(r.failures, 0,
			     "seed %llu, block size %u: %u of %u images failed; first: %s",
			     (unsigned long long)o.seed, o.block_size, r.failures, r.images,
			     r.first_failure);
		done += r.images;
		recuts += r.recuts;
	}
	fprintf(stderr, "%u crash images and %u cut again in recovery, 0 failures\n", done, recuts);
}

Test(crash, mixed)
{
	runs((struct crashsim_opts){ .ops = 250, .recut_every = 8 }, test_seed(20261),
	     (unsigned int)test_ops(360));
}

Test(crash, small_blocks)
{
	runs((struct crashsim_opts){ .ops = 250, .recut_every = 8, .block_size = 1024 },
	     test_seed(20262), (unsigned int)test_ops(120));
}

Test(crash, large_blocks)
{
	runs((struct crashsim_opts){ .ops = 250, .recut_every = 8, .block_size = 16384 },
	     test_seed(20263), (unsigned int)test_ops(120));
}

/* The simulator must notice what it is there to notice. */
static unsigned int failures_of(struct crashsim_opts o)
{
	struct crashsim_result r;
	unsigned int failures = 0;

	o.images /= (unsigned int)test_stride();
	for (o.seed = 1; o.seed <= 12 && !failures; o.seed++) {
		crashsim_run(&o, &r);
		failures += r.failures;
	}
	return failures;
}

Test(crash, lost_flushes_are_noticed)
{
	cr_assert_gt(failures_of((struct crashsim_opts){
			     .ops = 250, .images = 200, .lose_nth_flush = 1 }),
		     0);
}

Test(crash, missing_commit_flush_is_noticed)
{
	cr_assert_gt(failures_of((struct crashsim_opts){
			     .ops = 250, .images = 400, .break_rules = TFS_BREAK_COMMIT_FLUSH }),
		     0);
}

Test(crash, early_reuse_is_noticed)
{
	cr_assert_gt(failures_of((struct crashsim_opts){
			     .ops = 1200, .images = 600, .break_rules = TFS_BREAK_EARLY_REUSE }),
		     0);
}
