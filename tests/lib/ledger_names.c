/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <fcntl.h>
#include <stdio.h>
#include "tallyfs/format.h"
#include "tests/lib/ledger.h"

/* Long ones: they fill leaves. */
const char *ledger_name(char *buf, int k, bool link)
{
	sprintf(buf, "%c%d_%080d", link ? 'h' : 'f', k, k);
	return buf;
}

int ledger_dir(struct ledger *l, unsigned int dir, uint64_t *ino)
{
	struct vfs_attr a;
	int err;

	*ino = TFS_INO_ROOT;
	if (!dir)
		return vfs_ref(l->fs, TFS_INO_ROOT, 1);
	err = vfs_lookup(l->fs, TFS_INO_ROOT, "dir", &a);
	if (!err)
		*ino = a.ino;
	return err;
}

int ledger_lookup(struct ledger *l, unsigned int dir, const char *name, struct vfs_attr *a)
{
	uint64_t parent;
	int err = ledger_dir(l, dir, &parent);

	if (err)
		return err;
	err = vfs_lookup(l->fs, parent, name, a);
	vfs_forget(l->fs, parent, 1);
	return err;
}

struct vfs_file *ledger_open(struct ledger *l, int k, int flags)
{
	struct vfs_attr a;
	struct vfs_file *f = NULL;
	char name[128];
	int err = ledger_lookup(l, l->file[k].now->at.dir, ledger_name(name, k, false), &a);

	if (!err) {
		err = vfs_open(l->fs, a.ino, flags | (l->direct ? O_DIRECT : 0), &f);
		vfs_forget(l->fs, a.ino, 1);
	}
	if (err)
		ledger_done(l, k, "open", ledger_next(l, k), err);
	return err ? NULL : f;
}
