/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A reader of a directory in which some names stay ("s0", "s1", ...) while others come and go: each
 * that stays is met exactly once, always at the same cookie, whatever pieces the listing is read in
 * and wherever it is taken up again. Fails by abort(), as fixture.h does.
 */
#ifndef TESTS_LISTER_H
#define TESTS_LISTER_H

#include "fs/state/fs.h"
#include "tests/lib/fixture.h"

#define LISTER_STAY 300

struct lister {
	struct tfs_fs *fs;
	uint64_t dir, rng;
	uint64_t cookie[LISTER_STAY]; /* 0: not met yet */
	bool met[LISTER_STAY];	      /* since @from */
	uint64_t from, at;	      /* cookies: where this listing began, where it is */
	unsigned int room, dots, passes, seeks;
};

/* @seed: not 0. */
void lister_init(struct lister *l, struct tfs_fs *fs, uint64_t dir, uint64_t seed);
/* Make the names that stay. */
void lister_make(struct tfs_fs *fs, uint64_t dir);
/* One more piece; at the end it is checked and starts anew; now and then it goes back to some
 * cookie it has met. */
void lister_step(struct lister *l);
/*
 * One operation on the names that come and go ("c0"...): creates, unlinks, renames, renames over
 * those that stay (which then still stay).  @salt: names of this caller alone.
 */
void lister_churn(struct tfs_fs *fs, uint64_t dir, unsigned int salt, uint64_t *rng);

#endif
