/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include "core/pagecache/pagecache.h"
#include "fs/inode/evict.h"
#include "fs/inode/inode.h"
#include "fs/journal/journal.h"
#include "fs/state/fs.h"
#include "fs/vfs/vfs.h"
#include "tests/lib/exercise_lib.h"

static struct lib_backend *exer(void *be)
{
	return be;
}

static struct tfs_fs *fs_of(void *be)
{
	return exer(be)->fx->fs;
}

static struct vfs_file *file_of(void *be, unsigned int k)
{
	return exer(be)->files[k];
}

static int64_t be_pwrite(void *be, unsigned int k, const void *buf, size_t len, uint64_t pos)
{
	return vfs_pwrite(fs_of(be), file_of(be, k), buf, len, pos);
}

static int64_t be_pread(void *be, unsigned int k, void *buf, size_t len, uint64_t pos)
{
	return vfs_pread(fs_of(be), file_of(be, k), buf, len, pos);
}

static int64_t be_append(void *be, unsigned int k, const void *buf, size_t len)
{
	struct vfs_file *f;
	int64_t n = vfs_open(fs_of(be), file_of(be, k)->inode->ino, O_WRONLY | O_APPEND, &f);

	if (n)
		return n;
	n = vfs_pwrite(fs_of(be), f, buf, len, 0);
	vfs_release(fs_of(be), f);
	return n;
}

static int64_t be_copy(void *be, unsigned int from, uint64_t pos, unsigned int to, uint64_t to_pos,
		       size_t len)
{
	return vfs_copy_file_range(fs_of(be), file_of(be, from), pos, file_of(be, to), to_pos, len,
				   0);
}

static int be_unshare(void *be, unsigned int k, uint64_t pos, uint64_t len)
{
	return fx_unshare(fs_of(be), file_of(be, k), pos, len);
}

static int be_truncate(void *be, unsigned int k, uint64_t size)
{
	struct vfs_attr a = { .size = size };

	return vfs_setattr(fs_of(be), file_of(be, k)->inode->ino, VFS_SET_SIZE, &a, &fx_root, NULL);
}

static int be_fallocate(void *be, unsigned int k, int mode, uint64_t pos, uint64_t len)
{
	return vfs_fallocate(fs_of(be), file_of(be, k), mode, pos, len);
}

static int64_t be_seek(void *be, unsigned int k, uint64_t pos, int whence)
{
	return vfs_lseek(fs_of(be), file_of(be, k), pos, whence);
}

static int64_t be_size(void *be, unsigned int k)
{
	return (int64_t)fx_size_of(exer(be)->fx, file_of(be, k));
}

static int be_fsync(void *be, unsigned int k, bool datasync)
{
	return vfs_fsync(fs_of(be), file_of(be, k), datasync);
}

static int open_file(struct lib_backend *e, unsigned int k, int flags)
{
	char name[] = "file0";
	struct vfs_attr a;
	int err;

	name[4] = (char)('0' + k);
	e->files[k] = NULL;
	err = vfs_lookup(e->fx->fs, e->top, name, &a);
	if (!err)
		vfs_forget(e->fx->fs, a.ino, 1);
	return err ? err : vfs_open(e->fx->fs, a.ino, flags, &e->files[k]);
}

/* By turns past the page cache and through it. */
static int be_reopen(void *be, unsigned int k)
{
	int flags = O_RDWR | (~file_of(be, k)->flags & O_DIRECT);

	vfs_release(fs_of(be), file_of(be, k));
	icache_trim(fs_of(be));
	return open_file(be, k, flags);
}

static int be_drop(void *be)
{
	pagecache_shrink(fs_of(be)->pagecache, 0);
	return 0;
}

static int be_sync(void *be)
{
	return vfs_sync(fs_of(be));
}

static int be_background(void *be, unsigned int which)
{
	if (!which)
		return pagecache_sync(fs_of(be)->pagecache, true);
	return which == 1 ? journal_commit_all(fs_of(be)) : journal_checkpoint(fs_of(be));
}

int lib_backend_reopen(struct lib_backend *e)
{
	int err = 0;

	for (unsigned int k = 0; !err && k < LIB_BACKEND_FILES; k++)
		err = open_file(e, k, O_RDWR);
	return err;
}

static int be_remount(void *be)
{
	lib_backend_close(be);
	fx_remount(exer(be)->fx);
	return lib_backend_reopen(be);
}

const struct content_ops lib_content_ops = {
	.pwrite = be_pwrite,
	.pread = be_pread,
	.append = be_append,
	.copy = be_copy,
	.truncate = be_truncate,
	.fallocate = be_fallocate,
	.seek = be_seek,
	.size = be_size,
	.fsync = be_fsync,
	.reopen = be_reopen,
	.drop_cache = be_drop,
	.unshare = be_unshare,
	.sync = be_sync,
	.background = be_background,
	.remount = be_remount,
};

/* ---- names ---- */

/* The directory a path's last name is in, and that name. */
static int walk(void *be, const char *path, uint64_t *dir, const char **last)
{
	char name[256];
	struct vfs_attr a;
	const char *end;
	int err;

	*dir = exer(be)->top;
	for (path++; (end = strchr(path, '/')); path = end + 1) {
		memcpy(name, path, (size_t)(end - path));
		name[end - path] = '\0';
		err = vfs_lookup(fs_of(be), *dir, name, &a);
		if (err)
			return err;
		vfs_forget(fs_of(be), a.ino, 1);
		*dir = a.ino;
	}
	*last = path;
	return 0;
}

