/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Recovery: what the log holds that is not at home, and bringing it there. */
#ifndef FS_JOURNAL_RECOVER_H
#define FS_JOURNAL_RECOVER_H

#include "core/block/bdev.h"
#include "fs/disk/geom.h"
#include "tallyfs/format.h"

struct tfs_recovery {
	bool pending;			/* the log holds transactions that are not at home */
	uint64_t first_txid, last_txid; /* of those */
	uint64_t epoch, seq;		/* of the header in force */
	uint64_t next_txid;		/* for the next one written */
	uint64_t tail, end; /* log blocks: where the first begins, and the next one will */
	bool header_damaged[2];
	bool super_damaged[3]; /* primary and copies that are bad, another file system's or, with
				* nothing pending, old
				*/
	/* the damaged copies of header and superblock are no more than what a cut within a
	 * checkpoint leaves */
	bool interrupted;
	uint64_t unreadable; /* log blocks */
	bool copy_lost; /* a copy of the superblock could not be written, the other and the primary
			   are good */
	unsigned int lone_commits; /* transactions before the last that have lost one of their two
				      commit records */
	/* corruption of something known durable: nothing of it is papered over */
	bool corrupt;
	bool base_unknown; /* and not even what the log builds on is known: reading makes no sense
			      either */
	uint64_t corrupt_txid;
	char what[200];
	struct tfs_overlay *overlay; /* final images by home block; NULL if nothing is pending */
};

/*
 * Scan the log and build the overlay in memory; writes nothing.  *super, as tfs_super_read found
 * it, becomes the one that goes with the log, should that be a copy.  0 or -ENOMEM; damage is told
 * in *r.
 */
int journal_recover_scan(struct bdev *b, struct tfs_super *super, const struct tfs_geom *g,
			 struct tfs_recovery *r);

/* Write the overlay home, mend superblocks, flush, and start a new epoch.  Idempotent under
 * crashes. */
int journal_recover_apply(struct bdev *b, const struct tfs_super *super, const struct tfs_geom *g,
			  struct tfs_recovery *r);
void journal_recovery_free(struct tfs_recovery *r);

/* An empty journal for mkfs: both headers, epoch 1. */
int journal_format(struct bdev *b, const struct tfs_super *super, const struct tfs_geom *g);

#endif
