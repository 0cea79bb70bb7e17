/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tallydump extract: files of the image into a directory that is new or empty.
 *
 * Nothing is ever made outside of it: each thing is made, exclusively, under a single checked name,
 * relative to the descriptor of a directory that we have made ourselves, and no symbolic link is
 * followed.  A directory is entered once, so an image whose directories go in circles comes to an
 * end.
 *
 * Until all is done nobody else gets into the target directory.  What an ordinary user extracts is
 * his own: no file of his runs with his rights because a stranger's image says so (set-user-ID),
 * and his umask holds.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "core/lib/util.h"
#include "fs/vfs/vfs.h"
#include "tools/dump_files.h"

/* Where an inode with several names was put first. */
struct placed {
	uint64_t ino;
	char *path;
	struct placed *next;
};

#define BUCKETS 4096u

struct extract {
	struct dump *d;
	int top;		/* the target directory */
	mode_t top_mode, umask; /* what it had, or would have got; ours */
	uid_t top_owner;
	struct placed *placed[BUCKETS]; /* path NULL: a directory */
	char path[PATH_MAX]; /* of what is at hand, from the target directory, for messages and
				links */
};

static struct placed *find_placed(struct extract *x, uint64_t ino)
{
	struct placed *p;

	for (p = x->placed[ino % BUCKETS]; p && p->ino != ino; p = p->next)
		;
	return p;
}

static int note_placed(struct extract *x, uint64_t ino, const char *path)
{
	struct placed *p = tl_zalloc(sizeof(*p));

	if (!p)
		return -ENOMEM;
	if (path) {
		p->path = tl_zalloc(strlen(path) + 1);
		if (!p->path) {
			tl_free(p);
			return -ENOMEM;
		}
		strcpy(p->path, path);
	}
	p->ino = ino;
	p->next = x->placed[ino % BUCKETS];
	x->placed[ino % BUCKETS] = p;
	return 0;
}

static void free_placed(struct extract *x)
{
	for (unsigned int i = 0; i < BUCKETS; i++)
		while (x->placed[i]) {
			struct placed *p = x->placed[i];

			x->placed[i] = p->next;
			tl_free(p->path);
			tl_free(p);
		}
}

/* ---- attributes ---- */

static int copy_xattr(struct extract *x, int fd, uint64_t ino, const char *name)
{
	char proc[64];
	void *value;
	int n = vfs_getxattr(x->d->fs, ino, name, NULL, 0), err = 0;

	if (n < 0)
		return n;
	value = tl_alloc((size_t)n + 1);
	if (!value)
		return -ENOMEM;
	n = vfs_getxattr(x->d->fs, ino, name, value, (size_t)n + 1);
	/* a descriptor of a symbolic link (O_PATH) can be named by this path only */
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	if (n < 0)
		err = n;
	else if (setxattr(proc, name, value, (size_t)n, 0))
		err = -errno;
	tl_free(value);
	return err;
}

/* @owned: it has its owner.  Capabilities are set-user-ID by another name. */
static void copy_xattrs(struct extract *x, int fd, uint64_t ino, bool owned)
{
	int size = vfs_listxattr(x->d->fs, ino, NULL, 0), n = size, err;
	char *names, *p;

	if (size > 0) {
		names = tl_zalloc((size_t)size + 1);
		n = names ? vfs_listxattr(x->d->fs, ino, names, (size_t)size) : -ENOMEM;
		for (p = names; n > 0 && p < names + n; p += strlen(p) + 1) {
			err = !owned && !strcmp(p, "security.capability")
				      ? -EPERM
				      : copy_xattr(x, fd, ino, p);
			if (err)
				dump_complain(x->d, x->path, "an extended attribute: %s",
					      dump_error(err));
		}
		tl_free(names);
	}
	if (n < 0)
		dump_complain(x->d, x->path, "its extended attributes: %s", dump_error(n));
}

/* Set-id and sticky bits go with the owner they were set by; who is not root has a umask to be
 * kept. */
static mode_t mode_for(const struct extract *x, const struct vfs_attr *a, bool owned)
{
	mode_t mode = a->mode & 07777;

	if (!owned)
		mode &= 0777;
	return geteuid() ? mode & ~x->umask : mode;
}

