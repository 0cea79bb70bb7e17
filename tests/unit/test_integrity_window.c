/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * core/block/integrity_window.c, bio_clone.c: advance, trim, split and clone in random combination:
 * after each step the window shows the tuples of exactly the intervals that the bio covers, and a
 * bad byte anywhere in them is found, nowhere else.  The seed is fixed; TALLYFS_SEED=n takes
 * another.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/block/integrity.h"
#include "core/lib/log.h"
#include "tests/lib/faultdev.h"
#include "tests/lib/random.h"

#define DEV_BYTES (1u << 20)
#define ROUNDS 2000
#define STEPS 6

static struct bdev *dev; /* a faultdev */
static uint8_t *medium;
static struct blk_integrity bi;
static uint8_t *mem, *store;
static uint64_t rng;

static uint32_t rnd(uint32_t below)
{
	return (uint32_t)(test_rand(&rng) % below);
}

static uint32_t unit(void)
{
	return 1u << bi.interval_exp;
}

/* A prepared read of a random range, its memory in random pieces. */
static struct bio *random_bio(void)
{
	uint32_t all = DEV_BYTES >> bi.interval_exp, first = rnd(all), n, left;
	struct bio *bio = bio_alloc(dev, BIO_MAX_VECS, BIO_OP_READ, NULL);
	uint8_t *p = mem;

	n = 1 + rnd(min_t(uint32_t, all - first, 20));
	left = n << bi.interval_exp;
	bio->bi_flags |= BIO_F_QUIET;
	bio->bi_iter.bi_sector = (uint64_t)first << (bi.interval_exp - SECTOR_SHIFT);
	while (left) {
		uint32_t len = min_t(uint32_t, left, SECTOR_SIZE * (1 + rnd(40)));

		if (bio->bi_vcnt == BIO_MAX_VECS - 1)
			len = left;
		bio_add_vec(bio, NULL, p, len);
		p += len + SECTOR_SIZE * rnd(2);
		left -= len;
	}
	cr_assert_eq(bio_integrity_prep_tuples(bio, store + first * bi.profile->tuple_size), 0);
	return bio;
}

/* The model: the store's tuples of the intervals the bio stands at. */
static void check_window(const struct bio *bio)
{
	const struct bio_integrity_payload *bip = bio->bi_integrity;
	uint64_t first = bio->bi_iter.bi_sector >> (bi.interval_exp - SECTOR_SHIFT);
	uint32_t size = bio->bi_iter.bi_size >> bi.interval_exp, pos = 0;
	struct bvec_iter it = bip->bip_iter;

	size *= bi.profile->tuple_size;
	cr_assert_eq(it.bi_sector, first);
	cr_assert_eq(it.bi_size, size);
	while (it.bi_size) {
		struct bio_vec bv = bvec_iter_bvec(bip->bip_vec, it);

		cr_assert_arr_eq(bv.bv_base, store + first * bi.profile->tuple_size + pos,
				 bv.bv_len);
		pos += bv.bv_len;
		bvec_iter_advance(bip->bip_vec, &it, bv.bv_len);
	}
}

/* A copy of the window of @bio to read through, with one bad byte in the middle of it. */
static void check_finds(struct bio *bio)
{
	uint32_t n = bio->bi_iter.bi_size >> bi.interval_exp, bad = rnd(n);
	uint64_t first = bio->bi_iter.bi_sector >> (bi.interval_exp - SECTOR_SHIFT);
	uint8_t *p = medium + ((first + bad) << bi.interval_exp) + rnd(unit());
	struct bio *clone = bio_clone(bio, NULL);

	cr_assert_eq(submit_bio_wait(clone), 0);
	bio_put(clone);
	*p ^= 0x40;
	clone = bio_clone(bio, NULL);
	cr_assert_eq(submit_bio_wait(clone), -EILSEQ);
	cr_assert_eq(clone->bi_integrity->bip_bad_ref, first + bad);
	bio_put(clone);
	*p ^= 0x40;
	/* What lies next to the bio is none of its business. */
	if (first) {
		p = medium + (first << bi.interval_exp) - 1;
		*p ^= 0x40;
		clone = bio_clone(bio, NULL);
		cr_assert_eq(submit_bio_wait(clone), 0);
		bio_put(clone);
		*p ^= 0x40;
	}
}

/* One random step; what is cut off in front is checked and dropped. */
static struct bio *step(struct bio *bio, struct bio **keep, unsigned int *kept)
{
	uint32_t n = bio->bi_iter.bi_size >> bi.interval_exp, a, spu = unit() >> SECTOR_SHIFT;
	struct bio *other;

