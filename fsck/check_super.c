/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Superblocks and journal. */
#include "core/block/bdev.h"
#include "fs/disk/geom.h"
#include "fs/disk/super.h"
#include "fs/journal/recover.h"
#include "fsck/check_priv.h"
#include "tallyfs/format.h"

static const char *const copy_name[] = { "primary superblock", "superblock copy 1",
					 "superblock copy 2" };

#define CUT "; it was being written when the power went, the next mount writes it anew"

/* A cut within a checkpoint leaves such things: no error (fs/journal/recover_super.c says
 * which). */
static bool by_a_cut(const struct check *c)
{
	return c->rec && c->rec->interrupted;
}

static void check_super_copy(struct check *c, int which)
{
	const struct tfs_geom *g = &c->fs->geom;
	const struct tfs_super *want = &c->fs->super;
	struct tfs_super s;
	char why[200];

	switch (tfs_super_look(c->fs->bdev, which, want, g, &s, why, sizeof(why))) {
	case TFS_SUPER_GOOD:
		break;
	case TFS_SUPER_BAD:
		check_report(c, by_a_cut(c) ? CHECK_NOTE : CHECK_ERROR, "super-bad", 0,
			     which ? g->super_copies[which - 1] : g->super_block, "%s: %s%s",
			     copy_name[which], why, by_a_cut(c) ? CUT : "");
		break;
	case TFS_SUPER_FOREIGN:
		check_report(c, CHECK_ERROR, "super-differs", 0, UINT64_MAX,
			     "%s describes another file system", copy_name[which]);
		break;
	case TFS_SUPER_OTHER_TXID:
		if (!c->res->journal_pending)
			check_report(c, CHECK_ERROR, "super-stale", 0, UINT64_MAX,
				     "%s is of transaction %llu, the one in use of %llu, and the "
				     "journal is empty",
				     copy_name[which], (unsigned long long)le64_get(s.txid),
				     (unsigned long long)le64_get(want->txid));
	}
}

static void check_journal(struct check *c)
{
	const struct tfs_recovery *r = c->rec;

	if (!r)
		return;
	c->res->journal_pending = r->pending;
	for (int i = 0; i < 2; i++)
		if (r->header_damaged[i])
			check_report(c, by_a_cut(c) ? CHECK_NOTE : CHECK_ERROR, "journal-header", 0,
				     UINT64_MAX, "journal header copy %d is damaged%s", i,
				     by_a_cut(c) ? CUT : "");
	if (r->lone_commits)
		check_report(c, CHECK_ERROR, "journal-commit", 0, UINT64_MAX,
			     "journal: %u transactions have lost one of their two commit records",
			     r->lone_commits);
	if (r->unreadable)
		check_report(c, CHECK_ERROR, "journal-unreadable", 0, UINT64_MAX,
			     "journal: %llu of its blocks can't be read",
			     (unsigned long long)r->unreadable);
	if (r->corrupt)
		check_report(c, CHECK_ERROR, "journal-corrupt", 0, UINT64_MAX, "journal: %s",
			     r->what);
	if (r->pending)
		check_report(
			c, CHECK_NOTE, "journal-pending", 0, UINT64_MAX,
			"journal pending: transactions %llu to %llu are replayed at the next mount",
			(unsigned long long)r->first_txid, (unsigned long long)r->last_txid);
}

void check_supers(struct check *c)
{
	check_journal(c);
	check_super_copy(c, 0);
	for (int i = 0; i < 2; i++)
		if (c->fs->geom.super_copies[i])
			check_super_copy(c, i + 1);
	if (le32_get(c->fs->super.state) & TFS_STATE_ERRORS)
		check_report(c, CHECK_NOTE, "errors-seen", 0, UINT64_MAX,
			     "the file system saw errors while it was mounted");
}
