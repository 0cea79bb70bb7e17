/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Images that lie behind good checksums: operations get an error that says damage, nothing that was
 * good is lost, and the checker names it and ends.
 */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core/block/bdev.h"
#include "core/lib/util.h"
#include "core/pagecache/pagecache.h"
#include "fs/alloc/alloc_node.h"
#include "fs/btree/btree.h"
#include "fs/btree/btree_delete.h"
#include "fs/btree/btree_insert.h"
#include "fs/btree/btree_node.h"
#include "fs/disk/btree_key.h"
#include "fs/disk/geom.h"
#include "fs/disk/super.h"
#include "fs/inode/inode.h"
#include "fs/journal/buffer.h"
#include "fs/journal/trans.h"
#include "fs/names/acl.h"
#include "fs/names/dir.h"
#include "fs/names/inode_item.h"
#include "fs/state/fs.h"
#include "fs/vfs/vfs.h"
#include "fsck/check.h"
#include "tallyfs/format.h"
#include "tests/lib/fixture.h"
#include "tests/lib/lie.h"

#define ROOT TFS_INO_ROOT

static struct fixture fx;
static uint64_t bs;

static void mount_as(enum tfs_errors errors)
{
	struct tfs_mount_opts o = { .no_threads = true, .cache_size = 16u << 20, .errors = errors };

	fx_mount_own(&fx, &o);
	bs = fx.fs->geom.block_size;
}

static void setup(void)
{
	fx_init();
	fx.dev = bdev_mem_create(fx_bytes(FX_SMALL));
	fx_format(fx.dev, FX_SMALL, 1);
	/* what is said of one lie must not depend on those before */
	mount_as(TFS_ERRORS_CONTINUE);
}

static void teardown(void)
{
	/* no image here ends clean */
	vfs_crash(fx.fs);
	bdev_close(fx.dev);
	fx_exit();
}

TestSuite(hostile, .init = setup, .fini = teardown, .timeout = 900);

/* ---- lying ---- */

/* The item at (@ino @type @off) is @data; NULL: it is not there. */
static void lie(uint64_t ino, enum tfs_key_type type, uint64_t off, const void *data, uint32_t len)
{
	lie_item(fx.fs, TFS_TREE_FS, ino, type, off, data, len);
}

static void lie_nlink(uint64_t ino, uint32_t nlink)
{
	struct tfs_inode_item it = lie_inode_of(fx.fs, ino);

	it.nlink = le32_of(nlink);
	lie(ino, TFS_KEY_INODE, 0, &it, sizeof(it));
}

/* Whatever is in memory is what the device has. */
static void remount(enum tfs_errors errors)
{
	FX_OK(vfs_unmount(fx.fs));
	mount_as(errors);
}

/* ---- what the checker says ---- */

static struct {
	const char *code;
	unsigned int hits, all, progress, stop_at;
	uint64_t verified, bad;
} said;

static void heard(void *arg, const struct check_problem *p)
{
	said.all += p->severity != CHECK_NOTE;
	said.hits += said.code && !strcmp(p->code, said.code);
}

static bool go_on(void *arg, const char *phase, uint64_t done, uint64_t total)
{
	return ++said.progress != said.stop_at;
}

/* What is on the device now, with the journal: how often the checker reports @code. */
static unsigned int check(const char *code, unsigned int stop_at, int want)
{
	struct check_opts o = { .report = heard, .progress = go_on, .verify_data = true };
	struct bdev *copy = bdev_mem_create(fx.dev->size);
	struct check_result r;
	char why[300] = "";

	memset(&said, 0, sizeof(said));
	said.code = code;
	said.stop_at = stop_at;
	FX_OK(vfs_sync(fx.fs));
	FX_CHECK(copy);
	memcpy(bdev_mem_data(copy), bdev_mem_data(fx.dev), fx.dev->size);
	FX_IS(tfs_check_device(copy, &o, &r, why, sizeof(why)), want);
	bdev_close(copy);
	said.verified = r.verified_bytes;
	said.bad = r.bad_data_blocks;
	return said.hits;
}

