/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * core/block/integrity.c, integrity_profile.c, integrity_t10.c, integrity_tag.c: block integrity
 * with bios: payloads, prepare, verify, completion, tags, failures.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "core/block/integrity.h"
#include "core/lib/log.h"
#include "tests/lib/faultdev.h"

#define DEV_BYTES (1u << 20)
#define TUPLE 16

static struct bdev *dev; /* a faultdev */
static uint8_t *medium;
static struct blk_integrity bi;
static uint8_t *mem;			       /* DEV_BYTES */
static uint8_t store[DEV_BYTES / 512 * TUPLE]; /* tuples of the whole device */
static int load_err, save_err;
static atomic_uint saves;

static int load(void *st, uint64_t first, unsigned int n, void *buf)
{
	memcpy(buf, store + first * bi.profile->tuple_size, n * bi.profile->tuple_size);
	return load_err;
}

static int save(void *st, uint64_t first, unsigned int n, const void *buf)
{
	atomic_fetch_add(&saves, 1);
	memcpy(store + first * bi.profile->tuple_size, buf, n * bi.profile->tuple_size);
	return save_err;
}

static const struct tuple_store_ops store_ops = { load, save };

static void setup_kind(bool async)
{
	size_t i;

	log_init("test", false, LOG_LVL_ERR);
	cr_assert_eq(blk_init(2), 0);
	dev = (async ? faultdev_create_async : faultdev_create)(bdev_mem_create(DEV_BYTES));
	medium = bdev_mem_data(faultdev_lower(dev));
	mem = tl_alloc_aligned(4096, DEV_BYTES);
	bi = (struct blk_integrity){
		.profile = &profile_xxh3_64,
		.interval_exp = 12,
		.flags = BLK_INTEGRITY_GENERATE | BLK_INTEGRITY_VERIFY,
		.key = 0x1234567890abcdef,
		.app = 7,
		.store_ops = &store_ops,
	};
	dev->integrity = &bi;
	for (i = 0; i < DEV_BYTES; i++)
		medium[i] = (uint8_t)(i ^ i >> 8 ^ i >> 16);
	blk_integrity_generate_buf(&bi, medium, 0, DEV_BYTES >> 12, 7, store);
}

static void setup(void)
{
	setup_kind(false);
}

static void setup_async(void)
{
	setup_kind(true);
}

static void teardown(void)
{
	blk_flush_integrity();
	bdev_close(dev);
	tl_free(mem);
	blk_exit();
}

TestSuite(integrity, .init = setup, .fini = teardown);
TestSuite(integrity_async, .init = setup_async, .fini = teardown);

static struct bio *new_bio(enum bio_op op, sector_t sector, uint32_t bytes)
{
	struct bio *bio = bio_alloc(dev, 16, op, NULL);

	bio->bi_flags |= BIO_F_QUIET;
	bio->bi_iter.bi_sector = sector;
	bio_add_vec(bio, NULL, mem, bytes);
	return bio;
}

struct done {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	int calls;
};

static void set_done(struct bio *bio)
{
	struct done *d = bio->bi_private;

	pthread_mutex_lock(&d->lock);
	d->calls++;
	pthread_cond_signal(&d->cond);
	pthread_mutex_unlock(&d->lock);
}

/* By way of submit_bio, whatever the device. */
static int submit_and_wait(struct bio *bio)
{
	struct done d = { .lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER };

	bio->bi_end_io = set_done;
	bio->bi_private = &d;
	submit_bio(bio);
	pthread_mutex_lock(&d.lock);
	while (!d.calls)
		pthread_cond_wait(&d.cond, &d.lock);
	pthread_mutex_unlock(&d.lock);
	bio->bi_end_io = NULL;
	bio->bi_private = NULL;
	return bio->bi_status;
}

/* I2, I3 */

