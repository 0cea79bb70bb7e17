/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The library as the exercisers' back end.  Several may run on one file system at once, each in a
 * directory of its own (and without remounts then).
 */
#ifndef TESTS_LIBEXER_H
#define TESTS_LIBEXER_H

#include "fs/vfs/vfs.h"
#include "tests/lib/fsfix.h"
#include "tests/lib/fsxer.h"
#include "tests/lib/treexer.h"

#define LIBEXER_FILES 4

struct libexer {
	struct fsfix *fx;
	uint64_t top; /* inode number of the directory to work in; the root's if there are remounts
		       */
	struct vfs_file *files[LIBEXER_FILES];
};

/* Both take a struct libexer.  For names, fx and top suffice. */
extern const struct fsxer_ops libexer_file_ops;
extern const struct treexer_ops libexer_tree_ops;

/* Create and open the files. */
void libexer_start(struct libexer *e, struct fsfix *fx, uint64_t top);
void libexer_close(struct libexer *e);
/* Open them again, on what fx has mounted now.  0 or negative errno. */
int libexer_reopen(struct libexer *e);

#endif
