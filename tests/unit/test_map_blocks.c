/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fs/inode/map_blocks.c, end_ioends.c: what happens to a file while its blocks are on their way to
 * the device, or fail to get there.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>
#include "core/block/bdev.h"
#include "core/lib/log.h"
#include "core/lib/util.h"
#include "core/pagecache/pagecache.h"
#include "fs/alloc/alloc_int.h"
#include "fs/disk/geom.h"
#include "fs/inode/inode.h"
#include "fs/inode/wb_eof.h"
#include "fs/journal/journal.h"
#include "fs/journal/trans.h"
#include "fs/state/error.h"
#include "fs/vfs/mkfs.h"
#include "fs/vfs/vfs.h"
#include "tallyfs/format.h"
#include "tests/lib/faultdev.h"
#include "tests/lib/fixture.h"

#define BS 4096u
#define SLOW_US 400000u

static struct fixture fx;
static struct bdev *mem;

static void setup(void)
{
	fx_init();
	mem = fx_create_faulty(&fx, NULL);
}

static void teardown(void)
{
	faultdev_clear(fx.dev);
	fx_destroy(&fx);
	fx_exit();
}

TestSuite(map_blocks, .init = setup, .fini = teardown, .timeout = 900);

/* A fault for all of the device but the journal. */
static void fault_data(struct fault f)
{
	const struct tfs_geom *g = &fx.fs->geom;
	uint64_t from = g->journal_start << g->blkbits,
		 to = from + (g->journal_blocks << g->blkbits);

	if (f.times == FAULT_ALWAYS) {
		f.len = from;
		faultdev_add(fx.dev, &f);
	}
	f.off = to;
	f.len = mem->size - to;
	faultdev_add(fx.dev, &f);
}

static void *write_all(void *arg)
{
	(void)arg;
	pagecache_sync(fx.fs->pagecache, true);
	return NULL;
}

static pthread_t start(void *(*fn)(void *), void *arg)
{
	pthread_t t;

	FX_OK(pthread_create(&t, NULL, fn, arg));
	usleep(SLOW_US / 4);
	return t;
}

static uint64_t reserved(void)
{
	return fx_stat(&fx, "space", "reserved");
}

/* Blocks written to again while their writeback was under way, and failed, hold one reservation,
 * not two. */
Test(map_blocks, one_promise_for_a_block_that_failed_and_was_dirtied)
{
	struct vfs_file *f;
	pthread_t t;

	fx_file(&fx, "a", &f);
	fx_write(&fx, f, 0, 20 * BS, 1);
	cr_assert_eq(reserved(), 20);
	log_set_hook(NULL);
	fault_data((struct fault){ .kind = FAULT_DELAY, .ops = FAULT_IO, .usec = SLOW_US });
	fault_data((struct fault){ .kind = FAULT_ERROR, .ops = FAULT_WRITE });
	t = start(write_all, NULL);
	fx_write(&fx, f, 5 * BS, 10 * BS, 2);
	pthread_join(t, NULL);
	cr_assert_eq(reserved(), 20);
	faultdev_clear(fx.dev);
	cr_assert_eq(vfs_fsync(fx.fs, f, false), -EIO);
	FX_OK(vfs_fsync(fx.fs, f, false));
	cr_assert_eq(reserved(), 0);
	fx_expect(&fx, f, 0, 5 * BS, 1);
	fx_expect(&fx, f, 5 * BS, 10 * BS, 2);
	fx_close(&fx, f);
}

/* The same where the blocks are written in place and no claim was made for them. */
Test(map_blocks, one_promise_for_a_preallocated_block_that_failed)
{
	struct vfs_file *f;
	pthread_t t;

	fx_file(&fx, "a", &f);
	FX_OK(vfs_fallocate(fx.fs, f, 0, 0, 20 * BS));
	fx_write(&fx, f, 0, 20 * BS, 1);
	cr_assert_eq(reserved(), 20);
	fault_data((struct fault){ .kind = FAULT_DELAY, .ops = FAULT_IO, .usec = SLOW_US });
	fault_data((struct fault){ .kind = FAULT_ERROR, .ops = FAULT_WRITE });
	t = start(write_all, NULL);
	fx_write(&fx, f, 5 * BS, 10 * BS, 2);
	pthread_join(t, NULL);
	cr_assert_eq(reserved(), 20);
	faultdev_clear(fx.dev);
	cr_assert_eq(vfs_fsync(fx.fs, f, false), -EIO);
	FX_OK(vfs_fsync(fx.fs, f, false));
	cr_assert_eq(reserved(), 0);
	fx_close(&fx, f);
}

