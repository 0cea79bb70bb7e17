/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fs/vfs/flags.c, fs/inode/append.c, and those who ask them. */
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include "core/iomap/iomap.h"
#include "fs/inode/icache.h"
#include "fs/inode/iget.h"
#include "fs/inode/inode.h"
#include "fs/inode/inode_flush.h"
#include "fs/journal/trans.h"
#include "fs/vfs/vfs.h"
#include "fsck/check.h"
#include "tallyfs/format.h"
#include "tests/lib/fixture.h"
#include "tests/lib/fixture_suite.h"
#include "tests/lib/section.h"

#define ROOT TFS_INO_ROOT

static struct fixture fx;
static const struct vfs_cred user = { .uid = 7, .gid = 7 };

FX_SUITE(flags, fx, FX_SMALL, 900);

static struct vfs_attr attr_of(uint64_t ino)
{
	struct vfs_attr a;

	FX_OK(vfs_getattr(fx.fs, ino, &a));
	return a;
}

static int set(uint64_t ino, unsigned int what, uint32_t mode)
{
	struct vfs_attr a = {
		.mode = mode, .size = 3, .uid = 9, .gid = 9, .mtime.tv_sec = 77, .ctime.tv_sec = 78
	};

	return vfs_setattr(fx.fs, ino, what, &a, &fx_root, NULL);
}

static int opens(uint64_t ino, int flags)
{
	struct vfs_file *f;
	int err = vfs_open(fx.fs, ino, flags, &f);

	if (!err)
		fx_close(&fx, f);
	return err;
}

static int64_t write_cache(struct vfs_file *f, const void *buf, size_t len, uint64_t pos)
{
	struct iomap_src src = { .buf = buf, .len = len };
	bool killed;

	return vfs_write(fx.fs, f, pos, &src, VFS_WRITE_CACHE, &killed);
}

/* What either flag forbids of a file named "a" in the root directory, with attribute user.x. */
static void expect_protected(uint64_t ino, struct vfs_file *older)
{
	struct vfs_attr before = attr_of(ino), after, a;
	struct vfs_file *other;

	FX_IS(opens(ino, O_WRONLY), -EPERM);
	FX_IS(opens(ino, O_RDWR), -EPERM);
	FX_OK(opens(ino, O_RDONLY));
	FX_IS(vfs_pwrite(fx.fs, older, "new", 3, 0), -EPERM);
	FX_IS(write_cache(older, "new", 3, 0), -EPERM);
	FX_IS(vfs_fallocate(fx.fs, older, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096),
	      -EPERM);
	FX_IS(vfs_fallocate(fx.fs, older, FALLOC_FL_ZERO_RANGE, 0, 10), -EPERM);
	fx_file(&fx, "other", &other);
	fx_write(&fx, other, 0, 20000, 5);
	FX_IS(vfs_copy_file_range(fx.fs, other, 0, older, 0, 20000, 0), -EPERM);
	fx_close(&fx, other);
	FX_IS(set(ino, VFS_SET_SIZE, 0), -EPERM);
	FX_IS(set(ino, VFS_SET_SIZE | VFS_KILL_PRIV, 0), -EPERM);
	FX_IS(set(ino, VFS_SET_MODE, 0777), -EPERM);
	FX_IS(set(ino, VFS_SET_UID, 0), -EPERM);
	FX_IS(set(ino, VFS_SET_GID, 0), -EPERM);
	FX_IS(set(ino, VFS_SET_MTIME, 0), -EPERM);
	FX_IS(set(ino, VFS_SET_ATIME, 0), -EPERM);
	FX_IS(set(ino, VFS_SET_MTIME | VFS_SET_CTIME, 0), -EPERM);
	FX_IS(vfs_setxattr(fx.fs, ino, "user.y", "1", 1, 0, &fx_root), -EPERM);
	FX_IS(vfs_removexattr(fx.fs, ino, "user.x", &fx_root), -EPERM);
	FX_IS(vfs_setxattr(fx.fs, ino, "system.posix_acl_access", NULL, 0, 0, &fx_root), -EPERM);
	FX_IS(vfs_unlink(fx.fs, ROOT, "a"), -EPERM);
	FX_IS(vfs_link(fx.fs, ino, ROOT, "b", &a), -EPERM);
	FX_IS(vfs_rename(fx.fs, ROOT, "a", ROOT, "b", 0), -EPERM);
	FX_IS(vfs_rename(fx.fs, ROOT, "other", ROOT, "a", 0), -EPERM);
	FX_IS(vfs_rename(fx.fs, ROOT, "other", ROOT, "a", RENAME_EXCHANGE), -EPERM);
	FX_OK(vfs_unlink(fx.fs, ROOT, "other"));
	after = attr_of(ino);
	cr_assert_eq(memcmp(&before, &after, sizeof(before)), 0, "something of it has changed");
}

