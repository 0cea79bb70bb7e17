/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fs/vfs/namei.c, fs/vfs/create.c, fs/vfs/rename.c, fs/vfs/attr.c */
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include "core/lib/util.h"
#include "fs/journal/trans.h"
#include "fs/names/backref.h"
#include "fs/state/fs.h"
#include "fs/vfs/vfs.h"
#include "tallyfs/format.h"
#include "tests/lib/fixture.h"
#include "tests/lib/fixture_suite.h"
#include "tests/lib/section.h"

#define ROOT TFS_INO_ROOT

static struct fixture fx;

FX_SUITE(namei, fx, FX_SMALL, 900);

static uint64_t mkdir_in(uint64_t dir, const char *name)
{
	struct vfs_attr a;

	FX_OK(vfs_mkdir(fx.fs, dir, name, 0755, &fx_root, &a));
	vfs_forget(fx.fs, a.ino, 1);
	return a.ino;
}

static uint64_t touch_in(uint64_t dir, const char *name)
{
	struct vfs_attr a;

	FX_OK(vfs_create(fx.fs, dir, name, 0644, &fx_root, 0, &a, NULL));
	vfs_forget(fx.fs, a.ino, 1);
	return a.ino;
}

static struct vfs_attr attr_of(uint64_t ino)
{
	struct vfs_attr a;

	FX_OK(vfs_getattr(fx.fs, ino, &a));
	return a;
}

static int exists(uint64_t dir, const char *name)
{
	struct vfs_attr a;
	int err = vfs_lookup(fx.fs, dir, name, &a);

	if (!err)
		vfs_forget(fx.fs, a.ino, 1);
	return err;
}

Test(namei, create_lookup_unlink)
{
	struct vfs_attr a;
	uint64_t ino = touch_in(ROOT, "f");

	cr_assert_geq(ino, TFS_INO_FIRST);
	FX_OK(vfs_lookup(fx.fs, ROOT, "f", &a));
	cr_assert_eq(a.ino, ino);
	cr_assert_eq(a.nlink, 1);
	vfs_forget(fx.fs, ino, 1);
	cr_assert_eq(vfs_create(fx.fs, ROOT, "f", 0644, &fx_root, 0, &a, NULL), -EEXIST);
	cr_assert_eq(vfs_rmdir(fx.fs, ROOT, "f"), -ENOTDIR);
	cr_assert_eq(vfs_lookup(fx.fs, ino, "x", &a), -ENOTDIR);
	FX_OK(vfs_unlink(fx.fs, ROOT, "f"));
	cr_assert_eq(exists(ROOT, "f"), -ENOENT);
	cr_assert_eq(vfs_unlink(fx.fs, ROOT, "f"), -ENOENT);
	cr_assert_eq(vfs_getattr(fx.fs, ino, &a), -ESTALE);
	fx_remount(&fx);
	cr_assert_gt(touch_in(ROOT, "f"), ino);
}

Test(namei, bad_names)
{
	struct vfs_attr a;
	char name[300];

	memset(name, 'n', sizeof(name));
	name[256] = '\0';
	cr_assert_eq(vfs_create(fx.fs, ROOT, name, 0644, &fx_root, 0, &a, NULL), -ENAMETOOLONG);
	cr_assert_eq(vfs_lookup(fx.fs, ROOT, name, &a), -ENAMETOOLONG);
	name[255] = '\0';
	touch_in(ROOT, name);
	cr_assert_eq(vfs_create(fx.fs, ROOT, "", 0644, &fx_root, 0, &a, NULL), -EINVAL);
	cr_assert_eq(vfs_create(fx.fs, ROOT, "a/b", 0644, &fx_root, 0, &a, NULL), -EINVAL);
	cr_assert_eq(vfs_create(fx.fs, 999, "f", 0644, &fx_root, 0, &a, NULL), -ESTALE);
	fx_remount(&fx);
	FX_OK(exists(ROOT, name));
}

