/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fs/vfs/fallocate.c: what comes into the tree between the look for a hole and its filling. */
#include <criterion/criterion.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <unistd.h>
#include "core/block/bdev.h"
#include "core/pagecache/pagecache.h"
#include "fs/journal/journal_priv.h"
#include "fs/vfs/vfs.h"
#include "tests/lib/faultdev.h"
#include "tests/lib/fixture.h"

#define BS 4096u

static struct fixture fx;
static pthread_t other;

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

TestSuite(fallocate, .init = setup, .fini = teardown, .timeout = 900);

static void *preallocate_thread(void *arg)
{
	FX_OK(vfs_fallocate(fx.fs, arg, FALLOC_FL_KEEP_SIZE, 0, 4 * BS));
	return NULL;
}

/* The file's first block is dirty, and no more, when the hole is found, and written before the hole
 * is filled. */
static void written_in_between(uint64_t size)
{
	struct tfs_journal *j = fx.fs->journal;
	struct vfs_file *f;

	fx_file(&fx, "a", &f);
	fx_write(&fx, f, 0, size, 1);
	/* the second section waits for room in the journal, and that for the device */
	atomic_store(&j->run_bytes, j->max_tx);
	faultdev_plan(fx.dev, .kind = FAULT_STALL, .ops = FAULT_FLUSH, .times = FAULT_ALWAYS);
	FX_OK(pthread_create(&other, NULL, preallocate_thread, f));
	while (!faultdev_stalled(fx.dev))
		usleep(1000);
	FX_OK(pagecache_sync(fx.fs->pagecache, true));
	faultdev_clear(fx.dev);
	pthread_join(other, NULL);
	fx_expect(&fx, f, 0, size, 1);
	fx_close(&fx, f);
	fx_remount(&fx);
	f = fx_open(&fx, "a");
	fx_expect(&fx, f, 0, size, 1);
	fx_close(&fx, f);
}

Test(fallocate, a_block_was_written_in_between)
{
	written_in_between(BS);
}

/* Content in the tree has no block beside it. */
Test(fallocate, the_content_went_into_the_tree_in_between)
{
	written_in_between(100);
}
