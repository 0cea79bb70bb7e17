/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is looked at before anything is written: by a mount, and by fsck before it replays the
 * journal.  Whatever one of them refuses, the other does.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/block/bdev.h"
#include "fs/disk/geom.h"
#include "fs/disk/log_overlay.h"
#include "fs/disk/super.h"
#include "fs/journal/recover.h"
#include "tallyfs/format.h"
#include "fs/vfs/admit.h"

static int admit_device(const struct bdev *b, const struct tfs_super *s, const struct tfs_geom *g,
			bool write, char *why, size_t why_len)
{
	uint64_t unknown = le64_get(s->ro_compat) & ~TFS_RO_COMPAT_ALL;

	if (g->total_blocks << g->blkbits > b->size) {
		snprintf(why, why_len, "the file system has %llu bytes, the device only %llu",
			 (unsigned long long)(g->total_blocks << g->blkbits),
			 (unsigned long long)b->size);
		return -EUCLEAN;
	}
	if (g->block_size < b->align) {
		snprintf(why, why_len, "blocks of %u bytes on a device with sectors of %u",
			 g->block_size, b->align);
		return -EINVAL;
	}
	if (!write)
		return 0;
	if (unknown) {
		snprintf(why, why_len,
			 "features unknown to this program allow reading only (ro_compat %#llx)",
			 (unsigned long long)unknown);
		return -EPROTONOSUPPORT;
	}
	if (b->read_only) {
		snprintf(why, why_len, "the device is read-only (mount with ro)");
		return -EROFS;
	}
	return 0;
}

/* The log's superblock is newer than any on the device, and must be of the same file system. */
static int super_from_log(struct tfs_super *super, const struct tfs_geom *geom,
			  const struct tfs_recovery *r, char *why, size_t why_len)
{
	const struct tfs_super *s;
	struct tfs_geom g;
	uint32_t bytes;
	int err;

	s = r->overlay ? overlay_lookup(r->overlay, geom->super_block, &bytes) : NULL;
	if (!s)
		return 0;
	err = bytes == sizeof(*s) ? tfs_super_check(s, why, why_len) : -EUCLEAN;
	if (!err)
		err = tfs_super_geom(s, &g);
	if (err || memcmp(&g, geom, sizeof(g)) || le64_get(s->seed) != le64_get(super->seed)) {
		snprintf(why, why_len, "the journal holds a superblock that makes no sense");
		return -EUCLEAN;
	}
	memcpy(super, s, sizeof(*s));
	return 0;
}

/*
 * Counts that there can't be.  Whoever only reads does not need them; whoever writes would be
 * given space that is not there, and find out at the last moment, or free what others refer to.
 */
static int admit_counts(const struct tfs_super *s, const struct tfs_geom *g, char *why,
			size_t why_len)
{
	uint64_t room = g->total_blocks, free = le64_get(s->free_blocks),
		 data = le64_get(s->data_blocks);
	uint64_t nodes = le64_get(s->node_blocks);

	const char *what = NULL;

	if (free > room || data > room - free || nodes > room - free - data ||
	    le64_get(s->free_slots) > free / g->node_blocks)
		what = "the superblock counts more blocks than there are";
	else if (le64_get(s->shared_extents) && !le64_get(s->roots[TFS_TREE_REFS].addr))
		what = "files share blocks, and nothing counts how many";
	if (!what)
		return 0;
	snprintf(why, why_len, "%s; fsck.tallyfs -n says more, -o ro shows the files", what);
	return -EUCLEAN;
}

static int admit_log(struct bdev *b, struct tfs_super *super, const struct tfs_geom *geom,
		     bool write, struct tfs_recovery *r, char *why, size_t why_len)
{
	int err = journal_recover_scan(b, super, geom, r);

	if (err) {
		snprintf(why, why_len, "the journal can't be read: %s", strerror(-err));
		return err;
	}
	if (r->corrupt && (write || r->base_unknown))
		return 0;
	err = super_from_log(super, geom, r, why, why_len);
	/* what the program does not know may have come with the log's */
	return err ? err : admit_device(b, super, geom, write, why, why_len);
}

int tfs_admit(struct bdev *b, int which, unsigned int flags, struct tfs_super *super,
	      struct tfs_geom *geom, struct tfs_recovery *r, char *why, size_t why_len)
{
	bool write = flags & ADMIT_WRITE;
	int err = tfs_super_read(b, which, super, geom, why, why_len);

	if (!err)
		err = admit_device(b, super, geom, write, why, why_len);
	if (!err && !(flags & ADMIT_NO_LOG))
		err = admit_log(b, super, geom, write, r, why, why_len);
	if (!err && write && !r->corrupt)
		err = admit_counts(super, geom, why, why_len);
	return err;
}
