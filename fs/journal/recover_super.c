/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which superblock goes with the log, and mending the ones that do not.
 *
 * Each transaction holds the superblock, and a checkpoint writes it home before the header says
 * that the log is empty.  So with transactions pending the last of them has it; with none pending
 * the one at home is exactly of the transaction before the header's tail_txid.  A device that lost
 * the write of the primary leaves one that is valid, but older: its trees would lead into blocks
 * that have become something else.
 */
#include <string.h>
#include "core/block/bdev.h"
#include "core/lib/log.h"
#include "fs/disk/geom.h"
#include "fs/disk/log_overlay.h"
#include "fs/disk/super.h"
#include "fs/journal/recover.h"
#include "fs/journal/recover_priv.h"
#include "tallyfs/format.h"

static const struct tfs_super *logged_super(const struct tfs_geom *g, const struct tfs_recovery *r)
{
	uint32_t bytes;
	const void *s = r->pending && r->overlay
				? overlay_lookup(r->overlay, g->super_block, &bytes)
				: NULL;

	return s && bytes == sizeof(struct tfs_super) ? s : NULL;
}

/* @super is not of transaction @txid.  Is another one at home? */
static void find_matching(struct bdev *b, struct tfs_super *super, const struct tfs_geom *g,
			  struct tfs_recovery *r, uint64_t txid)
{
	struct tfs_super other;
	char why[128];
	int which;

	for (which = 0; which < 3; which++) {
		if (tfs_super_look(b, which, super, g, &other, why, sizeof(why)) !=
			    TFS_SUPER_OTHER_TXID ||
		    le64_get(other.txid) != txid)
			continue;
		log_warn("%s: the superblock is of transaction %llu, but the journal goes on "
			 "behind %llu: using a copy",
			 b->name, (unsigned long long)le64_get(super->txid),
			 (unsigned long long)txid);
		*super = other;
		return;
	}
	r->base_unknown = true;
	recovery_corrupt(r, le64_get(super->txid) + 1,
			 "it goes on behind transaction %llu, but no superblock is of that one "
			 "(the newest is of %llu)",
			 (unsigned long long)txid, (unsigned long long)le64_get(super->txid));
}

/* What is in a superblock's place: of the last transaction, or an older one. */
enum place { PLACE_NONE, PLACE_LAST, PLACE_OLD, PLACE_BAD, PLACE_FOREIGN };

static enum place judge_place(struct bdev *b, int which, const struct tfs_super *super,
			      const struct tfs_geom *g, const struct tfs_recovery *r)
{
	struct tfs_super found;
	char why[128];

	if (which && !g->super_copies[which - 1])
		return PLACE_NONE;
	switch (tfs_super_look(b, which, super, g, &found, why, sizeof(why))) {
	case TFS_SUPER_BAD:
		return PLACE_BAD;
	case TFS_SUPER_FOREIGN:
		return PLACE_FOREIGN;
	case TFS_SUPER_GOOD:
	case TFS_SUPER_OTHER_TXID:
	default:
		return le64_get(found.txid) == r->last_txid ? PLACE_LAST : PLACE_OLD;
	}
}

/*
 * What a power cut can leave of the copies, in the order of a checkpoint and of a mount that does
 * it once more: what was being written is bad, the rest is whole.  All while the log is pending:
 *   - copies of the superblock bad, the primary not: they are written before it, and once more
 *     by each mount;
 *   - the primary bad, all copies of the log's last transaction;
 *   - one header bad: all superblocks were of the last transaction, and may since be as in the
 *     two above, but none of them old primaries.
 * With the log empty all of these are damage.  (The last header to be written could be bad then,
 * too, if the device ruins a whole sector; torn it can't be, for what is in it lies in one
 * sector.  Nobody could tell that from a header that has gone bad, and that must be told.)
 */
static bool cut_leaves(const struct tfs_recovery *r, const enum place is[3])
{
	bool copies_last = is[1] == PLACE_LAST && (is[2] == PLACE_LAST || is[2] == PLACE_NONE);

	if (!r->pending || is[0] == PLACE_FOREIGN || is[1] == PLACE_FOREIGN ||
	    is[2] == PLACE_FOREIGN)
		return false;
	if (is[0] == PLACE_BAD)
		return copies_last;
	return is[0] == PLACE_LAST || !(r->header_damaged[0] || r->header_damaged[1]);
}

void recovery_judge_supers(struct bdev *b, struct tfs_super *super, const struct tfs_geom *g,
			   struct tfs_recovery *r, uint64_t tail_txid)
{
	const struct tfs_super *logged = logged_super(g, r);
	enum place is[3];
	int which;

	if (r->corrupt)
		return;
	if (!r->pending && le64_get(super->txid) != tail_txid - 1)
		find_matching(b, super, g, r, tail_txid - 1);
	else if (r->pending && (!logged || le64_get(logged->txid) != r->last_txid))
		recovery_corrupt(r, r->last_txid, "transaction %llu came without the superblock",
				 (unsigned long long)r->last_txid);
	for (which = 0; which < 3 && !r->corrupt; which++) {
		is[which] = judge_place(b, which, super, g, r);
		/* what is pending comes with one for all places */
		r->super_damaged[which] =
			is[which] > PLACE_OLD || (is[which] == PLACE_OLD && !r->pending);
	}
	r->interrupted = !r->corrupt && cut_leaves(r, is);
}

int recovery_mend_primary(struct bdev *b, const struct tfs_super *super, const struct tfs_geom *g,
			  const struct tfs_recovery *r)
{
	const struct tfs_super *logged = logged_super(g, r);

	return r->super_damaged[0] ? tfs_super_put(b, 0, logged ? logged : super, g) : 0;
}

int recovery_mend_copies(struct bdev *b, const struct tfs_super *super, const struct tfs_geom *g,
			 struct tfs_recovery *r)
{
	unsigned int good = 0;
	int which, err, first_err = 0;

	if (logged_super(g, r))
		return 0;
	for (which = 1; which < 3; which++) {
		err = r->super_damaged[which] ? tfs_super_put(b, which, super, g) : 0;
		if (err)
			log_warn("%s: copy %d of the superblock is damaged and can't be written: "
				 "%s; the device may be "
				 "failing",
				 b->name, which, strerror(-err));
		first_err = first_err ? first_err : err;
		good += !err && g->super_copies[which - 1];
	}
	if (!good)
		return first_err;
	r->copy_lost |= first_err != 0;
	return 0;
}