/* Named, and not clean; and however often it is interrupted, it ends. */
static void checked(const char *code, unsigned int at_least)
{
	unsigned int hits = check(code, 0, 0), stops = said.progress;

	cr_assert_geq(hits, at_least, "%s: %u times", code, hits);
	for (unsigned int at = 1; at <= stops; at += 1 + stops / 20)
		check(NULL, at, -ECANCELED);
}

/* ---- unwritten and other extents over what is no file's ---- */

static void lie_extent(uint64_t ino, uint64_t start, uint64_t len, uint32_t flags)
{
	struct tfs_extent_item x = { .start = le64_of(start),
				     .len = le32_of((uint32_t)len),
				     .flags = le32_of(flags) };

	lie(ino, TFS_KEY_EXTENT, 0, &x, sizeof(x));
}

static void refused_everywhere(struct vfs_file *f, uint64_t start, uint64_t len, uint32_t flags)
{
	static char buf[65536];
	uint64_t all = UINT64_MAX, pos = 0, ino = f->inode->ino;
	struct vfs_extent x[4];
	struct vfs_file *to;

	lie_extent(ino, start, len, flags);
	truncate_inode_pages(&f->inode->mapping, 0);
	FX_IS(vfs_extents(fx.fs, f, 0, x, 4), -EUCLEAN);
	FX_IS(vfs_pread(fx.fs, f, buf, bs, 0), -EUCLEAN);
	/* what is written in part asks before; what is written whole, when it is written back */
	if (vfs_pwrite(fx.fs, f, buf, bs, 0) == (int64_t)bs)
		FX_IS(vfs_fsync(fx.fs, f, false), -EUCLEAN);
	truncate_inode_pages(&f->inode->mapping, 0);
	vfs_fsync(fx.fs, f, false);
	FX_IS(vfs_fallocate(fx.fs, f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4 * bs),
	      -EUCLEAN);
	FX_IS(vfs_fallocate(fx.fs, f, 0, 0, 4 * bs), -EUCLEAN);
	FX_IS(vfs_unshare(fx.fs, f, &pos, &all, NULL, NULL), -EUCLEAN);
	to = fx_open(&fx, "to");
	FX_IS(vfs_copy_file_range(fx.fs, f, 0, to, 0, 2 * bs, 0), -EUCLEAN);
	fx_close(&fx, to);
}

Test(hostile, extents_over_structures)
{
	const struct tfs_geom *g = &fx.fs->geom;
	const uint32_t flags[] = { TFS_EXTENT_UNWRITTEN, TFS_EXTENT_SHARED, 0 };
	struct vfs_file *f, *to;
	uint64_t ino = fx_file(&fx, "f", &f), root = fx.fs->roots[TFS_TREE_FS].addr;
	struct tfs_extent_item good;
	struct vfs_extent x[4];

	fx_file(&fx, "to", &to);
	fx_close(&fx, to);
	FX_OK(vfs_fallocate(fx.fs, f, 0, 0, 4 * bs));
	FX_IS(vfs_extents(fx.fs, f, 0, x, 4), 1);
	good = (struct tfs_extent_item){ .start = le64_of(x[0].addr / bs),
					 .len = le32_of(4),
					 .flags = le32_of(TFS_EXTENT_UNWRITTEN) };
	for (unsigned int k = 0; k < ARRAY_SIZE(flags); k++) {
		const struct {
			uint64_t start, len;
		} at[] = { { 0, 4 },
			   { g->super_block, 1 },
			   { g->super_copies[0] - 3, 4 },
			   { g->super_copies[1], 1 },
			   { tfs_group_header_block(g, 0), 1 },
			   { tfs_group_bitmap_block(g, 1), 1 },
			   { tfs_group_tuple_block(g, 2, 0), 1 },
			   { g->journal_start, 4 },
			   { g->journal_start + g->journal_blocks - 1, 4 },
			   { tfs_group_start(g, 2) - 2, 4 },
			   { tfs_group_start(g, 2) - 2, TFS_EXTENT_MAX_LEN },
			   { 1, g->total_blocks - 2 },
			   { root, 4 },
			   { root + g->node_blocks - 1, 1 },
			   { g->total_blocks, 1 } };

		for (unsigned int j = 0; j < ARRAY_SIZE(at); j++)
			refused_everywhere(f, at[j].start, at[j].len, flags[k]);
	}
	lie_extent(ino, tfs_group_bitmap_block(g, 1), 1, TFS_EXTENT_UNWRITTEN);
	checked("item-bad", 1);
	/* all that was good is */
	lie(ino, TFS_KEY_EXTENT, 0, &good, sizeof(good));
	fx_write(&fx, f, 0, 4 * bs, 1);
	FX_OK(vfs_fsync(fx.fs, f, false));
	fx_close(&fx, f);
	remount(TFS_ERRORS_CONTINUE);
	cr_assert_eq(check(NULL, 0, 0), 0);
	cr_assert_eq(said.all, 0);
}

