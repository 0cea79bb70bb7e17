/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Mounted tallyfs file systems: finding one, unmounting it, waiting until its image is closed. */
#ifndef TOOLS_MOUNTS_H
#define TOOLS_MOUNTS_H

#include <limits.h>
#include <stdbool.h>

struct mount_entry {
	char mountpoint[PATH_MAX];
	char source[PATH_MAX]; /* the image or device */
	char type[64];
	unsigned int major, minor; /* the same for all mounts of one file system */
	bool read_only;
};

/*
 * The topmost tallyfs mount exactly at @path.  0; -ENOENT nothing of the kind there; or -errno.
 * @path need not be absolute.
 */
int mounts_find(const char *path, struct mount_entry *m);
/* The same for an absolute @path without links.  It reads the mount table only, and asks no file
 * system. */
int mounts_at(const char *path, struct mount_entry *m);
/*
 * How often the file system that @own is a mount of is mounted exactly at the absolute @path, or
 * -errno; *top gets the topmost mount there, of any type: not @own's, it covers it.  *top is left
 * as it is where nothing is mounted.
 */
int mounts_stack(const char *path, const struct mount_entry *own, struct mount_entry *top);

/* A tallyfs that is mounted from the image or device @path.  As mounts_find(). */
int mounts_find_source(const char *path, struct mount_entry *m);

enum {
	MOUNTS_FORCE = 1 << 0,
	MOUNTS_LAZY = 1 << 1, /* detach, and do not wait */
	MOUNTS_VERBOSE = 1 << 2,
};
/*
 * Unmount what is at @path and wait until its image is closed.  @who starts the lines
 * that say what goes wrong.  0, or -errno after such a line: -ENOENT no tallyfs there, -EPERM,
 * -EBUSY in use, -EIO not everything could be written, ...  Where another try may yet write it, it
 * stays mounted (not with MOUNTS_FORCE).
 */
int mounts_unmount(const char *who, const char *path, unsigned int flags);

#endif
