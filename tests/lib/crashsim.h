/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The crash simulator: a random workload on a recording device, then power cuts.
 *
 * What must hold of the image a cut leaves, after any cut (docs/DESIGN.md, rule 4):
 *  - the checker finds it clean, before and after a mount has replayed the journal (only after,
 *    when the cut ruined the sectors being written, and with them perhaps one copy of two);
 *  - the namespace (names, types, modes, link counts, targets, attributes)
 *    is exactly what it was after some operation k: not earlier than the last
 *    one made durable before the cut, not later than the last begun;
 *  - every block of every file holds, whole, a version written since (or the
 *    one as of) the file's last fsync before the cut; its size likewise.
 */
#ifndef TESTS_CRASHSIM_H
#define TESTS_CRASHSIM_H

#include <stdint.h>

struct crashsim_opts {
	uint64_t seed;
	unsigned int ops;	     /* operations in the workload */
	unsigned int images;	     /* crash images to make and check */
	unsigned int lose_nth_flush; /* break the device: see crashdev_lose_flushes */
	unsigned int break_rules;    /* break the file system: TFS_BREAK_* */
	uint32_t block_size;	     /* 0: 4096 */
	unsigned int recut_every; /* every n-th image is cut again during its recovery; 0: none */
};

struct crashsim_result {
	unsigned int images, failures, events, recuts;
	char first_failure[512];
};

void crashsim_run(const struct crashsim_opts *o, struct crashsim_result *r);

#endif
