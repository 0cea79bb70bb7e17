/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * core/block/bdev*.c, lockholder.c: backing devices: memory, files with and without io_uring and
 * O_DIRECT, locks between processes.
 */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/loop.h>
#include <signal.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/block/bdev_fua.h"
#include "core/block/bio.h"
#include "core/lib/log.h"

#define IMAGE_BYTES (8u << 20)

static char path[64], busy_by[LOCKHOLDER_TEXT];

static void make_image(void)
{
	int fd;

	strcpy(path, "/var/tmp/tally-test-XXXXXX");
	fd = mkstemp(path);
	cr_assert(fd >= 0);
	cr_assert_eq(ftruncate(fd, IMAGE_BYTES), 0);
	close(fd);
}

static void drop_image(void)
{
	unlink(path);
}

TestSuite(bdev_file, .init = make_image, .fini = drop_image);
TestSuite(bdev_lock, .init = make_image, .fini = drop_image);

static void fill(uint8_t *p, size_t len, unsigned int salt)
{
	size_t i;

	for (i = 0; i < len; i++)
		p[i] = (uint8_t)(i * 7 + (i >> 9) + salt);
}

/* What a disk refuses, each kind of device does: memory, offset and length go by its `align`. */
static void check_alignment(struct bdev *b)
{
	uint8_t *mem = tl_alloc_aligned(4096, 16384);
	struct iovec iov[2] = { { mem, 4096 }, { mem + 8192, 4096 } };
	struct bio *bio;

	cr_assert_eq(bdev_write(b, mem, 4096, 4096), 0);
	cr_assert_eq(bdev_write(b, mem + b->align / 2, 4096, 4096), -EINVAL);
	cr_assert_eq(bdev_read(b, mem + 8, 4096, 4096), -EINVAL);
	cr_assert_eq(bdev_write(b, mem, 4096, b->align / 2), -EINVAL);
	cr_assert_eq(bdev_write(b, mem, b->align / 2, 4096), -EINVAL);
	cr_assert_eq(bdev_writev(b, iov, 2, 4096), 0);
	iov[1].iov_base = mem + 8192 + 8;
	cr_assert_eq(bdev_writev(b, iov, 2, 4096), -EINVAL);
	cr_assert_eq(b->ops->writev(b, iov, 2, 4096), -EINVAL);
	cr_assert_eq(b->ops->readv(b, iov, 2, 4096), -EINVAL);
	bio = bio_alloc(b, 1, BIO_OP_READ, NULL);
	bio->bi_flags |= BIO_F_QUIET;
	bio_add_vec(bio, NULL, mem + 8, 4096);
	cr_assert_eq(submit_bio_wait(bio), -EINVAL);
	bio_put(bio);
	tl_free(mem);
}

Test(bdev_mem, alignment)
{
	struct bdev *b = bdev_mem_create(1 << 20);

	cr_assert_eq(blk_init(1), 0);
	check_alignment(b);
	b->align = 4096;
	check_alignment(b);
	bdev_close(b);
	blk_exit();
}

ParameterizedTestParameters(bdev_file, alignment)
{
	static unsigned int flags[] = { 0, BDEV_OPEN_NO_URING, BDEV_OPEN_BUFFERED };

	return cr_make_param_array(unsigned int, flags, ARRAY_SIZE(flags));
}

ParameterizedTest(unsigned int *flags, bdev_file, alignment)
{
	struct bdev *b;

	cr_assert_eq(blk_init(1), 0);
	cr_assert_eq(bdev_open(path, *flags, &b), 0);
	check_alignment(b);
	bdev_close(b);
	blk_exit();
}

Test(bdev_mem, basics)
{
	struct bdev *b = bdev_mem_create(1 << 20);
	_Alignas(4096) uint8_t in[4096], out[4096];

	cr_assert(b);
	fill(in, sizeof(in), 1);
	cr_assert_eq(bdev_write(b, in, sizeof(in), 8192), 0);
	cr_assert_eq(bdev_read(b, out, sizeof(out), 8192), 0);
	cr_assert_arr_eq(in, out, sizeof(in));
	cr_assert_arr_eq((uint8_t *)bdev_mem_data(b) + 8192, in, sizeof(in));
	cr_assert_eq(bdev_flush(b), 0);
	cr_assert_eq(bdev_discard(b, 8192, 4096), 0);
	cr_assert_eq(bdev_read(b, out, sizeof(out), 8192), 0);
	cr_assert_neq(memcmp(in, out, sizeof(in)), 0);
	cr_assert_eq(bdev_read(b, out, 512, 1 << 20), -EIO);
	cr_assert_eq(bdev_read(b, out, 4096, (1 << 20) - 512), -EIO);
	cr_assert_eq(bdev_write(b, out, 512, UINT64_MAX - 511), -EIO);
	cr_assert_eq(bdev_read(b, out, 100, 0), -EINVAL);
	cr_assert_eq(bdev_read(b, out, 0, 0), 0);
	b->read_only = true;
	cr_assert_eq(bdev_write(b, in, 512, 0), -EROFS);
	cr_assert_eq(bdev_discard(b, 0, 512), -EROFS);
	cr_assert_eq(atomic_load(&b->stats.writes), 1);
	cr_assert_eq(atomic_load(&b->stats.write_bytes), 4096);
	cr_assert_eq(atomic_load(&b->stats.flushes), 1);
	cr_assert_eq(atomic_load(&b->stats.discards), 1);
	bdev_close(b);
	cr_assert_null(bdev_mem_create(0));
	cr_assert_null(bdev_mem_create(1000));
	tl_alloc_fail_nth(1);
	cr_assert_null(bdev_mem_create(4096));
	tl_alloc_fail_nth(0);
}