/* ---- links that are not as many as there are names ---- */

Test(hostile, a_name_and_no_links)
{
	struct vfs_file *f;
	uint64_t ino = fx_file(&fx, "victim", &f), blocks;
	struct vfs_attr a;

	fx_write(&fx, f, 0, 300000, 1);
	FX_OK(vfs_fsync(fx.fs, f, false));
	blocks = fx_stat(&fx, "tree", "data_blocks");
	fx_close(&fx, f);
	lie_nlink(ino, 0);
	remount(TFS_ERRORS_CONTINUE);
	/* its last user goes: it looks like one that is to be removed, and nothing says that it
	 * is */
	for (int k = 0; k < 3; k++) {
		FX_OK(vfs_lookup(fx.fs, ROOT, "victim", &a));
		vfs_forget(fx.fs, a.ino, 1);
	}
	f = fx_open(&fx, "victim");
	fx_expect(&fx, f, 0, 300000, 1);
	FX_IS(vfs_link(fx.fs, ino, ROOT, "again", &a), -EUCLEAN);
	FX_IS(vfs_lookup(fx.fs, ROOT, "again", &a), -ENOENT);
	fx_close(&fx, f);
	cr_assert_eq(fx_stat(&fx, "tree", "data_blocks"), blocks);
	FX_OK(vfs_create(fx.fs, ROOT, "new", 0644, &fx_root, 0, &a, NULL));
	vfs_forget(fx.fs, a.ino, 1);
	checked("nlink", 1);
	/* by default a lie ends in a read-only file system */
	remount(TFS_ERRORS_REMOUNT_RO);
	FX_OK(vfs_lookup(fx.fs, ROOT, "victim", &a));
	vfs_forget(fx.fs, a.ino, 1);
	FX_IS(vfs_create(fx.fs, ROOT, "new2", 0644, &fx_root, 0, &a, NULL), -EROFS);
	FX_OK(vfs_open(fx.fs, ino, O_RDONLY, &f));
	fx_expect(&fx, f, 0, 300000, 1);
	fx_close(&fx, f);
	vfs_crash(fx.fs);
	mount_as(TFS_ERRORS_CONTINUE);
	f = fx_open(&fx, "victim");
	fx_expect(&fx, f, 0, 300000, 1);
	fx_close(&fx, f);
	/* taking the name away makes of it what it says it is */
	FX_OK(vfs_unlink(fx.fs, ROOT, "victim"));
	cr_assert_eq(fx_stat(&fx, "tree", "data_blocks"), 0);
	remount(TFS_ERRORS_CONTINUE);
	cr_assert_eq(check(NULL, 0, 0), 0);
	cr_assert_eq(said.all, 0);
}

