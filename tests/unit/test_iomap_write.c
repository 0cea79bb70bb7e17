/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * core/iomap/write.c, zero.c, unshare.c, mkwrite.c: B1, B7 to B12: iterating, writing, zeroing,
 * unsharing.
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
static unsigned char buf[2 << 20], back[2 << 20];

static void quiet(enum log_level lvl, const char *line)
{
}

static void setup(void)
{
	log_set_hook(quiet);
	toymap_init(&t, &(struct toy_config){ .blkbits = 12,
					      .folio_shift = 15,
					      .file_bytes = 8 << 20,
					      .dev_bytes = 16 << 20,
					      .integrity = true,
					      .inline_max = 100 });
	memset(buf, 0x55, sizeof(buf));
}

static void teardown(void)
{
	toymap_exit(&t);
}

TestSuite(iomap_write, .init = setup, .fini = teardown);

static void place(uint64_t n)
{
	toymap_place(&t, 0, n, IOMAP_MAPPED, 1);
	i_size_write(&t.mapping, n * BS);
}

Test(iomap_write, covered_blocks_are_not_read)
{
	uint64_t reads;

	place(16);
	reads = faultdev_reads(t.bdev);
	cr_assert_eq(toymap_write(&t, 2 * BS, buf, 10 * BS), 10 * BS);
	cr_assert_eq(faultdev_reads(t.bdev), reads);
	/* two edges, two blocks read */
	cr_assert_eq(toymap_write(&t, BS + 1, buf, 13 * BS), 13 * BS);
	cr_assert_eq(faultdev_reads(t.bdev), reads + 2);
	cr_assert_eq(toymap_read(&t, 0, back, 16 * BS), 16 * BS);
	cr_assert(back[BS] == 2 && back[BS + 1] == 0x55 && back[14 * BS] == 0x55 &&
		  back[14 * BS + 1] == 15);
	cr_assert_eq(toymap_reservation_gap(&t), 0);
}

Test(iomap_write, edge_that_cannot_be_read_changes_nothing)
{
	place(16);
	faultdev_plan(t.bdev, .kind = FAULT_FLIP, .ops = FAULT_READ, .off = t.blocks[5].addr,
		      .len = 1, .times = FAULT_ALWAYS);
	cr_assert_eq(toymap_write(&t, 5 * BS + 10, buf, 10), -EIO);
	cr_assert_eq(atomic_load(&t.mapping.nr_dirty_blocks), 0);
	/* in a later folio: what came before counts */
	faultdev_plan(t.bdev, .kind = FAULT_ERROR, .ops = FAULT_READ, .off = t.blocks[9].addr,
		      .len = 1, .times = FAULT_ALWAYS);
	cr_assert_eq(toymap_write(&t, 6 * BS, buf, 3 * BS + 10), 2 * BS);
	/* covered whole, a bad block is healed by the write */
	cr_assert_eq(toymap_write(&t, 5 * BS, buf, BS), BS);
	cr_assert_eq(toymap_reservation_gap(&t), 0);
}

Test(iomap_write, gap_behind_old_eof_is_zero)
{
	place(2);
	i_size_write(&t.mapping, BS + 100); /* the device has junk behind */
	cr_assert_eq(toymap_write(&t, 5 * BS + 3, buf, 10), 10);
	cr_assert_eq(i_size_read(&t.mapping), 5 * BS + 13);
	cr_assert_eq(toymap_sync(&t), 0);
	pagecache_shrink(t.cache, 0);
	cr_assert_eq(toymap_read(&t, BS, back, 10 * BS), 4 * BS + 13);
	cr_assert_eq(back[99], 2);
	for (unsigned int i = 100; i < 4 * BS + 3; i++)
		cr_assert_eq(back[i], 0);
	cr_assert_eq(back[4 * BS + 3], 0x55);
}

Test(iomap_write, begin_fails_midway)
{
	cr_assert_eq(toymap_write(&t, (8 << 20) - 2 * BS, buf, 4 * BS), 2 * BS);
	cr_assert_eq(toymap_write(&t, 8 << 20, buf, 1), -EFBIG);
	cr_assert_eq(i_size_read(&t.mapping), 8 << 20);
}

Test(iomap_write, out_of_memory_leaves_whole_blocks)
{
	place(64);
	for (unsigned int n = 1; n < 40; n++) {
		int64_t ret;

		toymap_sync(&t);
		pagecache_shrink(t.cache, 0);
		memset(buf, (int)n, 40 * BS);
		tl_alloc_fail_nth(n);
		ret = toymap_write(&t, 100, buf, 30 * BS);
		tl_alloc_fail_nth(0);
		cr_assert(ret > 0 || ret == -ENOMEM, "allocation %u: %ld", n, (long)ret);
		cr_assert_eq(toymap_read(&t, 0, back, 64 * BS), 64 * BS);
		for (int64_t i = 0; i < ret; i++)
			cr_assert_eq(back[100 + i], n);
		cr_assert_eq(toymap_reservation_gap(&t), 0);
	}
}

