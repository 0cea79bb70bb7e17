/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fs/inode/reap.c: unlinked files live until their last use, and no longer. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include "fs/inode/evict.h"
#include "fs/inode/icache.h"
#include "fs/state/fs.h"
#include "fs/vfs/vfs.h"
#include "tallyfs/format.h"
#include "tests/lib/fixture.h"
#include "tests/lib/fixture_suite.h"

#define ROOT TFS_INO_ROOT

static struct fixture fx;

FX_SUITE(reap, fx, FX_SMALL, 900);

Test(reap, open_unlinked_lives)
{
	struct vfs_file *f;

	fx_file(&fx, "a", &f);
	fx_write(&fx, f, 0, 100000, 1);
	FX_OK(vfs_fsync(fx.fs, f, false));
	FX_OK(vfs_unlink(fx.fs, ROOT, "a"));
	fx_expect(&fx, f, 0, 100000, 1);
	fx_write(&fx, f, 100000, 50000, 1);
	FX_OK(vfs_fsync(fx.fs, f, false));
	fx_expect(&fx, f, 0, 150000, 1);
	cr_assert_gt(fx_stat(&fx, "tree", "data_blocks"), 0);
	fx_close(&fx, f);
	cr_assert_eq(fx_stat(&fx, "tree", "data_blocks"), 0);
	cr_assert_eq(fx_stat(&fx, "tree", "inodes"), 1);
	cr_assert_eq(fx_stat(&fx, "space", "reserved"), 0);
}

Test(reap, looked_up_unlinked_lives)
{
	struct vfs_attr a;

	FX_OK(vfs_create(fx.fs, ROOT, "a", 0644, &fx_root, 0, &a, NULL));
	FX_OK(vfs_unlink(fx.fs, ROOT, "a"));
	FX_OK(vfs_getattr(fx.fs, a.ino, &a));
	cr_assert_eq(a.nlink, 0);
	vfs_forget(fx.fs, a.ino, 1);
	cr_assert_eq(vfs_getattr(fx.fs, a.ino, &a), -ESTALE);
}

/* The kernel still knows it: who needs memory does not take it, or nobody would find it dead. */
Test(reap, looked_up_unlinked_is_not_evicted)
{
	uint64_t limit = fx.fs->icache->limit;
	struct vfs_attr a;

	FX_OK(vfs_create(fx.fs, ROOT, "a", 0644, &fx_root, 0, &a, NULL));
	FX_OK(vfs_unlink(fx.fs, ROOT, "a"));
	fx.fs->icache->limit = 0;
	icache_trim(fx.fs);
	fx.fs->icache->limit = limit;
	vfs_forget(fx.fs, a.ino, 1);
	cr_assert_eq(vfs_getattr(fx.fs, a.ino, &a), -ESTALE);
	cr_assert_eq(fx_stat(&fx, "tree", "inodes"), 1);
}

Test(reap, after_a_crash)
{
	struct vfs_file *f;
	uint64_t ino = fx_file(&fx, "a", &f);
	struct vfs_attr a;

	for (uint64_t k = 0; k < 100; k++)
		fx_write(&fx, f, k * 8192, 4096, k);
	FX_OK(vfs_setxattr(fx.fs, ino, "user.x", "value", 5, 0, &fx_root));
	FX_OK(vfs_fsync(fx.fs, f, false));
	FX_OK(vfs_unlink(fx.fs, ROOT, "a"));
	FX_OK(vfs_sync(fx.fs));
	vfs_crash(fx.fs); /* with the file open: the fixture's handle is lost with it */
	free(f);
	fx_mount_own(&fx, NULL);
	cr_assert_eq(vfs_getattr(fx.fs, ino, &a), -ESTALE);
	cr_assert_eq(fx_stat(&fx, "tree", "inodes"), 1);
	cr_assert_eq(fx_stat(&fx, "tree", "data_blocks"), 0);
}

Test(reap, tmpfile_and_its_link)
{
	struct vfs_file *f;
	struct vfs_attr a, b;

	FX_OK(vfs_tmpfile(fx.fs, ROOT, 0600, &fx_root, O_RDWR, &a, &f));
	cr_assert_eq(a.nlink, 0);
	fx_write(&fx, f, 0, 10000, 3);
	FX_OK(vfs_link(fx.fs, a.ino, ROOT, "named", &b));
	cr_assert_eq(b.nlink, 1);
	fx_close(&fx, f);
	vfs_forget(fx.fs, a.ino, 2);
	FX_OK(vfs_tmpfile(fx.fs, ROOT, 0600, &fx_root, O_RDWR, &a, &f));
	fx_close(&fx, f);
	vfs_forget(fx.fs, a.ino, 1);
	fx_remount(&fx);
	f = fx_open(&fx, "named");
	fx_expect(&fx, f, 0, 10000, 3);
	fx_close(&fx, f);
	cr_assert_eq(fx_stat(&fx, "tree", "inodes"), 2);
}

Test(reap, left_open_at_unmount)
{
	struct vfs_attr a;

	/* a front end that died never gave back its lookups */
	FX_OK(vfs_create(fx.fs, ROOT, "a", 0644, &fx_root, 0, &a, NULL));
	FX_OK(vfs_unlink(fx.fs, ROOT, "a"));
	fx_remount(&fx);
	cr_assert_eq(fx_stat(&fx, "tree", "inodes"), 1);
}

Test(reap, big_xattrs_go_too)
{
	static char value[TFS_XATTR_MAX];
	struct vfs_attr a;
	char name[32];

	FX_OK(vfs_create(fx.fs, ROOT, "a", 0644, &fx_root, 0, &a, NULL));
	for (int k = 0; k < 10; k++) {
		snprintf(name, sizeof(name), "user.big%d", k);
		FX_OK(vfs_setxattr(fx.fs, a.ino, name, value, sizeof(value), 0, &fx_root));
	}
	vfs_forget(fx.fs, a.ino, 1);
	FX_OK(vfs_unlink(fx.fs, ROOT, "a"));
	cr_assert_eq(fx_stat(&fx, "tree", "inodes"), 1);
}
