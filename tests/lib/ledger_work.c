/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>
#include "core/lib/util.h"
#include "fs/journal/journal.h"
#include "tallyfs/format.h"
#include "tests/lib/fixture.h"
#include "tests/lib/ledger.h"
#include "tests/lib/testclock.h"

const struct ledger_work ledger_works[] = {
	{ "sequential", 4, 14, 2, false, { ledger_append } },
	{ "overwrite", 4, 12, 2, false, { ledger_overwrite, ledger_write_block, ledger_append } },
	{ "whole", 4, 14, 2, false, { ledger_rewrite } },
	{ "direct", 4, 12, 2, true, { ledger_write_block, ledger_overwrite, ledger_append } },
	{ "clone",
	  4,
	  12,
	  2,
	  false,
	  { ledger_clone, ledger_clone, ledger_unshare, ledger_overwrite, ledger_unlink } },
	{ "names",
	  4,
	  16,
	  2,
	  false,
	  { ledger_rename, ledger_unlink, ledger_link, ledger_write_inline } },
	{ "attributes",
	  4,
	  14,
	  2,
	  false,
	  { ledger_set_attr, ledger_set_xattr, ledger_remove_xattr, ledger_fsync } },
	{ "holes",
	  4,
	  12,
	  2,
	  false,
	  { ledger_truncate, ledger_extend, ledger_punch, ledger_zero, ledger_allocate,
	    ledger_write_block } },
	{ "inline", 4, 20, 2, false, { ledger_write_inline } },
	{ "replace", 5, 8, 2, false, { ledger_replace, ledger_replace, ledger_fsync } },
	{ "journal", 24, 3, 6, false, { ledger_set_xattr, ledger_rename, ledger_append } },
	{ "checkpoints", 8, 4, 1, false, { ledger_append, ledger_rename, ledger_set_xattr } },
	{ "orphans",
	  5,
	  10,
	  2,
	  false,
	  { ledger_hold, ledger_hold, ledger_overwrite, ledger_truncate } },
	{ "trim", 5, 9, 2, false, { ledger_unlink, ledger_trim, ledger_overwrite } },
	{ "mixed",
	  4,
	  14,
	  2,
	  false,
	  { ledger_overwrite, ledger_clone, ledger_punch, ledger_rename, ledger_hold,
	    ledger_set_xattr, ledger_fsync, ledger_truncate, ledger_link, ledger_unlink,
	    ledger_replace, ledger_set_attr } },
};
const unsigned int ledger_nr_works = ARRAY_SIZE(ledger_works);

static void one_op(struct ledger *l, const struct ledger_work *work)
{
	int k = (int)ledger_pick(l, LEDGER_FILES);
	uint64_t nr = 0;

	l->now += 4000000;
	testclock_set(l->now);
	while (nr < ARRAY_SIZE(work->ops) && work->ops[nr])
		nr++;
	if (l->file[k].now->at.exists)
		work->ops[ledger_pick(l, nr)](l, k);
	else
		ledger_create(l, k);
}

void ledger_run(struct ledger *l, const struct ledger_work *work, unsigned int rounds)
{
	int err;

	l->direct = work->direct;
	for (unsigned int r = 0; r < rounds; r++) {
		for (unsigned int i = 0; i < work->per_round; i++)
			one_op(l, work);
		ledger_sync(l);
		/* not at the end: there the last transactions are in the log alone */
		if (!work->checkpoint || (r + 1) % work->checkpoint || r + 1 == rounds)
			continue;
		err = journal_checkpoint(l->fs);
		if (err)
			ledger_error(l, "checkpoint", err);
	}
}

void ledger_run_unsynced(struct ledger *l, const struct ledger_work *work)
{
	struct ledger_work w = *work;

	/* promises nothing: whoever cuts, cuts before it */
	for (unsigned int i = 0; i < ARRAY_SIZE(w.ops); i++)
		if (w.ops[i] == ledger_fsync)
			w.ops[i] = ledger_append;
	l->direct = w.direct;
	for (unsigned int i = 0; i < w.per_round; i++)
		one_op(l, &w);
	vfs_sync(l->fs);
	journal_checkpoint(l->fs);
}

void ledger_prepare(struct ledger *l, struct bdev *mem, const struct ledger_work *work)
{
	static const struct ledger_work first = {
		"first", 0,	14,
		1,	 false, { ledger_overwrite, ledger_write_inline, ledger_set_xattr }
	};
	struct vfs_attr a;

	l->dev = mem;
	FX_OK(ledger_mount(l));
	FX_OK(vfs_mkdir(l->fs, TFS_INO_ROOT, "dir", 0755, &fx_root, &a));
	vfs_forget(l->fs, a.ino, 1);
	ledger_run(l, &first, 6);
	ledger_run(l, work, 2);
	ledger_unmount(l);
	FX_IS(l->errors, 0);
	FX_IS(l->wrong, 0);
}