Test(bdev_mem, large_discard_stays_sparse)
{
	struct bdev *b = bdev_mem_create(UINT64_C(1) << 40);
	uint8_t *data = bdev_mem_data(b);

	data[0] = data[5 << 20] = 1;
	cr_assert_eq(bdev_discard(b, 0, UINT64_C(1) << 40), 0);
	cr_assert_eq(data[0], 0);
	cr_assert_eq(data[5 << 20], 0);
	bdev_close(b);
}

/* Files, in every way to do I/O on them */

struct waiting {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	unsigned int left;
	int err;
};

static void one_done(struct bio *bio)
{
	struct waiting *w = bio->bi_private;

	pthread_mutex_lock(&w->lock);
	if (bio->bi_status)
		w->err = bio->bi_status;
	w->left--;
	pthread_cond_signal(&w->cond);
	pthread_mutex_unlock(&w->lock);
	bio_put(bio);
}

/* All of the image in @n bios at once. */
static int io_async(struct bdev *b, enum bio_op op, uint8_t *mem, unsigned int n)
{
	struct waiting w = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, n, 0 };
	uint32_t each = IMAGE_BYTES / n;
	unsigned int i;

	for (i = 0; i < n; i++) {
		struct bio *bio = bio_alloc(b, 4, op, NULL);

		cr_assert(bio);
		bio->bi_iter.bi_sector = (uint64_t)i * each >> SECTOR_SHIFT;
		cr_assert_eq(bio_add_vec(bio, NULL, mem + (size_t)i * each, each), each);
		bio->bi_end_io = one_done;
		bio->bi_private = &w;
		submit_bio(bio);
	}
	pthread_mutex_lock(&w.lock);
	while (w.left)
		pthread_cond_wait(&w.cond, &w.lock);
	pthread_mutex_unlock(&w.lock);
	return w.err;
}

/* Instead of the C library's: nothing else tells whether a flush has reached the file. */
static atomic_int syncs, sync_errno;

int fdatasync(int fd)
{
	atomic_fetch_add(&syncs, 1);
	errno = atomic_load(&sync_errno);
	return errno ? -1 : (int)syscall(SYS_fdatasync, fd);
}

Test(bdev_file, a_flush_reaches_the_file)
{
	struct bdev *b;

	cr_assert_eq(bdev_open(path, 0, &b), 0);
	atomic_store(&syncs, 0);
	cr_assert_eq(bdev_flush(b), 0);
	cr_assert_eq(atomic_load(&syncs), 1);
	atomic_store(&sync_errno, EIO);
	cr_assert_eq(bdev_flush(b), -EIO);
	atomic_store(&sync_errno, 0);
	cr_assert_eq(bdev_flush(b), 0);
	cr_assert_eq(atomic_load(&syncs), 3);
	bdev_close(b);
}

ParameterizedTestParameters(bdev_file, io)
{
	static unsigned int flags[] = { 0, BDEV_OPEN_BUFFERED, BDEV_OPEN_NO_URING,
					BDEV_OPEN_BUFFERED | BDEV_OPEN_NO_URING };

	return cr_make_param_array(unsigned int, flags, ARRAY_SIZE(flags));
}

