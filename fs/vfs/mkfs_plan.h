/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Planning a file system: what mkfs was asked for, and what comes of it on this device. */
#ifndef FS_VFS_MKFS_PLAN_H
#define FS_VFS_MKFS_PLAN_H

#include "core/block/bdev.h"
#include "fs/disk/geom.h"
#include "tallyfs/format.h"

#define TFS_FORMAT_TXID 1 /* what mkfs writes is of this transaction */

struct tfs_format_opts {
	uint32_t block_size, node_size; /* 0: defaults */
	uint32_t blocks_per_group;	/* 0: 8 * block_size; smaller for tests */
	enum tfs_guard guard;		/* 0: xxh3 */
	uint64_t journal_bytes;		/* 0: by size */
	uint8_t uuid[16];		/* all zero: random */
	char label[TFS_LABEL_MAX + 1];
	uint32_t root_uid, root_gid;
	uint64_t size;	    /* bytes; 0: the device's */
	uint64_t test_seed; /* not 0: deterministic seed, hash key, uuid and times (tests) */
};

/*
 * Check the options against the device and fill *super and *geom.  -EINVAL
 * with *why for people.
 */
int tfs_format_plan(struct bdev *b, const struct tfs_format_opts *o, struct tfs_super *super,
		    struct tfs_geom *geom, char *why, size_t why_len);

#endif
