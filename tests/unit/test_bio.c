/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * core/block/bio.c, bio_clone.c, bioset.c, blk.c: bios: vectors, iterators, cutting, chains, pools,
 * the way to the device.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/block/integrity.h"
#include "core/lib/log.h"
#include "tests/lib/faultdev.h"

#define DEV_BYTES (1u << 20)

static struct bdev *dev; /* a faultdev */
static uint8_t *medium;
static uint8_t *mem; /* DEV_BYTES */

static void setup_kind(bool async)
{
	size_t i;

	log_init("test", false, LOG_LVL_ERR);
	cr_assert_eq(blk_init(2), 0);
	dev = (async ? faultdev_create_async : faultdev_create)(bdev_mem_create(DEV_BYTES));
	medium = bdev_mem_data(faultdev_lower(dev));
	mem = tl_alloc_aligned(4096, DEV_BYTES);
	for (i = 0; i < DEV_BYTES; i++)
		medium[i] = (uint8_t)(i ^ i >> 8 ^ i >> 16);
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
	bdev_close(dev);
	tl_free(mem);
	blk_exit();
}

TestSuite(bio, .init = setup, .fini = teardown);
TestSuite(bio_async, .init = setup_async, .fini = teardown);

/* Completion that a test can wait for. */
struct done {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	int calls, status;
	pthread_t thread;
};
#define DONE_INIT                                                                   \
	{                                                                           \
		.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER \
	}

static void set_done(struct bio *bio)
{
	struct done *d = bio->bi_private;

	pthread_mutex_lock(&d->lock);
	d->calls++;
	d->status = bio->bi_status;
	d->thread = pthread_self();
	pthread_cond_signal(&d->cond);
	pthread_mutex_unlock(&d->lock);
}

static int wait_done(struct done *d)
{
	pthread_mutex_lock(&d->lock);
	while (!d->calls)
		pthread_cond_wait(&d->cond, &d->lock);
	pthread_mutex_unlock(&d->lock);
	return d->status;
}

static int submit_and_wait(struct bio *bio)
{
	struct done d = DONE_INIT;

	bio->bi_end_io = set_done;
	bio->bi_private = &d;
	submit_bio(bio);
	wait_done(&d);
	cr_assert_eq(d.calls, 1);
	cr_assert_not(pthread_equal(d.thread, pthread_self()), "completed from inside submit");
	return d.status;
}

static struct bio *read_bio(uint32_t bytes, sector_t sector)
{
	struct bio *bio = bio_alloc(dev, 16, BIO_OP_READ, NULL);

	bio->bi_iter.bi_sector = sector;
	bio->bi_flags |= BIO_F_QUIET;
	cr_assert_eq(bio_add_vec(bio, NULL, mem, bytes), bytes);
	return bio;
}

Test(bio, vectors_merge_and_fill_up)
{
	struct seg_pool *pool = seg_pool_create();
	struct seg *s = seg_alloc(pool, 8192), *t = seg_alloc(pool, 4096);
	struct bio *bio = bio_alloc(dev, 2, BIO_OP_WRITE, NULL);

	cr_assert_eq(bio_add_vec(bio, s, s->base, 4096), 4096);
	cr_assert_eq(bio_add_vec(bio, s, (char *)s->base + 4096, 4096), 4096);
	cr_assert_eq(bio->bi_vcnt, 1, "memory goes on in the same segment");
	cr_assert_eq(atomic_load(&s->refs), 2);
	cr_assert_eq(bio_add_vec(bio, t, t->base, 4096), 4096);
	cr_assert(bio_full(bio));
	cr_assert_eq(bio_add_vec(bio, s, s->base, 512), 0);
	cr_assert_eq(bio->bi_iter.bi_size, 12288);
	bio_get(bio);
	bio_put(bio);
	seg_put(s);
	seg_put(t);
	cr_assert_eq(seg_pool_bytes(pool), 12288, "the bio holds on to them");
	bio_put(bio);
	cr_assert_eq(seg_pool_bytes(pool), 0);
	seg_pool_destroy(pool);
}

Test(bio, size_cannot_overflow)
{
	struct bio *bio = bio_alloc(dev, 2, BIO_OP_WRITE, NULL);

	bio->bi_iter.bi_size = UINT32_MAX - 100;
	cr_assert_eq(bio_add_vec(bio, NULL, mem, 512), 0);
	bio_put(bio);
}

