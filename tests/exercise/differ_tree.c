/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "tests/exercise/differ.h"

#define OBJECTS 1000
#define PATH 1200 /* three names of 255 bytes, and more */

/* The walk: hard links are told by the first path of each inode. */
struct walk {
	char *out;
	size_t size, used;
	struct {
		uint64_t ino;
		char path[PATH];
	} * seen;
	unsigned int nr_seen;
};

static void __attribute__((format(printf, 2, 3))) put(struct walk *w, const char *fmt, ...)
{
	va_list ap;
	int n;

	if (w->used >= w->size)
		return;
	va_start(ap, fmt);
	n = vsnprintf(w->out + w->used, w->size - w->used, fmt, ap);
	va_end(ap);
	w->used += (size_t)n;
}

static void put_links(struct walk *w, const struct stat *st, const char *path)
{
	if (S_ISDIR(st->st_mode) || st->st_nlink == 1)
		return;
	for (unsigned int i = 0; i < w->nr_seen; i++)
		if (w->seen[i].ino == st->st_ino) {
			put(w, " is %s", w->seen[i].path);
			return;
		}
	if (w->nr_seen == OBJECTS)
		return;
	w->seen[w->nr_seen].ino = st->st_ino;
	snprintf(w->seen[w->nr_seen++].path, PATH, "%s", path);
}

static void put_content(struct walk *w, const char *path)
{
	static unsigned char buf[64 << 10];
	int fd = open(path, O_RDONLY | O_NOFOLLOW);
	struct result r = { 0 };
	ssize_t n;

	while ((n = read(fd, buf, sizeof(buf))) > 0)
		result_bytes(&r, buf, (size_t)n);
	put(w, " content %016llx", (unsigned long long)r.hash);
	if (n < 0)
		put(w, " read: %s", strerror(errno));
	if (fd >= 0)
		close(fd);
}

static int by_string(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void put_xattrs(struct walk *w, const char *path)
{
	static unsigned char value[70000];
	char list[8192], *names[100];
	ssize_t n = llistxattr(path, list, sizeof(list));
	size_t nr = 0;

	if (n < 0)
		put(w, " listxattr: %s", strerror(errno));
	for (char *p = list; n > 0 && p < list + n && nr < 100; p += strlen(p) + 1)
		if (strncmp(p, "trusted.SGI_ACL_", 16)) /* how XFS keeps an ACL */
			names[nr++] = p;
	qsort(names, nr, sizeof(*names), by_string);
	for (size_t i = 0; i < nr; i++) {
		ssize_t len = lgetxattr(path, names[i], value, sizeof(value));
		struct result r = { 0 };

		result_bytes(&r, value, len < 0 ? 0 : (size_t)len);
		put(w, " %.30s=%zd/%016llx", names[i], len, (unsigned long long)r.hash);
	}
}

static void put_object(struct walk *w, const char *path, const struct stat *st)
{
	struct result r = { 0 };
	char target[4097] = "";
	ssize_t n;

	differ_say_stat(st, &r);
	put(w, "%s: %s", path, r.text);
	put_links(w, st, path);
	if (S_ISREG(st->st_mode))
		put_content(w, path);
	if (S_ISLNK(st->st_mode)) {
		n = readlink(path, target, sizeof(target) - 1);
		put(w, " to %zd %.20s", n, target);
	}
	put_xattrs(w, path);
	put(w, "\n");
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static void walk(struct walk *w, const char *path)
{
	char below[PATH];
	struct dirent **all;
	struct stat st;
	int n;

	if (lstat(path, &st)) {
		put(w, "%s: %s\n", path, strerror(errno));
		return;
	}
	put_object(w, path, &st);
	if (!S_ISDIR(st.st_mode))
		return;
	n = scandir(path, &all, NULL, by_name);
	if (n < 0) {
		put(w, "%s: list: %s\n", path, strerror(errno));
		return;
	}
	for (int i = 0; i < n; i++) {
		snprintf(below, sizeof(below), "%.900s/%s", path, all[i]->d_name);
		if (strcmp(all[i]->d_name, ".") && strcmp(all[i]->d_name, ".."))
			walk(w, below);
		free(all[i]);
	}
	free(all);
}

void differ_tree(char *buf, size_t size)
{
	struct walk w = { .out = buf, .size = size, .seen = calloc(OBJECTS, sizeof(*w.seen)) };

	*buf = '\0';
	if (w.seen)
		walk(&w, ".");
	free(w.seen);
}

static int remove_below(int dir)
{
	DIR *d = fdopendir(dir);
	struct dirent *de;
	int err = 0;

	if (!d)
		return -errno;
	while (!err && (de = readdir(d))) {
		if (!strcmp(de->d_name, ".") || !strcmp(de->d_name, ".."))
			continue;
		if (!unlinkat(dir, de->d_name, 0))
			continue;
		if (errno == EISDIR) {
			int below = openat(dir, de->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);

			err = below < 0 ? -errno : remove_below(below);
			if (!err && !unlinkat(dir, de->d_name, AT_REMOVEDIR))
				continue;
		}
		err = err ? err : -errno;
	}
	closedir(d);
	return err;
}

int differ_wipe(void)
{
	const struct timespec zero[2] = { 0 };
	int dir = open(".", O_RDONLY | O_DIRECTORY), err;

	err = dir < 0 ? -errno : remove_below(dir);
	if (err)
		return err;
	for (int64_t i = 0; i < XATTRS; i++)
		removexattr(".", differ_xattr(i));
	return chown(".", 0, 0) || chmod(".", 0777) || utimensat(AT_FDCWD, ".", zero, 0) ? -errno
											 : 0;
}
