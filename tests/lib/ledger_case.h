/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sweeps: a workload (ledger.h) runs again and again on the same image, each time as another case,
 * which has a name.  TALLYFS_CASE=NAME runs that one, or all whose names begin so.
 */
#ifndef TESTS_LEDGER_CASE_H
#define TESTS_LEDGER_CASE_H

#include "tests/lib/fixture.h"
#include "tests/lib/ledger.h"

/* An image that @work has left, and what is on it. */
struct ledger_image {
	const struct ledger_work *work;
	enum fx_size size;
	unsigned int nr; /* of this combination of both */
	struct bdev *mem;
	void *bytes;
	struct ledger begin;
};

/* Once per process: no log lines (but with TALLYFS_CASE and TALLYFS_LOG=1); who hangs or crashes
 * says in which case. */
void ledger_case_init(void);
void ledger_image_create(struct ledger_image *img, const struct ledger_work *work,
			 enum fx_size size);
void ledger_image_destroy(struct ledger_image *img);
/* "names/4k/" and what printf makes of the rest: the case that runs from now on. */
const char *ledger_case_name(const struct ledger_image *img, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
bool ledger_case_asked(const char *name);
bool ledger_case_only(void); /* TALLYFS_CASE is set: all must be looked at, and be told */
/* How many of @all cases of one kind to run, evenly spread: TALLYFS_OPS; by default one for every
 * third @kind. */
uint64_t ledger_case_count(uint64_t all, unsigned int kind);
/* The image is as it was, @l holds what is on it. */
void ledger_case_begin(struct ledger_image *img, struct ledger *l);
/* Errors and leaks that fsck finds on a device, data verified; -1: it cannot be opened.  @codes
 * (or NULL): the words for them. */
int64_t ledger_fsck(struct bdev *dev, char *codes, size_t len);

#endif
