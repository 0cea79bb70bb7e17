/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fs/vfs/file*.c, fs/inode/iomap_ops.c, fs/inode/map_blocks.c, end_ioends.c: content through the
 * library, before and after remounts. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "core/iomap/iomap.h"
#include "fs/inode/inode.h"
#include "fs/vfs/vfs.h"
#include "tallyfs/format.h"
#include "tests/lib/fixture.h"
#include "tests/lib/fixture_suite.h"

static struct fixture fx;

FX_SUITE(file, fx, FX_SMALL, 900);

Test(file, write_read_remount)
{
	struct vfs_file *f;

	fx_file(&fx, "a", &f);
	fx_write(&fx, f, 0, 300000, 1);
	fx_expect(&fx, f, 0, 300000, 1);
	cr_assert_eq(fx_size_of(&fx, f), 300000);
	fx_close(&fx, f);
	fx_remount(&fx);
	f = fx_open(&fx, "a");
	fx_expect(&fx, f, 0, 300000, 1);
	cr_assert_eq(fx_size_of(&fx, f), 300000);
	fx_close(&fx, f);
}

Test(file, fsync_survives_crash)
{
	struct vfs_file *f;

	fx_file(&fx, "a", &f);
	fx_write(&fx, f, 0, 10000, 1);
	FX_OK(vfs_fsync(fx.fs, f, false));
	fx_write(&fx, f, 0, 5000, 2); /* not synced */
	fx_close(&fx, f);
	fx_crash_remount(&fx);
	f = fx_open(&fx, "a");
	cr_assert_eq(fx_size_of(&fx, f), 10000);
	fx_expect(&fx, f, 0, 10000, 1);
	fx_close(&fx, f);
}

/* Opened with O_SYNC or O_DSYNC, each write is durable when it returns, and O_SYNC's times too. */
Test(file, synchronous_writes_survive_a_crash)
{
	static const int flags[] = { O_RDWR | O_DSYNC, O_RDWR | O_SYNC };
	struct timespec long_ago = { .tv_sec = 1000 };
	struct vfs_attr a = { .mtime = long_ago };
	struct vfs_file *f;
	uint64_t ino;

	for (unsigned int k = 0; k < 2; k++) {
		ino = fx_file(&fx, "a", &f);
		fx_write(&fx, f, 0, 10000, 1);
		FX_OK(vfs_setattr(fx.fs, ino, VFS_SET_MTIME, &a, &fx_root, &a));
		FX_OK(vfs_fsync(fx.fs, f, false));
		fx_close(&fx, f);
		FX_OK(vfs_open(fx.fs, ino, flags[k], &f));
		fx_write(&fx, f, 5000, 10000, 2);
		fx_close(&fx, f);
		fx_crash_remount(&fx);
		f = fx_open(&fx, "a");
		cr_assert_eq(fx_size_of(&fx, f), 15000);
		fx_expect(&fx, f, 0, 5000, 1);
		fx_expect(&fx, f, 5000, 10000, 2);
		FX_OK(vfs_getattr(fx.fs, ino, &a));
		if (k)
			cr_assert_gt(a.mtime.tv_sec, long_ago.tv_sec);
		fx_close(&fx, f);
		FX_OK(vfs_unlink(fx.fs, TFS_INO_ROOT, "a"));
		a.mtime = long_ago;
	}
}

/* With a write-back cache the kernel keeps the times of what it has cached; without, nobody does.
 */
Test(file, times_of_what_the_kernel_cached)
{
	struct timespec long_ago = { .tv_sec = 1000 };
	struct vfs_attr a = { .mtime = long_ago };
	struct iomap_src src = { .buf = "abc", .len = 3 };
	struct vfs_file *f;
	uint64_t ino = fx_file(&fx, "a", &f);

	FX_OK(vfs_setattr(fx.fs, ino, VFS_SET_MTIME, &a, &fx_root, &a));
	FX_IS(vfs_write(fx.fs, f, 0, &src, VFS_WRITE_CACHE, NULL), 3);
	FX_OK(vfs_getattr(fx.fs, ino, &a));
	FX_IS(a.mtime.tv_sec, long_ago.tv_sec);
	FX_IS(vfs_write(fx.fs, f, 0, &src, VFS_WRITE_CACHE | VFS_WRITE_TOUCH, NULL), 3);
	FX_OK(vfs_getattr(fx.fs, ino, &a));
	FX_CHECK(a.mtime.tv_sec > long_ago.tv_sec);
	fx_close(&fx, f);
}

