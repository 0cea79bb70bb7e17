/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fs/inode/inode_flush.c, evict.c: what others do to a file while its inode is written out,
 * or leaves memory.
 */
#include <criterion/criterion.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <pthread.h>
#include <unistd.h>
#include "core/block/bdev.h"
#include "core/iomap/iomap.h"
#include "core/lib/list.h"
#include "core/pagecache/pagecache.h"
#include "fs/inode/evict.h"
#include "fs/inode/icache.h"
#include "fs/inode/inode.h"
#include "fs/inode/inode_flush.h"
#include "fs/journal/journal.h"
#include "fs/journal/journal_priv.h"
#include "fs/state/fs.h"
#include "fs/vfs/vfs.h"
#include "tallyfs/format.h"
#include "tests/lib/faultdev.h"
#include "tests/lib/fixture.h"

#define BS 4096u
#define SIZE (10 * BS)
#define FRONT (5 * BS) /* what lies behind is a hole that was never on disk */

static struct fixture fx;
static struct bdev *mem;
static pthread_t other;

static void setup(void)
{
	struct tfs_mount_opts o = { .no_threads = true, .cache_size = 16u << 20, .max_inodes = 4 };

	fx_init();
	mem = fx_create_faulty(&fx, &o);
}

static void teardown(void)
{
	fx_destroy(&fx);
	fx_exit();
}

TestSuite(inode_flush, .init = setup, .fini = teardown, .timeout = 900);

/* @fn runs until it is stuck in the device. */
static void start_stuck(void *(*fn)(void *), void *arg, enum fault_op op)
{
	faultdev_plan(fx.dev, .kind = FAULT_STALL, .ops = op, .times = FAULT_ALWAYS);
	FX_OK(pthread_create(&other, NULL, fn, arg));
	while (!faultdev_stalled(fx.dev))
		usleep(1000);
}

static void go_on(void)
{
	faultdev_clear(fx.dev);
	pthread_join(other, NULL);
}

/* ---- the size ---- */

static void *fsync_thread(void *arg)
{
	FX_OK(vfs_fsync(fx.fs, arg, false));
	return NULL;
}

static void *fdatasync_thread(void *arg)
{
	FX_OK(vfs_fsync(fx.fs, arg, true));
	return NULL;
}

static void *sync_thread(void *arg)
{
	(void)arg;
	FX_OK(vfs_sync(fx.fs));
	return NULL;
}

/* The size may have to come to the disk without a block that brings it there. */
static struct vfs_file *file_with_a_hole_at_its_end(void)
{
	struct vfs_file *f;

	fx_file(&fx, "a", &f);
	fx_write(&fx, f, 0, SIZE, 1);
	FX_OK(vfs_fallocate(fx.fs, f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, FRONT,
			    SIZE - FRONT));
	return f;
}

static void expect_after_a_cut(uint64_t size)
{
	struct vfs_file *f;

	fx_crash_remount(&fx);
	f = fx_open(&fx, "a");
	cr_assert_eq(fx_size_of(&fx, f), size);
	fx_expect(&fx, f, BS, FRONT - BS, 1);
	fx_expect_zero(&fx, f, FRONT, 2 * BS);
	fx_close(&fx, f);
	FX_OK(vfs_unlink(fx.fs, TFS_INO_ROOT, "a"));
}

/* While the data is on its way somebody writes at @pos: that may be lost, but not the size the file
 * had before. */
static void write_beside(void *(*sync)(void *), uint64_t pos)
{
	struct vfs_file *f = file_with_a_hole_at_its_end();

	start_stuck(sync, f, FAULT_WRITE);
	fx_write(&fx, f, pos, BS, 2);
	go_on();
	cr_assert_geq(f->inode->d_size, SIZE);
	fx_close(&fx, f);
	expect_after_a_cut(SIZE);
}

Test(inode_flush, the_size_beside_a_write_to_the_front)
{
	write_beside(fsync_thread, 0);
	write_beside(fdatasync_thread, 0);
	write_beside(sync_thread, 0);
}

Test(inode_flush, the_size_beside_a_write_to_the_hole)
{
	write_beside(fsync_thread, SIZE - 2 * BS);
	write_beside(fdatasync_thread, SIZE - 2 * BS);
	write_beside(sync_thread, SIZE - 2 * BS);
}

/* A size that is behind keeps the inode on the list of what a sync writes. */
Test(inode_flush, a_size_that_is_behind_is_not_forgotten)
{
	struct vfs_file *f = file_with_a_hole_at_its_end();

	FX_OK(pagecache_sync(fx.fs->pagecache, true));
	cr_assert_eq(f->inode->d_size, FRONT);
	FX_OK(inode_flush(f->inode, false, FRONT));
	cr_assert(!list_empty(&f->inode->dirty));
	FX_OK(vfs_sync(fx.fs));
	cr_assert_eq(f->inode->d_size, SIZE);
	cr_assert(list_empty(&f->inode->dirty));
	fx_close(&fx, f);
	expect_after_a_cut(SIZE);
}