Test(namei, directories)
{
	uint64_t d = mkdir_in(ROOT, "d"), e = mkdir_in(d, "e"), parent;

	cr_assert_eq(attr_of(ROOT).nlink, 3);
	cr_assert_eq(attr_of(d).nlink, 3);
	cr_assert_eq(attr_of(d).size, 1);
	cr_assert_eq(vfs_rmdir(fx.fs, ROOT, "d"), -ENOTEMPTY);
	cr_assert_eq(vfs_unlink(fx.fs, ROOT, "d"), -EISDIR);
	FX_OK(vfs_parent(fx.fs, e, &parent));
	cr_assert_eq(parent, d);
	FX_OK(vfs_rmdir(fx.fs, d, "e"));
	cr_assert_eq(attr_of(d).nlink, 2);
	fx_remount(&fx);
	FX_OK(vfs_rmdir(fx.fs, ROOT, "d"));
	cr_assert_eq(attr_of(ROOT).nlink, 2);
}

Test(namei, removed_directory_takes_no_names)
{
	struct vfs_attr a;

	FX_OK(vfs_mkdir(fx.fs, ROOT, "d", 0755, &fx_root, &a));
	FX_OK(vfs_rmdir(fx.fs, ROOT, "d"));
	cr_assert_eq(attr_of(a.ino).nlink, 0);
	cr_assert_eq(vfs_create(fx.fs, a.ino, "f", 0644, &fx_root, 0, &a, NULL), -ENOENT);
	vfs_forget(fx.fs, a.ino, 1);
}

Test(namei, hard_links)
{
	uint64_t ino = touch_in(ROOT, "f"), d = mkdir_in(ROOT, "d");
	struct vfs_attr a;

	FX_OK(vfs_link(fx.fs, ino, d, "g", &a));
	vfs_forget(fx.fs, ino, 1);
	cr_assert_eq(a.nlink, 2);
	cr_assert_eq(vfs_link(fx.fs, ino, d, "g", &a), -EEXIST);
	cr_assert_eq(vfs_link(fx.fs, d, ROOT, "x", &a), -EPERM);
	FX_OK(vfs_unlink(fx.fs, ROOT, "f"));
	fx_remount(&fx);
	cr_assert_eq(attr_of(ino).nlink, 1);
	FX_OK(exists(d, "g"));
}

Test(namei, special_files_and_symlinks)
{
	char target[TFS_SYMLINK_MAX + 2], buf[TFS_SYMLINK_MAX + 1];
	struct vfs_attr a;

	FX_OK(vfs_mknod(fx.fs, ROOT, "c", S_IFCHR | 0600, makedev(300, 70000), &fx_root, &a));
	vfs_forget(fx.fs, a.ino, 1);
	FX_OK(vfs_mknod(fx.fs, ROOT, "p", S_IFIFO | 0600, 5, &fx_root, &a));
	vfs_forget(fx.fs, a.ino, 1);
	memset(target, 't', sizeof(target));
	target[TFS_SYMLINK_MAX + 1] = '\0';
	cr_assert_eq(vfs_symlink(fx.fs, ROOT, "l", target, &fx_root, &a), -ENAMETOOLONG);
	target[TFS_SYMLINK_MAX] = '\0';
	FX_OK(vfs_symlink(fx.fs, ROOT, "l", target, &fx_root, &a));
	vfs_forget(fx.fs, a.ino, 1);
	cr_assert_eq(a.size, TFS_SYMLINK_MAX);
	FX_OK(vfs_symlink(fx.fs, ROOT, "m", "short", &fx_root, &a));
	vfs_forget(fx.fs, a.ino, 1);
	fx_remount(&fx);
	a = attr_of(fx_ino(&fx, "c"));
	cr_assert_eq(a.rdev, makedev(300, 70000));
	cr_assert_eq(a.mode, (unsigned int)S_IFCHR | 0600u);
	cr_assert_eq(vfs_readlink(fx.fs, fx_ino(&fx, "l"), buf, sizeof(buf)), TFS_SYMLINK_MAX);
	cr_assert_eq(memcmp(buf, target, TFS_SYMLINK_MAX), 0);
	cr_assert_eq(vfs_readlink(fx.fs, fx_ino(&fx, "m"), buf, sizeof(buf)), 5);
	cr_assert_eq(attr_of(fx_ino(&fx, "m")).size, 5);
	cr_assert_eq(vfs_readlink(fx.fs, fx_ino(&fx, "c"), buf, sizeof(buf)), -EINVAL);
}

