/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The same operations on two file systems, and what is different afterwards.
 *
 *   differ_ops.c    what operations there are, chosen at random, said in words
 *   differ_path.c   the names they work on
 *   differ_names.c, differ_content.c, differ_attr.c   doing one
 *   differ_side.c   one file system: a process of its own, shut in there
 *   differ_tree.c   all there is on one, as text
 *   differ_meant.c  which differences are meant, and why
 *   differ.c        the comparison
 */
#ifndef TESTS_DIFFER_H
#define TESTS_DIFFER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include "tests/lib/oplist.h"

#define SLOTS 6 /* open files */
#define BATCH 256
#define TREE_MAX (4u << 20)
#define DIFFER_PATH 4200
#define MAX_POS 300000 /* files are not longer, unless an operation is to fail */
#define MAX_LEN 70000

/* The first argument of each is the user: 0 root, 1 and 2 others, 2 in the group of 1 as well. */
enum kind {
	OP_OPEN,	/* path, flags, mode, slot */
	OP_CLOSE,	/* slot */
	OP_MKDIR,	/* path, mode */
	OP_MKNOD,	/* path, mode with type, device */
	OP_SYMLINK,	/* which target, path */
	OP_LINK,	/* path, new path, flags */
	OP_LINKFD,	/* slot, new path */
	OP_UNLINK,	/* path */
	OP_RMDIR,	/* path */
	OP_RENAME,	/* path, new path, flags */
	OP_STAT,	/* path, flags */
	OP_FSTAT,	/* slot */
	OP_ACCESS,	/* path, mode, flags */
	OP_CHMOD,	/* path, mode */
	OP_FCHMOD,	/* slot, mode */
	OP_CHOWN,	/* path, uid, gid, flags */
	OP_FCHOWN,	/* slot, uid, gid */
	OP_TRUNCATE,	/* path, size */
	OP_FTRUNCATE,	/* slot, size */
	OP_FALLOCATE,	/* slot, mode, position, length */
	OP_PREAD,	/* slot, position, length */
	OP_PWRITE,	/* slot, position, length, pattern */
	OP_READ,	/* slot, length */
	OP_WRITE,	/* slot, length, pattern */
	OP_MMAP,	/* slot, position, length, pattern; 0: read */
	OP_LSEEK,	/* slot, offset, whence */
	OP_COPY,	/* slot, position, slot, position, length */
	OP_READLINK,	/* path, size */
	OP_SETXATTR,	/* path, which name, which value, flags, of the link itself */
	OP_FSETXATTR,	/* slot, which name, which value, flags */
	OP_GETXATTR,	/* path, which name, size, of the link itself */
	OP_LISTXATTR,	/* path, size, of the link itself */
	OP_REMOVEXATTR, /* path, which name, of the link itself */
	OP_UTIMES,	/* path, which atime, which mtime, flags */
	OP_FUTIMES,	/* slot, which atime, which mtime */
	OP_LIST,	/* path */
	OP_FSYNC,	/* slot, of the data alone */
	OP_STATFS,	/* path */
	OP_UMASK,	/* mask */
	OP_KINDS
};

/* What an operation gave. */
struct result {
	int64_t ret;	/* or -errno */
	uint64_t hash;	/* of all else that it gave */
	char text[160]; /* the beginning of that, for people */
};

/* Of all that was said so far, as FNV-1a does it. */
void result_bytes(struct result *r, const void *data, size_t len);
void result_say(struct result *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* ---- differ_ops.c ---- */
void differ_choose(uint64_t *rng, struct op *op);
void differ_describe(const struct op *op, char *buf, size_t size);
const char *differ_kind(unsigned int kind);

/* ---- differ_path.c ---- */
int64_t differ_any_path(uint64_t *rng);
/* @buf: of DIFFER_PATH bytes. */
const char *differ_path(int64_t number, char *buf);
const char *differ_target(int64_t which);
const char *differ_xattr(int64_t which);
/* An attribute's value, of up to 65537 bytes. */
size_t differ_value(int64_t which, unsigned char *buf);
/* Times that a user sets, and which are compared: all others are from now, and only that is. */
struct timespec differ_time(int64_t which);
bool differ_is_now(const struct timespec *t);
#define TARGETS 10
#define XATTRS 12
#define VALUES 16
#define TIMES 8

/* ---- doing one, on the file system that is the process's root ---- */
extern int differ_slots[SLOTS];
void differ_do_name(const struct op *op, struct result *r);
void differ_do_content(const struct op *op, struct result *r);
void differ_do_attr(const struct op *op, struct result *r);
void differ_say_stat(const struct stat *st, struct result *r);

/* ---- differ_tree.c ---- */
/* Everything that a program can see; a line for each object. */
void differ_tree(char *buf, size_t size);
/* Remove everything; 0 or negative errno. */
int differ_wipe(void);

/* ---- differ_side.c ---- */
struct shared {
	struct op ops[BATCH];
	size_t nr;
	struct result results[2][BATCH];
	char tree[2][TREE_MAX];
};
struct side {
	int pid, to, from;
	const char *top;
};
enum { SIDE_RUN = 'r', SIDE_TREE = 't', SIDE_WIPE = 'w' };
/* Start the process of side @which in @top. */
void side_start(struct side *s, struct shared *sh, int which, const char *top);
/* Both at once.  0, or -1 after a line on stderr: one ended, stands still or could not. */
int sides_do(struct side s[2], char what);
void sides_end(struct side s[2]);

/* ---- differ_meant.c ---- */
/* What file system @theirs is: XFS has more ways of its own. */
void differ_meet(const char *theirs);
/* Not what is known to leave different things behind. */
void differ_avoid(struct op *op);
/* Is this difference meant?  Counted. */
bool differ_meant(const struct op *op, const struct result *ours, const struct result *theirs);
void differ_print_meant(FILE *out);

#endif
