/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fs/names/orphan.c, inode_item.c, symlink.c: orphans, intents, inode items and symbolic links: the
 * small things kept by inode number.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "core/block/bdev.h"
#include "fs/btree/btree_insert.h"
#include "fs/disk/btree_key.h"
#include "fs/names/inode_item.h"
#include "fs/names/orphan.h"
#include "fs/names/symlink.h"
#include "fs/state/fs.h"
#include "fs/vfs/fs_open.h"
#include "fs/vfs/mkfs.h"
#include "tallyfs/format.h"
#include "tests/lib/section.h"
#include "tests/lib/fixture_bare.h"

static struct tfs_fs *make(uint32_t node_size)
{
	struct tfs_format_opts o = fx_bare_opts();

	o.node_size = node_size;
	return fx_fs_create(16 << 20, &o);
}

static void drop_damaged(struct tfs_fs *fs)
{
	struct bdev *b = fs->bdev;

	tfs_close_nosave(fs);
	bdev_close(b);
}

Test(orphan, add_walk_remove)
{
	struct tfs_fs *fs = make(4096);
	uint64_t ino, after = 0;
	unsigned int n;

	cr_assert_eq(IN_READ(fs, orphan_next(t, 0, &ino)), -ENOENT);
	for (n = 0; n < 1000; n++)
		cr_assert_eq(IN_WRITE(fs, orphan_add(t, 20 + n * 7 % 1000)), 0);
	cr_assert_eq(IN_WRITE(fs, orphan_add(t, 20)), -EEXIST);
	fs = fx_fs_reopen(fs);
	for (n = 0; !IN_READ(fs, orphan_next(t, after, &ino)); n++) {
		cr_assert_eq(ino, 20 + n);
		after = ino;
	}
	cr_assert_eq(n, 1000);
	cr_assert_eq(IN_READ(fs, orphan_next(t, UINT64_MAX, &ino)), -ENOENT);
	for (n = 0; !IN_READ(fs, orphan_next(t, 0, &ino)); n++)
		cr_assert_eq(IN_WRITE(fs, orphan_remove(t, ino)), 0);
	cr_assert_eq(n, 1000);
	cr_assert_eq(IN_WRITE(fs, orphan_remove(t, 20)), -ENOENT);
	fx_fs_destroy(fs);
}

Test(orphan, intents)
{
	struct tfs_intent_item it = { .op = le32_of(TFS_INTENT_TRUNCATE), .arg = le64_of(5) }, got;
	struct tfs_fs *fs = make(16384);
	uint64_t ino;

	cr_assert_eq(IN_WRITE(fs, orphan_add(t, 25)), 0);
	cr_assert_eq(IN_READ(fs, intent_next(t, 0, &ino, &got)), -ENOENT,
		     "orphans are not intents");
	cr_assert_eq(IN_WRITE(fs, intent_set(t, 30, &it)), 0);
	it.arg = le64_of(6);
	cr_assert_eq(IN_WRITE(fs, intent_set(t, 30, &it)), 0, "set again: the new one counts");
	cr_assert_eq(IN_WRITE(fs, intent_set(t, UINT64_MAX, &it)), 0);
	cr_assert_eq(IN_READ(fs, intent_next(t, 0, &ino, &got)), 0);
	cr_assert_eq(ino, 30);
	cr_assert_eq(le64_get(got.arg), 6);
	cr_assert_eq(IN_READ(fs, intent_next(t, 30, &ino, &got)), 0);
	cr_assert_eq(ino, UINT64_MAX);
	cr_assert_eq(IN_WRITE(fs, intent_remove(t, UINT64_MAX)), 0);
	cr_assert_eq(IN_READ(fs, intent_next(t, 30, &ino, &got)), -ENOENT);
	cr_assert_eq(IN_READ(fs, orphan_next(t, 25, &ino)), -ENOENT, "intents are not orphans");
	cr_assert_eq(IN_WRITE(fs, btree_set(t, TFS_TREE_FS, &TKEY(TFS_INO_META, TFS_KEY_INTENT, 31),
					    "x", 1)),
		     0);
	cr_assert_eq(IN_READ(fs, intent_next(t, 30, &ino, &got)), -EUCLEAN);
	drop_damaged(fs);
}