Test(file, small_files_live_in_the_tree)
{
	uint64_t blocks = fx_stat(&fx, "tree", "data_blocks");
	struct vfs_file *f;
	char name[16];

	for (int k = 0; k < 40; k++) {
		snprintf(name, sizeof(name), "s%d", k);
		fx_file(&fx, name, &f);
		fx_write(&fx, f, 0, 100 + (uint64_t)k, (uint64_t)k);
		fx_close(&fx, f);
	}
	fx_remount(&fx);
	cr_assert_eq(fx_stat(&fx, "tree", "data_blocks"), blocks);
	for (int k = 0; k < 40; k++) {
		snprintf(name, sizeof(name), "s%d", k);
		f = fx_open(&fx, name);
		cr_assert_eq(fx_size_of(&fx, f), 100u + (unsigned int)k);
		fx_expect(&fx, f, 0, 100 + (uint64_t)k, (uint64_t)k);
		fx_close(&fx, f);
	}
	cr_assert_eq(fx_stat(&fx, "space", "reserved"), 0);
}

Test(file, inline_grows_into_extents_and_back)
{
	struct vfs_file *f;

	fx_file(&fx, "a", &f);
	fx_write(&fx, f, 0, 100, 1);
	FX_OK(vfs_fsync(fx.fs, f, false));
	fx_write(&fx, f, 100, 20000, 1);
	FX_OK(vfs_fsync(fx.fs, f, false));
	fx_close(&fx, f);
	fx_remount(&fx);
	f = fx_open(&fx, "a");
	fx_expect(&fx, f, 0, 20100, 1);
	fx_set_size(&fx, f, 60);
	fx_write(&fx, f, 10, 20, 2);
	FX_OK(vfs_fsync(fx.fs, f, false));
	fx_close(&fx, f);
	fx_remount(&fx);
	f = fx_open(&fx, "a");
	cr_assert_eq(fx_size_of(&fx, f), 60);
	fx_expect(&fx, f, 0, 10, 1);
	fx_expect(&fx, f, 10, 20, 2);
	fx_expect(&fx, f, 30, 30, 1);
	cr_assert_eq(fx_stat(&fx, "tree", "data_blocks"), 0);
	fx_close(&fx, f);
}

Test(file, sparse)
{
	struct vfs_file *f;

	fx_file(&fx, "a", &f);
	fx_write(&fx, f, 1u << 20, 1000, 1);
	fx_write(&fx, f, 1ull << 40, 1000, 2);
	fx_expect_zero(&fx, f, 0, 1u << 20);
	FX_OK(vfs_fsync(fx.fs, f, false));
	fx_close(&fx, f);
	fx_remount(&fx);
	f = fx_open(&fx, "a");
	cr_assert_eq(fx_size_of(&fx, f), (1ull << 40) + 1000);
	fx_expect_zero(&fx, f, 0, 1u << 20);
	fx_expect(&fx, f, 1u << 20, 1000, 1);
	fx_expect(&fx, f, 1ull << 40, 1000, 2);
	cr_assert_eq(vfs_lseek(fx.fs, f, 0, SEEK_DATA), 1 << 20);
	cr_assert_eq(vfs_lseek(fx.fs, f, 1u << 20, SEEK_HOLE), (1 << 20) + 4096);
	cr_assert_eq(vfs_lseek(fx.fs, f, (1u << 20) + 4096, SEEK_DATA), 1ll << 40);
	cr_assert_eq(vfs_lseek(fx.fs, f, 1ull << 40, SEEK_HOLE), (1ll << 40) + 1000);
	cr_assert_eq(vfs_lseek(fx.fs, f, 1ull << 41, SEEK_DATA), -ENXIO);
	fx_close(&fx, f);
}

Test(file, overwrite_frees_the_old_blocks)
{
	struct vfs_file *f;
	uint64_t used;

	fx_file(&fx, "a", &f);
	fx_write(&fx, f, 0, 1u << 20, 1);
	FX_OK(vfs_fsync(fx.fs, f, false));
	used = fx_stat(&fx, "tree", "data_blocks");
	for (uint64_t n = 2; n < 12; n++) {
		fx_write(&fx, f, 0, 1u << 20, n);
		FX_OK(vfs_fsync(fx.fs, f, false));
		cr_assert_eq(fx_stat(&fx, "tree", "data_blocks"), used);
	}
	fx_close(&fx, f);
	fx_remount(&fx);
	f = fx_open(&fx, "a");
	fx_expect(&fx, f, 0, 1u << 20, 11);
	fx_close(&fx, f);
}

Test(file, random_block_overwrites)
{
	struct vfs_file *f;
	uint8_t tags[64];
	uint64_t x = 88172645463325252ull;

	fx_file(&fx, "a", &f);
	fx_write(&fx, f, 0, 64 * 4096, 0);
	memset(tags, 0, sizeof(tags));
	for (int k = 1; k < 200; k++) {
		unsigned int b;

		x ^= x << 13, x ^= x >> 7, x ^= x << 17;
		b = (unsigned int)(x % 64);
		tags[b] = (uint8_t)k;
		fx_write(&fx, f, b * 4096u, 4096, (uint64_t)k);
		if (k % 17 == 0)
			FX_OK(vfs_fsync(fx.fs, f, k % 2));
	}
	fx_close(&fx, f);
	fx_remount(&fx);
	f = fx_open(&fx, "a");
	for (unsigned int b = 0; b < 64; b++)
		fx_expect(&fx, f, b * 4096u, 4096, tags[b]);
	fx_close(&fx, f);
}

