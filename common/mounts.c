/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Mounted tallyfs file systems: finding one, unmounting it, waiting until its image is closed. */
#include "common/mounts.h"

#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/block/bdev.h"
#include "core/lib/text.h"
#include "common/explain.h"
#include "common/outcome.h"

#define TABLE_LOOKS 3
/* Nobody is told of a wait shorter than this. */
#define QUIET_WAIT_MS 300
/* A daemon that takes longer to close has a device that does not answer. */
#define CLOSED_WAIT_MS (10 * 60 * 1000)

extern char **environ;

/* \040 and its like, in place. */
static void unescape(char *s)
{
	char *out = s;

	for (; *s; s++) {
		unsigned int a, b, c;

		a = (unsigned int)(s[0] == '\\' ? s[1] - '0' : 8);
		b = a < 8 ? (unsigned int)(s[2] - '0') : 8;
		c = b < 8 ? (unsigned int)(s[3] - '0') : 8;
		if (c < 8) {
			*out++ = (char)(a << 6 | b << 3 | c);
			s += 3;
		} else {
			*out++ = *s;
		}
	}
	*out = '\0';
}

/* A line of /proc/self/mountinfo: "36 35 98:0 /root /mnt options [fields] - type source
 * options". */
static bool parse_line(char *line, struct mount_entry *m)
{
	char *save, *field, *right = strstr(line, " - ");
	int i;

	if (!right)
		return false;
	*right = '\0';
	field = strtok_r(line, " \n", &save);
	for (i = 0; field; i++, field = strtok_r(NULL, " \n", &save)) {
		if (i == 2 && sscanf(field, "%u:%u", &m->major, &m->minor) != 2)
			return false;
		if (i == 4) {
			unescape(field);
			snprintf(m->mountpoint, sizeof(m->mountpoint), "%s", field);
		}
		if (i == 5)
			m->read_only = !strncmp(field, "ro", 2) && (field[2] == ',' || !field[2]);
	}
	field = strtok_r(right + 3, " \n", &save);
	if (i < 6 || !field)
		return false;
	snprintf(m->type, sizeof(m->type), "%s", field);
	field = strtok_r(NULL, " \n", &save);
	if (!field)
		return false;
	unescape(field);
	snprintf(m->source, sizeof(m->source), "%s", field);
	/* The file system itself may be read-only under a mount that is not. */
	field = strtok_r(NULL, " \n", &save);
	if (field && !strncmp(field, "ro", 2) && (field[2] == ',' || !field[2]))
		m->read_only = true;
	return true;
}

static bool is_tallyfs(const struct mount_entry *m)
{
	return !strcmp(m->type, "fuse.tallyfs") || !strcmp(m->type, "fuseblk.tallyfs");
}

/*
 * Go through all mounts: @found gets the last one at @path, or the last tallyfs from @source, if
 * that is wanted; the result is whether there is one, or how often the file system @same is mounted
 * (at @path), if that is wanted.
 */
static int scan(const char *path, const char *source, struct mount_entry *found,
		const struct mount_entry *same)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	struct mount_entry *m = malloc(sizeof(*m));
	char *line = NULL;
	size_t size = 0;
	int n = 0;

	if (!f || !m) {
		n = f ? -ENOMEM : -errno;
		goto out;
	}
	while (getline(&line, &size, f) > 0) {
		if (!parse_line(line, m))
			continue;
		if (same && m->major == same->major && m->minor == same->minor &&
		    (!path || !strcmp(m->mountpoint, path)))
			n++;
		if ((path && !strcmp(m->mountpoint, path)) ||
		    (source && is_tallyfs(m) && !strcmp(m->source, source))) {
			*found = *m;
			n = same ? n : 1;
		}
	}
out:
	if (f)
		fclose(f);
	free(line);
	free(m);
	return n;
}

int mounts_at(const char *path, struct mount_entry *m)
{
	int n, err = -ENOENT;

	/* The table is read in pieces: an entry may be passed over when another goes meanwhile. */
	for (int look = 0; look < TABLE_LOOKS && err == -ENOENT; look++) {
		n = scan(path, NULL, m, NULL);
		err = n < 0 ? n : n && is_tallyfs(m) ? 0 : -ENOENT;
	}
	return err;
}

int mounts_stack(const char *path, const struct mount_entry *own, struct mount_entry *top)
{
	int n = 0;

	for (int look = 0; look < TABLE_LOOKS && !n; look++)
		n = scan(path, NULL, top, own);
	return n;
}

/* What a killed daemon left cannot be looked into, but its folder can.  To be freed; NULL: as it
 * is. */
static char *real_name(const char *path)
{
	char *real = realpath(path, NULL), *copy, *slash, *folder, *name;
	size_t len = strlen(path);

	if (real || !explain_gone(-errno))
		return real;
	while (len > 1 && path[len - 1] == '/')
		len--;
	copy = strndup(path, len);
	if (!copy)
		return NULL;
	slash = strrchr(copy, '/');
	name = slash ? slash + 1 : copy;
	if (slash)
		*slash = '\0';
	folder = realpath(!slash ? "." : slash == copy ? "/" : copy, NULL);
	if (folder && asprintf(&real, "%s/%s", folder[1] ? folder : "", name) < 0)
		real = NULL;
	free(folder);
	free(copy);
	return real;
}

