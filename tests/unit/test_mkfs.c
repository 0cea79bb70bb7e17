/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fs/vfs/mkfs.c, mkfs_plan.c: making a file system: plans, refusals, left-overs, and power cuts
 * while at it.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "core/block/bdev.h"
#include "core/lib/util.h"
#include "fs/btree/btree.h"
#include "fs/disk/btree_key.h"
#include "fs/disk/geom.h"
#include "fs/disk/group.h"
#include "fs/disk/super.h"
#include "fs/journal/trans.h"
#include "fs/state/fs.h"
#include "fs/vfs/fs_open.h"
#include "fs/vfs/mkfs.h"
#include "tallyfs/format.h"
#include "tests/lib/crashdev.h"
#include "tests/lib/fixture_bare.h"
#include "tests/lib/random.h"

#define M (1ull << 20)

/* Only the size counts for a plan. */
static int plan(uint64_t bytes, const struct tfs_format_opts *o, struct tfs_super *s,
		struct tfs_geom *g, char *why)
{
	struct bdev b = { .size = bytes, .align = 512 };

	why[0] = 0;
	return tfs_format_plan(&b, o, s, g, why, 200);
}

Test(mkfs, refusals)
{
	static const struct {
		uint64_t bytes;
		struct tfs_format_opts o;
		const char *says;
	} t[] = {
		{ 64 * M, { .block_size = 3000 }, "block size" },
		{ 64 * M, { .block_size = 512 }, "block size" },
		{ 64 * M, { .block_size = 131072 }, "block size" },
		{ 64 * M, { .node_size = 2048 }, "node size" },
		{ 64 * M, { .node_size = 20000 }, "node size" },
		{ 64 * M, { .block_size = 16384, .node_size = 8192 }, "node size" },
		{ 64 * M, { .blocks_per_group = 100 }, "blocks per group" },
		{ 64 * M, { .blocks_per_group = 65536 }, "blocks per group" },
		{ 64 * M, { .guard = (enum tfs_guard)9 }, "guard" },
		{ 64 * M, { .journal_bytes = 4096 }, "journal size" },
		{ 64 * M, { .journal_bytes = 63 * M }, "journal size" },
		{ 70000 * M,
		  { .block_size = 65536, .node_size = 65536, .journal_bytes = 1025 * M },
		  "journal size" },
		{ 64 * M, { .journal_bytes = 2 * M, .blocks_per_group = 256 }, "room" },
		{ 64 * M, { .size = 65 * M }, "device" },
		{ 1 * M, { 0 }, "too small" },
		{ 0, { 0 }, "too small" },
		{ 3 * M, { .block_size = 65536, .node_size = 65536 }, "too small" },
	};
	struct tfs_super s;
	struct tfs_geom g;
	char why[200];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(t); i++) {
		cr_assert_eq(plan(t[i].bytes, &t[i].o, &s, &g, why), -EINVAL, "row %u", i);
		cr_assert(strstr(why, t[i].says), "row %u says: %s", i, why);
	}
}

/* What mkfs would not make is not mounted: one too small for an operation, one that takes minutes
 * to read. */
Test(mkfs, journals_out_of_bounds_make_no_sense)
{
	static const uint32_t bs[] = { 1024, 4096, 65536 };
	struct tfs_format_opts o = { .test_seed = 1 };
	struct tfs_geom g, again;
	struct tfs_super s;
	uint64_t min, max;
	char why[200];

	for (unsigned int i = 0; i < ARRAY_SIZE(bs); i++) {
		o.block_size = bs[i];
		o.node_size = max_t(uint32_t, bs[i], TFS_MIN_NODE);
		cr_assert_eq(plan(70000 * M, &o, &s, &g, why), 0, "%s", why);
		min = div_up(tfs_geom_min_journal(&g), bs[i]);
		max = TFS_MAX_JOURNAL / bs[i];
		s.journal_blocks = le64_of(min);
		cr_assert_eq(tfs_super_geom(&s, &again), 0);
		s.journal_blocks = le64_of(min - 1);
		cr_assert_eq(tfs_super_geom(&s, &again), -EUCLEAN);
		if (bs[i] != 65536) /* its groups alone are large enough */
			continue;
		s.journal_blocks = le64_of(max);
		cr_assert_eq(tfs_super_geom(&s, &again), 0);
		s.journal_blocks = le64_of(max + 1);
		cr_assert_eq(tfs_super_geom(&s, &again), -EUCLEAN);
		o.journal_bytes = TFS_MAX_JOURNAL;
		cr_assert_eq(plan(70000 * M, &o, &s, &g, why), 0, "%s", why);
	}
}

Test(mkfs, every_size_that_is_accepted_makes_sense)
{
	static const uint32_t bs[] = { 1024, 2048, 4096, 16384, 65536 };
	struct tfs_format_opts o = { .test_seed = 1 };
	uint64_t bytes, made = 0;
	struct tfs_super s;
	struct tfs_geom g, again;
	char why[200];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(bs); i++) {
		o.block_size = bs[i];
		for (bytes = 2 * M; bytes < 1ull << 50; bytes += bytes / 5 + 12345) {
			if (plan(bytes, &o, &s, &g, why)) {
				cr_assert(why[0]);
				cr_assert_lt(bytes, 16 * M);
				continue;
			}
			made++;
			cr_assert_eq(tfs_super_geom(&s, &again), 0);
			cr_assert_leq(g.total_blocks * bs[i], bytes);
			cr_assert_gt(g.total_blocks * bs[i] * 5, bytes * 4 - 4 * M,
				     "little is left out");
			cr_assert(!tfs_geom_fixed(&g, le64_get(s.roots[0].addr), g.node_blocks));
			cr_assert_eq(le64_get(s.roots[0].addr) % g.blocks_per_group % g.node_blocks,
				     0);
			cr_assert_lt(le64_get(s.free_blocks), g.total_blocks);
		}
	}
	cr_assert_gt(made, 100);
}

