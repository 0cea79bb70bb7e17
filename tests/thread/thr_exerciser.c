// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The exercisers on one file system with all its threads running, several at once, each in a directory of its own,
 * while another thread syncs and drops caches.  TALLYFS_SEED, TALLYFS_OPS.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include "fs/inode.h"
#include "tests/lib/crashdev.h"
#include "tests/lib/libexer.h"

#define THREADS 5 /* even ones work on content, odd ones on names */

static struct fsfix fx;
static atomic_int go_on = 1;
static uint64_t seed, ops;

static void *work_thread(void *arg)
{
	uint64_t k = (uintptr_t)arg;
	struct fsxer_opts fo = { .seed = seed + k, .ops = ops, .nr_files = LIBEXER_FILES, .max_size = 400000 };
	struct treexer_opts to = { .seed = seed + k, .ops = ops * 3 };
	struct libexer e = { .fx = &fx };
	struct vfs_attr a;
	char name[16];

	snprintf(name, sizeof(name), "dir%u", (unsigned int)k);
	FX_OK(vfs_mkdir(fx.fs, TFS_INO_ROOT, name, 0755, &fx_root, &a));
	e.top = a.ino;
	if (k % 2) {
		FX_OK(treexer_run(&to, &libexer_tree_ops, &e));
	} else {
		libexer_start(&e, &fx, a.ino);
		FX_OK(fsxer_run(&fo, &libexer_file_ops, &e));
		libexer_close(&e);
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

int main(void)
{
	struct tfs_mount_opts o = { .cache_size = 2u << 20, .commit_interval = 1 };
	struct bdev *dev = bdev_mem_create(fx_bytes(FX_MEDIUM));
	pthread_t t[THREADS], syncer;

	seed = test_seed(43001);
	ops = test_ops(300);
	fx_init();
	FX_CHECK(dev);
	fx_format(dev, FX_MEDIUM, 99);
	fx_mount(&fx, dev, &o);
	fx.own_dev = true;
	FX_OK(pthread_create(&syncer, NULL, sync_thread, NULL));
	for (uintptr_t k = 0; k < THREADS; k++)
		FX_OK(pthread_create(&t[k], NULL, work_thread, (void *)k));
	for (int k = 0; k < THREADS; k++)
		pthread_join(t[k], NULL);
	atomic_store(&go_on, 0);
	pthread_join(syncer, NULL);
	fx_destroy(&fx);
	fx_exit();
	return 0;
}
