// SPDX-License-Identifier: GPL-2.0-or-later
/* fs/writeback.c: what happens to a file while its blocks are on their way to the device, or fail to get there. */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>
#include "core/log.h"
#include "fs/journal.h"
#include "tests/lib/faultdev.h"
#include "tests/lib/fsfix.h"

#define BS 4096u
#define SLOW_US 400000u

static struct fsfix fx;
static struct bdev *mem;

static void setup(void)
{
	fx_init();
	mem = bdev_mem_create(fx_bytes(FX_SMALL));
	FX_CHECK(mem);
	fx_format(mem, FX_SMALL, 4711);
	fx_mount(&fx, faultdev_create(mem), NULL);
	fx.own_dev = true;
}

static void teardown(void)
{
	faultdev_clear(fx.dev);
	fx_destroy(&fx);
	fx_exit();
}

TestSuite(writeback, .init = setup, .fini = teardown, .timeout = 120);

/* A fault for all of the device but the journal. */
static void fault_data(enum fault_kind kind, int count, unsigned int usec)
{
	const struct tfs_geom *g = &fx.fs->geom;
	uint64_t from = g->journal_start << g->blkbits, to = from + (g->journal_blocks << g->blkbits);

	if (count < 0)
		faultdev_add(fx.dev, kind, 0, from, count, usec);
	faultdev_add(fx.dev, kind, to, mem->size - to, count, usec);
}

static void *write_all(void *arg)
{
	(void)arg;
	pagecache_sync(fx.fs->pagecache, true);
	return NULL;
}

static pthread_t start(void *(*fn)(void *), void *arg)
{
	pthread_t t;

	FX_OK(pthread_create(&t, NULL, fn, arg));
	usleep(SLOW_US / 4);
	return t;
}

static uint64_t reserved(void)
{
	return fx_stat(&fx, "space", "reserved");
}

/* Blocks written to again while their writeback was under way, and failed, hold one promise, not two. */
Test(writeback, one_promise_for_a_block_that_failed_and_was_dirtied)
{
	struct vfs_file *f;
	pthread_t t;

	fx_file(&fx, "a", &f);
	fx_write(&fx, f, 0, 20 * BS, 1);
	cr_assert_eq(reserved(), 20);
	log_set_hook(NULL);
	fault_data(FAULT_DELAY, 1, SLOW_US);
	fault_data(FAULT_WRITE_EIO, 1, 0);
	t = start(write_all, NULL);
	fx_write(&fx, f, 5 * BS, 10 * BS, 2);
	pthread_join(t, NULL);
	cr_assert_eq(reserved(), 20);
	faultdev_clear(fx.dev);
	cr_assert_eq(vfs_fsync(fx.fs, f, false), -EIO);
	FX_OK(vfs_fsync(fx.fs, f, false));
	cr_assert_eq(reserved(), 0);
	fx_expect(&fx, f, 0, 5 * BS, 1);
	fx_expect(&fx, f, 5 * BS, 10 * BS, 2);
	fx_close(&fx, f);
}

/* The same where the blocks are written in place and no claim was made for them. */
Test(writeback, one_promise_for_a_preallocated_block_that_failed)
{
	struct vfs_file *f;
	pthread_t t;

	fx_file(&fx, "a", &f);
	FX_OK(vfs_fallocate(fx.fs, f, 0, 0, 20 * BS));
	fx_write(&fx, f, 0, 20 * BS, 1);
	cr_assert_eq(reserved(), 20);
	fault_data(FAULT_DELAY, 1, SLOW_US);
	fault_data(FAULT_WRITE_EIO, 1, 0);
	t = start(write_all, NULL);
	fx_write(&fx, f, 5 * BS, 10 * BS, 2);
	pthread_join(t, NULL);
	cr_assert_eq(reserved(), 20);
	faultdev_clear(fx.dev);
	cr_assert_eq(vfs_fsync(fx.fs, f, false), -EIO);
	FX_OK(vfs_fsync(fx.fs, f, false));
	cr_assert_eq(reserved(), 0);
	fx_close(&fx, f);
}