Test(namei, ownership_umask_setgid)
{
	struct vfs_cred user = { .uid = 1000, .gid = 1001, .umask = 027 };
	struct vfs_attr a, set = { .mode = 02775, .gid = 77 };
	uint64_t d = mkdir_in(ROOT, "d");

	FX_OK(vfs_create(fx.fs, ROOT, "f", 0666, &user, 0, &a, NULL));
	vfs_forget(fx.fs, a.ino, 1);
	cr_assert_eq(a.mode, (unsigned int)S_IFREG | 0640u);
	cr_assert_eq(a.uid, 1000);
	cr_assert_eq(a.gid, 1001);
	FX_OK(vfs_setattr(fx.fs, d, VFS_SET_MODE | VFS_SET_GID, &set, &fx_root, &a));
	FX_OK(vfs_mkdir(fx.fs, d, "e", 0777, &user, &a));
	vfs_forget(fx.fs, a.ino, 1);
	cr_assert_eq(a.gid, 77);
	cr_assert_eq(a.mode, (unsigned int)S_IFDIR | 02750u);
}

/* fsync of a directory, not of what it names: what was done to its names is durable. */
Test(namei, names_survive_a_crash_behind_fsyncdir)
{
	uint64_t d = mkdir_in(ROOT, "d"), a = touch_in(d, "a");

	touch_in(d, "b");
	FX_OK(vfs_fsyncdir(fx.fs, d));
	fx_crash_remount(&fx);
	cr_assert_eq(fx_ino(&fx, "/d/a"), a);
	FX_OK(vfs_rename(fx.fs, d, "a", d, "c", 0));
	FX_OK(vfs_unlink(fx.fs, d, "b"));
	FX_OK(vfs_fsyncdir(fx.fs, d));
	fx_crash_remount(&fx);
	cr_assert_eq(fx_ino(&fx, "/d/c"), a);
	cr_assert_eq(exists(d, "a"), -ENOENT);
	cr_assert_eq(exists(d, "b"), -ENOENT);
}

Test(namei, rename_plain_and_over)
{
	uint64_t a = touch_in(ROOT, "a"), b = touch_in(ROOT, "b"), d = mkdir_in(ROOT, "d");
	struct vfs_attr at;

	FX_OK(vfs_rename(fx.fs, ROOT, "a", d, "x", 0));
	cr_assert_eq(exists(ROOT, "a"), -ENOENT);
	cr_assert_eq(fx_ino(&fx, "d/x"), a);
	FX_OK(vfs_rename(fx.fs, d, "x", ROOT, "b", 0));
	cr_assert_eq(fx_ino(&fx, "b"), a);
	cr_assert_eq(vfs_getattr(fx.fs, b, &at), -ESTALE);
	cr_assert_eq(vfs_rename(fx.fs, ROOT, "nope", ROOT, "b", 0), -ENOENT);
	cr_assert_eq(vfs_rename(fx.fs, ROOT, "b", ROOT, "d", 0), -EISDIR);
	cr_assert_eq(vfs_rename(fx.fs, ROOT, "d", ROOT, "b", 0), -ENOTDIR);
	cr_assert_eq(vfs_rename(fx.fs, ROOT, "b", ROOT, "d", RENAME_NOREPLACE), -EEXIST);
	cr_assert_eq(vfs_rename(fx.fs, ROOT, "b", ROOT, "d", RENAME_WHITEOUT), -EINVAL);
	FX_OK(vfs_rename(fx.fs, ROOT, "b", ROOT, "b", 0));
	cr_assert_eq(attr_of(ROOT).size, 2);
	cr_assert_eq(attr_of(d).size, 0);
	fx_remount(&fx);
	cr_assert_eq(fx_ino(&fx, "b"), a);
}

Test(namei, rename_links_of_one_file)
{
	uint64_t a = touch_in(ROOT, "a");
	struct vfs_attr at;

	FX_OK(vfs_link(fx.fs, a, ROOT, "b", &at));
	vfs_forget(fx.fs, a, 1);
	FX_OK(vfs_rename(fx.fs, ROOT, "a", ROOT, "b", 0));
	FX_OK(exists(ROOT, "a"));
	FX_OK(exists(ROOT, "b"));
	cr_assert_eq(attr_of(a).nlink, 2);
}

