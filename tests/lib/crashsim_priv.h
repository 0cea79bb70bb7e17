/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the parts of the crash simulator share: crashsim.c (model, cuts, checks),
 * crashsim_workload.c (the workload). */
#ifndef TESTS_CRASHSIM_PRIV_H
#define TESTS_CRASHSIM_PRIV_H

#include "fs/state/fs.h"
#include "fs/vfs/vfs.h"
#include "tests/lib/crashdev.h"
#include "tests/lib/crashsim.h"

#define MAX_BLOCKS 80 /* of a file */
#define MAX_FILES 400 /* inodes ever made in a run */
#define NR_HELD 3     /* files kept open, named or not */
#define MAX_ATTR 9000
#define NR_DIRS 4

/* A state of one block: from operation @op on it holds content with this hash. */
struct version {
	uint32_t op;
	uint64_t hash;
};

struct mblock {
	struct version *v;
	unsigned int nr;
};

/* A regular file, by inode number (never used twice). */
struct mfile {
	uint64_t ino, size;
	uint32_t made; /* operation that created it */
	uint8_t *data; /* MAX_BLOCKS blocks, current content */
	struct mblock block[MAX_BLOCKS];
	struct version *sizes; /* hash = size */
	unsigned int nr_sizes;
	struct version *syncs; /* op = all operations up to here are durable, hash = events recorded
				  by then */
	unsigned int nr_syncs;
};

struct sim {
	const struct crashsim_opts *o;
	struct crashsim_result *r;
	struct crashdev *cd;
	struct tfs_fs *fs;
	uint64_t rng;
	uint32_t bs;
	uint64_t image_bytes;
	uint64_t zero_hash;
	struct mfile file[MAX_FILES];
	unsigned int nr_files;
	uint64_t dir[NR_DIRS]; /* inode numbers, 0: none */
	struct {
		struct vfs_file *f;
		uint64_t ino;
	} held[NR_HELD];
	/* per operation: events when it began, namespace after it */
	uint64_t *began, *space;
	uint32_t op;
	struct version *syncs; /* global: op, events */
	unsigned int nr_syncs;
};

/* NULL ends the run. */
void *sim_must(void *p);
void sim_fail(struct sim *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

struct mfile *sim_find_file(struct sim *s, uint64_t ino);
struct mfile *sim_new_file(struct sim *s, uint64_t ino);
/* Blocks touching [from, to) have new content as of this operation. */
void sim_file_changed(struct sim *s, struct mfile *f, uint64_t from, uint64_t to);
/* All content and all names up to this operation are durable from now on. */
void sim_all_synced(struct sim *s);
/* Its content is, and, as one journal holds everything in order, all names up to its making. */
void sim_file_synced(struct sim *s, struct mfile *f);
/* Names, attributes and all of the mounted file system as one number.  @file is called for each
 * regular file. */
int sim_namespace_hash(struct sim *s, struct tfs_fs *fs, uint64_t *hash,
		       void (*file)(struct sim *s, struct tfs_fs *fs, const struct vfs_attr *a));

/* ---- crashsim_workload.c ---- */
/* Operations 1 to o->ops on the mounted s->fs; all files are closed at the end. */
void sim_workload(struct sim *s);

#endif
