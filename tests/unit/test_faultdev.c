/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/lib/faultdev.c, fault_plan.c: the tests' own device does to each command what its plan
 * says, and nothing else. */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "core/lib/util.h"
#include "tests/lib/crashdev.h"
#include "tests/lib/faultdev.h"

#define BYTES (1u << 20)
#define BS 4096u

static struct bdev *dev, *mem;
static uint8_t *buf;

static void setup(void)
{
	mem = bdev_mem_create(BYTES);
	dev = faultdev_create(mem);
	buf = tl_alloc_aligned(4096, 2 * BS);
	cr_assert(mem && dev && buf);
}

static void teardown(void)
{
	bdev_close(dev);
	tl_free(buf);
}

TestSuite(faultdev, .init = setup, .fini = teardown, .timeout = 900);

/* A block, by two pieces of memory. */
static int io(bool write, uint64_t block)
{
	struct iovec iov[2] = { { buf, 512 }, { buf + BS, BS - 512 } };

	return write ? dev->ops->writev(dev, iov, 2, block * BS)
		     : dev->ops->readv(dev, iov, 2, block * BS);
}

static int put(uint64_t block, int fill)
{
	memset(buf, fill, 2 * BS);
	return io(true, block);
}

/* The block's bytes are all the same: which; else -1.  -errno. */
static int get(uint64_t block)
{
	int err;

	memset(buf, 0xee, 2 * BS);
	err = io(false, block);
	if (err)
		return err;
	for (unsigned int i = 1; i < BS; i++)
		if (buf[i < 512 ? i : BS + i - 512] != buf[0])
			return -1;
	return buf[0];
}

/* The same on the medium. */
static int held(uint64_t block)
{
	const uint8_t *p = (const uint8_t *)bdev_mem_data(mem) + block * BS;

	for (unsigned int i = 1; i < BS; i++)
		if (p[i] != p[0])
			return -1;
	return p[0];
}

/* Bits in which the block, in memory or on the medium, is not @fill. */
static unsigned int flipped(const uint8_t *front, const uint8_t *rest, uint8_t fill)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < BS; i++)
		n += (unsigned int)__builtin_popcount((i < 512 ? front[i] : rest[i - 512]) ^ fill);
	return n;
}

Test(faultdev, without_a_plan_it_is_the_device_below)
{
	cr_assert_eq(put(3, 7), 0);
	cr_assert_eq(get(3), 7);
	cr_assert_eq(held(3), 7);
	cr_assert_eq(held(2), 0);
	cr_assert_eq(dev->ops->flush(dev), 0);
	cr_assert_eq(dev->ops->discard(dev, 3 * BS, BS), 0);
	cr_assert_neq(held(3), 7);
	cr_assert_eq(faultdev_reads(dev), 1);
	cr_assert_eq(faultdev_writes(dev), 1);
	cr_assert_eq(faultdev_struck(dev, NULL, NULL), 0);
	cr_assert_eq(faultdev_too_big(dev), 0);
	cr_assert_eq(dev->ops->writev_fua(dev, &(struct iovec){ buf, BS }, 1, 0), -EOPNOTSUPP);
}

Test(faultdev, the_nth_and_so_many)
{
	uint64_t off, len;

	faultdev_plan(dev, .kind = FAULT_ERROR, .ops = FAULT_WRITE, .nth = 3, .times = 2);
	for (int k = 1; k <= 6; k++) {
		cr_assert_eq(get(0), 0, "reads do not count");
		cr_assert_eq(put((uint64_t)k, k), k == 3 || k == 4 ? -EIO : 0, "write %d", k);
	}
	cr_assert_eq(held(3), 0);
	cr_assert_eq(held(5), 5);
	cr_assert_eq(faultdev_struck(dev, &off, &len), 2);
	cr_assert_eq(off, 4 * BS);
	cr_assert_eq(len, BS);
}

Test(faultdev, a_place)
{
	faultdev_plan(dev, .kind = FAULT_ERROR, .ops = FAULT_IO, .off = 5 * BS + 100, .len = 1,
		      .times = FAULT_ALWAYS, .err = -ENOSPC);
	for (uint64_t k = 0; k < 10; k++) {
		cr_assert_eq(put(k, 1), k == 5 ? -ENOSPC : 0);
		cr_assert_eq(get(k), k == 5 ? -ENOSPC : 1);
	}
	faultdev_clear(dev);
	cr_assert_eq(get(5), 0, "nothing was transferred");
}

/* The place of the second read stays bad, for reads; the others are well. */
Test(faultdev, sticky)
{
	faultdev_plan(dev, .kind = FAULT_ERROR, .ops = FAULT_IO, .nth = 2, .sticky = true);
	cr_assert_eq(get(1), 0);
	cr_assert_eq(get(2), -EIO);
	cr_assert_eq(get(1), 0);
	cr_assert_eq(get(2), -EIO);
	cr_assert_eq(put(2, 3), 0);
	cr_assert_eq(get(2), -EIO);
	faultdev_clear(dev);
	cr_assert_eq(get(2), 3);
}

