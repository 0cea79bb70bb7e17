/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fs/inode/damage.c: a flipped bit is an error for who reads it, a log line, and an item that
 * stays. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include "core/block/bdev.h"
#include "core/lib/log.h"
#include "fs/btree/btree.h"
#include "fs/disk/btree_key.h"
#include "fs/inode/damage.h"
#include "fs/inode/extent.h"
#include "fs/inode/icache.h"
#include "fs/inode/iget.h"
#include "fs/inode/inode.h"
#include "fs/journal/trans.h"
#include "fs/vfs/vfs.h"
#include "tallyfs/format.h"
#include "tests/lib/fixture.h"
#include "tests/lib/section.h"

static struct fixture fx;
static char last_line[1024];
static unsigned int lines;

static void hook(enum log_level lvl, const char *line)
{
	(void)lvl;
	lines++;
	strncpy(last_line, line, sizeof(last_line) - 1);
}

static void setup(void)
{
	fx_init();
	fx_create(&fx, FX_SMALL);
}

TestSuite(damage, .init = setup, .timeout = 900);

static uint64_t block_of(uint64_t ino, uint64_t fblk)
{
	struct extent e;
	int err;

	err = TRANS_READ(t, fx.fs, extent_seek(t, ino, fblk, &e));
	FX_OK(err);
	FX_CHECK(e.off <= fblk);
	return e.start + (fblk - e.off);
}

static int damage_item(uint64_t block, struct tfs_damage_item *it)
{
	struct tkey key = TKEY(TFS_INO_META, TFS_KEY_DAMAGE, block);
	return TRANS_READ(t, fx.fs, btree_lookup(t, TFS_TREE_FS, &key, it, sizeof(*it)));
}

Test(damage, flipped_bit)
{
	struct tfs_damage_item it;
	struct vfs_file *f;
	uint64_t ino = fx_file(&fx, "victim", &f), block;
	static char buf[40960];

	fx_write(&fx, f, 0, 40960, 1);
	FX_OK(vfs_fsync(fx.fs, f, false));
	block = block_of(ino, 5);
	fx_close(&fx, f);
	fx_remount(&fx);
	((uint8_t *)bdev_mem_data(fx.dev))[block * 4096 + 1234] ^= 4;
	log_set_hook(hook);
	f = fx_open(&fx, "victim");
	/* all before it is right, it is an error, all behind is right */
	cr_assert_eq(vfs_pread(fx.fs, f, buf, sizeof(buf), 0), 5 * 4096);
	cr_assert_eq(vfs_pread(fx.fs, f, buf, 1, 5 * 4096 + 100), -EIO);
	cr_assert(strstr(last_line, "/victim") && strstr(last_line, "20480"), "%s", last_line);
	fx_expect(&fx, f, 0, 5 * 4096, 1);
	fx_expect(&fx, f, 6 * 4096, 4 * 4096, 1);
	log_set_hook(NULL);
	FX_OK(damage_item(block, &it));
	cr_assert_eq(le64_get(it.ino), ino);
	cr_assert_eq(le64_get(it.offset), 5 * 4096);
	cr_assert_neq(le64_get(it.expected), le64_get(it.found));
	/* written anew it is good again */
	fx_write(&fx, f, 5 * 4096, 4096, 1);
	fx_close(&fx, f);
	fx_remount(&fx);
	f = fx_open(&fx, "victim");
	fx_expect(&fx, f, 0, 40960, 1);
	FX_OK(damage_item(block, &it));
	cr_assert_geq(fx_stat(&fx, "integrity", "mismatches"), 1);
	fx_close(&fx, f);
	fx_destroy(&fx);
	fx_exit();
}

