/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fs/names/xattr.c, chunks.c: extended attributes: short and long values, replacing one kind by the
 * other, limits, hostile items.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>

#include "core/block/bdev.h"
#include "fs/btree/btree.h"
#include "fs/btree/btree_delete.h"
#include "fs/btree/btree_insert.h"
#include "fs/disk/btree_key.h"
#include "fs/journal/journal.h"
#include "fs/journal/trans.h"
#include "fs/names/dir.h"
#include "fs/names/xattr.h"
#include "fs/state/fs.h"
#include "fs/vfs/fs_open.h"
#include "fs/vfs/mkfs.h"
#include "tallyfs/format.h"
#include "tests/lib/section.h"
#include "tests/lib/fixture_bare.h"

#define INO 30u

static struct tfs_inode_item item;

static struct tfs_fs *make(uint32_t node_size)
{
	struct tfs_format_opts o = fx_bare_opts();

	memset(&item, 0, sizeof(item));
	o.node_size = node_size;
	o.journal_bytes = 4 << 20;
	o.blocks_per_group = 4096;
	return fx_fs_create(32 << 20, &o);
}

/* Byte i of a value with number @fill: no two positions near each other alike. */
static void fill_value(uint8_t *p, size_t len, unsigned int fill)
{
	size_t i;

	for (i = 0; i < len; i++)
		p[i] = (uint8_t)(i * 7 + i / 251 + fill);
}

static int set(struct tfs_fs *fs, const char *name, unsigned int fill, size_t len, int flags)
{
	static uint8_t value[TFS_XATTR_MAX + 1];

	fill_value(value, len, fill);
	return IN_WRITE_OF(fs, trans_max_credits(fs),
			   xattr_set(t, INO, &item, name, value, len, flags));
}

static void has(struct tfs_fs *fs, const char *name, unsigned int fill, size_t len)
{
	static uint8_t want[TFS_XATTR_MAX], value[TFS_XATTR_MAX];

	fill_value(want, len, fill);
	cr_assert_eq(IN_READ(fs, xattr_get(t, INO, name, NULL, 0)), (int)len, "%s", name);
	cr_assert_eq(IN_READ(fs, xattr_get(t, INO, name, value, sizeof(value))), (int)len, "%s",
		     name);
	cr_assert_eq(memcmp(value, want, len), 0, "%s", name);
	if (len > 1)
		cr_assert_eq(IN_READ(fs, xattr_get(t, INO, name, value, len - 1)), -ERANGE);
}

static int take(struct tfs_fs *fs, const char *name)
{
	return IN_WRITE_OF(fs, trans_max_credits(fs), xattr_remove(t, INO, name));
}

/* Items of the inode of one type. */
static int count_items(struct tfs_trans *t, uint8_t type)
{
	struct btree_path p = BTREE_PATH_INIT;
	struct btree_item it;
	int err, n = 0;

	for (err = btree_seek(t, TFS_TREE_FS, &TKEY(INO, type, 0), BTREE_GE, &p); !err;
	     err = btree_next(t, &p)) {
		btree_item(&p, &it);
		if (it.key.ino != INO || it.key.type != type)
			break;
		n++;
	}
	btree_release(&p);
	return err == -TRANS_RESTART ? err : n;
}

Test(xattr, every_length_replaces_every_other)
{
	static const size_t len[] = {
		0, 1, 200, 490, 2000, 4032, 4033, 8064, 20000, TFS_XATTR_MAX
	};
	static const uint32_t node_size[] = { 4096, 16384, 65536 };
	struct tfs_fs *fs;
	unsigned int n, i, j;

	for (n = 0; n < 3; n++) {
		fs = make(node_size[n]);
		cr_assert_eq(set(fs, "user.other", 99, 30000, 0), 0);
		for (i = 0; i < 10; i++) {
			for (j = 0; j < 10; j++) {
				cr_assert_eq(set(fs, "user.a", i, len[i], 0), 0);
				has(fs, "user.a", i, len[i]);
				cr_assert_eq(set(fs, "user.a", j + 50, len[j], XATTR_REPLACE), 0);
				has(fs, "user.a", j + 50, len[j]);
			}
		}
		fs = fx_fs_reopen(fs);
		has(fs, "user.a", 59, TFS_XATTR_MAX);
		has(fs, "user.other", 99, 30000);
		cr_assert_eq(take(fs, "user.a"), 0);
		cr_assert_eq(take(fs, "user.other"), 0);
		cr_assert_eq(IN_READ(fs, count_items(t, TFS_KEY_XATTR)), 0);
		cr_assert_eq(IN_READ(fs, count_items(t, TFS_KEY_XATTR_VALUE)), 0,
			     "no chunk is left behind");
		fx_fs_destroy(fs);
	}
}

