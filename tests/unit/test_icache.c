/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fs/inode/icache.c, evict.c, lookup_count.c: the cache is bounded, lookup counts are exact,
 * nothing is lost by eviction. */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>
#include "core/lib/list.h"
#include "fs/inode/inode.h"
#include "fs/inode/inode_flush.h"
#include "fs/journal/journal.h"
#include "fs/journal/trans.h"
#include "fs/vfs/vfs.h"
#include "tallyfs/format.h"
#include "tests/lib/fixture.h"
#include "tests/lib/fixture_suite.h"

static struct fixture fx;

FX_SUITE(icache, fx, FX_MEDIUM, 900);

#define MANY 5000u

Test(icache, eviction)
{
	uint64_t limit = fx_stat(&fx, "inodes", "limit"), first = 0;
	struct vfs_file *f;
	struct vfs_attr a;
	char name[24];

	cr_assert_lt(limit, MANY);
	for (unsigned int k = 0; k < MANY; k++) {
		snprintf(name, sizeof(name), "file%u", k);
		FX_OK(vfs_create(fx.fs, TFS_INO_ROOT, name, 0644, &fx_root, O_RDWR, &a, &f));
		first = first ? first : a.ino;
		fx_write(&fx, f, 0, 50, k);
		fx_close(&fx, f);
		if (k % 256 == 0)
			FX_OK(vfs_sync(fx.fs));
	}
	/* dirty ones can't go; written ones do, looked up or not */
	FX_OK(vfs_sync(fx.fs));
	cr_assert_eq(fx_stat(&fx, "inodes", "looked_up"), MANY);
	for (unsigned int k = 0; k < MANY; k++)
		FX_OK(vfs_getattr(fx.fs, first + k, &a));
	cr_assert_leq(fx_stat(&fx, "inodes", "cached"), limit + 1);
	cr_assert_gt(fx_stat(&fx, "inodes", "evicted"), MANY - limit - 100);
	for (unsigned int k = 0; k < MANY; k += 97) {
		snprintf(name, sizeof(name), "file%u", k);
		f = fx_open(&fx, name);
		cr_assert_eq(fx_size_of(&fx, f), 50);
		fx_expect(&fx, f, 0, 50, k);
		fx_close(&fx, f);
	}
	for (unsigned int k = 0; k < MANY; k++)
		vfs_forget(fx.fs, first + k, 1);
	cr_assert_eq(fx_stat(&fx, "inodes", "looked_up"), 0);
	fx_remount(&fx);
	f = fx_open(&fx, "file4999");
	fx_expect(&fx, f, 0, 50, 4999);
	fx_close(&fx, f);
}

Test(icache, lookup_counts)
{
	uint64_t x = 1;

	/* a table full of neighbours, then deleted in another order */
	for (uint64_t k = 0; k < 20000; k++)
		FX_OK(vfs_ref(fx.fs, 1000 + k, 1 + k % 3));
	cr_assert_eq(fx_stat(&fx, "inodes", "looked_up"), 20000);
	for (uint64_t k = 0; k < 20000; k++) {
		x = (x + 7919) % 20000;
		vfs_forget(fx.fs, 1000 + x, 1);
	}
	cr_assert_eq(fx_stat(&fx, "inodes", "looked_up"), 20000 - 6667);
	for (uint64_t k = 0; k < 20000; k++)
		vfs_forget(fx.fs, 1000 + k, 5);
	cr_assert_eq(fx_stat(&fx, "inodes", "looked_up"), 0);
	vfs_forget(fx.fs, 77, 1); /* none there: nothing happens */
}

Test(icache, times_survive_eviction)
{
	struct vfs_attr a, b;
	struct vfs_file *f;
	uint64_t ino = fx_file(&fx, "a", &f);
	struct vfs_attr set = { .mtime = { .tv_sec = 1000 } };

	FX_OK(vfs_setattr(fx.fs, ino, VFS_SET_MTIME, &set, &fx_root, &a));
	fx_write(&fx, f, 0, 10, 1);
	FX_OK(vfs_getattr(fx.fs, ino, &a));
	cr_assert_gt(a.mtime.tv_sec, 1000);
	fx_close(&fx, f);
	fx_remount(&fx);
	FX_OK(vfs_getattr(fx.fs, ino, &b));
	cr_assert_eq(a.mtime.tv_sec, b.mtime.tv_sec);
	cr_assert_eq(a.mtime.tv_nsec, b.mtime.tv_nsec);
	cr_assert_eq(a.btime.tv_nsec, b.btime.tv_nsec);
	cr_assert_eq(a.generation, b.generation);
	cr_assert_eq(vfs_getattr(fx.fs, 9999, &a), -ESTALE);
}

static atomic_bool synced;

static void *sync_thread(void *arg)
{
	FX_OK(vfs_fsync(fx.fs, arg, false));
	atomic_store(&synced, true);
	return NULL;
}

static void *flush_thread(void *arg)
{
	(void)arg;
	FX_OK(icache_flush(fx.fs));
	return NULL;
}

/* What another thread is about to write is not yet written: fsync does not take it for done. */
Test(icache, fsync_beside_a_flush)
{
	pthread_t flusher, syncer;
	struct tfs_trans t = { 0 };
	struct vfs_file *f;
	int err = 0;

	fx_file(&fx, "a", &f);
	fx_write(&fx, f, 0, 10000, 1);
	FX_OK(vfs_fsync(fx.fs, f, false));
	inode_mark_dirty(f->inode);
	FX_OK(trans_begin(&t, fx.fs, TRANS_CREDITS(fx.fs)));
	FX_OK(pthread_create(&flusher, NULL, flush_thread, NULL));
	usleep(100000);
	FX_OK(pthread_create(&syncer, NULL, sync_thread, f));
	usleep(100000);
	cr_assert(!atomic_load(&synced));
	cr_assert(!trans_again(&t, &err));
	pthread_join(flusher, NULL);
	pthread_join(syncer, NULL);
	cr_assert_geq(journal_durable_txid(fx.fs), atomic_load(&f->inode->txid));
	fx_close(&fx, f);
}

static void *second_flush_thread(void *arg)
{
	flush_thread(arg);
	atomic_store(&synced, true);
	return NULL;
}

/* Nor does whoever syncs everything. */
Test(icache, sync_beside_a_flush)
{
	pthread_t first, second;
	struct tfs_trans t = { 0 };
	struct vfs_file *f;
	int err = 0;

	fx_file(&fx, "a", &f);
	FX_OK(vfs_sync(fx.fs));
	inode_mark_dirty(f->inode);
	FX_OK(trans_begin(&t, fx.fs, TRANS_CREDITS(fx.fs)));
	FX_OK(pthread_create(&first, NULL, flush_thread, NULL));
	usleep(100000);
	FX_OK(pthread_create(&second, NULL, second_flush_thread, NULL));
	usleep(100000);
	cr_assert(!atomic_load(&synced));
	cr_assert(!trans_again(&t, &err));
	pthread_join(first, NULL);
	pthread_join(second, NULL);
	cr_assert(list_empty(&f->inode->dirty));
	fx_close(&fx, f);
}