Test(namei, rename_directories)
{
	uint64_t d = mkdir_in(ROOT, "d"), e = mkdir_in(d, "e"), g = mkdir_in(ROOT, "g"), parent;

	cr_assert_eq(vfs_rename(fx.fs, ROOT, "d", e, "x", 0), -EINVAL);
	cr_assert_eq(vfs_rename(fx.fs, ROOT, "d", d, "x", 0), -EINVAL);
	cr_assert_eq(vfs_rename(fx.fs, d, "e", ROOT, "d", 0), -ENOTEMPTY);
	FX_OK(vfs_rename(fx.fs, d, "e", g, "e2", 0));
	cr_assert_eq(attr_of(d).nlink, 2);
	cr_assert_eq(attr_of(g).nlink, 3);
	FX_OK(vfs_parent(fx.fs, e, &parent));
	cr_assert_eq(parent, g);
	FX_OK(vfs_rename(fx.fs, g, "e2", ROOT, "d", 0));
	cr_assert_eq(fx_ino(&fx, "d"), e);
	cr_assert_eq(attr_of(ROOT).nlink, 4);
	cr_assert_eq(attr_of(g).nlink, 2);
	fx_remount(&fx);
	cr_assert_eq(fx_ino(&fx, "d"), e);
}

Test(namei, exchange)
{
	uint64_t d = mkdir_in(ROOT, "d"), e = mkdir_in(d, "e"), f = touch_in(ROOT, "f");

	FX_OK(vfs_rename(fx.fs, d, "e", ROOT, "f", RENAME_EXCHANGE));
	cr_assert_eq(fx_ino(&fx, "f"), e);
	cr_assert_eq(fx_ino(&fx, "d/e"), f);
	cr_assert_eq(attr_of(d).nlink, 2);
	cr_assert_eq(attr_of(ROOT).nlink, 4);
	cr_assert_eq(vfs_rename(fx.fs, ROOT, "f", ROOT, "nope", RENAME_EXCHANGE), -ENOENT);
	cr_assert_eq(vfs_rename(fx.fs, ROOT, "d", d, "e", RENAME_EXCHANGE), -EINVAL);
	FX_OK(vfs_rename(fx.fs, ROOT, "f", ROOT, "d", RENAME_EXCHANGE));
	cr_assert_eq(fx_ino(&fx, "d"), e);
	fx_remount(&fx);
	cr_assert_eq(fx_ino(&fx, "f/e"), f);
}

static const struct vfs_cred somebody = { .uid = 1001, .gid = 1002 };

static void expect_whiteout(uint64_t dir, const char *name, uint32_t gid)
{
	struct vfs_attr a;

	FX_OK(vfs_lookup(fx.fs, dir, name, &a));
	vfs_forget(fx.fs, a.ino, 1);
	cr_assert_eq(a.mode, (unsigned int)S_IFCHR);
	cr_assert_eq(a.rdev, makedev(0, 0));
	cr_assert_eq(a.nlink, 1);
	cr_assert_eq(a.uid, 1001);
	cr_assert_eq(a.gid, gid);
}

Test(namei, rename_leaves_whiteout)
{
	uint64_t d = mkdir_in(ROOT, "d"), e = mkdir_in(ROOT, "e"), sub = mkdir_in(d, "sub"),
		 b = touch_in(e, "b");
	uint64_t a = touch_in(d, "a"), inodes = fx.fs->cnt.nr_inodes;
	struct vfs_attr set = { .mode = 02755, .gid = 77 }, at;

	FX_OK(vfs_setattr(fx.fs, e, VFS_SET_MODE | VFS_SET_GID, &set, &fx_root, NULL));
	/* to another directory, over a name that is there */
	FX_OK(vfs_rename_whiteout(fx.fs, d, "a", e, "b", 0, &somebody));
	cr_assert_eq(fx_ino(&fx, "e/b"), a);
	cr_assert_eq(vfs_getattr(fx.fs, b, &at), -ESTALE);
	expect_whiteout(d, "a", 1002);
	cr_assert_eq(attr_of(d).size, 2);
	cr_assert_eq(attr_of(e).size, 1);
	cr_assert_eq(fx.fs->cnt.nr_inodes, inodes); /* one more, one less */
	/* within one, whose group it inherits */
	FX_OK(vfs_rename_whiteout(fx.fs, e, "b", e, "c", RENAME_NOREPLACE, &somebody));
	cr_assert_eq(fx_ino(&fx, "e/c"), a);
	expect_whiteout(e, "b", 77);
	cr_assert_eq(attr_of(e).size, 2);
	/* a directory: the one it came from has one less below it */
	FX_OK(vfs_rename_whiteout(fx.fs, d, "sub", e, "sub", 0, &somebody));
	cr_assert_eq(fx_ino(&fx, "e/sub"), sub);
	expect_whiteout(d, "sub", 1002);
	cr_assert_eq(attr_of(d).nlink, 2);
	cr_assert_eq(attr_of(e).nlink, 3);
	/* a whiteout is a file like others */
	FX_OK(vfs_rename(fx.fs, e, "c", d, "a", 0));
	cr_assert_eq(fx_ino(&fx, "d/a"), a);
	fx_remount(&fx);
	expect_whiteout(d, "sub", 1002);
	expect_whiteout(e, "b", 77);
	FX_OK(vfs_unlink(fx.fs, e, "b"));
}