Test(xattr, flags_and_limits)
{
	struct tfs_fs *fs = make(4096);
	char name[300];

	cr_assert_eq(set(fs, "user.a", 0, 3, XATTR_REPLACE), -ENODATA);
	cr_assert_eq(set(fs, "user.a", 0, 3, XATTR_CREATE), 0);
	cr_assert_eq(set(fs, "user.a", 0, 3, XATTR_CREATE), -EEXIST);
	cr_assert_eq(set(fs, "user.a", 0, TFS_XATTR_MAX + 1, 0), -E2BIG);
	cr_assert_eq(set(fs, "", 0, 3, 0), -ERANGE);
	cr_assert_eq(take(fs, "user.b"), -ENODATA);
	cr_assert_eq(IN_READ(fs, xattr_get(t, INO, "user.b", NULL, 0)), -ENODATA);
	memset(name, 'n', 299);
	name[299] = 0;
	cr_assert_eq(set(fs, name, 0, 3, 0), -ERANGE);
	name[255] = 0;
	cr_assert_eq(set(fs, name, 7, 1000, 0), 0);
	cr_assert_eq(set(fs, name, 8, 225, 0), 0);
	has(fs, name, 8, 225);
	fx_fs_destroy(fs);
}

Test(xattr, list)
{
	struct tfs_fs *fs = make(4096);
	char name[20], buf[4000];
	int len, at, i;
	bool seen[200] = { false };

	cr_assert_eq(IN_READ(fs, xattr_list(t, INO, buf, sizeof(buf))), 0);
	for (i = 0; i < 200; i++) {
		snprintf(name, sizeof(name), "user.n%d", i);
		cr_assert_eq(set(fs, name, (unsigned int)i, (size_t)i * 10, 0), 0);
	}
	len = IN_READ(fs, xattr_list(t, INO, NULL, 0));
	cr_assert_eq(len, 10 * 8 + 90 * 9 + 100 * 10);
	cr_assert_eq(IN_READ(fs, xattr_list(t, INO, buf, (size_t)len - 1)), -ERANGE);
	cr_assert_eq(IN_READ(fs, xattr_list(t, INO, buf, (size_t)len)), len);
	for (at = 0; at < len; at += (int)strlen(buf + at) + 1) {
		cr_assert_eq(sscanf(buf + at, "user.n%d", &i), 1);
		cr_assert_not(seen[i]);
		seen[i] = true;
		has(fs, buf + at, (unsigned int)i, (size_t)i * 10);
	}
	for (i = 0; i < 200; i++) {
		cr_assert(seen[i]);
		snprintf(name, sizeof(name), "user.n%d", i);
		cr_assert_eq(take(fs, name), 0);
	}
	cr_assert_eq(IN_READ(fs, xattr_list(t, INO, NULL, 0)), 0);
	cr_assert_eq(IN_READ(fs, count_items(t, TFS_KEY_XATTR_VALUE)), 0);
	fx_fs_destroy(fs);
}

/* An attribute of another name where @probe of the hash of "user.x" is. */
static void plant(struct tfs_fs *fs, unsigned int probe)
{
	uint8_t x[12] = { 1, 0, 0, 0, 0, 0, 0, 0, 2, 'p', (uint8_t)(probe ? probe : 1), 'v' };
	struct tkey key = TKEY(INO, TFS_KEY_XATTR, dir_cookie(fs, INO, "user.x", 6) + probe);

	cr_assert_eq(IN_WRITE(fs, btree_set(t, TFS_TREE_FS, &key, x, sizeof(x))), 0);
}

Test(xattr, colliding_hashes)
{
	struct tfs_fs *fs = make(4096);
	unsigned int i;

	plant(fs, 0);
	plant(fs, 2);
	cr_assert_eq(set(fs, "user.x", 1, 9, 0), 0);
	cr_assert_eq(set(fs, "user.x", 2, 9, XATTR_REPLACE), 0);
	has(fs, "user.x", 2, 9);
	cr_assert_eq(IN_READ(fs, count_items(t, TFS_KEY_XATTR)), 3);
	cr_assert_eq(take(fs, "user.x"), 0);
	for (i = 0; i < 256; i++)
		plant(fs, i);
	cr_assert_eq(set(fs, "user.x", 1, 9, 0), -ENOSPC);
	fx_fs_destroy(fs);
}

/* The counter of value ids may wrap, or lie: an id in use is passed over. */
Test(xattr, value_ids)
{
	struct tfs_fs *fs = make(4096);

	item.xattr_value_id = le32_of(UINT32_MAX - 1);
	cr_assert_eq(set(fs, "user.a", 1, 3000, 0), 0);
	cr_assert_eq(le32_get(item.xattr_value_id), UINT32_MAX);
	cr_assert_eq(set(fs, "user.b", 2, 3000, 0), 0);
	cr_assert_eq(le32_get(item.xattr_value_id), 1);
	cr_assert_eq(set(fs, "user.b", 3, 4000, 0), 0);
	cr_assert_eq(le32_get(item.xattr_value_id), 1, "a replaced value keeps its id");
	item.xattr_value_id = le32_of(0);
	cr_assert_eq(set(fs, "user.c", 4, 3000, 0), 0);
	cr_assert_eq(le32_get(item.xattr_value_id), 2);
	has(fs, "user.a", 1, 3000);
	has(fs, "user.b", 3, 4000);
	has(fs, "user.c", 4, 3000);
	fx_fs_destroy(fs);
}