Test(orphan, inode_items)
{
	struct tfs_inode_item it = { .mode = le32_of(0100644), .size = le64_of(7) }, got;
	struct tfs_fs *fs = make(16384);

	cr_assert_eq(IN_READ(fs, inode_item_read(t, 30, &got)), -ENOENT);
	cr_assert_eq(IN_WRITE(fs, inode_item_write(t, 30, &it)), 0);
	it.size = le64_of(8);
	cr_assert_eq(IN_WRITE(fs, inode_item_write(t, 30, &it)), 0);
	cr_assert_eq(IN_READ(fs, inode_item_read(t, 30, &got)), 0);
	cr_assert_eq(memcmp(&it, &got, sizeof(it)), 0);
	cr_assert_eq(IN_WRITE(fs, btree_set(t, TFS_TREE_FS, &TKEY(30, TFS_KEY_INODE, 0), &it,
					    sizeof(it) - 1)),
		     0);
	cr_assert_eq(IN_READ(fs, inode_item_read(t, 30, &got)), -EUCLEAN);
	drop_damaged(fs);
}

Test(orphan, symbolic_links)
{
	static const size_t len[] = { 1, 959, 960, 961, 1920, 4095 };
	struct tfs_fs *fs = make(4096);
	char target[4096], got[4096];
	uint64_t ino = 30;
	size_t i;

	memset(target, 't', sizeof(target));
	for (i = 0; i < sizeof(len) / sizeof(len[0]); i++, ino++) {
		target[len[i] - 1] = 'e';
		cr_assert_eq(IN_WRITE(fs, symlink_write(t, ino, target, len[i])), 0);
		cr_assert_eq(IN_WRITE(fs, symlink_write(t, ino, target, len[i])), -EEXIST);
		cr_assert_eq(IN_READ(fs, symlink_read(t, ino, got, sizeof(got))), (int)len[i]);
		cr_assert_eq(memcmp(got, target, len[i]), 0);
		cr_assert_eq(got[len[i]], 0, "terminated where there is room");
		cr_assert_eq(IN_READ(fs, symlink_read(t, ino, got, len[i])), (int)len[i]);
		if (len[i] > 1)
			cr_assert_eq(IN_READ(fs, symlink_read(t, ino, got, len[i] - 1)), -ERANGE);
		target[len[i] - 1] = 't';
	}
	cr_assert_eq(IN_WRITE(fs, symlink_write(t, ino, target, 0)), -EINVAL);
	cr_assert_eq(IN_WRITE(fs, symlink_write(t, ino, "a\0b", 3)), -EINVAL);
	cr_assert_eq(IN_WRITE(fs, symlink_write(t, ino, target, 4096)), -ENAMETOOLONG);
	fx_fs_destroy(fs);
}

Test(orphan, hostile_symbolic_links)
{
	static const struct {
		uint64_t chunk;
		uint8_t fill;
		unsigned int len;
	} bad[] = { { 1, 't', 5 }, { 0, 0, 5 }, { 0, 't', 0 }, { 0, 't', 961 } };
	uint8_t bytes[961];
	struct tfs_fs *fs;
	char got[4096];
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		fs = make(4096);
		memset(bytes, bad[i].fill, sizeof(bytes));
		cr_assert_eq(IN_WRITE(fs, btree_set(t, TFS_TREE_FS,
						    &TKEY(30, TFS_KEY_SYMLINK, bad[i].chunk), bytes,
						    bad[i].len)),
			     0);
		cr_assert_eq(IN_READ(fs, symlink_read(t, 30, got, sizeof(got))), -EUCLEAN, "%zu",
			     i);
		drop_damaged(fs);
	}
	/* longer than a target may be */
	fs = make(4096);
	memset(bytes, 't', sizeof(bytes));
	for (i = 0; i < 5; i++)
		cr_assert_eq(IN_WRITE(fs, btree_set(t, TFS_TREE_FS, &TKEY(30, TFS_KEY_SYMLINK, i),
						    bytes, 960)),
			     0);
	cr_assert_eq(IN_READ(fs, symlink_read(t, 30, got, sizeof(got))), -EUCLEAN);
	drop_damaged(fs);
}
