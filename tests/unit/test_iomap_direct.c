/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * core/iomap/direct.c, direct_write.c: direct I/O on the toy mapping: what is read and written
 * where, next to the cache, and whom errors hit.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "core/lib/log.h"
#include "core/pagecache/pagecache_internal.h"
#include "tests/lib/random.h"
#include "tests/lib/toymap.h"

#define BS 4096u
#define FILE_BYTES (8u << 20)

static struct toymap t;
static unsigned char *buf; /* 4 MiB, aligned */

static void quiet(enum log_level lvl, const char *line)
{
}

static void start(unsigned int inline_max)
{
	log_set_hook(quiet);
	cr_assert_eq(posix_memalign((void **)&buf, 4096, 4 << 20), 0);
	memset(buf, 0xaa, 4 << 20);
	toymap_init(&t, &(struct toy_config){ .blkbits = 12,
					      .folio_shift = 15,
					      .file_bytes = FILE_BYTES,
					      .dev_bytes = 24 << 20,
					      .integrity = true,
					      .inline_max = inline_max });
}

static void setup(void)
{
	start(3000);
}

static void teardown(void)
{
	toymap_exit(&t);
	free(buf);
}

TestSuite(iomap_direct, .init = setup, .fini = teardown, .timeout = 900);

static void place(uint64_t n)
{
	toymap_place(&t, 0, n, IOMAP_MAPPED, 1);
	i_size_write(&t.mapping, n * BS);
}

static int64_t dread(uint64_t pos, void *to, size_t len)
{
	return iomap_dio_read(&t.mapping, pos, to, len, &toy_ops);
}

static int64_t dwrite(uint64_t pos, const void *from, size_t len)
{
	struct iomap_writepage_ctx wpc = { 0 };
	struct iomap_src src = { .buf = from, .len = len };
	int64_t ret = iomap_dio_write(&t.mapping, pos, &src, &toy_ops, &wpc, &t.wb_ops);

	cr_assert_eq(toymap_reservation_gap(&t), 0);
	return ret;
}

/* ---- reads ---- */

Test(iomap_direct, reads_straight_and_leaves_the_cache_alone)
{
	uint64_t reads;

	place(64);
	reads = faultdev_reads(t.bdev);
	cr_assert_eq(dread(3 * BS, buf, 40 * BS), 40 * BS);
	cr_assert_eq(faultdev_reads(t.bdev) - reads, 1);
	for (unsigned int i = 0; i < 40; i++)
		cr_assert_eq(buf[i * BS + i], i + 4);
	cr_assert_eq(t.mapping.nr_folios, 0);
	/* memory of the caller's: none of the cache's */
	cr_assert_eq(seg_pool_bytes(pagecache_segs(t.cache)), 0);
}

Test(iomap_direct, reads_of_any_alignment)
{
	static const uint32_t at[] = { 0, 1, 511, 512, BS - 1, BS, BS + 1, 7 * BS + 100, 8 * BS };

	place(40);
	i_size_write(&t.mapping, 40 * BS - 700);
	for (unsigned int p = 0; p < ARRAY_SIZE(at); p++) {
		for (unsigned int l = 0; l < ARRAY_SIZE(at); l++) {
			for (unsigned int a = 0; a < 5; a++) {
				static const unsigned int off[] = { 0, 1, 512, BS - 1, 100 };
				unsigned char *mem = buf + off[a];
				uint64_t len = at[l] + 33 * (a & 1);

				memset(mem, 0xaa, len + 10);
				cr_assert_eq(dread(at[p], mem, len), (int64_t)len);
				for (uint64_t i = 0; i < len; i++)
					cr_assert_eq(mem[i], (unsigned char)(1 + (at[p] + i) / BS));
				cr_assert_eq(mem[len], 0xaa, "beyond the caller's memory");
			}
		}
	}
}

