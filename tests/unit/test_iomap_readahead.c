/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * core/iomap/readahead.c: B4: sequential readers: what is fetched before them, and what is let go
 * behind them.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include "core/lib/log.h"
#include "core/pagecache/pagecache_internal.h"
#include "tests/lib/toymap.h"

#define BS 4096u
#define FOLIO (8 * BS)
#define MIB (1u << 20)
#define FILE_BYTES (32 * MIB)

static struct toymap t;
static unsigned char buf[MIB];

static void quiet(enum log_level lvl, const char *line)
{
}

static void setup(void)
{
	log_set_hook(quiet);
	toymap_init(&t, &(struct toy_config){ .blkbits = 12,
					      .folio_shift = 15,
					      .file_bytes = FILE_BYTES,
					      .dev_bytes = 2 * FILE_BYTES,
					      .integrity = true });
}

static void teardown(void)
{
	toymap_exit(&t);
}

TestSuite(iomap_readahead, .init = setup, .fini = teardown);

/* Blocks [0, n) on the device, the file ends with them. */
static void place(uint64_t n)
{
	toymap_place(&t, 0, n, IOMAP_MAPPED, 1);
	i_size_write(&t.mapping, n * BS);
}

static uint64_t missed(void)
{
	struct pagecache_stats st;

	pagecache_get_stats(t.cache, &st);
	return st.read_misses;
}

static void read_at(uint64_t pos, size_t len)
{
	cr_assert_eq(toymap_read(&t, pos, buf, len), (int64_t)len);
}

static bool cached(uint64_t pos)
{
	struct folio *f = filemap_get_folio(&t.mapping, pos / FOLIO);

	if (f)
		folio_put(f);
	return f;
}

Test(iomap_readahead, sequential_reader_is_read_ahead)
{
	place(1024);
	for (uint64_t pos = 0; pos < MIB; pos += 128 << 10)
		read_at(pos, 128 << 10);
	/* only the first request had to wait; the rest came from readahead */
	cr_assert_leq(missed(), 64);
	cr_assert_gt(atomic_load(&t.mapping.ra_end), MIB);
}

Test(iomap_readahead, requests_may_overtake_each_other)
{
	uint64_t before;

	place(FILE_BYTES / BS);
	for (uint64_t pos = 0; pos < 8 * MIB; pos += MIB)
		read_at(pos, MIB);
	before = missed();
	for (uint64_t pos = 8 * MIB; pos < 24 * MIB; pos += 2 * MIB) {
		read_at(pos + MIB, MIB);
		read_at(pos, MIB);
	}
	cr_assert_eq(missed(), before, "%u blocks not read ahead",
		     (unsigned int)(missed() - before));
}

Test(iomap_readahead, lets_go_behind_a_long_sequential_read)
{
	struct folio *held;

	place(FILE_BYTES / BS);
	/* what is dirty or somebody uses stays */
	cr_assert_eq(toymap_write(&t, 2 * MIB, buf, BS), BS);
	read_at(3 * MIB, BS);
	held = filemap_get_folio(&t.mapping, 3 * MIB / FOLIO);
	for (uint64_t pos = 0; pos < FILE_BYTES; pos += 512 << 10)
		read_at(pos, 512 << 10);
	cr_assert(cached(2 * MIB));
	cr_assert(cached(3 * MIB));
	cr_assert(folio_test(held, FOLIO_UPTODATE));
	folio_put(held);
	cr_assert_not(cached(16 * MIB));
	cr_assert(cached(FILE_BYTES - MIB));
	cr_assert_leq(t.mapping.nr_folios, 8 * MIB / FOLIO);
	/* the content is there all the same */
	for (uint64_t pos = 0; pos < FILE_BYTES; pos += 512 << 10)
		read_at(pos, 512 << 10);
}

Test(iomap_readahead, random_reads_keep_what_they_read)
{
	place(FILE_BYTES / BS);
	for (unsigned int i = 0; i < 512; i++)
		read_at((uint64_t)(i * 197 % 512) * 16 * BS, BS);
	cr_assert_geq(t.mapping.nr_folios, 512);
}

Test(iomap_readahead, a_bad_block_shows_on_reading)
{
	place(32);
	faultdev_plan(t.bdev, .kind = FAULT_FLIP, .ops = FAULT_READ, .off = t.blocks[3].addr,
		      .len = 1, .times = FAULT_ALWAYS);
	iomap_readahead(&t.mapping, 0, 32 * BS, &toy_ops);
	cr_assert_eq(toymap_read(&t, 3 * BS, buf, BS), -EIO);
	read_at(4 * BS, BS);
}
