/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Opening and closing a file system, below files and caches of files. */
#ifndef FS_VFS_FS_OPEN_H
#define FS_VFS_FS_OPEN_H

#include "core/block/bdev.h"
#include "fs/state/fs.h"

/*
 * ---- life cycle, fs/disk/super.c ----
 * tfs_open: read the superblock (a copy if the first is bad), check it, recover
 * the journal as opts say, set up caches.  No threads yet.  On success *out owns
 * nothing of @b but uses it until tfs_close.
 * Errors: -EINVAL not a tallyfs (said in the log line), -EPROTONOSUPPORT
 * unknown version or feature, -EUCLEAN damaged beyond use, -EROFS device is read
 * only and opts.ro not set, -EIO, -ENOMEM.
 * @why receives one line for people.
 */
int tfs_open(struct bdev *b, const struct tfs_mount_opts *opts, struct tfs_fs **out, char *why,
	     size_t why_len);

/* Start the journal thread (after daemonising).  0 or -errno. */
int tfs_start(struct tfs_fs *fs);

/* Commit, checkpoint and free everything.  First error met, the structure is gone in any case. */
int tfs_close(struct tfs_fs *fs);

/* Free without writing anything more: what a crash leaves (tests), or after a fatal error. */
void tfs_close_nosave(struct tfs_fs *fs);

#endif
