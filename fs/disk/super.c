/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The superblock: reading and checking it, finding a copy when the first is bad. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "core/block/bdev.h"
#include "core/block/guard.h"
#include "core/lib/log.h"
#include "core/lib/util.h"
#include "fs/disk/btree_check.h"
#include "fs/disk/geom.h"
#include "fs/disk/super.h"
#include "tallyfs/format.h"

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
		snprintf(why, why_len,
			 "format version %u is not known to this program (it knows %u)",
			 le32_get(s->version), TFS_VERSION);
		return -EPROTONOSUPPORT;
	}
	if (unknown) {
		snprintf(why, why_len,
			 "features unknown to this program are in use (incompat %#llx)",
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
		snprintf(why, why_len, "tree %d is said to have %u levels", i,
			 le32_get(s->roots[i].level));
		return -EUCLEAN;
	}
	return 0;
}

int tfs_super_read_at(struct bdev *b, uint64_t off, struct tfs_super *super, struct tfs_geom *geom,
		      char *why, size_t why_len)
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

/* Copy @which of the file system that the primary, or what there is instead, tells of. */
static int read_copy(struct bdev *b, int which, struct tfs_super *super, struct tfs_geom *geom,
		     char *why, size_t why_len)
{
	enum tfs_super_fault fault = TFS_SUPER_BAD;
	struct tfs_super known;
	char find_why[128];
	int err = tfs_super_read_at(b, TFS_SUPER_OFFSET, &known, geom, why, why_len);

	if (err)
		err = tfs_super_find_copy(b, &known, geom, find_why, sizeof(find_why));
	if (!err && geom->super_copies[which - 1])
		fault = tfs_super_look(b, which, &known, geom, super, find_why, sizeof(find_why));
	if (fault == TFS_SUPER_GOOD || fault == TFS_SUPER_OTHER_TXID)
		return 0;
	snprintf(why, why_len, "no good copy %d of the superblock was found", which);
	return err == -ENOMEM ? err : -EUCLEAN;
}

int tfs_super_read(struct bdev *b, int which, struct tfs_super *super, struct tfs_geom *geom,
		   char *why, size_t why_len)
{
	char copy_why[128];
	int err, copy_err;

	if (which > 0)
		return read_copy(b, which, super, geom, why, why_len);
	err = tfs_super_read_at(b, TFS_SUPER_OFFSET, super, geom, why, why_len);
	/* A newer version's superblock is not damage. */
	if (!which || !err || err == -EPROTONOSUPPORT || err == -ENOMEM)
		return err;
	copy_err = tfs_super_find_copy(b, super, geom, copy_why, sizeof(copy_why));
	if (!copy_err) {
		log_warn("%s: %s: using a copy", b->name, why);
		return 0;
	}
	if (err == -EINVAL && copy_err == -ENOENT)
		return err;
	snprintf(why + strlen(why), why_len - strlen(why), "; %s", copy_why);
	return copy_err == -ENOENT ? err : copy_err;
}