Test(mkfs, counts_agree_with_the_groups)
{
	struct tfs_format_opts o = { .test_seed = 1, .blocks_per_group = 256 };
	uint64_t group, blocks, slots;
	struct tfs_super s;
	struct tfs_geom g;
	uint32_t fb, fs;
	uint64_t bytes;
	char why[200];

	for (bytes = 3 * M; bytes < 40 * M; bytes += 777777) {
		cr_assert_eq(plan(bytes, &o, &s, &g, why), 0, "%s", why);
		for (group = blocks = slots = 0; group < g.nr_groups; group++) {
			group_fresh_counts(&g, group, &fb, &fs);
			blocks += fb;
			slots += fs;
		}
		cr_assert_eq(le64_get(s.free_blocks), blocks - g.node_blocks);
		cr_assert_eq(le64_get(s.free_slots), slots - 1);
	}
}

static int get_root(struct tfs_trans *t, void *arg)
{
	struct tkey k = TKEY(TFS_INO_ROOT, TFS_KEY_INODE, 0);

	return btree_lookup(t, TFS_TREE_FS, &k, arg, sizeof(struct tfs_inode_item));
}

Test(mkfs, opens_with_a_root_directory)
{
	static const uint32_t bs[] = { 1024, 4096, 65536 };
	struct tfs_format_opts o = { .test_seed = 3, .root_uid = 1000, .root_gid = 50 };
	struct tfs_inode_item it;
	struct tfs_super s;
	struct tfs_geom g;
	struct tfs_fs *fs;
	struct bdev *b;
	char why[200];
	unsigned int i;
	int which;

	for (i = 0; i < 2 * ARRAY_SIZE(bs); i++) {
		o.block_size = bs[i / 2];
		o.guard = i % 2 ? TFS_GUARD_CRC32 : TFS_GUARD_XXH3;
		strcpy(o.label, "a label");
		fs = fx_fs_create(32 * M, &o);
		b = fs->bdev;
		cr_assert_eq(fx_in_read(fs, get_root, &it), 0);
		cr_assert_eq(le32_get(it.mode), 040755);
		cr_assert_eq(le32_get(it.uid), 1000);
		cr_assert_eq(le32_get(it.gid), 50);
		cr_assert_eq(le32_get(it.nlink), 2);
		for (which = -1; which < 2; which++) {
			cr_assert_eq(tfs_super_read(b, which, &s, &g, why, sizeof(why)), 0, "%s",
				     why);
			cr_assert_str_eq((char *)s.label, "a label");
		}
		fx_fs_destroy(fs);
	}
}

Test(mkfs, writes_little)
{
	struct bdev *b = bdev_mem_create(256 * M);
	struct tfs_format_opts o = { .test_seed = 1 };

	cr_assert(b);
	fx_format_as(b, &o);
	cr_assert_lt(atomic_load(&b->stats.write_bytes), 200 * 1024);
	bdev_close(b);
}

/*
 * mkfs over an older one, cut off at any moment: what can be opened is either of the two,
 * and whole.
 */
Test(mkfs, power_cuts)
{
	struct tfs_format_opts o = fx_bare_opts();
	struct tfs_mount_opts ro = { .ro = true, .no_threads = true };
	struct bdev *old = bdev_mem_create(8 * M), *img = bdev_mem_create(8 * M);
	uint64_t rng = test_seed(9), cut, seed, old_seed, new_seed = 0, opened = 0, refused = 0;
	struct tfs_inode_item it;
	struct crashdev *cd;
	struct tfs_fs *fs;
	char why[200];
	int mode, err;

	cr_assert(old && img);
	fx_format_as(old, &o);
	fs = fx_fs_open(old);
	old_seed = fs->seed;
	cr_assert_eq(tfs_close(fs), 0);
	o.test_seed = 99;
	o.node_size = 4096; /* another layout */
	for (mode = 0; mode < CRASH_MODES; mode++) {
		cd = crashdev_create(bdev_mem_data(old), 8 * M);
		cr_assert(cd);
		fx_format_as(crashdev_bdev(cd), &o);
		for (cut = 0; cut <= crashdev_events(cd); cut++) {
			crashdev_image(cd, cut, (enum crash_mode)mode, &rng, bdev_mem_data(img));
			err = tfs_open(img, &ro, &fs, why, sizeof(why));
			refused += !!err;
			if (err)
				continue;
			opened++;
			seed = fs->seed;
			cr_assert_eq(fx_in_read(fs, get_root, &it), 0, "mode %d, cut %lu", mode,
				     (unsigned long)cut);
			tfs_close_nosave(fs);
			if (seed != old_seed)
				new_seed = seed;
			cr_assert(cut < crashdev_events(cd) || seed == new_seed);
		}
		crashdev_destroy(cd);
	}
	cr_assert_neq(new_seed, 0);
	cr_assert(opened && refused);
	bdev_close(old);
	bdev_close(img);
}