Test(iomap_direct, holes_unwritten_inline_and_eof)
{
	uint64_t reads;

	cr_assert_eq(toymap_write(&t, 0, "tally", 5), 5);
	cr_assert_eq(toymap_sync(&t), 0);
	cr_assert_eq(t.blocks[0].type, IOMAP_INLINE);
	cr_assert_eq(dread(0, buf, BS), 5);
	cr_assert_eq(memcmp(buf, "tally", 5), 0);
	cr_assert_eq(dread(5, buf, BS), 0);
	toymap_place(&t, 4, 2, IOMAP_UNWRITTEN, 9);
	toymap_place(&t, 6, 3, IOMAP_MAPPED, 1);
	i_size_write(&t.mapping, 7 * BS + 100);
	memset(buf, 0xaa, 16 * BS);
	reads = atomic_load(&t.bdev->stats.read_bytes);
	cr_assert_eq(dread(0, buf, 16 * BS), 7 * BS + 100);
	/* block 8 lies behind EOF */
	cr_assert_eq(atomic_load(&t.bdev->stats.read_bytes) - reads, 2 * BS);
	cr_assert_eq(memcmp(buf, "tally", 5), 0);
	for (unsigned int i = 5; i < 6 * BS; i++)
		cr_assert_eq(buf[i], 0);
	for (unsigned int i = 6 * BS; i < 7 * BS + 100; i++)
		cr_assert_eq(buf[i], 1 + i / BS);
	/* of what lies behind EOF in the last block nothing is shown, however much room there is */
	for (unsigned int i = 7 * BS + 100; i < 8 * BS; i++)
		cr_assert_eq(buf[i], 0);
	cr_assert_eq(dread(8 * BS, buf, BS), 0);
	cr_assert_eq(dread(7 * BS, buf, 0), 0);
}

Test(iomap_direct, dirty_blocks_are_written_before_a_read)
{
	place(16);
	memset(buf, 0x77, 3 * BS);
	cr_assert_eq(toymap_write(&t, 5 * BS + 10, buf, BS), BS);
	cr_assert_eq(toymap_write(&t, 12 * BS, buf, BS), BS);
	cr_assert_eq(dread(4 * BS, buf, 4 * BS), 4 * BS);
	cr_assert_eq(buf[BS + 9], 6);
	cr_assert_eq(buf[BS + 10], 0x77);
	cr_assert_eq(buf[2 * BS + 9], 0x77);
	cr_assert_eq(buf[2 * BS + 10], 7);
	/* only its own range */
	cr_assert_eq(atomic_load(&t.mapping.nr_dirty_blocks), 1);
}

Test(iomap_direct, what_cannot_be_written_back_is_not_read_stale)
{
	place(4);
	cr_assert_eq(toymap_write(&t, BS, "new", 3), 3);
	t.map_error = -ENOSPC;
	t.map_errors = 1;
	cr_assert_eq(dread(BS, buf, BS), -ENOSPC);
	cr_assert_eq(dread(BS, buf, BS), BS);
	cr_assert_eq(memcmp(buf, "new", 3), 0);
}

static void check_bad_block(enum fault_kind kind)
{
	place(32);
	faultdev_plan(t.bdev, .kind = kind, .ops = FAULT_READ, .off = t.blocks[10].addr, .len = 1,
		      .times = FAULT_ALWAYS);
	cr_assert_eq(dread(0, buf, 32 * BS), 10 * BS);
	for (unsigned int i = 0; i < BS; i++)
		cr_assert_eq(buf[10 * BS + i], 0,
			     "content of a bad block is not for anybody's eyes");
	cr_assert_eq(dread(10 * BS, buf, 32 * BS), -EIO);
	cr_assert_eq(dread(10 * BS + 7, buf, 1), -EIO);
	cr_assert_eq(dread(9 * BS + 7, buf, 2 * BS), BS - 7);
	cr_assert_eq(dread(11 * BS, buf, 21 * BS), 21 * BS);
	cr_assert_eq(buf[0], 12);
	faultdev_clear(t.bdev);
	cr_assert_eq(dread(0, buf, 32 * BS), 32 * BS);
}

Test(iomap_direct, io_error_hits_one_block)
{
	check_bad_block(FAULT_ERROR);
	cr_assert_eq(t.mismatches, 0);
}

Test(iomap_direct, mismatch_hits_one_block_and_is_reported)
{
	check_bad_block(FAULT_FLIP);
	cr_assert_geq(t.mismatches, 1);
	cr_assert_eq(t.last_mismatch, 10 * BS);
}

/* Verification of a bio ends at its first bad block; those behind it are looked at all the same. */
Test(iomap_direct, the_second_bad_block_of_a_bio_is_found_too)
{
	place(32);
	memset(buf, 0xee, BS);
	for (unsigned int k = 10; k <= 12; k += 2)
		cr_assert_eq(bdev_write(t.bdev, buf, BS, t.blocks[k].addr), 0);
	cr_assert_eq(dread(0, buf, 32 * BS), 10 * BS);
	for (unsigned int i = 0; i < BS; i++)
		cr_assert(!buf[10 * BS + i] && !buf[12 * BS + i]);
	cr_assert_geq(t.mismatches, 2);
	cr_assert_eq(t.last_mismatch, 12 * BS);
}