static uint64_t make(struct vfs_file **f)
{
	uint64_t ino = fx_file(&fx, "a", f);

	fx_write(&fx, *f, 0, 10000, 1);
	FX_OK(vfs_setxattr(fx.fs, ino, "user.x", "1", 1, 0, &fx_root));
	FX_OK(set(ino, VFS_SET_MODE, 06755));
	return ino;
}

Test(flags, immutable_file)
{
	struct vfs_file *f;
	uint64_t ino = make(&f);
	bool killed;

	FX_OK(vfs_set_flags(fx.fs, ino, VFS_FLAG_IMMUTABLE));
	cr_assert_eq(attr_of(ino).flags, VFS_FLAG_IMMUTABLE);
	expect_protected(ino, f);
	FX_IS(opens(ino, O_WRONLY | O_APPEND), -EPERM);
	FX_IS(vfs_pwrite(fx.fs, f, "x", 1, 10000), -EPERM);
	FX_IS(vfs_fallocate(fx.fs, f, FALLOC_FL_KEEP_SIZE, 0, 100000), -EPERM);
	FX_IS(set(ino, VFS_SET_MTIME | VFS_SET_MTIME_NOW, 0), -EPERM);
	FX_IS(vfs_kill_priv(fx.fs, ino, &killed), -EPERM);
	cr_assert_eq(attr_of(ino).mode & 07777, 06755);
	fx_close(&fx, f);
	fx_remount(&fx);
	FX_OK(vfs_open(fx.fs, ino, O_RDONLY, &f));
	cr_assert_eq(attr_of(ino).flags, VFS_FLAG_IMMUTABLE);
	fx_expect(&fx, f, 0, 10000, 1);
	FX_IS(vfs_unlink(fx.fs, ROOT, "a"), -EPERM);
	FX_OK(vfs_set_flags(fx.fs, ino, 0));
	FX_OK(set(ino, VFS_SET_SIZE, 0));
	FX_OK(vfs_unlink(fx.fs, ROOT, "a"));
	fx_close(&fx, f);
}

Test(flags, append_only_file)
{
	struct vfs_file *f, *ap;
	uint64_t ino = make(&f);

	FX_OK(vfs_set_flags(fx.fs, ino, VFS_FLAG_APPEND));
	expect_protected(ino, f);
	FX_OK(vfs_open(fx.fs, ino, O_WRONLY | O_APPEND, &ap));
	fx_write(&fx, ap, 10000, 5000, 1);
	FX_IS(vfs_pwrite(fx.fs, f, "x", 1, 14999), -EPERM);
	FX_OK(vfs_fallocate(fx.fs, ap, FALLOC_FL_KEEP_SIZE, 0, 100000));
	FX_OK(set(ino, VFS_SET_MTIME | VFS_SET_MTIME_NOW | VFS_SET_ATIME | VFS_SET_ATIME_NOW, 0));
	FX_OK(vfs_set_flags(fx.fs, ino, VFS_FLAG_APPEND | VFS_FLAG_IMMUTABLE));
	FX_IS(vfs_pwrite(fx.fs, ap, "x", 1, 0), -EPERM);
	FX_OK(vfs_set_flags(fx.fs, ino, 0));
	fx_expect(&fx, f, 0, 15000, 1);
	fx_close(&fx, ap);
	fx_close(&fx, f);
}

/* The kernel writes back the times it keeps of what was written before. */
Test(flags, times_from_the_kernels_cache)
{
	struct vfs_file *f;
	uint64_t ino = make(&f);
	struct vfs_attr a = { .mtime.tv_sec = 77, .ctime.tv_sec = 99 };

	FX_OK(vfs_set_flags(fx.fs, ino, VFS_FLAG_IMMUTABLE));
	FX_OK(set(ino, VFS_SET_MTIME | VFS_SET_CTIME | VFS_SET_WRITTEN, 0));
	cr_assert_eq(attr_of(ino).mtime.tv_sec, 77);
	/* only its ctime; "now"; neither */
	FX_OK(vfs_setattr(fx.fs, ino, VFS_SET_MTIME | VFS_SET_CTIME, &a, &fx_root, NULL));
	cr_assert_eq(attr_of(ino).ctime.tv_sec, 99);
	a.mtime.tv_nsec = 1;
	FX_IS(vfs_setattr(fx.fs, ino, VFS_SET_MTIME | VFS_SET_CTIME, &a, &fx_root, NULL), -EPERM);
	FX_OK(vfs_set_flags(fx.fs, ino, VFS_FLAG_APPEND));
	FX_IS(vfs_setattr(fx.fs, ino, VFS_SET_MTIME | VFS_SET_CTIME, &a, &fx_root, NULL), -EPERM);
	a.mtime = a.ctime;
	FX_OK(vfs_setattr(fx.fs, ino, VFS_SET_MTIME | VFS_SET_CTIME, &a, &fx_root, NULL));
	fx_close(&fx, f);
}

