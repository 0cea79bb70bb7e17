/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/block/bdev.h"
#include "fs/btree/btree.h"
#include "fs/btree/btree_delete.h"
#include "fs/btree/btree_insert.h"
#include "fs/disk/btree_key.h"
#include "fs/disk/geom.h"
#include "fs/journal/trans.h"
#include "fs/vfs/fs_open.h"
#include "fs/vfs/mkfs.h"
#include "metafix.h"
#include "tallyfs/format.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define DEV_BYTES (8u << 20)
#define MAX_LEN 512

static void must(int err, const char *what, const char *why)
{
	if (!err)
		return;
	fprintf(stderr, "%s: %s (%s)\n", what, strerror(-err), why);
	abort();
}

void metafix_make(struct metafix *m)
{
	struct tfs_format_opts o = { .node_size = 4096,
				     .blocks_per_group = 256,
				     .journal_bytes = 1000 << 10,
				     .test_seed = 42 };
	struct tfs_super super;
	struct tfs_geom geom;

	memset(m, 0, sizeof(*m));
	m->opts.no_threads = true;
	m->dev = bdev_mem_create(DEV_BYTES);
	must(m->dev ? 0 : -ENOMEM, "device", "");
	must(tfs_format_plan(m->dev, &o, &super, &geom, m->why, sizeof(m->why)), "plan", m->why);
	must(tfs_format_write(m->dev, &o, &super, &geom), "format", "");
	must(metafix_open(m), "open", m->why);
}

int metafix_open(struct metafix *m)
{
	int err = tfs_open(m->dev, &m->opts, &m->fs, m->why, sizeof(m->why));

	if (err)
		m->fs = NULL;
	return err;
}

void metafix_crash(struct metafix *m)
{
	if (m->fs)
		tfs_close_nosave(m->fs);
	m->fs = NULL;
}

void metafix_close(struct metafix *m)
{
	must(tfs_close(m->fs), "close", "");
	m->fs = NULL;
}

void metafix_free(struct metafix *m)
{
	metafix_crash(m);
	bdev_close(m->dev);
}

struct bdev *metafix_copy(struct metafix *m)
{
	struct bdev *b = bdev_mem_create(m->dev->size);

	must(b ? 0 : -ENOMEM, "copy", "");
	memcpy(bdev_mem_data(b), bdev_mem_data(m->dev), m->dev->size);
	return b;
}

static struct tkey key_of(uint64_t n)
{
	return TKEY(1000 + n, TFS_KEY_SYMLINK, 0);
}

static int set(struct tfs_trans *t, uint64_t n, uint8_t fill, uint32_t len)
{
	struct tkey key = key_of(n);
	uint8_t data[MAX_LEN];
	int err;

	memset(data, fill, len);
	err = btree_prefault(t, TFS_TREE_FS, &key);
	return err ? err : btree_set(t, TFS_TREE_FS, &key, data, len);
}

int metafix_set(struct metafix *m, uint64_t n, uint8_t fill, uint32_t len)
{
	return TRANS_WRITE(t, m->fs, TRANS_CREDITS(m->fs), set(t, n, fill, len));
}

static int del(struct tfs_trans *t, uint64_t n)
{
	struct tkey key = key_of(n);
	int err = btree_prefault(t, TFS_TREE_FS, &key);

	return err ? err : btree_delete(t, TFS_TREE_FS, &key);
}

int metafix_delete(struct metafix *m, uint64_t n)
{
	return TRANS_WRITE(t, m->fs, TRANS_CREDITS(m->fs), del(t, n));
}

static int get(struct tfs_trans *t, uint64_t n)
{
	struct btree_path p = BTREE_PATH_INIT;
	struct tkey key = key_of(n);
	struct btree_item it;
	int err = btree_seek(t, TFS_TREE_FS, &key, BTREE_EQ, &p);
	uint32_t i;

	if (err)
		return err;
	btree_item(&p, &it);
	err = it.len ? *(const uint8_t *)it.data : 0;
	for (i = 0; i < it.len; i++)
		if (((const uint8_t *)it.data)[i] != err)
			err = -EBADMSG;
	btree_release(&p);
	return err;
}

int metafix_get(struct metafix *m, uint64_t n)
{
	return TRANS_READ(t, m->fs, get(t, n));
}