ParameterizedTest(unsigned int *flags, bdev_file, io)
{
	uint8_t *in = tl_alloc_aligned(4096, IMAGE_BYTES),
		*out = tl_alloc_aligned(4096, IMAGE_BYTES);
	struct bio *bio;
	struct bdev *b;
	struct stat st;

	cr_assert_eq(blk_init(2), 0);
	cr_assert_eq(bdev_open(path, *flags, &b), 0);
	cr_assert_eq(b->size, IMAGE_BYTES);
	cr_assert(b->align >= 512 && b->align <= 4096);
	cr_assert_not(b->is_block);
	if (*flags)
		cr_assert_eq(bdev_start(b), 0); /* else the first bio does it */
	fill(in, IMAGE_BYTES, 3);
	cr_assert_eq(io_async(b, BIO_OP_WRITE, in, 512), 0);
	cr_assert_eq(io_async(b, BIO_OP_READ, out, 2), 0); /* split at max_io */
	cr_assert_arr_eq(in, out, IMAGE_BYTES);
	cr_assert(atomic_load(&b->stats.reads) >= 8);
	cr_assert_eq(atomic_load(&b->stats.read_bytes), IMAGE_BYTES);
	cr_assert_eq(bdev_flush(b), 0);
	cr_assert_eq(stat(path, &st), 0);
	cr_assert(st.st_blocks * 512 >= IMAGE_BYTES);

	bio = bio_alloc(b, 1, BIO_OP_DISCARD, NULL);
	bio->bi_iter.bi_size = IMAGE_BYTES / 2;
	if (submit_bio_wait(bio) != -EOPNOTSUPP) {
		cr_assert_eq(bio->bi_status, 0);
		cr_assert_eq(stat(path, &st), 0);
		cr_assert(st.st_blocks * 512 < IMAGE_BYTES);
	}
	bio_put(bio);

	/* The file shrinks behind our back: a short read is an error, not zeroes. */
	cr_assert_eq(truncate(path, IMAGE_BYTES / 2 + 4096), 0);
	log_init("test", false, LOG_LVL_ERR);
	bio = bio_alloc(b, 1, BIO_OP_READ, NULL);
	bio->bi_flags |= BIO_F_QUIET;
	bio->bi_iter.bi_sector = IMAGE_BYTES / 2 >> SECTOR_SHIFT;
	bio_add_vec(bio, NULL, out, 65536);
	cr_assert_eq(submit_bio_wait(bio), -EIO);
	bio_put(bio);
	cr_assert_eq(bdev_read(b, out, 8192, IMAGE_BYTES / 2), -EIO);
	cr_assert_eq(atomic_load(&b->stats.errors), 2);
	bdev_close(b);
	blk_exit();
	tl_free(in);
	tl_free(out);
}

/* Where nothing below would mind, too: buffered, and on a tmpfs. */
ParameterizedTestParameters(bdev_file, async_alignment)
{
	static unsigned int flags[] = { 0, BDEV_OPEN_BUFFERED };

	return cr_make_param_array(unsigned int, flags, ARRAY_SIZE(flags));
}

ParameterizedTest(unsigned int *flags, bdev_file, async_alignment)
{
	uint8_t *mem = tl_alloc_aligned(4096, IMAGE_BYTES + 4096);
	struct bdev *b;

	log_init("test", false, LOG_LVL_ERR - 1);
	cr_assert_eq(blk_init(1), 0);
	cr_assert_eq(bdev_open(path, *flags, &b), 0);
	cr_assert_eq(io_async(b, BIO_OP_READ, mem, 4), 0);
	cr_assert_eq(io_async(b, BIO_OP_READ, mem + 8, 4), -EINVAL);
	bdev_close(b);
	blk_exit();
	tl_free(mem);
}

ParameterizedTestParameters(bdev_file, async_short_read)
{
	static unsigned int flags[] = { 0, BDEV_OPEN_NO_URING };

	return cr_make_param_array(unsigned int, flags, ARRAY_SIZE(flags));
}

ParameterizedTest(unsigned int *flags, bdev_file, async_short_read)
{
	uint8_t *mem = tl_alloc_aligned(4096, IMAGE_BYTES);
	struct bdev *b;

	cr_assert_eq(blk_init(1), 0);
	cr_assert_eq(bdev_open(path, *flags, &b), 0);
	cr_assert_eq(truncate(path, IMAGE_BYTES - 8192), 0);
	cr_assert_eq(io_async(b, BIO_OP_READ, mem, 4), -EIO);
	bdev_close(b);
	blk_exit();
	tl_free(mem);
}

/* Which parts of a file have space: by what the host says, with FIEMAP (disk) or without
 * (tmpfs). */
static void space_of(const char *dir)
{
	uint64_t start, stop, mi = 1 << 20;
	struct bdev_usage before, u;
	struct bdev *b;
	char buf[8192] = { 1 };
	int fd, err;

	snprintf(path, sizeof(path), "%s/tally-test-XXXXXX", dir);
	fd = mkstemp(path);
	if (fd < 0)
		cr_skip_test("%s: not to be written", dir);
	cr_assert_eq(ftruncate(fd, IMAGE_BYTES), 0);
	cr_assert_eq(bdev_open(path, BDEV_OPEN_NO_URING | BDEV_OPEN_BUFFERED, &b), 0);
	cr_assert(b->thin);
	cr_assert_eq(bdev_backed(b, 4096, IMAGE_BYTES, &start, &stop), 0);
	cr_assert_eq(start, IMAGE_BYTES);
	cr_assert_eq(stop, IMAGE_BYTES);
	cr_assert_not(bdev_all_backed(b, 0, 4096));
	cr_assert_eq(bdev_usage(b, &before), 0);
	err = bdev_provision(b, 2 * mi, mi);
	if (err == -EOPNOTSUPP) {
		cr_assert_not(b->thin);
		cr_assert_eq(bdev_provision(b, 2 * mi, mi), 0, "as if it had all its space");
	} else {
		cr_assert_eq(err, 0);
		cr_assert_eq(bdev_usage(b, &u), 0);
		cr_assert_geq(u.taken, before.taken + mi);
		cr_assert_leq(u.avail, u.free);
		cr_assert_eq(bdev_provision(b, 2 * mi, mi), 0, "a second time");
		/* of space that was never written not every host knows; of this each does */
		cr_assert_eq(pwrite(fd, buf, sizeof(buf), 5 * mi), sizeof(buf));
		fsync(fd);
		cr_assert_eq(bdev_backed(b, 4 * mi, IMAGE_BYTES, &start, &stop), 0);
		cr_assert_eq(start, 5 * mi);
		cr_assert_geq(stop, 5 * mi + sizeof(buf));
		cr_assert(bdev_all_backed(b, 5 * mi + 4096, 4096));
		cr_assert_not(bdev_all_backed(b, 4 * mi, 2 * mi));
	}
	close(fd);
	bdev_close(b);
	unlink(path);
}