static uint64_t entry(uint64_t dir, const char *name, bool mkdir)
{
	struct vfs_attr a;

	if (mkdir)
		FX_OK(vfs_mkdir(fx.fs, dir, name, 0755, &fx_root, &a));
	else
		FX_OK(vfs_create(fx.fs, dir, name, 0644, &fx_root, 0, &a, NULL));
	vfs_forget(fx.fs, a.ino, 1);
	return a.ino;
}

Test(flags, directories)
{
	uint64_t dir = entry(ROOT, "dir", true), file = entry(dir, "file", false);
	struct vfs_file *tmp;
	struct vfs_attr a;

	entry(dir, "sub", true);
	entry(ROOT, "out", false);
	for (unsigned int flag = VFS_FLAG_IMMUTABLE; flag <= VFS_FLAG_APPEND; flag <<= 1) {
		int add = flag == VFS_FLAG_APPEND ? 0 : -EPERM;

		FX_OK(vfs_set_flags(fx.fs, dir, flag));
		FX_IS(vfs_unlink(fx.fs, dir, "file"), -EPERM);
		FX_IS(vfs_rmdir(fx.fs, dir, "sub"), -EPERM);
		FX_IS(vfs_rmdir(fx.fs, ROOT, "dir"), -EPERM);
		FX_IS(vfs_rename(fx.fs, ROOT, "dir", ROOT, "dir2", 0), -EPERM);
		FX_IS(vfs_rename(fx.fs, dir, "file", dir, "file2", 0), -EPERM);
		FX_IS(vfs_rename(fx.fs, dir, "file", ROOT, "file2", 0), -EPERM);
		FX_IS(vfs_rename(fx.fs, ROOT, "out", dir, "file", 0), -EPERM);
		FX_IS(vfs_rename(fx.fs, ROOT, "out", dir, "file", RENAME_EXCHANGE), -EPERM);
		FX_IS(vfs_create(fx.fs, dir, "file", 0644, &fx_root, 0, &a, NULL), -EEXIST);
		FX_IS(set(dir, VFS_SET_MODE, 0700), -EPERM);
		FX_IS(vfs_setxattr(fx.fs, dir, "user.y", "1", 1, 0, &fx_root), -EPERM);
		FX_IS(vfs_mkdir(fx.fs, dir, "m", 0755, &fx_root, &a), add);
		FX_IS(vfs_mknod(fx.fs, dir, "n", S_IFIFO | 0644, 0, &user, &a), add);
		FX_IS(vfs_symlink(fx.fs, dir, "s", "x", &user, &a), add);
		FX_IS(vfs_link(fx.fs, file, dir, "l", &a), add);
		FX_IS(vfs_create(fx.fs, dir, "c", 0644, &fx_root, 0, &a, NULL), add);
		FX_IS(vfs_tmpfile(fx.fs, dir, 0600, &fx_root, O_RDWR, &a, &tmp), add);
		if (!add)
			vfs_release(fx.fs, tmp);
		FX_IS(vfs_rename(fx.fs, ROOT, "out", dir, "in", 0), add);
		/* what is in it is not its business */
		FX_OK(set(file, VFS_SET_MODE, 0600));
		FX_OK(vfs_set_flags(fx.fs, dir, 0));
	}
	FX_OK(vfs_unlink(fx.fs, dir, "in"));
}

Test(flags, of_what_and_which)
{
	struct vfs_attr a;
	uint64_t dir = entry(ROOT, "dir", true);

	FX_OK(vfs_symlink(fx.fs, ROOT, "s", "x", &fx_root, &a));
	FX_IS(vfs_set_flags(fx.fs, a.ino, VFS_FLAG_IMMUTABLE), -EOPNOTSUPP);
	FX_OK(vfs_mknod(fx.fs, ROOT, "p", S_IFIFO | 0644, 0, &fx_root, &a));
	FX_IS(vfs_set_flags(fx.fs, a.ino, VFS_FLAG_APPEND), -EOPNOTSUPP);
	FX_IS(vfs_set_flags(fx.fs, dir, 1 << 2), -EOPNOTSUPP);
	FX_IS(vfs_set_flags(fx.fs, 999, VFS_FLAG_APPEND), -ESTALE);
}

/* ---- what the kernel's cache brings to an append-only file ---- */

static uint8_t *pattern(size_t len)
{
	uint8_t *buf = malloc(len);

	for (size_t k = 0; k < len; k++)
		buf[k] = fx_byte(1, k);
	return buf;
}

