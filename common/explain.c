/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What an error means to who sees it: the cause, and what to do about it. */
#include "common/explain.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/block/bdev.h"
#include "common/mounts.h"

#define NAMED_MAX 4 /* programs, in one line */

/* Who asked at the moment it ended gets the first, who comes later the second. */
bool explain_gone(int err)
{
	return err == -ECONNABORTED || err == -ENOTCONN;
}

const char *explain_path(int err)
{
	if (explain_gone(err))
		return "the daemon that served it has ended; tallyctl umount its mount point";
	return strerror(-err);
}

void explain_open(char *why, size_t size, const char *path, int err, const char *busy_by,
		  const char *read_only)
{
	struct mount_entry *m = err == -EBUSY ? calloc(1, sizeof(*m)) : NULL;

	if (m && !mounts_find_source(path, m))
		snprintf(why, size, "in use: it is mounted at %s; unmount it first", m->mountpoint);
	else if (read_only && (err == -EROFS || (err == -EACCES && !access(path, R_OK))))
		snprintf(why, size, "may be read, but not written: %s", read_only);
	else if (explain_gone(err))
		snprintf(why, size, "%s", explain_path(err));
	else if (err == -EACCES)
		snprintf(why, size, "%s: it, or a directory on the way to it, is closed to you",
			 strerror(-err));
	else
		bdev_open_error(why, size, err, busy_by);
	free(m);
}

/* ---- who is in it ---- */

struct holders {
	const char *mountpoint;
	size_t len;
	char *text;
	size_t size, used;
	unsigned int nr;
};

/* The names of the links only: to follow them would ask the daemon. */
static bool is_inside(const struct holders *h, const char *proc, const char *link)
{
	char path[300], target[4096];
	ssize_t n;

	snprintf(path, sizeof(path), "%s/%s", proc, link);
	n = readlink(path, target, sizeof(target) - 1);
	if (n < 0)
		return false;
	target[n] = '\0';
	return !strncmp(target, h->mountpoint, h->len) &&
	       (!target[h->len] || target[h->len] == '/');
}

static bool has_open(const struct holders *h, const char *proc)
{
	char path[64];
	struct dirent *de;
	bool found = false;
	DIR *d;

	snprintf(path, sizeof(path), "%s/fd", proc);
	d = opendir(path);
	while (d && !found && (de = readdir(d)))
		found = is_inside(h, path, de->d_name);
	if (d)
		closedir(d);
	return found;
}

static void note_holder(struct holders *h, const char *pid)
{
	char proc[32], path[64], name[64] = "?";
	bool works = false;
	FILE *f;

	snprintf(proc, sizeof(proc), "/proc/%.20s", pid);
	works = is_inside(h, proc, "cwd") || is_inside(h, proc, "root") ||
		is_inside(h, proc, "exe");
	if (!works && !has_open(h, proc))
		return;
	snprintf(path, sizeof(path), "%s/comm", proc);
	f = fopen(path, "re");
	if (f && fgets(name, sizeof(name), f))
		name[strcspn(name, "\n")] = '\0';
	if (f)
		fclose(f);
	if (h->nr++ < NAMED_MAX && h->used < h->size)
		h->used += (size_t)snprintf(h->text + h->used, h->size - h->used,
					    "%s%s (process %.20s) %s", h->nr > 1 ? ", " : "", name,
					    pid, works ? "works in it" : "has a file open");
}

void explain_busy(char *why, size_t size, const char *mountpoint)
{
	char text[512] = "";
	struct holders h = { .mountpoint = mountpoint,
			     .len = strlen(mountpoint),
			     .text = text,
			     .size = sizeof(text) };
	struct dirent *de;
	DIR *d = opendir("/proc");

	while (d && (de = readdir(d)))
		if (isdigit((unsigned char)de->d_name[0]))
			note_holder(&h, de->d_name);
	if (d)
		closedir(d);
	if (h.nr > NAMED_MAX)
		snprintf(why, size, "in use: %s and %u others; end them first", text,
			 h.nr - NAMED_MAX);
	else if (h.nr)
		snprintf(why, size, "in use: %s; end %s first", text, h.nr > 1 ? "them" : "it");
	else
		snprintf(why, size,
			 "in use: a program works in it or has a file open, or something is "
			 "mounted in it%s",
			 geteuid() ? " (root can see which)" : "");
}

