/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tests/lib/sequence.c: every operation alone and some of two and three, cut at every command.  All
 * kinds of cuts, and all sequences of two: the program sequences.  Others of them: TALLYFS_SEED=n
 * TALLYFS_OPS=sequences
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include "core/lib/log.h"
#include "core/lib/util.h"
#include "fs/state/fs.h"
#include "tests/lib/fixture.h"
#include "tests/lib/random.h"
#include "tests/lib/sequence.h"
#include "tests/lib/sequence_set.h"

static void setup(void)
{
	fx_init();
	log_init("test_sequences", false, LOG_LVL_ERR);
}

TestSuite(sequences, .init = setup, .fini = fx_exit, .timeout = 900);

static void must_hold(struct seq_lab *l, const char *text)
{
	cr_assert_neq(seq_run(l, text, 0), SEQ_FAILED, "%s: %s", text, seq_why(l));
}

static void done(struct seq_lab *l)
{
	const struct seq_counts *c = seq_counts(l);
	uint64_t images = 0;

	for (int k = 0; k < CRASH_MODES; k++)
		images += c->images[k];
	fprintf(stderr, "%llu sequences, %llu images, %llu of them different\n",
		(unsigned long long)c->sequences, (unsigned long long)images,
		(unsigned long long)c->looked_at);
	seq_lab_destroy(l);
}

/* Each operation, made to last in the first @ways. */
static void all_single(const struct seq_opts *o, unsigned int ways)
{
	struct seq_lab *l = seq_lab_create(o);
	char text[SEQ_TEXT];

	for (unsigned int op = 0; op < seq_nr_ops(); op++)
		for (unsigned int way = 0; way < ways && !seq_mirrored("", op); way++)
			if (seq_unit(op, way, text, sizeof(text)))
				must_hold(l, text);
	done(l);
}

Test(sequences, of_one)
{
	all_single(&(struct seq_opts){ .seed = 1,
				       .kinds = 1u << CRASH_ALL | 1u << CRASH_NONE |
						1u << CRASH_TORN },
		   SEQ_LASTING);
}

Test(sequences, of_one_with_small_blocks_and_fua)
{
	all_single(
		&(struct seq_opts){
			.seed = 1, .block_size = 1024, .fua = true, .kinds = 1u << CRASH_SUBSET },
		2);
}

static void sample(unsigned int depth, uint64_t seed, uint64_t n)
{
	struct seq_lab *l = seq_lab_create(&(struct seq_opts){ .seed = seed });
	uint64_t rng = seed * 2 + 1;
	char text[SEQ_TEXT];

	while (seq_counts(l)->sequences < n) {
		seq_random(depth, &rng, text, sizeof(text));
		must_hold(l, text);
	}
	done(l);
}

Test(sequences, of_two)
{
	sample(2, test_seed(20264), test_ops(30));
}

Test(sequences, of_three)
{
	sample(3, test_seed(20265), test_ops(20));
}

/* ---- they notice what they are there to notice ---- */

static void must_fail(const struct seq_opts *o, const char *text)
{
	struct seq_lab *l = seq_lab_create(o);

	cr_assert_eq(seq_run(l, text, 0), SEQ_FAILED, "%s", text);
	seq_lab_destroy(l);
}

Test(sequences, lost_flushes_are_noticed)
{
	struct seq_opts o = { .seed = 1, .lose_nth_flush = 1 };

	must_fail(&o, "creat A/n; fsync A/n");
	must_fail(&o, "write A/x 0 3000; fdatasync A/x");
	must_fail(&o, "chmod A/x 0600; sync");
}

Test(sequences, missing_commit_flush_is_noticed)
{
	must_fail(&(struct seq_opts){ .seed = 1, .break_rules = TFS_BREAK_COMMIT_FLUSH },
		  "write A/x 0 14000; fsync A/x; creat A/n; fsync A");
}

Test(sequences, early_reuse_is_noticed)
{
	struct seq_opts o = { .seed = 1, .break_rules = TFS_BREAK_EARLY_REUSE };

	must_fail(&o, "truncate A/x 0; write,direct A/x 0 8192");
	must_fail(&o, "write,direct A/x 8192 4096; write,direct B/z 8192 4096");
}

/* Where a cut must not be forgiven: what a step has promised is missing. */
Test(sequences, broken_promises_are_noticed)
{
	struct seq_opts o = { .seed = 1, .lose_nth_flush = 1 };
	static const char *const texts[] = {
		"write,sync A/x 5000 4000",  "append,dsync A/x 3000",
		"truncate A/x 5000; sync",   "setxattr A/x 5000; fsync A/x",
		"rename A/x B/z; fsync B",   "chown A/x; fsync A/x",
		"store A/x 4096 4096; sync", "copy,sync A/x 0 A/y 4096 14000",
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		must_fail(&o, texts[i]);
}
