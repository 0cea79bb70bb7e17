/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Short sequences of operations, each cut at every command of the device, in the manner of ACE
 * (Mohan et al., OSDI 2018).
 *
 * A sequence is text: steps with ';' between them ("creat A/n; fsync A/n; rename A/n B/z").  Steps
 * are operations (sequence_step.c) and what makes them last: fsync, fdatasync, fsync of a
 * directory, sync.  It runs on a small file system that is always the same (sequence_base.c); then
 * everything is written that is still in memory, which promises nothing, and the power goes after
 * each command, in each way a crashdev knows.
 *
 * What must hold of an image is more than POSIX asks for (docs/DESIGN.md, rule 4):
 *  - the checker finds it clean, data verified, before and after a mount (after ruined sectors:
 * only after);
 *  - names, types, modes, owners, links, targets, attributes, and the times of all but regular
 * files are those after one step: none before what was promised, none that had not begun;
 *  - each block of a file is what it was at a step since its last fsync, fdatasync, O_SYNC or
 * O_DSYNC write, or sync; none older than a truncation of it or a rename of it over another, if the
 * names say that this has happened; its size likewise;
 *  - its times are those after a step since its last fsync, O_SYNC write or sync.
 */
#ifndef TESTS_SEQUENCE_H
#define TESTS_SEQUENCE_H

#include <stdint.h>
#include "tests/lib/crashdev.h"

#define SEQ_TEXT 400

struct seq_opts {
	uint32_t block_size;	     /* 0: 4096 */
	uint64_t seed;		     /* what chance decides in images */
	unsigned int kinds;	     /* 1 << enum crash_mode; 0: all */
	bool fua;		     /* the device knows writes that are durable by themselves */
	unsigned int lose_nth_flush; /* break the device: see crashdev_lose_flushes */
	unsigned int break_rules;    /* break the file system: TFS_BREAK_* */
};

struct seq_counts {
	uint64_t sequences, inapplicable, failures;
	uint64_t images[CRASH_MODES];
	uint64_t looked_at; /* of these; the others were like one that had been */
};

enum seq_verdict { SEQ_HELD, SEQ_INAPPLICABLE, SEQ_FAILED };

struct seq_lab;

/* After fx_init(). */
struct seq_lab *seq_lab_create(const struct seq_opts *o);
void seq_lab_destroy(struct seq_lab *l);
/*
 * @cut_from: of which step (from 1) the first command is cut; 0: from the mount on.
 * SEQ_INAPPLICABLE: a step fails in the state in which it finds the file system.
 */
enum seq_verdict seq_run(struct seq_lab *l, const char *text, unsigned int cut_from);
/* Forget images that were looked at: others than those of the next sequences. */
void seq_lab_forget(struct seq_lab *l);
/* Of the last that failed: where it was cut, and what was wrong. */
const char *seq_why(const struct seq_lab *l);
const struct seq_counts *seq_counts(const struct seq_lab *l);
const char *seq_kind_name(enum crash_mode mode);

#endif
