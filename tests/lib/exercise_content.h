/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Random operations on the content of several files, each compared with a byte array: on the
 * library in process, or on a mount, through a table of operations.  What it does follows from the
 * seed.
 */
#ifndef TESTS_EXERCISE_CONTENT_H
#define TESTS_EXERCISE_CONTENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "tests/lib/exercise_shortest.h"

/* @k: which file.  Negative errno; pread, pwrite, mread, mwrite, copy: bytes; seek, size: a
 * position.  NULL: not to be had. */
struct content_ops {
	int64_t (*pwrite)(void *be, unsigned int k, const void *buf, size_t len, uint64_t pos);
	int64_t (*pread)(void *be, unsigned int k, void *buf, size_t len, uint64_t pos);
	int64_t (*append)(void *be, unsigned int k, const void *buf, size_t len);
	int64_t (*mwrite)(void *be, unsigned int k, const void *buf, size_t len,
			  uint64_t pos); /* inside the file */
	int64_t (*mread)(void *be, unsigned int k, void *buf, size_t len, uint64_t pos);
	int64_t (*copy)(void *be, unsigned int from, uint64_t pos, unsigned int to, uint64_t to_pos,
			size_t len);
	int (*truncate)(void *be, unsigned int k, uint64_t size);
	int (*fallocate)(void *be, unsigned int k, int mode, uint64_t pos, uint64_t len);
	int64_t (*seek)(void *be, unsigned int k, uint64_t pos, int whence);
	int64_t (*size)(void *be, unsigned int k);
	int (*fsync)(void *be, unsigned int k, bool datasync);
	int (*reopen)(void *be, unsigned int k);
	int (*drop_cache)(void *be);
	int (*unshare)(void *be, unsigned int k, uint64_t pos, uint64_t len);
	int (*sync)(
		void *be); /* all files; must promise what fsync of each does, if there is cut() */
	/* What threads of the file system do by themselves, where it has none: changes and promises
	 * nothing. */
	int (*background)(void *be, unsigned int which);
	int (*remount)(void *be);
	/*
	 * Crash simulation.  begin() comes before each operation; cut() after one: it makes an
	 * image that a power cut since begin() could have left, and calls @check with a back end
	 * for that image, open for size and pread.
	 */
	void (*begin)(void *be);
	int (*cut)(void *be, int (*check)(void *arg, void *image), void *arg);
};

struct content_opts {
	uint64_t seed, ops;
	unsigned int nr_files;
	uint64_t max_size;	    /* bytes of one file */
	unsigned int remount_every; /* operations, on average; 0: never */
	unsigned int cut_every;	    /* likewise, with cut() */
	uint32_t block_size;	    /* of the file system, for cut() */
	struct exercise_steps steps;
};

/* 0, or -1 after a line on stderr that says what differed, with the last operations. */
int exercise_content(const struct content_opts *o, const struct content_ops *ops, void *be);

#endif
