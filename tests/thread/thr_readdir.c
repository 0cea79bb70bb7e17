/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Readers of one directory, each with listings of its own, while other threads make, remove and
 * rename names around those that stay; the names collide in their hashes, too.  TALLYFS_SEED,
 * TALLYFS_OPS.
 */
#include <pthread.h>
#include <stdatomic.h>
#include "core/block/bdev.h"
#include "fs/state/fs.h"
#include "fs/vfs/vfs.h"
#include "tallyfs/format.h"
#include "tests/lib/lister.h"
#include "tests/lib/random.h"

#define READERS 3
#define CHANGERS 2

static struct fixture fx;
static uint64_t dir, seed, ops;
static atomic_int changing;

static void *change_thread(void *arg)
{
	unsigned int salt = (unsigned int)(uintptr_t)arg;
	uint64_t rng = seed + 100 + salt;

	for (uint64_t n = 0; n < ops; n++)
		lister_churn(fx.fs, dir, salt, &rng);
	atomic_fetch_sub(&changing, 1);
	return NULL;
}

static void *read_thread(void *arg)
{
	struct lister l;

	lister_init(&l, fx.fs, dir, seed + (uintptr_t)arg);
	while (atomic_load(&changing) || l.passes < 2)
		lister_step(&l);
	return NULL;
}

static void run(unsigned int break_rules)
{
	pthread_t t[READERS + CHANGERS];
	struct vfs_attr a;

	fx_create_on(&fx, fx_mem(FX_SMALL), FX_SMALL, seed,
		     &(struct tfs_mount_opts){ .commit_interval = 1, .break_rules = break_rules });
	FX_OK(vfs_mkdir(fx.fs, TFS_INO_ROOT, "d", 0755, &fx_root, &a));
	dir = a.ino;
	lister_make(fx.fs, dir);
	atomic_store(&changing, CHANGERS);
	for (uintptr_t k = 0; k < READERS + CHANGERS; k++)
		FX_OK(pthread_create(&t[k], NULL, k < CHANGERS ? change_thread : read_thread,
				     (void *)(k + 1)));
	for (int k = 0; k < READERS + CHANGERS; k++)
		pthread_join(t[k], NULL);
	vfs_forget(fx.fs, dir, 1);
	fx_destroy(&fx);
}

int main(void)
{
	seed = test_seed(32001);
	ops = test_ops(500);
	fx_init();
	run(0);
	run(TFS_BREAK_HASH);
	fx_exit();
	return 0;
}
