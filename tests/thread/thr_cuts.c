/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Power cuts with real threads: the file system with all its own, on a device that records; as many
 * threads at work as it has parts (promises.h), one part that all of them change, and one that
 * syncs everything and drops caches.  Few inodes in memory, a small cache, a small journal, a
 * device that takes its time.  Then images of cuts at any command, each held to what was promised.
 *
 *   thr_cuts [cuts | notices]
 *
 * TALLYFS_SEED; TALLYFS_OPS: images.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core/block/bdev.h"
#include "core/lib/log.h"
#include "core/lib/util.h"
#include "core/pagecache/pagecache.h"
#include "fs/state/fs.h"
#include "fs/vfs/mkfs.h"
#include "fs/vfs/vfs.h"
#include "fsck/check.h"
#include "tests/lib/crashdev.h"
#include "tests/lib/fixture.h"
#include "tests/lib/promises.h"
#include "tests/lib/random.h"

#define WORKERS 6
#define PARTS (WORKERS + 1) /* the last is everybody's */
#define BYTES (16u << 20)
#ifdef __SANITIZE_THREAD__
#define IMAGES 50 /* unless told otherwise */
#else
#define IMAGES 400
#endif
#define STEPS 110	 /* of a thread, in a round */
#define ROUND_CUTS 50	 /* images of a round */
#define WINDOW 20	 /* of these, at commands one after the other */
#define NOTICE_ROUNDS 16 /* in which what is broken must be noticed */

/* What is broken on purpose. */
struct broken {
	const char *name;
	unsigned int rules, lose_nth_flush;
};

static struct round {
	const struct broken *broken;
	uint64_t seed, rng;
	struct crashdev *cd;
	struct tfs_fs *fs;
	struct promises *part[PARTS];
	atomic_int at_work;
	char why[6000];
} now;

static struct tally {
	uint64_t rounds, events, images[CRASH_MODES], given[PROMISE_KINDS], checked[PROMISE_KINDS];
	uint64_t evicted, commits, checkpoints;
} tally;

/* ---- before the power goes ---- */

static void *work_thread(void *arg)
{
	unsigned int k = (unsigned int)(uintptr_t)arg;
	uint64_t rng = now.seed * 64 + k + 1;

	for (unsigned int i = 0; i < STEPS; i++) {
		/* who syncs beside one who takes content away is rare otherwise */
		if (test_rand(&rng) % (now.seed & 1 ? 2 : now.seed & 4 ? 60 : 12) == 0)
			promises_sync_beside(now.part[test_rand(&rng) % PARTS]);
		if (!promises_step(now.part[test_rand(&rng) % 8 ? k : PARTS - 1]))
			break;
	}
	atomic_fetch_sub(&now.at_work, 1);
	return NULL;
}

static void sync_all(struct tfs_fs *fs)
{
	uint32_t done[PARTS];

	for (unsigned int k = 0; k < PARTS; k++)
		done[k] = promises_done(now.part[k]);
	FX_OK(vfs_sync(fs));
	for (unsigned int k = 0; k < PARTS; k++)
		promises_synced(now.part[k], done[k]);
}

static void *sync_thread(void *arg)
{
	uint64_t rng = now.seed + 77;

	while (atomic_load(&now.at_work)) {
		struct timespec ts = { .tv_nsec = (long)(test_rand(&rng) % 60000000) };

		nanosleep(&ts, NULL);
		if (test_rand(&rng) % (now.seed & 4 ? 16 : 4) == 0)
			sync_all(now.fs);
		else
			pagecache_shrink(now.fs->pagecache, 0);
	}
	return NULL;
}

static void make(struct fixture *fx)
{
	struct tfs_mount_opts mo = { .cache_size = 2u << 20,
				     .commit_interval = 1,
				     .max_inodes = now.seed & 8 ? 32 : 4,
				     .break_rules = now.broken ? now.broken->rules : 0 };
	struct tfs_format_opts fo = { .test_seed = now.seed,
				      .block_size = now.seed % 3 ? 4096 : 1024,
				      .journal_bytes = 1u << 20 };
	struct promises_mix mix = { .syncs = now.seed & 4 ? 5 : 20,
				    .removals = now.seed & 1 ? 50 : 0 };
	struct bdev *mem = bdev_mem_create(BYTES);
	char name[16];

	FX_CHECK(mem);
	fo.node_size = now.seed % 3 ? 16384 : 4096;
	fo.blocks_per_group = (2u << 20) / fo.block_size;
	fx_format_as(mem, &fo);
	now.cd = crashdev_create(bdev_mem_data(mem), BYTES);
	bdev_close(mem);
	crashdev_allow_fua(now.cd, now.seed & 2);
	crashdev_take_time(now.cd, 300, now.seed);
	crashdev_lose_flushes(now.cd, now.broken ? now.broken->lose_nth_flush : 0);
	fx_mount(fx, crashdev_bdev(now.cd), &mo);
	now.fs = fx->fs;
	for (unsigned int k = 0; k < PARTS; k++) {
		snprintf(name, sizeof(name), "part%u", k);
		now.part[k] = promises_create(now.fs, now.cd, name, now.seed * 16 + k + 1, &mix);
	}
	sync_all(now.fs);
}