/* The first name that goes lists the inode as unlinked; there is a second one. */
Test(hostile, two_names_and_one_link)
{
	struct vfs_file *f;
	uint64_t ino = fx_file(&fx, "a", &f);
	struct vfs_attr a;

	FX_OK(vfs_link(fx.fs, ino, ROOT, "b", &a));
	vfs_forget(fx.fs, ino, 1);
	fx_close(&fx, f);
	lie_nlink(ino, 1);
	remount(TFS_ERRORS_CONTINUE);
	FX_OK(vfs_lookup(fx.fs, ROOT, "b", &a)); /* stays in use */
	FX_OK(vfs_unlink(fx.fs, ROOT, "a"));
	FX_IS(vfs_unlink(fx.fs, ROOT, "b"), -EUCLEAN);
	FX_OK(vfs_create(fx.fs, ROOT, "c", 0644, &fx_root, 0, &a, NULL));
	FX_IS(vfs_rename(fx.fs, ROOT, "c", ROOT, "b", 0), -EUCLEAN);
	/* nothing was left half made */
	FX_OK(vfs_create(fx.fs, ROOT, "d", 0644, &fx_root, 0, &a, NULL));
	FX_OK(vfs_sync(fx.fs));
}

/* ---- types, numbers, attributes ---- */

Test(hostile, an_entry_of_another_type)
{
	union {
		struct tfs_dirent_item de;
		uint8_t bytes[10];
	} item;
	struct vfs_file *f;
	uint64_t ino = fx_file(&fx, "x", &f), cookie = dir_cookie(fx.fs, ROOT, "x", 1);
	struct vfs_attr a;

	fx_close(&fx, f);
	item.de.ino = le64_of(ino);
	item.de.type = DT_DIR;
	item.bytes[9] = 'x';
	lie(ROOT, TFS_KEY_DIRENT, cookie, &item, sizeof(item));
	FX_IS(vfs_lookup(fx.fs, ROOT, "x", &a), -EUCLEAN);
	FX_IS(vfs_rmdir(fx.fs, ROOT, "x"), -EUCLEAN);
	FX_IS(vfs_unlink(fx.fs, ROOT, "x"), -EUCLEAN);
	FX_IS(vfs_rename(fx.fs, ROOT, "x", ROOT, "y", 0), -EUCLEAN);
	checked("names-differ", 1);
}

Test(hostile, the_next_inode_number)
{
	const uint64_t bad[] = { 0, 2, 15, (uint64_t)INT64_MAX + 1, UINT64_MAX };
	uint64_t good = fx.fs->cnt.next_ino;

	for (unsigned int k = 0; k < ARRAY_SIZE(bad); k++) {
		fx.fs->cnt.next_ino = bad[k];
		fx.fs->super_dirty = true;
		cr_assert_eq(check("next-ino", 0, 0), 1, "%llu", (unsigned long long)bad[k]);
	}
	fx.fs->cnt.next_ino = good;
	fx.fs->super_dirty = true;
	cr_assert_eq(check("next-ino", 0, 0), 0);
}

Test(hostile, numbers_no_inode_has)
{
	const uint64_t bad[] = { 2, 15, (uint64_t)INT64_MAX + 1, UINT64_MAX };
	struct vfs_file *f;
	struct tfs_inode_item it = lie_inode_of(fx.fs, fx_file(&fx, "x", &f));

	fx_close(&fx, f);
	for (unsigned int k = 0; k < ARRAY_SIZE(bad); k++) {
		lie(bad[k], TFS_KEY_INODE, 0, &it, sizeof(it));
		cr_assert_eq(check("item-bad", 0, 0), 1, "%llu", (unsigned long long)bad[k]);
		lie(bad[k], TFS_KEY_INODE, 0, NULL, 0);
	}
}

