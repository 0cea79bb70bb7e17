/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A small file system in memory for the tests of metadata: 8 MiB, groups and journal of (almost) 1
 * MiB, no threads. */
#ifndef TESTS_LIB_METAFIX_H
#define TESTS_LIB_METAFIX_H

#include "core/block/bdev.h"
#include "fs/state/fs.h"

struct metafix {
	struct bdev *dev;
	struct tfs_fs *fs;
	struct tfs_mount_opts opts;
	char why[256];
};

/* Format (seeded: the same bytes each time but for times) and open.  Ends the test on failure. */
void metafix_make(struct metafix *m);
/* Open again, as @m->opts say.  0 or -errno. */
int metafix_open(struct metafix *m);
/* As if the power had gone: nothing more is written. */
void metafix_crash(struct metafix *m);
void metafix_close(struct metafix *m); /* asserts success */
void metafix_free(struct metafix *m);

/* One item of @len bytes @fill with number @n in the tree, in a section of its own.  0 or
 * -errno. */
int metafix_set(struct metafix *m, uint64_t n, uint8_t fill, uint32_t len);
int metafix_delete(struct metafix *m, uint64_t n);
/* The byte it is filled with; -ENOENT; other errors. */
int metafix_get(struct metafix *m, uint64_t n);

/* A copy of the device as it is now. */
struct bdev *metafix_copy(struct metafix *m);

#endif
