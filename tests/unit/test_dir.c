/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fs/names/dir.c, backref.c, path.c: directory entries, back-references and paths. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/block/bdev.h"
#include "fs/btree/btree_delete.h"
#include "fs/btree/btree_insert.h"
#include "fs/disk/btree_key.h"
#include "fs/names/dir.h"
#include "fs/names/backref.h"
#include "fs/names/path.h"
#include "fs/state/fs.h"
#include "fs/vfs/fs_open.h"
#include "fs/vfs/mkfs.h"
#include "tallyfs/format.h"
#include "tests/lib/section.h"
#include "tests/lib/fixture_bare.h"

#define DIR_INO 20u
#define FILES 3000u

static struct tfs_fs *make(void)
{
	struct tfs_format_opts o = fx_bare_opts();

	o.node_size = 4096; /* many leaves */
	return fx_fs_create(16 << 20, &o);
}

/* After damage the file system is read-only and has nothing to save. */
static void drop_damaged(struct tfs_fs *fs)
{
	struct bdev *b = fs->bdev;

	tfs_close_nosave(fs);
	bdev_close(b);
}

static int add(struct tfs_fs *fs, uint64_t dir, const char *name, uint64_t ino)
{
	return IN_WRITE(fs, dir_add(t, dir, name, strlen(name), ino, DT_REG));
}

static int look(struct tfs_fs *fs, uint64_t dir, const char *name, struct tfs_dirent *de)
{
	return IN_READ(fs, dir_lookup(t, dir, name, strlen(name), de));
}

static int put(struct tfs_fs *fs, const struct tkey *key, const void *data, size_t len)
{
	return IN_WRITE(fs, btree_set(t, TFS_TREE_FS, key, data, (uint32_t)len));
}

Test(dir, cookies)
{
	struct tfs_fs fs = { .hash_key = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 } };
	static const char seven[] = { 8, 9, 10, 11, 12, 13, 14 };
	uint64_t c;

	/* directory 0x0706050403020100 and seven bytes: the 15 bytes of the SipHash paper's
	 * example */
	c = dir_cookie(&fs, 0x0706050403020100, seven, 7);
	cr_assert_eq(c, 0xa129ca6149be45e5 >> 9 << 8);
	cr_assert_lt(c, 1ull << 63);
	cr_assert_neq(dir_cookie(&fs, 1, "a", 1), dir_cookie(&fs, 2, "a", 1),
		      "each directory hashes differently");
}

Test(dir, many_names)
{
	struct tfs_fs *fs = make();
	struct tfs_dirent de;
	uint64_t after, cookie[FILES];
	unsigned int i, n;
	char name[300];
	bool empty;

	cr_assert_eq(IN_READ(fs, dir_is_empty(t, DIR_INO, &empty)), 0);
	cr_assert(empty);
	for (i = 0; i < FILES; i++) {
		snprintf(name, sizeof(name), "%0*u", (int)(5 + i % 250), i);
		cr_assert_eq(add(fs, DIR_INO, name, 100 + i), 0);
		cr_assert_eq(add(fs, DIR_INO, name, 100 + i), -EEXIST);
	}
	fs = fx_fs_reopen(fs);
	for (i = 0; i < FILES; i++) {
		snprintf(name, sizeof(name), "%0*u", (int)(5 + i % 250), i);
		cr_assert_eq(look(fs, DIR_INO, name, &de), 0);
		cr_assert_eq(de.ino, 100 + i);
		cr_assert_eq(de.type, DT_REG);
		cr_assert_str_eq(de.name, name);
		cookie[i] = de.cookie;
	}
	cr_assert_eq(look(fs, DIR_INO, "00", &de), -ENOENT);
	cr_assert_eq(look(fs, DIR_INO + 1, "00000", &de), -ENOENT);
	/* a listing during which every other name goes: the rest comes, each once */
	for (after = 2, n = 0; !IN_READ(fs, dir_next(t, DIR_INO, after, &de)); n++) {
		cr_assert_gt(de.cookie, after);
		cr_assert_eq(cookie[de.ino - 100], de.cookie);
		after = de.cookie;
		if (n % 2)
			cr_assert_eq(IN_WRITE(fs, dir_remove(t, DIR_INO, &de)), 0);
	}
	cr_assert_eq(n, FILES);
	for (n = 0; !IN_READ(fs, dir_next(t, DIR_INO, 0, &de)); n++)
		cr_assert_eq(IN_WRITE(fs, dir_remove(t, DIR_INO, &de)), 0);
	cr_assert_eq(n, FILES / 2);
	cr_assert_eq(IN_READ(fs, dir_is_empty(t, DIR_INO, &empty)), 0);
	cr_assert(empty);
	cr_assert_eq(IN_READ(fs, dir_next(t, DIR_INO, UINT64_MAX, &de)), -ENOENT);
	cr_assert_eq(IN_READ(fs, backref_first(t, 100, &after, &after)), -ENOENT);
	fx_fs_destroy(fs);
}