Test(iomap_direct, transient_flip_heals)
{
	place(32);
	faultdev_plan(t.bdev, .kind = FAULT_FLIP, .ops = FAULT_READ, .off = t.blocks[10].addr,
		      .len = 1);
	cr_assert_eq(dread(0, buf, 32 * BS), 32 * BS);
	cr_assert_eq(buf[10 * BS], 11);
	cr_assert_eq(t.mismatches, 0);
}

static unsigned int moves;

/* After the first answer the block moves: its old place gets other content. */
static int moving_begin(struct address_space *m, uint64_t pos, uint64_t length, unsigned int flags,
			struct iomap *iomap, struct iomap *srcmap)
{
	int err = toy_ops.iomap_begin(m, pos, length, flags, iomap, srcmap);
	uint64_t old = t.blocks[0].addr;

	if (!err && moves) {
		moves--;
		toymap_place(&t, 0, 1, IOMAP_MAPPED, (unsigned char)(100 + moves));
		memset(buf + (1 << 20), 0xee, BS);
		cr_assert_eq(bdev_write(t.bdev, buf + (1 << 20), BS, old), 0);
	}
	return err;
}

Test(iomap_direct, block_moved_meanwhile)
{
	struct iomap_ops ops = toy_ops;

	ops.iomap_begin = moving_begin;
	place(1);
	t.scatter = true;
	moves = 3;
	cr_assert_eq(iomap_dio_read(&t.mapping, 0, buf, BS, &ops), BS);
	cr_assert_eq(buf[0], 100);
	cr_assert_eq(t.mismatches, 0);
}

/* ---- writes ---- */

static void expect(uint64_t pos, uint64_t len, unsigned char value)
{
	unsigned char *got = buf + (3 << 20);

	while (len) {
		uint64_t n = len < 1 << 20 ? len : 1 << 20;

		cr_assert_eq(dread(pos, got, n), (int64_t)n);
		for (uint64_t i = 0; i < n; i++)
			cr_assert_eq(got[i], value, "at %lu", (unsigned long)(pos + i));
		pos += n;
		len -= n;
	}
}

Test(iomap_direct, writes_new_blocks_with_their_tuples)
{
	uint64_t old, writes;

	place(16);
	old = t.blocks[4].addr;
	writes = faultdev_writes(t.bdev);
	memset(buf, 0x51, 8 * BS);
	cr_assert_eq(dwrite(4 * BS, buf, 8 * BS), 8 * BS);
	cr_assert_eq(faultdev_writes(t.bdev) - writes, 1);
	cr_assert_neq(t.blocks[4].addr, old);
	cr_assert_eq(t.mapping.nr_folios, 0);
	expect(3 * BS, BS, 4);
	expect(4 * BS, 8 * BS, 0x51);
	expect(12 * BS, BS, 13);
	cr_assert_eq(i_size_read(&t.mapping), 16 * BS);
	/* and buffered */
	cr_assert_eq(toymap_read(&t, 4 * BS, buf, BS), BS);
	cr_assert_eq(buf[0], 0x51);
}

Test(iomap_direct, extends_the_file_and_zeroes_the_gap)
{
	memset(buf, 0x52, 4 * BS);
	cr_assert_eq(toymap_write(&t, 0, buf, 100), 100);
	cr_assert_eq(dwrite(8 * BS, buf, 2 * BS), 2 * BS);
	cr_assert_eq(i_size_read(&t.mapping), 10 * BS);
	expect(0, 100, 0x52);
	expect(100, 8 * BS - 100, 0);
	expect(8 * BS, 2 * BS, 0x52);
	/* a whole block over the one that holds EOF */
	cr_assert_eq(toymap_truncate(&t, 9 * BS + 50), 0);
	cr_assert_eq(dwrite(9 * BS, buf, BS), BS);
	cr_assert_eq(i_size_read(&t.mapping), 10 * BS);
	expect(9 * BS, BS, 0x52);
}

/* What lies on the device behind the old end of the file, in its last block, does not come to
 * light. */