Test(namei, whiteout_refused)
{
	uint64_t a = touch_in(ROOT, "a"), d = mkdir_in(ROOT, "d"), inodes, next;
	struct vfs_attr at;

	touch_in(ROOT, "b");
	FX_OK(vfs_link(fx.fs, a, ROOT, "link", &at));
	vfs_forget(fx.fs, a, 1);
	inodes = fx.fs->cnt.nr_inodes;
	next = fx.fs->cnt.next_ino;
	cr_assert_eq(vfs_rename_whiteout(fx.fs, ROOT, "a", ROOT, "b", RENAME_EXCHANGE, &somebody),
		     -EINVAL);
	cr_assert_eq(vfs_rename_whiteout(fx.fs, ROOT, "a", ROOT, "b", RENAME_NOREPLACE, &somebody),
		     -EEXIST);
	cr_assert_eq(vfs_rename_whiteout(fx.fs, ROOT, "d", d, "x", 0, &somebody), -EINVAL);
	cr_assert_eq(vfs_rename_whiteout(fx.fs, ROOT, "nope", ROOT, "x", 0, &somebody), -ENOENT);
	/* two names of one file: nothing is moved, so nothing is covered */
	FX_OK(vfs_rename_whiteout(fx.fs, ROOT, "a", ROOT, "link", 0, &somebody));
	cr_assert_eq(fx_ino(&fx, "a"), a);
	cr_assert_eq(fx_ino(&fx, "link"), a);
	cr_assert_eq(fx.fs->cnt.nr_inodes, inodes);
	cr_assert_eq(fx.fs->cnt.next_ino, next);
}

Test(namei, rename_over_writes_data_first)
{
	struct vfs_file *f;

	fx_file(&fx, "old", &f);
	fx_write(&fx, f, 0, 50000, 1);
	FX_OK(vfs_fsync(fx.fs, f, false));
	fx_close(&fx, f);
	fx_file(&fx, "new", &f);
	fx_write(&fx, f, 0, 60000, 2);
	fx_close(&fx, f);
	FX_OK(vfs_rename(fx.fs, ROOT, "new", ROOT, "old", 0));
	FX_OK(vfs_fsyncdir(fx.fs, mkdir_in(ROOT, "d"))); /* commits, writes no data */
	fx_crash_remount(&fx);
	f = fx_open(&fx, "old");
	cr_assert_eq(fx_size_of(&fx, f), 60000);
	fx_expect(&fx, f, 0, 60000, 2);
	fx_close(&fx, f);
}

Test(namei, many_names)
{
	char name[32];

	for (int k = 0; k < 600; k++) {
		snprintf(name, sizeof(name), "name-%d", k);
		touch_in(ROOT, name);
	}
	fx_remount(&fx);
	cr_assert_eq(attr_of(ROOT).size, 600);
	for (int k = 0; k < 600; k += 2) {
		snprintf(name, sizeof(name), "name-%d", k);
		FX_OK(vfs_unlink(fx.fs, ROOT, name));
	}
	for (int k = 0; k < 600; k++) {
		snprintf(name, sizeof(name), "name-%d", k);
		cr_assert_eq(exists(ROOT, name), k % 2 ? 0 : -ENOENT);
	}
	cr_assert_eq(fx_stat(&fx, "tree", "inodes"), 301);
}

Test(namei, read_only)
{
	struct vfs_attr a;
	struct vfs_file *f;
	char c = 0;

	fx_file(&fx, "a", &f);
	fx_write(&fx, f, 0, 5000, 1);
	fx_close(&fx, f);
	FX_OK(vfs_unmount(fx.fs));
	fx.opts.ro = true;
	fx_mount_own(&fx, &fx.opts);
	cr_assert_eq(vfs_create(fx.fs, ROOT, "x", 0644, &fx_root, 0, &a, NULL), -EROFS);
	cr_assert_eq(vfs_unlink(fx.fs, ROOT, "a"), -EROFS);
	cr_assert_eq(vfs_open(fx.fs, fx_ino(&fx, "a"), O_RDWR, &f), -EROFS);
	FX_OK(vfs_open(fx.fs, fx_ino(&fx, "a"), O_RDONLY, &f));
	cr_assert_eq(vfs_pwrite(fx.fs, f, &c, 1, 0), -EROFS);
	fx_expect(&fx, f, 0, 5000, 1);
	fx_close(&fx, f);
	FX_OK(vfs_sync(fx.fs));
}