/* The blocks are durable, the size is not: fdatasync waits for it all the same. */
Test(inode_flush, fdatasync_of_a_size_alone)
{
	struct vfs_file *f = file_with_a_hole_at_its_end();

	FX_OK(pagecache_sync(fx.fs->pagecache, true));
	FX_OK(journal_commit_all(fx.fs));
	cr_assert_eq(f->inode->d_size, FRONT);
	FX_OK(vfs_fsync(fx.fs, f, true));
	fx_close(&fx, f);
	expect_after_a_cut(SIZE);
	/* moved by a truncation */
	f = file_with_a_hole_at_its_end();
	FX_OK(vfs_fsync(fx.fs, f, false));
	fx_set_size(&fx, f, SIZE + BS);
	FX_OK(vfs_fsync(fx.fs, f, true));
	fx_close(&fx, f);
	expect_after_a_cut(SIZE + BS);
}

/* Out of memory with "a", and back. */
static struct vfs_file *evicted_and_loaded(uint64_t ino)
{
	uint64_t limit = fx.fs->icache->limit, before = fx_stat(&fx, "inodes", "evicted");
	struct vfs_file *f;

	iomap_ioend_drain(); /* the worker has let go of it too */
	fx.fs->icache->limit = 0;
	icache_trim(fx.fs);
	fx.fs->icache->limit = limit;
	cr_assert_gt(fx_stat(&fx, "inodes", "evicted"), before);
	FX_OK(vfs_open(fx.fs, ino, O_RDWR, &f));
	return f;
}

/* What was changed before the inode left memory, in a transaction that still runs, is what fsync
 * and fdatasync wait for behind it. */
Test(inode_flush, fsync_behind_an_eviction)
{
	struct vfs_attr a = { .mode = 0600 };
	struct vfs_file *f;
	uint64_t ino = fx_file(&fx, "a", &f);

	fx_write(&fx, f, 0, SIZE, 1);
	FX_OK(vfs_sync(fx.fs));
	FX_OK(vfs_setattr(fx.fs, ino, VFS_SET_MODE, &a, &fx_root, &a));
	fx_close(&fx, f);
	f = evicted_and_loaded(ino);
	FX_OK(vfs_fsync(fx.fs, f, false));
	fx_close(&fx, f);
	fx_crash_remount(&fx);
	FX_OK(vfs_getattr(fx.fs, ino, &a));
	cr_assert_eq(a.mode & 07777, 0600);

	f = fx_open(&fx, "a");
	fx_set_size(&fx, f, SIZE + BS);
	fx_close(&fx, f);
	f = evicted_and_loaded(ino);
	FX_OK(vfs_fsync(fx.fs, f, true));
	fx_close(&fx, f);
	fx_crash_remount(&fx);
	FX_OK(vfs_getattr(fx.fs, ino, &a));
	cr_assert_eq(a.size, SIZE + BS);
}

/* Who appends meanwhile: the size does not pass what is on the disk. */
Test(inode_flush, the_size_does_not_pass_the_data)
{
	static void *(*const syncs[])(void *) = { fsync_thread, sync_thread };
	struct vfs_file *f;

	for (unsigned int k = 0; k < 2; k++) {
		f = file_with_a_hole_at_its_end();
		start_stuck(syncs[k], f, FAULT_WRITE);
		fx_write(&fx, f, SIZE, BS, 2);
		go_on();
		fx_close(&fx, f);
		fx_crash_remount(&fx);
		f = fx_open(&fx, "a");
		cr_assert_geq(fx_size_of(&fx, f), SIZE);
		fx_expect(&fx, f, SIZE, fx_size_of(&fx, f) - SIZE, 2);
		fx_close(&fx, f);
		FX_OK(vfs_unlink(fx.fs, TFS_INO_ROOT, "a"));
	}
}

static void empty_file(const char *name)
{
	struct vfs_file *f;

	fx_file(&fx, name, &f);
	fx_close(&fx, f);
}

/* What takes another file's place brings its size along. */
Test(inode_flush, rename_brings_the_size)
{
	fx_close(&fx, file_with_a_hole_at_its_end());
	FX_OK(vfs_rename(fx.fs, TFS_INO_ROOT, "a", TFS_INO_ROOT, "b", 0));
	empty_file("a");
	FX_OK(vfs_rename(fx.fs, TFS_INO_ROOT, "b", TFS_INO_ROOT, "a", 0));
	FX_OK(journal_commit_all(fx.fs));
	expect_after_a_cut(SIZE);
}