Test(dir, bad_names)
{
	struct tfs_fs *fs = make();
	char name[257];

	memset(name, 'x', 256);
	name[256] = 0;
	cr_assert_eq(add(fs, DIR_INO, name, 30), -ENAMETOOLONG);
	cr_assert_eq(add(fs, DIR_INO, "", 30), -EINVAL);
	cr_assert_eq(look(fs, DIR_INO, name, NULL), -ENAMETOOLONG);
	cr_assert_eq(look(fs, DIR_INO, "", NULL), -EINVAL);
	name[255] = 0;
	cr_assert_eq(add(fs, DIR_INO, name, 30), 0);
	cr_assert_eq(look(fs, DIR_INO, name, NULL), 0);
	fx_fs_destroy(fs);
}

/* An entry "NAME" where @probe of the hash of "x" is. */
static void plant(struct tfs_fs *fs, unsigned int probe, const char *name)
{
	uint8_t item[40] = { 77, 0, 0, 0, 0, 0, 0, 0, DT_REG };
	size_t len = strlen(name);

	memcpy(item + 9, name, len);
	cr_assert_eq(put(fs,
			 &TKEY(DIR_INO, TFS_KEY_DIRENT, dir_cookie(fs, DIR_INO, "x", 1) + probe),
			 item, 9 + len),
		     0);
}

Test(dir, colliding_hashes)
{
	struct tfs_fs *fs = make();
	uint64_t base = dir_cookie(fs, DIR_INO, "x", 1);
	struct tfs_dirent de;
	unsigned int i;
	char name[10];

	plant(fs, 0, "p0");
	plant(fs, 1, "p1");
	plant(fs, 3, "p3");
	cr_assert_eq(look(fs, DIR_INO, "x", &de), -ENOENT);
	cr_assert_eq(IN_WRITE(fs, dir_prefault(t, DIR_INO, "x", 1, 30)), 0);
	cr_assert_eq(add(fs, DIR_INO, "x", 30), 0);
	cr_assert_eq(look(fs, DIR_INO, "x", &de), 0);
	cr_assert_eq(de.cookie, base + 2, "the lowest free probe");
	cr_assert_eq(
		IN_WRITE(fs, btree_delete(t, TFS_TREE_FS, &TKEY(DIR_INO, TFS_KEY_DIRENT, base))),
		0);
	cr_assert_eq(look(fs, DIR_INO, "x", &de), 0, "a gap does not hide it");
	cr_assert_eq(add(fs, DIR_INO, "x", 30), -EEXIST);
	cr_assert_eq(IN_WRITE(fs, dir_remove(t, DIR_INO, &de)), 0);
	cr_assert_eq(look(fs, DIR_INO, "x", &de), -ENOENT);
	for (i = 0; i < 256; i++) {
		snprintf(name, sizeof(name), "q%u", i);
		plant(fs, i, name);
	}
	cr_assert_eq(add(fs, DIR_INO, "x", 30), -ENOSPC);
	fx_fs_destroy(fs);
}