Test(bdev_thin, disk)
{
	space_of("/var/tmp");
}

Test(bdev_thin, tmpfs)
{
	space_of("/dev/shm");
}

Test(bdev_thin, others_have_theirs)
{
	struct bdev *b = bdev_mem_create(1 << 20);
	struct bdev_usage u;
	uint64_t start, stop;

	cr_assert_eq(bdev_provision(b, 0, 1 << 20), 0);
	cr_assert(bdev_all_backed(b, 0, 1 << 20));
	cr_assert_eq(bdev_backed(b, 4096, 8192, &start, &stop), 0);
	cr_assert_eq(start, 4096);
	cr_assert_eq(stop, 8192);
	cr_assert_eq(bdev_usage(b, &u), 0);
	cr_assert_eq(u.taken, 1 << 20);
	b->read_only = true;
	cr_assert_eq(bdev_provision(b, 0, 4096), -EROFS);
	bdev_close(b);
}

/* ---- hosts of other kinds ---- */

static int keep_size_err, mode0_err; /* what fallocate(2) says; 0: it is done */
static unsigned int mode0_calls;

int fallocate(int fd, int mode, off_t off, off_t len)
{
	int err = mode == FALLOC_FL_KEEP_SIZE ? keep_size_err : mode ? 0 : mode0_err;

	mode0_calls += !mode;
	if (!err)
		return (int)syscall(SYS_fallocate, fd, mode, off, len);
	errno = err;
	return -1;
}

static int provision_with(int keep_size, int mode0, uint64_t off, uint64_t len)
{
	struct bdev_usage before, u;
	struct bdev *b;
	int err;

	make_image();
	cr_assert_eq(truncate(path, IMAGE_BYTES), 0);
	cr_assert_eq(bdev_open(path, BDEV_OPEN_NO_URING | BDEV_OPEN_BUFFERED, &b), 0);
	cr_assert_eq(bdev_usage(b, &before), 0);
	keep_size_err = keep_size;
	mode0_err = mode0;
	mode0_calls = 0;
	err = bdev_provision(b, off, len);
	keep_size_err = mode0_err = 0;
	cr_assert_eq(b->thin, err != -EOPNOTSUPP);
	if (!err) {
		cr_assert_eq(bdev_usage(b, &u), 0);
		cr_assert_geq(u.taken, before.taken + len);
	}
	bdev_close(b);
	unlink(path);
	return err;
}

Test(bdev_thin, hosts_that_refuse)
{
	static const int not_possible[] = { EOPNOTSUPP, ENOSYS, EINVAL, EPERM, ENODEV };

	if (provision_with(0, 0, 4096, 8192) == -EOPNOTSUPP)
		cr_skip_test("the host of %s refuses by itself", path);
	for (unsigned int i = 0; i < sizeof(not_possible) / sizeof(int); i++) {
		cr_assert_eq(provision_with(not_possible[i], not_possible[i], 4096, 8192),
			     -EOPNOTSUPP);
		/* NFS: no mode but 0 */
		cr_assert_eq(provision_with(not_possible[i], 0, 4096, 8192), 0);
		cr_assert_eq(mode0_calls, 1);
		/* which must not make the file larger */
		cr_assert_eq(provision_with(not_possible[i], 0, IMAGE_BYTES - 4096, 8192),
			     -EOPNOTSUPP);
		cr_assert_eq(mode0_calls, 0);
	}
	cr_assert_eq(provision_with(ENOSPC, 0, 4096, 8192), -ENOSPC);
	cr_assert_eq(provision_with(EDQUOT, 0, 4096, 8192), -ENOSPC);
	cr_assert_eq(provision_with(EOPNOTSUPP, EDQUOT, 4096, 8192), -ENOSPC);
	cr_assert_eq(provision_with(EIO, 0, 4096, 8192), -EIO);
	cr_assert_eq(mode0_calls, 0);
}