/* Everybody works, then it is unmounted in good order.  Events before the first step. */
static uint64_t run_threads(void)
{
	pthread_t t[WORKERS], syncer;
	struct fixture fx;
	uint64_t first;

	make(&fx);
	first = crashdev_events(now.cd);
	atomic_store(&now.at_work, WORKERS);
	for (uintptr_t k = 0; k < WORKERS; k++)
		FX_OK(pthread_create(&t[k], NULL, work_thread, (void *)k));
	FX_OK(pthread_create(&syncer, NULL, sync_thread, NULL));
	for (unsigned int k = 0; k < WORKERS; k++)
		pthread_join(t[k], NULL);
	pthread_join(syncer, NULL);
	for (unsigned int k = 0; k < PARTS; k++)
		promises_close(now.part[k]);
	tally.evicted += fx_stat(&fx, "inodes", "evicted");
	tally.commits += fx_stat(&fx, "journal", "commits");
	tally.checkpoints += fx_stat(&fx, "journal", "checkpoints");
	FX_OK(vfs_unmount(now.fs));
	for (unsigned int k = 0; k < PARTS; k++)
		promises_synced(now.part[k], promises_done(now.part[k]));
	return first;
}

/* ---- and after ---- */

static void report(void *arg, const struct check_problem *p)
{
	if (p->severity != CHECK_NOTE && !now.why[0])
		snprintf(now.why, sizeof(now.why), "%s: %s", p->code, p->text);
}

static int check_clean(struct bdev *b)
{
	struct check_opts co = { .verify_data = true, .report = report };
	struct check_result r;
	char why[300] = "";

	if (tfs_check_device(b, &co, &r, why, sizeof(why)))
		snprintf(now.why, sizeof(now.why), "fsck: %s", why);
	else if (!r.errors && !r.leaks)
		return 0;
	return -1;
}

static int check_mounted(struct bdev *image, uint64_t cut)
{
	struct tfs_mount_opts mo = { .no_threads = true, .cache_size = 4u << 20 };
	struct tfs_fs *fs;
	int err = vfs_mount(image, &mo, &fs, now.why, sizeof(now.why));

	if (err)
		return err;
	for (unsigned int k = 0; !err && k < PARTS; k++)
		err = promises_check(now.part[k], fs, cut, now.why, sizeof(now.why));
	if (vfs_unmount(fs) && !err) {
		snprintf(now.why, sizeof(now.why), "the image cannot be unmounted");
		err = -1;
	}
	return err;
}

static int check_image(struct bdev *image, uint64_t cut, enum crash_mode mode)
{
	const char *when = "as found";
	int err = 0;

	now.why[0] = '\0';
	crashdev_image(now.cd, cut, mode, &now.rng, bdev_mem_data(image));
	tally.images[mode]++;
	/* a copy of superblock or log header may be rubbish until the next mount */
	if (mode != CRASH_RUINED)
		err = check_clean(image);
	if (!err) {
		when = "mounted";
		err = check_mounted(image, cut);
	}
	if (!err) {
		when = "after mount and unmount";
		err = check_clean(image);
	}
	if (err && !now.broken)
		fprintf(stderr, "seed %llu: cut after %llu of %llu events, mode %d, %s: %s\n",
			(unsigned long long)now.seed, (unsigned long long)cut,
			(unsigned long long)crashdev_events(now.cd), mode, when, now.why);
	return err;
}

/* @nr moments, in rising order: some are all of a stretch, others where a promise has just been
 * given, the rest anywhere.  The last is the end. */
static void pick_cuts(uint64_t first, uint64_t *cuts, unsigned int nr)
{
	uint64_t total = crashdev_events(now.cd), from;
	unsigned int window = nr > 2 * WINDOW ? WINDOW : nr / 3, i = 0;

	FX_CHECK(total > first + nr);
	from = first + test_rand(&now.rng) % (total - first - window);
	while (i < window)
		cuts[i++] = ++from;
	for (; i < nr; i++) {
		cuts[i] = first + test_rand(&now.rng) % (total - first + 1);
		if (i % 3)
			cuts[i] = max_t(uint64_t, first,
					promises_moment(now.part[i % PARTS], &now.rng));
	}
	cuts[nr - 1] = total;
	for (i = 1; i < nr; i++) /* insertion sort */
		for (unsigned int j = i; j && cuts[j - 1] > cuts[j]; j--) {
			uint64_t x = cuts[j];

			cuts[j] = cuts[j - 1];
			cuts[j - 1] = x;
		}
}