Test(bio, iteration_and_advance)
{
	struct bio *bio = bio_alloc(dev, 3, BIO_OP_READ, NULL);
	uint32_t lens[3] = { 1536, 512, 2048 }, i = 0, seen = 0;
	struct bvec_iter it;
	struct bio_vec bv;

	for (i = 0; i < 3; i++)
		bio_add_vec(bio, NULL, mem + i * 8192, lens[i]);
	bio->bi_iter.bi_sector = 100;
	i = 0;
	bio_for_each_segment(bv, bio, it) {
		cr_assert_eq(bv.bv_len, lens[i]);
		cr_assert_eq(bv.bv_base, mem + i++ * 8192);
	}
	cr_assert_eq(i, 3);
	bio_advance(bio, 1024);
	cr_assert_eq(bio->bi_iter.bi_sector, 102);
	bio_for_each_segment(bv, bio, it)
		seen += bv.bv_len;
	cr_assert_eq(seen, 4096 - 1024);
	bio_advance(bio, 512 + 512 + 512);
	bv = bvec_iter_bvec(bio->bi_io_vec, bio->bi_iter);
	cr_assert_eq(bv.bv_base, mem + 2 * 8192 + 512);
	cr_assert_eq(bv.bv_len, 1536);
	bio_advance(bio, 1536);
	cr_assert_eq(bio->bi_iter.bi_size, 0);
	seen = 0;
	bio_for_each_segment(bv, bio, it)
		seen++;
	cr_assert_eq(seen, 0);
	bio_put(bio);
}

Test(bio, trim_reads_the_middle)
{
	struct bio *bio = read_bio(16384, 8);

	bio_trim(bio, 4, 8);
	cr_assert_eq(bio->bi_iter.bi_sector, 12);
	cr_assert_eq(bio->bi_iter.bi_size, 4096);
	memset(mem, 0, 16384);
	cr_assert_eq(submit_and_wait(bio), 0);
	cr_assert_arr_eq(mem + 2048, medium + 12 * 512, 4096);
	cr_assert_eq(mem[2047], 0);
	cr_assert_eq(mem[2048 + 4096], 0);
	bio_put(bio);
}

Test(bio, split_and_clone_share_memory)
{
	struct bio *bio = read_bio(8192, 0), *front = bio_split(bio, 4, NULL), *clone;

	cr_assert(front);
	cr_assert_eq(front->bi_iter.bi_size, 2048);
	cr_assert_eq(bio->bi_iter.bi_size, 6144);
	cr_assert_eq(bio->bi_iter.bi_sector, 4);
	clone = bio_clone(bio, NULL);
	cr_assert_eq(clone->bi_iter.bi_sector, 4);
	cr_assert_eq(submit_bio_wait(clone), 0);
	cr_assert_eq(submit_bio_wait(front), 0);
	cr_assert_arr_eq(mem, medium, 8192);
	bio_put(clone);
	bio_put(front);
	bio_put(bio);
}

Test(bio, no_memory_for_split_and_clone)
{
	struct bio *bio = read_bio(8192, 0);

	tl_alloc_fail_nth(1);
	cr_assert_null(bio_split(bio, 4, NULL));
	tl_alloc_fail_nth(1);
	cr_assert_null(bio_clone(bio, NULL));
	tl_alloc_fail_nth(1);
	cr_assert_null(bio_alloc(dev, 1, BIO_OP_READ, NULL));
	tl_alloc_fail_nth(0);
	cr_assert_eq(bio->bi_iter.bi_size, 8192, "left as it was");
	bio_put(bio);
}

/* Everything larger than the limits is split, to the last byte. */
static void check_limits(uint32_t max_io, uint32_t max_segs, uint32_t seg_bytes)
{
	struct bio *bio = bio_alloc(dev, BIO_MAX_VECS, BIO_OP_READ, NULL);
	uint32_t off;

	dev->max_io = max_io;
	dev->max_segs = max_segs;
	memset(mem, 0, DEV_BYTES);
	/* Backwards in memory, so that nothing merges. */
	for (off = 0; off < 128 * seg_bytes; off += seg_bytes)
		cr_assert_eq(bio_add_vec(bio, NULL, mem + DEV_BYTES / 2 - off, seg_bytes),
			     seg_bytes);
	cr_assert_eq(submit_and_wait(bio), 0);
	for (off = 0; off < 128 * seg_bytes; off += seg_bytes)
		cr_assert_arr_eq(mem + DEV_BYTES / 2 - off, medium + off, seg_bytes);
	cr_assert_eq(faultdev_too_big(dev), 0);
	bio_put(bio);
}

Test(bio_async, device_limits)
{
	check_limits(4096, 256, 2048);
	check_limits(3 * 512, 256, 2048);
	check_limits(1 << 20, 3, 2048);
	check_limits(5000, 7, 1024);
	cr_assert(atomic_load(&dev->stats.reads) > 100);
}

