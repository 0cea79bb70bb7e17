/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the parts of the exerciser of names share: exercise_names.c (the operations),
 * exercise_names_list.c (listings), exercise_names_past.c (what a power cut may leave).
 */
#ifndef TESTS_EXERCISE_NAMES_PRIV_H
#define TESTS_EXERCISE_NAMES_PRIV_H

#include "tests/lib/exercise_names.h"
#include "tests/lib/exercise_notes.h"

#define NODES 400
#define NAMES 96 /* in one directory */
#define LISTS 4
#define DEPTH 8
#define NONE (-1)

struct node {
	unsigned int touched; /* how many states there were when its entries changed last; see
				 exercise_names_past.c */
	uint8_t type;	      /* DT_*; 0: unused */
	unsigned int nlink;
	uint64_t ino; /* 0: not seen yet */
	int parent;   /* of a directory */
	int ent[NAMES];
};

/* A listing under way: what was there at its start and has been all the time is found once. */
struct listing {
	int dir; /* NONE: not in use */
	void *handle;
	bool stayed[NAMES];
	unsigned int seen[NAMES], dots;
};

/*
 * With power cuts: the trees, as numbers, that there have been since the last one that is surely
 * durable, which is the first.  A journal keeps everything in order, so after a cut there is one of
 * them, whole.
 */
struct names_past {
	uint64_t *states;
	unsigned int nr, room, before; /* @before: how many came earlier and are forgotten */
};

struct names_run {
	const struct names_opts *o;
	const struct names_ops *ops;
	void *be;
	uint64_t rng, op;
	struct node nodes[NODES]; /* 0: the root */
	struct listing lists[LISTS];
	char names[NAMES][256], path[2][NAMES_PATH_MAX];
	struct exercise_notes notes;
	bool failed;
	struct names_past past;
};

/* A line on stderr, with the last operations; the first time only. */
void names_fail(struct names_run *x, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The line of this operation, for names_fail(). */
void names_note(struct names_run *x, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
uint64_t names_rnd(struct names_run *x, uint64_t below);
/* Fails unless @got is @wanted.  Has the operation succeeded? */
bool names_want(struct names_run *x, const char *what, int got, int wanted);
/* The path of entry @name of @dir, or (NONE) of @dir itself, into @buf; false: it is too long. */
bool names_path(const struct names_run *x, int dir, int name, char *buf);
int names_any_dir(struct names_run *x);

/* ---- exercise_names_list.c ---- */
/* All of a directory at once, each entry compared. */
void names_list_now(struct names_run *x);
/* One more piece of a listing, or the start of one. */
void names_list_slowly(struct names_run *x);
void names_list_close(struct names_run *x, struct listing *l);
void names_list_close_all(struct names_run *x);

/* ---- exercise_names_past.c; all of it nothing without ops->cut ---- */
void names_past_free(struct names_run *x);
/* The model has changed, or may have; entries of @dir and (NONE: none) @dir2. */
void names_past_changed(struct names_run *x, int dir, int dir2);
/* All there is (@dir NONE), or the entries of @dir, is durable. */
void names_past_synced(struct names_run *x, int dir);
/* Now and then: cut the power, and see what is left. */
void names_past_maybe_cut(struct names_run *x);

#endif
