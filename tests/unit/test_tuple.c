/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fs/journal/tuple.c: tuples of data: runs over tuple blocks, groups without a header, and the way
 * through a commit.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "core/block/bdev.h"
#include "core/block/integrity.h"
#include "fs/alloc/group_trans.h"
#include "fs/disk/geom.h"
#include "fs/journal/journal.h"
#include "fs/journal/trans.h"
#include "fs/journal/tuple.h"
#include "fs/state/fs.h"
#include "fs/vfs/fs_open.h"
#include "fs/vfs/mkfs.h"
#include "tallyfs/format.h"
#include "tests/lib/fixture_bare.h"

#define N 1200

struct run {
	uint64_t block;
	uint32_t n;
	struct tuple16 *tuples;
};

static int do_read(struct tfs_trans *t, void *arg)
{
	struct run *r = arg;

	return tuple_read(t, r->block, r->n, r->tuples);
}

static int do_write(struct tfs_trans *t, void *arg)
{
	struct run *r = arg;
	int err = group_init(t, tfs_group_of(&t->fs->geom, r->block));

	return err ? err : tuple_write(t, r->block, r->n, r->tuples);
}

static void make(struct tuple16 *t, uint32_t n, uint64_t x)
{
	while (n--)
		t[n] = (struct tuple16){ le64_of(x * 1000003 + n),
					 le16_of(TFS_APP_DATA),
					 { (uint8_t)n } };
}

Test(tuple, survives_commit_and_reopen)
{
	struct tfs_format_opts o = fx_bare_opts();
	static struct tuple16 want[N], got[N];
	struct run w = { .n = N, .tuples = want }, r = { .n = N, .tuples = got };
	struct tfs_fs *fs;

	o.blocks_per_group = 4096;
	fs = fx_fs_create(64ull << 20, &o);
	/* over several tuple blocks, in a group that was not in use */
	w.block = r.block = 2 * 4096 + 777;
	cr_assert_eq(fx_in_read(fs, do_read, &r), 0);
	cr_assert_eq(memcmp(got, want, sizeof(got)), 0, "never written: zeros");
	make(want, N, 1);
	cr_assert_eq(fx_in_write(fs, do_write, &w), 0);
	cr_assert_eq(fs->cnt.groups_init, 3);
	cr_assert_eq(fx_in_read(fs, do_read, &r), 0);
	cr_assert_eq(memcmp(got, want, sizeof(got)), 0);
	cr_assert_eq(journal_commit_all(fs), 0);
	/* a later change of a part, which only the log has */
	w.n = 3;
	w.block += 250;
	w.tuples += 250;
	make(w.tuples, 3, 2);
	cr_assert_eq(fx_in_write(fs, do_write, &w), 0);
	fs = fx_fs_reopen(fs);
	memset(got, 0xee, sizeof(got));
	cr_assert_eq(fx_in_read(fs, do_read, &r), 0);
	cr_assert_eq(memcmp(got, want, sizeof(got)), 0);
	fx_fs_destroy(fs);
}

Test(tuple, bounds)
{
	struct tfs_format_opts o = fx_bare_opts();
	struct tfs_fs *fs = fx_fs_create(8ull << 20, &o);
	struct tuple16 t[4];
	struct run r = { fs->geom.total_blocks - 2, 2, t };

	cr_assert_eq(fx_in_read(fs, do_read, &r), 0);
	r.n = 3;
	cr_assert_eq(fx_in_read(fs, do_read, &r), -EUCLEAN);
	r.block = ~0ull;
	cr_assert_eq(fx_in_read(fs, do_read, &r), -EUCLEAN);
	fx_fs_destroy(fs);
}

Test(tuple, damaged_tuple_block_is_refused)
{
	struct tfs_format_opts o = fx_bare_opts();
	struct tfs_fs *fs = fx_fs_create(8ull << 20, &o);
	struct bdev *b = fs->bdev;
	struct tuple16 t[4];
	struct run r = { 1000, 4, t };
	unsigned int slot;

	make(t, 4, 3);
	cr_assert_eq(fx_in_write(fs, do_write, &r), 0);
	cr_assert_eq(tfs_close(fs), 0);
	fs = fx_fs_open(b);
	((uint8_t *)bdev_mem_data(b))[tfs_tuple_block_of(&fs->geom, 1000, &slot) * 4096 + 77] ^= 1;
	cr_assert_eq(fx_in_read(fs, do_read, &r), -EUCLEAN);
	tfs_close_nosave(fs);
	bdev_close(b);
}

Test(tuple, made_as_the_profile_does)
{
	static uint8_t data[2 * 4096];
	struct tfs_format_opts o = fx_bare_opts();
	struct tuple16 t[2];
	struct tfs_fs *fs;
	unsigned int bad, i;

	for (i = TFS_GUARD_XXH3; i <= TFS_GUARD_CRC32; i++) {
		o.guard = (enum tfs_guard)i;
		fs = fx_fs_create(8ull << 20, &o);
		data[0]++;
		tuple_make(fs, 500, 2, data, TFS_APP_DATA, t);
		cr_assert_eq(le16_get(t[0].app), TFS_APP_DATA);
		cr_assert_eq(t[0].ref[0] | t[0].ref[1] << 8, 500);
		cr_assert_eq(t[1].ref[0] | t[1].ref[1] << 8, 501);
		cr_assert_eq(blk_integrity_verify_buf(&fs->integrity, data, 500, 2, TFS_APP_DATA, t,
						      &bad),
			     0);
		cr_assert_eq(blk_integrity_verify_buf(&fs->integrity, data, 500, 2, TFS_APP_NODE, t,
						      &bad),
			     -EILSEQ);
		data[4096] ^= 1;
		cr_assert_eq(blk_integrity_verify_buf(&fs->integrity, data, 500, 2, TFS_APP_DATA, t,
						      &bad),
			     -EILSEQ);
		cr_assert_eq(bad, 1);
		fx_fs_destroy(fs);
	}
}
