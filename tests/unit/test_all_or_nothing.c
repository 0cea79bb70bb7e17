/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What fails has not happened: each allocation of an operation, and each access to the device,
 * fails once. */
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include "core/block/bdev.h"
#include "core/iomap/iomap.h"
#include "core/lib/log.h"
#include "core/lib/util.h"
#include "fs/inode/inode.h"
#include "fs/vfs/vfs.h"
#include "tallyfs/format.h"
#include "tests/lib/faultdev.h"
#include "tests/lib/fixture.h"

#define ROOT TFS_INO_ROOT

static struct fixture fx;
static struct vfs_file *file; /* what is open during the operation, if anything is */
static unsigned int failed;   /* how often */

static void quiet(enum log_level level, const char *text)
{
}

TestSuite(all_or_nothing, .init = fx_init, .fini = fx_exit, .timeout = 900);

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

static void begin(void)
{
	fx_create_on(&fx, faultdev_create(fx_mem(FX_SMALL)), FX_SMALL, 1, NULL);
	/* checking and mounting speak up again */
	log_set_hook(quiet);
}

/* @op with its n-th allocation or (@io) access to the device failing.  Was there an n-th? */
static bool run(int (*op)(void), bool io, uint64_t n, int *err)
{
	bool struck;

	if (io)
		faultdev_plan(fx.dev, .kind = FAULT_ERROR, .ops = FAULT_IO, .nth = n);
	else
		tl_alloc_fail_nth(n);
	*err = op();
	struck = io ? faultdev_struck(fx.dev, NULL, NULL) > 0 : tl_alloc_count() >= n;
	tl_alloc_fail_nth(0);
	faultdev_clear(fx.dev);
	return struck;
}

static void sweep_one(void (*prepare)(void), int (*op)(void), void (*check)(int err), bool io)
{
	bool more = true;

	for (uint64_t n = 1; more; n++) {
		int err;

		begin();
		if (prepare)
			prepare();
		more = run(op, io, n, &err);
		failed += err != 0;
		if (!atomic_load(&fx.fs->shutdown)) {
			check(err);
		} else {
			/* half made: what was committed is all there is */
			if (file)
				fx_close(&fx, file);
			fx_crash_remount(&fx);
		}
		file = NULL;
		fx_destroy(&fx);
	}
}

/* Run @op with everything failing once that it asks memory or the device for; @check what is left
 * each time. */
static void sweep(void (*prepare)(void), int (*op)(void), void (*check)(int err))
{
	sweep_one(prepare, op, check, false);
	sweep_one(prepare, op, check, true);
	cr_assert_gt(failed, 0);
}

