/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fs/vfs/fs_open.c: what becomes of everybody's work when one reader comes upon a damaged block. */
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <unistd.h>
#include "core/block/bdev.h"
#include "core/iomap/iomap.h"
#include "fs/btree/btree.h"
#include "fs/disk/btree_key.h"
#include "fs/disk/geom.h"
#include "fs/disk/super.h"
#include "fs/inode/inode.h"
#include "fs/journal/journal.h"
#include "fs/journal/trans.h"
#include "fs/state/error.h"
#include "fs/state/fs.h"
#include "fs/vfs/vfs.h"
#include "tallyfs/format.h"
#include "tests/lib/faultdev.h"
#include "tests/lib/fixture.h"

#define BS 4096u
#define FILES 300u
#define SIZE (12 * BS)

static struct fixture fx;
static uint64_t victim, leaf; /* inode number; device byte of the leaf with its item */
static uint64_t txid;	      /* of all that was done before the damage was found */

static struct tfs_mount_opts options(bool threads)
{
	return (struct tfs_mount_opts){ .no_threads = !threads,
					.cache_size = 16u << 20,
					.commit_interval = 10000 };
}

static void mount_with(bool threads)
{
	char why[200] = "";

	fx.opts = options(threads);
	FX_OK(vfs_mount(fx.dev, &fx.opts, &fx.fs, why, sizeof(why)));
}

static uint64_t leaf_of(uint64_t ino)
{
	struct tkey key = TKEY(ino, TFS_KEY_INODE, 0);
	struct btree_path p = BTREE_PATH_INIT;
	struct tfs_trans t = { 0 };
	uint64_t block = 0;
	int err;

	do {
		trans_read_begin(&t, fx.fs);
		err = btree_seek(&t, TFS_TREE_FS, &key, BTREE_EQ, &p);
		if (!err) {
			FX_CHECK(p.depth > 1);
			block = p.node[p.depth - 1].buf->block;
			btree_release(&p);
		}
	} while (trans_again(&t, &err));
	FX_OK(err);
	return block << fx.fs->geom.blkbits;
}

static void setup(void)
{
	struct bdev *mem = bdev_mem_create(fx_bytes(FX_MEDIUM));
	struct tfs_mount_opts o = options(false);
	struct vfs_file *f;
	uint64_t last = 0;
	char name[16];

	fx_init();
	FX_CHECK(mem);
	fx_format(mem, FX_MEDIUM, 4711);
	fx_mount(&fx, faultdev_create(mem), &o);
	fx_file(&fx, "log", &f);
	fx_close(&fx, f);
	for (unsigned int k = 0; k < FILES; k++) {
		snprintf(name, sizeof(name), "f%u", k);
		last = fx_file(&fx, name, &f);
		victim = k == FILES / 2 ? last : victim;
		fx_close(&fx, f);
	}
	leaf = leaf_of(victim);
	FX_CHECK(leaf != leaf_of(last)); /* new files' items go there */
	FX_OK(vfs_unmount(fx.fs));
	faultdev_plan(fx.dev, .kind = FAULT_FLIP, .ops = FAULT_READ, .off = leaf + 9000, .len = 1,
		      .times = FAULT_ALWAYS);
}

static void teardown(void)
{
	vfs_crash(fx.fs);
	bdev_close(fx.dev);
	fx_exit();
}

TestSuite(fs_open, .init = setup, .fini = teardown, .timeout = 900);

/* Somebody works, and somebody else comes upon the leaf. */
static struct vfs_file *work_and_damage(bool threads)
{
	struct vfs_file *f, *g;
	struct vfs_attr a;

	mount_with(threads);
	f = fx_open(&fx, "log");
	fx_write(&fx, f, 0, SIZE, 1);
	/* a size that no block brings along */
	FX_OK(vfs_fallocate(fx.fs, f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 10 * BS,
			    SIZE - 10 * BS));
	fx_file(&fx, "new", &g);
	fx_write(&fx, g, 0, 100, 2);
	fx_close(&fx, g);
	FX_OK(vfs_rename(fx.fs, TFS_INO_ROOT, "f0", TFS_INO_ROOT, "g0", 0));
	txid = journal_running_txid(fx.fs);
	cr_assert_eq(vfs_getattr(fx.fs, victim, &a), -EUCLEAN);
	return f;
}

static void expect_log(void)
{
	struct vfs_file *f = fx_open(&fx, "log");

	cr_assert_eq(fx_size_of(&fx, f), SIZE);
	fx_expect(&fx, f, 0, 10 * BS, 1);
	fx_expect_zero(&fx, f, 10 * BS, 2 * BS);
	fx_close(&fx, f);
}

