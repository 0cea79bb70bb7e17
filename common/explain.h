/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What an error means to who sees it: the cause, and what to do about it. */
#ifndef TOOLS_EXPLAIN_H
#define TOOLS_EXPLAIN_H

#include <stdbool.h>
#include <stddef.h>

/* Is @err (negative) what a mount says whose daemon has ended? */
bool explain_gone(int err);
/* For errors of reaching a file, by path: as strerror(-err), but for a mount whose daemon has
 * ended. */
const char *explain_path(int err);
/*
 * Why bdev_open_by() of @path failed.  @busy_by: its; @read_only: what to do where it may only be
 * read ("mount it with -o ro"); NULL: it was to be read only.
 */
void explain_open(char *why, size_t size, const char *path, int err, const char *busy_by,
		  const char *read_only);
/* What libfuse and fusermount3 said (@said, lines) of the mount at @mountpoint. */
void explain_fusermount(char *why, size_t size, const char *said, const char *mountpoint);
/* Who keeps @mountpoint from being unmounted, as far as the caller may know. */
void explain_busy(char *why, size_t size, const char *mountpoint);

/* What this process, which has one thread, and its children write to standard error, kept instead
 * of shown. */
struct capture {
	int saved, file; /* -1: it could not be, and is shown */
};
void capture_start(struct capture *c);
/* As much of it as fits into @text, and all is as before. */
void capture_stop(struct capture *c, char *text, size_t size);

#endif