/* Nothing that was reserved or claimed for the operation is kept when all is written. */
static void check_space(int err)
{
	FX_OK(vfs_sync(fx.fs));
	/* who waits for a direct write is told before its worker gives back what is left over */
	iomap_ioend_drain();
	FX_IS(fx_stat(&fx, "space", "reserved"), 0);
	FX_IS(fx_stat(&fx, "space", "claimed"), 0);
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

/* Who is told that a file was not made must not find it later: the kernel remembers that the name
 * is not there. */
Test(all_or_nothing, create)
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

/* No space for a copy of the block with the new end: it has to be written first, and that brings
 * the truncation about.
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

	cr_assert(size == NEW || (err && size == OLD), "size %llu after %d",
		  (unsigned long long)size, err);
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

Test(all_or_nothing, truncate_dirty)
{
	sweep(make_dirty, cut, check_cut);
}

Test(all_or_nothing, truncate_clean)
{
	sweep(make_clean, cut, check_cut);
}

Test(all_or_nothing, truncate_uncached)
{
	sweep(make_uncached, cut, check_cut);
}

Test(all_or_nothing, truncate_shared)
{
	sweep(make_shared, cut, check_cut);
}

Test(all_or_nothing, truncate_with_a_dirty_eof)
{
	sweep(make_dirty_at_eof, cut, check_cut);
}

Test(all_or_nothing, truncate_shared_without_space)
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

	return vfs_setattr(fx.fs, file->inode->ino, VFS_SET_SIZE | VFS_KILL_PRIV, &set, &fx_root,
			   &a);
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
Test(all_or_nothing, truncate_setuid)
{
	sweep(make_setuid, cut_by_other, check_privileges);
}

/* ---- content: each block is as before or as after, and no space is lost track of ---- */

static void check_content(int err)
{
	uint64_t size = fx_size_of(&fx, file);
	uint8_t *buf = malloc(size);

	cr_assert(size >= OLD);
	FX_IS(vfs_pread(fx.fs, file, buf, size, 0), size);
	for (uint64_t pos = 0; pos < size; pos++) {
		uint8_t old = pos < OLD ? fx_byte(1, pos) : 0;
		bool zero = !buf[pos], copied = buf[pos] == fx_byte(3, pos);

		if (buf[pos] != old && !zero && !copied)
			fx_die(__FILE__, __LINE__, "a byte that was never written", (long long)pos);
	}
	free(buf);
	check_space(err);
	fx_close(&fx, file);
}

static int punch(void)
{
	return vfs_fallocate(fx.fs, file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 5000, 60000);
}

static int zero(void)
{
	return vfs_fallocate(fx.fs, file, FALLOC_FL_ZERO_RANGE, 5000, 120000);
}

static int preallocate(void)
{
	return vfs_fallocate(fx.fs, file, 0, 0, 3 * OLD);
}

static void make_two(void)
{
	struct vfs_file *from;

	fx_file(&fx, "from", &from);
	fx_write(&fx, from, 0, OLD, 3);
	FX_OK(vfs_fsync(fx.fs, from, false));
	fx_close(&fx, from);
	make_dirty_at_eof();
}

static int copy_range(void)
{
	struct vfs_file *from;
	int64_t n;

	n = vfs_open(fx.fs, fx_ino(&fx, "/from"), O_RDONLY, &from);
	if (n)
		return (int)n;
	n = vfs_copy_file_range(fx.fs, from, 4096, file, 4096, OLD - 4096, 0);
	fx_close(&fx, from);
	return n < 0 ? (int)n : 0;
}

static int unshare_all(void)
{
	return fx_unshare(fx.fs, file, 0, OLD);
}

static uint8_t block[8 * 4096] __attribute__((aligned(4096)));

static int write_direct(void)
{
	int64_t n;

	for (unsigned int k = 0; k < sizeof(block); k++)
		block[k] = fx_byte(3, 20480 + k);
	file->flags |= O_DIRECT;
	n = vfs_pwrite(fx.fs, file, block, sizeof(block), 20480);
	file->flags &= ~O_DIRECT;
	return n < 0 ? (int)n : n == sizeof(block) ? 0 : -ENOMEM;
}

Test(all_or_nothing, punch)
{
	sweep(make_dirty_at_eof, punch, check_content);
}

Test(all_or_nothing, zero_range)
{
	sweep(make_shared, zero, check_content);
}

Test(all_or_nothing, preallocate)
{
	sweep(make_dirty_at_eof, preallocate, check_content);
}

Test(all_or_nothing, copy_file_range)
{
	sweep(make_two, copy_range, check_content);
}

Test(all_or_nothing, unshare)
{
	sweep(make_shared, unshare_all, check_content);
}

Test(all_or_nothing, direct_write)
{
	sweep(make_dirty_at_eof, write_direct, check_content);
}

/* ---- names and attributes ---- */

static int replace(void)
{
	return vfs_rename(fx.fs, ROOT, "from", ROOT, "a", 0);
}

static void check_replaced(int err)
{
	uint64_t now = fx_ino(&fx, "/a");

	cr_assert_eq(exists("from"), err != 0);
	cr_assert_eq(now == file->inode->ino, err != 0);
	check_space(err);
	fx_close(&fx, file);
}

static int give_name(void)
{
	struct vfs_attr a;
	int err = vfs_link(fx.fs, file->inode->ino, ROOT, "new", &a);

	if (!err)
		vfs_forget(fx.fs, a.ino, 1);
	return err;
}

static void check_named(int err)
{
	check_created(err);
	fx_close(&fx, file);
}

static char value[20000];

static int set_long(void)
{
	return vfs_setxattr(fx.fs, file->inode->ino, "user.long", value, sizeof(value), 0,
			    &fx_root);
}

static void check_long(int err)
{
	FX_IS(vfs_getxattr(fx.fs, file->inode->ino, "user.long", NULL, 0),
	      err ? -ENODATA : (int)sizeof(value));
	fx_close(&fx, file);
}

Test(all_or_nothing, rename_over)
{
	sweep(make_two, replace, check_replaced);
}

Test(all_or_nothing, link)
{
	sweep(make_clean, give_name, check_named);
}

Test(all_or_nothing, long_attribute)
{
	sweep(make_clean, set_long, check_long);
}
