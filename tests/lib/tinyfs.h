/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A small file system in memory without threads, for the tests of what lies below the VFS. */
#ifndef TESTS_LIB_TINYFS_H
#define TESTS_LIB_TINYFS_H

#include "core/block/bdev.h"
#include "fs/journal/trans.h"
#include "fs/state/fs.h"
#include "fs/vfs/mkfs.h"

/* 1 MiB groups, deterministic.  To be changed as the test likes. */
struct tfs_format_opts tinyfs_opts(void);
/* Aborts the test when that does not work. */
void tinyfs_format(struct bdev *b, const struct tfs_format_opts *o);
struct tfs_fs *tinyfs_open(struct bdev *b);
/* Format a new memory device and open it.  The device is fs->bdev. */
struct tfs_fs *tinyfs_make(uint64_t bytes, const struct tfs_format_opts *o);
/* Close, and open again what was saved. */
struct tfs_fs *tinyfs_reopen(struct tfs_fs *fs);
/* Close and free the device. */
void tinyfs_drop(struct tfs_fs *fs);

/* Run @fn in a write section, again and again as sections are.  Its result. */
int tinyfs_write(struct tfs_fs *fs, int (*fn)(struct tfs_trans *t, void *arg), void *arg);
int tinyfs_read(struct tfs_fs *fs, int (*fn)(struct tfs_trans *t, void *arg), void *arg);

/* As the end of writeback does it: new blocks in, old ones out (0: none), counters.  For
 * tinyfs_write. */
struct tinyfs_change {
	uint64_t add, add_n, del, del_n;
};
int tinyfs_do_change(struct tfs_trans *t, void *change);

#endif
