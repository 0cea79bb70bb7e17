/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the parts of sequence.h share: sequence_base.c (the file system it begins with),
 * sequence_step.c (steps), sequence_model.c (what may be left), sequence_walk.c (what is there),
 * sequence.c (runs and cuts).
 */
#ifndef TESTS_SEQUENCE_PRIV_H
#define TESTS_SEQUENCE_PRIV_H

#include "fs/state/fs.h"
#include "fs/vfs/vfs.h"
#include "tests/lib/sequence.h"

#define SEQ_STEPS 10	/* with the one that writes everything at the end */
#define SEQ_FILES 8	/* regular files in a sequence */
#define SEQ_BLOCKS 64	/* of a file */
#define SEQ_BYTES 65536 /* of a file */
#define SEQ_WHY 1200

/* ---- sequence_walk.c: all there is to see of a mounted file system ---- */

struct seq_stat {
	uint64_t ino, size;
	int64_t mtime, ctime; /* ns */
	unsigned int nr_blocks;
	uint64_t hash[SEQ_BLOCKS];
};

struct seq_state {
	char *names; /* a line for each name, sorted by path */
	unsigned int nr_files;
	struct seq_stat file[SEQ_FILES]; /* regular ones, once each */
	char wrong[SEQ_WHY];		 /* what can't be seen, and why; "" */
};

/* @content: read files, too. */
void seq_walk(struct seq_state *st, struct tfs_fs *fs, uint32_t block_size, bool content);
void seq_state_drop(struct seq_state *st);
uint64_t seq_block_hash(const uint8_t *block, uint32_t block_size);

/* ---- sequence_model.c: what may be left ---- */

/* A file after a step. */
struct seq_version {
	uint64_t size;
	int64_t mtime, ctime;
	uint64_t hash[SEQ_BLOCKS];
};

/* Sets of steps are bits. */
struct seq_file {
	uint64_t ino, size;
	uint8_t *data; /* SEQ_BYTES, now */
	bool changed;  /* in this step */
	struct seq_version at[SEQ_STEPS + 1];
	unsigned int synced; /* steps that promise its content */
	unsigned int timed;  /* steps that promise its times */
	unsigned int
		in_names; /* steps that come with a transaction of names: its times are in it */
	unsigned int installed;		    /* steps that put it in place of another */
	unsigned int truncated;		    /* steps that set its size, */
	uint64_t trunc_from[SEQ_STEPS + 1]; /* and cut it here; UINT64_MAX: made it longer */
};

struct seq_model {
	uint32_t block_size;
	unsigned int step; /* under way; 0: none yet */
	struct seq_file file[SEQ_FILES];
	unsigned int nr_files;
	/* of each step; [0] is what it began with */
	char *names[SEQ_STEPS + 1];
	uint64_t began[SEQ_STEPS + 1], ended[SEQ_STEPS + 1]; /* events */
	unsigned int promised[SEQ_STEPS + 1]; /* names of this step, once this one has ended */
};

void seq_model_start(struct seq_model *m, uint32_t block_size);
void seq_model_drop(struct seq_model *m);
/* The file, made in this step if it was not known. */
struct seq_file *seq_file(struct seq_model *m, uint64_t ino);
void seq_did_write(struct seq_file *f, uint64_t pos, const uint8_t *data, uint64_t len);
void seq_did_zero(struct seq_file *f, uint64_t pos, uint64_t len, bool keep_size);
void seq_did_truncate(struct seq_model *m, struct seq_file *f, uint64_t size);
/* fsync, or fdatasync. */
void seq_did_sync(struct seq_model *m, struct seq_file *f, bool datasync);
void seq_did_sync_names(struct seq_model *m);
void seq_did_sync_all(struct seq_model *m);
/* The step is over: this is what is there now.  False, with @why: not what the model says. */
bool seq_model_step(struct seq_model *m, const struct seq_state *now, uint64_t began,
		    uint64_t ended, char *why);
/* May a cut after so many events leave this?  Else @why (SEQ_WHY) says what may not be. */
bool seq_may_be(const struct seq_model *m, uint64_t events, const struct seq_state *left,
		char *why);

/* ---- sequence_step.c ---- */

/* 0; 1: it can't be done here; -1: text that is none.  @m NULL: nobody wants to know. */
int seq_step(struct tfs_fs *fs, struct seq_model *m, const char *text);

/* ---- sequence_base.c ---- */

/* A file system, unmounted.  @bytes of it come back. */
void seq_base_make(struct bdev *b, uint32_t block_size);
uint64_t seq_base_bytes(uint32_t block_size);

#endif