/* An error of writeback is seen once by each file that was open, and the data is not given up. */
Test(map_blocks, an_error_is_seen_by_every_open_file)
{
	struct vfs_file *f, *g;

	fx_file(&fx, "a", &f);
	g = fx_open(&fx, "a");
	fx_write(&fx, f, 0, 3 * BS, 1);
	fault_data((struct fault){ .kind = FAULT_ERROR, .ops = FAULT_WRITE });
	pagecache_sync(fx.fs->pagecache, true);
	faultdev_clear(fx.dev);
	FX_IS(vfs_flush(fx.fs, g), -EIO);
	FX_OK(vfs_flush(fx.fs, g));
	FX_IS(vfs_fsync(fx.fs, f, false), -EIO);
	FX_OK(vfs_fsync(fx.fs, f, false));
	FX_OK(vfs_fsync(fx.fs, g, false));
	fx_close(&fx, f);
	fx_close(&fx, g);
	fx_crash_remount(&fx);
	f = fx_open(&fx, "a");
	fx_expect(&fx, f, 0, 3 * BS, 1);
	fx_close(&fx, f);
}

static void *shrink(void *arg)
{
	fx_set_size(&fx, arg, BS + 100);
	return NULL;
}

/*
 * A truncation overtakes a writeback of the block that will hold EOF.  What is committed before the
 * block is written with a zeroed tail is the file as it was before, not the new size with the old
 * tail behind it.
 */
Test(map_blocks, truncation_while_the_block_is_written)
{
	struct bdev *copy = bdev_mem_create(mem->size);
	struct vfs_file *f, *g;
	struct fixture then;
	uint64_t writes;
	pthread_t t, u;

	FX_CHECK(copy);
	fx_file(&fx, "a", &f);
	FX_OK(vfs_fsync(fx.fs, f, false));
	fx_write(&fx, f, 0, 3 * BS, 1);
	writes = faultdev_writes(fx.dev);
	fault_data(
		(struct fault){ .kind = FAULT_STALL, .ops = FAULT_WRITE, .times = FAULT_ALWAYS });
	t = start(write_all, NULL);
	while (faultdev_writes(fx.dev) < writes + 1)
		usleep(1000);
	u = start(shrink, f);
	while (!faultdev_stalled(fx.dev))
		usleep(1000);
	faultdev_release(fx.dev);
	/* the whole blocks are there, the zeroed copy is on its way */
	while (faultdev_writes(fx.dev) < writes + 2)
		usleep(1000);
	FX_OK(journal_commit_all(fx.fs));
	memcpy(bdev_mem_data(copy), bdev_mem_data(mem), mem->size);
	faultdev_clear(fx.dev);
	pthread_join(t, NULL);
	pthread_join(u, NULL);
	cr_assert_eq(fx_size_of(&fx, f), BS + 100);
	fx_close(&fx, f);

	fx_mount(&then, copy, NULL);
	then.own_dev = true;
	g = fx_open(&then, "a");
	cr_assert_eq(fx_size_of(&then, g), 3 * BS);
	fx_expect(&then, g, 0, 3 * BS, 1);
	fx_close(&then, g);
	fx_destroy(&then);
}

/*
 * A copy of the EOF block is on its way while other ioends of the file meet a lack of memory: where
 * the file ended in that copy is not forgotten.
 */
Test(map_blocks, eof_of_a_copy_is_remembered_while_others_fail)
{
	struct address_space *m;
	struct vfs_file *f;
	bool all = false;
	pthread_t t;

	fx_file(&fx, "a", &f);
	m = &f->inode->mapping;
	fx_write(&fx, f, 20 * BS, 100, 1);
	fault_data((struct fault){ .kind = FAULT_STALL, .ops = FAULT_WRITE });
	t = start(write_all, NULL);
	while (!faultdev_stalled(fx.dev))
		usleep(1000);
	log_set_hook(NULL);
	for (uint64_t n = 1; !all && !atomic_load(&fx.fs->read_only); n++) {
		fx_write(&fx, f, 0, BS, 2);
		tl_alloc_fail_nth(n);
		filemap_write_and_wait_range(m, 0, BS);
		all = tl_alloc_count() < n;
		tl_alloc_fail_nth(0);
		cr_assert(wb_eof_find(f->inode, 20, 21), "allocation %llu", (unsigned long long)n);
	}
	faultdev_clear(fx.dev);
	pthread_join(t, NULL);
	cr_assert(!wb_eof_find(f->inode, 20, 21));
	fx_close(&fx, f);
	if (atomic_load(&fx.fs->read_only))
		fx_crash_remount(&fx);
}

