/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The do-nothing server's files: a tree in memory, under one lock of the caller. */
#ifndef TESTS_BENCH_NULLTREE_H
#define TESTS_BENCH_NULLTREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

struct entry {
	struct entry *hash_next;
	struct entry *next, *prev; /* in the directory, by cookie */
	struct node *dir, *node;
	uint64_t cookie;
	size_t len;
	char name[];
};

struct node {
	uint64_t ino;
	uint32_t mode, uid, gid, rdev;
	uint32_t nlink;
	uint64_t nlookup;
	uint64_t size;
	struct timespec mtime, ctime;
	char *data; /* file content, or a symlink's target */
	uint64_t capacity;
	struct entry *first, *last; /* directory */
	struct entry *cursor;	    /* where the last listing stopped; NULL: unknown */
	uint64_t last_cookie;
};

/* NULL: no such node, or out of memory. */
struct node *node_get(uint64_t ino);
struct node *node_new(uint32_t mode, uint32_t uid, uint32_t gid);
void node_forget(struct node *n, uint64_t count);
void node_put_link(struct node *n);
/* False: out of memory. */
bool node_resize(struct node *n, uint64_t size);

struct entry *entry_find(struct node *dir, const char *name);
bool entry_add(struct node *dir, const char *name, struct node *n);
void entry_remove(struct entry *e);
/* First entry behind @cookie. */
struct entry *entry_after(struct node *dir, uint64_t cookie);

bool tree_init(void);
void tree_exit(void);
uint64_t tree_nodes(void);

#endif
