/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The library as the exercisers' back end.  Several may run on one file system at once, each in a
 * directory of its own (and without remounts then).
 */
#ifndef TESTS_EXERCISE_LIB_H
#define TESTS_EXERCISE_LIB_H

#include "fs/vfs/vfs.h"
#include "tests/lib/fixture.h"
#include "tests/lib/exercise_content.h"
#include "tests/lib/exercise_names.h"

#define LIB_BACKEND_FILES 4

struct lib_backend {
	struct fixture *fx;
	uint64_t top; /* inode number of the directory to work in; the root's if there are remounts
		       */
	struct vfs_file *files[LIB_BACKEND_FILES];
};

/* Both take a struct lib_backend.  For names, fx and top suffice. */
extern const struct content_ops lib_content_ops;
extern const struct names_ops lib_names_ops;

/* Create and open the files. */
void lib_backend_start(struct lib_backend *e, struct fixture *fx, uint64_t top);
void lib_backend_close(struct lib_backend *e);
/* Open them again, on what fx has mounted now.  0 or negative errno. */
int lib_backend_reopen(struct lib_backend *e);

#endif