Test(faultdev, half_a_transfer)
{
	const uint8_t *data = bdev_mem_data(mem);

	cr_assert_eq(put(0, 1), 0);
	faultdev_plan(dev, .kind = FAULT_SHORT, .ops = FAULT_IO, .times = 2);
	cr_assert_eq(put(0, 2), -EIO);
	cr_assert(data[0] == 2 && data[BS / 2 - 1] == 2 && data[BS / 2] == 1 && data[BS - 1] == 1);
	cr_assert_eq(get(0), -EIO);
	cr_assert(buf[0] == 2 && buf[BS + BS / 2 - 512 - 1] == 2 && buf[BS + BS / 2 - 512] == 0xee);
}

Test(faultdev, a_flipped_bit)
{
	const uint8_t *data = bdev_mem_data(mem);

	cr_assert_eq(put(2, 9), 0);
	faultdev_plan(dev, .kind = FAULT_FLIP, .ops = FAULT_READ, .off = 2 * BS + 600, .len = 1);
	cr_assert_eq(get(2), -1);
	cr_assert_eq(flipped(buf, buf + BS, 9), 1);
	cr_assert_neq(buf[BS + 600 - 512], 9);
	cr_assert_eq(held(2), 9, "not on the medium");
	cr_assert_eq(get(2), 9, "once");
	faultdev_plan(dev, .kind = FAULT_FLIP, .ops = FAULT_WRITE);
	cr_assert_eq(put(2, 8), 0);
	cr_assert_eq(flipped(buf, buf + BS, 8), 0, "not in memory");
	cr_assert_eq(flipped(data + 2 * BS, data + 2 * BS + 512, 8), 1);
}

Test(faultdev, lost)
{
	uint64_t off;

	cr_assert_eq(put(4, 1), 0);
	faultdev_plan(dev, .kind = FAULT_LOSE, .ops = FAULT_WRITE);
	cr_assert_eq(put(4, 1), 0);
	cr_assert_eq(faultdev_struck(dev, NULL, NULL), 0, "it was there already");
	faultdev_plan(dev, .kind = FAULT_LOSE, .ops = FAULT_WRITE | FAULT_DISCARD, .times = 2);
	cr_assert_eq(put(4, 2), 0);
	cr_assert_eq(dev->ops->discard(dev, 4 * BS, BS), 0);
	cr_assert_eq(held(4), 1);
	cr_assert_eq(faultdev_struck(dev, &off, NULL), 2);
	cr_assert_eq(off, 4 * BS);
	cr_assert_eq(put(4, 3), 0);
	cr_assert_eq(get(4), 3);
}

Test(faultdev, read_stale)
{
	cr_assert_eq(put(4, 1), 0);
	cr_assert_eq(put(5, 1), 0);
	faultdev_plan(dev, .kind = FAULT_STALE, .ops = FAULT_WRITE, .times = 3);
	cr_assert_eq(put(4, 2), 0);
	cr_assert_eq(held(4), 2);
	cr_assert_eq(get(4), 1);
	cr_assert_eq(get(4), 2, "one time");
	cr_assert_eq(put(5, 2), 0);
	cr_assert_eq(put(5, 3), 0);
	cr_assert_eq(get(5), 2, "as it was before the last");
	cr_assert_eq(get(5), 3);
	cr_assert_eq(put(4, 5), 0);
	cr_assert_eq(put(4, 6), 0);
	cr_assert_eq(get(4), 6, "a whole write in between");
}

Test(faultdev, a_bit_flipped_once)
{
	struct faultdev_write log[2];
	uint64_t off, len;

	cr_assert_eq(put(4, 1), 0);
	faultdev_log_writes(dev, log, 2);
	faultdev_plan(dev, .kind = FAULT_FLIP_ONCE, .ops = FAULT_WRITE);
	cr_assert_eq(put(4, 2), 0);
	cr_assert_eq(faultdev_struck(dev, &off, &len), 1);
	cr_assert(off == 4 * BS && len == BS);
	cr_assert_eq(held(4), 2, "not on the medium");
	cr_assert_eq(get(4), -1);
	cr_assert_eq(flipped(buf, buf + BS, 2), 1);
	cr_assert_eq(get(4), 2, "one time");
	cr_assert_eq(put(5, 2), 0);
	cr_assert_eq(put(6, 2), 0);
	cr_assert(log[0].off == 4 * BS && log[1].off == 5 * BS && log[1].len == BS);
	cr_assert_eq(faultdev_flushes(dev), 0);
	cr_assert_eq(dev->ops->flush(dev), 0);
	cr_assert_eq(faultdev_flushes(dev), 1);
}

Test(faultdev, torn)
{
	const uint8_t *data = (const uint8_t *)bdev_mem_data(mem) + 3 * BS;

	faultdev_plan(dev, .kind = FAULT_TEAR, .ops = FAULT_WRITE, .at = 1024);
	cr_assert_eq(put(3, 1), 0);
	cr_assert(data[0] == 1 && data[1023] == 1 && data[1024] == 0 && data[BS - 1] == 0);
	cr_assert_eq(faultdev_struck(dev, NULL, NULL), 1);
}