/* Whether this disk does it by itself or not: it is the same bytes, or no promise. */
Test(bdev_file, writes_durable_by_themselves)
{
	uint8_t *in = tl_alloc_aligned(4096, 8192), *out = tl_alloc_aligned(4096, 8192);
	struct iovec iov[2] = { { in, 4096 }, { in + 4096, 4096 } };
	struct bdev *b;
	int fd, err;

	fill(in, 8192, 9);
	cr_assert_eq(bdev_open(path, 0, &b), 0);
	err = bdev_write_fua(b, in, 4096, 4096);
	cr_assert(!err || err == -EOPNOTSUPP, "%d", err);
	cr_assert_eq(atomic_load(&b->stats.writes), !err);
	cr_assert_eq(bdev_write_fua(b, in + 8, 4096, 4096), -EINVAL);
	b->read_only = true;
	cr_assert_eq(bdev_write_fua(b, in, 4096, 4096), -EROFS);
	fd = open(path, O_RDWR);
	err = bdev_fua_writev(fd, iov, 2, 8192);
	cr_assert(!err || err == -EOPNOTSUPP, "%d", err);
	close(fd);
	if (!err) {
		cr_assert_eq(bdev_read(b, out, 8192, 8192), 0);
		cr_assert_arr_eq(in, out, 8192);
	}
	bdev_close(b);
	cr_assert_not(bdev_fua_disk(makedev(0, 0)), "there is no such disk");
	tl_free(in);
	tl_free(out);
}

/* As in many containers: io_uring_setup(2) says EPERM. */
static void forbid_uring(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { .len = ARRAY_SIZE(code), .filter = code };

	cr_assert_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	cr_assert_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog), 0);
}

Test(bdev_file, io_uring_forbidden)
{
	uint8_t *in = tl_alloc_aligned(4096, IMAGE_BYTES),
		*out = tl_alloc_aligned(4096, IMAGE_BYTES);
	struct bdev *b;

	forbid_uring();
	cr_assert_eq(blk_init(1), 0);
	cr_assert_eq(bdev_open(path, 0, &b), 0);
	cr_assert_eq(bdev_start(b), 0);
	fill(in, IMAGE_BYTES, 9);
	cr_assert_eq(io_async(b, BIO_OP_WRITE, in, 16), 0);
	cr_assert_eq(io_async(b, BIO_OP_READ, out, 16), 0);
	cr_assert_arr_eq(in, out, IMAGE_BYTES);
	bdev_close(b);
	blk_exit();
	tl_free(in);
	tl_free(out);
}

Test(bdev_file, no_memory_anywhere)
{
	struct bdev *b;
	unsigned int n;
	int err;

	for (n = 1;; n++) {
		tl_alloc_fail_nth(n);
		err = bdev_open(path, 0, &b);
		tl_alloc_fail_nth(0);
		if (!err)
			break;
		cr_assert_eq(err, -ENOMEM);
	}
	cr_assert(n > 2);
	bdev_close(b);
	bdev_close(NULL);
}

Test(bdev_file, submission_without_memory_goes_to_the_pool)
{
	uint8_t *mem = tl_alloc_aligned(4096, 4096);
	struct waiting w = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 1, 0 };
	struct bdev *b;
	struct bio *bio;

	cr_assert_eq(blk_init(1), 0);
	cr_assert_eq(bdev_open(path, 0, &b), 0);
	bdev_start(b);
	bio = bio_alloc(b, 1, BIO_OP_READ, NULL);
	bio_add_vec(bio, NULL, mem, 4096);
	bio->bi_end_io = one_done;
	bio->bi_private = &w;
	tl_alloc_fail_nth(1);
	submit_bio(bio);
	pthread_mutex_lock(&w.lock);
	while (w.left)
		pthread_cond_wait(&w.cond, &w.lock);
	pthread_mutex_unlock(&w.lock);
	tl_alloc_fail_nth(0);
	cr_assert_eq(w.err, 0);
	bdev_close(b);
	blk_exit();
	tl_free(mem);
}

Test(bdev_file, what_cannot_be_opened)
{
	struct bdev *b;
	char fifo[80];

	cr_assert_eq(bdev_open("/nonexistent/x", 0, &b), -ENOENT);
	cr_assert_eq(bdev_open("/", 0, &b), -ENOTBLK);
	cr_assert_eq(bdev_open("/dev/null", 0, &b), -ENOTBLK);
	snprintf(fifo, sizeof(fifo), "%s.fifo", path);
	cr_assert_eq(mkfifo(fifo, 0600), 0);
	cr_assert_eq(bdev_open(fifo, 0, &b), -ENOTBLK);
	unlink(fifo);
	cr_assert_eq(truncate(path, 0), 0);
	cr_assert_eq(bdev_open(path, 0, &b), -EINVAL);
	cr_assert_eq(truncate(path, 100), 0);
	cr_assert_eq(bdev_open(path, 0, &b), -EINVAL);
	cr_assert_eq(bdev_open(path, 0, &b), -EINVAL, "and the lock was let go");
}

Test(bdev_file, read_only)
{
	struct bdev *b;
	char *buf = tl_alloc_aligned(4096, 4096);

	cr_assert_eq(chmod(path, 0400), 0);
	cr_assert_eq(bdev_open(path, BDEV_OPEN_RDONLY, &b), 0);
	cr_assert(b->read_only);
	cr_assert_eq(bdev_read(b, buf, 4096, 0), 0);
	cr_assert_eq(bdev_write(b, buf, 4096, 0), -EROFS);
	bdev_close(b);
	tl_free(buf);
}

/* Locks */

struct owner {
	pid_t pid;
	int to, from; /* pipes */
};

static void tell(int fd, char c)
{
	cr_assert_eq(write(fd, &c, 1), 1);
}