/* An attribute as it lies in the tree, under the name's hash. */
static void lie_attribute(uint64_t ino, const char *name, const void *value, uint32_t len)
{
	uint8_t item[2000];
	struct tfs_xattr_item *x = (struct tfs_xattr_item *)item;

	*x = (struct tfs_xattr_item){ .value_len = le32_of(len),
				      .name_len = (uint8_t)strlen(name) };
	memcpy(item + sizeof(*x), name, x->name_len);
	memcpy(item + sizeof(*x) + x->name_len, value, len);
	lie(ino, TFS_KEY_XATTR, dir_cookie(fx.fs, ino, name, strlen(name)), item,
	    (uint32_t)sizeof(*x) + x->name_len + len);
}

static size_t make_acl(struct tfs_acl *acl, uint32_t owner)
{
	const struct {
		enum acl_tag tag;
		uint32_t perm, id;
	} e[] = { { ACL_USER_OBJ, owner, ACL_NO_ID },
		  { ACL_USER, 7, 5 },
		  { ACL_GROUP_OBJ, 4, ACL_NO_ID },
		  { ACL_MASK, 4, ACL_NO_ID },
		  { ACL_OTHER, 4, ACL_NO_ID } };

	acl->x.version = le32_of(ACL_VERSION);
	acl->n = ARRAY_SIZE(e);
	for (unsigned int k = 0; k < acl->n; k++)
		acl->x.e[k] = (struct acl_entry){ .tag = le16_of((uint16_t)e[k].tag),
						  .perm = le16_of((uint16_t)e[k].perm),
						  .id = le32_of(e[k].id) };
	return acl_size(acl);
}

Test(hostile, acls)
{
	struct vfs_file *f;
	uint64_t ino = fx_file(&fx, "x", &f);
	struct tfs_acl acl;
	size_t len = make_acl(&acl, 6);

	fx_close(&fx, f);
	FX_OK(vfs_setxattr(fx.fs, ino, ACL_NAME_ACCESS, &acl.x, len, 0, &fx_root));
	cr_assert_eq(check("acl", 0, 0), 0);
	lie_attribute(ino, ACL_NAME_ACCESS, "rubbish", 7);
	checked("acl", 1);
	lie_attribute(ino, ACL_NAME_ACCESS, &acl.x, (uint32_t)len - 8);
	cr_assert_eq(check("acl", 0, 0), 1, "without an entry for others");
	make_acl(&acl, 7);
	lie_attribute(ino, ACL_NAME_ACCESS, &acl.x, (uint32_t)len);
	cr_assert_eq(check("acl", 0, 0), 1, "says more than the mode");
	make_acl(&acl, 6);
	lie_attribute(ino, ACL_NAME_ACCESS, &acl.x, (uint32_t)len);
	cr_assert_eq(check("acl", 0, 0), 0);
	lie_attribute(ino, ACL_NAME_DEFAULT, &acl.x, (uint32_t)len);
	cr_assert_eq(check("acl", 0, 0), 1, "a default one of a file");
}

/* ---- trees and chains that have no end ---- */

/* Each level names the one below over and over. */
static int grow_dag(struct tfs_trans *t, unsigned int levels, unsigned int width)
{
	struct tfs_tree_root *root = &t->fs->roots[TFS_TREE_FS];
	uint64_t block;
	struct tfs_buf *b;
	int err = 0;

	for (unsigned int level = root->level + 1; level <= levels && !err; level++) {
		err = alloc_node(t, root->addr, &block);
		if (!err)
			err = buf_new(t, block, BUF_NODE, &b);
		if (err)
			return err;
		node_init(t, b, TFS_TREE_FS, level);
		for (unsigned int k = 0; k < width; k++)
			inner_insert(t, b, k, &TKEY(1 + k, TFS_KEY_INODE, 0), root->addr);
		buf_put(b);
		btree_set_root(t, TFS_TREE_FS, block, level);
	}
	return err;
}