Test(damage, partial_overwrite_of_a_bad_block_fails)
{
	struct vfs_file *f;
	uint64_t ino = fx_file(&fx, "a", &f), block;
	char c = 'x';

	fx_write(&fx, f, 0, 8192, 1);
	FX_OK(vfs_fsync(fx.fs, f, false));
	block = block_of(ino, 1);
	fx_close(&fx, f);
	fx_remount(&fx);
	log_set_hook(hook);
	((uint8_t *)bdev_mem_data(fx.dev))[block * 4096] ^= 1;
	f = fx_open(&fx, "a");
	cr_assert_eq(vfs_pwrite(fx.fs, f, &c, 1, 5000), -EIO);
	cr_assert_eq(fx_stat(&fx, "space", "reserved"), 0);
	((uint8_t *)bdev_mem_data(fx.dev))[block * 4096] ^= 1;
	log_set_hook(NULL);
	cr_assert_eq(vfs_pwrite(fx.fs, f, &c, 1, 5000), 1);
	fx_close(&fx, f);
	fx_destroy(&fx);
	fx_exit();
}

/* However often it is met; another block, or other content that goes bad there, is another line. */
Test(damage, one_bad_block_is_one_line)
{
	struct vfs_file *f;
	uint64_t ino = fx_file(&fx, "a", &f), block;
	char c;

	fx_write(&fx, f, 0, 3 * 4096, 1);
	FX_OK(vfs_fsync(fx.fs, f, false));
	block = block_of(ino, 1);
	fx_close(&fx, f);
	fx_remount(&fx);
	((uint8_t *)bdev_mem_data(fx.dev))[block * 4096] ^= 1;
	log_set_hook(hook);
	f = fx_open(&fx, "a");
	for (int i = 0; i < 6; i++)
		cr_assert_eq(vfs_pread(fx.fs, f, &c, 1, 5000), -EIO);
	cr_assert_eq(lines, 1);
	cr_assert(strstr(last_line, "damaged block") && !strstr(last_line, "not shown"), "%s",
		  last_line);
	((uint8_t *)bdev_mem_data(fx.dev))[(block + 1) * 4096] ^= 1;
	cr_assert_eq(vfs_pread(fx.fs, f, &c, 1, 9000), -EIO);
	cr_assert_eq(lines, 2);
	damage_record(fx.fs, ino, 4096, block, 1, 2);
	damage_run(fx.fs);
	cr_assert_eq(lines, 3);
	cr_assert_geq(fx_stat(&fx, "integrity", "mismatches"), 8);
	log_set_hook(NULL);
	((uint8_t *)bdev_mem_data(fx.dev))[block * 4096] ^= 1;
	((uint8_t *)bdev_mem_data(fx.dev))[(block + 1) * 4096] ^= 1;
	fx_close(&fx, f);
	fx_destroy(&fx);
	fx_exit();
}

/* An inode's number is some block's too: neither list may be taken for the other. */
Test(damage, lost_data_and_bad_blocks_are_apart)
{
	struct tkey key = TKEY(TFS_INO_META, TFS_KEY_LOST, 0);
	struct tfs_damage_item it;
	struct tfs_lost_item lost;
	struct tfs_inode *i;
	struct vfs_file *f;
	uint64_t ino = fx_file(&fx, "a", &f);

	damage_record(fx.fs, ino, 8192, ino, 1, 2);
	damage_run(fx.fs);
	FX_OK(inode_get(fx.fs, ino, &i));
	FX_OK(damage_lost(i));
	FX_OK(damage_lost(i));
	inode_put(i);
	FX_OK(damage_item(ino, &it));
	cr_assert_eq(le64_get(it.offset), 8192);
	cr_assert_eq(le32_get(it.count), 1);
	key.off = ino;
	FX_OK(IN_READ(fx.fs, btree_lookup(t, TFS_TREE_FS, &key, &lost, sizeof(lost))));
	cr_assert_eq(le32_get(lost.count), 2);
	fx_close(&fx, f);
	FX_OK(vfs_unmount(fx.fs));
	fx_check_clean(&fx);
	bdev_close(fx.dev);
}