static char hear(int fd)
{
	char c = 0;

	cr_assert_eq(read(fd, &c, 1), 1);
	return c;
}

/* A process that opens the image, and then on command: 's'huts down, 'c'loses. */
static struct owner start_owner(unsigned int flags)
{
	int to[2], from[2];
	struct owner o;

	cr_assert_eq(pipe(to), 0);
	cr_assert_eq(pipe(from), 0);
	o.to = to[1];
	o.from = from[0];
	o.pid = fork();
	if (!o.pid) {
		struct bdev *b = NULL;
		int err = bdev_open(path, flags, &b);

		tell(from[1], err == -EBUSY ? 'b' : err ? 'e' : 'o');
		while (!err) {
			char c = hear(to[0]);

			if (c == 's')
				bdev_set_serving(b, false);
			else if (c == 'r')
				bdev_set_serving(b, true);
			else
				break;
			tell(from[1], 'd');
		}
		bdev_close(b);
		_exit(0);
	}
	close(to[0]);
	close(from[1]);
	return o;
}

static void stop_owner(struct owner *o)
{
	tell(o->to, 'c');
	waitpid(o->pid, NULL, 0);
	close(o->to);
	close(o->from);
}

static int closes_when_told = -1;

static void close_when_told(enum log_level lvl, const char *line)
{
	if (!strstr(line, "waiting") || closes_when_told < 0)
		return;
	tell(closes_when_told, 'c');
	closes_when_told = -1;
}

Test(bdev_lock, served_is_busy_at_once)
{
	struct owner o = start_owner(0);
	struct bdev *b;

	cr_assert_eq(hear(o.from), 'o');
	cr_assert_eq(bdev_open(path, BDEV_OPEN_WAIT, &b), -EBUSY);
	cr_assert_eq(bdev_open(path, 0, &b), -EBUSY);
	cr_assert_eq(bdev_open(path, BDEV_OPEN_RDONLY, &b), -EBUSY);
	cr_assert_eq(bdev_open(path, BDEV_OPEN_RDONLY | BDEV_OPEN_NO_LOCK, &b), 0);
	bdev_close(b);
	cr_assert_eq(bdev_wait_closed(path, 0, busy_by), -ETIMEDOUT);
	stop_owner(&o);
	cr_assert_eq(bdev_wait_closed(path, -1, busy_by), 0);
	cr_assert_eq(bdev_wait_closed("/nonexistent", 0, busy_by), -ENOENT);
	cr_assert_eq(bdev_open(path, 0, &b), 0);
	bdev_close(b);
}

Test(bdev_lock, shutting_down_is_waited_for, .timeout = 900)
{
	struct owner o = start_owner(0), comer;
	struct bdev *b;

	cr_assert_eq(hear(o.from), 'o');
	tell(o.to, 's');
	cr_assert_eq(hear(o.from), 'd');
	cr_assert_eq(bdev_open(path, 0, &b), -EBUSY, "without BDEV_OPEN_WAIT");
	comer = start_owner(BDEV_OPEN_WAIT);
	usleep(50000);
	stop_owner(&o);
	cr_assert_eq(hear(comer.from), 'o', "got it when the first had closed");
	cr_assert_eq(bdev_open(path, BDEV_OPEN_WAIT, &b), -EBUSY, "and serves now");
	stop_owner(&comer);
}

Test(bdev_lock, waiting_is_told, .timeout = 900)
{
	struct owner o = start_owner(0);
	struct bdev *b;

	cr_assert_eq(hear(o.from), 'o');
	tell(o.to, 's');
	cr_assert_eq(hear(o.from), 'd');
	closes_when_told = o.to;
	log_set_hook(close_when_told);
	cr_assert_eq(bdev_open(path, BDEV_OPEN_WAIT, &b), 0);
	log_set_hook(NULL);
	cr_assert_eq(closes_when_told, -1, "it was told");
	bdev_close(b);
	while (wait(NULL) > 0)
		;
}

Test(bdev_lock, serving_again)
{
	struct owner o = start_owner(0);
	struct bdev *b;

	cr_assert_eq(hear(o.from), 'o');
	tell(o.to, 's');
	cr_assert_eq(hear(o.from), 'd');
	tell(o.to, 'r');
	cr_assert_eq(hear(o.from), 'd');
	cr_assert_eq(bdev_open(path, BDEV_OPEN_WAIT, &b), -EBUSY);
	stop_owner(&o);
}

Test(bdev_lock, readers_share)
{
	struct owner o = start_owner(BDEV_OPEN_RDONLY);
	struct bdev *b;

	cr_assert_eq(hear(o.from), 'o');
	cr_assert_eq(bdev_open(path, BDEV_OPEN_RDONLY, &b), 0);
	bdev_close(b);
	cr_assert_eq(bdev_open(path, BDEV_OPEN_WAIT, &b), -EBUSY);
	stop_owner(&o);
}

