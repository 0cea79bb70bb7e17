/* SPDX-License-Identifier: GPL-2.0-or-later */
/* io_uring that refuses what is submitted, or cancels it. */
#include <criterion/criterion.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/block/bdev.h"
#include "core/block/bio.h"
#include "core/lib/clock.h"

#define IMAGE_BYTES (4u << 20)
#define BIO_BYTES 4096u
#define BIOS 300u /* more than are let into the kernel at once */

static atomic_int refuse_with, refusals; /* so many submissions end with this errno */
static atomic_int cancels;		 /* so many completions become -ECANCELED */
static char path[64];

/* In front of the library's own. */
int io_uring_submit(struct io_uring *ring)
{
	static int (*real)(struct io_uring *);

	if (!real)
		real = (int (*)(struct io_uring *))dlsym(RTLD_NEXT, "io_uring_submit");
	if (atomic_load(&refusals) > 0) {
		atomic_fetch_sub(&refusals, 1);
		return -atomic_load(&refuse_with);
	}
	return real(ring);
}

/* What io_uring_wait_cqe() comes down to when it has to wait. */
int __io_uring_get_cqe(struct io_uring *ring, struct io_uring_cqe **cqe, unsigned int submit,
		       unsigned int nr, sigset_t *mask)
{
	typedef int get_fn(struct io_uring *, struct io_uring_cqe **, unsigned int, unsigned int,
			   sigset_t *);
	get_fn *real = (get_fn *)dlsym(RTLD_NEXT, "__io_uring_get_cqe");
	int ret = real(ring, cqe, submit, nr, mask);

	if (!ret && io_uring_cqe_get_data(*cqe) && atomic_load(&cancels) > 0) {
		atomic_fetch_sub(&cancels, 1);
		(*cqe)->res = -ECANCELED;
	}
	return ret;
}

static struct bdev *open_image(void)
{
	struct io_uring ring;
	struct bdev *b;
	int fd;

	if (io_uring_queue_init(1, &ring, 0))
		cr_skip_test("no io_uring here");
	io_uring_queue_exit(&ring);
	snprintf(path, sizeof(path), "/tmp/test_bdev_uring.XXXXXX");
	fd = mkstemp(path);
	cr_assert_eq(ftruncate(fd, IMAGE_BYTES), 0);
	for (uint64_t off = 0; off < IMAGE_BYTES; off += BIO_BYTES)
		cr_assert_eq(pwrite(fd, &off, sizeof(off), (off_t)off), (ssize_t)sizeof(off));
	close(fd);
	cr_assert_eq(blk_init(1), 0);
	cr_assert_eq(bdev_open(path, 0, &b), 0);
	cr_assert_eq(bdev_start(b), 0);
	return b;
}

static void close_image(struct bdev *b)
{
	bdev_close(b);
	blk_exit();
	unlink(path);
}

struct reads {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	unsigned int left;
	int err;
};

static void read_ended(struct bio *bio)
{
	struct reads *r = bio->bi_private;

	pthread_mutex_lock(&r->lock);
	if (bio->bi_status)
		r->err = bio->bi_status;
	if (!--r->left)
		pthread_cond_signal(&r->cond);
	pthread_mutex_unlock(&r->lock);
	bio_put(bio);
}

/* @n blocks at once: all come, each its own. */
static void read_blocks(struct bdev *b, unsigned int n)
{
	struct reads r = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, n, 0 };
	uint8_t *mem = tl_alloc_aligned(4096, n * BIO_BYTES);

	for (unsigned int i = 0; i < n; i++) {
		struct bio *bio = bio_alloc(b, 1, BIO_OP_READ, NULL);

		bio->bi_iter.bi_sector = (uint64_t)i * BIO_BYTES >> SECTOR_SHIFT;
		bio_add_vec(bio, NULL, mem + i * BIO_BYTES, BIO_BYTES);
		bio->bi_end_io = read_ended;
		bio->bi_private = &r;
		submit_bio(bio);
	}
	pthread_mutex_lock(&r.lock);
	while (r.left)
		pthread_cond_wait(&r.cond, &r.lock);
	pthread_mutex_unlock(&r.lock);
	cr_assert_eq(r.err, 0, "%s", strerror(-r.err));
	for (unsigned int i = 0; i < n; i++) {
		uint64_t off;

		memcpy(&off, mem + i * BIO_BYTES, sizeof(off));
		cr_assert_eq(off, (uint64_t)i * BIO_BYTES);
	}
	tl_free(mem);
}

/* The kernel cancels what a thread has submitted that ends: nothing is wrong with the device. */
Test(bdev_uring, what_was_cancelled_is_done_again, .timeout = 900)
{
	uint64_t end = now_ns() + 60ull * 1000000000;
	struct bdev *b = open_image();

	atomic_store(&cancels, 3);
	while (atomic_load(&cancels) && now_ns() < end)
		read_blocks(b, 1);
	cr_assert_eq(atomic_load(&cancels), 0, "the reaper has never waited");
	cr_assert_eq(atomic_load(&b->stats.errors), 0);
	close_image(b);
}

Test(bdev_uring, refused_for_a_moment, .timeout = 900)
{
	struct bdev *b = open_image();

	atomic_store(&refuse_with, EAGAIN);
	atomic_store(&refusals, 3);
	read_blocks(b, BIOS);
	cr_assert_eq(atomic_load(&refusals), 0);
	close_image(b);
}

/* For as long as anybody asks: the thread pool does it. */
Test(bdev_uring, refused_for_good, .timeout = 900)
{
	static const int errors[] = { EAGAIN, EBUSY, EBADF };

	for (unsigned int i = 0; i < ARRAY_SIZE(errors); i++) {
		struct bdev *b = open_image();

		read_blocks(b, 100); /* some in the kernel and some not is nothing special */
		atomic_store(&refuse_with, errors[i]);
		atomic_store(&refusals, 1 << 30);
		read_blocks(b, BIOS);
		atomic_store(&refusals, 0);
		read_blocks(b, BIOS);
		cr_assert_eq(atomic_load(&b->stats.errors), 0);
		close_image(b);
	}
}

/* Begun while some are in the kernel and others wait for their turn. */
Test(bdev_uring, refused_under_load, .timeout = 900)
{
	struct bdev *b = open_image();

	for (int i = 0; i < 20; i++) {
		atomic_store(&refuse_with, EBUSY);
		atomic_store(&refusals, 25);
		read_blocks(b, BIOS);
	}
	close_image(b);
}