Test(iomap_direct, zeroes_the_last_block_behind_the_old_end)
{
	place(4);
	i_size_write(&t.mapping, 3 * BS + 100);
	memset(buf, 0x54, BS);
	cr_assert_eq(dwrite(8 * BS, buf, BS), BS);
	cr_assert_eq(toymap_sync(&t), 0);
	truncate_inode_pages(&t.mapping, 0);
	expect(3 * BS, 100, 4);
	expect(3 * BS + 100, 5 * BS - 100, 0);
	expect(8 * BS, BS, 0x54);
}

Test(iomap_direct, replaces_inline_content)
{
	cr_assert_eq(toymap_write(&t, 0, "tally", 5), 5);
	cr_assert_eq(toymap_sync(&t), 0);
	memset(buf, 0x53, BS);
	cr_assert_eq(dwrite(0, buf, BS), BS);
	cr_assert_eq(t.blocks[0].type, IOMAP_MAPPED);
	expect(0, BS, 0x53);
}

Test(iomap_direct, partial_blocks_go_by_the_cache)
{
	static const struct {
		uint32_t pos, len, off;
	} cases[] = { { BS - 10, 20, 0 },
		      { 100, 50, 0 },
		      { BS - 1, 3 * BS + 2, BS - 1 },
		      { 5, 2 * BS, 5 },
		      { 2 * BS, 3 * BS, 1 },
		      { 2 * BS, 2 * BS + 9, 0 },
		      { BS + 9, 4 * BS - 9, 9 },
		      { BS + 9, 4 * BS - 9, 10 } };

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		place(16);
		truncate_inode_pages(&t.mapping, 0);
		memset(buf, 0x60 + (int)i, 8 * BS);
		cr_assert_eq(dwrite(cases[i].pos, buf + cases[i].off, cases[i].len), cases[i].len);
		/* the device has it */
		cr_assert_eq(atomic_load(&t.mapping.nr_dirty_blocks), 0);
		truncate_inode_pages(&t.mapping, 0);
		expect(cases[i].pos, cases[i].len, (unsigned char)(0x60 + i));
		if (cases[i].pos % BS)
			expect(cases[i].pos - 1, 1, (unsigned char)(1 + (cases[i].pos - 1) / BS));
		expect(cases[i].pos + cases[i].len, 1,
		       (unsigned char)(1 + (cases[i].pos + cases[i].len) / BS));
	}
}

Test(iomap_direct, cached_blocks_do_not_outlive_a_write)
{
	place(16);
	/* clean ones, and dirty ones in and around the range */
	cr_assert_eq(toymap_read(&t, 0, buf, 16 * BS), 16 * BS);
	memset(buf, 0x70, 4 * BS);
	cr_assert_eq(toymap_write(&t, 3 * BS + 1, buf, 2 * BS), 2 * BS);
	memset(buf, 0x71, 4 * BS);
	cr_assert_eq(dwrite(4 * BS, buf, 4 * BS), 4 * BS);
	cr_assert_eq(toymap_read(&t, 3 * BS, buf, 6 * BS), 6 * BS);
	cr_assert_eq(buf[0], 4);
	for (unsigned int i = 1; i < BS; i++)
		cr_assert_eq(buf[i], 0x70);
	for (unsigned int i = BS; i < 5 * BS; i++)
		cr_assert_eq(buf[i], 0x71);
	cr_assert_eq(buf[5 * BS], 9);
	cr_assert_eq(toymap_sync(&t), 0);
	expect(4 * BS, 4 * BS, 0x71);
}

static void *write_thread(void *arg)
{
	memset(buf, 0x71, 4 * BS);
	cr_assert_eq(dwrite(4 * BS, buf, 4 * BS), 4 * BS);
	return NULL;
}

/* A reader in the midst of it, who has no lock, still gets the old content, but does not leave it
 * in the cache. */
Test(iomap_direct, what_is_read_meanwhile_does_not_outlive_a_write)
{
	unsigned char *old = buf + 64 * BS;
	pthread_t writer;

	place(16);
	faultdev_plan(t.bdev, .kind = FAULT_STALL, .ops = FAULT_WRITE);
	cr_assert_eq(pthread_create(&writer, NULL, write_thread, NULL), 0);
	while (!faultdev_stalled(t.bdev))
		usleep(1000);
	cr_assert_eq(toymap_read(&t, 4 * BS, old, 4 * BS), 4 * BS);
	cr_assert_eq(old[0], 5);
	faultdev_clear(t.bdev);
	pthread_join(writer, NULL);
	cr_assert_eq(toymap_read(&t, 4 * BS, old, 4 * BS), 4 * BS);
	for (unsigned int i = 0; i < 4 * BS; i++)
		cr_assert_eq(old[i], 0x71);
}

