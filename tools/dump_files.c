/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tallydump ls and cat, and what extract shares with them. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "core/lib/text.h"
#include "core/lib/util.h"
#include "fs/vfs/vfs.h"
#include "tallyfs/format.h"
#include "tools/dump_files.h"
#include "tools/dump_print.h"

void dump_complain(struct dump *d, const char *path, const char *fmt, ...)
{
	char why[300];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	text_err("tallydump: %s: %s: %s", d->path, path, why);
	d->incomplete = true;
}

bool dump_name_ok(const char *name)
{
	return *name && strcmp(name, ".") && strcmp(name, "..") && !strchr(name, '/') &&
	       strlen(name) <= TFS_NAME_MAX;
}

int dump_resolve(struct dump *d, const char *path, struct vfs_attr *a)
{
	char name[TFS_NAME_MAX + 1];
	uint64_t dir;
	size_t n;
	int err = vfs_getattr(d->fs, TFS_INO_ROOT, a);

	for (path += strspn(path, "/"); !err && *path; path += n, path += strspn(path, "/")) {
		n = strcspn(path, "/");
		if (n > TFS_NAME_MAX)
			return -ENAMETOOLONG;
		memcpy(name, path, n);
		name[n] = '\0';
		if (!strcmp(name, "."))
			continue;
		if (!S_ISDIR(a->mode))
			return -ENOTDIR;
		if (!dump_name_ok(name))
			return -EINVAL;
		dir = a->ino;
		err = vfs_lookup(d->fs, dir, name, a);
		if (!err)
			vfs_forget(d->fs, a->ino, 1);
	}
	return err;
}

/* ---- directories ---- */

static bool fill(void *arg, const struct vfs_dirent *de)
{
	struct dump_names *l = arg;
	struct dump_name *bigger;

	if (l->nr == l->max) {
		size_t max = l->max ? 2 * l->max : 64;

		bigger = tl_realloc(l->v, max * sizeof(*l->v));
		if (!bigger) {
			l->err = -ENOMEM;
			return false;
		}
		l->v = bigger;
		l->max = max;
	}
	if ((de->len == 1 && de->name[0] == '.') || (de->len == 2 && !memcmp(de->name, "..", 2)))
		return true;
	l->v[l->nr].name = tl_zalloc(de->len + 1);
	if (!l->v[l->nr].name) {
		l->err = -ENOMEM;
		return false;
	}
	memcpy(l->v[l->nr++].name, de->name, de->len);
	return true;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct dump_name *)a)->name, ((const struct dump_name *)b)->name);
}

int dump_list(struct dump *d, uint64_t dir, struct dump_names *l)
{
	int err;

	memset(l, 0, sizeof(*l));
	err = vfs_readdir(d->fs, dir, 0, fill, l);
	err = err ? err : l->err;
	if (l->nr)
		qsort(l->v, l->nr, sizeof(*l->v), by_name);
	return err;
}

void dump_list_free(struct dump_names *l)
{
	for (size_t i = 0; i < l->nr; i++)
		tl_free(l->v[i].name);
	tl_free(l->v);
}

/* ---- ls ---- */

static void add_file(struct dump *d, struct json_object *r, const struct vfs_attr *a,
		     const char *name)
{
	char mode[16], target[PATH_MAX];
	int n;

	snprintf(mode, sizeof(mode), "%07o", a->mode);
	dump_str(r, "mode", mode);
	dump_u64(r, "nlink", a->nlink);
	dump_u64(r, "uid", a->uid);
	dump_u64(r, "gid", a->gid);
	dump_u64(r, "size", a->size);
	dump_time(r, "mtime", (uint64_t)a->mtime.tv_sec, (uint32_t)a->mtime.tv_nsec);
	dump_u64(r, "inode", a->ino);
	cli_json_path(r, "name", name, strlen(name));
	if (!S_ISLNK(a->mode))
		return;
	n = vfs_readlink(d->fs, a->ino, target, sizeof(target));
	if (n >= 0)
		cli_json_path(r, "target", target, strnlen(target, (size_t)n));
	else
		dump_complain(d, name, "its target: %s", strerror(-n));
}

