/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * core/iomap/read.c, read_io.c, suspect.c: B3, B4: what is read, in how many requests, and whom an
 * error hits.
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
static _Alignas(4096) unsigned char buf[2 << 20];

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
					      .inline_max = 3000 });
}

static void teardown(void)
{
	toymap_exit(&t);
}

TestSuite(iomap_read, .init = setup, .fini = teardown);

/* Blocks [0, n) on the device, the file ends with them. */
static void place(uint64_t n)
{
	toymap_place(&t, 0, n, IOMAP_MAPPED, 1);
	i_size_write(&t.mapping, n * BS);
}

/* Random access, so that no readahead blurs the counts. */
static void no_readahead(void)
{
	atomic_store(&t.mapping.ra_prev, 1ULL << 40);
}

static int64_t read_at(uint64_t pos, size_t len)
{
	no_readahead();
	return toymap_read(&t, pos, buf, len);
}

Test(iomap_read, merges_across_folios_and_hits_without_asking)
{
	uint64_t reads, begins;

	place(64);
	reads = faultdev_reads(t.bdev);
	cr_assert_eq(read_at(BS, 40 * BS), 40 * BS);
	cr_assert_eq(faultdev_reads(t.bdev) - reads, 1);
	for (unsigned int i = 0; i < 40; i++)
		cr_assert_eq(buf[i * BS + i], i + 2);
	begins = t.begins;
	cr_assert_eq(read_at(BS + 5, 39 * BS), 39 * BS);
	cr_assert_eq(t.begins, begins);
}

Test(iomap_read, only_what_is_missing)
{
	uint64_t reads, bytes;

	place(16);
	read_at(2 * BS, BS);
	read_at(5 * BS, 2 * BS);
	reads = faultdev_reads(t.bdev);
	bytes = atomic_load(&t.bdev->stats.read_bytes);
	cr_assert_eq(read_at(0, 16 * BS), 16 * BS);
	cr_assert_eq(faultdev_reads(t.bdev) - reads, 3);
	cr_assert_eq(atomic_load(&t.bdev->stats.read_bytes) - bytes, 13 * BS);
}

Test(iomap_read, holes_unwritten_and_eof_without_io)
{
	uint64_t reads = faultdev_reads(t.bdev);

	toymap_place(&t, 4, 4, IOMAP_UNWRITTEN, 0);
	i_size_write(&t.mapping, 8 * BS - 100);
	memset(buf, 1, sizeof(buf));
	cr_assert_eq(read_at(0, FOLIO), FOLIO - 100);
	for (unsigned int i = 0; i < FOLIO - 100; i++)
		cr_assert_eq(buf[i], 0);
	cr_assert_eq(faultdev_reads(t.bdev), reads);
	cr_assert_eq(read_at(FOLIO, 10), 0);
	/* zeros cost no memory */
	cr_assert_eq(seg_pool_bytes(pagecache_segs(t.cache)), 0);
}

/* B3: the tail of the EOF block is zeros in memory whatever the device has, and blocks behind are
 * not read. */
Test(iomap_read, around_eof)
{
	struct folio *f;
	uint64_t bytes;

	place(8);
	i_size_write(&t.mapping, 2 * BS + 10);
	bytes = atomic_load(&t.bdev->stats.read_bytes);
	f = filemap_grab_folio(&t.mapping, 0);
	cr_assert_eq(iomap_read_folio(f, &toy_ops), 0);
	cr_assert(folio_test(f, FOLIO_UPTODATE));
	cr_assert_eq(atomic_load(&t.bdev->stats.read_bytes) - bytes, 3 * BS);
	cr_assert_eq(((unsigned char *)f->blocks[2].addr)[9], 3);
	cr_assert_eq(((unsigned char *)f->blocks[2].addr)[10], 0);
	cr_assert_null(f->blocks[3].seg);
	folio_put(f);
}

Test(iomap_read, inline_data)
{
	memcpy(buf, "tally", 5);
	cr_assert_eq(toymap_write(&t, 0, buf, 5), 5);
	cr_assert_eq(toymap_sync(&t), 0);
	cr_assert_eq(t.blocks[0].type, IOMAP_INLINE);
	pagecache_shrink(t.cache, 0);
	memset(buf, 0, 5);
	cr_assert_eq(read_at(0, BS), 5);
	cr_assert_eq(memcmp(buf, "tally", 5), 0);
}