/* ---- limits of the device ---- */

Test(iomap_direct, split_at_the_device_limits)
{
	uint64_t before;

	t.bdev->max_io = 2 * BS;
	for (unsigned int i = 0; i < 600; i++)
		memset(buf + (size_t)i * BS, (int)(i % 251), BS);
	before = faultdev_writes(t.bdev);
	cr_assert_eq(dwrite(0, buf, 600 * BS), 600 * BS);
	cr_assert_eq(faultdev_writes(t.bdev) - before, 300);
	memset(buf, 0xaa, 600 * BS);
	before = faultdev_reads(t.bdev);
	cr_assert_eq(dread(0, buf, 600 * BS), 600 * BS);
	cr_assert_eq(faultdev_reads(t.bdev) - before, 300);
	for (unsigned int i = 0; i < 600; i++)
		cr_assert(buf[(size_t)i * BS] == i % 251 &&
			  buf[(size_t)i * BS + BS - 1] == i % 251);
	/* each part of a split bio is verified against its own tuples: a bad one is told from the
	 * others */
	faultdev_plan(t.bdev, .kind = FAULT_FLIP, .ops = FAULT_READ, .off = t.blocks[77].addr + 5,
		      .len = 1, .times = FAULT_ALWAYS);
	cr_assert_eq(dread(0, buf, 600 * BS), 77 * BS);
	cr_assert_eq(t.last_mismatch, 77 * BS);
	cr_assert_eq(dread(78 * BS, buf, 522 * BS), 522 * BS);
	faultdev_clear(t.bdev);
}

Test(iomap_direct, one_block_at_a_time_all_over_the_device)
{
	t.bdev->max_io = BS;
	t.scatter = true;
	for (unsigned int i = 0; i < 100; i++)
		memset(buf + (size_t)i * BS, (int)(i + 1), BS);
	cr_assert_eq(dwrite(0, buf, 100 * BS), 100 * BS);
	memset(buf, 0, 100 * BS);
	cr_assert_eq(dread(0, buf, 100 * BS), 100 * BS);
	for (unsigned int i = 0; i < 100; i++)
		cr_assert_eq(buf[(size_t)i * BS], i + 1);
}

/* ---- errors of writes ---- */

Test(iomap_direct, a_write_error_is_the_callers_alone)
{
	uint64_t sample;

	place(8);
	sample = mapping_sample_error(&t.mapping);
	memset(buf, 0x72, 4 * BS);
	faultdev_plan(t.bdev, .kind = FAULT_ERROR, .ops = FAULT_WRITE, .times = FAULT_ALWAYS);
	cr_assert_eq(dwrite(2 * BS, buf, 4 * BS), -EIO);
	cr_assert_eq(dwrite(8 * BS, buf, 4 * BS), -EIO);
	faultdev_clear(t.bdev);
	/* no space lost, nothing to retry, nobody else's error, and the file as it was */
	cr_assert_eq(mapping_check_and_advance_error(&t.mapping, &sample), 0);
	cr_assert_eq(atomic_load(&t.mapping.nr_dirty_blocks), 0);
	cr_assert_eq(i_size_read(&t.mapping), 8 * BS);
	for (unsigned int i = 0; i < 8; i++)
		expect(i * BS, BS, (unsigned char)(i + 1));
}

/* Every block an ioend of its own, and one of them fails: what comes before it counts. */
Test(iomap_direct, an_error_in_the_middle_is_a_short_write)
{
	place(8);
	t.scatter = true;
	memset(buf, 0x73, 6 * BS);
	t.next = 1000;
	/* where the third of them will go: the toy tries two places for each */
	faultdev_plan(t.bdev, .kind = FAULT_ERROR, .ops = FAULT_WRITE, .off = 1039ull * BS,
		      .len = BS, .times = FAULT_ALWAYS);
	cr_assert_eq(dwrite(4 * BS, buf, 6 * BS), 2 * BS);
	faultdev_clear(t.bdev);
	cr_assert_eq(i_size_read(&t.mapping), 8 * BS);
	expect(4 * BS, 2 * BS, 0x73);
	expect(6 * BS, BS, 7);
}

