/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fs/vfs/rename.c: directories that move at once. */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <unistd.h>
#include "fs/journal/journal_priv.h"
#include "fs/state/fs.h"
#include "fs/vfs/vfs.h"
#include "tallyfs/format.h"
#include "tests/lib/faultdev.h"
#include "tests/lib/fixture.h"

static struct fixture fx;

static void setup(void)
{
	fx_init();
	fx_create_faulty(&fx, NULL);
}

static void teardown(void)
{
	fx_destroy(&fx);
	fx_exit();
}

TestSuite(rename, .init = setup, .fini = teardown, .timeout = 900);

struct move {
	uint64_t to; /* directory */
	const char *name;
	int err;
};

static void *move_thread(void *arg)
{
	struct move *m = arg;

	m->err = vfs_rename(fx.fs, TFS_INO_ROOT, m->name, m->to, m->name, 0);
	return NULL;
}

static uint64_t mkdir_in_root(const char *name)
{
	struct vfs_attr a;

	FX_OK(vfs_mkdir(fx.fs, TFS_INO_ROOT, name, 0755, &fx_root, &a));
	vfs_forget(fx.fs, a.ino, 1);
	return a.ino;
}

/* Each into the other: both have looked at the way up before either moves.  One of them must look
 * again, or they hang on nothing but each other. */
Test(rename, into_each_other)
{
	uint64_t a = mkdir_in_root("a"), b = mkdir_in_root("b");
	struct move moves[2] = { { .to = b, .name = "a" }, { .to = a, .name = "b" } };
	struct tfs_journal *j = fx.fs->journal;
	pthread_t threads[2];

	/* the journal is full, and a flush does not come back: they wait where they would begin to
	 * change things */
	atomic_store(&j->run_bytes, j->max_tx);
	faultdev_plan(fx.dev, .kind = FAULT_STALL, .ops = FAULT_FLUSH);
	for (unsigned int k = 0; k < 2; k++)
		FX_OK(pthread_create(&threads[k], NULL, move_thread, &moves[k]));
	while (!faultdev_stalled(fx.dev))
		usleep(1000);
	usleep(100000);
	faultdev_clear(fx.dev);
	for (unsigned int k = 0; k < 2; k++)
		pthread_join(threads[k], NULL);
	cr_assert_eq(moves[0].err + moves[1].err, -EINVAL);
	FX_IS(fx_ino(&fx, moves[0].err ? "/a/b" : "/b/a"), moves[0].err ? b : a);
}