/* In an exchange both do. */
Test(inode_flush, an_exchange_brings_the_size)
{
	for (unsigned int k = 0; k < 2; k++) {
		fx_close(&fx, file_with_a_hole_at_its_end());
		empty_file("b");
		FX_OK(vfs_rename(fx.fs, TFS_INO_ROOT, k ? "b" : "a", TFS_INO_ROOT, k ? "a" : "b",
				 RENAME_EXCHANGE));
		FX_OK(journal_commit_all(fx.fs));
		FX_OK(vfs_unlink(fx.fs, TFS_INO_ROOT, "a"));
		FX_OK(vfs_rename(fx.fs, TFS_INO_ROOT, "b", TFS_INO_ROOT, "a", 0));
		FX_OK(journal_commit_all(fx.fs));
		expect_after_a_cut(SIZE);
	}
}

/* ---- eviction ---- */

static void *trim_thread(void *arg)
{
	(void)arg;
	icache_trim(fx.fs);
	return NULL;
}

/* File "a", whose item lags behind, is being evicted: that waits for the journal, which waits for
 * the device. */
static uint64_t evict_until_stuck(void)
{
	struct tfs_icache *ic = fx.fs->icache;
	struct tfs_journal *j = fx.fs->journal;
	uint64_t limit = ic->limit, ino;
	struct vfs_file *f;

	ino = fx_file(&fx, "a", &f);
	fx_write(&fx, f, 0, SIZE, 1);
	FX_OK(vfs_sync(fx.fs));
	iomap_ioend_drain(); /* the worker has let go of it too */
	FX_OK(vfs_setxattr(fx.fs, ino, "user.x", "x", 1, 0, &fx_root));
	inode_mark_dirty(f->inode);
	fx_close(&fx, f);
	atomic_store(&j->run_bytes, j->max_tx); /* full */
	ic->limit = 0;
	start_stuck(trim_thread, NULL, FAULT_FLUSH);
	ic->limit = limit;
	return ino;
}

static void expect_all(uint64_t ino, uint64_t size, unsigned int tag)
{
	struct vfs_file *f;

	for (int pass = 0; pass < 2; pass++) {
		FX_OK(vfs_open(fx.fs, ino, O_RDWR, &f));
		cr_assert_eq(fx_size_of(&fx, f), size);
		fx_expect(&fx, f, 0, size, tag);
		FX_OK(vfs_fsync(fx.fs, f, false));
		fx_close(&fx, f);
		fx_crash_remount(&fx);
	}
}

/* Opened, written and closed by somebody else while the eviction waits: that stays. */
Test(inode_flush, eviction_looks_again_at_the_data)
{
	uint64_t ino = evict_until_stuck();
	struct vfs_file *f;

	FX_OK(vfs_open(fx.fs, ino, O_RDWR, &f));
	fx_write(&fx, f, 0, SIZE, 2); /* as long as before: nothing but the data tells */
	fx_close(&fx, f);
	go_on();
	expect_all(ino, SIZE, 2);
}

/* The data has gone to the disk meanwhile, or was taken away again; the size that it gave the file
 * has not. */
Test(inode_flush, eviction_looks_again_at_the_size)
{
	uint64_t ino = evict_until_stuck();
	struct vfs_file *f;
	struct vfs_attr a;

	FX_OK(vfs_open(fx.fs, ino, O_RDWR, &f));
	fx_write(&fx, f, SIZE, 10 * BS, 1);
	truncate_inode_pages_range(&f->inode->mapping, SIZE,
				   SIZE + 10 * BS); /* as punching a hole does */
	fx_close(&fx, f);
	go_on();
	FX_OK(vfs_getattr(fx.fs, ino, &a));
	cr_assert_eq(a.size, SIZE + 10 * BS);
}

/* Somebody has it open by then: it stays. */
Test(inode_flush, eviction_looks_again_at_who_has_it)
{
	uint64_t ino = evict_until_stuck();
	struct vfs_file *f, *g;

	FX_OK(vfs_open(fx.fs, ino, O_RDWR, &f));
	go_on();
	FX_OK(vfs_open(fx.fs, ino, O_RDWR, &g));
	cr_assert_eq(f->inode, g->inode);
	fx_write(&fx, f, 0, SIZE, 2);
	fx_expect(&fx, g, 0, SIZE, 2);
	fx_close(&fx, f);
	fx_close(&fx, g);
}

/* Nobody has touched it: it goes. */
Test(inode_flush, eviction_goes_on)
{
	uint64_t ino = evict_until_stuck(), before = fx_stat(&fx, "inodes", "evicted");

	go_on();
	cr_assert_gt(fx_stat(&fx, "inodes", "evicted"), before);
	expect_all(ino, SIZE, 1);
}

/* Inodes in memory, and used by nobody, are no more than was asked for. */
Test(inode_flush, the_bound_is_kept)
{
	struct vfs_attr a;
	char name[] = "x0";

	for (; name[1] < '9'; name[1]++) {
		FX_OK(vfs_create(fx.fs, TFS_INO_ROOT, name, 0644, &fx_root, O_RDWR, &a, NULL));
		vfs_forget(fx.fs, a.ino, 1);
	}
	cr_assert_eq(fx_stat(&fx, "inodes", "limit"), 4);
	cr_assert_leq(fx_stat(&fx, "inodes", "cached"), 4);
}
