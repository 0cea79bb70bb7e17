/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * All of core/iomap/ and core/pagecache/: one scenario that touches every row of docs/IO.md, again
 * and again: each time the N-th allocation fails, or the N-th I/O of the device fails, comes short
 * or brings bad data, for every N there is.
 *
 * A step that fails says why with an error that fits; every byte is then what it was before or
 * what it should have become; all reservations and all space of the device are accounted for; and
 * the whole scenario, run once more without the fault, succeeds.  Leaks are ASan's to find.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "core/lib/log.h"
#include "core/pagecache/pagecache_internal.h"
#include "tests/lib/random.h"
#include "tests/lib/toymap.h"

#define BS 4096u
#define FOLIO (8 * BS)
#define FILE_BYTES (512u << 10)
#define DEV_BYTES (4u << 20)
#define RAW_BYTES (16 * BS) /* the end of the device, for bios without a file */
#define RAW_OFF (DEV_BYTES - RAW_BYTES)

struct sweep {
	struct toymap t;
	unsigned char want[FILE_BYTES]; /* what the file holds; zeros behind size */
	unsigned char next[FILE_BYTES]; /* what the step at hand makes of it */
	unsigned char buf[FILE_BYTES];
	uint64_t size, next_size;
	const char *fault; /* NULL: none is injected, every step must succeed */
	unsigned long long n;
	bool bad_medium;     /* a block may have gone bad on the medium */
	unsigned int failed; /* steps */
};

static struct sweep sweep;