Test(faultdev, misdirected)
{
	faultdev_plan(dev, .kind = FAULT_MISDIRECT, .ops = FAULT_WRITE, .at = 9 * BS);
	cr_assert_eq(put(3, 1), 0);
	cr_assert_eq(held(3), 0);
	cr_assert_eq(held(9), 1);
	faultdev_plan(dev, .kind = FAULT_MISDIRECT, .ops = FAULT_READ, .at = 9 * BS);
	cr_assert_eq(get(3), 1);
	cr_assert_eq(get(3), 0);
}

Test(faultdev, flushes)
{
	faultdev_plan(dev, .kind = FAULT_ERROR, .ops = FAULT_FLUSH, .nth = 2, .off = BS, .len = BS);
	cr_assert_eq(dev->ops->flush(dev), 0);
	cr_assert_eq(put(1, 1), 0);
	cr_assert_eq(dev->ops->flush(dev), -EIO);
	cr_assert_eq(dev->ops->flush(dev), 0);
}

static uint64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

/* On top of what else happens to the command. */
Test(faultdev, delayed)
{
	uint64_t t = now_us();

	faultdev_plan(dev, .kind = FAULT_DELAY, .ops = FAULT_WRITE, .usec = 20000);
	faultdev_plan(dev, .kind = FAULT_ERROR, .ops = FAULT_WRITE);
	cr_assert_eq(put(1, 1), -EIO);
	cr_assert_geq(now_us() - t, 20000);
	cr_assert_eq(put(1, 1), 0);
}

static void *put_one(void *arg)
{
	struct iovec iov = { arg, BS };

	return (void *)(intptr_t)dev->ops->writev(dev, &iov, 1, 0);
}

Test(faultdev, stalled)
{
	pthread_t t;
	void *err;

	memset(buf, 5, BS);
	faultdev_plan(dev, .kind = FAULT_STALL, .ops = FAULT_WRITE, .times = FAULT_ALWAYS);
	cr_assert_eq(pthread_create(&t, NULL, put_one, buf), 0);
	while (!faultdev_stalled(dev))
		usleep(100);
	usleep(1000);
	cr_assert_eq(held(0), 0);
	faultdev_clear(dev);
	pthread_join(t, &err);
	cr_assert_null(err);
	cr_assert_eq(faultdev_stalled(dev), 0);
	cr_assert_eq(held(0), 5);
}

/* Faults that have run out leave room for others, in the order in which they came. */
Test(faultdev, a_long_plan)
{
	faultdev_plan(dev, .kind = FAULT_ERROR, .ops = FAULT_WRITE, .off = 7 * BS, .len = BS,
		      .times = FAULT_ALWAYS, .err = -ENOSPC);
	for (int k = 0; k < 3 * FAULT_PLAN_MAX; k++) {
		faultdev_plan(dev, .kind = FAULT_ERROR, .ops = FAULT_WRITE);
		cr_assert_eq(put(7, 1), -ENOSPC, "the first that was added");
		cr_assert_eq(put(6, 1), -EIO);
	}
	cr_assert_eq(put(6, 1), 0);
}

/* What the faults leave is what the cut finds. */
Test(faultdev, over_a_device_that_loses_power)
{
	struct crashdev *cd = crashdev_create(bdev_mem_data(mem), BYTES);
	struct bdev *over = faultdev_borrow(crashdev_bdev(cd));
	uint8_t *image = malloc(BYTES);
	struct iovec iov = { buf, BS };
	uint64_t rng = 1;

	cr_assert(over && image);
	crashdev_allow_fua(cd, true);
	faultdev_allow_fua(over, true);
	memset(buf, 4, BS);
	faultdev_plan(over, .kind = FAULT_LOSE, .ops = FAULT_WRITE, .nth = 2);
	faultdev_plan(over, .kind = FAULT_LOSE, .ops = FAULT_FLUSH, .nth = 2);
	for (uint64_t k = 0; k < 3; k++)
		cr_assert_eq(over->ops->writev(over, &iov, 1, k * BS), 0);
	cr_assert_eq(over->ops->flush(over), 0);
	cr_assert_eq(over->ops->writev(over, &iov, 1, 3 * BS), 0);
	cr_assert_eq(over->ops->flush(over), 0, "confirmed, and nothing done");
	cr_assert_eq(over->ops->writev_fua(over, &iov, 1, 4 * BS), 0);
	cr_assert_eq(over->ops->writev(over, &iov, 1, 5 * BS), 0);
	crashdev_image(cd, crashdev_events(cd), CRASH_NONE, &rng, image);
	for (uint64_t k = 0; k < 6; k++)
		cr_assert_eq(image[k * BS], k == 1 || k == 3 || k == 5 ? 0 : 4, "block %d", (int)k);
	bdev_close(over);
	crashdev_destroy(cd);
	free(image);
}
