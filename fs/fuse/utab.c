/* SPDX-License-Identifier: GPL-2.0-or-later */
/* libmount's /run/mount/utab. */
#include "fs/fuse/utab.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/block/lockholder.h"
#include "core/lib/log.h"

#define DIR_NAME "/run/mount"
#define TABLE DIR_NAME "/utab"
#define LOCK_WAIT_MS 1000
#define LOCK_TRIES 50

/* Blanks and backslashes as \ooo. */
static void mangle(char *out, size_t size, const char *in)
{
	size_t n = 0;

	for (; *in && n + 5 < size; in++) {
		if (strchr(" \t\n\\", *in))
			n += (size_t)snprintf(out + n, size - n, "\\%03o", (unsigned char)*in);
		else
			out[n++] = *in;
	}
	out[n] = '\0';
}

/* The lock that libmount takes.  Anybody may hold it, so it is not waited for long. */
static int lock_table(void)
{
	const struct timespec pause = { .tv_nsec = LOCK_WAIT_MS * 1000000 / LOCK_TRIES };
	char who[LOCKHOLDER_TEXT];
	int fd, tries = 0;

	mkdir(DIR_NAME, 0755);
	fd = open(TABLE ".lock", O_RDONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd < 0)
		return fd;
	while (flock(fd, LOCK_EX | LOCK_NB)) {
		if (++tries < LOCK_TRIES) {
			nanosleep(&pause, NULL);
			continue;
		}
		lockholder_text(fd, "FLOCK", 0, INT64_MAX, who);
		log_warn("%s is locked by %s: left as it is, so umount(8) may not wait until the "
			 "image is closed",
			 TABLE, who[0] ? who : "another program");
		close(fd);
		return -1;
	}
	return fd;
}

/* Everything but the lines for @target, which is mangled. */
static void copy_others(FILE *out, const char *target)
{
	FILE *in = fopen(TABLE, "re");
	char *line = NULL, *at;
	size_t size = 0, len = strlen(target);

	if (!in)
		return;
	while (getline(&line, &size, in) > 0) {
		at = strstr(line, " TARGET=");
		if (!at || strncmp(at + 8, target, len) ||
		    (at[8 + len] != ' ' && at[8 + len] != '\n'))
			fputs(line, out);
	}
	free(line);
	fclose(in);
}

static void rewrite(const char *source, const char *mountpoint)
{
	char target[2 * PATH_MAX], from[2 * PATH_MAX], name[] = TABLE ".XXXXXX";
	int lock, fd;
	FILE *out;
	bool bad;

	if (geteuid() != 0)
		return;
	lock = lock_table();
	if (lock < 0)
		return;
	fd = mkostemp(name, O_CLOEXEC);
	out = fd < 0 ? NULL : fdopen(fd, "w");
	if (out) {
		fchmod(fd, 0644);
		mangle(target, sizeof(target), mountpoint);
		copy_others(out, target);
		if (source) {
			mangle(from, sizeof(from), source);
			fprintf(out, "SRC=%s TARGET=%s ROOT=/ OPTS=x-tallyfs.wait\n", from, target);
		}
		bad = ferror(out);
		if (fclose(out) || bad || rename(name, TABLE))
			unlink(name);
	} else if (fd >= 0) {
		close(fd);
		unlink(name);
	}
	close(lock);
}

void utab_add(const char *source, const char *mountpoint)
{
	rewrite(source, mountpoint);
}

void utab_remove(const char *mountpoint)
{
	rewrite(NULL, mountpoint);
}
