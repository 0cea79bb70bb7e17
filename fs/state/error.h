/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What becomes of a file system that turns out to be broken. */
#ifndef FS_STATE_ERROR_H
#define FS_STATE_ERROR_H

#include "fs/state/fs.h"

/* 0, -EROFS, or what shut the file system down. */
int tfs_writable(struct tfs_fs *fs);

/*
 * Metadata turned out inconsistent: log what, mark the file system, apply errors=.  With remount-ro
 * nothing may be changed from now on, but what was acknowledged before is written and committed.
 * Any lock may be held.  Never returns success: gives back @err (negative), so that callers can
 * `return tfs_handle_fs_error(...)`.
 */
int tfs_handle_fs_error(struct tfs_fs *fs, int err, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * Memory no longer agrees with the disk, or the log can't be written.  The same, but whatever
 * errors= says, nothing more is written.
 */
void tfs_force_shutdown(struct tfs_fs *fs, int err, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#endif
