/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fsck/check_*.c: damage of each kind, alone: it is found, and called by its name. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <string.h>
#include "core/block/bdev.h"
#include "fs/disk/geom.h"
#include "fs/inode/inode.h"
#include "fs/names/chunks.h"
#include "fs/vfs/vfs.h"
#include "fsck/check.h"
#include "tallyfs/format.h"
#include "tests/lib/fixture.h"
#include "tests/lib/lie.h"
#include "tests/lib/seal.h"

#define BS 4096u

static struct fixture fx;
/* "a": three blocks full; "b": another two; "d": a directory with one name in it */
static uint64_t ino_a, ino_b, ino_d, at_a, at_b;

/* The device block where the file's content begins. */
static uint64_t file(const char *name, uint64_t blocks, uint64_t *at)
{
	struct vfs_extent x;
	struct vfs_file *f;
	uint64_t ino = fx_file(&fx, name, &f);

	fx_write(&fx, f, 0, blocks * BS, 1);
	FX_IS(vfs_extents(fx.fs, f, 0, &x, 1), 1);
	cr_assert_eq(x.len, blocks * BS);
	*at = x.addr / BS;
	fx_close(&fx, f);
	return ino;
}

static void setup(void)
{
	struct vfs_attr a;

	fx_init();
	fx_create(&fx, FX_SMALL);
	ino_a = file("a", 3, &at_a);
	ino_b = file("b", 2, &at_b);
	FX_OK(vfs_mkdir(fx.fs, TFS_INO_ROOT, "d", 0755, &fx_root, &a));
	ino_d = a.ino;
	FX_OK(vfs_mkdir(fx.fs, ino_d, "e", 0755, &fx_root, &a));
	FX_OK(vfs_sync(fx.fs));
}

static void teardown(void)
{
	/* no image here ends clean */
	if (fx.fs)
		vfs_crash(fx.fs);
	bdev_close(fx.dev);
	fx_exit();
}

TestSuite(check, .init = setup, .fini = teardown, .timeout = 900);

struct heard {
	const char *code;
	unsigned int hits;
	enum check_severity severity;
};

static void hear(void *arg, const struct check_problem *p)
{
	struct heard *h = arg;

	if (strcmp(p->code, h->code))
		return;
	h->hits++;
	h->severity = p->severity;
}

/* What is on the device has problem @code. */
static void found(const char *code, enum check_severity severity)
{
	struct heard h = { .code = code };
	struct check_opts o = { .report = hear, .arg = &h, .verify_data = true };
	struct check_result r;
	char why[300] = "";

	if (fx.fs)
		FX_OK(vfs_unmount(fx.fs));
	fx.fs = NULL;
	FX_OK(tfs_check_device(fx.dev, &o, &r, why, sizeof(why)));
	cr_assert_gt(h.hits, 0, "%s", code);
	cr_assert_eq(h.severity, severity, "%s", code);
	cr_assert_gt(severity == CHECK_ERROR ? r.errors : r.leaks, 0);
}

/* ---- items ---- */

static void lie_fs(uint64_t ino, enum tfs_key_type type, uint64_t off, const void *data,
		   uint32_t len)
{
	lie_item(fx.fs, TFS_TREE_FS, ino, type, off, data, len);
}

static void lie_extent(uint64_t ino, uint64_t off, uint64_t start, uint32_t len)
{
	struct tfs_extent_item x = { .start = le64_of(start), .len = le32_of(len) };

	lie_fs(ino, TFS_KEY_EXTENT, off, &x, sizeof(x));
}

static void lie_refs(uint64_t start, uint32_t len, uint32_t count)
{
	struct tfs_refs_item x = { .len = le32_of(len), .count = le32_of(count) };

	lie_item(fx.fs, TFS_TREE_REFS, TFS_INO_META, TFS_KEY_REFS, start, &x, sizeof(x));
}

static void lie_nlink(uint64_t ino, uint32_t nlink)
{
	struct tfs_inode_item it = lie_inode_of(fx.fs, ino);

	it.nlink = le32_of(nlink);
	lie_inode(fx.fs, ino, &it);
}

static void lie_size(uint64_t ino, uint64_t size)
{
	struct tfs_inode_item it = lie_inode_of(fx.fs, ino);

	it.size = le64_of(size);
	lie_inode(fx.fs, ino, &it);
}

/* The inode number of a new symbolic link in the root. */
static uint64_t symlink_to(const char *name, const char *target)
{
	struct vfs_attr a;

	FX_OK(vfs_symlink(fx.fs, TFS_INO_ROOT, name, target, &fx_root, &a));
	FX_OK(vfs_sync(fx.fs));
	return a.ino;
}

Test(check, target_with_a_zero_byte)
{
	lie_fs(symlink_to("l", "abcd"), TFS_KEY_SYMLINK, 0, "ab\0d", 4);
	found("symlink", CHECK_ERROR);
}

Test(check, target_that_begins_behind_its_beginning)
{
	uint64_t ino = symlink_to("l", "abcd");

	lie_fs(ino, TFS_KEY_SYMLINK, 0, NULL, 0);
	lie_fs(ino, TFS_KEY_SYMLINK, 1, "abcd", 4);
	found("symlink", CHECK_ERROR);
}

Test(check, pieces_of_different_length)
{
	uint64_t ino = symlink_to("l", "abcd");

	lie_fs(ino, TFS_KEY_SYMLINK, 0, "ab", 2);
	lie_fs(ino, TFS_KEY_SYMLINK, 1, "cd", 2);
	found("value", CHECK_ERROR);
}