Test(iomap_write, blocks_under_writeback_are_immutable)
{
	struct writeback_control wbc = { .end = UINT64_MAX, .nr_to_write = UINT64_MAX };
	struct folio *f;
	void *old;

	toymap_write(&t, 0, buf, FOLIO);
	faultdev_plan(t.bdev, .kind = FAULT_DELAY, .ops = FAULT_IO, .times = FAULT_ALWAYS,
		      .usec = 100000);
	cr_assert_eq(t.mapping.a_ops->writepages(&t.mapping, &wbc), 0);
	f = filemap_get_folio(&t.mapping, 0);
	cr_assert(folio_test(f, FOLIO_WRITEBACK));
	old = f->blocks[3].addr;
	memset(buf, 0x66, 10);
	cr_assert_eq(toymap_write(&t, 3 * BS + 5, buf, 10), 10);
	cr_assert_neq(f->blocks[3].addr, old);
	cr_assert_eq(((unsigned char *)f->blocks[3].addr)[4], 0x55);
	cr_assert(folio_test(f, FOLIO_WRITEBACK) && iomap_block_dirty(f, 3) &&
		  !iomap_block_dirty(f, 2));
	folio_wait_writeback(f);
	faultdev_clear(t.bdev);
	folio_put(f);
	cr_assert_eq(toymap_sync(&t), 0);
	pagecache_shrink(t.cache, 0);
	toymap_read(&t, 3 * BS, back, BS);
	cr_assert(back[4] == 0x55 && back[5] == 0x66 && back[15] == 0x55);
}

Test(iomap_write, big_payload_is_adopted)
{
	struct seg *seg = seg_alloc(pagecache_segs(t.cache), 128 << 10);
	struct iomap_src src = { .buf = seg->base, .len = 128 << 10, .seg = seg };
	struct folio *f;

	memset(seg->base, 3, 128 << 10);
	cr_assert_eq(iomap_file_buffered_write(&t.mapping, BS, &src, &toy_ops), 128 << 10);
	f = filemap_get_folio(&t.mapping, 0);
	cr_assert_eq(f->blocks[1].addr, seg->base);
	cr_assert_eq(seg_pool_bytes(pagecache_segs(t.cache)), 128 << 10);
	folio_put(f);
	seg_put(seg);
	cr_assert_eq(toymap_sync(&t), 0);
	cr_assert_eq(toymap_read(&t, BS, back, BS), BS);
	cr_assert_eq(back[7], 3);
}

static unsigned int stale_times;

static bool stale_valid(struct address_space *m, const struct iomap *map)
{
	return !stale_times || !stale_times--;
}

Test(iomap_write, stale_mapping_is_asked_for_again)
{
	struct iomap_ops ops = toy_ops;
	struct iomap_src src = { .buf = buf, .len = FOLIO };

	ops.iomap_valid = stale_valid;
	stale_times = 3;
	cr_assert_eq(iomap_file_buffered_write(&t.mapping, 0, &src, &ops), FOLIO);
	cr_assert_eq(t.begins, 4);
	cr_assert_eq(t.ends, 4);
	cr_assert_eq(toymap_reservation_gap(&t), 0);
}

Test(iomap_write, inline_grows_out)
{
	toymap_write(&t, 0, "abc", 3);
	toymap_sync(&t);
	cr_assert_eq(t.blocks[0].type, IOMAP_INLINE);
	pagecache_shrink(t.cache, 0);
	toymap_write(&t, 3, buf, 200);
	toymap_sync(&t);
	cr_assert_eq(t.blocks[0].type, IOMAP_MAPPED);
	pagecache_shrink(t.cache, 0);
	cr_assert_eq(toymap_read(&t, 0, back, BS), 203);
	cr_assert(!memcmp(back, "abc", 3) && back[3] == 0x55);
}