Test(bdev_lock, survives_fork_and_unrelated_close)
{
	struct bdev *b, *c;
	struct owner o;
	pid_t pid;
	int fd, go[2];

	cr_assert_eq(pipe(go), 0);
	cr_assert_eq(bdev_open(path, 0, &b), 0);
	/* A POSIX lock would be gone after this. */
	fd = open(path, O_RDONLY);
	close(fd);
	cr_assert_eq(bdev_open(path, 0, &c), -EBUSY);
	pid = fork();
	if (!pid) {
		hear(go[0]);
		_exit(0);
	}
	/* The parent of a daemon leaves: its child still has the image. */
	bdev_close(b);
	o = start_owner(0);
	cr_assert_eq(hear(o.from), 'b');
	waitpid(o.pid, NULL, 0);
	tell(go[1], 'x');
	waitpid(pid, NULL, 0);
	cr_assert_eq(bdev_open(path, 0, &b), 0);
	bdev_close(b);
}

/* ---- readers ---- */

/* A process of user @uid that may only read the image, and locks all there is for reading. */
static struct owner start_reader(uid_t uid)
{
	int to[2], from[2];
	struct owner o;

	cr_assert_eq(chmod(path, 0644), 0);
	cr_assert_eq(pipe(to), 0);
	cr_assert_eq(pipe(from), 0);
	o.to = to[1];
	o.from = from[0];
	o.pid = fork();
	if (!o.pid) {
		struct flock all = { .l_type = F_RDLCK, .l_whence = SEEK_SET };
		int fd = setuid(uid) ? -1 : open(path, O_RDONLY);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(to[1]);
		tell(from[1], fd >= 0 && !fcntl(fd, F_OFD_SETLK, &all) ? 'o' : 'e');
		hear(to[0]);
		_exit(0);
	}
	close(to[0]);
	close(from[1]);
	cr_assert_eq(hear(o.from), 'o');
	return o;
}

static char said[1024];

static void keep_lines(enum log_level lvl, const char *line)
{
	size_t n = strlen(said);

	snprintf(said + n, sizeof(said) - n, "%s\n", line);
}

static bool names(const char *text, pid_t pid)
{
	char who[32];

	snprintf(who, sizeof(who), "process %d ", pid);
	return strstr(text, who);
}

#define STRANGER 65534
#define NEED_ROOT()                               \
	do {                                      \
		if (geteuid())                    \
			cr_skip_test("not root"); \
	} while (0)

Test(bdev_lock, root_gets_past_strangers)
{
	struct owner reader, other;
	struct bdev *b, *c;

	NEED_ROOT();
	reader = start_reader(STRANGER);
	log_set_hook(keep_lines);
	cr_assert_eq(bdev_open(path, BDEV_OPEN_WAIT, &b), 0);
	cr_assert(names(said, reader.pid), "said: %s", said);
	/* the lock is good against everybody else */
	cr_assert_eq(bdev_open(path, BDEV_OPEN_WAIT, &c), -EBUSY);
	other = start_owner(BDEV_OPEN_WAIT);
	cr_assert_eq(hear(other.from), 'b', "no second writer");
	close(other.to);
	other = start_owner(BDEV_OPEN_WAIT | BDEV_OPEN_RDONLY);
	cr_assert_eq(hear(other.from), 'b', "no reader who would see a file system that changes");
	close(other.to);
	stop_owner(&reader);
	other = start_owner(BDEV_OPEN_WAIT);
	cr_assert_eq(hear(other.from), 'b', "nor when the stranger has gone");
	close(other.to);
	bdev_close(b);
	cr_assert_eq(bdev_open(path, BDEV_OPEN_WAIT, &b), 0);
	bdev_close(b);
	log_set_hook(NULL);
}

Test(bdev_lock, a_writer_in_spite_of_strangers_is_waited_for)
{
	struct owner reader, writer;

	NEED_ROOT();
	reader = start_reader(STRANGER);
	cr_assert_eq(bdev_wait_closed(path, -1, busy_by), 0, "readers are not");
	writer = start_owner(BDEV_OPEN_WAIT);
	cr_assert_eq(hear(writer.from), 'o');
	cr_assert_eq(bdev_wait_closed(path, 4000, busy_by), -ETIMEDOUT);
	stop_owner(&writer);
	cr_assert_eq(bdev_wait_closed(path, -1, busy_by), 0);
	stop_owner(&reader);
}

Test(bdev_lock, readers_of_standing_are_respected)
{
	struct owner reader;
	struct bdev *b;

	NEED_ROOT();
	reader = start_reader(0);
	cr_assert_eq(bdev_open_by(path, BDEV_OPEN_WAIT, &b, busy_by), -EBUSY, "root's own");
	cr_assert(names(busy_by, reader.pid), "%s", busy_by);
	stop_owner(&reader);
	cr_assert_eq(chown(path, STRANGER, (gid_t)-1), 0);
	reader = start_reader(STRANGER);
	cr_assert_eq(bdev_open_by(path, BDEV_OPEN_WAIT, &b, busy_by), -EBUSY, "the owner's");
	cr_assert(names(busy_by, reader.pid), "%s", busy_by);
	stop_owner(&reader);
	cr_assert_eq(bdev_open(path, BDEV_OPEN_WAIT, &b), 0);
	bdev_close(b);
}

/* ---- loop devices ---- */