#define ok(w, cond) \
	cr_assert(cond, "%s; fault: %s, N = %llu", #cond, (w)->fault ? (w)->fault : "none", (w)->n)

static void fill(unsigned char *buf, uint64_t len, unsigned int salt)
{
	for (uint64_t i = 0; i < len; i++)
		buf[i] = (unsigned char)(salt * 37 + i * 7 + (i >> 9));
}

static void end_fault(struct sweep *w)
{
	tl_alloc_fail_nth(0);
	faultdev_clear(w->t.bdev);
}

/* Read one block; one that went bad on the medium is EIO, never other bytes, and heals by being
 * written whole. */
static void settle_block(struct sweep *w, uint64_t pos, uint64_t len)
{
	int64_t n = toymap_read(&w->t, pos, w->buf, len);

	if (n == -EIO && w->bad_medium) {
		ok(w, w->t.mismatches);
		/* the whole block, or it would be read first */
		memset(w->buf, 0xbd, BS);
		ok(w, toymap_write(&w->t, pos, w->buf, BS) == BS);
		if (len < BS)
			ok(w, !toymap_truncate(&w->t, pos + len));
		memcpy(w->want + pos, w->buf, len);
		return;
	}
	ok(w, n == (int64_t)len);
	for (uint64_t i = 0; i < len; i++)
		ok(w, w->buf[i] == w->want[pos + i] || w->buf[i] == w->next[pos + i]);
	memcpy(w->want + pos, w->buf, len);
}

/* A step has failed with @err: see what it has left behind, without the fault. */
static void settle(struct sweep *w, int err)
{
	uint64_t size = i_size_read(&w->t.mapping), pos;

	ok(w, w->fault);
	ok(w, err == -ENOMEM || err == -EIO);
	w->failed++;
	end_fault(w);
	ok(w, size >= min_t(uint64_t, w->size, w->next_size) &&
		      size <= max_t(uint64_t, w->size, w->next_size));
	for (pos = 0; pos < size; pos += BS)
		settle_block(w, pos, min_t(uint64_t, BS, size - pos));
	memset(w->want + size, 0, FILE_BYTES - size);
	w->size = size;
	/* what could not be written is kept; the first try may still tell of the error */
	if (toymap_sync(&w->t))
		ok(w, !toymap_sync(&w->t));
}

static void step_begins(struct sweep *w)
{
	memcpy(w->next, w->want, FILE_BYTES);
	w->next_size = w->size;
}

static void step_ends(struct sweep *w, int err)
{
	if (err) {
		settle(w, err);
		return;
	}
	memcpy(w->want, w->next, FILE_BYTES);
	w->size = w->next_size;
	ok(w, i_size_read(&w->t.mapping) == w->size);
}

/* ---- steps on the file ---- */

static void do_write(struct sweep *w, uint64_t pos, uint64_t len, unsigned int salt)
{
	int64_t n;

	step_begins(w);
	fill(w->next + pos, len, salt);
	w->next_size = max_t(uint64_t, w->size, pos + len);
	memcpy(w->buf, w->next + pos, len);
	n = toymap_write(&w->t, pos, w->buf, len);
	/* short: the next byte's error is what the rest would say */
	step_ends(w, n == (int64_t)len ? 0 : n < 0 ? (int)n : -EIO);
}

/* As a receive buffer that the cache keeps. */
static void do_adopt(struct sweep *w, uint64_t pos, uint64_t len, unsigned int salt)
{
	struct seg *seg = seg_alloc(pagecache_segs(w->t.cache), len);
	struct iomap_src src = { .len = len, .seg = seg };
	int64_t n = -ENOMEM;

	step_begins(w);
	if (seg) {
		fill(seg->base, len, salt);
		src.buf = seg->base;
		memcpy(w->next + pos, seg->base, len);
		w->next_size = max_t(uint64_t, w->size, pos + len);
		n = iomap_file_buffered_write(&w->t.mapping, pos, &src, &toy_ops);
		seg_put(seg);
	}
	step_ends(w, n == (int64_t)len ? 0 : n < 0 ? (int)n : -EIO);
}

/* A read is right, or short, or an error; what it brings is right. */
static void do_read(struct sweep *w, uint64_t pos, uint64_t len)
{
	uint64_t all = pos >= w->size ? 0 : min_t(uint64_t, len, w->size - pos);
	int64_t n = toymap_read(&w->t, pos, w->buf, len);

	step_begins(w);
	if (n > 0)
		ok(w, !memcmp(w->buf, w->want + pos, (size_t)n));
	step_ends(w, n == (int64_t)all ? 0 : n < 0 ? (int)n : -EIO);
}

/* Past the cache, as far as the blocks are whole. */
static void do_direct_write(struct sweep *w, uint64_t pos, uint64_t len, unsigned int salt)
{
	unsigned char *mem = aligned_alloc(BS, FILE_BYTES);
	struct iomap_src src = { .buf = mem + pos % BS, .len = len };
	struct iomap_writepage_ctx wpc = { 0 };
	int64_t n;

	cr_assert_not_null(mem);
	step_begins(w);
	fill(w->next + pos, len, salt);
	w->next_size = max_t(uint64_t, w->size, pos + len);
	memcpy(mem + pos % BS, w->next + pos, len);
	n = iomap_dio_write(&w->t.mapping, pos, &src, &toy_ops, &wpc, &w->t.wb_ops);
	free(mem);
	step_ends(w, n == (int64_t)len ? 0 : n < 0 ? (int)n : -EIO);
}

static void do_direct_read(struct sweep *w, uint64_t pos, uint64_t len)
{
	unsigned char *mem = aligned_alloc(BS, FILE_BYTES);
	uint64_t all = pos >= w->size ? 0 : min_t(uint64_t, len, w->size - pos);
	int64_t n;

	cr_assert_not_null(mem);
	n = iomap_dio_read(&w->t.mapping, pos, mem, len, &toy_ops);
	step_begins(w);
	if (n > 0)
		ok(w, !memcmp(mem, w->want + pos, (size_t)n));
	free(mem);
	step_ends(w, n == (int64_t)all ? 0 : n < 0 ? (int)n : -EIO);
}

static void do_sync(struct sweep *w)
{
	step_begins(w);
	step_ends(w, toymap_sync(&w->t));
}

static void do_drop_cache(struct sweep *w)
{
	do_sync(w);
	pagecache_shrink(w->t.cache, 0);
}

static void do_truncate(struct sweep *w, uint64_t size)
{
	step_begins(w);
	if (size < w->size)
		memset(w->next + size, 0, w->size - size);
	w->next_size = size;
	step_ends(w, toymap_truncate(&w->t, size));
}

static void do_zero(struct sweep *w, uint64_t pos, uint64_t len)
{
	step_begins(w);
	memset(w->next + pos, 0, len);
	step_ends(w, iomap_zero_range(&w->t.mapping, pos, len, NULL, &toy_ops));
}

static void do_punch(struct sweep *w, uint64_t pos, uint64_t len)
{
	step_begins(w);
	memset(w->next + pos, 0, len);
	step_ends(w, toymap_punch(&w->t, pos, len));
}

static void do_unshare(struct sweep *w, uint64_t pos, uint64_t len)
{
	step_begins(w);
	step_ends(w, iomap_file_unshare(&w->t.mapping, pos, len, &toy_ops));
}

/* Bytes of a folio are changed in place. */
static void do_mkwrite(struct sweep *w, uint64_t index)
{
	struct address_space *m = &w->t.mapping;
	struct folio *f = filemap_grab_folio(m, index);
	int err = f ? iomap_read_folio(f, &toy_ops) : -ENOMEM;

	step_begins(w);
	if (!err) {
		folio_lock(f);
		err = iomap_page_mkwrite(f, &toy_ops);
		if (!err) {
			memset(f->blocks[1].addr, 0x3c, BS);
			memset(w->next + index * FOLIO + BS, 0x3c, BS);
		}
		folio_unlock(f);
	}
	if (f)
		folio_put(f);
	step_ends(w, err);
}

/* Writing begins, and what is being written is written over. */
static void do_overtake(struct sweep *w, uint64_t pos, uint64_t len)
{
	struct writeback_control wbc = { .end = UINT64_MAX, .nr_to_write = UINT64_MAX };

	do_write(w, pos, len, 21);
	step_begins(w);
	step_ends(w, w->t.mapping.a_ops->writepages(&w->t.mapping, &wbc));
	do_write(w, pos + 100, len - 200, 22);
}

static void do_migrate(struct sweep *w, uint64_t index)
{
	struct folio *from = filemap_lock_folio(&w->t.mapping, index), *to;
	int err = -ENOMEM;

	step_begins(w);
	if (!from)
		return; /* an earlier step had no memory for it */
	to = folio_alloc(&w->t.mapping, index);
	if (to) {
		err = iomap_migrate_folio(to, from);
		folio_unlock(to);
		folio_put(to);
	}
	folio_unlock(from);
	folio_put(from);
	step_ends(w, err);
}

/* Seeking finds no data where there is none, and never fails but for memory. */
static void do_seek(struct sweep *w, uint64_t hole)
{
	int64_t at = iomap_seek_hole(&w->t.mapping, 0, &toy_ops);

	step_begins(w);
	if (!w->failed)
		ok(w, at == (int64_t)hole);
	ok(w, at >= 0 && iomap_seek_data(&w->t.mapping, w->size, &toy_ops) == -ENXIO);
}

/* ---- steps on bios: what no file of the toy does ---- */

static struct bio *raw_bio(enum bio_op op, struct bio_set *bs, void *data)
{
	struct bio *bio = bio_alloc(sweep.t.bdev, 2, op, bs);

	if (!bio)
		return NULL;
	bio->bi_iter.bi_sector = RAW_OFF >> SECTOR_SHIFT;
	bio->bi_flags |= BIO_F_QUIET;
	cr_assert_eq(bio_add_vec(bio, NULL, data, RAW_BYTES), RAW_BYTES);
	return bio;
}

/* Tags are put in by hand; the device splits the bio into parts. */
static int raw_write(struct bio_set *bs, unsigned char *data, struct tuple16 *tuples)
{
	struct bio *bio = raw_bio(BIO_OP_WRITE, bs, data);
	unsigned char tag[2 * RAW_BYTES / BS];
	int err = bio ? bio_integrity_prep(bio) : -ENOMEM;

	for (unsigned int i = 0; i < sizeof(tag); i++)
		tag[i] = i & 1 ? 0 : 1;
	if (!err)
		err = bio_integrity_set_tag(bio, tag, sizeof(tag));
	if (!err)
		bio_integrity_copy_tuples(bio, tuples, RAW_BYTES / BS * sizeof(*tuples));
	if (!err)
		err = submit_bio_wait(bio);
	if (bio)
		bio_put(bio);
	return err;
}

/* A clone reads the middle, the front is split off and chained. */
static int raw_read(struct bio_set *bs, unsigned char *data, const struct tuple16 *tuples)
{
	struct bio *bio = raw_bio(BIO_OP_READ, bs, data), *clone = NULL, *front = NULL;
	unsigned char tag[2 * RAW_BYTES / BS];
	int err = bio ? bio_integrity_prep_tuples(bio, tuples) : -ENOMEM;

	if (!err)
		err = bio_integrity_get_tag(bio, tag, sizeof(tag));
	if (!err)
		ok(&sweep, tag[0] == 1 && tag[sizeof(tag) - 2] == 1);
	if (!err) {
		clone = bio_clone(bio, NULL);
		err = clone ? 0 : -ENOMEM;
	}
	if (!err) {
		bio_trim(clone, 2 * BS >> SECTOR_SHIFT, 12 * BS >> SECTOR_SHIFT);
		bio_advance(clone, BS);
		err = submit_bio_wait(clone);
	}
	if (!err) {
		front = bio_split(bio, 5 * BS >> SECTOR_SHIFT, NULL);
		err = front ? 0 : -ENOMEM;
	}
	if (!err) {
		bio_chain(front, bio);
		submit_bio(front);
		err = submit_bio_wait(bio);
	}
	if (clone)
		bio_put(clone);
	if (bio)
		bio_put(bio);
	return err;
}

static void do_raw(struct sweep *w)
{
	struct tuple16 tuples[RAW_BYTES / BS];
	unsigned char *data = aligned_alloc(BS, RAW_BYTES), *back = aligned_alloc(BS, RAW_BYTES);
	struct bio_set *bs;
	int err = bioset_create(&bs, 2);

	cr_assert(data && back);
	step_begins(w);
	if (!err) {
		err = bioset_integrity_create(bs, 2);
		fill(data, RAW_BYTES, 5);
		memset(back, 0, RAW_BYTES);
		if (!err)
			err = raw_write(bs, data, tuples);
		if (!err)
			err = raw_read(bs, back, tuples);
		/* bad data on the medium was found by its tuple */
		if (err == -EILSEQ)
			err = w->fault ? -EIO : err;
		if (!err)
			ok(w, !memcmp(data, back, RAW_BYTES));
		blk_flush_integrity();
		bioset_free(bs);
	}
	free(data);
	free(back);
	step_ends(w, err);
}

/* ---- the scenario ---- */

static void scenario(struct sweep *w)
{
	struct address_space *m = &w->t.mapping;

	do_truncate(w, 0);
	do_write(w, 0, 300, 1); /* inline */
	do_drop_cache(w);
	do_read(w, 0, 1000);
	do_write(w, 1000, 100000, 2);  /* grows out */
	do_write(w, 300000, 50000, 3); /* leaves a hole */
	do_sync(w);
	do_seek(w, round_up_to(101000, BS));
	w->t.scatter = true;
	do_adopt(w, 16 * BS, 96 * 1024, 4);
	do_drop_cache(w);
	w->t.scatter = false;
	do_write(w, 5000, 3000, 5); /* edges are read */
	do_read(w, 0, 400000);
	do_zero(w, 9000, 30000);
	toymap_allocate(&w->t, 90, 10); /* unwritten, behind the end */
	do_write(w, 91 * BS + 7, 2 * BS, 6);
	do_zero(w, 89 * BS, 6 * BS);
	do_drop_cache(w);
	iomap_readahead(m, 0, FILE_BYTES, &toy_ops);
	do_read(w, 0, FILE_BYTES);
	toymap_share(&w->t, 16, 30);
	w->t.cow = true;
	pagecache_shrink(w->t.cache, 0);
	do_write(w, 17 * BS + 9, 5000, 7); /* its source is elsewhere */
	do_unshare(w, 16 * BS, 30 * BS);
	w->t.cow = false;
	do_mkwrite(w, 1);
	do_overtake(w, 20 * BS, 6 * BS);
	do_sync(w);
	do_migrate(w, 2);
	invalidate_inode_pages_range(m, 3 * BS, 20 * BS);
	do_read(w, 2 * BS, 30 * BS);
	do_direct_write(w, 4 * BS + 100, 9 * BS, 9);
	do_direct_read(w, 3 * BS + 7, FILE_BYTES / 2);
	do_punch(w, 10 * BS + 5, 9 * BS);
	do_truncate(w, 30 * BS + 17);
	do_truncate(w, 60 * BS);
	do_write(w, 31 * BS, BS, 8);
	do_direct_write(w, 61 * BS, 7 * BS, 10); /* makes the file longer */
	do_drop_cache(w);
	do_read(w, 0, FILE_BYTES);
	do_raw(w);
}

static void start(struct sweep *w, const char *fault, unsigned long long n)
{
	memset(w, 0, sizeof(*w));
	toymap_init(&w->t, &(struct toy_config){ .blkbits = 12,
						 .folio_shift = 15,
						 .file_bytes = FILE_BYTES,
						 .dev_bytes = DEV_BYTES,
						 .cache = { .cache_bytes = 3u << 20 },
						 .integrity = true,
						 .inline_max = 500 });
	w->t.bdev->max_io = 6 * BS; /* bios are split */
	memset(w->t.used + RAW_OFF / BS, 1, RAW_BYTES / BS);
	w->fault = fault;
	w->n = n;
}

static void check_all(struct sweep *w)
{
	int64_t n;

	ok(w, !toymap_sync(&w->t));
	iomap_ioend_drain();
	pagecache_shrink(w->t.cache, 0);
	n = toymap_read(&w->t, 0, w->buf, FILE_BYTES);
	if (n == (int64_t)w->size) {
		ok(w, !memcmp(w->buf, w->want, (size_t)n));
	} else {
		step_begins(w);
		settle(w, n < 0 ? (int)n : -EIO);
		ok(w, w->bad_medium);
	}
	ok(w, !toymap_reservation_gap(&w->t));
	ok(w, toymap_space_gap(&w->t) == RAW_BYTES / BS);
}

/* Everything is right after the fault, and the scenario goes through without it. */
static void finish(struct sweep *w)
{
	end_fault(w);
	check_all(w);
	w->fault = NULL;
	w->bad_medium = false;
	w->failed = 0;
	scenario(w);
	check_all(w);
	toymap_exit(&w->t);
}

static void quiet(enum log_level lvl, const char *line)
{
}

static void sweep_init(void)
{
	log_set_hook(quiet);
}

TestSuite(failure_sweep, .init = sweep_init);

Test(failure_sweep, without_faults)
{
	start(&sweep, NULL, 0);
	scenario(&sweep);
	finish(&sweep);
}

Test(failure_sweep, every_allocation)
{
	unsigned int failed = 0;
	unsigned long long n;
	bool more = true;

	for (n = 1; more; n += test_stride()) {
		start(&sweep, "allocation", n);
		tl_alloc_fail_nth(n);
		scenario(&sweep);
		/* a step that failed has switched it off */
		more = sweep.failed || tl_alloc_count() >= n;
		failed += sweep.failed;
		finish(&sweep);
	}
	fprintf(stderr, "%llu allocations, %u steps failed\n", n - 1 - test_stride(), failed);
	cr_assert_gt(n, 100);
	cr_assert_gt(failed, 50);
}

static void every_io(enum fault_kind how, bool sticky, const char *name)
{
	unsigned int failed = 0;
	unsigned long long n;
	bool more = true;

	for (n = 1; more; n += test_stride()) {
		start(&sweep, name, n);
		sweep.bad_medium = how == FAULT_FLIP;
		faultdev_plan(sweep.t.bdev, .kind = how, .ops = FAULT_IO, .nth = n,
			      .sticky = sticky);
		scenario(&sweep);
		more = sweep.failed || faultdev_struck(sweep.t.bdev, NULL, NULL);
		failed += sweep.failed;
		finish(&sweep);
	}
	fprintf(stderr, "%s: %llu I/Os, %u steps failed\n", name, n - 1 - test_stride(), failed);
	cr_assert_gt(n, 50);
	cr_assert_gt(failed, 5);
}

Test(failure_sweep, every_io_fails)
{
	every_io(FAULT_ERROR, false, "error");
}

Test(failure_sweep, every_io_fails_and_the_place_stays_bad)
{
	every_io(FAULT_ERROR, true, "lasting error");
}

Test(failure_sweep, every_io_is_short)
{
	every_io(FAULT_SHORT, false, "short");
}

Test(failure_sweep, every_io_has_bad_data)
{
	every_io(FAULT_FLIP, false, "bad data");
	every_io(FAULT_FLIP, true, "lasting bad data");
}
