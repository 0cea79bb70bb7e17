// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The exercisers on the library: file contents and the name space against models.  TALLYFS_SEED replays a run,
 * TALLYFS_OPS makes it longer.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "fs/inode.h"
#include "tests/lib/crashdev.h"
#include "tests/lib/fsfix.h"
#include "tests/lib/fsxer.h"
#include "tests/lib/treexer.h"

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

/* ---- names ---- */

/* The directory a path's last name is in, and that name. */
static int walk(const char *path, uint64_t *dir, const char **last)
{
	char name[256];
	struct vfs_attr a;
	const char *end;
	int err;

	*dir = TFS_INO_ROOT;
	for (path++; (end = strchr(path, '/')); path = end + 1) {
		memcpy(name, path, (size_t)(end - path));
		name[end - path] = '\0';
		err = vfs_lookup(fx.fs, *dir, name, &a);
		if (err)
			return err;
		vfs_forget(fx.fs, a.ino, 1);
		*dir = a.ino;
	}
	*last = path;
	return 0;
}

static int find(const char *path, struct vfs_attr *a)
{
	const char *name;
	uint64_t dir;
	int err = walk(path, &dir, &name);

	if (!err && !*name)
		return vfs_getattr(fx.fs, dir, a);
	if (!err)
		err = vfs_lookup(fx.fs, dir, name, a);
	if (!err)
		vfs_forget(fx.fs, a->ino, 1);
	return err;
}

static int forgotten(int err, const struct vfs_attr *a)
{
	if (!err)
		vfs_forget(fx.fs, a->ino, 1);
	return err;
}

static int tree_create(void *be, const char *path)
{
	struct vfs_attr a;
	const char *name;
	uint64_t dir;
	int err = walk(path, &dir, &name);

	return err ? err : forgotten(vfs_create(fx.fs, dir, name, 0644, &fx_root, 0, &a, NULL), &a);
}

static int tree_mkdir(void *be, const char *path)
{
	struct vfs_attr a;
	const char *name;
	uint64_t dir;
	int err = walk(path, &dir, &name);

	return err ? err : forgotten(vfs_mkdir(fx.fs, dir, name, 0755, &fx_root, &a), &a);
}

static int tree_symlink(void *be, const char *target, const char *path)
{
	struct vfs_attr a;
	const char *name;
	uint64_t dir;
	int err = walk(path, &dir, &name);

	return err ? err : forgotten(vfs_symlink(fx.fs, dir, name, target, &fx_root, &a), &a);
}

static int tree_link(void *be, const char *path, const char *new_path)
{
	struct vfs_attr old, a;
	const char *name;
	uint64_t dir;
	int err = find(path, &old);

	if (!err)
		err = walk(new_path, &dir, &name);
	return err ? err : forgotten(vfs_link(fx.fs, old.ino, dir, name, &a), &a);
}

static int tree_unlink(void *be, const char *path)
{
	const char *name;
	uint64_t dir;
	int err = walk(path, &dir, &name);

	return err ? err : vfs_unlink(fx.fs, dir, name);
}

static int tree_rmdir(void *be, const char *path)
{
	const char *name;
	uint64_t dir;
	int err = walk(path, &dir, &name);

	return err ? err : vfs_rmdir(fx.fs, dir, name);
}

static int tree_rename(void *be, const char *path, const char *new_path, unsigned int flags)
{
	const char *name, *new_name;
	uint64_t dir, new_dir;
	int err = walk(path, &dir, &name);

	if (!err)
		err = walk(new_path, &new_dir, &new_name);
	return err ? err : vfs_rename(fx.fs, dir, name, new_dir, new_name, flags);
}

static int tree_stat(void *be, const char *path, struct treexer_stat *st)
{
	struct vfs_attr a;
	int err = find(path, &a);

	if (!err)
		*st = (struct treexer_stat){ .ino = a.ino, .nlink = a.nlink, .type = (uint8_t)(a.mode >> 12) };
	return err;
}

struct open_list {
	uint64_t dir, after;
	unsigned int room;
	treexer_fill_fn *fill;
	void *arg;
};

static int tree_list_open(void *be, const char *path, void **list)
{
	struct open_list *l = calloc(1, sizeof(*l));
	struct vfs_attr a;
	int err = find(path, &a);

	l->dir = a.ino;
	*list = l;
	return err;
}

static bool fill_one(void *arg, const struct vfs_dirent *de)
{
	struct open_list *l = arg;
	char name[256];

	if (!l->room)
		return false;
	l->room--;
	memcpy(name, de->name, de->len);
	name[de->len] = '\0';
	l->after = de->cookie;
	l->fill(l->arg, name, de->ino, de->type);
	return true;
}

static int tree_list(void *be, void *list, unsigned int max, treexer_fill_fn *fill, void *arg)
{
	struct open_list *l = list;
	int err;

	l->room = max;
	l->fill = fill;
	l->arg = arg;
	err = vfs_readdir(fx.fs, l->dir, l->after, fill_one, l);
	return err ? err : !l->room;
}

static void tree_list_close(void *be, void *list)
{
	free(list);
}

static int tree_remount(void *be)
{
	fx_remount(&fx);
	return 0;
}

static const struct treexer_ops tree_ops = {
	.create = tree_create,
	.mkdir = tree_mkdir,
	.symlink = tree_symlink,
	.link = tree_link,
	.unlink = tree_unlink,
	.rmdir = tree_rmdir,
	.rename = tree_rename,
	.stat = tree_stat,
	.list_open = tree_list_open,
	.list = tree_list,
	.list_close = tree_list_close,
	.remount = tree_remount,
};

static void names(enum fx_size size, uint64_t seed)
{
	struct treexer_opts o = { .seed = test_seed(seed), .ops = test_ops(8000), .remount_every = 400 };

	fx_init();
	fx_create(&fx, size);
	cr_assert_eq(treexer_run(&o, &tree_ops, NULL), 0);
	fx_destroy(&fx);
	fx_exit();
}

Test(exerciser, names_4k)
{
	names(FX_SMALL, 42001);
}

Test(exerciser, names_1k)
{
	names(FX_SMALL1K, 42002);
}
