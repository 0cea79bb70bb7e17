/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A part of the tree that one thread at a time works on, with a log of what was done and what was
 * promised, by moments of a recording device (crashdev.h).  Afterwards images of power cuts are
 * held to it (docs/DESIGN.md, rule 4), whatever the threads of other parts have done meanwhile:
 *  - what a sync of any kind that had returned before the cut promised is there: content, size,
 *    times, names, owners, modes, links, extended attributes;
 *  - names and attributes are those after one of the operations since; of each file's blocks, size
 *    and times each is one of those it has had since;
 *  - nothing is there of an operation that had not begun;
 *  - what a rename put in another file's place has the content it had.
 */
#ifndef TESTS_PROMISES_H
#define TESTS_PROMISES_H

#include "fs/vfs/vfs.h"
#include "tests/lib/crashdev.h"

enum promise_kind {
	PROMISE_FSYNC,
	PROMISE_FDATASYNC,
	PROMISE_O_SYNC,
	PROMISE_O_DSYNC,
	PROMISE_MSYNC, /* as the daemon sees it: a write from the kernel's cache, and fsync */
	PROMISE_FSYNCDIR,
	PROMISE_SYNC,
	PROMISE_KINDS,
};
extern const char *const promise_names[PROMISE_KINDS];

struct promises;

struct promises_mix {
	unsigned int syncs;    /* percent of the steps */
	unsigned int removals; /* percent of the others: writes, truncations, holes, no more */
};

/* A directory @name in the root, with two below.  Sync it before the first step. */
struct promises *promises_create(struct tfs_fs *fs, struct crashdev *cd, const char *name,
				 uint64_t seed, const struct promises_mix *mix);
/* Files held open are closed. */
void promises_close(struct promises *p);
void promises_destroy(struct promises *p);
/* A random operation, while other threads may want the same part.  False: a line is on stderr, or
 * the log is full. */
bool promises_step(struct promises *p);
/* fsync or fdatasync of a file of it, whatever others do to that file meanwhile. */
void promises_sync_beside(struct promises *p);
/* For who syncs everything: operations over before, and that they were synced. */
uint32_t promises_done(struct promises *p);
void promises_synced(struct promises *p, uint32_t done);
bool promises_failed(struct promises *p);

/* An image of a cut after @cut events, mounted without threads.  Cuts in rising order, all threads
 * gone.  0, or -1 and @why. */
int promises_check(struct promises *p, struct tfs_fs *image, uint64_t cut, char *why, size_t len);
/* When some promise had just been given, or 0: the worst moment for it. */
uint64_t promises_moment(struct promises *p, uint64_t *rng);
/* Adds to @given how many promises there are, to @checked how often one was held against an
 * image. */
void promises_count(struct promises *p, uint64_t *given, uint64_t *checked);

#endif
