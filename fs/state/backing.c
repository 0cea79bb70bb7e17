/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Space from the host for what lies at fixed places. */
#include "fs/state/backing.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/block/bdev.h"
#include "core/lib/log.h"
#include "core/lib/util.h"
#include "fs/disk/geom.h"
#include "fs/state/fs.h"

#define ZEROS (1u << 20)

struct fixed {
	struct bdev *b;
	const struct tfs_geom *g;
	bool (*in_use)(void *arg, uint64_t group); /* NULL: each group is */
	void *arg;
	uint64_t missing; /* bytes */
	void *zeros;
};

/* @fn for each fixed stretch, in blocks, until it fails. */
static int each_fixed(struct fixed *f, uint64_t groups,
		      int (*fn)(struct fixed *f, uint64_t start, uint64_t n))
{
	const struct tfs_geom *g = f->g;
	int err = fn(f, g->super_block, g->group_hdr_blocks), i;
	uint64_t group, start, n;

	for (i = 0; i < 2 && !err; i++)
		if (g->super_copies[i])
			err = fn(f, g->super_copies[i], g->group_hdr_blocks);
	if (!err)
		err = fn(f, g->journal_start, g->journal_blocks);
	for (group = 0; group < groups && !err; group++) {
		start = tfs_group_header_block(g, group);
		n = tfs_group_first_free(g, group) - start;
		/* only what has no space yet is worth a look at the header */
		if (f->in_use && (bdev_all_backed(f->b, start << g->blkbits, n << g->blkbits) ||
				  !f->in_use(f->arg, group)))
			continue;
		err = fn(f, start, n);
	}
	return err;
}

static int provision(struct fixed *f, uint64_t start, uint64_t n)
{
	return bdev_provision(f->b, start << f->g->blkbits, n << f->g->blkbits);
}

static int count_missing(struct fixed *f, uint64_t start, uint64_t n)
{
	uint64_t at = start << f->g->blkbits, end = (start + n) << f->g->blkbits, from, to;

	for (; at < end && !bdev_backed(f->b, at, end, &from, &to); at = to)
		f->missing += from - at;
	return 0;
}

static int write_zeros(struct fixed *f, uint64_t start, uint64_t n)
{
	uint64_t at = start << f->g->blkbits, end = (start + n) << f->g->blkbits, len;
	int err = 0;

	for (; at < end && !err; at += len) {
		len = min_t(uint64_t, end - at, ZEROS);
		err = bdev_write(f->b, f->zeros, len, at);
	}
	return err;
}

static void say_full(struct fixed *f, uint64_t groups, char *why, size_t why_len)
{
	struct bdev_usage u;

	each_fixed(f, groups, count_missing);
	bdev_usage(f->b, &u);
	snprintf(why, why_len,
		 "the file system that the image lies on is full: %llu KiB free, %llu KiB more "
		 "needed for the "
		 "journal and other metadata; make room there",
		 (unsigned long long)u.avail >> 10, (unsigned long long)f->missing >> 10);
}

int backing_fixed(struct bdev *b, const struct tfs_geom *g, uint64_t groups,
		  bool (*in_use)(void *arg, uint64_t group), void *arg, char *why, size_t why_len)
{
	struct fixed f = { .b = b, .g = g, .in_use = in_use, .arg = arg };
	int err = each_fixed(&f, groups, provision);

	if (err == -ENOSPC)
		say_full(&f, groups, why, why_len);
	else if (err)
		snprintf(why, why_len,
			 "no space can be had from the file system that the image lies on: %s",
			 strerror(-err));
	return err;
}

int backing_zero_fixed(struct bdev *b, const struct tfs_geom *g, uint64_t groups)
{
	struct fixed f = { .b = b, .g = g, .zeros = tl_alloc_aligned(4096, ZEROS) };
	int err;

	if (!f.zeros)
		return -ENOMEM;
	memset(f.zeros, 0, ZEROS);
	err = each_fixed(&f, groups, write_zeros);
	tl_free(f.zeros);
	return err;
}

int backing_group(struct bdev *b, const struct tfs_geom *g, uint64_t group)
{
	struct fixed f = { .b = b, .g = g };
	uint64_t start = tfs_group_header_block(g, group);

	return provision(&f, start, tfs_group_first_free(g, group) - start);
}

static struct ratelimit limit = RATELIMIT_INIT;

void backing_refused(struct tfs_fs *fs)
{
	unsigned int held;

	if (!atomic_exchange(&fs->host_full, true) && ratelimit_ok(&limit, &held))
		log_warn("%s: the file system that it lies on is full: make room there; until then "
			 "there is no space "
			 "here either, and what could not be written waits for it (then: tallyctl "
			 "sync)",
			 fs->bdev->name);
}

void backing_given(struct tfs_fs *fs)
{
	unsigned int held;

	if (atomic_load(&fs->host_full) && atomic_exchange(&fs->host_full, false) &&
	    ratelimit_ok(&limit, &held))
		log_info("%s: the file system that it lies on has room again", fs->bdev->name);
}