/* An error hits the bad block and no other, in one bio over many. */
static void check_bad_block(enum fault_kind kind)
{
	struct folio *f;

	place(32);
	faultdev_plan(t.bdev, .kind = kind, .ops = FAULT_READ, .off = t.blocks[10].addr, .len = 1,
		      .times = FAULT_ALWAYS);
	cr_assert_eq(read_at(0, 32 * BS), 10 * BS);
	cr_assert_eq(read_at(10 * BS + 7, 1), -EIO);
	cr_assert_eq(read_at(11 * BS, 21 * BS), 21 * BS);
	cr_assert_eq(buf[0], 12);
	f = filemap_get_folio(&t.mapping, 1);
	cr_assert(!iomap_block_uptodate(f, 2) && iomap_block_uptodate(f, 1) &&
		  iomap_block_uptodate(f, 3));
	cr_assert(folio_test(f, FOLIO_ERROR));
	faultdev_clear(t.bdev);
	cr_assert_eq(read_at(0, 32 * BS), 32 * BS);
	cr_assert(!folio_test(f, FOLIO_ERROR));
	folio_put(f);
}

Test(iomap_read, io_error_hits_one_block)
{
	check_bad_block(FAULT_ERROR);
	cr_assert_eq(t.mismatches, 0);
}

Test(iomap_read, mismatch_hits_one_block_and_is_reported)
{
	check_bad_block(FAULT_FLIP);
	cr_assert_geq(t.mismatches, 1);
	cr_assert_eq(t.last_mismatch, 10 * BS);
}

/* The content is right, and so is the place, but the tuple says: no file's data. */
Test(iomap_read, another_kind_of_block_is_a_mismatch)
{
	place(32);
	t.blocks[10].tuple.app = le16_of(2);
	cr_assert_eq(read_at(0, 32 * BS), 10 * BS);
	cr_assert_eq(read_at(10 * BS + 7, 1), -EIO);
	cr_assert_eq(t.last_mismatch, 10 * BS);
	cr_assert_eq(read_at(11 * BS, 21 * BS), 21 * BS);
}

/* A flip on the way, not on the medium: the second look heals it, unreported. */
Test(iomap_read, transient_flip_heals)
{
	place(32);
	faultdev_plan(t.bdev, .kind = FAULT_FLIP, .ops = FAULT_READ, .off = t.blocks[10].addr,
		      .len = 1);
	cr_assert_eq(read_at(0, 32 * BS), 32 * BS);
	cr_assert_eq(buf[10 * BS], 11);
	cr_assert_eq(t.mismatches, 0);
}

static struct toymap *moving;
static unsigned int moves;

/* After the first answer the block moves: its old place gets other content. */
static int moving_begin(struct address_space *m, uint64_t pos, uint64_t length, unsigned int flags,
			struct iomap *iomap, struct iomap *srcmap)
{
	int err = toy_ops.iomap_begin(m, pos, length, flags, iomap, srcmap);
	uint64_t old = moving->blocks[0].addr;

	if (!err && moves) {
		moves--;
		toymap_place(moving, 0, 1, IOMAP_MAPPED, (unsigned char)(100 + moves));
		memset(buf + (1 << 20), 0xee, BS);
		cr_assert_eq(bdev_write(moving->bdev, buf + (1 << 20), BS, old), 0);
	}
	return err;
}

Test(iomap_read, block_moved_meanwhile)
{
	struct iomap_ops ops = toy_ops;
	struct iomap_read_result res;

	ops.iomap_begin = moving_begin;
	moving = &t;
	place(1);
	t.scatter = true;
	moves = 3;
	no_readahead();
	cr_assert_eq(iomap_file_buffered_read(&t.mapping, 0, BS, 0, &ops, &res), 0);
	cr_assert_eq(res.bytes, BS);
	cr_assert_eq(*(unsigned char *)res.iov[0].iov_base, 100);
	iomap_read_result_release(&res);
	cr_assert_eq(t.mismatches, 0);
}

Test(iomap_read, out_of_memory)
{
	place(64);
	for (unsigned int n = 1; n < 40; n++) {
		int64_t ret;

		pagecache_shrink(t.cache, 0);
		tl_alloc_fail_nth(n);
		ret = read_at(BS / 2, 40 * BS);
		tl_alloc_fail_nth(0);
		cr_assert(ret > 0 || ret == -ENOMEM, "allocation %u: %ld", n, (long)ret);
		for (int64_t i = 0; i < ret; i++)
			cr_assert_eq(buf[i], 1 + (BS / 2 + i) / BS);
		cr_assert_eq(read_at(0, 64 * BS), 64 * BS);
	}
}
