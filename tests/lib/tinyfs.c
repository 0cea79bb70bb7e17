/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A small file system in memory. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/block/bdev.h"
#include "fs/alloc/alloc.h"
#include "fs/disk/geom.h"
#include "fs/journal/trans.h"
#include "fs/state/fs.h"
#include "fs/vfs/fs_open.h"
#include "fs/vfs/mkfs.h"
#include "tallyfs/format.h"

#include "tests/lib/tinyfs.h"

static void must(int err, const char *what, const char *why)
{
	if (!err)
		return;
	fprintf(stderr, "tinyfs: %s: %s (%s)\n", what, strerror(-err), why);
	abort();
}

struct tfs_format_opts tinyfs_opts(void)
{
	return (struct tfs_format_opts){ .blocks_per_group = 256, .test_seed = 7 };
}

void tinyfs_format(struct bdev *b, const struct tfs_format_opts *o)
{
	struct tfs_super s;
	struct tfs_geom g;
	char why[200] = "";

	must(tfs_format_plan(b, o, &s, &g, why, sizeof(why)), "plan", why);
	must(tfs_format_write(b, o, &s, &g), "format", "");
}

struct tfs_fs *tinyfs_open(struct bdev *b)
{
	struct tfs_mount_opts o = { .no_threads = true };
	struct tfs_fs *fs;
	char why[200] = "";

	must(tfs_open(b, &o, &fs, why, sizeof(why)), "open", why);
	return fs;
}

struct tfs_fs *tinyfs_make(uint64_t bytes, const struct tfs_format_opts *o)
{
	struct bdev *b = bdev_mem_create(bytes);

	must(b ? 0 : -12, "device", "");
	tinyfs_format(b, o);
	return tinyfs_open(b);
}

struct tfs_fs *tinyfs_reopen(struct tfs_fs *fs)
{
	struct bdev *b = fs->bdev;

	must(tfs_close(fs), "close", "");
	return tinyfs_open(b);
}

void tinyfs_drop(struct tfs_fs *fs)
{
	struct bdev *b = fs->bdev;

	must(tfs_close(fs), "close", "");
	bdev_close(b);
}

int tinyfs_write(struct tfs_fs *fs, int (*fn)(struct tfs_trans *t, void *arg), void *arg)
{
	return TRANS_WRITE(t, fs, TRANS_CREDITS(fs), fn(t, arg));
}

int tinyfs_read(struct tfs_fs *fs, int (*fn)(struct tfs_trans *t, void *arg), void *arg)
{
	return TRANS_READ(t, fs, fn(t, arg));
}

int tinyfs_do_change(struct tfs_trans *t, void *change)
{
	struct tinyfs_change *c = change;
	int err = 0;

	if (c->add_n)
		err = alloc_prefault(t, c->add, c->add_n);
	if (!err && c->del_n)
		err = alloc_prefault(t, c->del, c->del_n);
	if (!err && c->add_n)
		err = alloc_commit(t, c->add, c->add_n);
	if (!err && c->del_n)
		err = alloc_free(t, c->del, c->del_n);
	if (!err) {
		t->fs->cnt.data_blocks += c->add_n - c->del_n;
		t->fs->cnt.nr_extents += !!c->add_n - (uint64_t) !!c->del_n;
	}
	return err;
}