Test(integrity, payload_and_pages)
{
	struct bio *bio = new_bio(BIO_OP_READ, 0, 4096);
	static uint8_t buf[8][64];
	unsigned int i;

	cr_assert_not_null(bio_integrity_alloc(bio, 2));
	cr_assert(bio->bi_flags & BIO_F_INTEGRITY);
	cr_assert_eq(bio_integrity_add_page(bio, buf[0], 16), 16);
	cr_assert_eq(bio_integrity_add_page(bio, buf[0] + 16, 16), 16);
	cr_assert_eq(bio->bi_integrity->bip_vcnt, 1, "memory goes on");
	cr_assert_eq(bio_integrity_add_page(bio, buf[2], 16), 16);
	cr_assert_eq(bio_integrity_add_page(bio, buf[4], 16), 0, "full");
	cr_assert_eq(bio->bi_integrity->bip_iter.bi_size, 48);
	bio_integrity_free(bio);
	cr_assert_null(bio->bi_integrity);
	cr_assert_not(bio->bi_flags & BIO_F_INTEGRITY);
	bio_integrity_free(bio);

	/* More vectors than lie inline. */
	cr_assert_not_null(bio_integrity_alloc(bio, 8));
	for (i = 0; i < 8; i++)
		cr_assert_eq(bio_integrity_add_page(bio, buf[7 - i], 32), 32);
	cr_assert_eq(bio->bi_integrity->bip_vcnt, 8);
	bio_put(bio);
}

Test(integrity, gap_is_refused)
{
	struct bio *bio = new_bio(BIO_OP_READ, 0, 4096);

	dev->virt_boundary = 4095;
	bio_integrity_alloc(bio, 4);
	cr_assert_eq(bio_integrity_add_page(bio, mem + 4096 - 64, 64), 64);
	cr_assert_eq(bio_integrity_add_page(bio, mem + 8192, 4096), 4096, "page end to page start");
	cr_assert_eq(bio_integrity_add_page(bio, mem + 16384 + 16, 64), 0, "starts inside a page");
	cr_assert_eq(bio_integrity_add_page(bio, mem + 16384, 64), 64);
	cr_assert_eq(bio_integrity_add_page(bio, mem + 32768, 64), 0,
		     "the last one ended inside a page");
	bio_put(bio);
}

Test(integrity, payload_pool)
{
	struct bio_set *bs;
	struct bio *bio;
	unsigned int n, vecs;

	cr_assert_eq(bioset_create(&bs, 1), 0);
	cr_assert_eq(bioset_integrity_create(bs, 1), 0);
	/* Wherever memory fails, prepare goes on from the reserves. */
	for (n = 0; n <= 5; n++) {
		for (vecs = 1; vecs <= 8; vecs += 7) {
			tl_alloc_fail_nth(n);
			bio = bio_alloc(dev, 8, BIO_OP_WRITE, bs);
			cr_assert_not_null(bio_integrity_alloc(bio, vecs));
			bio_put(bio);
		}
		tl_alloc_fail_nth(n);
		bio = bio_alloc(dev, 1, BIO_OP_WRITE, bs);
		bio_add_vec(bio, NULL, mem, 65536);
		cr_assert_eq(bio_integrity_prep(bio), 0);
		bio_put(bio);
	}
	tl_alloc_fail_nth(0);
	bioset_free(bs);
}

/* I4, I5 */

Test(integrity, enabled)
{
	struct bio *r = new_bio(BIO_OP_READ, 0, 4096), *w = new_bio(BIO_OP_WRITE, 0, 4096);
	struct bio *f = bio_alloc(dev, 1, BIO_OP_FLUSH, NULL),
		   *d = new_bio(BIO_OP_DISCARD, 0, 4096);
	struct integrity_profile p = profile_crc32;

	cr_assert(bio_integrity_enabled(r) && bio_integrity_enabled(w));
	cr_assert(!bio_integrity_enabled(f) && !bio_integrity_enabled(d));
	bi.flags = BLK_INTEGRITY_GENERATE;
	cr_assert(!bio_integrity_enabled(r) && bio_integrity_enabled(w));
	cr_assert_eq(bio_integrity_prep_tuples(r, store), 0);
	cr_assert_null(r->bi_integrity, "verification is off");
	bi.flags = BLK_INTEGRITY_VERIFY;
	cr_assert(bio_integrity_enabled(r) && !bio_integrity_enabled(w));
	bi.flags |= BLK_INTEGRITY_GENERATE;
	r->bi_flags |= BIO_F_NO_INTEGRITY;
	cr_assert_not(bio_integrity_enabled(r));
	r->bi_flags &= ~(unsigned int)BIO_F_NO_INTEGRITY;
	p.verify_fn = NULL;
	p.generate_fn = NULL;
	bi.profile = &p;
	cr_assert(!bio_integrity_enabled(r) && !bio_integrity_enabled(w));
	bi.profile = &profile_crc32;
	bi.store_ops = NULL;
	cr_assert(!bio_integrity_enabled(r) && bio_integrity_enabled(w));
	bio_integrity_alloc(w, 1);
	cr_assert_not(bio_integrity_enabled(w), "has a payload");
	dev->integrity = NULL;
	cr_assert_not(bio_integrity_enabled(r));
	bio_put(r);
	bio_put(w);
	bio_put(f);
	bio_put(d);
}