int mounts_find_source(const char *path, struct mount_entry *m)
{
	char *real = realpath(path, NULL);
	int n = real ? scan(NULL, real, m, NULL) : -errno;

	free(real);
	return n > 0 ? 0 : n < 0 ? n : -ENOENT;
}

int mounts_find(const char *path, struct mount_entry *m)
{
	char *real = real_name(path);
	int err = mounts_at(real ? real : path, m);

	free(real);
	return err;
}

static int run_fusermount(const char *who, const char *path, unsigned int flags)
{
	char *argv[] = { "fusermount3", "-u", flags & MOUNTS_LAZY ? "-z" : "--", (char *)path,
			 NULL };
	char said[1024], why[1024];
	int status = 0, err;
	struct capture c;
	pid_t pid;

	capture_start(&c);
	err = -posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ);
	while (!err && waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			err = -errno;
	capture_stop(&c, said, sizeof(said));
	if (!err && WIFEXITED(status) && !WEXITSTATUS(status))
		return 0;
	if (err)
		snprintf(why, sizeof(why), "cannot run fusermount3: %s", strerror(-err));
	else
		explain_fusermount(why, sizeof(why), said, path);
	text_err("%s: %s: %s", who, path, why);
	return err ? err : -EBUSY;
}

static int detach(const char *who, const struct mount_entry *m, unsigned int flags)
{
	int how = UMOUNT_NOFOLLOW | (flags & MOUNTS_FORCE ? MNT_FORCE : 0) |
		  (flags & MOUNTS_LAZY ? MNT_DETACH : 0);
	char why[1024];
	int err;

	if (!umount2(m->mountpoint, how))
		return 0;
	err = -errno;
	if (err == -EPERM && geteuid() != 0)
		return run_fusermount(who, m->mountpoint, flags);
	snprintf(why, sizeof(why), "%s", strerror(-err));
	if (err == -EBUSY)
		explain_busy(why, sizeof(why), m->mountpoint);
	text_err("%s: %s: %s", who, m->mountpoint, why);
	return err;
}

static int wait_closed(const char *who, const struct mount_entry *m, unsigned int flags)
{
	char busy_by[LOCKHOLDER_TEXT], why[256];
	int err = bdev_wait_closed(m->source, QUIET_WAIT_MS, busy_by);

	if (err == -ETIMEDOUT) {
		if (flags & MOUNTS_VERBOSE)
			text_err("%s: waiting until %s is written and closed ...", who, m->source);
		err = bdev_wait_closed(m->source, CLOSED_WAIT_MS, busy_by);
	}
	if (err == -ETIMEDOUT) {
		bdev_open_error(why, sizeof(why), -EBUSY, busy_by);
		text_err("%s: %s: still not closed, and not waited for any longer: %s", who,
			 m->source, why);
		return err;
	}
	/* Removed meanwhile, or not readable for this user: nothing to wait with. */
	if (err == -ENOENT || err == -EACCES || err == -EPERM) {
		text_err("%s: %s: cannot tell when it is closed: %s", who, m->source,
			 strerror(-err));
		return 0;
	}
	if (err)
		text_err("%s: %s: %s", who, m->source, strerror(-err));
	else if (flags & MOUNTS_VERBOSE)
		text_err("%s: %s is closed", who, m->source);
	return err;
}

int mounts_unmount(const char *who, const char *path, unsigned int flags)
{
	struct mount_entry *m = calloc(1, sizeof(*m));
	enum outcome before = OUTCOME_SAVED;
	time_t since = time(NULL);
	bool last;
	int err;

	if (!m)
		return -ENOMEM;
	err = mounts_find(path, m);
	if (err) {
		text_err("%s: %s: %s", who, path,
			 err == -ENOENT ? "no tallyfs is mounted there" : strerror(-err));
		goto out;
	}
	/* of several places (bind mounts) only the last one ends anything */
	last = scan(NULL, NULL, NULL, m) == 1;
	if (last && !(flags & (MOUNTS_FORCE | MOUNTS_LAZY)))
		before = outcome_flush(who, m);
	err = before == OUTCOME_KEPT ? -EIO : detach(who, m, flags);
	if (err)
		goto out;
	if (flags & MOUNTS_VERBOSE)
		text_err("%s: %s unmounted%s", who, m->mountpoint,
			 last ? "" : ", and still mounted in another place");
	if (flags & MOUNTS_LAZY || !last)
		goto out;
	err = wait_closed(who, m, flags);
	if (!err && before == OUTCOME_LOST)
		err = -EIO;
	if (!err && !m->read_only && before != OUTCOME_NOBODY)
		err = outcome_check(who, m->source, since);
out:
	free(m);
	return err;
}
