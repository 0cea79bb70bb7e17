/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The exercisers on one file system with all its threads running, many at once, each in a directory
 * of its own, while another thread syncs and drops caches:
 *
 *   thr_exerciser [usual | tight]
 *
 * tight: few inodes in memory, a small journal and a device that takes its time, so that everybody
 * waits for everything all the time.  TALLYFS_SEED; TALLYFS_OPS: operations of a thread that works
 * on content, and a third of one that works on names.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include "core/block/bdev.h"
#include "core/lib/util.h"
#include "core/pagecache/pagecache.h"
#include "fs/disk/geom.h"
#include "fs/state/fs.h"
#include "fs/vfs/mkfs.h"
#include "fs/vfs/vfs.h"
#include "tallyfs/format.h"
#include "tests/lib/faultdev.h"
#include "tests/lib/exercise_lib.h"
#include "tests/lib/random.h"

#define MAX_THREADS 12
#define NAMES_FACTOR 3

static const struct scene {
	const char *name;
	unsigned int threads; /* even ones work on content, odd ones on names */
	uint64_t ops;	      /* unless told otherwise */
	uint64_t journal_bytes, max_inodes;
	unsigned int usec; /* each request takes */
} scenes[] = {
	{ .name = "usual", .threads = 5, .ops = 300 },
	{ .name = "tight",
	  .threads = 12,
	  .ops = 60,
	  .journal_bytes = 1u << 20,
	  .max_inodes = 256,
	  .usec = 300 },
};

static const struct scene *scene;
static struct fixture fx;
static atomic_int go_on;
static uint64_t seed, ops;

static void *work_thread(void *arg)
{
	uint64_t k = (uintptr_t)arg;
	struct content_opts fo = {
		.seed = seed + k, .ops = ops, .nr_files = LIB_BACKEND_FILES, .max_size = 400000
	};
	struct names_opts to = { .seed = seed + k, .ops = ops * NAMES_FACTOR };
	struct lib_backend e = { .fx = &fx };
	struct vfs_attr a;
	char name[16];

	snprintf(name, sizeof(name), "dir%u", (unsigned int)k);
	FX_OK(vfs_mkdir(fx.fs, TFS_INO_ROOT, name, 0755, &fx_root, &a));
	e.top = a.ino;
	if (k % 2) {
		FX_OK(exercise_names(&to, &lib_names_ops, &e));
	} else {
		lib_backend_start(&e, &fx, a.ino);
		FX_OK(exercise_content(&fo, &lib_content_ops, &e));
		lib_backend_close(&e);
	}
	vfs_forget(fx.fs, a.ino, 1);
	return NULL;
}

static void *sync_thread(void *arg)
{
	while (atomic_load(&go_on)) {
		FX_OK(vfs_sync(fx.fs));
		pagecache_shrink(fx.fs->pagecache, 0);
	}
	return NULL;
}

static void make(void)
{
	struct tfs_mount_opts o = { .cache_size = 2u << 20, .commit_interval = 1 };
	struct tfs_format_opts fo = { .test_seed = 99, .journal_bytes = scene->journal_bytes };
	struct bdev *mem = fx_mem(FX_MEDIUM), *dev;

	/* a short run makes fewer, and some are to go all the same */
	o.max_inodes = min_t(uint64_t, scene->max_inodes, 16 + ops / 2);
	fx_format_as(mem, &fo);
	dev = faultdev_create(mem);
	fx_mount(&fx, dev, &o);
	fx.own_dev = true;
	if (!scene->usec)
		return;
	faultdev_plan(dev, .kind = FAULT_DELAY, .ops = FAULT_IO, .times = FAULT_ALWAYS,
		      .usec = scene->usec);
	faultdev_plan(dev, .kind = FAULT_DELAY, .ops = FAULT_FLUSH, .times = FAULT_ALWAYS,
		      .usec = scene->usec);
}

static void run(const struct scene *s)
{
	pthread_t t[MAX_THREADS], syncer;

	scene = s;
	ops = test_ops(s->ops);
	make();
	atomic_store(&go_on, 1);
	FX_OK(pthread_create(&syncer, NULL, sync_thread, NULL));
	for (uintptr_t k = 0; k < s->threads; k++)
		FX_OK(pthread_create(&t[k], NULL, work_thread, (void *)k));
	for (unsigned int k = 0; k < s->threads; k++)
		pthread_join(t[k], NULL);
	atomic_store(&go_on, 0);
	pthread_join(syncer, NULL);
	printf("%s: %llu operations by %u threads, %llu inodes evicted, %llu commits, %llu "
	       "checkpoints: no "
	       "difference\n",
	       s->name,
	       (unsigned long long)(div_up(s->threads, 2) * ops +
				    s->threads / 2 * ops * NAMES_FACTOR),
	       s->threads, (unsigned long long)fx_stat(&fx, "inodes", "evicted"),
	       (unsigned long long)fx_stat(&fx, "journal", "commits"),
	       (unsigned long long)fx_stat(&fx, "journal", "checkpoints"));
	faultdev_clear(fx.dev);
	fx_destroy(&fx);
}

int main(int argc, char **argv)
{
	unsigned int ran = 0;

	seed = test_seed(43001);
	fx_init();
	for (unsigned int k = 0; k < ARRAY_SIZE(scenes); k++) {
		if (argc < 2 || !strcmp(argv[1], scenes[k].name)) {
			run(&scenes[k]);
			ran++;
		}
	}
	fx_exit();
	if (!ran)
		fprintf(stderr, "usage: thr_exerciser [usual | tight]\n");
	return !ran;
}