/* @fd: of a file, a directory, or, with O_PATH, of anything else. */
static void set_attrs(struct extract *x, int fd, const struct vfs_attr *a)
{
	struct timespec ts[2] = { a->atime, a->mtime };
	bool owned = false;
	char proc[64];
	int err = 0;

	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	/* whose it is can be said by root only; set-id bits and capabilities fall with a change of
	 * owner */
	if (!geteuid()) {
		owned = !fchownat(fd, "", a->uid, a->gid, AT_EMPTY_PATH);
		err = owned ? 0 : -errno;
	}
	copy_xattrs(x, fd, a->ino, owned);
	if (!S_ISLNK(a->mode) && chmod(proc, mode_for(x, a, owned)))
		err = -errno;
	if (utimensat(fd, "", ts, AT_EMPTY_PATH))
		err = -errno;
	if (err)
		dump_complain(x->d, x->path, "owner, mode or times: %s", strerror(-err));
}

/* ---- one thing ---- */

static int put_data(struct extract *x, int fd, const struct vfs_attr *a)
{
	struct vfs_file *f;
	int64_t pos = 0, end;
	int err = vfs_open(x->d->fs, a->ino, O_RDONLY, &f);

	if (err) {
		dump_complain(x->d, x->path, "%s", dump_error(err));
		return err;
	}
	if (ftruncate(fd, (off_t)a->size)) {
		err = -errno;
		dump_complain(x->d, x->path, "could not be written out: %s", strerror(-err));
	}
	while (!err && (uint64_t)pos < a->size) {
		pos = vfs_lseek(x->d->fs, f, (uint64_t)pos, SEEK_DATA);
		if (pos == -ENXIO)
			break;
		end = pos < 0 ? pos : vfs_lseek(x->d->fs, f, (uint64_t)pos, SEEK_HOLE);
		if (end <= pos) {
			err = pos < 0 ? (int)pos : end < 0 ? (int)end : -EUCLEAN;
			dump_complain(x->d, x->path, "%s", dump_error(err));
			break;
		}
		err = dump_copy_out(x->d, f, x->path, (uint64_t)pos,
				    min_t(uint64_t, (uint64_t)end, a->size), fd, true);
		pos = end;
	}
	vfs_release(x->d->fs, f);
	return err;
}

/* A file that is not whole does not stay: it could be taken for one that is. */
static int put_file(struct extract *x, int dir, const char *name, const struct vfs_attr *a)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600), err;

	if (fd < 0)
		return -errno;
	err = put_data(x, fd, a);
	if (!err)
		set_attrs(x, fd, a);
	close(fd);
	if (err)
		unlinkat(dir, name, 0);
	return err ? 1 : 0; /* 1: complained of already */
}

static int put_special(struct extract *x, int dir, const char *name, const struct vfs_attr *a)
{
	char target[PATH_MAX + 1];
	int n, fd;

	if (S_ISLNK(a->mode)) {
		n = vfs_readlink(x->d->fs, a->ino, target, PATH_MAX);
		if (n < 0)
			return n;
		target[n] = '\0';
		if (symlinkat(target, dir, name))
			return -errno;
	} else if (mknodat(dir, name, (a->mode & S_IFMT) | 0600, a->rdev)) {
		return -errno;
	}
	fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	set_attrs(x, fd, a);
	close(fd);
	return 0;
}

static int put_tree(struct extract *x, int dir, const struct vfs_attr *a);

static int put_dir(struct extract *x, int dir, const char *name, const struct vfs_attr *a)
{
	int fd, err;

	if (find_placed(x, a->ino)) {
		dump_complain(x->d, x->path, "damaged: a directory with a second name");
		return 1;
	}
	if (mkdirat(dir, name, 0700))
		return -errno;
	fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	err = put_tree(x, fd, a);
	close(fd);
	return err;
}

static int put_link(struct extract *x, int dir, const char *name, const struct placed *p)
{
	return linkat(x->top, p->path, dir, name, 0) ? -errno : 0;
}

static int put(struct extract *x, int dir, const char *name, const struct vfs_attr *a)
{
	struct placed *p;
	int err;

	if (S_ISDIR(a->mode))
		return put_dir(x, dir, name, a);
	p = a->nlink > 1 ? find_placed(x, a->ino) : NULL;
	if (p && p->path)
		return put_link(x, dir, name, p);
	err = S_ISREG(a->mode) ? put_file(x, dir, name, a) : put_special(x, dir, name, a);
	return !err && a->nlink > 1 ? note_placed(x, a->ino, x->path) : err;
}

/* ---- trees ---- */

static void put_entry(struct extract *x, int dir, uint64_t ino, const char *name)
{
	size_t len = strlen(x->path);
	struct vfs_attr a;
	int err;

	if (!dump_name_ok(name)) {
		dump_complain(x->d, name, "damaged: not a name that a file can have");
		return;
	}
	if (len + strlen(name) + 2 > sizeof(x->path)) {
		dump_complain(x->d, x->path, "too deep: what is in it is left out");
		return;
	}
	snprintf(x->path + len, sizeof(x->path) - len, "%s%s", len ? "/" : "", name);
	err = vfs_lookup(x->d->fs, ino, name, &a);
	if (!err) {
		vfs_forget(x->d->fs, a.ino, 1);
		err = put(x, dir, name, &a);
	}
	if (err < 0)
		dump_complain(x->d, x->path, "%s", dump_error(err));
	x->path[len] = '\0';
}