Test(hostile, a_tree_that_names_a_child_again_and_again)
{
	struct tfs_trans t = { 0 };
	unsigned int hits;
	int err;

	do {
		err = trans_begin(&t, fx.fs, 2 * TRANS_CREDITS(fx.fs));
		if (!err)
			err = alloc_prefault_nodes(&t, 0, 11);
		if (!err)
			err = grow_dag(&t, 11, 100);
	} while (trans_again(&t, &err));
	FX_OK(err);
	hits = check("node-twice", 0, 0);
	cr_assert_eq(hits, 11 * 99, "%u", hits);
	cr_assert_lt(said.progress, 200, "each node once");
}

Test(hostile, an_item_at_the_end_of_all_keys)
{
	struct tfs_inode_item it;
	le64 root = le64_of(ROOT);
	struct vfs_file *f;

	it = lie_inode_of(fx.fs, fx_file(&fx, "x", &f));
	fx_close(&fx, f);
	/* a back-reference without a name: all are looked at again */
	lie(ROOT, TFS_KEY_LINK, 0x12300, &root, sizeof(root));
	checked("names-differ", 1);
	lie(100, TFS_KEY_INODE, 0, &it, sizeof(it));
	lie(100, (enum tfs_key_type)255, UINT64_MAX, "", 0);
	checked("names-differ", 1);
	lie(UINT64_MAX, (enum tfs_key_type)255, UINT64_MAX, "", 0);
	checked("names-differ", 1);
}

/* A chain that leads nowhere, a loop, and chains that lead into both: passed once, not once for
 * each of their parts. */
Test(hostile, directories_that_hang_nowhere)
{
	const unsigned int n = 3000;
	struct tfs_inode_item it = lie_inode_of(fx.fs, ROOT);
	struct vfs_attr a;

	FX_OK(vfs_mkdir(fx.fs, ROOT, "good", 0755, &fx_root, &a));
	vfs_forget(fx.fs, a.ino, 1);
	it.nlink = le32_of(2);
	it.size = le64_of(0);
	for (unsigned int k = 0; k < n; k++) {
		/* up, but the middle one is above the last */
		le64 parent = le64_of(1000 + (k == n - 1 ? n / 2 : k + 1));

		lie(1000 + k, TFS_KEY_INODE, 0, &it, sizeof(it));
		lie(1000 + k, TFS_KEY_LINK, 0x12300, &parent, sizeof(parent));
	}
	cr_assert_eq(check("dir-unconnected", 0, 0), n);
	checked("dir-unconnected", n);
}

/* Many files, few blocks: each is read once, and named for all that have it. */
Test(hostile, blocks_that_many_share)
{
	const unsigned int copies = 30, blocks = 20;
	struct vfs_file *f, *to;
	struct vfs_extent x[2];
	char name[8];

	fx_file(&fx, "f", &f);
	fx_write(&fx, f, 0, blocks * bs - 100, 1);
	for (unsigned int k = 0; k < copies; k++) {
		snprintf(name, sizeof(name), "c%u", k);
		fx_file(&fx, name, &to);
		/* the same, less, and a part of it in the middle */
		FX_CHECK(vfs_copy_file_range(fx.fs, f, k % 3 == 2 ? 4 * bs : 0, to, 0,
					     k % 3 ? 10 * bs : blocks * bs, 0) > 0);
		fx_close(&fx, to);
	}
	FX_IS(vfs_extents(fx.fs, f, 0, x, 2), 2); /* counted differently, next to one another */
	cr_assert_eq(check(NULL, 0, 0), 0);
	cr_assert_eq(said.all, 0);
	cr_assert_eq(said.verified, blocks * bs, "%llu", (unsigned long long)said.verified);
	/* block 7: all have it; the last: the file and every third copy */
	((uint8_t *)bdev_mem_data(fx.dev))[x[0].addr + 7 * bs + 5] ^= 1;
	((uint8_t *)bdev_mem_data(fx.dev))[x[0].addr + (blocks - 1) * bs] ^= 1;
	cr_assert_eq(check("data-bad", 0, 0), 1 + copies + 1 + copies / 3);
	cr_assert_eq(said.bad, 2);
	fx_close(&fx, f);
}

/* Two files share their last block, and what lies behind the end of the one is content of the
 * other. */