/* Far deeper than what is climbed in one go. */
Test(namei, rename_deep_down)
{
	uint64_t top = mkdir_in(ROOT, "top"), other = mkdir_in(ROOT, "other"), deep[300];

	deep[0] = mkdir_in(top, "d");
	for (unsigned int k = 1; k < ARRAY_SIZE(deep); k++)
		deep[k] = mkdir_in(deep[k - 1], "d");
	for (unsigned int k = 1; k < ARRAY_SIZE(deep); k += 7) {
		cr_assert_eq(vfs_rename(fx.fs, ROOT, "top", deep[k], "top", 0), -EINVAL);
		cr_assert_eq(vfs_rename(fx.fs, ROOT, "top", deep[k], "d", RENAME_EXCHANGE),
			     k < 299 ? -EINVAL : -ENOENT);
		FX_OK(vfs_rename(fx.fs, ROOT, "other", deep[k], "other", 0));
		FX_OK(vfs_rename(fx.fs, deep[k], "other", ROOT, "other", 0));
	}
	FX_OK(vfs_rename(fx.fs, ROOT, "other", deep[299], "other", 0));
	cr_assert_eq(attr_of(other).nlink, 2);
}

static int swap_link(struct tfs_trans *t, uint64_t ino, uint64_t cookie, uint64_t from, uint64_t to)
{
	int err = backref_can_del(t, ino, cookie, from);

	if (!err)
		err = backref_del(t, ino, cookie, from);
	return err ? err : backref_add(t, ino, cookie, to);
}

/* An image may say that two directories are each in the other. */
Test(namei, directories_in_a_circle)
{
	uint64_t a = mkdir_in(ROOT, "a"), b = mkdir_in(ROOT, "b"), dir, ca, cb;

	mkdir_in(ROOT, "c");
	fx.fs->opts.errors = TFS_ERRORS_CONTINUE;
	FX_OK(IN_READ(fx.fs, backref_first(t, a, &dir, &ca)));
	FX_OK(IN_READ(fx.fs, backref_first(t, b, &dir, &cb)));
	FX_OK(IN_WRITE(fx.fs, swap_link(t, a, ca, ROOT, b)));
	FX_OK(IN_WRITE(fx.fs, swap_link(t, b, cb, ROOT, a)));
	cr_assert_eq(vfs_rename(fx.fs, ROOT, "c", a, "c", 0), -EUCLEAN);
	FX_OK(IN_WRITE(fx.fs, swap_link(t, a, ca, b, ROOT)));
	FX_OK(IN_WRITE(fx.fs, swap_link(t, b, cb, a, ROOT)));
	FX_OK(vfs_rename(fx.fs, ROOT, "c", a, "c", 0));
}

/* The number for the next inode comes from the image, which may say anything: no inode is made over
 * another. */
Test(namei, next_number_is_in_use)
{
	uint64_t old = touch_in(ROOT, "old"), next = fx.fs->cnt.next_ino,
		 bad[] = { old, ROOT, 0, 15, UINT64_MAX };
	struct vfs_attr a;

	fx.fs->opts.errors = TFS_ERRORS_CONTINUE;
	for (unsigned int k = 0; k < ARRAY_SIZE(bad); k++) {
		fx.fs->cnt.next_ino = bad[k];
		FX_IS(vfs_create(fx.fs, ROOT, "new", 0600, &fx_root, 0, &a, NULL), -EUCLEAN);
		FX_IS(vfs_mkdir(fx.fs, ROOT, "new", 0700, &fx_root, &a), -EUCLEAN);
		FX_IS(vfs_tmpfile(fx.fs, ROOT, 0600, &fx_root, 0, &a, NULL), -EUCLEAN);
	}
	fx.fs->cnt.next_ino = next;
	cr_assert_eq(attr_of(old).mode, S_IFREG | 0644);
	cr_assert(S_ISDIR(attr_of(ROOT).mode));
	touch_in(ROOT, "new");
}