Test(bio_async, gaps_split)
{
	struct bio *bio = bio_alloc(dev, 4, BIO_OP_READ, NULL);

	dev->virt_boundary = 4095;
	bio_add_vec(bio, NULL, mem + 8192, 4096);
	bio_add_vec(bio, NULL, mem, 4096);		 /* no gap: page to page */
	bio_add_vec(bio, NULL, mem + 16384 + 512, 4096); /* a gap before and after */
	bio_add_vec(bio, NULL, mem + 32768, 4096);
	cr_assert_eq(submit_and_wait(bio), 0);
	cr_assert_eq(atomic_load(&dev->stats.reads), 3);
	bio_put(bio);
}

Test(bio_async, what_cannot_be_split_fails)
{
	struct bio *bio = bio_alloc(dev, 4, BIO_OP_READ, NULL);

	bio->bi_flags |= BIO_F_QUIET;
	dev->max_segs = 1;
	bio_add_vec(bio, NULL, mem, 256); /* half a sector cannot go alone */
	bio_add_vec(bio, NULL, mem + 1024, 256);
	cr_assert_eq(submit_and_wait(bio), -EINVAL);
	bio_put(bio);
}

Test(bio, checks_before_the_device)
{
	static const struct {
		sector_t sector;
		uint32_t bytes;
		int err;
	} t[] = { { DEV_BYTES / 512, 512, -EIO },
		  { DEV_BYTES / 512 - 1, 1024, -EIO },
		  { UINT64_MAX >> SECTOR_SHIFT, 1024, -EIO },
		  { UINT64_MAX, 512, -EIO },
		  { 0, 100, -EINVAL },
		  { DEV_BYTES / 512 - 1, 512, 0 } };
	struct bio *bio;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(t); i++) {
		bio = read_bio(t[i].bytes, t[i].sector);
		cr_assert_eq(submit_and_wait(bio), t[i].err, "row %zu", i);
		bio_put(bio);
		bio = read_bio(t[i].bytes, t[i].sector);
		cr_assert_eq(submit_bio_wait(bio), t[i].err, "row %zu, waiting", i);
		bio_put(bio);
	}
	bio = bio_alloc(dev, 1, BIO_OP_READ, NULL);
	bio->bi_flags |= BIO_F_QUIET;
	cr_assert_eq(submit_and_wait(bio), -EINVAL, "nothing to read");
	bio_put(bio);
	dev->read_only = true;
	bio = read_bio(512, 0);
	bio->bi_op = BIO_OP_WRITE;
	cr_assert_eq(submit_and_wait(bio), -EROFS);
	bio_put(bio);
}

Test(bio, flush_and_discard)
{
	struct bio *bio = bio_alloc(dev, 1, BIO_OP_FLUSH, NULL);

	bio->bi_flags |= BIO_F_QUIET;
	cr_assert_eq(submit_and_wait(bio), 0);
	faultdev_plan(dev, .kind = FAULT_ERROR, .ops = FAULT_FLUSH, .err = -ENOSPC,
		      .times = FAULT_ALWAYS);
	cr_assert_eq(submit_and_wait(bio), -ENOSPC);
	bio_put(bio);
	bio = bio_alloc(dev, 1, BIO_OP_DISCARD, NULL);
	bio->bi_iter.bi_sector = 8;
	bio->bi_iter.bi_size = 4096;
	cr_assert_eq(submit_and_wait(bio), 0);
	cr_assert_eq(medium[4096], 0xdd);
	bio_put(bio);
	cr_assert_eq(atomic_load(&dev->stats.flushes), 2);
	cr_assert_eq(atomic_load(&dev->stats.discards), 1);
	cr_assert_eq(atomic_load(&dev->stats.errors), 1);
}

/* One part of a split fails, each in turn: the whole says so. */
Test(bio_async, nth_part_fails)
{
	unsigned int n;

	dev->max_io = 4096;
	for (n = 1; n <= 5; n++) {
		struct bio *bio = read_bio(16384, 0);

		faultdev_plan(dev, .kind = FAULT_ERROR, .ops = FAULT_IO, .nth = n);
		cr_assert_eq(submit_and_wait(bio), n <= 4 ? -EIO : 0, "part %u", n);
		faultdev_clear(dev);
		bio_put(bio);
	}
}

static char line[256];

static void keep_line(enum log_level lvl, const char *l)
{
	snprintf(line, sizeof(line), "%s", l);
}

Test(bio, error_is_logged_unless_quiet)
{
	struct bio *bio = read_bio(512, 3);

	log_set_hook(keep_line);
	faultdev_plan(dev, .kind = FAULT_ERROR, .ops = FAULT_READ, .times = FAULT_ALWAYS);
	cr_assert_eq(submit_bio_wait(bio), -EIO);
	cr_assert_str_empty(line);
	bio->bi_flags &= ~(unsigned int)BIO_F_QUIET;
	bio->bi_status = 0;
	cr_assert_eq(submit_bio_wait(bio), -EIO);
	cr_assert_str_eq(line,
			 "faultdev: read of 512 bytes at sector 3 failed: Input/output error");
	log_set_hook(NULL);
	bio_put(bio);
}