Test(hostile, an_end_in_a_shared_block)
{
	struct vfs_file *f, *to;
	struct tfs_inode_item it;
	uint64_t ino;

	fx_file(&fx, "f", &f);
	fx_write(&fx, f, 0, 2 * bs, 1);
	ino = fx_file(&fx, "to", &to);
	FX_IS(vfs_copy_file_range(fx.fs, f, 0, to, 0, 2 * bs, 0), (int64_t)(2 * bs));
	fx_close(&fx, to);
	fx_close(&fx, f);
	cr_assert_eq(check("eof-tail", 0, 0), 0);
	it = lie_inode_of(fx.fs, ino);
	it.size = le64_of(2 * bs - 10);
	lie(ino, TFS_KEY_INODE, 0, &it, sizeof(it));
	cr_assert_eq(check("eof-tail", 0, 0), 1);
}

static struct tfs_super *super_on_device(void)
{
	return (struct tfs_super *)((char *)bdev_mem_data(fx.dev) + TFS_SUPER_OFFSET);
}

/* What lies on the device has one problem @code, and for @words is mounted for reading only. */
static void refused_for_writing(const char *code, const char *words)
{
	struct tfs_mount_opts o = { .no_threads = true };
	struct check_opts co = { .report = heard };
	struct check_result r;
	char why[300];

	said.code = code;
	said.hits = 0;
	FX_OK(tfs_check_device(fx.dev, &co, &r, why, sizeof(why)));
	cr_assert_eq(said.hits, 1, "%s", code);
	FX_IS(vfs_mount(fx.dev, &o, &fx.fs, why, sizeof(why)), -EUCLEAN);
	cr_assert(strstr(why, words), "%s", why);
	o.ro = true;
	FX_OK(vfs_mount(fx.dev, &o, &fx.fs, why, sizeof(why)));
	FX_OK(vfs_unmount(fx.fs));
}

Test(hostile, counts_that_there_cannot_be)
{
	static const struct {
		size_t at;
		uint64_t v;
	} bad[] = { { offsetof(struct tfs_super, free_blocks), 1ull << 63 },
		    { offsetof(struct tfs_super, free_blocks), 2049 },
		    { offsetof(struct tfs_super, data_blocks), 1ull << 40 },
		    { offsetof(struct tfs_super, node_blocks), UINT64_MAX },
		    { offsetof(struct tfs_super, free_slots), 1000 } };
	struct tfs_super *s = super_on_device(), good;

	FX_OK(vfs_unmount(fx.fs));
	good = *s;
	for (unsigned int k = 0; k < ARRAY_SIZE(bad); k++) {
		le64 v = le64_of(bad[k].v);

		*s = good;
		memcpy((char *)s + bad[k].at, &v, sizeof(v));
		tfs_super_seal(s);
		refused_for_writing("counter", "counts more blocks");
	}
	*s = good;
	mount_as(TFS_ERRORS_CONTINUE);
}

/* One of two files that share all goes, and would take the other's blocks along. */
Test(hostile, shared_blocks_that_nobody_counts)
{
	struct tfs_super *s = super_on_device(), good;
	struct vfs_file *f, *to;

	fx_file(&fx, "shared", &f);
	fx_write(&fx, f, 0, 2 * fx.fs->geom.block_size, 1);
	fx_file(&fx, "copy", &to);
	FX_IS(vfs_copy_file_range(fx.fs, f, 0, to, 0, 2 * fx.fs->geom.block_size, 0),
	      2 * fx.fs->geom.block_size);
	fx_close(&fx, to);
	fx_close(&fx, f);
	FX_OK(vfs_unmount(fx.fs));
	good = *s;
	s->roots[TFS_TREE_REFS] = (struct tfs_root){ 0 };
	tfs_super_seal(s);
	refused_for_writing("refs-missing", "nothing counts");
	*s = good;
	mount_as(TFS_ERRORS_CONTINUE);
}