static int list_dir(struct dump *d, struct json_object *rows, uint64_t dir)
{
	struct dump_names l;
	struct vfs_attr a;
	int err = dump_list(d, dir, &l), err2;

	/* what can be shown is shown, even when the rest of the directory is damaged */
	for (size_t i = 0; i < l.nr; i++) {
		err2 = vfs_lookup(d->fs, dir, l.v[i].name, &a);
		if (err2) {
			dump_complain(d, l.v[i].name, "%s", dump_error(err2));
			continue;
		}
		vfs_forget(d->fs, a.ino, 1);
		add_file(d, dump_row(rows), &a, l.v[i].name);
	}
	dump_list_free(&l);
	return err;
}

const char *dump_error(int err)
{
	return err == -EUCLEAN || err == -EIO ? "damaged: see fsck.tallyfs -n" : strerror(-err);
}

int dump_ls(struct dump *d, struct json_object *o)
{
	const char *path = d->args[0] ? d->args[0] : "/";
	struct json_object *rows;
	struct vfs_attr a;
	int err = dump_resolve(d, path, &a);

	if (err)
		return dump_fail(d, err, "%s: %s", path, dump_error(err));
	rows = dump_array(o, "files");
	if (S_ISDIR(a.mode))
		err = list_dir(d, rows, a.ino);
	else
		add_file(d, dump_row(rows), &a, path);
	if (err)
		dump_complain(d, path, "%s", dump_error(err));
	return 0;
}

/* ---- contents ---- */

/* Which block it is that can't be read, and what that means. */
static void bad_block(struct dump *d, struct vfs_file *f, const char *path, uint64_t pos, int err)
{
	struct vfs_extent x;
	int n = vfs_extents(d->fs, f, pos, &x, 1);

	if (err == -EIO && n == 1 && x.pos <= pos && !(x.flags & VFS_EXTENT_INLINE))
		dump_complain(
			d, path,
			"block %llu, bytes from %llu: does not match its tuple, or cannot be read",
			(unsigned long long)((x.addr + (pos - x.pos)) >> d->geom.blkbits),
			(unsigned long long)pos);
	else
		dump_complain(d, path, "bytes from %llu: %s", (unsigned long long)pos,
			      dump_error(err));
}

static int write_all(int fd, const uint8_t *p, size_t n, int64_t at)
{
	while (n) {
		ssize_t w = at < 0 ? write(fd, p, n) : pwrite(fd, p, n, at);

		if (w < 0 && errno == EINTR)
			continue;
		if (w <= 0)
			return w ? -errno : -EIO;
		p += w;
		n -= (size_t)w;
		at = at < 0 ? at : at + w;
	}
	return 0;
}

int dump_copy_out(struct dump *d, struct vfs_file *f, const char *path, uint64_t pos, uint64_t end,
		  int fd, bool seek)
{
	uint32_t bs = d->geom.block_size, chunk = max_t(uint32_t, 1u << 20, bs), want;
	uint8_t *buf = tl_alloc_aligned(4096, chunk);
	int64_t n = 0;
	int err = buf ? 0 : -ENOMEM;

	if (err)
		dump_complain(d, path, "%s", strerror(ENOMEM));
	for (want = chunk; !err && pos < end; pos += (uint64_t)n) {
		n = vfs_pread(d->fs, f, buf, (size_t)min_t(uint64_t, want, end - pos), pos);
		if (n < 0 && want > bs) {
			/* up to the block that is bad */
			want = bs;
			n = 0;
			continue;
		}
		if (n <= 0) {
			err = n ? (int)n : -EUCLEAN;
			bad_block(d, f, path, pos, err);
			break;
		}
		err = write_all(fd, buf, (size_t)n, seek ? (int64_t)pos : -1);
		if (err)
			dump_complain(d, path, "could not be written out: %s", strerror(-err));
	}
	tl_free(buf);
	return err;
}

int dump_cat(struct dump *d, struct json_object *o)
{
	const char *path = d->args[0];
	struct vfs_file *f;
	struct vfs_attr a;
	int err = dump_resolve(d, path, &a);

	(void)o;
	if (!err && !S_ISREG(a.mode))
		err = S_ISDIR(a.mode) ? -EISDIR : -EINVAL;
	if (!err)
		err = vfs_open(d->fs, a.ino, O_RDONLY, &f);
	if (err)
		return dump_fail(d, err, "%s: %s", path,
				 err == -EINVAL ? "not a regular file" : dump_error(err));
	dump_copy_out(d, f, path, 0, a.size, STDOUT_FILENO, false);
	vfs_release(d->fs, f);
	return 0;
}