Test(flags, appended_pages_in_any_order)
{
	uint8_t *buf = pattern(100000);
	struct vfs_file *f;
	uint64_t ino = fx_file(&fx, "a", &f);

	fx_write(&fx, f, 0, 5000, 1);
	FX_OK(vfs_set_flags(fx.fs, ino, VFS_FLAG_APPEND));
	/* whole pages, the last first, each with what was there before */
	FX_IS(write_cache(f, buf + 20480, 4096, 20480), 4096);
	FX_IS(write_cache(f, buf + 12288, 4096, 12288), 4096);
	FX_IS(write_cache(f, buf + 4096, 4096, 4096), 4096);
	FX_IS(write_cache(f, buf + 4096, 4096, 4096), 4096);
	/* into a gap, over both of its ends, and behind */
	FX_IS(write_cache(f, buf + 8000, 30000, 8000), 30000);
	fx_expect(&fx, f, 0, 38000, 1);
	/* all of it has come now: nothing changes any more */
	buf[12345] ^= 1;
	FX_IS(write_cache(f, buf + 12288, 4096, 12288), -EPERM);
	buf[12345] ^= 1;
	/* one byte of what is there changed, and new ones: these are taken */
	buf[37999] ^= 1;
	FX_IS(write_cache(f, buf + 36864, 4096, 36864), -EPERM);
	buf[37999] ^= 1;
	fx_expect(&fx, f, 0, 40960, 1);
	cr_assert_eq(fx_size_of(&fx, f), 40960);
	/* fallocate makes room for what the kernel still has */
	FX_OK(vfs_fallocate(fx.fs, f, 0, 0, 60000));
	FX_IS(write_cache(f, buf + 40960, 8192, 40960), 8192);
	FX_IS(write_cache(f, buf + 53248, 6752, 53248), 6752);
	FX_IS(write_cache(f, buf + 49152, 4096, 49152), 4096);
	FX_IS(write_cache(f, "X", 1, 50000), -EPERM);
	FX_IS(write_cache(f, "X", 1, 59999), -EPERM);
	fx_expect(&fx, f, 0, 60000, 1);
	fx_close(&fx, f);
	free(buf);
}

Test(flags, gaps_have_a_bound)
{
	struct vfs_file *f;
	uint64_t ino = fx_file(&fx, "a", &f), n;

	FX_OK(vfs_set_flags(fx.fs, ino, VFS_FLAG_APPEND));
	for (n = 0; n < 2000 && write_cache(f, "x", 1, 2 * n + 1) == 1; n++)
		;
	cr_assert_eq(n, 1024);
	FX_IS(write_cache(f, "x", 1, 0), 1);
	FX_IS(write_cache(f, "x", 1, 2 * n + 1), 1);
	/* whoever takes the flag off starts anew */
	FX_OK(vfs_set_flags(fx.fs, ino, 0));
	FX_OK(vfs_set_flags(fx.fs, ino, VFS_FLAG_APPEND));
	FX_IS(write_cache(f, "x", 1, 2), -EPERM);
	fx_close(&fx, f);
}

/* ---- the checker ---- */

static void set_raw(uint64_t ino, uint32_t flags)
{
	struct tfs_inode *i;
	struct tfs_trans t = { 0 };
	int err;

	FX_OK(inode_get(fx.fs, ino, &i));
	do {
		err = trans_begin(&t, fx.fs, TRANS_CREDITS(fx.fs));
		if (!err)
			err = inode_prefault(&t, ino);
		i->a.flags = flags;
		if (!err)
			err = inode_write(&t, i);
	} while (trans_again(&t, &err));
	FX_OK(err);
	inode_put(i);
}

static void expect_bad(uint64_t ino, uint32_t flags)
{
	struct check_opts o = { 0 };
	struct check_result r;
	char why[300];

	set_raw(ino, flags);
	FX_OK(vfs_unmount(fx.fs));
	FX_OK(tfs_check_device(fx.dev, &o, &r, why, sizeof(why)));
	cr_assert_gt(r.errors, 0, "flags %x", flags);
	fx_mount_own(&fx, NULL);
	set_raw(ino, 0);
}

Test(flags, the_checker_looks)
{
	struct vfs_attr a;
	uint64_t file = entry(ROOT, "file", false);

	FX_OK(vfs_symlink(fx.fs, ROOT, "s", "x", &fx_root, &a));
	vfs_forget(fx.fs, a.ino, 1);
	expect_bad(file, 1u << 3);
	expect_bad(file, 1u << 31);
	expect_bad(a.ino, TFS_INODE_IMMUTABLE);
	/* nobody could take the flag off: it counts for nothing there */
	set_raw(a.ino, TFS_INODE_IMMUTABLE);
	FX_OK(vfs_unlink(fx.fs, ROOT, "s"));
}
