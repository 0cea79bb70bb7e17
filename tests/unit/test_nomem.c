// SPDX-License-Identifier: GPL-2.0-or-later
/* What fails for want of memory has not happened: each allocation of an operation fails once. */
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/fs.h>
#include "core/log.h"
#include "fs/inode.h"
#include "tests/lib/fsfix.h"

#define ROOT TFS_INO_ROOT

static struct fsfix fx;
static struct vfs_file *file; /* what is open during the operation, if anything is */
static unsigned int failed;   /* how often */

static void quiet(enum log_level level, const char *text)
{
}

static void setup(void)
{
	fx_init();
}

static void teardown(void)
{
	fx_exit();
}

TestSuite(nomem, .init = setup, .fini = teardown, .timeout = 120);

static bool exists(const char *name)
{
	struct vfs_attr a;
	int err = vfs_lookup(fx.fs, ROOT, name, &a);

	if (!err)
		vfs_forget(fx.fs, a.ino, 1);
	else
		FX_IS(err, -ENOENT);
	return !err;
}

/* Run @op with the n-th allocation failing, for all n that it makes; @check what is left each time. */
static void sweep(void (*prepare)(void), int (*op)(void), void (*check)(int err))
{
	bool more = true;

	for (uint64_t n = 1; more; n++) {
		int err;

		fx_create(&fx, FX_SMALL);
		/* checking and mounting speak up again */
		log_set_hook(quiet);
		if (prepare)
			prepare();
		tl_alloc_fail_nth(n);
		err = op();
		more = tl_alloc_count() >= n;
		tl_alloc_fail_nth(0);
		failed += err != 0;
		/* half made: what was committed is all there is */
		if (!atomic_load(&fx.fs->shutdown)) {
			check(err);
		} else {
			if (file)
				fx_close(&fx, file);
			fx_crash_remount(&fx);
		}
		file = NULL;
		fx_destroy(&fx);
	}
	cr_assert_gt(failed, 2);
}

static int create(void)
{
	struct vfs_attr a;
	struct vfs_file *f;
	int err = vfs_create(fx.fs, ROOT, "new", 0600, &fx_root, O_RDWR, &a, &f);

	if (!err) {
		fx_close(&fx, f);
		vfs_forget(fx.fs, a.ino, 1);
	}
	return err;
}

static void check_created(int err)
{
	cr_assert_eq(exists("new"), !err, "create gave %d", err);
}

/* Who is told that a file was not made must not find it later: the kernel remembers that the name is not there. */
Test(nomem, create)
{
	sweep(NULL, create, check_created);
}

#define OLD 100000u /* bytes */
#define NEW 50001u

static void make_dirty(void)
{
	fx_file(&fx, "a", &file);
	fx_write(&fx, file, 0, OLD, 1);
}

static void make_clean(void)
{
	make_dirty();
	FX_OK(vfs_fsync(fx.fs, file, false));
}

static void make_uncached(void)
{
	make_clean();
	fx_close(&fx, file);
	fx_remount(&fx);
	file = fx_open(&fx, "a");
}

static void make_shared(void)
{
	struct vfs_file *copy;

	make_clean();
	fx_file(&fx, "b", &copy);
	FX_IS(vfs_copy_file_range(fx.fs, file, 0, copy, 0, OLD, 0), OLD);
	fx_close(&fx, copy);
}

static void make_dirty_at_eof(void)
{
	make_clean();
	fx_write(&fx, file, NEW - 1000, 2000, 1);
}

/* No space for a copy of the block with the new end: it has to be written first, and that brings the truncation about.
 */
static void make_shared_and_full(void)
{
	struct vfs_file *fill;
	uint64_t pos = 0;

	make_shared();
	fx_write(&fx, file, NEW - 1000, 2000, 1);
	fx_file(&fx, "fill", &fill);
	for (uint64_t len = 1 << 20; len >= 4096; len /= 2)
		while (!vfs_fallocate(fx.fs, fill, 0, pos, len))
			pos += len;
	fx_close(&fx, fill);
}

static int cut(void)
{
	struct vfs_attr set = { .size = NEW }, a;

	return vfs_setattr(fx.fs, file->inode->ino, VFS_SET_SIZE, &set, &fx_root, &a);
}

/* Cut or not, the file is one or the other, and stays it; what it grows by later is zeros. */
static void check_cut(int err)
{
	uint64_t size = fx_size_of(&fx, file), more = OLD + 20000;

	cr_assert(size == NEW || (err && size == OLD), "size %llu after %d", (unsigned long long)size, err);
	fx_expect(&fx, file, 0, size, 1);
	fx_write(&fx, file, more, 10, 2);
	fx_expect_zero(&fx, file, size, more - size);
	fx_close(&fx, file);
	fx_remount(&fx);
	file = fx_open(&fx, "a");
	fx_expect(&fx, file, 0, size, 1);
	fx_expect_zero(&fx, file, size, more - size);
	fx_close(&fx, file);
}

static void check_cut_full(int err)
{
	FX_OK(vfs_unlink(fx.fs, ROOT, "fill"));
	check_cut(err);
}

Test(nomem, truncate_dirty)
{
	sweep(make_dirty, cut, check_cut);
}

Test(nomem, truncate_clean)
{
	sweep(make_clean, cut, check_cut);
}

Test(nomem, truncate_uncached)
{
	sweep(make_uncached, cut, check_cut);
}

Test(nomem, truncate_shared)
{
	sweep(make_shared, cut, check_cut);
}

Test(nomem, truncate_with_a_dirty_eof)
{
	sweep(make_dirty_at_eof, cut, check_cut);
}

Test(nomem, truncate_shared_without_space)
{
	sweep(make_shared_and_full, cut, check_cut_full);
}

static void make_setuid(void)
{
	struct vfs_attr set = { .mode = 04755 }, a;

	make_dirty_at_eof();
	FX_OK(vfs_setxattr(fx.fs, file->inode->ino, "security.capability", "caps", 4, 0, &fx_root));
	FX_OK(vfs_setattr(fx.fs, file->inode->ino, VFS_SET_MODE, &set, &fx_root, &a));
	FX_OK(vfs_fsync(fx.fs, file, false));
}

static int cut_by_other(void)
{
	struct vfs_attr set = { .size = NEW }, a;

	return vfs_setattr(fx.fs, file->inode->ino, VFS_SET_SIZE | VFS_KILL_PRIV, &set, &fx_root, &a);
}

static void check_privileges(int err)
{
	struct vfs_attr a;
	bool cut;

	FX_OK(vfs_getattr(fx.fs, file->inode->ino, &a));
	cut = a.size == NEW;
	cr_assert(!cut || !(a.mode & S_ISUID), "cut, and the bit is still there (%d)", err);
	check_cut(err);
}

/* Who cuts another's program takes its privileges first. */
Test(nomem, truncate_setuid)
{
	sweep(make_setuid, cut_by_other, check_privileges);
}