Test(integrity, intervals_and_bytes)
{
	struct blk_integrity b = { .profile = &profile_xxh3_64 };

	for (b.interval_exp = 9; b.interval_exp <= 16; b.interval_exp++) {
		cr_assert_eq(bio_integrity_intervals(&b, 256), (256u * 512) >> b.interval_exp);
		cr_assert_eq(bio_integrity_bytes(&b, 256), ((256u * 512) >> b.interval_exp) * 16);
	}
	b.profile = &profile_t10_type1_crc;
	b.interval_exp = 9;
	cr_assert_eq(bio_integrity_bytes(&b, 9), 72);
	cr_assert_eq(bio_integrity_intervals(&b, 0), 0);
}

/* I6 */

Test(integrity, prepare_seeds_and_generates)
{
	struct bio *bio = new_bio(BIO_OP_WRITE, 24, 8192);
	struct tuple16 t[2];

	memset(mem, 0x5a, 8192);
	cr_assert_eq(bio_integrity_prep(bio), 0);
	cr_assert_eq(bio->bi_integrity->bip_iter.bi_sector, 3);
	cr_assert_eq(bio_integrity_copy_tuples(bio, t, sizeof(t)), 32);
	cr_assert_eq(le16_get(t[0].app), 7);
	cr_assert_eq(t[0].ref[0], 3);
	cr_assert_eq(t[1].ref[0], 4);
	cr_assert_eq(le64_get(t[0].guard), le64_get(t[1].guard), "equal data, equal guards");
	cr_assert_eq(bio_integrity_verify(bio), 0);
	cr_assert_eq(bio_integrity_copy_tuples(bio, t, 16), 16, "as much as there is room for");
	bio_put(bio);
	bio = new_bio(BIO_OP_WRITE, 0, 4096);
	cr_assert_eq(bio_integrity_copy_tuples(bio, t, 16), 0);
	bio_put(bio);
}

Test(integrity, prepare_fails_cleanly)
{
	static const struct {
		sector_t sector;
		uint32_t bytes;
	} odd[] = { { 1, 4096 }, { 0, 4608 }, { 7, 512 } };
	struct bio *bio;
	unsigned int n;
	size_t i;
	int err;

	for (i = 0; i < ARRAY_SIZE(odd); i++) {
		bio = new_bio(BIO_OP_WRITE, odd[i].sector, odd[i].bytes);
		cr_assert_eq(bio_integrity_prep(bio), -EINVAL);
		cr_assert_null(bio->bi_integrity);
		cr_assert_eq(submit_and_wait(bio), -EINVAL);
		bio_put(bio);
	}
	for (n = 1;; n++) {
		bio = new_bio(BIO_OP_READ, 0, 65536);
		tl_alloc_fail_nth(n);
		err = bio_integrity_prep(bio);
		tl_alloc_fail_nth(0);
		if (!err)
			break;
		cr_assert_eq(err, -ENOMEM);
		cr_assert_null(bio->bi_integrity);
		bio_put(bio);
	}
	cr_assert_eq(n, 3, "payload and buffer");
	bio_put(bio);
	load_err = -EIO;
	bio = new_bio(BIO_OP_READ, 0, 4096);
	cr_assert_eq(submit_and_wait(bio), -EIO);
	cr_assert_null(bio->bi_integrity);
	bio_put(bio);
	bio = new_bio(BIO_OP_READ, 0, 4096);
	tl_alloc_fail_nth(1);
	cr_assert_eq(submit_bio_wait(bio), -ENOMEM);
	tl_alloc_fail_nth(0);
	bio_put(bio);
}

