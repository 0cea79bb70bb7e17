// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The exercisers on the library: file contents and the name space against models.  TALLYFS_SEED replays a run,
 * TALLYFS_OPS makes it longer.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include "fs/inode.h"
#include "tests/lib/crashdev.h"
#include "tests/lib/fsfix.h"
#include "tests/lib/fsxer.h"

#define FILES 4

static struct fsfix fx;
static struct vfs_file *files[FILES];

TestSuite(exerciser, .timeout = 3000);

static const char *name_of(unsigned int k)
{
	static char name[] = "file0";

	name[4] = (char)('0' + k);
	return name;
}

static int64_t be_pwrite(void *be, unsigned int k, const void *buf, size_t len, uint64_t pos)
{
	return vfs_pwrite(fx.fs, files[k], buf, len, pos);
}

static int64_t be_pread(void *be, unsigned int k, void *buf, size_t len, uint64_t pos)
{
	return vfs_pread(fx.fs, files[k], buf, len, pos);
}

static int be_truncate(void *be, unsigned int k, uint64_t size)
{
	struct vfs_attr a = { .size = size };

	return vfs_setattr(fx.fs, files[k]->inode->ino, VFS_SET_SIZE, &a, &fx_root, NULL);
}

static int be_fallocate(void *be, unsigned int k, int mode, uint64_t pos, uint64_t len)
{
	return vfs_fallocate(fx.fs, files[k], mode, pos, len);
}

static int64_t be_seek(void *be, unsigned int k, uint64_t pos, int whence)
{
	return vfs_lseek(fx.fs, files[k], pos, whence);
}

static int64_t be_size(void *be, unsigned int k)
{
	return (int64_t)fx_size_of(&fx, files[k]);
}

static int be_fsync(void *be, unsigned int k, bool datasync)
{
	return vfs_fsync(fx.fs, files[k], datasync);
}

static int be_reopen(void *be, unsigned int k)
{
	fx_close(&fx, files[k]);
	icache_trim(fx.fs);
	files[k] = fx_open(&fx, name_of(k));
	return 0;
}

static int be_drop(void *be)
{
	pagecache_shrink(fx.fs->pagecache, 0);
	return 0;
}

static int be_remount(void *be)
{
	for (unsigned int k = 0; k < FILES; k++)
		fx_close(&fx, files[k]);
	fx_remount(&fx);
	for (unsigned int k = 0; k < FILES; k++)
		files[k] = fx_open(&fx, name_of(k));
	return 0;
}

static const struct fsxer_ops file_ops = {
	.pwrite = be_pwrite,
	.pread = be_pread,
	.truncate = be_truncate,
	.fallocate = be_fallocate,
	.seek = be_seek,
	.size = be_size,
	.fsync = be_fsync,
	.reopen = be_reopen,
	.drop_cache = be_drop,
	.remount = be_remount,
};

static void content(enum fx_size size, uint64_t seed)
{
	struct fsxer_opts o = { .seed = test_seed(seed),
				.ops = test_ops(1500),
				.nr_files = FILES,
				.max_size = 400000,
				.remount_every = 60 };

	fx_init();
	fx_create(&fx, size);
	for (unsigned int k = 0; k < FILES; k++)
		fx_file(&fx, name_of(k), &files[k]);
	cr_assert_eq(fsxer_run(&o, &file_ops, NULL), 0);
	for (unsigned int k = 0; k < FILES; k++)
		fx_close(&fx, files[k]);
	fx_destroy(&fx);
	fx_exit();
}

Test(exerciser, content_4k)
{
	content(FX_SMALL, 41001);
}

Test(exerciser, content_1k)
{
	content(FX_SMALL1K, 41002);
}

Test(exerciser, content_medium)
{
	content(FX_MEDIUM, 41003);
}
