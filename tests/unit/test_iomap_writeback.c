/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * core/iomap/writeback.c, ioend.c, seek.c: B13 to B18: how ioends are built, what becomes of
 * errors, sorting and merging; and seeking.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include "core/lib/log.h"
#include "core/pagecache/pagecache_internal.h"
#include "tests/lib/toymap.h"

#define BS 4096u
#define FOLIO (8 * BS)

static struct toymap t;
static unsigned char buf[8 << 20], back[8 << 20];
static char last_line[200];

static void keep_line(enum log_level lvl, const char *line)
{
	if (strstr(line, "writeback"))
		strncpy(last_line, line, sizeof(last_line) - 1);
}

static void setup(void)
{
	log_set_hook(keep_line);
	toymap_init(&t, &(struct toy_config){ .blkbits = 12,
					      .folio_shift = 15,
					      .file_bytes = 40 << 20,
					      .dev_bytes = 100 << 20,
					      .integrity = true });
	memset(buf, 0x55, sizeof(buf));
}

static void teardown(void)
{
	toymap_exit(&t);
}

TestSuite(iomap_writeback, .init = setup, .fini = teardown);

static struct pagecache_stats stats(void)
{
	struct pagecache_stats st;

	pagecache_get_stats(t.cache, &st);
	return st;
}

Test(iomap_writeback, one_ioend_as_long_as_things_go_on)
{
	toymap_write(&t, 0, buf, sizeof(buf));
	cr_assert_eq(toymap_sync(&t), 0);
	cr_assert_eq(stats().ioends_built, 1);
	/* in bios of a megabyte */
	cr_assert_eq(faultdev_writes(t.bdev), sizeof(buf) >> 20);
	/* a gap in the file ends it; what is contiguous neither here nor there is not merged */
	toymap_write(&t, 0, buf, BS);
	toymap_write(&t, 2 * BS, buf, BS);
	cr_assert_eq(toymap_sync(&t), 0);
	cr_assert_eq(stats().ioends_built, 3);
	cr_assert_eq(t.merges, 0);
}

Test(iomap_writeback, limit_of_an_ioend)
{
	for (uint64_t pos = 0; pos < 24 << 20; pos += sizeof(buf))
		toymap_write(&t, pos, buf, sizeof(buf));
	cr_assert_eq(toymap_sync(&t), 0);
	cr_assert_eq(stats().ioends_built, 2);
	cr_assert_eq(t.ioends, 2);
}

Test(iomap_writeback, scattered_blocks_merge_at_completion)
{
	t.scatter = true;
	faultdev_plan(t.bdev, .kind = FAULT_DELAY, .ops = FAULT_IO, .usec = 20000);
	toymap_write(&t, 0, buf, 64 * BS);
	cr_assert_eq(toymap_sync(&t), 0);
	cr_assert_eq(stats().ioends_built, 64);
	cr_assert_eq(t.ioends, 64);
	cr_assert_gt(t.merges, 0);
	cr_assert_lt(t.batches, 64);
	pagecache_shrink(t.cache, 0);
	cr_assert_eq(toymap_read(&t, 0, back, 64 * BS), 64 * BS);
	cr_assert_eq(memcmp(buf, back, 64 * BS), 0);
}

/* B14 */
Test(iomap_writeback, around_eof)
{
	struct folio *f;
	_Alignas(4096) unsigned char disk[BS];

	toymap_write(&t, 0, buf, 2 * FOLIO);
	i_size_write(&t.mapping, BS + 100); /* a truncate that has not come to the cache yet */
	cr_assert_eq(toymap_sync(&t), 0);
	cr_assert_eq(t.blocks[1].type, IOMAP_MAPPED);
	cr_assert_eq(t.blocks[2].type, IOMAP_HOLE);
	f = filemap_get_folio(&t.mapping, 0);
	cr_assert(!iomap_block_dirty(f, 1) && iomap_block_dirty(f, 2));
	folio_put(f);
	cr_assert_eq(bdev_read(t.bdev, disk, BS, t.blocks[1].addr), 0);
	cr_assert(disk[99] == 0x55 && disk[100] == 0 && disk[BS - 1] == 0);
}

