/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Operations of a random test as data: what it did can be kept, run again, made shorter
 * (shrink.h), and written to a file and read back.
 */
#ifndef TESTS_OPLIST_H
#define TESTS_OPLIST_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define OP_ARGS 6

struct op {
	unsigned int kind; /* what each means is known to the test alone */
	int64_t arg[OP_ARGS];
};

struct oplist {
	struct op *ops;
	size_t nr, room;
};

/* Says in words what an operation does. */
typedef void oplist_describe_fn(const struct op *op, char *buf, size_t size);

/* These end the process where there is no memory. */
void oplist_add(struct oplist *l, const struct op *op);
void oplist_copy(struct oplist *to, const struct oplist *from);
void oplist_free(struct oplist *l);

/* One operation a line: numbers, and behind a # what they mean. */
void oplist_print(const struct oplist *l, FILE *out, oplist_describe_fn *describe);
/* 0, or -1 after a line on stderr. */
int oplist_save(const struct oplist *l, const char *path, oplist_describe_fn *describe);
int oplist_load(struct oplist *l, const char *path);

#endif
