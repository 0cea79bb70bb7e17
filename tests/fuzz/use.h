/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Using a mounted file system: everything looked at, then a few operations that an input names. */
#ifndef TESTS_FUZZ_USE_H
#define TESTS_FUZZ_USE_H

#include "fs/vfs/vfs.h"
#include "tests/fuzz/fuzz.h"

#define USE_INODES 96
#define USE_NAME 256

struct use {
	struct tfs_fs *fs;
	bool sound; /* the checker said so: whoever now says damage or EIO has found one of them
		       wrong */
	struct use_inode {
		uint64_t ino, dir;
		uint32_t mode;
		char name[USE_NAME];
	} inode[USE_INODES]; /* [0] is the root */
	unsigned int nr;
};

/* Walk from the root: names, attributes, extended attributes, targets, content. */
void use_walk(struct use *u);
/* Operations until @in is used up, at most @max, on what was found. */
void use_work(struct use *u, struct fuzz_in *in, unsigned int max);
/* @ret of a call: as fuzz_errno(), and no damage where there is none. */
int64_t use_ret(const struct use *u, int64_t ret, const char *what);

#endif
