// SPDX-License-Identifier: GPL-2.0-or-later
/* Superblocks and journal. */
#include "fsck/check_priv.h"

static const char *const copy_name[] = { "primary superblock", "superblock copy 1", "superblock copy 2" };

/* Everything up to the first changing field must be the same in all copies. */
static bool same_identity(const struct tfs_super *a, const struct tfs_super *b)
{
	size_t from = offsetof(struct tfs_super, version), to = offsetof(struct tfs_super, txid);

	return !memcmp((const char *)a + from, (const char *)b + from, to - from);
}

static void check_super_copy(struct check *c, int which)
{
	struct tfs_super s;
	struct tfs_geom g;
	char why[200];
	int err = tfs_super_read(c->fs->bdev, which, &s, &g, why, sizeof(why));

	if (err) {
		check_report(c, CHECK_ERROR, "super-bad", 0,
			     which ? c->fs->geom.super_copies[which - 1] : c->fs->geom.super_block, "%s: %s",
			     copy_name[which], why);
		return;
	}
	if (!same_identity(&s, &c->fs->super))
		check_report(c, CHECK_ERROR, "super-differs", 0, UINT64_MAX, "%s describes another file system",
			     copy_name[which]);
	else if (!c->res->journal_pending && le64_get(s.txid) != le64_get(c->fs->super.txid))
		check_report(c, CHECK_ERROR, "super-stale", 0, UINT64_MAX,
			     "%s is of transaction %llu, the one in use of %llu, and the journal is empty",
			     copy_name[which], (unsigned long long)le64_get(s.txid),
			     (unsigned long long)le64_get(c->fs->super.txid));
}

static void check_journal(struct check *c)
{
	const struct tfs_recovery *r = c->rec;

	if (!r)
		return;
	c->res->journal_pending = r->pending;
	for (int i = 0; i < 2; i++)
		if (r->header_damaged[i])
			check_report(c, CHECK_ERROR, "journal-header", 0, UINT64_MAX,
				     "journal header copy %d is damaged", i);
	if (r->lone_commits)
		check_report(c, CHECK_ERROR, "journal-commit", 0, UINT64_MAX,
			     "journal: %u transactions have lost one of their two commit records", r->lone_commits);
	if (r->corrupt)
		check_report(c, CHECK_ERROR, "journal-corrupt", 0, UINT64_MAX, "journal: %s", r->what);
	if (r->pending)
		check_report(c, CHECK_NOTE, "journal-pending", 0, UINT64_MAX,
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