	switch (n > 1 ? rnd(4) : 3) {
	case 0: /* on, perhaps in steps smaller than an interval */
		a = (1 + rnd(n - 1)) << bi.interval_exp;
		while (a) {
			uint32_t some = SECTOR_SIZE * (1 + rnd(a / SECTOR_SIZE));

			bio_advance(bio, some);
			a -= some;
		}
		return bio;
	case 1:
		a = rnd(n);
		bio_trim(bio, a * spu, (1 + rnd(n - a)) * spu);
		return bio;
	case 2:
		other = bio_split(bio, (1 + rnd(n - 1)) * spu, NULL);
		cr_assert_not_null(other);
		check_window(bio);
		if (rnd(2)) { /* go on with the front; the rest owns the memory */
			keep[(*kept)++] = bio;
			return other;
		}
		check_window(other);
		check_finds(other);
		bio_put(other);
		return bio;
	default:
		other = bio_clone(bio, NULL);
		cr_assert_not_null(other);
		keep[(*kept)++] = bio;
		return other;
	}
}

static void one_round(void)
{
	struct bio *keep[STEPS], *bio = random_bio();
	unsigned int kept = 0, i;

	check_window(bio);
	for (i = 0; i < STEPS; i++) {
		bio = step(bio, keep, &kept);
		check_window(bio);
	}
	check_finds(bio);
	bio_put(bio);
	while (kept--) {
		check_window(keep[kept]);
		bio_put(keep[kept]);
	}
}

static void run(bool async)
{
	static const struct integrity_profile *const profiles[] = {
		&profile_xxh3_64, &profile_crc32, &profile_t10_type1_crc, &profile_t10_type1_ip
	};
	size_t i;

	rng = test_seed(1) * 2 + 88172645463325252u;
	log_init("test", false, LOG_LVL_ERR);
	cr_assert_eq(blk_init(2), 0);
	dev = (async ? faultdev_create_async : faultdev_create)(bdev_mem_create(DEV_BYTES));
	medium = bdev_mem_data(faultdev_lower(dev));
	mem = tl_alloc_aligned(4096, 2 * DEV_BYTES);
	store = tl_alloc(DEV_BYTES / 512 * 16);
	for (i = 0; i < DEV_BYTES; i++)
		medium[i] = (uint8_t)rnd(256);
	dev->integrity = &bi;
	for (i = 0; i < ROUNDS; i++) {
		if (i % 50 == 0) {
			bi = (struct blk_integrity){
				.profile = profiles[rnd(ARRAY_SIZE(profiles))],
				.interval_exp = (uint8_t)(9 + rnd(5)),
				.flags = BLK_INTEGRITY_GENERATE | BLK_INTEGRITY_VERIFY,
				.key = rnd(UINT32_MAX),
			};
			blk_integrity_generate_buf(&bi, medium, 0, DEV_BYTES >> bi.interval_exp, 0,
						   store);
			/* Room for one interval, in the smallest pieces random_bio makes. */
			dev->max_io = unit() + rnd(65536);
			dev->max_segs = (unit() >> SECTOR_SHIFT) + 1 + rnd(16);
		}
		one_round();
	}
	cr_assert_eq(faultdev_too_big(dev), 0);
	bdev_close(dev);
	blk_exit();
	tl_free(mem);
	tl_free(store);
}

Test(integrity_window, random_combinations)
{
	run(false);
}

Test(integrity_window, random_combinations_split_by_the_device)
{
	run(true);
}

Test(integrity_window, no_memory)
{
	struct bio *bio, *other;
	unsigned int n;

	cr_assert_eq(blk_init(1), 0);
	dev = faultdev_create(bdev_mem_create(DEV_BYTES));
	medium = bdev_mem_data(faultdev_lower(dev));
	mem = tl_alloc_aligned(4096, DEV_BYTES);
	store = tl_alloc(DEV_BYTES / 512 * 16);
	bi = (struct blk_integrity){ .profile = &profile_xxh3_64,
				     .interval_exp = 12,
				     .flags = BLK_INTEGRITY_VERIFY };
	dev->integrity = &bi;
	blk_integrity_generate_buf(&bi, medium, 0, 8, 0, store);
	bio = bio_alloc(dev, 1, BIO_OP_READ, NULL);
	bio_add_vec(bio, NULL, mem, 32768);
	cr_assert_eq(bio_integrity_prep_tuples(bio, store), 0);
	for (n = 1; n <= 2; n++) {
		tl_alloc_fail_nth(n);
		cr_assert_null(bio_split(bio, 16, NULL));
		tl_alloc_fail_nth(n);
		cr_assert_null(bio_clone(bio, NULL));
		tl_alloc_fail_nth(0);
		check_window(bio);
		cr_assert_eq(bio->bi_iter.bi_size, 32768);
	}
	cr_assert_null(bio_split(bio, 3, NULL), "a cut inside an interval");
	other = bio_split(bio, 16, NULL);
	cr_assert_not_null(other);
	bio_put(other);
	bio_put(bio);
	bdev_close(dev);
	blk_exit();
	tl_free(mem);
	tl_free(store);
}
