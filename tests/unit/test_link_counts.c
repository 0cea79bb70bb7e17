/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fs/vfs/namei.c, fs/inode/inode_flush.c: link counts: 2^31 at most, of files and of directories;
 * tens of thousands for real.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/fs.h>
#include <stdio.h>
#include "fs/inode/icache.h"
#include "fs/inode/iget.h"
#include "fs/inode/inode.h"
#include "fs/inode/inode_flush.h"
#include "fs/vfs/namei.h"
#include "fs/vfs/vfs.h"
#include "tallyfs/format.h"
#include "tests/lib/fixture.h"
#include "tests/lib/random.h"

#define ROOT TFS_INO_ROOT
#define MANY 70000u /* without a sanitizer */

static struct fixture fx;
static uint64_t d, e, f; /* two directories, and a file in the first */

static uint64_t mkdir_in(uint64_t dir, const char *name)
{
	struct vfs_attr a;

	FX_OK(vfs_mkdir(fx.fs, dir, name, 0755, &fx_root, &a));
	vfs_forget(fx.fs, a.ino, 1);
	return a.ino;
}

static int mkdir_fails(uint64_t dir, const char *name)
{
	struct vfs_attr a;

	return vfs_mkdir(fx.fs, dir, name, 0755, &fx_root, &a);
}

static int link_to(uint64_t ino, uint64_t dir, const char *name)
{
	struct vfs_attr a;
	int err = vfs_link(fx.fs, ino, dir, name, &a);

	if (!err)
		vfs_forget(fx.fs, ino, 1);
	return err;
}

static uint32_t nlink_of(uint64_t ino)
{
	struct vfs_attr a;

	FX_OK(vfs_getattr(fx.fs, ino, &a));
	return a.nlink;
}

/* As if so many more links were there. */
static void pretend(uint64_t ino, uint32_t more)
{
	struct tfs_inode *i;

	FX_OK(inode_get(fx.fs, ino, &i));
	pthread_mutex_lock(&i->attr_lock);
	i->a.nlink += more;
	pthread_mutex_unlock(&i->attr_lock);
	inode_mark_dirty(i);
	inode_put(i);
}

static void setup(void)
{
	struct vfs_attr a;

	fx_init();
	fx_create(&fx, FX_MEDIUM);
	d = mkdir_in(ROOT, "d");
	e = mkdir_in(ROOT, "e");
	FX_OK(vfs_create(fx.fs, d, "f", 0644, &fx_root, 0, &a, NULL));
	vfs_forget(fx.fs, a.ino, 1);
	f = a.ino;
}

static void teardown(void)
{
	fx_destroy(&fx);
	fx_exit();
}

TestSuite(link_counts, .init = setup, .fini = teardown, .timeout = 900);

Test(link_counts, of_a_file)
{
	const uint32_t more = TFS_LINK_MAX - 2;

	pretend(f, more);
	cr_assert_eq(nlink_of(f), TFS_LINK_MAX - 1);
	FX_OK(link_to(f, e, "last"));
	cr_assert_eq(nlink_of(f), 1u << 31);
	cr_assert_eq(link_to(f, e, "too many"), -EMLINK);
	cr_assert_eq(nlink_of(f), 1u << 31);
	/* a rename makes no link, over another name of the same file neither */
	FX_OK(vfs_rename(fx.fs, e, "last", d, "moved", 0));
	FX_OK(vfs_rename(fx.fs, d, "moved", d, "f", 0));
	cr_assert_eq(nlink_of(f), 1u << 31);
	FX_OK(vfs_unlink(fx.fs, d, "moved"));
	cr_assert_eq(nlink_of(f), TFS_LINK_MAX - 1);
	FX_OK(link_to(f, e, "again"));
	cr_assert_eq(link_to(f, e, "too many"), -EMLINK);
	/* the number survives being written and read */
	FX_OK(vfs_sync(fx.fs));
	FX_OK(vfs_unmount(fx.fs));
	fx_mount_own(&fx, NULL);
	cr_assert_eq(nlink_of(f), 1u << 31);
	cr_assert_eq(link_to(f, e, "too many"), -EMLINK);
	pretend(f, -more);
	cr_assert_eq(nlink_of(f), 2);
}

Test(link_counts, of_a_directory)
{
	const uint32_t more = TFS_LINK_MAX - 3;

	mkdir_in(e, "sub");
	mkdir_in(e, "other");
	pretend(d, more);
	mkdir_in(d, "last");
	cr_assert_eq(nlink_of(d), 1u << 31);
	cr_assert_eq(mkdir_fails(d, "too many"), -EMLINK);
	cr_assert_eq(vfs_rename(fx.fs, e, "sub", d, "sub", 0), -EMLINK);
	/* into the place of a file's name, by exchange, either way round */
	cr_assert_eq(vfs_rename(fx.fs, e, "sub", d, "f", RENAME_EXCHANGE), -EMLINK);
	cr_assert_eq(vfs_rename(fx.fs, d, "f", e, "sub", RENAME_EXCHANGE), -EMLINK);
	/* what brings no more is fine: within it, over a directory, one for another */
	FX_OK(vfs_rename(fx.fs, d, "last", d, "last2", 0));
	FX_OK(vfs_rename(fx.fs, e, "sub", d, "last2", 0));
	FX_OK(vfs_rename(fx.fs, e, "other", d, "last2", RENAME_EXCHANGE));
	FX_OK(link_to(f, d, "g"));
	cr_assert_eq(nlink_of(d), 1u << 31);
	cr_assert_eq(nlink_of(e), 3);
	FX_OK(vfs_rmdir(fx.fs, d, "last2"));
	cr_assert_eq(nlink_of(d), TFS_LINK_MAX - 1);
	FX_OK(vfs_rename(fx.fs, e, "other", d, "other", 0));
	cr_assert_eq(mkdir_fails(d, "too many"), -EMLINK);
	pretend(d, -more);
	cr_assert_eq(nlink_of(d), 3);
	cr_assert_eq(nlink_of(e), 2);
}

/* More than 16 bits count. */
Test(link_counts, tens_of_thousands)
{
	const unsigned int many = (unsigned int)(MANY / test_stride());
	char name[16];

	for (unsigned int k = 0; k < many; k++) {
		snprintf(name, sizeof(name), "l%u", k);
		FX_OK(link_to(f, e, name));
		snprintf(name, sizeof(name), "s%u", k);
		mkdir_in(d, name);
	}
	cr_assert_eq(nlink_of(f), many + 1);
	cr_assert_eq(nlink_of(d), many + 2);
	fx_remount(&fx);
	cr_assert_eq(nlink_of(f), many + 1);
	cr_assert_eq(nlink_of(d), many + 2);
	for (unsigned int k = 0; k < many; k++) {
		snprintf(name, sizeof(name), "l%u", k);
		FX_OK(vfs_unlink(fx.fs, e, name));
		snprintf(name, sizeof(name), "s%u", k);
		FX_OK(vfs_rmdir(fx.fs, d, name));
	}
	cr_assert_eq(nlink_of(f), 1);
	cr_assert_eq(nlink_of(d), 2);
}
