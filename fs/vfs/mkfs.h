/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Making a file system (mkfs and tests). */
#ifndef FS_VFS_MKFS_H
#define FS_VFS_MKFS_H

#include "core/block/bdev.h"
#include "fs/disk/geom.h"
#include "tallyfs/format.h"

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

/* Make sure that nothing takes the device for a tallyfs, neither an old one nor the planned one.  0
 * or -errno. */
int tfs_format_erase(struct bdev *b, const struct tfs_geom *geom);

/* Write what was planned.  The old superblocks are destroyed first and the new primary is written
 * last. */
int tfs_format_write(struct bdev *b, const struct tfs_format_opts *o, const struct tfs_super *super,
		     const struct tfs_geom *geom);

#endif
