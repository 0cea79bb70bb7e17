/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <string.h>
#include "fs/alloc/alloc.h"
#include "fs/btree/btree.h"
#include "fs/btree/btree_delete.h"
#include "fs/btree/btree_insert.h"
#include "fs/disk/btree_key.h"
#include "fs/vfs/fs_open.h"
#include "tallyfs/format.h"
#include "tests/lib/fixture_bare.h"

#define BARE_BYTES (8u << 20)
#define MAX_ITEM 512

struct tfs_format_opts fx_bare_opts(void)
{
	return (struct tfs_format_opts){ .blocks_per_group = 256, .test_seed = 7 };
}

static struct bdev *format_mem(uint64_t bytes, const struct tfs_format_opts *o)
{
	struct bdev *dev = bdev_mem_create(bytes);

	FX_CHECK(dev);
	fx_format_as(dev, o);
	return dev;
}

static void must_open(struct fixture *f)
{
	if (fx_bare_open(f))
		fx_die(__FILE__, __LINE__, f->why, 0);
}

struct tfs_fs *fx_fs_open(struct bdev *dev)
{
	struct fixture f = { .dev = dev, .opts = { .no_threads = true } };

	must_open(&f);
	return f.fs;
}

struct tfs_fs *fx_fs_create(uint64_t bytes, const struct tfs_format_opts *o)
{
	return fx_fs_open(format_mem(bytes, o));
}

struct tfs_fs *fx_fs_reopen(struct tfs_fs *fs)
{
	struct bdev *dev = fs->bdev;

	FX_OK(tfs_close(fs));
	return fx_fs_open(dev);
}

void fx_fs_destroy(struct tfs_fs *fs)
{
	struct bdev *dev = fs->bdev;

	FX_OK(tfs_close(fs));
	bdev_close(dev);
}

void fx_bare_create(struct fixture *f)
{
	struct tfs_format_opts o = { .node_size = 4096,
				     .blocks_per_group = 256,
				     .journal_bytes = 1000 << 10,
				     .test_seed = 42 };

	*f = (struct fixture){ .dev = format_mem(BARE_BYTES, &o), .opts = { .no_threads = true } };
	must_open(f);
}

int fx_bare_open(struct fixture *f)
{
	int err = tfs_open(f->dev, &f->opts, &f->fs, f->why, sizeof(f->why));

	if (err)
		f->fs = NULL;
	return err;
}

void fx_bare_crash(struct fixture *f)
{
	if (f->fs)
		tfs_close_nosave(f->fs);
	f->fs = NULL;
}

void fx_bare_close(struct fixture *f)
{
	FX_OK(tfs_close(f->fs));
	f->fs = NULL;
}

void fx_bare_destroy(struct fixture *f)
{
	fx_bare_crash(f);
	bdev_close(f->dev);
}

int fx_in_write(struct tfs_fs *fs, int (*fn)(struct tfs_trans *t, void *arg), void *arg)
{
	return TRANS_WRITE(t, fs, TRANS_CREDITS(fs), fn(t, arg));
}

int fx_in_read(struct tfs_fs *fs, int (*fn)(struct tfs_trans *t, void *arg), void *arg)
{
	return TRANS_READ(t, fs, fn(t, arg));
}

static struct tkey key_of(uint64_t n)
{
	return TKEY(1000 + n, TFS_KEY_SYMLINK, 0);
}

static int set(struct tfs_trans *t, uint64_t n, uint8_t fill, uint32_t len)
{
	struct tkey key = key_of(n);
	uint8_t data[MAX_ITEM];
	int err;

	memset(data, fill, len);
	err = btree_prefault(t, TFS_TREE_FS, &key);
	return err ? err : btree_set(t, TFS_TREE_FS, &key, data, len);
}

int fx_item_set(struct fixture *f, uint64_t n, uint8_t fill, uint32_t len)
{
	return TRANS_WRITE(t, f->fs, TRANS_CREDITS(f->fs), set(t, n, fill, len));
}

static int del(struct tfs_trans *t, uint64_t n)
{
	struct tkey key = key_of(n);
	int err = btree_prefault(t, TFS_TREE_FS, &key);

	return err ? err : btree_delete(t, TFS_TREE_FS, &key);
}

int fx_item_delete(struct fixture *f, uint64_t n)
{
	return TRANS_WRITE(t, f->fs, TRANS_CREDITS(f->fs), del(t, n));
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

int fx_item_get(struct fixture *f, uint64_t n)
{
	return TRANS_READ(t, f->fs, get(t, n));
}

int fx_change_data(struct tfs_trans *t, void *change)
{
	struct fx_data_change *c = change;
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