static void expect_it_all(void)
{
	struct tfs_super s;
	struct tfs_geom g;
	struct vfs_file *f;
	char why[200];

	faultdev_clear(fx.dev);
	mount_with(false);
	expect_log();
	f = fx_open(&fx, "new");
	fx_expect(&fx, f, 0, 100, 2);
	fx_close(&fx, f);
	fx_ino(&fx, "g0");
	FX_OK(vfs_unmount(fx.fs));
	FX_OK(tfs_super_read(fx.dev, 0, &s, &g, why, sizeof(why)));
	cr_assert(le32_get(s.state) & TFS_STATE_ERRORS);
	mount_with(false);
}

/* From then on nobody changes anything. */
static void expect_read_only(struct vfs_file *f)
{
	struct vfs_attr a = { .mode = 0600 };

	cr_assert_eq(tfs_writable(fx.fs), -EROFS);
	cr_assert_eq(vfs_create(fx.fs, TFS_INO_ROOT, "x", 0644, &fx_root, O_RDWR, &a, NULL),
		     -EROFS);
	cr_assert_eq(vfs_unlink(fx.fs, TFS_INO_ROOT, "log"), -EROFS);
	cr_assert_eq(vfs_pwrite(fx.fs, f, "x", 1, 0), -EROFS);
	cr_assert_eq(vfs_setattr(fx.fs, f->inode->ino, VFS_SET_MODE, &a, &fx_root, &a), -EROFS);
	cr_assert_eq(vfs_setattr(fx.fs, f->inode->ino, VFS_SET_SIZE, &a, &fx_root, &a), -EROFS);
	cr_assert_eq(vfs_removexattr(fx.fs, f->inode->ino, "user.x", &fx_root), -EROFS);
	fx_expect(&fx, f, 0, 10 * BS, 1);
}

Test(fs_open, damage_loses_nothing_of_others_at_unmount)
{
	struct vfs_file *f = work_and_damage(false);

	expect_read_only(f);
	fx_close(&fx, f);
	FX_OK(vfs_unmount(fx.fs));
	expect_it_all();
}

Test(fs_open, fsync_after_damage)
{
	struct vfs_file *f = work_and_damage(false);

	FX_OK(vfs_fsync(fx.fs, f, false));
	cr_assert(!atomic_load(&f->inode->mapping.nr_busy_blocks));
	cr_assert_geq(journal_durable_txid(fx.fs), atomic_load(&f->inode->txid));
	fx_close(&fx, f);
	vfs_crash(fx.fs);
	faultdev_clear(fx.dev);
	mount_with(false);
	expect_log();
}

/* Nobody need ask: what there is goes to the device at once, not with the next interval. */
Test(fs_open, damage_has_all_written)
{
	struct vfs_file *f = work_and_damage(true);

	while (fx_stat(&fx, "cache", "dirty_bytes") + fx_stat(&fx, "cache", "writeback_bytes") ||
	       journal_durable_txid(fx.fs) < txid)
		usleep(1000);
	FX_OK(vfs_fsync(fx.fs, f, false)); /* the end of what has been written */
	fx_close(&fx, f);
	vfs_crash(fx.fs);
	expect_it_all();
}

/* What the kernel took from a program before is taken from it, with the times it kept. */
Test(fs_open, what_the_kernel_has_cached)
{
	struct iomap_src src = { .buf = "kept", .len = 4 };
	struct vfs_attr a = { .mtime = { .tv_sec = 1000 }, .ctime = { .tv_sec = 1000 } };
	struct vfs_file *f = work_and_damage(false);
	char buf[4];

	cr_assert_eq(vfs_write(fx.fs, f, SIZE, &src, VFS_WRITE_CACHE, NULL), 4);
	FX_OK(vfs_setattr(fx.fs, f->inode->ino, VFS_SET_MTIME | VFS_SET_CTIME, &a, &fx_root, NULL));
	FX_OK(vfs_fsync(fx.fs, f, false));
	fx_close(&fx, f);
	vfs_crash(fx.fs);
	faultdev_clear(fx.dev);
	mount_with(false);
	f = fx_open(&fx, "log");
	cr_assert_eq(vfs_pread(fx.fs, f, buf, 4, SIZE), 4);
	cr_assert_arr_eq(buf, "kept", 4);
	FX_OK(vfs_getattr(fx.fs, f->inode->ino, &a));
	cr_assert_eq(a.mtime.tv_sec, 1000);
	fx_close(&fx, f);
}
