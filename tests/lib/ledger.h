/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a file system has been told, and what it has answered: two dozen files in two directories,
 * with content, size, mode, times, a second link and an extended attribute, and of each every
 * version that may be there.  Operations change the file system and, if it took them, the ledger;
 * judging reads everything and holds it against the ledger.
 *
 * After an operation that succeeded the mounted file system must show just that.  After a power cut
 * it may also show any version since the last sync that succeeded, byte by byte.  An operation that
 * failed may have happened in part: then both are right.  Errors are counted, wrong answers are
 * noted: other bytes, another attribute, a name that is missing or should not be there, an errno
 * that nobody expects of a bad device.
 *
 * No operation ends the test, but for lack of memory.
 */
#ifndef TESTS_LEDGER_H
#define TESTS_LEDGER_H

#include <stdbool.h>
#include <stdint.h>
#include "core/block/bdev.h"
#include "fs/state/fs.h"
#include "fs/vfs/vfs.h"

#define LEDGER_FILES 24
#define LEDGER_BYTES (40u << 10) /* longest file */
#define LEDGER_FILL 70		 /* files of ledger_fill(), each of */
#define LEDGER_FILL_BYTES 50000u
#define LEDGER_XATTR_MAX 3000

struct ledger_place {
	bool exists, linked;
	unsigned int dir; /* 0: the root, 1: the other one */
};

struct ledger_version {
	struct ledger_version *older;
	struct ledger_place at;
	uint32_t mode, uid;
	struct timespec mtime; /* 0: not known */
	uint64_t size;
	uint64_t xattr_len, xattr_tag; /* 0: none */
	uint8_t data[LEDGER_BYTES];    /* zeros from size on */
};

struct ledger_file {
	struct ledger_version *now; /* never NULL */
	bool unsure; /* an operation failed: the older ones may be there, though nothing was cut */
	struct vfs_file *held; /* unlinked and still open */
	struct ledger_version *held_version;
};

struct ledger {
	struct bdev *dev;
	struct tfs_fs *fs; /* NULL: not mounted */
	uint64_t rng;
	int64_t now; /* nanoseconds: each operation has a time of its own (testclock.h) */
	bool direct; /* open with O_DIRECT */
	unsigned int errors, wrong;
	char first_error[160], first_wrong[160];
	unsigned int fill;	  /* files of ledger_fill() there are, or may be */
	bool filled[LEDGER_FILL]; /* and that it was told they are durable */
	struct ledger_file file[LEDGER_FILES];
};

/* ---- ledger.c ---- */
void ledger_init(struct ledger *l, uint64_t seed);
/* What it holds on disk, without what is mounted or open. */
void ledger_copy(struct ledger *to, const struct ledger *from);
void ledger_free(struct ledger *l);
/* 0 or -errno, which is no error yet.  Without threads, caches small. */
int ledger_mount(struct ledger *l);
void ledger_unmount(struct ledger *l);
void ledger_crash(struct ledger *l);
void ledger_error(struct ledger *l, const char *what, int64_t err);
void ledger_wrong(struct ledger *l, const char *what, int k, uint64_t at);
uint64_t ledger_pick(struct ledger *l, uint64_t n);
/* A copy of what file @k is now, to be changed, and then to be handed to ledger_done(). */
struct ledger_version *ledger_next(struct ledger *l, int k);
/* The operation that makes @v of file @k ended with @err (or bytes). */
bool ledger_done(struct ledger *l, int k, const char *what, struct ledger_version *v, int64_t err);
/* Of file @k nothing older can come back, but perhaps its place (@place false). */
void ledger_durable(struct ledger *l, int k, bool place);
/* Close what is unlinked and open. */
void ledger_drop_held(struct ledger *l, int k);
/* @v is what there is. */
void ledger_settle(struct ledger *l, int k, struct ledger_version *v);

/* ---- ledger_ops.c: on file @k ---- */
typedef void ledger_op(struct ledger *l, int k);
ledger_op ledger_create, ledger_append, ledger_overwrite, ledger_rewrite, ledger_write_block,
	ledger_write_inline, ledger_rename, ledger_link, ledger_unlink, ledger_replace, ledger_hold,
	ledger_truncate, ledger_extend, ledger_punch, ledger_zero, ledger_allocate, ledger_clone,
	ledger_unshare, ledger_set_attr, ledger_set_xattr, ledger_remove_xattr, ledger_fsync,
	ledger_trim;
void ledger_sync(struct ledger *l);
/* New files, until there is hardly room: blocks that look free but are not, become something
 * else. */
void ledger_fill(struct ledger *l);

/* ---- ledger_names.c ---- */
/* Of file @k, or of its second link. */
const char *ledger_name(char *buf, int k, bool link);
/* Holds a lookup reference.  0 or -errno. */
int ledger_dir(struct ledger *l, unsigned int dir, uint64_t *ino);
int ledger_lookup(struct ledger *l, unsigned int dir, const char *name, struct vfs_attr *a);
/* NULL: that is an error, and counted. */
struct vfs_file *ledger_open(struct ledger *l, int k, int flags);

/* ---- ledger_judge.c ---- */
/*
 * Reads all there is, past the caches.  @fresh: since the last time it was mounted anew, and what
 * is found is what there is from then on.
 */
void ledger_judge(struct ledger *l, bool fresh);

/* ---- ledger_work.c ---- */
struct ledger_work {
	const char *name;
	unsigned int rounds, per_round; /* each round ends with a sync */
	unsigned int checkpoint;	/* after each so many rounds, but the last; 0: never */
	bool direct;
	ledger_op *ops[12]; /* one at random */
};
extern const struct ledger_work ledger_works[];
extern const unsigned int ledger_nr_works;
void ledger_run(struct ledger *l, const struct ledger_work *work, unsigned int rounds);
/* A round more, synced and checkpointed, of which the ledger does not know that it is durable. */
void ledger_run_unsynced(struct ledger *l, const struct ledger_work *work);
/* An image with all kinds of files, as @work leaves them.  @l is unmounted and without errors. */
void ledger_prepare(struct ledger *l, struct bdev *mem, const struct ledger_work *work);

#endif
