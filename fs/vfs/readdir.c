/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Listing directories: entries are collected in one section by the dozen, so that a
 * batch is one consistent moment, and handed out with no lock held.
 */
#include <errno.h>
#include <dirent.h>
#include <string.h>
#include "core/lib/util.h"
#include "fs/inode/icache.h"
#include "fs/inode/iget.h"
#include "fs/inode/inode.h"
#include "fs/journal/trans.h"
#include "fs/names/dir.h"
#include "fs/state/fs.h"
#include "fs/vfs/vfs.h"

#define BATCH 64u
#define COOKIE_DOT 1u
#define COOKIE_DOTDOT 2u

static int collect(struct tfs_trans *t, uint64_t dir, uint64_t after, struct tfs_dirent *batch,
		   unsigned int *n)
{
	int err = 0;

	for (*n = 0; *n < BATCH && !err; ++*n) {
		err = dir_next(t, dir, after, &batch[*n]);
		if (err)
			break;
		after = batch[*n].cookie;
	}
	return err == -ENOENT ? 0 : err;
}

static bool give(vfs_fill_fn *fill, void *arg, uint64_t ino, uint64_t cookie, uint8_t type,
		 const char *name, size_t len)
{
	struct vfs_dirent de = {
		.ino = ino, .cookie = cookie, .type = type, .name = name, .len = len
	};

	return fill(arg, &de);
}

static int list(struct tfs_fs *fs, uint64_t dir, uint64_t after, vfs_fill_fn *fill, void *arg,
		struct tfs_dirent *batch)
{
	for (;;) {
		unsigned int n;
		int err;

		err = TRANS_READ(t, fs, collect(t, dir, after, batch, &n));
		if (err)
			return err;
		for (unsigned int k = 0; k < n; k++) {
			const struct tfs_dirent *de = &batch[k];

			if (!give(fill, arg, de->ino, de->cookie, de->type, de->name, de->len))
				return 0;
			after = de->cookie;
		}
		if (n < BATCH)
			return 0;
	}
}

int vfs_readdir(struct tfs_fs *fs, uint64_t dir, uint64_t after, vfs_fill_fn *fill, void *arg)
{
	struct tfs_dirent *batch;
	struct tfs_inode *i;
	uint64_t parent;
	int err = inode_get(fs, dir, &i);

	if (err)
		return err;
	err = inode_is_dir(i) ? 0 : -ENOTDIR;
	if (err || atomic_load(&i->unlinked)) {
		inode_put(i);
		return err; /* removed: no entries, not even "." */
	}
	inode_put(i);
	if (after < COOKIE_DOT && !give(fill, arg, dir, COOKIE_DOT, DT_DIR, ".", 1))
		return 0;
	if (after < COOKIE_DOTDOT) {
		err = vfs_parent(fs, dir, &parent);
		if (err == -ESTALE)
			return 0;
		if (err)
			return err;
		if (!give(fill, arg, parent, COOKIE_DOTDOT, DT_DIR, "..", 2))
			return 0;
		after = COOKIE_DOTDOT;
	}
	batch = tl_alloc(BATCH * sizeof(*batch));
	if (!batch)
		return -ENOMEM;
	err = list(fs, dir, after, fill, arg, batch);
	tl_free(batch);
	return err;
}
