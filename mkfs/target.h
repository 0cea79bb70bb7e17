/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The device or file that is to hold the file system: is it ours to overwrite? */
#ifndef MKFS_TARGET_H
#define MKFS_TARGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct target {
	const char *path;
	bool is_block;
	bool touched;  /* what it held before is no more */
	bool created;  /* by us: removed again if anything fails */
	uint64_t size; /* bytes */
	int fd; /* own descriptor (a block device: O_EXCL), -1: a file that is not there yet */
};

/*
 * Look at @path, and open it; @size is what the user asked for (0: nothing).
 * All these: 0, or -1 with one line in @why.
 */
int target_open(struct target *t, const char *path, uint64_t size, bool dry_run, char *why,
		size_t why_len);
/* Create it, or make it larger, so that it has @size bytes. */
int target_grow(struct target *t, uint64_t size, char *why, size_t why_len);
/* -1: it holds something (what is told in @why). */
int target_check_empty(struct target *t, char *why, size_t why_len);
/* Remove the signatures that libblkid knows. */
int target_wipe(struct target *t, char *why, size_t why_len);
/* @failed: take back what target_grow created. */
void target_close(struct target *t, bool failed);

#endif
