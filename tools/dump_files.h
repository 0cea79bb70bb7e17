/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What ls, cat and extract share: files of a mounted image, read only.  Every byte of the image may
 * be hostile, names too.
 */
#ifndef TOOLS_DUMP_FILES_H
#define TOOLS_DUMP_FILES_H

#include "fs/vfs/vfs.h"
#include "tools/dump.h"

/* A line on stderr about @path (escaped); the program will exit 1, but goes on. */
__attribute__((format(printf, 3, 4))) void dump_complain(struct dump *d, const char *path,
							 const char *fmt, ...);
/* For people. */
const char *dump_error(int err);

/* May the name be used in a directory of ours? */
bool dump_name_ok(const char *name);
/* From the root; symbolic links are not followed.  -EINVAL: ".." */
int dump_resolve(struct dump *d, const char *path, struct vfs_attr *a);

struct dump_name {
	char *name;
};
struct dump_names {
	struct dump_name *v;
	size_t nr, max;
	int err;
};
/* All names but "." and "..", sorted; on failure those that were found.  Free them in any case. */
int dump_list(struct dump *d, uint64_t dir, struct dump_names *l);
void dump_list_free(struct dump_names *l);

/*
 * Bytes [pos, end) of the file to @fd: verified ones only, up to the first that can't be had.
 * @seek: to the same place there, else one after the other.  What goes wrong is complained of;
 * negative errno.
 */
int dump_copy_out(struct dump *d, struct vfs_file *f, const char *path, uint64_t pos, uint64_t end,
		  int fd, bool seek);

#endif