Test(dir, replace_and_links)
{
	struct tfs_fs *fs = make();
	struct tfs_dirent de, stale;
	uint64_t dir, cookie;

	cr_assert_eq(add(fs, DIR_INO, "a", 30), 0);
	cr_assert_eq(add(fs, DIR_INO, "b", 30), 0);
	cr_assert_eq(add(fs, DIR_INO + 1, "c", 30), 0);
	cr_assert_eq(look(fs, DIR_INO, "a", &stale), 0);
	cr_assert_eq(IN_WRITE(fs, dir_prefault(t, DIR_INO, "a", 1, 31)), 0);
	cr_assert_eq(IN_WRITE(fs, dir_replace(t, DIR_INO, &stale, 31, DT_DIR)), 0);
	cr_assert_eq(look(fs, DIR_INO, "a", &de), 0);
	cr_assert_eq(de.ino, 31);
	cr_assert_eq(de.type, DT_DIR);
	cr_assert_eq(de.cookie, stale.cookie, "the readdir position stays");
	cr_assert_eq(IN_READ(fs, backref_first(t, 31, &dir, &cookie)), 0);
	cr_assert_eq(dir, DIR_INO);
	cr_assert_eq(cookie, de.cookie);
	cr_assert_eq(IN_WRITE(fs, dir_replace(t, DIR_INO, &stale, 32, DT_DIR)), -ENOENT,
		     "it is not that entry any more");
	cr_assert_eq(IN_WRITE(fs, dir_remove(t, DIR_INO, &stale)), -ENOENT);
	cr_assert_eq(IN_WRITE(fs, dir_replace(t, DIR_INO, &de, 31, DT_REG)), 0);
	cr_assert_eq(look(fs, DIR_INO, "b", &de), 0);
	cr_assert_eq(IN_WRITE(fs, dir_remove(t, DIR_INO, &de)), 0);
	cr_assert_eq(IN_READ(fs, backref_first(t, 30, &dir, &cookie)), 0, "one name is left");
	cr_assert_eq(dir, DIR_INO + 1);
	fx_fs_destroy(fs);
}

/* One inode's names in two directories under one cookie: the LINK item holds both. */
Test(dir, shared_back_reference)
{
	struct tfs_fs *fs = make();
	struct tfs_dirent de;
	uint64_t dir, cookie;
	le64 both[2] = { le64_of(7777) };

	cr_assert_eq(add(fs, DIR_INO, "x", 30), 0);
	cr_assert_eq(look(fs, DIR_INO, "x", &de), 0);
	both[1] = le64_of(DIR_INO);
	cr_assert_eq(put(fs, &TKEY(30, TFS_KEY_LINK, de.cookie), both, 16), 0);
	cr_assert_eq(IN_WRITE(fs, dir_remove(t, DIR_INO, &de)), 0);
	cr_assert_eq(IN_READ(fs, backref_first(t, 30, &dir, &cookie)), 0);
	cr_assert_eq(dir, 7777);
	plant(fs, 0, "y"); /* takes probe 0 of DIR_INO */
	cr_assert_eq(add(fs, DIR_INO, "x", 30), 0);
	fx_fs_destroy(fs);
}

static void path_is(struct tfs_fs *fs, uint64_t ino, const char *want)
{
	char buf[4096];

	cr_assert_eq(IN_READ(fs, inode_path(t, ino, buf, sizeof(buf))), 0, "path of %d", (int)ino);
	cr_assert_str_eq(buf, want);
}

Test(dir, paths)
{
	struct tfs_fs *fs = make();
	struct tfs_dirent de;
	char buf[64];
	int i;

	cr_assert_eq(add(fs, TFS_INO_ROOT, "home", 30), 0);
	cr_assert_eq(add(fs, 30, "user", 31), 0);
	cr_assert_eq(add(fs, 31, "file", 32), 0);
	path_is(fs, TFS_INO_ROOT, "/");
	path_is(fs, 30, "/home");
	path_is(fs, 32, "/home/user/file");
	cr_assert_eq(IN_READ(fs, inode_path(t, 99, buf, sizeof(buf))), -ENOENT);
	for (i = 0; i < 16; i++)
		cr_assert_eq(IN_READ(fs, inode_path(t, 32, buf, (size_t)i)), -ERANGE);
	cr_assert_eq(IN_READ(fs, inode_path(t, 32, buf, 16)), 0, "it just fits");
	/* home's entry is of another inode: its name is not known, the way up is */
	cr_assert_eq(look(fs, TFS_INO_ROOT, "home", &de), 0);
	cr_assert_eq(IN_WRITE(fs, dir_replace(t, TFS_INO_ROOT, &de, 40, DT_DIR)), 0);
	cr_assert_eq(put(fs, &TKEY(30, TFS_KEY_LINK, de.cookie),
			 &(uint64_t){ htole64(TFS_INO_ROOT) }, 8),
		     0);
	path_is(fs, 32, "/?/user/file");
	/* no way up */
	cr_assert_eq(IN_WRITE(fs, btree_delete(t, TFS_TREE_FS, &TKEY(30, TFS_KEY_LINK, de.cookie))),
		     0);
	path_is(fs, 32, "/?/user/file");
	fx_fs_destroy(fs);
}