Test(integrity, tuples_from_the_caller)
{
	struct bio *bio = new_bio(BIO_OP_READ, 8, 8192);

	bi.store_ops = NULL;
	cr_assert_eq(bio_integrity_prep_tuples(bio, store + TUPLE), 0);
	cr_assert_eq(bio_integrity_prep_tuples(bio, store + TUPLE), -EINVAL, "has them already");
	cr_assert_eq(submit_and_wait(bio), 0);
	bio_put(bio);
	bio = new_bio(BIO_OP_READ, 8, 8192);
	cr_assert_eq(bio_integrity_prep_tuples(bio, store), 0); /* those of the block before */
	cr_assert_eq(submit_and_wait(bio), -EILSEQ);
	cr_assert_str_eq(bio->bi_integrity->bip_what, "ref tag");
	cr_assert_eq(bio->bi_integrity->bip_bad_ref, 1);
	bio_put(bio);
	bio = new_bio(BIO_OP_WRITE, 8, 8192);
	cr_assert_eq(bio_integrity_prep_tuples(bio, store), -EINVAL);
	bio_put(bio);
}

Test(integrity, payload_that_covers_too_little_is_refused)
{
	struct bio *bio = new_bio(BIO_OP_READ, 0, 8192);

	bio_integrity_alloc(bio, 1);
	bio_integrity_add_page(bio, store, TUPLE);
	bio->bi_integrity->bip_flags |= BIP_CHECK;
	cr_assert_eq(submit_and_wait(bio), -EINVAL);
	bio_put(bio);
}

/* Neither data without a tuple nor a tuple without data counts as good, whatever came before. */
Test(integrity, what_was_not_compared_is_not_good)
{
	static const struct {
		uint32_t bytes;
		unsigned int tuples;
		int want;
	} cases[] = { { 8192, 2, 0 },
		      { 8192, 1, -EINVAL },
		      { 4096, 2, -EINVAL },
		      { 4096 + 512, 1, -EINVAL } };
	struct bio *bio;

	memcpy(mem, medium, 8192);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		bio = new_bio(BIO_OP_READ, 0, cases[i].bytes);
		bio_integrity_alloc(bio, 1);
		bio_integrity_add_page(bio, store, cases[i].tuples * TUPLE);
		cr_assert_eq(bio_integrity_verify(bio), cases[i].want, "row %zu", i);
		bio_put(bio);
	}
}

/* I7, I8: what comes back from the device */

static void check_read(int want, uint64_t bad, sector_t sector, uint32_t bytes)
{
	struct bio *bio = new_bio(BIO_OP_READ, sector, bytes);

	cr_assert_eq(submit_and_wait(bio), want);
	if (want == -EILSEQ)
		cr_assert_eq(bio->bi_integrity->bip_bad_ref, bad);
	bio_put(bio);
	bio = new_bio(BIO_OP_READ, sector, bytes);
	cr_assert_eq(submit_bio_wait(bio), want);
	if (want == -EILSEQ)
		cr_assert_eq(bio->bi_integrity->bip_bad_ref, bad);
	bio_put(bio);
}

static void check_bad_blocks(void)
{
	struct integrity_stats before, after;
	unsigned int block;

	check_read(0, 0, 0, DEV_BYTES);
	for (block = 0; block < 32; block++) {
		uint8_t *p = medium + block * 4096 + block * 100;

		*p ^= 1 << block % 8;
		check_read(-EILSEQ, block, 0, 131072);
		check_read(-EILSEQ, block, block * 8, 4096);
		check_read(0, 0, (block + 1) * 8, 131072);
		*p ^= 1 << block % 8;
	}
	integrity_get_stats(&before);
	check_read(0, 0, 0, 131072);
	integrity_get_stats(&after);
	cr_assert_eq(after.verified - before.verified, 64);
	cr_assert_eq(after.mismatches, before.mismatches);
	cr_assert_geq(after.mismatches, 128);
}