Test(check, value_without_its_second_piece)
{
	static const uint8_t value[TFS_MAX_NODE];
	uint32_t rest = 100;

	FX_OK(vfs_setxattr(fx.fs, ino_a, "user.long", value, chunk_size(fx.fs) + rest, 0,
			   &fx_root));
	lie_fs(ino_a, TFS_KEY_XATTR_VALUE, 1ull << 32 | 1, NULL, 0);
	lie_fs(ino_a, TFS_KEY_XATTR_VALUE, 1ull << 32 | 2, value, rest);
	found("value", CHECK_ERROR);
}

Test(check, links_of_a_file)
{
	lie_nlink(ino_a, 2);
	found("nlink", CHECK_ERROR);
}

Test(check, links_of_a_directory)
{
	lie_nlink(ino_d, 2);
	found("nlink", CHECK_ERROR);
}

Test(check, entries_of_a_directory)
{
	lie_size(ino_d, 2);
	found("dir-size", CHECK_ERROR);
}

Test(check, a_back_reference_too_many)
{
	le64 dir = le64_of(TFS_INO_ROOT);

	lie_fs(ino_a, TFS_KEY_LINK, 77 << 8, &dir, sizeof(dir));
	lie_nlink(ino_a, 2);
	found("names-differ", CHECK_ERROR);
}

Test(check, no_name_and_no_orphan)
{
	lie_nlink(ino_a, 0);
	found("orphan-missing", CHECK_ERROR);
}

Test(check, an_orphan_with_a_name)
{
	lie_fs(TFS_INO_META, TFS_KEY_ORPHAN, ino_a, "", 0);
	found("orphan-linked", CHECK_ERROR);
}

Test(check, blocks_of_an_inode)
{
	struct tfs_inode_item it = lie_inode_of(fx.fs, ino_a);

	it.blocks = le64_of(7);
	lie_inode(fx.fs, ino_a, &it);
	found("inode-blocks", CHECK_LEAK);
}

Test(check, a_block_with_two_owners)
{
	lie_extent(ino_b, 0, at_a, 2);
	found("block-twice", CHECK_ERROR);
}

Test(check, extents_that_overlap)
{
	lie_extent(ino_a, 2, at_b, 2);
	found("item-bad", CHECK_ERROR);
}

Test(check, bytes_behind_the_end)
{
	lie_size(ino_a, 3 * BS - 100);
	found("eof-tail", CHECK_ERROR);
}

Test(check, a_count_of_owners_for_blocks_that_have_one)
{
	lie_refs(at_a, 3, 2);
	found("refcount", CHECK_ERROR);
}

Test(check, a_wrong_count_of_owners)
{
	struct vfs_file *f = fx_open(&fx, "a"), *to;

	fx_file(&fx, "copy", &to);
	FX_IS(vfs_copy_file_range(fx.fs, f, 0, to, 0, 3 * BS, 0), 3 * BS);
	fx_close(&fx, f);
	fx_close(&fx, to);
	lie_refs(at_a, 3, 3);
	found("refcount", CHECK_ERROR);
}

/* ---- what lies beside the trees ---- */

static void seal_unmounted(struct seal *s)
{
	FX_OK(vfs_unmount(fx.fs));
	fx.fs = NULL;
	FX_OK(seal_open(s, bdev_mem_data(fx.dev)));
}

/* One bit of the bitmap is turned over, and the group vouches for it. */
static void flip_bitmap(uint64_t block)
{
	uint64_t group, bit;
	struct seal s;
	uint8_t *map;

	seal_unmounted(&s);
	group = tfs_group_of(&s.geom, block);
	bit = block - tfs_group_start(&s.geom, group);
	map = seal_at(&s, tfs_group_bitmap_block(&s.geom, group));
	map[bit / 8] ^= (uint8_t)(1u << bit % 8);
	seal_bitmap(&s, group);
	seal_header(&s, group);
}

Test(check, a_block_in_use_marked_free)
{
	flip_bitmap(at_a);
	found("bitmap-missing", CHECK_ERROR);
}

Test(check, a_free_block_marked_used)
{
	flip_bitmap(at_b + 20);
	found("bitmap-leak", CHECK_LEAK);
}

/* A transaction that was committed, and whose payload is no longer what it was. */
Test(check, a_corrupt_journal)
{
	const struct tfs_log_commit *c = NULL;
	const struct tfs_geom *g = &fx.fs->geom;
	uint8_t *log = (uint8_t *)bdev_mem_data(fx.dev) + (g->journal_start << g->blkbits);
	uint64_t end = (g->journal_blocks << g->blkbits) / TFS_LOG_BLOCK, i;

	vfs_crash(fx.fs);
	fx.fs = NULL;
	for (i = TFS_LOG_FIRST; i < end && !c; i++) {
		c = (const void *)(log + i * TFS_LOG_BLOCK);
		if (le32_get(c->magic) != TFS_COMMIT_MAGIC)
			c = NULL;
	}
	cr_assert(c);
	log[le64_get(c->start) * TFS_LOG_BLOCK + 100] ^= 1;
	found("journal-corrupt", CHECK_ERROR);
}

Test(check, data_that_does_not_match)
{
	struct seal s;

	seal_unmounted(&s);
	((uint8_t *)seal_at(&s, at_a + 1))[7] ^= 1;
	found("data-bad", CHECK_ERROR);
}