Test(bio, chain_completes_last_and_keeps_the_first_error)
{
	struct bio *parent = read_bio(512, 0), *a = read_bio(512, 0), *b = read_bio(512, 0);
	struct done d = DONE_INIT;

	parent->bi_end_io = set_done;
	parent->bi_private = &d;
	bio_chain(a, parent);
	bio_chain(b, parent);
	bio_endio(parent);
	cr_assert_eq(d.calls, 0);
	a->bi_status = -ENOSPC;
	bio_endio(a);
	cr_assert_eq(d.calls, 0);
	b->bi_status = -EIO;
	bio_endio(b);
	cr_assert_eq(d.calls, 1);
	cr_assert_eq(d.status, -ENOSPC);
	/* As new: it can be used again. */
	parent->bi_status = 0;
	bio_endio(parent);
	cr_assert_eq(d.calls, 2);
	bio_put(parent);
}

Test(bio, long_chains_need_no_stack)
{
	struct bio *last = read_bio(512, 0), *first = last, *b;
	struct done d = DONE_INIT;
	int i;

	last->bi_end_io = set_done;
	last->bi_private = &d;
	for (i = 0; i < 100000; i++) {
		b = bio_alloc(dev, 1, BIO_OP_READ, NULL);
		bio_chain(b, first);
		bio_endio(first); /* its own part is done, it waits for b */
		first = b;
	}
	cr_assert_eq(d.calls, 0);
	bio_endio(first);
	cr_assert_eq(d.calls, 1);
	bio_put(last);
}

/* Pools */

static void *free_later(void *arg)
{
	usleep(30000);
	bio_put(arg);
	return NULL;
}

Test(bio, exhausted_set_waits, .timeout = 900)
{
	struct bio *held[2], *third;
	struct bio_set *bs;
	pthread_t t;
	int i;

	cr_assert_eq(bioset_create(&bs, 2), 0);
	cr_assert_eq(bioset_integrity_create(bs, 2), 0);
	for (i = 0; i < 2; i++) {
		/* The heap fails for the bio itself: what comes is from the reserve. */
		tl_alloc_fail_nth(1);
		held[i] = bio_alloc(dev, 100, BIO_OP_READ, bs);
	}
	pthread_create(&t, NULL, free_later, held[0]);
	tl_alloc_fail_nth(1);
	third = bio_alloc(dev, 100, BIO_OP_READ, bs);
	tl_alloc_fail_nth(0);
	cr_assert(third);
	pthread_join(t, NULL);
	bio_put(third);
	bio_put(held[1]);
	bioset_free(bs);
}

Test(bio, vectors_from_the_reserve)
{
	struct bio_set *bs;
	struct bio *bio;
	int i;

	cr_assert_eq(bioset_create(&bs, 1), 0);
	for (i = 0; i < 3; i++) {
		tl_alloc_fail_nth(2);
		bio = bio_alloc(dev, BIO_MAX_VECS, BIO_OP_READ, bs);
		tl_alloc_fail_nth(0);
		cr_assert(bio->bi_flags & BIO_F_VEC_POOL);
		memset(bio->bi_io_vec, 0xff, BIO_MAX_VECS * sizeof(struct bio_vec));
		bio_put(bio);
	}
	bioset_free(bs);
}

Test(bio, set_creation_without_memory)
{
	struct bio_set *bs = NULL;
	unsigned int n;
	int err;

	for (n = 1;; n++) {
		tl_alloc_fail_nth(n);
		err = bioset_create(&bs, 2);
		if (!err)
			break;
		cr_assert_eq(err, -ENOMEM);
	}
	cr_assert(n > 6);
	for (n = 1;; n++) {
		tl_alloc_fail_nth(n);
		err = bioset_integrity_create(bs, 2);
		if (!err)
			break;
		cr_assert_eq(err, -ENOMEM);
	}
	tl_alloc_fail_nth(0);
	bioset_integrity_free(bs);
	bioset_free(bs);
	bioset_free(NULL);
}

Test(blk, start_without_memory_and_nesting)
{
	unsigned int n;
	int err;

	for (n = 1;; n++) {
		tl_alloc_fail_nth(n);
		err = blk_init(1);
		if (!err)
			break;
		cr_assert(err == -ENOMEM || err == -EAGAIN);
	}
	tl_alloc_fail_nth(0);
	cr_assert_eq(blk_init(1), 0);
	blk_exit();
	blk_exit();
	cr_assert_eq(blk_init(1), 0);
	blk_exit();
}