Test(integrity, bad_blocks_are_found)
{
	check_bad_blocks();
}

/* bi_iter is used up when these complete: the bug of old was to verify nothing then. */
Test(integrity_async, bad_blocks_are_found_from_the_first_segment_on)
{
	check_bad_blocks();
}

Test(integrity_async, bad_blocks_are_found_in_every_part_of_a_split)
{
	dev->max_io = 8192 + 512;
	check_bad_blocks();
	cr_assert_eq(faultdev_too_big(dev), 0);
}

Test(integrity_async, verify_after_the_iterator_has_gone)
{
	struct bio *bio = new_bio(BIO_OP_READ, 0, 16384);

	cr_assert_eq(submit_and_wait(bio), 0);
	cr_assert_eq(bio->bi_iter.bi_size, 0);
	cr_assert_eq(bio_integrity_verify(bio), 0);
	mem[0] ^= 1;
	cr_assert_eq(bio_integrity_verify(bio), -EILSEQ);
	cr_assert_eq(bio->bi_integrity->bip_bad_ref, 0);
	mem[0] ^= 1;
	mem[16383] ^= 1;
	cr_assert_eq(bio_integrity_verify(bio), -EILSEQ);
	cr_assert_eq(bio->bi_integrity->bip_bad_ref, 3);
	bio_put(bio);
}

Test(integrity_async, io_error_skips_verification)
{
	struct bio *bio = new_bio(BIO_OP_READ, 0, 16384);
	struct integrity_stats before, after;

	faultdev_plan(dev, .kind = FAULT_ERROR, .ops = FAULT_READ, .times = FAULT_ALWAYS);
	memset(mem, 0, 16384);
	integrity_get_stats(&before);
	cr_assert_eq(submit_and_wait(bio), -EIO, "not -EILSEQ");
	integrity_get_stats(&after);
	cr_assert_eq(after.verified, before.verified);
	cr_assert_eq(after.mismatches, before.mismatches);
	bio_put(bio);
}

Test(integrity, write_then_read)
{
	static const struct integrity_profile *const profiles[] = {
		&profile_xxh3_64,      &profile_crc32,	       &profile_t10_type1_crc,
		&profile_t10_type1_ip, &profile_t10_type3_crc, &profile_t10_type3_ip,
	};
	unsigned int i, exp;
	struct bio *bio;
	uint8_t tuples[32];

	for (i = 0; i < ARRAY_SIZE(profiles); i++) {
		for (exp = 9; exp <= 16; exp++) {
			bi.profile = profiles[i];
			bi.interval_exp = (uint8_t)exp;
			memset(mem, (int)(i * 10 + exp), DEV_BYTES);
			mem[777] = 1;
			bio = new_bio(BIO_OP_WRITE, 0, DEV_BYTES); /* generated by a worker */
			cr_assert_eq(submit_and_wait(bio), 0);
			cr_assert_eq(bio_integrity_copy_tuples(bio, tuples, sizeof(tuples)), 32);
			cr_assert_arr_eq(tuples, store, 32);
			bio_put(bio);
			bio = new_bio(BIO_OP_WRITE, 128, 65536); /* by the submitter */
			cr_assert_eq(submit_bio_wait(bio), 0);
			bio_put(bio);
			check_read(0, 0, 0, DEV_BYTES);
			medium[65536] ^= 4;
			check_read(-EILSEQ, 65536 >> exp, 0, DEV_BYTES);
		}
	}
}

Test(integrity, failed_write_saves_nothing)
{
	struct bio *bio = new_bio(BIO_OP_WRITE, 0, 8192);

	faultdev_plan(dev, .kind = FAULT_ERROR, .ops = FAULT_WRITE, .err = -ENOSPC,
		      .times = FAULT_ALWAYS);
	cr_assert_eq(submit_and_wait(bio), -ENOSPC);
	cr_assert_eq(atomic_load(&saves), 0);
	bio_put(bio);
	faultdev_clear(dev);
	save_err = -EDQUOT;
	bio = new_bio(BIO_OP_WRITE, 0, 8192);
	cr_assert_eq(submit_and_wait(bio), -EDQUOT);
	cr_assert_eq(atomic_load(&saves), 1);
	bio_put(bio);
}

