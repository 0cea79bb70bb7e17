/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Random operations on a tree of names, each compared with a model: on the library in process, or
 * on a mount, through a table of operations.  What it does follows from the seed.
 */
#ifndef TESTS_EXERCISE_NAMES_H
#define TESTS_EXERCISE_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "tests/lib/exercise_shortest.h"

#define NAMES_PATH_MAX 3500

struct names_stat {
	uint64_t ino;
	unsigned int nlink;
	uint8_t type; /* DT_DIR, DT_REG, DT_LNK */
};

typedef void names_fill_fn(void *arg, const char *name, uint64_t ino, uint8_t type);

/* Paths start with "/", the root of the tree; 0 or negative errno. */
struct names_ops {
	int (*create)(void *be, const char *path); /* O_EXCL */
	int (*mkdir)(void *be, const char *path);
	int (*symlink)(void *be, const char *target, const char *path);
	int (*link)(void *be, const char *path, const char *new_path);
	int (*unlink)(void *be, const char *path);
	int (*rmdir)(void *be, const char *path);
	int (*rename)(void *be, const char *path, const char *new_path, unsigned int flags);
	int (*stat)(void *be, const char *path, struct names_stat *st); /* of the link itself */
	/* A listing that goes on where it was, whatever happens meanwhile; with "." and "..".
	 * list(): at most @max; 1: more. */
	int (*list_open)(void *be, const char *path, void **list);
	int (*list)(void *be, void *list, unsigned int max, names_fill_fn *fill, void *arg);
	void (*list_close)(void *be, void *list);
	int (*fsync_dir)(void *be, const char *path);
	int (*sync)(void *be);
	int (*background)(
		void *be,
		unsigned int which); /* as in exercise_content.h, like begin() and cut() */
	int (*remount)(void *be);
	void (*begin)(void *be);
	int (*cut)(void *be, int (*check)(void *arg, void *image), void *arg);
};

struct names_opts {
	uint64_t seed, ops;
	unsigned int remount_every; /* operations, on average; 0: never */
	unsigned int cut_every;	    /* likewise, with cut() */
	struct exercise_steps steps;
};

/* The tree must be empty.  0, or -1 after a line on stderr that says what differed, with the last
 * operations. */
int exercise_names(const struct names_opts *o, const struct names_ops *ops, void *be);

#endif
