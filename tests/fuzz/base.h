/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Small file systems with a bit of everything in them, made once a process: what inputs change. */
#ifndef TESTS_FUZZ_BASE_H
#define TESTS_FUZZ_BASE_H

#include "core/block/bdev.h"
#include "tests/lib/seal.h"

#define BASE_NODES 128
#define BASE_DATA 256
#define BASE_COMMITS 32

struct base {
	struct bdev *dev; /* of tests/lib/undodev.h */
	struct seal seal;
	bool pending; /* the power was cut: the log is not empty, and there are orphans */
	uint64_t next_ino;
	/* Blocks: tree nodes; data; log blocks with commit records. */
	uint64_t node[BASE_NODES], data[BASE_DATA], commit[BASE_COMMITS];
	unsigned int nr_nodes, nr_data, nr_commits;
};

/* Which sort: 4 KiB and 1 KiB blocks, with the log empty; the same with guards of CRC-32 and the
 * power cut. */
#define BASES 4
/* As it was when it was made, whatever the last input did. */
struct base *base_get(unsigned int which);

#endif