/* Whole or not at all: what was committed before a power cut is there, what came after is not. */
Test(xattr, power_cut)
{
	struct tfs_fs *fs = make(4096);
	struct bdev *b = fs->bdev;

	cr_assert_eq(set(fs, "user.a", 1, 50000, 0), 0);
	cr_assert_eq(journal_commit_all(fs), 0);
	cr_assert_eq(set(fs, "user.a", 2, 60000, 0), 0);
	tfs_close_nosave(fs);
	fs = fx_fs_open(b);
	has(fs, "user.a", 1, 50000);
	cr_assert_eq(set(fs, "user.a", 3, 10, 0), 0);
	cr_assert_eq(journal_commit_all(fs), 0);
	tfs_close_nosave(fs);
	fs = fx_fs_open(b);
	has(fs, "user.a", 3, 10);
	cr_assert_eq(IN_READ(fs, count_items(t, TFS_KEY_XATTR_VALUE)), 0);
	fx_fs_destroy(fs);
}

Test(xattr, hostile_items)
{
	/* value_len, value_id, name_len, name and value */
	static const struct {
		const char *what;
		uint8_t bytes[16];
		unsigned int len;
	} bad[] = { { "empty", { 0 }, 0 },
		    { "short", { 0 }, 8 },
		    { "no name", { 0, 0, 0, 0, 0, 0, 0, 0, 0 }, 9 },
		    { "name too long", { 0, 0, 0, 0, 0, 0, 0, 0, 5, 'n' }, 10 },
		    { "NUL", { 0, 0, 0, 0, 0, 0, 0, 0, 2, 'n', 0 }, 11 },
		    { "value too short", { 9, 0, 0, 0, 0, 0, 0, 0, 1, 'n', 'v' }, 11 },
		    { "value too long", { 0, 0, 0, 0, 0, 0, 0, 0, 1, 'n', 'v' }, 11 },
		    { "two values", { 1, 0, 0, 0, 1, 0, 0, 0, 1, 'n', 'v' }, 11 },
		    { "empty long value", { 0, 0, 0, 0, 1, 0, 0, 0, 1, 'n' }, 10 },
		    { "huge", { 1, 0, 1, 0, 1, 0, 0, 0, 1, 'n' }, 10 } };
	struct tfs_fs *fs;
	struct bdev *b;
	struct tkey key;
	char buf[100];
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		fs = make(4096);
		b = fs->bdev;
		key = TKEY(INO, TFS_KEY_XATTR, dir_cookie(fs, INO, "n", 1));
		cr_assert_eq(
			IN_WRITE(fs, btree_set(t, TFS_TREE_FS, &key, bad[i].bytes, bad[i].len)), 0);
		cr_assert_eq(IN_READ(fs, xattr_get(t, INO, "n", buf, sizeof(buf))), -EUCLEAN, "%s",
			     bad[i].what);
		cr_assert_eq(IN_READ(fs, xattr_list(t, INO, buf, sizeof(buf))), -EUCLEAN, "%s",
			     bad[i].what);
		tfs_close_nosave(fs);
		bdev_close(b);
	}
}

/* Chunks of a long value that are missing, too long, or short in the middle. */
Test(xattr, hostile_chunks)
{
	static const struct {
		unsigned int chunk, len; /* set this one; length 2000: delete it */
	} bad[] = { { 0, 2000 }, { 1, 2000 }, { 2, 2000 }, { 0, 1 }, { 1, 959 },
		    { 2, 79 },	 { 2, 81 },   { 2, 0 },	   { 3, 1 }, { 0, 961 } };
	static uint8_t bytes[1000];
	struct tfs_fs *fs;
	struct bdev *b;
	struct tkey key;
	char buf[3000];
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		fs = make(4096);
		b = fs->bdev;
		cr_assert_eq(set(fs, "user.a", 1, 2000, 0),
			     0); /* chunks of 960, 960 and 80 bytes */
		key = TKEY(INO, TFS_KEY_XATTR_VALUE, 1ull << 32 | bad[i].chunk);
		if (bad[i].len == 2000)
			cr_assert_eq(IN_WRITE(fs, btree_delete(t, TFS_TREE_FS, &key)), 0);
		else
			cr_assert_eq(
				IN_WRITE(fs, btree_set(t, TFS_TREE_FS, &key, bytes, bad[i].len)),
				0);
		cr_assert_eq(IN_READ(fs, xattr_get(t, INO, "user.a", buf, sizeof(buf))), -EUCLEAN,
			     "%zu", i);
		tfs_close_nosave(fs);
		bdev_close(b);
	}
}