/* Shortened while dirty: what lies wholly outside is left alone, as a truncate is on its way to
 * drop it. */
Test(iomap_writeback, outside_eof_is_left_alone)
{
	toymap_write(&t, 0, buf, 2 * FOLIO);
	i_size_write(&t.mapping, BS + 10);
	cr_assert_eq(toymap_sync(&t), 0);
	cr_assert_eq(stats().ioends_built, 1);
	cr_assert_eq(t.blocks[1].type, IOMAP_MAPPED);
	cr_assert_eq(t.blocks[2].type, IOMAP_HOLE);
	cr_assert_eq(t.blocks[FOLIO / BS].type, IOMAP_HOLE);
	cr_assert_eq(atomic_load(&t.mapping.nr_dirty_blocks), 2 * FOLIO / BS - 2);
	truncate_inode_pages(&t.mapping, 2 * BS);
	cr_assert_eq(atomic_load(&t.mapping.nr_dirty_blocks), 0);
	cr_assert_eq(toymap_reservation_gap(&t), 0);
}

static int (*toy_map_blocks)(struct iomap_writepage_ctx *wpc, struct address_space *m,
			     uint64_t offset, uint64_t len);

/* Four blocks of one sort, then four of the other, side by side on the device. */
static int map_in_turn(struct iomap_writepage_ctx *wpc, struct address_space *m, uint64_t offset,
		       uint64_t len)
{
	uint64_t left = 4 * BS - offset % (4 * BS);
	int err = toy_map_blocks(wpc, m, offset, len < left ? len : left);

	if (offset / (4 * BS) % 2)
		wpc->iomap.flags |= IOMAP_F_SHARED;
	return err;
}

Test(iomap_writeback, shared_and_not_shared_are_apart)
{
	toy_map_blocks = t.wb_ops.map_blocks;
	t.wb_ops.map_blocks = map_in_turn;
	toymap_write(&t, 0, buf, 2 * FOLIO);
	cr_assert_eq(toymap_sync(&t), 0);
	cr_assert_eq(t.blocks[0].addr + 15 * BS, t.blocks[15].addr,
		     "the device has them in one piece");
	cr_assert_eq(stats().ioends_built, 4);
	cr_assert_eq(t.merges, 0);
}

Test(iomap_writeback, prepare_error_goes_the_normal_way)
{
	toymap_write(&t, 0, buf, 2 * BS);
	t.prepare_error = -EROFS;
	cr_assert_eq(toymap_sync(&t), -EROFS);
	cr_assert_eq(faultdev_writes(t.bdev), 0);
	cr_assert_eq(t.ioends, 1);
	cr_assert_eq(atomic_load(&t.mapping.nr_dirty_blocks), 2);
	t.prepare_error = 0;
	cr_assert_eq(toymap_sync(&t), 0);
}

static uint64_t discarded_pos, discarded_len;

static void note_discard(struct folio *f, uint64_t pos, uint64_t len)
{
	discarded_pos = pos;
	discarded_len = len;
}

Test(iomap_writeback, map_error)
{
	uint64_t since = mapping_sample_error(&t.mapping);

	t.wb_ops.discard_folio = note_discard;
	toymap_write(&t, BS, buf, 2 * BS);
	t.map_error = -ENOSPC;
	t.map_errors = 1;
	cr_assert_eq(toymap_sync(&t), -ENOSPC);
	cr_assert(discarded_pos == BS && discarded_len == 2 * BS);
	cr_assert_eq(atomic_load(&t.mapping.nr_dirty_blocks), 2);
	cr_assert_eq(mapping_check_and_advance_error(&t.mapping, &since), -ENOSPC);
	/* the other policy: drop, and give the reservation back */
	t.wb_ops.keep_dirty_on_error = false;
	t.map_errors = 1;
	cr_assert_eq(toymap_sync(&t), -ENOSPC);
	cr_assert_eq(atomic_load(&t.mapping.nr_dirty_blocks), 0);
	cr_assert_eq(toymap_reservation_gap(&t), 0);
}