static int find(void *be, const char *path, struct vfs_attr *a)
{
	const char *name;
	uint64_t dir;
	int err = walk(be, path, &dir, &name);

	if (!err && !*name)
		return vfs_getattr(fs_of(be), dir, a);
	if (!err)
		err = vfs_lookup(fs_of(be), dir, name, a);
	if (!err)
		vfs_forget(fs_of(be), a->ino, 1);
	return err;
}

static int forgotten(void *be, int err, const struct vfs_attr *a)
{
	if (!err)
		vfs_forget(fs_of(be), a->ino, 1);
	return err;
}

static int tree_create(void *be, const char *path)
{
	struct vfs_attr a;
	const char *name;
	uint64_t dir;
	int err = walk(be, path, &dir, &name);

	return err ? err
		   : forgotten(be, vfs_create(fs_of(be), dir, name, 0644, &fx_root, 0, &a, NULL),
			       &a);
}

static int tree_mkdir(void *be, const char *path)
{
	struct vfs_attr a;
	const char *name;
	uint64_t dir;
	int err = walk(be, path, &dir, &name);

	return err ? err : forgotten(be, vfs_mkdir(fs_of(be), dir, name, 0755, &fx_root, &a), &a);
}

static int tree_symlink(void *be, const char *target, const char *path)
{
	struct vfs_attr a;
	const char *name;
	uint64_t dir;
	int err = walk(be, path, &dir, &name);

	return err ? err
		   : forgotten(be, vfs_symlink(fs_of(be), dir, name, target, &fx_root, &a), &a);
}

static int tree_link(void *be, const char *path, const char *new_path)
{
	struct vfs_attr old, a;
	const char *name;
	uint64_t dir;
	int err = find(be, path, &old);

	if (!err)
		err = walk(be, new_path, &dir, &name);
	return err ? err : forgotten(be, vfs_link(fs_of(be), old.ino, dir, name, &a), &a);
}

static int tree_unlink(void *be, const char *path)
{
	const char *name;
	uint64_t dir;
	int err = walk(be, path, &dir, &name);

	return err ? err : vfs_unlink(fs_of(be), dir, name);
}

static int tree_rmdir(void *be, const char *path)
{
	const char *name;
	uint64_t dir;
	int err = walk(be, path, &dir, &name);

	return err ? err : vfs_rmdir(fs_of(be), dir, name);
}

static int tree_rename(void *be, const char *path, const char *new_path, unsigned int flags)
{
	const char *name, *new_name;
	uint64_t dir, new_dir;
	int err = walk(be, path, &dir, &name);

	if (!err)
		err = walk(be, new_path, &new_dir, &new_name);
	if (err)
		return err;
	if (flags & RENAME_WHITEOUT)
		return vfs_rename_whiteout(fs_of(be), dir, name, new_dir, new_name,
					   flags & ~RENAME_WHITEOUT, &fx_root);
	return vfs_rename(fs_of(be), dir, name, new_dir, new_name, flags);
}

static int tree_stat(void *be, const char *path, struct names_stat *st)
{
	struct vfs_attr a;
	int err = find(be, path, &a);

	if (!err)
		*st = (struct names_stat){ .ino = a.ino,
					   .nlink = a.nlink,
					   .type = (uint8_t)(a.mode >> 12) };
	return err;
}

struct open_list {
	uint64_t dir, after;
	unsigned int room;
	names_fill_fn *fill;
	void *arg;
};

static int tree_list_open(void *be, const char *path, void **list)
{
	struct open_list *l = calloc(1, sizeof(*l));
	struct vfs_attr a;
	int err = find(be, path, &a);

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

static int tree_list(void *be, void *list, unsigned int max, names_fill_fn *fill, void *arg)
{
	struct open_list *l = list;
	int err;

	l->room = max;
	l->fill = fill;
	l->arg = arg;
	err = vfs_readdir(fs_of(be), l->dir, l->after, fill_one, l);
	return err ? err : !l->room;
}

static void tree_list_close(void *be, void *list)
{
	free(list);
}

static int tree_fsync_dir(void *be, const char *path)
{
	struct vfs_attr a;
	int err = find(be, path, &a);

	return err ? err : vfs_fsyncdir(fs_of(be), a.ino);
}

static int tree_remount(void *be)
{
	fx_remount(exer(be)->fx);
	return 0;
}

const struct names_ops lib_names_ops = {
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
	.fsync_dir = tree_fsync_dir,
	.sync = be_sync,
	.background = be_background,
	.remount = tree_remount,
};

void lib_backend_start(struct lib_backend *e, struct fixture *fx, uint64_t top)
{
	char name[] = "file0";
	struct vfs_attr a;

	*e = (struct lib_backend){ .fx = fx, .top = top };
	for (unsigned int k = 0; k < LIB_BACKEND_FILES; k++) {
		name[4] = (char)('0' + k);
		FX_OK(vfs_create(fx->fs, top, name, 0644, &fx_root, O_RDWR, &a, &e->files[k]));
		vfs_forget(fx->fs, a.ino, 1);
	}
}

void lib_backend_close(struct lib_backend *e)
{
	for (unsigned int k = 0; k < LIB_BACKEND_FILES; k++) {
		if (e->files[k])
			vfs_release(e->fx->fs, e->files[k]);
		e->files[k] = NULL;
	}
}