/* An error of writeback is seen once by each file that was open, and the data is not given up. */
Test(writeback, an_error_is_seen_by_every_open_file)
{
	struct vfs_file *f, *g;

	fx_file(&fx, "a", &f);
	g = fx_open(&fx, "a");
	fx_write(&fx, f, 0, 3 * BS, 1);
	fault_data(FAULT_WRITE_EIO, 1, 0);
	pagecache_sync(fx.fs->pagecache, true);
	faultdev_clear(fx.dev);
	FX_IS(vfs_flush(fx.fs, g), -EIO);
	FX_OK(vfs_flush(fx.fs, g));
	FX_IS(vfs_fsync(fx.fs, f, false), -EIO);
	FX_OK(vfs_fsync(fx.fs, f, false));
	FX_OK(vfs_fsync(fx.fs, g, false));
	fx_close(&fx, f);
	fx_close(&fx, g);
	fx_crash_remount(&fx);
	f = fx_open(&fx, "a");
	fx_expect(&fx, f, 0, 3 * BS, 1);
	fx_close(&fx, f);
}

static void *shrink(void *arg)
{
	fx_set_size(&fx, arg, BS + 100);
	return NULL;
}

/*
 * A truncation overtakes a writeback of the block that will hold EOF.  What is committed before the block
 * is written with a zeroed tail is the file as it was before, not the new size with the old tail behind it.
 */
Test(writeback, truncation_while_the_block_is_written)
{
	struct bdev *copy = bdev_mem_create(mem->size);
	struct vfs_file *f, *g;
	struct fsfix then;
	pthread_t t, u;

	FX_CHECK(copy);
	fx_file(&fx, "a", &f);
	FX_OK(vfs_fsync(fx.fs, f, false));
	fx_write(&fx, f, 0, 3 * BS, 1);
	fault_data(FAULT_DELAY, -1, SLOW_US);
	t = start(write_all, NULL);
	u = start(shrink, f);
	usleep(SLOW_US * 3 / 4); /* the whole blocks are there, the zeroed copy is on its way */
	FX_OK(journal_commit_all(fx.fs));
	memcpy(bdev_mem_data(copy), bdev_mem_data(mem), mem->size);
	pthread_join(t, NULL);
	pthread_join(u, NULL);
	faultdev_clear(fx.dev);
	cr_assert_eq(fx_size_of(&fx, f), BS + 100);
	fx_close(&fx, f);

	fx_mount(&then, copy, NULL);
	then.own_dev = true;
	g = fx_open(&then, "a");
	cr_assert_eq(fx_size_of(&then, g), 3 * BS);
	fx_expect(&then, g, 0, 3 * BS, 1);
	fx_close(&then, g);
	fx_destroy(&then);
}

/*
 * Blocks far behind the new EOF are still on their way when the flusher takes the EOF block with its zeroed tail.
 * Neither may the truncation be overtaken by them (they would be mapped behind EOF), nor may
 * their place go free while the device still writes to it.
 */
static void truncate_with_writes_behind(bool preallocated)
{
	struct vfs_file *f;
	pthread_t t, u, v;

	fx_file(&fx, "a", &f);
	if (preallocated)
		FX_OK(vfs_fallocate(fx.fs, f, 0, 0, 40 * BS));
	FX_OK(vfs_fsync(fx.fs, f, false));
	fx_write(&fx, f, 32 * BS, 8 * BS, 1);
	fault_data(FAULT_DELAY, 1, 2 * SLOW_US);
	t = start(write_all, NULL);
	fx_write(&fx, f, 0, 2 * BS, 2);
	u = start(shrink, f);
	v = start(write_all, NULL);
	pthread_join(v, NULL);
	pthread_join(u, NULL);
	pthread_join(t, NULL);
	FX_OK(vfs_fsync(fx.fs, f, false));
	fx_close(&fx, f);
	fx_crash_remount(&fx);
	f = fx_open(&fx, "a");
	cr_assert_eq(fx_size_of(&fx, f), BS + 100);
	fx_set_size(&fx, f, 40 * BS);
	fx_expect(&fx, f, 0, BS + 100, 2);
	fx_expect_zero(&fx, f, BS + 100, 39 * BS - 100);
	fx_close(&fx, f);
	cr_assert_eq(reserved(), 0);
}

Test(writeback, truncation_waits_for_what_lies_behind)
{
	truncate_with_writes_behind(false);
}

Test(writeback, truncation_waits_for_what_is_written_in_place)
{
	truncate_with_writes_behind(true);
}