Test(dir, path_in_a_loop)
{
	struct tfs_fs *fs = make();
	char buf[4096];

	cr_assert_eq(add(fs, 50, "a", 51), 0);
	cr_assert_eq(add(fs, 51, "b", 52), 0);
	cr_assert_eq(add(fs, 52, "c", 50), 0);
	cr_assert_eq(add(fs, 52, "tail", 60), 0);
	cr_assert_eq(IN_READ(fs, inode_path(t, 51, buf, sizeof(buf))), -ELOOP);
	cr_assert_eq(IN_READ(fs, inode_path(t, 60, buf, sizeof(buf))), -ELOOP);
	cr_assert_eq(IN_READ(fs, inode_path(t, 60, buf, 8)), -ERANGE);
	fx_fs_destroy(fs);
}

Test(dir, hostile_entries)
{
	static const struct {
		const char *what;
		uint8_t bytes[12];
		unsigned int len;
	} bad[] = { { "empty", { 0 }, 0 },
		    { "no name", { 30, 0, 0, 0, 0, 0, 0, 0, DT_REG }, 9 },
		    { "no inode", { 0, 0, 0, 0, 0, 0, 0, 0, DT_REG, 'a' }, 10 },
		    { "slash", { 30, 0, 0, 0, 0, 0, 0, 0, DT_REG, 'a', '/' }, 11 },
		    { "NUL", { 30, 0, 0, 0, 0, 0, 0, 0, DT_REG, 'a', 0 }, 11 },
		    { "dot", { 30, 0, 0, 0, 0, 0, 0, 0, DT_REG, '.' }, 10 },
		    { "dot dot", { 30, 0, 0, 0, 0, 0, 0, 0, DT_REG, '.', '.' }, 11 } };
	struct tfs_dirent de;
	struct tfs_fs *fs;
	char buf[100];
	bool empty;
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		fs = make();
		cr_assert_eq(put(fs,
				 &TKEY(DIR_INO, TFS_KEY_DIRENT, dir_cookie(fs, DIR_INO, "x", 1)),
				 bad[i].bytes, bad[i].len),
			     0);
		cr_assert_eq(put(fs, &TKEY(30, TFS_KEY_LINK, dir_cookie(fs, DIR_INO, "x", 1)),
				 &(uint64_t){ htole64(DIR_INO) }, 8),
			     0);
		cr_assert_eq(look(fs, DIR_INO, "x", &de), -EUCLEAN, "%s", bad[i].what);
		cr_assert_eq(IN_READ(fs, dir_next(t, DIR_INO, 0, &de)), -EUCLEAN, "%s",
			     bad[i].what);
		cr_assert_eq(IN_READ(fs, dir_is_empty(t, DIR_INO, &empty)), -EUCLEAN, "%s",
			     bad[i].what);
		cr_assert_eq(IN_READ(fs, inode_path(t, 30, buf, sizeof(buf))), 0);
		cr_assert_str_eq(buf, "/?/?");
		drop_damaged(fs);
	}
}

Test(dir, hostile_back_references)
{
	static const uint32_t len[] = { 0, 7, 9, 101 * 8 };
	static uint8_t bytes[101 * 8];
	struct tfs_fs *fs;
	uint64_t dir, cookie;
	struct tfs_dirent de;
	size_t i;

	for (i = 0; i < sizeof(len) / sizeof(len[0]); i++) {
		fs = make();
		cr_assert_eq(add(fs, DIR_INO, "x", 30), 0);
		cr_assert_eq(look(fs, DIR_INO, "x", &de), 0);
		cr_assert_eq(put(fs, &TKEY(30, TFS_KEY_LINK, de.cookie), bytes, len[i]), 0);
		cr_assert_eq(IN_READ(fs, backref_first(t, 30, &dir, &cookie)), -EUCLEAN, "%u bytes",
			     len[i]);
		drop_damaged(fs);
	}
	fs = make();
	cr_assert_eq(add(fs, DIR_INO, "x", 30), 0);
	cr_assert_eq(look(fs, DIR_INO, "x", &de), 0);
	cr_assert_eq(put(fs, &TKEY(30, TFS_KEY_LINK, de.cookie), bytes, 100 * 8), 0);
	cr_assert_eq(IN_WRITE(fs, dir_remove(t, DIR_INO, &de)), -EUCLEAN,
		     "the directory is not among them");
	drop_damaged(fs);
}
