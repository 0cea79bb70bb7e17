/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The superblock: reading and checking it, finding a copy when the first is bad. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "core/guard.h"
#include "fs/btree.h"
#include "fs/fs.h"

static uint64_t super_csum(const struct tfs_super *super)
{
	struct tfs_super copy = *super;

	copy.csum = le64_of(0);
	return guard_xxh3(&copy, sizeof(copy), 0);
}

void tfs_super_seal(struct tfs_super *super)
{
	super->csum = le64_of(super_csum(super));
}

int tfs_super_check(const struct tfs_super *s, char *why, size_t why_len)
{
	uint64_t unknown = le64_get(s->incompat) & ~TFS_INCOMPAT_ALL;
	int i;

	if (memcmp(s->magic, TFS_SUPER_MAGIC, sizeof(s->magic))) {
		snprintf(why, why_len, "not a tallyfs file system");
		return -EINVAL;
	}
	if (le64_get(s->csum) != super_csum(s)) {
		snprintf(why, why_len, "the superblock does not match its checksum");
		return -EUCLEAN;
	}
	if (le32_get(s->version) != TFS_VERSION) {
		snprintf(why, why_len, "format version %u is not known to this program (it knows %u)",
			 le32_get(s->version), TFS_VERSION);
		return -EPROTONOSUPPORT;
	}
	if (unknown) {
		snprintf(why, why_len, "features unknown to this program are in use (incompat %#llx)",
			 (unsigned long long)unknown);
		return -EPROTONOSUPPORT;
	}
	if (le32_get(s->guard) != TFS_GUARD_XXH3 && le32_get(s->guard) != TFS_GUARD_CRC32) {
		snprintf(why, why_len, "guard %u is not known to this program", le32_get(s->guard));
		return -EPROTONOSUPPORT;
	}
	for (i = 0; i < TFS_NR_TREES; i++) {
		if (le32_get(s->roots[i].level) < BTREE_MAX_DEPTH)
			continue;
		snprintf(why, why_len, "tree %d is said to have %u levels", i, le32_get(s->roots[i].level));
		return -EUCLEAN;
	}
	return 0;
}

/* The superblock at device byte @off, whole and with a geometry that makes sense. */
static int read_at(struct bdev *b, uint64_t off, struct tfs_super *super, struct tfs_geom *geom, char *why,
		   size_t why_len)
{
	void *buf;
	int err;

	if (b->size < TFS_SUPER_BYTES || off > b->size - TFS_SUPER_BYTES) {
		snprintf(why, why_len, "not a tallyfs file system (too small for a superblock)");
		return -EINVAL;
	}
	buf = tl_alloc_aligned(4096, TFS_SUPER_BYTES);
	if (!buf) {
		snprintf(why, why_len, "out of memory");
		return -ENOMEM;
	}
	err = bdev_read(b, buf, TFS_SUPER_BYTES, off);
	if (err) {
		snprintf(why, why_len, "the superblock can't be read: %s", strerror(-err));
	} else {
		memcpy(super, buf, sizeof(*super));
		err = tfs_super_check(super, why, why_len);
	}
	tl_free(buf);
	if (err)
		return err;
	err = tfs_super_geom(super, geom);
	if (err)
		snprintf(why, why_len, "the superblock's numbers make no sense");
	return err;
}

/* A copy at @off counts only if it says itself that one belongs there. */
static int read_copy(struct bdev *b, int which, uint64_t off, struct tfs_super *super, struct tfs_geom *geom)
{
	char why[128];
	int err = read_at(b, off, super, geom, why, sizeof(why));

	if (!err && (!geom->super_copies[which - 1] || geom->super_copies[which - 1] << geom->blkbits != off))
		err = -EUCLEAN;
	return err;
}

/*
 * Without the primary nobody knows the block size.  Try each, with groups of the
 * default size, and, for the last group's copy, a file system that fills the device.
 */
static int search_copy(struct bdev *b, int which, struct tfs_super *super, struct tfs_geom *geom)
{
	uint64_t bs, hdr, end;
	int err = -EUCLEAN;

	for (bs = TFS_MIN_BLOCK; bs <= TFS_MAX_BLOCK && err; bs *= 2) {
		hdr = max_t(uint64_t, bs, TFS_SUPER_BYTES);
		end = round_down_to(b->size, bs);
		if (which == 1)
			end = min_t(uint64_t, end, 8 * bs * bs);
		if (bs < b->align || end < TFS_SUPER_OFFSET + 2 * hdr)
			continue;
		err = read_copy(b, which, end - hdr, super, geom);
		/* The only group's end is copy 1, whichever way it was found. */
		if (err && which == 2)
			err = read_copy(b, 1, end - hdr, super, geom);
	}
	return err;
}

static int read_one(struct bdev *b, int which, struct tfs_super *super, struct tfs_geom *geom, char *why,
		    size_t why_len)
{
	int err;

	if (!which)
		return read_at(b, TFS_SUPER_OFFSET, super, geom, why, why_len);
	/* Where the primary says it is, if there is one. */
	err = read_at(b, TFS_SUPER_OFFSET, super, geom, why, why_len);
	if (!err && geom->super_copies[which - 1])
		err = read_copy(b, which, geom->super_copies[which - 1] << geom->blkbits, super, geom);
	else
		err = search_copy(b, which, super, geom);
	if (err)
		snprintf(why, why_len, "no good copy %d of the superblock was found", which);
	return err;
}

int tfs_super_read(struct bdev *b, int which, struct tfs_super *super, struct tfs_geom *geom, char *why, size_t why_len)
{
	char copy_why[128];
	int copy, err;

	if (which >= 0)
		return read_one(b, which, super, geom, why, why_len);
	err = read_one(b, 0, super, geom, why, why_len);
	/* A newer version's superblock is not damage. */
	if (!err || err == -EPROTONOSUPPORT || err == -ENOMEM)
		return err;
	for (copy = 1; copy <= 2; copy++) {
		if (read_one(b, copy, super, geom, copy_why, sizeof(copy_why)))
			continue;
		log_warn("%s: %s: using copy %d", b->name, why, copy);
		return 0;
	}
	return err;
}