/*
 * Blocks far behind the new EOF are still on their way when the flusher takes the EOF block with
 * its zeroed tail. Neither may the truncation be overtaken by them (they would be mapped behind
 * EOF), nor may their place go free while the device still writes to it.
 */
static void truncate_with_writes_behind(bool preallocated)
{
	struct vfs_file *f;
	pthread_t t, u, v;

	fx_file(&fx, "a", &f);
	if (preallocated)
		FX_OK(vfs_fallocate(fx.fs, f, 0, 0, 40 * BS));
	FX_OK(vfs_fsync(fx.fs, f, false));
	fx_write(&fx, f, 32 * BS, 8 * BS, 1);
	fault_data((struct fault){ .kind = FAULT_DELAY, .ops = FAULT_IO, .usec = 2 * SLOW_US });
	t = start(write_all, NULL);
	fx_write(&fx, f, 0, 2 * BS, 2);
	u = start(shrink, f);
	v = start(write_all, NULL);
	pthread_join(v, NULL);
	pthread_join(u, NULL);
	pthread_join(t, NULL);
	FX_OK(vfs_fsync(fx.fs, f, false));
	fx_close(&fx, f);
	fx_crash_remount(&fx);
	f = fx_open(&fx, "a");
	cr_assert_eq(fx_size_of(&fx, f), BS + 100);
	fx_set_size(&fx, f, 40 * BS);
	fx_expect(&fx, f, 0, BS + 100, 2);
	fx_expect_zero(&fx, f, BS + 100, 39 * BS - 100);
	fx_close(&fx, f);
	cr_assert_eq(reserved(), 0);
}

Test(map_blocks, truncation_waits_for_what_lies_behind)
{
	truncate_with_writes_behind(false);
}

Test(map_blocks, truncation_waits_for_what_is_written_in_place)
{
	truncate_with_writes_behind(true);
}

/* ---- others' errors ---- */

#define NR_OTHERS 20

/* A journal that has room for many files in one section, and small groups. */
static void setup_large(void)
{
	struct tfs_format_opts o = { .test_seed = 5,
				     .blocks_per_group = 2048,
				     .journal_bytes = 7u << 20 };

	fx_init();
	mem = bdev_mem_create(64u << 20);
	fx_format_as(mem, &o);
	fx_mount(&fx, faultdev_create(mem), NULL);
	fx.own_dev = true;
}

TestSuite(map_blocks_many, .init = setup_large, .fini = teardown, .timeout = 900);

/* A file of @blocks blocks that lie in another group than all that follows; which. */
static uint64_t file_far_away(const char *name, uint64_t blocks)
{
	struct vfs_extent e[4];
	struct vfs_file *f;
	uint64_t group;

	fx_file(&fx, "between", &f);
	fx_write(&fx, f, 0, 20u << 20, 1);
	FX_OK(vfs_fsync(fx.fs, f, false));
	fx_close(&fx, f);
	fx_file(&fx, name, &f);
	fx_write(&fx, f, 0, blocks * BS, 1);
	FX_OK(vfs_fsync(fx.fs, f, false));
	FX_CHECK(vfs_extents(fx.fs, f, 0, e, 4) > 0);
	group = tfs_group_of(&fx.fs->geom, e[0].addr >> fx.fs->geom.blkbits);
	fx_close(&fx, f);
	FX_OK(vfs_unlink(fx.fs, TFS_INO_ROOT, "between"));
	FX_CHECK(group > 1);
	fx_remount(&fx);
	return group;
}

static void break_bitmap(uint64_t group)
{
	faultdev_plan(fx.dev, .kind = FAULT_ERROR, .ops = FAULT_READ,
		      .off = tfs_group_bitmap_block(&fx.fs->geom, group) << fx.fs->geom.blkbits,
		      .len = BS, .times = FAULT_ALWAYS);
}