static int check_cuts(uint64_t first, unsigned int nr)
{
	struct bdev *image = bdev_mem_create(BYTES);
	uint64_t cuts[ROUND_CUTS];
	int err = 0;

	FX_CHECK(image);
	pick_cuts(first, cuts, nr);
	for (unsigned int i = 0; !err && i < nr; i++)
		err = check_image(image, cuts[i],
				  i + 1 == nr ? CRASH_NONE
					      : (enum crash_mode)((i + now.seed) % CRASH_MODES));
	bdev_close(image);
	return err;
}

/* 0, or -1: something is not as promised. */
static int run_round(uint64_t seed, const struct broken *broken, unsigned int nr)
{
	uint64_t first;
	int err = 0;

	now = (struct round){ .seed = seed, .rng = seed | 1, .broken = broken };
	first = run_threads();
	tally.rounds++;
	tally.events += crashdev_events(now.cd);
	for (unsigned int k = 0; k < PARTS; k++)
		if (promises_failed(now.part[k]))
			err = -1;
	if (!err)
		err = check_cuts(first, nr);
	if (crashdev_overlaps(now.cd)) {
		fprintf(stderr,
			"seed %llu: %llu writes at the same time as another of that place\n",
			(unsigned long long)seed, (unsigned long long)crashdev_overlaps(now.cd));
		err = -1;
	}
	for (unsigned int k = 0; k < PARTS; k++) {
		promises_count(now.part[k], tally.given, tally.checked);
		promises_destroy(now.part[k]);
	}
	crashdev_destroy(now.cd);
	return err;
}

static void print_tally(void)
{
	static const char *const modes[CRASH_MODES] = { "all", "none", "subset", "torn", "ruined" };
	uint64_t images = 0;

	for (unsigned int m = 0; m < CRASH_MODES; m++)
		images += tally.images[m];
	printf("%llu cuts in %llu rounds of %llu events (%llu commits, %llu checkpoints, %llu "
	       "inodes evicted):",
	       (unsigned long long)images, (unsigned long long)tally.rounds,
	       (unsigned long long)tally.events, (unsigned long long)tally.commits,
	       (unsigned long long)tally.checkpoints, (unsigned long long)tally.evicted);
	for (unsigned int m = 0; m < CRASH_MODES; m++)
		printf(" %s %llu", modes[m], (unsigned long long)tally.images[m]);
	printf("\npromises given (checked):");
	for (unsigned int k = 0; k < PROMISE_KINDS; k++)
		printf(" %s %llu (%llu)", promise_names[k], (unsigned long long)tally.given[k],
		       (unsigned long long)tally.checked[k]);
	printf("\n");
	fflush(stdout);
}

static int run_cuts(uint64_t seed, uint64_t images)
{
	unsigned int failed = 0;

	while (images) {
		unsigned int nr = (unsigned int)min_t(uint64_t, images, ROUND_CUTS);

		failed += run_round(seed++, NULL, nr) != 0;
		images -= nr;
		if (tally.rounds % 20 == 0)
			print_tally();
	}
	print_tally();
	printf("%u rounds failed\n", failed);
	return failed != 0;
}

/* The test must notice what it is there to notice. */
static int notices(const struct broken *b, uint64_t seed)
{
	unsigned int i = 0;

	memset(&tally, 0, sizeof(tally));
	while (i < NOTICE_ROUNDS && !run_round(seed + i, b, ROUND_CUTS))
		i++;
	if (i == NOTICE_ROUNDS)
		fprintf(stderr, "%s: not noticed in %u rounds\n", b->name, i);
	else
		printf("%s: noticed in round %u: %.200s\n", b->name, i + 1, now.why);
	return i == NOTICE_ROUNDS;
}

int main(int argc, char **argv)
{
	static const struct broken broken[] = {
		{ .name = "lost flushes", .lose_nth_flush = 1 },
		{ .name = "every other flush lost", .lose_nth_flush = 2 },
		{ .name = "no flush before the commit records", .rules = TFS_BREAK_COMMIT_FLUSH },
		{ .name = "freed blocks reused early", .rules = TFS_BREAK_EARLY_REUSE },
	};
	uint64_t seed = test_seed(51001);
	int err = 0;

	fx_init();
	/* what a cut leaves is worth a warning */
	log_init("test", false, LOG_LVL_ERR);
	if (argc < 2 || !strcmp(argv[1], "cuts"))
		err = run_cuts(seed, test_ops(IMAGES));
	for (unsigned int k = 0; k < ARRAY_SIZE(broken); k++)
		if (argc > 1 ? !strcmp(argv[1], "notices") : IMAGES > ROUND_CUTS)
			err |= notices(&broken[k], seed);
	fx_exit();
	return err;
}
