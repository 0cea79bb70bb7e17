/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who holds a lock on a file. */
#include "core/block/lockholder.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A byte that nobody locks for good: a lock on it shows how the kernel names the file. */
#define NAMING_BYTE (INT64_C(3) << 61)

struct search {
	const char *kind;
	char file[64]; /* "major:minor:inode", as the kernel prints it */
	int64_t first, last;
};

/* A line of /proc/locks, or of /proc/PID/fdinfo/FD behind "lock:". */
static bool parse_lock(const char *line, char kind[16], char file[64], int64_t *first,
		       int64_t *last)
{
	char end[24];

	if (sscanf(line, " %*[^:]: %15s %*s %*s %*d %63s %" SCNd64 " %23s", kind, file, first,
		   end) != 4)
		return false;
	*last = strcmp(end, "EOF") ? strtoll(end, NULL, 10) : INT64_MAX;
	return true;
}

static bool matches(const struct search *s, const char *line)
{
	char kind[16], file[64];
	int64_t first, last;

	return parse_lock(line, kind, file, &first, &last) && !strcmp(kind, s->kind) &&
	       !strcmp(file, s->file) && first <= s->last && last >= s->first;
}

static int lock_naming_byte(int fd, short type)
{
	struct flock fl = {
		.l_type = type, .l_whence = SEEK_SET, .l_start = NAMING_BYTE, .l_len = 1
	};

	return fcntl(fd, F_OFD_SETLK, &fl) ? -errno : 0;
}

/* How the kernel names the file. */
static int name_file(int fd, struct search *s)
{
	char path[64], *line = NULL, kind[16];
	int64_t first, last;
	size_t size = 0;
	int err = lock_naming_byte(fd, F_RDLCK);
	FILE *f;

	if (err)
		return err;
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	f = fopen(path, "re");
	err = f ? -ENOENT : -errno;
	while (f && err && getline(&line, &size, f) > 0)
		if (!strncmp(line, "lock:", 5) &&
		    parse_lock(line + 5, kind, s->file, &first, &last))
			err = 0;
	free(line);
	if (f)
		fclose(f);
	lock_naming_byte(fd, F_UNLCK);
	return err;
}

static void describe(const char *pid, struct lockholder *h)
{
	char path[300], line[128];
	FILE *f;

	h->pid = (pid_t)atoi(pid);
	h->uid = (uid_t)-1;
	snprintf(path, sizeof(path), "/proc/%s/status", pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		sscanf(line, "Name: %31[^\n]", h->name);
		if (sscanf(line, "Uid: %u", &h->uid) == 1)
			break;
	}
	if (f)
		fclose(f);
}

/* One open file of process @pid.  Its locks that are looked for. */
static unsigned int count_locks(const struct search *s, int dir, const char *fd, bool *writes)
{
	char *line = NULL;
	unsigned int n = 0, flags = 0;
	size_t size = 0;
	int in = openat(dir, fd, O_RDONLY | O_CLOEXEC);
	FILE *f = in < 0 ? NULL : fdopen(in, "r");

	while (f && getline(&line, &size, f) > 0) {
		sscanf(line, "flags: %o", &flags);
		if (!strncmp(line, "lock:", 5) && matches(s, line + 5))
			n++;
	}
	*writes = (flags & O_ACCMODE) != O_RDONLY;
	free(line);
	if (f)
		fclose(f);
	else if (in >= 0)
		close(in);
	return n;
}

static void look_at_process(const struct search *s, const char *pid,
			    void (*fn)(void *arg, const struct lockholder *h), void *arg)
{
	struct lockholder h = { 0 };
	struct dirent *e;
	unsigned int n;
	char path[300];
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%s/fdinfo", pid);
	dir = opendir(path);
	while (dir && (e = readdir(dir))) {
		n = e->d_name[0] == '.' ? 0 : count_locks(s, dirfd(dir), e->d_name, &h.writes);
		if (n && !h.pid)
			describe(pid, &h);
		while (n--)
			fn(arg, &h);
	}
	if (dir)
		closedir(dir);
}

static int count_listed(const struct search *s)
{
	FILE *f = fopen("/proc/locks", "re");
	char *line = NULL;
	size_t size = 0;
	int n = 0;

	if (!f)
		return -errno;
	while (getline(&line, &size, f) > 0)
		n += matches(s, line);
	free(line);
	fclose(f);
	return n;
}

int lockholders(int fd, const char *kind, int64_t first, int64_t last,
		void (*fn)(void *arg, const struct lockholder *h), void *arg)
{
	struct search s = { .kind = kind, .first = first, .last = last };
	int err = name_file(fd, &s);
	struct dirent *e;
	char self[16];
	DIR *proc;

	if (err)
		return err;
	proc = opendir("/proc");
	if (!proc)
		return -errno;
	snprintf(self, sizeof(self), "%d", getpid());
	while ((e = readdir(proc)))
		if (isdigit((unsigned char)e->d_name[0]) && strcmp(e->d_name, self))
			look_at_process(&s, e->d_name, fn, arg);
	closedir(proc);
	return count_listed(&s);
}

void lockholder_print(const struct lockholder *h, char text[LOCKHOLDER_TEXT])
{
	snprintf(text, LOCKHOLDER_TEXT, "process %d (%s) of user %d", h->pid, h->name, (int)h->uid);
}

static void prefer_writer(void *arg, const struct lockholder *h)
{
	struct lockholder *best = arg;

	if (!best->pid || (h->writes && !best->writes))
		*best = *h;
}

void lockholder_text(int fd, const char *kind, int64_t first, int64_t last,
		     char text[LOCKHOLDER_TEXT])
{
	struct lockholder best = { 0 };

	text[0] = '\0';
	lockholders(fd, kind, first, last, prefer_writer, &best);
	if (best.pid)
		lockholder_print(&best, text);
}