/* An interval may lie in several pieces of memory, its tuple too. */
Test(integrity, pieces_smaller_than_an_interval)
{
	static const uint32_t piece[] = { 512, 1536, 4096, 100, 3996, 6144, 24, 8168, 8192 };
	struct bio *bio = bio_alloc(dev, 16, BIO_OP_WRITE, NULL);
	uint8_t tuples[8 * TUPLE], want[8 * TUPLE], *flat = tl_alloc(32768), *p = mem;
	uint32_t at = 0, i;

	for (i = 0; i < 32768; i++)
		flat[i] = (uint8_t)(i * 31 ^ i >> 7);
	for (i = 0; i < ARRAY_SIZE(piece); i++) {
		memcpy(p, flat + at, piece[i]);
		bio_add_vec(bio, NULL, p, piece[i]);
		at += piece[i];
		p += piece[i] + 64;
	}
	cr_assert_eq(at, 32768);
	bio->bi_iter.bi_sector = 80;
	/* Tuple memory in pieces of 40 bytes, which is no multiple of 16. */
	bio_integrity_alloc(bio, 4);
	bio->bi_integrity->bip_iter.bi_sector = 10;
	for (i = 0; i < 4; i++)
		cr_assert_gt(bio_integrity_add_page(bio, store + 1000 * (i + 1), i < 3 ? 40 : 8),
			     0);
	cr_assert_eq(bio_integrity_generate(bio), 0);
	bio_integrity_copy_tuples(bio, tuples, sizeof(tuples));
	blk_integrity_generate_buf(&bi, flat, 10, 8, 7, want);
	cr_assert_arr_eq(tuples, want, sizeof(want));
	bio->bi_integrity->bip_flags |= BIP_CHECK;
	cr_assert_eq(bio_integrity_verify(bio), 0);
	mem[512 + 64 + 1536 + 64 + 4096 + 64 + 10] ^= 1; /* in the piece of 100 */
	cr_assert_eq(bio_integrity_verify(bio), -EILSEQ);
	cr_assert_eq(bio->bi_integrity->bip_bad_ref, 11);
	bio_put(bio);
	tl_free(flat);
}

Test(integrity, app_tag_is_compared_when_asked_for)
{
	struct bio *bio;

	bi.app = 8;
	bio = new_bio(BIO_OP_READ, 0, 4096);
	cr_assert_eq(submit_bio_wait(bio), -EILSEQ);
	cr_assert_str_eq(bio->bi_integrity->bip_what, "app tag");
	cr_assert_eq(bio->bi_integrity->bip_expected, 8);
	cr_assert_eq(bio->bi_integrity->bip_found, 7);
	bio_put(bio);
	bi.app = 0;
	check_read(0, 0, 0, 4096);
}

Test(integrity, t10_escapes)
{
	static uint8_t data[512];
	struct t10_tuple t;

	bi.interval_exp = 9;
	bi.profile = &profile_t10_type1_crc;
	memset(&t, 0x11, sizeof(t));
	cr_assert_eq(blk_integrity_verify_buf(&bi, data, 5, 1, 0, &t, NULL), -EILSEQ);
	memset(t.app, 0xff, 2);
	cr_assert_eq(blk_integrity_verify_buf(&bi, data, 5, 1, 0, &t, NULL), 0);
	bi.profile = &profile_t10_type3_crc;
	cr_assert_eq(blk_integrity_verify_buf(&bi, data, 5, 1, 0, &t, NULL), -EILSEQ);
	memset(t.ref, 0xff, 4);
	cr_assert_eq(blk_integrity_verify_buf(&bi, data, 5, 1, 0, &t, NULL), 0);
	/* Type 1 knows its place, type 3 does not. */
	blk_integrity_generate_buf(&bi, data, 5, 1, 0, &t);
	cr_assert_eq(blk_integrity_verify_buf(&bi, data, 6, 1, 0, &t, NULL), 0);
	bi.profile = &profile_t10_type1_ip;
	blk_integrity_generate_buf(&bi, data, 5, 1, 0, &t);
	cr_assert_eq(blk_integrity_verify_buf(&bi, data, 5, 1, 0, &t, NULL), 0);
	cr_assert_eq(blk_integrity_verify_buf(&bi, data, 6, 1, 0, &t, NULL), -EILSEQ);
	cr_assert_eq(blk_integrity_verify_buf(&bi, data, 5 + (UINT64_C(1) << 32), 1, 0, &t, NULL),
		     0, "32 bits");
}