Test(iomap_direct, no_space_and_no_preparation)
{
	place(4);
	t.map_error = -ENOSPC;
	t.map_errors = 1;
	cr_assert_eq(dwrite(0, buf, BS), -ENOSPC);
	t.prepare_error = -EDQUOT;
	cr_assert_eq(dwrite(0, buf, BS), -EDQUOT);
	t.prepare_error = 0;
	expect(0, BS, 1);
	/* a dirty block in the way that cannot be written back */
	cr_assert_eq(toymap_write(&t, 10, "x", 1), 1);
	t.map_errors = 1;
	cr_assert_eq(dwrite(0, buf, BS), -ENOSPC);
	cr_assert_eq(toymap_read(&t, 10, buf, 1), 1);
	cr_assert_eq(buf[0], 'x');
	/* behind the end of what the file system can map */
	cr_assert_eq(dwrite(FILE_BYTES, buf, BS), -EFBIG);
}

Test(iomap_direct, out_of_memory)
{
	bool done = false;

	place(64);
	t.bdev->max_io = 4 * BS;
	for (unsigned int n = 1; !done && n < 400; n++) {
		int64_t ret;

		memset(buf, (int)(n & 0x7f) + 1, 40 * BS);
		tl_alloc_fail_nth(n);
		ret = dwrite(8 * BS + 100, buf + 100, 40 * BS);
		tl_alloc_fail_nth(0);
		done = ret == 40 * BS;
		cr_assert(ret > 0 || ret == -ENOMEM, "allocation %u: %ld", n, (long)ret);
		cr_assert_eq(toymap_sync(&t), 0);
		tl_alloc_fail_nth(n);
		ret = dread(5, buf + (1 << 20), 60 * BS);
		tl_alloc_fail_nth(0);
		done &= ret == 60 * BS;
		cr_assert(ret > 0 || ret == -ENOMEM, "allocation %u: %ld", n, (long)ret);
		cr_assert_eq(dread(0, buf, 64 * BS), 64 * BS);
		if (ret > 0)
			cr_assert_eq(memcmp(buf + 5, buf + (1 << 20), (size_t)ret), 0);
	}
	cr_assert(done);
}

/* ---- all of it against an array ---- */

Test(iomap_direct, mixed_with_cached_io)
{
	enum { SPAN = 100 * BS };
	uint64_t rng = test_seed(31), ops = test_ops(1500), size = 0;
	unsigned char *model = calloc(1, SPAN);

	t.bdev->max_io = 3 * BS;
	for (uint64_t op = 1; op <= ops; op++) {
		uint64_t pos = test_rand(&rng) % SPAN,
			 len = 1 + test_rand(&rng) % (test_rand(&rng) & 1 ? 9000 : 150000);
		unsigned int off = (unsigned int)(test_rand(&rng) % BS),
			     what = (unsigned int)(test_rand(&rng) % 8);
		int64_t ret, want;

		if (test_rand(&rng) % 3) {
			pos = round_down_to(pos, BS);
			len = round_up_to(len, BS);
			off = 0;
		} else if (test_rand(&rng) & 1) {
			off = (unsigned int)(pos % BS);
		}
		len = min_t(uint64_t, len, SPAN - pos);
		t.scatter = test_rand(&rng) % 4 == 0;
		if (what < 4) {
			for (uint64_t i = 0; i < len; i++)
				buf[off + i] = (unsigned char)(op * 7 + i * 13 + (i >> 9));
			ret = what & 1 ? dwrite(pos, buf + off, len)
				       : toymap_write(&t, pos, buf + off, len);
			cr_assert_eq(ret, (int64_t)len, "op %lu: %ld", (unsigned long)op,
				     (long)ret);
			memcpy(model + pos, buf + off, len);
			size = max_t(uint64_t, size, pos + len);
		} else if (what < 7) {
			want = pos >= size ? 0 : (int64_t)min_t(uint64_t, len, size - pos);
			ret = what & 1 ? dread(pos, buf + off, len)
				       : toymap_read(&t, pos, buf + off, len);
			/* a buffered read may stop early only for errors */
			cr_assert_eq(ret, want, "op %lu: %ld of %ld", (unsigned long)op, (long)ret,
				     (long)want);
			cr_assert_eq(memcmp(buf + off, model + pos, (size_t)want), 0, "op %lu",
				     (unsigned long)op);
		} else {
			cr_assert_eq(toymap_truncate(&t, pos), 0);
			if (pos < size)
				memset(model + pos, 0, size - pos);
			size = pos;
		}
		cr_assert_eq(i_size_read(&t.mapping), size);
	}
	free(model);
}