/*
 * The end of the writeback of many files is one section.  That of one of them needs a block that
 * can't be read: its data stays dirty and its fsync fails, and no other's.
 */
Test(map_blocks_many, what_one_file_meets_is_its_own)
{
	uint64_t group = file_far_away("bad", 40), writes, built;
	struct vfs_file *bad, *other[NR_OTHERS];
	char name[] = "a";
	struct tfs_trans t = { 0 };
	pthread_t syncer;
	int err = 0;

	break_bitmap(group);
	bad = fx_open(&fx, "bad");
	for (unsigned int k = 0; k < NR_OTHERS; k++) {
		name[0] = (char)('a' + k);
		fx_file(&fx, name, &other[k]);
		fx_write(&fx, other[k], 0, BS, k);
		/* every second block: each is an ioend of its own */
		fx_write(&fx, bad, 2 * k * BS, BS, 2);
	}
	FX_OK(journal_commit_all(fx.fs)); /* no section waits for room */
	writes = faultdev_writes(fx.dev);
	built = fx_stat(&fx, "cache", "ioends_built");
	faultdev_plan(fx.dev, .kind = FAULT_STALL, .ops = FAULT_WRITE, .times = FAULT_ALWAYS);
	FX_OK(pthread_create(&syncer, NULL, write_all, NULL));
	while (fx_stat(&fx, "cache", "ioends_built") < built + 2 * NR_OTHERS)
		usleep(1000);
	/* nothing comes into the tree before all of it is on the device: then it comes together */
	FX_OK(trans_begin(&t, fx.fs, TRANS_CREDITS(fx.fs)));
	faultdev_clear(fx.dev);
	break_bitmap(group);
	while (faultdev_writes(fx.dev) < writes + 2 * NR_OTHERS)
		usleep(1000);
	usleep(100000);
	cr_assert(!trans_again(&t, &err));
	pthread_join(syncer, NULL);
	for (unsigned int k = 0; k < NR_OTHERS; k++) {
		cr_assert(!filemap_range_busy(&other[k]->inode->mapping, 0, UINT64_MAX));
		FX_OK(vfs_fsync(fx.fs, other[k], false));
		fx_close(&fx, other[k]);
	}
	cr_assert_eq(vfs_fsync(fx.fs, bad, false), -EIO);
	faultdev_clear(fx.dev);
	vfs_fsync(fx.fs, bad, false); /* tells of the last attempt */
	FX_OK(vfs_fsync(fx.fs, bad, false));
	fx_close(&fx, bad);
	fx_crash_remount(&fx);
	bad = fx_open(&fx, "bad");
	for (unsigned int k = 0; k < NR_OTHERS; k++)
		fx_expect(&fx, bad, 2 * k * BS, BS, 2);
	fx_close(&fx, bad);
	cr_assert_eq(reserved(), 0);
}

#define NR_PIECES 10u /* more extents than one section replaces */
#define PIECED (2 * NR_PIECES)

/* Blocks [0, PIECED) of "a" are extents of a block and holes by turns, and lie anywhere; from there
 * to 2 * PIECED they lie in the group that comes back. */
static uint64_t file_in_pieces(void)
{
	uint64_t group = file_far_away("a", 2 * PIECED);
	struct vfs_extent e[2 * NR_PIECES];
	struct vfs_file *f = fx_open(&fx, "a");

	FX_OK(vfs_fallocate(fx.fs, f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PIECED * BS));
	for (unsigned int k = 0; k < NR_PIECES; k++)
		fx_write(&fx, f, 2 * k * BS, BS, 1);
	FX_OK(vfs_fsync(fx.fs, f, false));
	FX_IS(vfs_extents(fx.fs, f, 0, e, 2 * NR_PIECES), NR_PIECES + 1);
	for (unsigned int k = 0; k < NR_PIECES; k++)
		FX_CHECK(tfs_group_of(&fx.fs->geom, e[k].addr >> fx.fs->geom.blkbits) != group);
	fx_close(&fx, f);
	fx_remount(&fx);
	return group;
}

/*
 * A long ioend comes into the tree in several sections, and the last of them meets a block that
 * can't be read.  All of it is dirty again, and what the first ones have mapped needs reservations
 * anew.
 */