Test(iomap_write, zero_skips_holes_and_says_what_it_did)
{
	bool did = false;

	toymap_place(&t, 8, 4, IOMAP_UNWRITTEN, 0);
	toymap_place(&t, 16, 2, IOMAP_MAPPED, 1);
	i_size_write(&t.mapping, 32 * BS);
	cr_assert_eq(iomap_zero_range(&t.mapping, 0, 16 * BS, &did, &toy_ops), 0);
	cr_assert(!did);
	cr_assert_eq(atomic_load(&t.mapping.nr_dirty_blocks), 0);
	cr_assert_eq(iomap_truncate_page(&t.mapping, 16 * BS, &did, &toy_ops), 0);
	cr_assert(!did);
	cr_assert_eq(iomap_zero_range(&t.mapping, 16 * BS + 10, 16 * BS, &did, &toy_ops), 0);
	cr_assert(did);
	cr_assert_eq(atomic_load(&t.mapping.nr_dirty_blocks), 2);
	toymap_read(&t, 16 * BS, back, 2 * BS);
	cr_assert(back[9] == 17 && back[10] == 0 && back[BS] == 0);
	/* dirty data over a hole is zeroed too */
	did = false;
	toymap_write(&t, 2 * BS, buf, BS);
	cr_assert_eq(iomap_zero_range(&t.mapping, 0, 8 * BS, &did, &toy_ops), 0);
	cr_assert(did);
	toymap_read(&t, 2 * BS, back, BS);
	cr_assert_eq(back[17], 0);
	cr_assert_eq(toymap_reservation_gap(&t), 0);
}

static bool written_meanwhile;

/* The answer is out of date as soon as it is given: all is written, and dropped from the cache. */
static int begin_then_write(struct address_space *m, uint64_t pos, uint64_t length,
			    unsigned int flags, struct iomap *iomap, struct iomap *srcmap)
{
	int err = toy_ops.iomap_begin(m, pos, length, flags, iomap, srcmap);

	if (!err && flags & IOMAP_ZERO && !written_meanwhile) {
		written_meanwhile = true;
		cr_assert_eq(iomap->type, IOMAP_HOLE);
		cr_assert_eq(toymap_sync(&t), 0);
		pagecache_shrink(t.cache, 0);
	}
	return err;
}

Test(iomap_write, zero_over_a_hole_that_is_mapped_meanwhile)
{
	struct iomap_ops ops = toy_ops;

	ops.iomap_begin = begin_then_write;
	toymap_write(&t, BS, buf, 20 * BS);
	cr_assert_eq(iomap_zero_range(&t.mapping, 2 * BS, 10 * BS, NULL, &ops), 0);
	cr_assert(written_meanwhile);
	cr_assert_eq(toymap_read(&t, 0, back, 21 * BS), 21 * BS);
	for (unsigned int i = 2 * BS; i < 12 * BS; i++)
		cr_assert_eq(back[i], 0, "byte %u", i);
	cr_assert(back[2 * BS - 1] == 0x55 && back[12 * BS] == 0x55);
}

Test(iomap_write, unshare_only_what_is_shared)
{
	place(16);
	toymap_place(&t, 12, 2, IOMAP_UNWRITTEN, 0);
	toymap_share(&t, 4, 4);
	cr_assert_eq(iomap_file_unshare(&t.mapping, 0, 16 * BS, &toy_ops), 0);
	cr_assert_eq(atomic_load(&t.mapping.nr_dirty_blocks), 4);
	cr_assert_eq(toymap_sync(&t), 0);
	cr_assert(!t.blocks[5].shared);
	pagecache_shrink(t.cache, 0);
	toymap_read(&t, 5 * BS, back, BS);
	cr_assert_eq(back[0], 6);
	toymap_share(&t, 0, 2);
	pagecache_shrink(t.cache, 0);
	faultdev_plan(t.bdev, .kind = FAULT_FLIP, .ops = FAULT_READ, .off = t.blocks[1].addr,
		      .len = 1, .times = FAULT_ALWAYS);
	cr_assert_eq(iomap_file_unshare(&t.mapping, 0, 16 * BS, &toy_ops), -EIO);
	cr_assert_eq(toymap_reservation_gap(&t), 0);
}

Test(iomap_write, page_mkwrite)
{
	struct folio *f;

	place(4);
	i_size_write(&t.mapping, 2 * BS + 1);
	f = filemap_grab_folio(&t.mapping, 0);
	cr_assert_eq(iomap_page_mkwrite(f, &toy_ops), -EIO); /* nothing there to change */
	cr_assert_eq(iomap_read_folio(f, &toy_ops), 0);
	folio_lock(f);
	cr_assert_eq(iomap_page_mkwrite(f, &toy_ops), 0);
	cr_assert_eq(atomic_load(&t.mapping.nr_dirty_blocks), 3);
	folio_unlock(f);
	folio_put(f);
	f = filemap_grab_folio(&t.mapping, 1);
	cr_assert_eq(iomap_page_mkwrite(f, &toy_ops), -EFAULT);
	folio_unlock(f);
	folio_put(f);
	cr_assert_eq(toymap_reservation_gap(&t), 0);
}
