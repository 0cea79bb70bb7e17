/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Looking at everything in a mounted file system. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "tests/fuzz/use.h"

#define DEPTH_MAX 5
#define READ_MAX (48u << 10)
#define LIST_MAX 300 /* entries of a directory */

static __thread uint8_t buf[READ_MAX];

int64_t use_ret(const struct use *u, int64_t ret, const char *what)
{
	fuzz_errno(ret, what);
	if (u->sound && (ret == -EUCLEAN || ret == -EIO))
		fuzz_die("%s: %s, in what the checker calls sound", what, strerror((int)-ret));
	return ret;
}

/* ---- one inode ---- */

static void read_at(const struct use *u, struct vfs_file *f, uint64_t pos, size_t len)
{
	int64_t n = use_ret(u, vfs_pread(u->fs, f, buf, len, pos), "read");

	if (n > (int64_t)len)
		fuzz_die("read %lld of %zu bytes", (long long)n, len);
	if (n > 0)
		fuzz_no_poison(buf, (size_t)n, "content of a file");
}

static void look_file(const struct use *u, uint64_t ino, uint64_t size)
{
	struct vfs_extent x[16];
	struct vfs_file *f;
	int64_t pos;
	int n;

	if (use_ret(u, vfs_open(u->fs, ino, O_RDONLY, &f), "open"))
		return;
	read_at(u, f, 0, sizeof(buf));
	if (size > sizeof(buf))
		read_at(u, f, size - sizeof(buf) / 2, sizeof(buf));
	n = (int)use_ret(u, vfs_extents(u->fs, f, 0, x, 16), "extents");
	for (int k = 0; k < n; k++)
		if (x[k].pos > sizeof(buf))
			read_at(u, f, x[k].pos, 4096);
	pos = use_ret(u, vfs_lseek(u->fs, f, 0, SEEK_HOLE), "seek");
	if (pos >= 0)
		use_ret(u, vfs_lseek(u->fs, f, (uint64_t)pos, SEEK_DATA), "seek");
	vfs_release(u->fs, f);
}

static void look_xattrs(const struct use *u, uint64_t ino)
{
	static __thread char list[4096];
	int64_t n = use_ret(u, vfs_listxattr(u->fs, ino, list, sizeof(list)), "listxattr"), len;

	if (n > (int64_t)sizeof(list))
		fuzz_die("listxattr: %lld bytes", (long long)n);
	for (const char *name = list; n > 0 && name < list + n; name += strlen(name) + 1) {
		if (!memchr(name, 0, (size_t)(list + n - name)))
			fuzz_die("listxattr: a name has no end");
		len = use_ret(u, vfs_getxattr(u->fs, ino, name, buf, sizeof(buf)), "getxattr");
		if (len > 0)
			fuzz_no_poison(buf, (size_t)len, "an attribute");
	}
}

static void look_inode(const struct use *u, uint64_t ino)
{
	struct vfs_attr a;
	uint64_t dir;
	int64_t n;

	if (use_ret(u, vfs_getattr(u->fs, ino, &a), "getattr"))
		return;
	look_xattrs(u, ino);
	if (S_ISREG(a.mode)) {
		look_file(u, ino, a.size);
	} else if (S_ISLNK(a.mode)) {
		n = use_ret(u, vfs_readlink(u->fs, ino, (char *)buf, sizeof(buf)), "readlink");
		if (n > 0)
			fuzz_no_poison(buf, (size_t)n, "a symbolic link");
	} else if (S_ISDIR(a.mode)) {
		use_ret(u, vfs_parent(u->fs, ino, &dir), "parent");
	}
}

/* ---- all of them ---- */

struct listing {
	struct use *u;
	uint64_t dir;
	unsigned int nr;
};

static bool list_one(void *arg, const struct vfs_dirent *de)
{
	struct listing *l = arg;
	struct use_inode *i = &l->u->inode[l->u->nr];

	fuzz_no_poison(de->name, de->len, "a name");
	if (!de->len || de->len > 255)
		fuzz_die("a name of %zu bytes", de->len);
	if (de->len < 3 && de->name[0] == '.')
		return true;
	if (l->u->nr < USE_INODES) {
		*i = (struct use_inode){ .ino = de->ino, .dir = l->dir };
		memcpy(i->name, de->name, de->len);
		l->u->nr++;
	}
	return ++l->nr < LIST_MAX;
}

static void list_dir(struct use *u, uint64_t dir, unsigned int depth)
{
	struct listing l = { .u = u, .dir = dir };
	unsigned int first = u->nr, end;

	use_ret(u, vfs_readdir(u->fs, dir, 0, list_one, &l), "readdir");
	end = u->nr;
	for (unsigned int k = first; k < end; k++) {
		struct use_inode *i = &u->inode[k];
		struct vfs_attr a;

		if (use_ret(u, vfs_lookup(u->fs, dir, i->name, &a), "lookup"))
			continue;
		/* reference kept until use_work() has had its way, or the mount ends */
		i->ino = a.ino;
		i->mode = a.mode;
		look_inode(u, a.ino);
		if (S_ISDIR(a.mode) && depth < DEPTH_MAX)
			list_dir(u, a.ino, depth + 1);
	}
}

void use_walk(struct use *u)
{
	struct statvfs st;

	u->nr = 1;
	u->inode[0] = (struct use_inode){ .ino = TFS_INO_ROOT, .mode = S_IFDIR };
	look_inode(u, TFS_INO_ROOT);
	list_dir(u, TFS_INO_ROOT, 0);
	use_ret(u, vfs_statfs(u->fs, &st), "statfs");
}