Test(file, append_and_limits)
{
	struct vfs_file *f, *g;
	char c = 'x';

	fx_file(&fx, "a", &f);
	fx_write(&fx, f, 0, 5000, 1);
	FX_OK(vfs_open(fx.fs, f->inode->ino, O_WRONLY | O_APPEND, &g));
	cr_assert_eq(vfs_pwrite(fx.fs, g, &c, 1, 0), 1);
	cr_assert_eq(fx_size_of(&fx, f), 5001);
	cr_assert_eq(vfs_pwrite(fx.fs, f, &c, 1, INT64_MAX), -EFBIG);
	cr_assert_eq(vfs_pread(fx.fs, f, &c, 1, 6000), 0);
	cr_assert_eq(vfs_pread(fx.fs, f, &c, 1, 5000), 1);
	cr_assert_eq(c, 'x');
	fx_close(&fx, g);
	fx_close(&fx, f);
}

Test(file, full_device)
{
	struct vfs_file *f, *g;
	static char buf[65536];
	uint64_t pos = 0;
	int64_t n;

	fx_file(&fx, "old", &g);
	fx_write(&fx, g, 0, 500000, 1);
	FX_OK(vfs_fsync(fx.fs, g, false));
	fx_file(&fx, "a", &f);
	memset(buf, 'y', sizeof(buf));
	while ((n = vfs_pwrite(fx.fs, f, buf, sizeof(buf), pos)) > 0)
		pos += (uint64_t)n;
	cr_assert_eq(n, -ENOSPC);
	cr_assert_gt(pos, 4u << 20);
	FX_OK(vfs_fsync(fx.fs, f, false));
	/* what is allocated can always be overwritten, any number of times */
	for (uint64_t k = 2; k < 6; k++)
		fx_write(&fx, g, 0, 500000, k);
	FX_OK(vfs_fsync(fx.fs, g, false));
	fx_expect(&fx, g, 0, 500000, 5);
	fx_close(&fx, g);
	fx_close(&fx, f);
	FX_OK(vfs_unlink(fx.fs, TFS_INO_ROOT, "a"));
	fx_file(&fx, "b", &f);
	fx_write(&fx, f, 0, 3u << 20, 7);
	fx_close(&fx, f);
	fx_remount(&fx);
	f = fx_open(&fx, "b");
	fx_expect(&fx, f, 0, 3u << 20, 7);
	fx_close(&fx, f);
}

Test(file, times_and_kill_priv)
{
	struct vfs_attr a, set = { .mode = 06755 };
	struct vfs_file *f;
	struct iomap_src src = { .buf = "abc", .len = 3 };
	bool killed = false;
	uint64_t ino = fx_file(&fx, "a", &f);

	FX_OK(vfs_setattr(fx.fs, ino, VFS_SET_MODE, &set, &fx_root, &a));
	cr_assert_eq(a.mode, (unsigned int)S_IFREG | 06755u);
	FX_OK(vfs_setxattr(fx.fs, ino, "security.capability", "c", 1, 0, &fx_root));
	cr_assert_eq(vfs_write(fx.fs, f, 0, &src, VFS_WRITE_KILL_PRIV, &killed), 3);
	cr_assert(killed);
	killed = false;
	cr_assert_eq(vfs_write(fx.fs, f, 0, &src, VFS_WRITE_KILL_PRIV, &killed), 3);
	cr_assert_not(killed);
	FX_OK(vfs_getattr(fx.fs, ino, &a));
	cr_assert_eq(a.mode, (unsigned int)S_IFREG | 0755u);
	cr_assert_eq(vfs_getxattr(fx.fs, ino, "security.capability", NULL, 0), -ENODATA);
	set.mtime = (struct timespec){ .tv_sec = -5, .tv_nsec = 123456789 };
	set.atime = (struct timespec){ .tv_sec = 5000000000, .tv_nsec = 1 };
	FX_OK(vfs_setattr(fx.fs, ino, VFS_SET_MTIME | VFS_SET_ATIME, &set, &fx_root, &a));
	fx_close(&fx, f);
	fx_remount(&fx);
	FX_OK(vfs_getattr(fx.fs, ino, &a));
	cr_assert_eq(a.mtime.tv_sec, -5);
	cr_assert_eq(a.mtime.tv_nsec, 123456789);
	cr_assert_eq(a.atime.tv_sec, 5000000000);
	cr_assert_eq(a.mode, (unsigned int)S_IFREG | 0755u);
}