/* The contents of @a, and then its attributes, into @dir. */
static int put_tree(struct extract *x, int dir, const struct vfs_attr *a)
{
	struct dump_names l;
	int err = note_placed(x, a->ino, NULL);

	if (err)
		return err;
	err = dump_list(x->d, a->ino, &l);
	for (size_t i = 0; i < l.nr; i++)
		put_entry(x, dir, a->ino, l.v[i].name);
	dump_list_free(&l);
	set_attrs(x, dir, a);
	return err;
}

/* ---- the command ---- */

static bool is_empty(int fd)
{
	int copy = dup(fd);
	DIR *dir = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *de;
	bool empty = true;

	if (!dir) {
		if (copy >= 0)
			close(copy);
		return false;
	}
	while (empty && (de = readdir(dir)))
		empty = !strcmp(de->d_name, ".") || !strcmp(de->d_name, "..");
	closedir(dir);
	return empty;
}

/* As it was, or as it would have been made. */
static int reopen_target(struct extract *x)
{
	if (x->top_owner != geteuid() && fchown(x->top, x->top_owner, (gid_t)-1))
		return -errno;
	return fchmod(x->top, x->top_mode) ? -errno : 0;
}

/* From here on nobody else comes in; who did before has left something, or has not. */
static int shut_target(struct extract *x, const char *path)
{
	struct stat st;

	if (fstat(x->top, &st))
		return dump_fail(x->d, -errno, "%s: %s", path, strerror(errno));
	if (geteuid() && st.st_uid != geteuid())
		return dump_fail(
			x->d, -EPERM,
			"%s: belongs to somebody else; name a directory that is new or your own",
			path);
	x->top_mode = st.st_mode & 07777;
	x->top_owner = st.st_uid;
	if ((st.st_uid != geteuid() && fchown(x->top, 0, (gid_t)-1)) || fchmod(x->top, 0700))
		return dump_fail(x->d, -errno, "%s: %s", path, strerror(errno));
	if (is_empty(x->top))
		return 0;
	reopen_target(x);
	return dump_fail(x->d, -ENOTEMPTY, "%s: not empty; name a directory that is new or empty",
			 path);
}

static int open_target(struct extract *x, const char *path)
{
	bool made = !mkdir(path, 0700);
	int err;

	if (!made && errno != EEXIST)
		return dump_fail(x->d, -errno, "%s: %s", path, strerror(errno));
	x->top = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (x->top < 0)
		return dump_fail(x->d, -errno, "%s: %s", path, strerror(errno));
	err = shut_target(x, path);
	if (err)
		close(x->top);
	else if (made)
		x->top_mode = 0777 & ~x->umask;
	return err;
}

/* A descriptor for each level. */
static void allow_depth(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r))
		return;
	r.rlim_cur = r.rlim_max;
	setrlimit(RLIMIT_NOFILE, &r);
}

static const char *last_name(char *path)
{
	char *slash;
	size_t n = strlen(path);

	while (n && path[n - 1] == '/')
		path[--n] = '\0';
	slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

int dump_extract(struct dump *d, struct json_object *o)
{
	struct extract *x = tl_zalloc(sizeof(*x));
	const char *name;
	struct vfs_attr a;
	int err, reopened;

	(void)o;
	if (!x)
		return dump_fail(d, -ENOMEM, "out of memory");
	x->d = d;
	x->umask = umask(0);
	err = dump_resolve(d, d->args[0], &a);
	if (err) {
		dump_fail(d, err, "%s: %s", d->args[0], dump_error(err));
		goto out;
	}
	err = open_target(x, d->args[1]);
	if (err)
		goto out;
	allow_depth();
	if (S_ISDIR(a.mode)) {
		err = put_tree(x, x->top, &a);
		name = ".";
	} else {
		name = last_name(d->args[0]);
		snprintf(x->path, sizeof(x->path), "%s", name);
		a.nlink = 1;
		err = put(x, x->top, name, &a);
		reopened = reopen_target(x);
		if (reopened)
			dump_complain(d, d->args[1], "its owner or mode: %s", strerror(-reopened));
	}
	if (err < 0)
		dump_complain(d, name, "%s", dump_error(err));
	err = 0;
	close(x->top);
out:
	free_placed(x);
	tl_free(x);
	return err;
}
