/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The checker as a library: every structure against every other.  Used by
 * fsck.tallyfs and by the crash simulator.  It only looks: the file
 * system was opened read-only with its journal replayed into memory.
 */
#ifndef FSCK_CHECK_H
#define FSCK_CHECK_H

#include "core/block/bdev.h"
#include "fs/journal/recover.h"
#include "fs/state/fs.h"

enum check_severity {
	CHECK_NOTE,  /* worth knowing, nothing wrong */
	CHECK_LEAK,  /* space or counters off; no content concerned */
	CHECK_ERROR, /* content or structure lost or contradictory */
};

struct check_problem {
	enum check_severity severity;
	const char *code; /* stable word, for scripts: "node-unreadable", "bitmap-missing", ... */
	uint64_t ino;	  /* 0: none */
	uint64_t block;	  /* UINT64_MAX: none */
	const char *path; /* of the inode; NULL: none, or not looked for */
	const char *text; /* for people */
};

struct check_opts {
	bool verify_data;
	/* May be NULL.  Called for every problem, in the order found. */
	void (*report)(void *arg, const struct check_problem *p);
	/* May be NULL.  @done of @total bytes (or groups, nodes) of the phase; false stops the
	 * check (-ECANCELED). */
	bool (*progress)(void *arg, const char *phase, uint64_t done, uint64_t total);
	void *arg;
	unsigned int super;	  /* tfs_check_device: as of tfs_mount_opts */
	unsigned int break_rules; /* tests: TFS_BREAK_*, as it was mounted */
};

struct check_result {
	uint64_t errors, leaks;
	uint64_t inodes, directories, files, extents, nodes, data_blocks, bad_data_blocks,
		verified_bytes, orphans;
	bool journal_pending;
};

/*
 * @fs from tfs_open() with opts.ro.  @rec: what journal_recover_scan said (may
 * be NULL).  0 when the check ran to its end (look at res->errors), -ECANCELED, -ENOMEM, -EIO when
 * the device itself fails.
 */
int tfs_check(struct tfs_fs *fs, const struct tfs_recovery *rec, const struct check_opts *opts,
	      struct check_result *res);

/*
 * Open @b read-only, scan the journal, check, close: what both users want.  A
 * device that cannot even be opened as a tallyfs is -EUCLEAN or tfs_open's error, with *why.
 */
int tfs_check_device(struct bdev *b, const struct check_opts *opts, struct check_result *res,
		     char *why, size_t why_len);

#endif