Test(iomap_writeback, device_error_by_policy)
{
	faultdev_plan(t.bdev, .kind = FAULT_ERROR, .ops = FAULT_WRITE, .times = FAULT_ALWAYS);
	toymap_write(&t, 3 * BS, buf, BS);
	cr_assert_eq(toymap_sync(&t), -EIO);
	cr_assert(strstr(last_line, "inode 42, offset 12288, sector "), "%s", last_line);
	cr_assert_eq(atomic_load(&t.mapping.nr_dirty_blocks), 1);
	t.wb_ops.keep_dirty_on_error = false;
	cr_assert_eq(toymap_sync(&t), -EIO);
	cr_assert_eq(atomic_load(&t.mapping.nr_dirty_blocks), 0);
	faultdev_clear(t.bdev);
}

/* Written again while its writeback fails: dirty once, reserved once. */
Test(iomap_writeback, redirtied_under_failing_writeback)
{
	struct writeback_control wbc = { .end = UINT64_MAX, .nr_to_write = UINT64_MAX };

	toymap_write(&t, 0, buf, 2 * BS);
	faultdev_plan(t.bdev, .kind = FAULT_DELAY, .ops = FAULT_IO, .usec = 50000);
	faultdev_plan(t.bdev, .kind = FAULT_ERROR, .ops = FAULT_WRITE);
	cr_assert_eq(t.mapping.a_ops->writepages(&t.mapping, &wbc), 0);
	memset(buf, 0x77, BS);
	toymap_write(&t, 0, buf, BS);
	filemap_fdatawait_range(&t.mapping, 0, UINT64_MAX);
	cr_assert_eq(atomic_load(&t.mapping.nr_dirty_blocks), 2);
	cr_assert_eq(toymap_reservation_gap(&t), 0);
	cr_assert_eq(toymap_sync(&t), 0);
	pagecache_shrink(t.cache, 0);
	toymap_read(&t, 0, back, 2 * BS);
	cr_assert(back[0] == 0x77 && back[BS] == 0x55);
}

Test(iomap_writeback, range_and_budget)
{
	struct writeback_control wbc = { .start = 2 * BS,
					 .end = 3 * BS,
					 .nr_to_write = UINT64_MAX };

	toymap_write(&t, 0, buf, 4 * FOLIO);
	cr_assert_eq(t.mapping.a_ops->writepages(&t.mapping, &wbc), 0);
	cr_assert_eq(wbc.written, 1);
	filemap_fdatawait_range(&t.mapping, 0, UINT64_MAX);
	cr_assert(t.blocks[2].type == IOMAP_MAPPED && t.blocks[1].type == IOMAP_HOLE);
	wbc = (struct writeback_control){ .end = UINT64_MAX, .nr_to_write = 1 };
	cr_assert_eq(t.mapping.a_ops->writepages(&t.mapping, &wbc), 0);
	cr_assert_eq(wbc.written, 7); /* a folio at a time */
}

Test(iomap_writeback, out_of_memory_loses_nothing)
{
	for (unsigned int n = 1; n < 12; n++) {
		memset(buf, (int)n, 64 * BS);
		toymap_write(&t, 0, buf, 64 * BS);
		tl_alloc_fail_nth(n);
		toymap_sync(&t);
		tl_alloc_fail_nth(0);
		cr_assert_eq(toymap_sync(&t), 0);
		cr_assert_eq(toymap_reservation_gap(&t), 0);
		pagecache_shrink(t.cache, 0);
		toymap_read(&t, 0, back, 64 * BS);
		cr_assert_eq(memcmp(buf, back, 64 * BS), 0);
	}
}

/* ---- sorting and merging by hand ---- */

static unsigned int merged_private;