/* ---- libfuse and fusermount3 ---- */

void capture_start(struct capture *c)
{
	c->file = memfd_create("stderr", MFD_CLOEXEC);
	c->saved = c->file < 0 ? -1 : fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	if (c->saved >= 0 && dup2(c->file, STDERR_FILENO) >= 0)
		return;
	if (c->saved >= 0)
		close(c->saved);
	if (c->file >= 0)
		close(c->file);
	c->file = c->saved = -1;
}

void capture_stop(struct capture *c, char *text, size_t size)
{
	ssize_t n = -1;

	if (c->file >= 0) {
		n = pread(c->file, text, size - 1, 0);
		dup2(c->saved, STDERR_FILENO);
		close(c->saved);
		close(c->file);
	}
	text[n < 0 ? 0 : n] = '\0';
}

/* Lines to one, without who says so. */
static void join(char *out, size_t size, const char *said)
{
	static const char *const who[] = { "tallyfs: ", "fusermount3: ", "fuse: " };
	size_t used = 0;

	*out = '\0';
	while (*said && used < size) {
		int n = (int)strcspn(said, "\n");

		for (size_t i = 0; i < sizeof(who) / sizeof(who[0]); i++)
			if (!strncmp(said, who[i], strlen(who[i]))) {
				said += strlen(who[i]);
				n -= (int)strlen(who[i]);
			}
		if (n > 0)
			used += (size_t)snprintf(out + used, size - used, "%s%.*s",
						 used ? "; " : "", n, said);
		said += strcspn(said, "\n");
		said += *said == '\n';
	}
}

void explain_fusermount(char *why, size_t size, const char *said, const char *mountpoint)
{
	static const struct {
		const char *said, *means;
	} known[] = {
		{ "no write access to mountpoint",
		  "you may not write to that directory; mount at one of your own" },
		{ "mounting over filesystem type",
		  "fusermount3 does not let users mount over this kind of file "
		  "system; take a directory of another one" },
		{ "option allow_other only allowed",
		  "users may give allow_other only where /etc/fuse.conf has the line "
		  "user_allow_other" },
		{ "too many FUSE filesystems", "as many FUSE file systems are mounted as mount_max "
					       "in /etc/fuse.conf allows; unmount one" },
		{ "failed to exec fusermount3",
		  "fusermount3 is not there, which users need to mount; install it (package "
		  "fuse3), or mount as root" },
		{ "/dev/fuse: Permission denied", "/dev/fuse may not be opened by this user; root "
						  "can mount, or allow it (mode 0666)" },
		{ "fuse device not found", "the kernel has no FUSE; modprobe fuse, as root" },
		{ "/dev/fuse: No such", "the kernel has no FUSE; modprobe fuse, as root" },
		{ "/dev/fuse: Operation not permitted",
		  "/dev/fuse may not be opened here; a container has to be given it" },
		{ "not found in /etc/mtab",
		  "mounted by another user; only that user or root can unmount it" },
	};
	struct mount_entry *m = calloc(1, sizeof(*m));

	*why = '\0';
	if (strstr(said, "resource busy"))
		explain_busy(why, size, mountpoint);
	else if (m && strstr(said, "failed to access mountpoint") && !mounts_find(mountpoint, m))
		snprintf(why, size,
			 "%s is mounted there already; tallyctl umount it, or take another "
			 "directory",
			 m->source);
	for (size_t i = 0; !*why && i < sizeof(known) / sizeof(known[0]); i++)
		if (strstr(said, known[i].said))
			snprintf(why, size, "%s", known[i].means);
	if (!*why)
		join(why, size, said);
	if (!*why)
		snprintf(why, size, "no reason was given");
	free(m);
}
