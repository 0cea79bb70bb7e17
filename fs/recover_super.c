/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which superblock goes with the log, and mending the ones that do not.
 *
 * Each transaction holds the superblock, and a checkpoint writes it home before the header says that the log is
 * empty.  So with transactions pending the last of them has it; with none pending the one at home is exactly of the
 * transaction before the header's tail_txid.  A device that lost the write of the primary leaves one that is
 * valid, but older: its trees would lead into blocks that have become something else.
 */
#include <string.h>
#include "fs/journal_priv.h"
#include "fs/recover_priv.h"
#include "fs/super.h"

static const struct tfs_super *logged_super(const struct tfs_geom *g, const struct tfs_recovery *r)
{
	uint32_t bytes;
	const void *s = r->pending && r->overlay ? overlay_lookup(r->overlay, g->super_block, &bytes) : NULL;

	return s && bytes == sizeof(struct tfs_super) ? s : NULL;
}

/* @super is not of transaction @txid.  Is another one at home? */
static void find_matching(struct bdev *b, struct tfs_super *super, const struct tfs_geom *g, struct tfs_recovery *r,
			  uint64_t txid)
{
	struct tfs_super other;
	char why[128];
	int which;

	for (which = 0; which < 3; which++) {
		if (tfs_super_look(b, which, super, g, &other, why, sizeof(why)) != TFS_SUPER_OTHER_TXID ||
		    le64_get(other.txid) != txid)
			continue;
		log_warn("%s: the superblock is of transaction %llu, but the journal goes on behind %llu: using a copy",
			 b->name, (unsigned long long)le64_get(super->txid), (unsigned long long)txid);
		*super = other;
		return;
	}
	r->base_unknown = true;
	recovery_corrupt(r, le64_get(super->txid) + 1,
			 "it goes on behind transaction %llu, but no superblock is of that one (the newest is of %llu)",
			 (unsigned long long)txid, (unsigned long long)le64_get(super->txid));
}

void recovery_judge_supers(struct bdev *b, struct tfs_super *super, const struct tfs_geom *g, struct tfs_recovery *r,
			   uint64_t tail_txid)
{
	const struct tfs_super *logged = logged_super(g, r);
	struct tfs_super found;
	char why[128];
	int which;

	if (r->corrupt)
		return;
	if (!r->pending && le64_get(super->txid) != tail_txid - 1)
		find_matching(b, super, g, r, tail_txid - 1);
	else if (r->pending && (!logged || le64_get(logged->txid) != r->last_txid))
		recovery_corrupt(r, r->last_txid, "transaction %llu came without the superblock",
				 (unsigned long long)r->last_txid);
	for (which = 0; which < 3 && !r->corrupt; which++) {
		switch (tfs_super_look(b, which, super, g, &found, why, sizeof(why))) {
		case TFS_SUPER_GOOD:
			break;
		case TFS_SUPER_OTHER_TXID: /* what is pending comes with one for all places */
			r->super_damaged[which] = !r->pending;
			break;
		case TFS_SUPER_BAD:
		case TFS_SUPER_FOREIGN:
			r->super_damaged[which] = true;
		}
	}
}

int recovery_mend_primary(struct bdev *b, const struct tfs_super *super, const struct tfs_geom *g,
			  const struct tfs_recovery *r)
{
	const struct tfs_super *logged = logged_super(g, r);

	return r->super_damaged[0] ? tfs_super_put(b, 0, logged ? logged : super, g) : 0;
}

int recovery_mend_copies(struct bdev *b, const struct tfs_super *super, const struct tfs_geom *g,
			 const struct tfs_recovery *r)
{
	int which, err = 0;

	for (which = 1; which < 3 && !err; which++)
		if (r->super_damaged[which] && !logged_super(g, r))
			err = tfs_super_put(b, which, super, g);
	return err;
}