Test(map_blocks_many, a_reservation_for_what_was_mapped_before_the_error)
{
	uint64_t group = file_in_pieces();
	struct vfs_file *f = fx_open(&fx, "a");
	uint64_t seq = atomic_load(&f->inode->map_seq);

	break_bitmap(group);
	fx_write(&fx, f, 0, 2 * PIECED * BS, 2);
	cr_assert_eq(reserved(), 2 * PIECED);
	cr_assert_eq(vfs_fsync(fx.fs, f, false), -EIO);
	cr_assert_gt(atomic_load(&f->inode->map_seq), seq, "the first ones are in the tree");
	cr_assert_eq(reserved(), 2 * PIECED);
	faultdev_clear(fx.dev);
	FX_OK(vfs_fsync(fx.fs, f, false));
	cr_assert_eq(reserved(), 0);
	fx_close(&fx, f);
	fx_crash_remount(&fx);
	f = fx_open(&fx, "a");
	fx_expect(&fx, f, 0, 2 * PIECED * BS, 2);
	fx_close(&fx, f);
}

/* ---- unmounting ---- */

static void mount_again(void)
{
	char why[200];

	fx_check_clean(&fx);
	FX_OK(vfs_mount(fx.dev, &fx.opts, &fx.fs, why, sizeof(why)));
}

/* What fails for once is tried again, and then nothing was lost. */
Test(map_blocks, unmount_tries_again)
{
	struct vfs_file *f;

	fx_file(&fx, "a", &f);
	fx_write(&fx, f, 0, 20 * BS, 1);
	fx_close(&fx, f);
	fault_data((struct fault){ .kind = FAULT_ERROR, .ops = FAULT_WRITE, .times = 2 });
	FX_OK(vfs_unmount(fx.fs));
	mount_again();
	f = fx_open(&fx, "a");
	fx_expect(&fx, f, 0, 20 * BS, 1);
	fx_close(&fx, f);
}

/* Only where data lies, not in the front of each group, where metadata is. */
static void fail_data_alone(void)
{
	const struct tfs_geom *g = &fx.fs->geom;
	uint32_t from, to, end;

	for (uint64_t k = 0; k < g->nr_groups; k++) {
		alloc_node_area(g, k, &from, &to);
		end = tfs_group_nr_blocks(g, k) - 1; /* there may be a copy of the superblock */
		if (to < end)
			faultdev_plan(fx.dev, .kind = FAULT_ERROR, .ops = FAULT_WRITE,
				      .off = (tfs_group_start(g, k) + to) << g->blkbits,
				      .len = (uint64_t)(end - to) << g->blkbits,
				      .times = FAULT_ALWAYS);
	}
}

/* What can't be written for good is told: by the unmount, and by each fsync of the file from then
 * on. */
static void unmount_with_unwritable_data(bool damaged)
{
	struct vfs_file *f, *g;
	char why[200];

	fx_file(&fx, "a", &f);
	fx_write(&fx, f, 0, 20 * BS, 1);
	fx_close(&fx, f);
	fx_file(&fx, "b", &g);
	fx_write(&fx, g, 0, 100, 1); /* without a block of its own */
	fx_close(&fx, g);
	fail_data_alone();
	if (damaged)
		tfs_handle_fs_error(fx.fs, -EUCLEAN, "somebody has come upon damage");
	cr_assert_eq(vfs_unmount(fx.fs), -EIO);
	faultdev_clear(fx.dev);
	FX_OK(vfs_mount(fx.dev, &fx.opts, &fx.fs, why, sizeof(why)));
	f = fx_open(&fx, "a");
	cr_assert_eq(vfs_fsync(fx.fs, f, false), -EIO);
	fx_close(&fx, f);
	g = fx_open(&fx, "b");
	fx_expect(&fx, g, 0, 100, 1);
	FX_OK(vfs_fsync(fx.fs, g, false));
	fx_close(&fx, g);
	FX_OK(vfs_unlink(fx.fs, TFS_INO_ROOT, "a"));
}

Test(map_blocks, unmount_tells_what_it_could_not_write)
{
	unmount_with_unwritable_data(false);
}

/* Also when nobody may change anything any more. */
Test(map_blocks, unmount_tells_what_it_could_not_write_after_damage)
{
	unmount_with_unwritable_data(true);
	/* the checker would tell of it, at the end */
	vfs_crash(fx.fs);
	bdev_close(fx.dev);
	fx_exit();
	setup();
}
