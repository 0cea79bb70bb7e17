/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A file system in memory, opened below the VFS and without threads, for the tests of journal,
 * tree, allocator and names: tfs_open() instead of vfs_mount().  Needs no fx_init().
 *
 * fx_fs_*: what must not fail, as one pointer.  The device is fs->bdev.
 * fx_bare_*: a struct fixture, for tests that damage the device and want to see what opening says.
 */
#ifndef TESTS_FIXTURE_BARE_H
#define TESTS_FIXTURE_BARE_H

#include "fs/journal/trans.h"
#include "fs/vfs/mkfs.h"
#include "tests/lib/fixture.h"

/* 1 MiB groups, deterministic.  To be changed as the test likes. */
struct tfs_format_opts fx_bare_opts(void);

/* Format a new memory device and open it. */
struct tfs_fs *fx_fs_create(uint64_t bytes, const struct tfs_format_opts *o);
struct tfs_fs *fx_fs_open(struct bdev *dev);
/* Close, and open again what was saved. */
struct tfs_fs *fx_fs_reopen(struct tfs_fs *fs);
/* Close and free the device. */
void fx_fs_destroy(struct tfs_fs *fs);

/* 8 MiB, groups and journal of (almost) 1 MiB, seeded: the same bytes each time but for times. */
void fx_bare_create(struct fixture *f);
/* Open again, as @f->opts say.  0 or -errno, and @f->why. */
int fx_bare_open(struct fixture *f);
/* As if the power had gone: nothing more is written. */
void fx_bare_crash(struct fixture *f);
void fx_bare_close(struct fixture *f); /* must succeed */
/* Frees the device, too; open or not. */
void fx_bare_destroy(struct fixture *f);

/* Run @fn in a section, again and again as sections are.  Its result. */
int fx_in_write(struct tfs_fs *fs, int (*fn)(struct tfs_trans *t, void *arg), void *arg);
int fx_in_read(struct tfs_fs *fs, int (*fn)(struct tfs_trans *t, void *arg), void *arg);

/* One item of @len bytes @fill with number @n in the tree, in a section of its own.  0 or
 * -errno. */
int fx_item_set(struct fixture *f, uint64_t n, uint8_t fill, uint32_t len);
int fx_item_delete(struct fixture *f, uint64_t n);
/* The byte it is filled with; -ENOENT; other errors. */
int fx_item_get(struct fixture *f, uint64_t n);

/* As the end of writeback does it: new blocks in, old ones out (0: none), counters.  For
 * fx_in_write. */
struct fx_data_change {
	uint64_t add, add_n, del, del_n;
};
int fx_change_data(struct tfs_trans *t, void *change);

#endif