Test(integrity, tuple16_layout)
{
	struct tuple16 t[2];
	static uint8_t data[8192];
	unsigned int bad;

	blk_integrity_generate_buf(&bi, data, 0xff060504030201, 2, 0x1234, t);
	cr_assert_arr_eq((uint8_t *)t + 8, ((uint8_t[]){ 0x34, 0x12, 1, 2, 3, 4, 5, 6 }), 8);
	cr_assert_eq(blk_integrity_verify_buf(&bi, data, 0x060504030201, 2, 0, t, &bad), 0,
		     "48 bits");
	data[5000] = 1;
	cr_assert_eq(blk_integrity_verify_buf(&bi, data, 0x060504030201, 2, 0, t, &bad), -EILSEQ);
	cr_assert_eq(bad, 1);
	data[5000] = 0;
	bi.key++;
	cr_assert_eq(blk_integrity_verify_buf(&bi, data, 0x060504030201, 2, 0, t, &bad), -EILSEQ,
		     "another device's seed");
	cr_assert_eq(bad, 0);
}

/* I9 */

Test(integrity, tags)
{
	static const struct {
		const struct integrity_profile *p;
		unsigned int per_tuple;
	} t[] = { { &profile_xxh3_64, 2 },
		  { &profile_t10_type1_crc, 2 },
		  { &profile_t10_type3_ip, 6 } };
	char in[64] = "application bytes that travel in the tuples of a bio, end.", out[64];
	struct bio *bio;
	size_t i;

	bi.app = 0;
	for (i = 0; i < ARRAY_SIZE(t); i++) {
		unsigned int room = 8 * t[i].per_tuple;

		bi.profile = t[i].p;
		bio = new_bio(BIO_OP_WRITE, 0, 32768);
		cr_assert_eq(bio_integrity_tag_size(bio), 0);
		cr_assert_eq(bio_integrity_set_tag(bio, in, 1), -EINVAL, "no payload");
		cr_assert_eq(bio_integrity_prep(bio), 0);
		cr_assert_eq(bio_integrity_tag_size(bio), room);
		cr_assert_eq(bio_integrity_set_tag(bio, in, room + 1), -ENOSPC);
		cr_assert_eq(bio_integrity_set_tag(bio, in, room - 1), 0);
		cr_assert_eq(submit_and_wait(bio), 0);
		bio_put(bio);
		bio = new_bio(BIO_OP_READ, 0, 32768);
		cr_assert_eq(submit_and_wait(bio), 0, "tags are not part of the guard");
		memset(out, 0, sizeof(out));
		cr_assert_eq(bio_integrity_get_tag(bio, out, room - 1), 0);
		cr_assert_arr_eq(in, out, room - 1);
		cr_assert_eq(out[room - 1], 0);
		bio_put(bio);
	}
}

/* I8: flush */

static atomic_bool slow_begun, slow_done;

static void slow_end_io(struct bio *bio)
{
	atomic_store(&slow_begun, true);
	usleep(50000);
	atomic_store(&slow_done, true);
	bio_put(bio);
}

Test(integrity_async, flush_waits_for_completions)
{
	struct bio *bio = new_bio(BIO_OP_READ, 0, 65536);

	bio->bi_end_io = slow_end_io;
	submit_bio(bio);
	while (!atomic_load(&slow_begun))
		usleep(1000);
	blk_flush_integrity();
	cr_assert(atomic_load(&slow_done));
}