static void count_merge(struct iomap_ioend *a, struct iomap_ioend *b)
{
	merged_private++;
}

static void make_ioend(struct iomap_ioend *io, struct list_head *list, uint64_t offset,
		       uint64_t size, int error)
{
	memset(io, 0, sizeof(*io));
	INIT_LIST_HEAD(&io->io_merged);
	io->io_mapping = &t.mapping;
	io->io_type = IOMAP_MAPPED;
	io->io_offset = offset;
	io->io_size = size;
	io->io_error = error;
	list_add_tail(&io->io_list, list);
}

Test(iomap_writeback, sort_and_merge)
{
	static struct iomap_ioend io[5];
	LIST_HEAD(list);

	make_ioend(&io[0], &list, 2 * BS, BS, 0);
	make_ioend(&io[1], &list, 5 * BS, BS, 0);
	make_ioend(&io[2], &list, 0, 2 * BS, 0);
	make_ioend(&io[3], &list, 3 * BS, BS, 0);
	make_ioend(&io[4], &list, 4 * BS, BS, -EIO);
	iomap_sort_ioends(&list);
	cr_assert_eq(list_first_entry(&list, struct iomap_ioend, io_list), &io[2]);
	list_del_init(&io[2].io_list);
	iomap_ioend_try_merge(&io[2], &list, count_merge);
	/* up to the one with another fate */
	cr_assert_eq(merged_private, 2);
	cr_assert_eq(list_first_entry(&io[2].io_merged, struct iomap_ioend, io_list), &io[0]);
	cr_assert_eq(list_last_entry(&io[2].io_merged, struct iomap_ioend, io_list), &io[3]);
	cr_assert_eq(list_first_entry(&list, struct iomap_ioend, io_list), &io[4]);
	list_del_init(&io[4].io_list);
	io[1].io_flags = IOMAP_F_SHARED;
	io[1].io_error = -EIO;
	iomap_ioend_try_merge(&io[4], &list, count_merge);
	cr_assert(list_empty(&io[4].io_merged));
	io[1].io_flags = 0;
	iomap_ioend_try_merge(&io[4], &list, count_merge);
	cr_assert(list_empty(&list));
}

/* ---- seek ---- */

Test(iomap_writeback, seek_sees_cache_and_mapping)
{
	struct address_space *m = &t.mapping;

	toymap_place(&t, 4, 2, IOMAP_MAPPED, 1);
	toymap_place(&t, 20, 4, IOMAP_UNWRITTEN, 1);
	i_size_write(m, 40 * BS + 5);
	toymap_read(&t, 0, back, 40 * BS); /* cached zeros are no data */
	cr_assert_eq(iomap_seek_data(m, 0, &toy_ops), 4 * BS);
	cr_assert_eq(iomap_seek_hole(m, 0, &toy_ops), 0);
	cr_assert_eq(iomap_seek_hole(m, 4 * BS + 1, &toy_ops), 6 * BS);
	cr_assert_eq(iomap_seek_data(m, 6 * BS, &toy_ops), -ENXIO);
	toymap_write(&t, 21 * BS + 7, buf, 1);
	toymap_write(&t, 30 * BS, buf, BS);
	cr_assert_eq(iomap_seek_data(m, 6 * BS, &toy_ops), 21 * BS);
	cr_assert_eq(iomap_seek_data(m, 21 * BS + 9, &toy_ops), 21 * BS + 9);
	cr_assert_eq(iomap_seek_hole(m, 21 * BS, &toy_ops), 22 * BS);
	cr_assert_eq(iomap_seek_data(m, 22 * BS, &toy_ops), 30 * BS);
	cr_assert_eq(iomap_seek_hole(m, 30 * BS, &toy_ops), 31 * BS);
	cr_assert_eq(iomap_seek_hole(m, 40 * BS + 5, &toy_ops), -ENXIO);
	toymap_write(&t, 40 * BS, buf, 5);
	cr_assert_eq(iomap_seek_hole(m, 40 * BS, &toy_ops), 40 * BS + 5);
}