/* A loop device of @bytes (0: all) of @file from @offset on; to be closed, which frees it. */
static int make_loop(const char *file, uint64_t offset, uint64_t bytes, char dev[32])
{
	struct loop_config cfg = { .info = { .lo_flags = LO_FLAGS_AUTOCLEAR,
					     .lo_offset = offset,
					     .lo_sizelimit = bytes } };
	int ctl = open("/dev/loop-control", O_RDWR | O_CLOEXEC), fd = -1, tries;

	cfg.fd = (uint32_t)open(file, O_RDWR | O_CLOEXEC);
	cr_assert((int)cfg.fd >= 0);
	/* Others may be faster. */
	for (tries = 0; ctl >= 0 && fd < 0 && tries < 20; tries++) {
		snprintf(dev, 32, "/dev/loop%d", ioctl(ctl, LOOP_CTL_GET_FREE));
		fd = open(dev, O_RDWR | O_CLOEXEC);
		if (fd >= 0 && ioctl(fd, LOOP_CONFIGURE, &cfg)) {
			close(fd);
			fd = -1;
		}
	}
	close((int)cfg.fd);
	if (ctl >= 0)
		close(ctl);
	if (fd < 0)
		cr_skip_test("no loop devices here");
	return fd;
}

/* One of the two is open for writing: the other is in use. */
static void exclude_each_other(const char *one, const char *two)
{
	struct bdev *b, *c;

	cr_assert_eq(bdev_open(one, 0, &b), 0, "%s", one);
	cr_assert_eq(bdev_open(two, 0, &c), -EBUSY, "%s although %s is open", two, one);
	cr_assert_eq(bdev_open(two, BDEV_OPEN_RDONLY, &c), -EBUSY);
	bdev_close(b);
	cr_assert_eq(bdev_open(one, BDEV_OPEN_RDONLY, &b), 0);
	cr_assert_eq(bdev_open(two, 0, &c), -EBUSY);
	cr_assert_eq(bdev_open(two, BDEV_OPEN_RDONLY, &c), 0, "readers share");
	bdev_close(c);
	bdev_close(b);
}

static void go_together(const char *one, const char *two)
{
	struct bdev *b, *c;

	cr_assert_eq(bdev_open(one, 0, &b), 0);
	cr_assert_eq(bdev_open(two, 0, &c), 0, "%s and %s", one, two);
	bdev_close(c);
	bdev_close(b);
}

Test(bdev_lock, loop_device_and_its_file)
{
	char all[32], front[32], back[32], nested[32];
	int fd[4];
	struct bdev *b;

	NEED_ROOT();
	fd[0] = make_loop(path, 0, 0, all);
	fd[1] = make_loop(path, 0, IMAGE_BYTES / 2, front);
	fd[2] = make_loop(path, IMAGE_BYTES / 2, 0, back);
	fd[3] = make_loop(back, 1 << 20, 0, nested);
	exclude_each_other(path, all);
	exclude_each_other(all, path);
	exclude_each_other(all, front);
	exclude_each_other(back, all);
	exclude_each_other(nested, path);
	exclude_each_other(all, nested);
	exclude_each_other(back, nested);
	go_together(front, back);
	go_together(nested, front);
	/* what is shut down there may be waited for here */
	cr_assert_eq(bdev_open(all, 0, &b), 0);
	bdev_set_serving(b, false);
	bdev_set_serving(b, true);
	bdev_close(b);
	close(fd[3]);
	close(fd[2]);
	close(fd[1]);
	close(fd[0]);
}

Test(bdev_lock, loop_device_of_a_lost_file)
{
	char loop[32], shown[80];
	struct bdev *b;
	int fd, other;

	NEED_ROOT();
	fd = make_loop(path, 0, 0, loop);
	log_set_hook(keep_lines);
	cr_assert_eq(unlink(path), 0);
	cr_assert_eq(bdev_open(loop, 0, &b), 0);
	cr_assert(strstr(said, "take care"), "said: %s", said);
	bdev_close(b);
	/* what the kernel calls it by is another file now */
	snprintf(shown, sizeof(shown), "%s (deleted)", path);
	other = open(shown, O_CREAT | O_RDWR, 0600);
	said[0] = '\0';
	cr_assert_eq(bdev_open(loop, 0, &b), 0);
	cr_assert(strstr(said, "take care"), "said: %s", said);
	bdev_close(b);
	close(other);
	unlink(shown);
	close(fd);
	log_set_hook(NULL);
}

Test(bdev_lock, strangers_and_a_loop_device)
{
	struct owner reader;
	struct bdev *b;
	char loop[32];
	int fd;

	NEED_ROOT();
	/* before, lest he has the device open, too */
	reader = start_reader(STRANGER);
	fd = make_loop(path, 0, 0, loop);
	cr_assert_eq(bdev_open(path, BDEV_OPEN_WAIT, &b), -EBUSY,
		     "its user may have had a read lock only");
	close(fd);
	cr_assert_eq(bdev_open(path, BDEV_OPEN_WAIT, &b), 0);
	bdev_close(b);
	stop_owner(&reader);
}
