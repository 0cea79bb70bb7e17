/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the parts of the log of promises share: promises.c (log), promises_content.c and
 * promises_names.c (operations), promises_check.c (images). */
#ifndef TESTS_PROMISES_PRIV_H
#define TESTS_PROMISES_PRIV_H

#include <pthread.h>
#include <stdatomic.h>
#include "fs/inode/inode.h"
#include "tests/lib/promises.h"

#define PR_DIRS 3
#define PR_NAMES 4 /* in each */
#define PR_OPS 1000
#define PR_BYTES (48u << 10) /* of a file */
#define PR_BLOCKS (PR_BYTES / 1024)
#define PR_XATTRS 2
#define PR_XATTR_MAX 3000
#define PR_TEXT 2048

/* The values that something has had, each from some operation on. */
struct past {
	struct past_value {
		uint32_t op;
		uint64_t v;
	} * v;
	unsigned int nr, room;
};
void past_add(struct past *p, uint32_t op, uint64_t v);
/* The first that counts when operation @lo is promised. */
unsigned int past_first(const struct past *p, uint32_t lo);
/* Is @v what it was after operation @lo, or what it became by @hi? */
bool past_has(const struct past *p, uint32_t lo, uint32_t hi, uint64_t v);

/* What a name leads to, as text says it. */
struct facts {
	uint64_t ino;
	uint32_t mode, uid, gid, nlink;
	uint64_t xattr[PR_XATTRS]; /* hashes; 0: none.  The first of a symlink: its target */
};

struct object {
	struct facts f;
	uint32_t made, touched; /* operations: the first and last on its names and attributes */
	struct vfs_file *held;
	/* regular files */
	uint64_t size;
	uint8_t *data; /* PR_BYTES, zeros behind the end */
	struct past sizes, mtimes, ctimes, block[PR_BLOCKS];
	/* while images are checked: operations promised */
	uint32_t content_lo, times_lo;
};

struct promise {
	uint64_t at;	    /* events when it had been given */
	uint32_t op, names; /* operations: of content and times, and of names and attributes */
	enum promise_kind kind;
	struct object *o; /* NULL: all that were there by @op */
	bool content, times;
};

/* @op put @o in the place of another file: its data was to be there first. */
struct install {
	uint32_t op;
	struct object *o;
};

/* What an operation on a file was, for who has to find out what went wrong. */
struct deed {
	const char *what;
	uint64_t ino, pos, len;
	int flags; /* O_*, or the mode of fallocate */
};

struct promises {
	struct tfs_fs *fs;
	struct crashdev *cd;
	char name[16];
	uint64_t rng;
	uint32_t block_size;
	struct promises_mix mix;
	uint64_t dir[PR_DIRS]; /* inode numbers */
	uint32_t dir_touched[PR_DIRS];
	struct object *entry[PR_DIRS][PR_NAMES];
	struct object *objects[PR_OPS];
	struct object *last; /* the file changed last, or NULL */
	unsigned int nr_objects;
	pthread_mutex_t lock; /* all the above and below, but for @given */
	uint32_t op;
	_Atomic uint32_t done;
	_Atomic bool failed;
	uint64_t began[PR_OPS]; /* events by then */
	char *text[PR_OPS];	/* names and attributes after each operation; often the same */
	struct deed deeds[PR_OPS];
	struct install installs[PR_OPS];
	unsigned int nr_installs;
	pthread_mutex_t given_lock;
	struct promise *given; /* as they were given */
	unsigned int nr_given, room_given;
	/* while images are checked */
	unsigned int in_force;
	uint32_t names_lo, hi;
	uint64_t checked[PROMISE_KINDS], in_force_by_kind[PROMISE_KINDS];
};

void *pr_must(void *p);
uint64_t pr_rand(struct promises *p, uint64_t n); /* below @n */
/* A difference, or an error nobody should get: the end of the run. */
void pr_fail(struct promises *p, const char *what, int64_t got);
/* 0 expected. */
bool pr_ok(struct promises *p, const char *what, int err);
/* Say what this operation is going to do. */
void pr_deed(struct promises *p, const char *what, const struct object *o, uint64_t pos,
	     uint64_t len, int flags);
void pr_promise(struct promises *p, const struct promise *pr);
struct object *pr_new_object(struct promises *p, const struct vfs_attr *a);
/* It may be gone for good now. */
void pr_let_go(struct object *o);
/* Its times are now what the file system says. */
void pr_note_times(struct promises *p, struct object *o);
uint64_t pr_nsec(struct timespec ts);
uint64_t pr_hash(const void *data, size_t len);
/* A line for the name; its length. */
size_t pr_line(char *buf, size_t len, unsigned int dir, unsigned int name, const struct facts *f);
void pr_name(char buf[8], unsigned int name);
/* A regular file, with or without names, often the one changed last; or NULL. */
struct object *pr_pick_file(struct promises *p);
/* Its file opened, or the one held. */
struct vfs_file *pr_open(struct promises *p, struct object *o, int flags);
void pr_close(struct promises *p, struct object *o, struct vfs_file *f);

void pr_content_op(struct promises *p);
void pr_removal_op(struct promises *p);
void pr_names_op(struct promises *p);
void pr_sync_op(struct promises *p);

#endif
