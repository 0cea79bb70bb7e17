/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Asynchronous direct writes (Linux aio or io_uring) beside buffered readers of one file on a
 *mount: what a write that is complete has written is what everybody reads, and what ends up on
 *disk.  And the same at a full file system.
 *
 *	dioasync aio|uring FILE ROUNDS
 *	dioasync full FILE			(fills the file system)
 *
 * Exit code: 0 right, 1 not, 77 no such interface here.
 */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/aio_abi.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define DEPTH 5
#define PIECE (128u << 10)
#define SPAN (DEPTH * PIECE)
#define READERS 2
#define SKIP 77
/* Once in so many rounds a byte is changed through the cache and the disk is looked at. */
#define BYTE_EVERY 16

struct queue {
	bool uring;
	aio_context_t aio;
	struct io_uring ring;
};

struct reader {
	pthread_t thread;
	const char *path;
	char buf[SPAN];
};

static atomic_bool stop;
static struct reader readers[READERS];
static char data[SPAN] __attribute__((aligned(4096))), buf[SPAN] __attribute__((aligned(4096)));

static void die(const char *what)
{
	fprintf(stderr, "dioasync: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int open_file(const char *path, int flags)
{
	int fd = open(path, flags | O_RDWR | O_CREAT, 0644);

	if (fd < 0)
		die(path);
	return fd;
}

static void queue_init(struct queue *q, bool uring)
{
	*q = (struct queue){ .uring = uring };
	if (!uring && syscall(SYS_io_setup, DEPTH, &q->aio))
		die("io_setup");
	errno = uring ? -io_uring_queue_init(DEPTH, &q->ring, 0) : 0;
	if (!errno)
		return;
	fprintf(stderr, "dioasync: no io_uring: %s\n", strerror(errno));
	exit(SKIP);
}

static void submit_aio(struct queue *q, int fd, unsigned int n, uint64_t pos)
{
	struct iocb cb[DEPTH], *p[DEPTH];
	unsigned int k;

	for (k = 0; k < n; k++) {
		cb[k] = (struct iocb){ .aio_lio_opcode = IOCB_CMD_PWRITE,
				       .aio_fildes = (uint32_t)fd,
				       .aio_buf = (uint64_t)(uintptr_t)(data + k * PIECE),
				       .aio_nbytes = PIECE,
				       .aio_offset = (int64_t)(pos + k * PIECE) };
		p[k] = &cb[k];
	}
	if (syscall(SYS_io_submit, q->aio, (long)n, p) != (long)n)
		die("io_submit");
}

/* The results, in whatever order they come. */
static void wait_aio(struct queue *q, unsigned int n, int *res)
{
	struct io_event ev[DEPTH];
	unsigned int k;

	if (syscall(SYS_io_getevents, q->aio, (long)n, (long)n, ev, NULL) != (long)n)
		die("io_getevents");
	for (k = 0; k < n; k++)
		res[k] = (int)ev[k].res;
}

static void submit_uring(struct queue *q, int fd, unsigned int n, uint64_t pos)
{
	unsigned int k;

	for (k = 0; k < n; k++)
		io_uring_prep_write(io_uring_get_sqe(&q->ring), fd, data + k * PIECE, PIECE,
				    pos + k * PIECE);
	if (io_uring_submit(&q->ring) != (int)n)
		die("io_uring_submit");
}

static void wait_uring(struct queue *q, unsigned int n, int *res)
{
	struct io_uring_cqe *cqe;
	unsigned int k;

	for (k = 0; k < n; k++) {
		if (io_uring_wait_cqe(&q->ring, &cqe))
			die("io_uring_wait_cqe");
		res[k] = cqe->res;
		io_uring_cqe_seen(&q->ring, cqe);
	}
}

/* @n pieces of data[] to @pos and on, at once; until all are complete. */
static void write_pieces(struct queue *q, int fd, unsigned int n, uint64_t pos, int *res)
{
	(q->uring ? submit_uring : submit_aio)(q, fd, n, pos);
	(q->uring ? wait_uring : wait_aio)(q, n, res);
}

/* Brings the file's pages into the kernel's cache all the time. */
static void *reader_main(void *arg)
{
	struct reader *r = arg;

	while (!atomic_load(&stop)) {
		int fd = open(r->path, O_RDONLY);

		if (fd < 0 || pread(fd, r->buf, SPAN, 0) < 0)
			die(r->path);
		close(fd);
	}
	return NULL;
}

static bool reads_as_written(int fd, const char *how, unsigned long round)
{
	size_t k = 0;

	if (pread(fd, buf, SPAN, 0) != SPAN)
		die("read");
	if (!memcmp(buf, data, SPAN))
		return true;
	while (buf[k] == data[k])
		k++;
	fprintf(stderr, "dioasync: round %lu, %s: byte %zu is %#x, not %#x\n", round, how, k,
		(unsigned char)buf[k], (unsigned char)data[k]);
	return false;
}

static bool one_round(struct queue *q, int direct, int cached, unsigned long round)
{
	int res[DEPTH];
	unsigned int k;

	memset(data, (int)(round % 251 + 1), SPAN);
	write_pieces(q, direct, DEPTH, 0, res);
	for (k = 0; k < DEPTH; k++) {
		if (res[k] != (int)PIECE) {
			fprintf(stderr, "dioasync: round %lu: wrote %d\n", round, res[k]);
			return false;
		}
	}
	if (!reads_as_written(cached, "buffered", round))
		return false;
	if (round % BYTE_EVERY)
		return true;
	/* a page that is stale would go to disk with this byte */
	data[round % SPAN] = '!';
	if (pwrite(cached, &data[round % SPAN], 1, (off_t)(round % SPAN)) != 1 || fsync(cached))
		die("write");
	return reads_as_written(direct, "direct", round);
}

static int beside_readers(bool uring, const char *path, unsigned long rounds)
{
	int direct = open_file(path, O_DIRECT), cached = open_file(path, 0);
	unsigned long round;
	struct queue q;
	bool ok = true;
	int k;

	queue_init(&q, uring);
	if (pwrite(direct, data, SPAN, 0) != SPAN)
		die("write");
	for (k = 0; k < READERS; k++) {
		readers[k].path = path;
		if (pthread_create(&readers[k].thread, NULL, reader_main, &readers[k]))
			die("thread");
	}
	for (round = 1; ok && round <= rounds; round++)
		ok = one_round(&q, direct, cached, round);
	atomic_store(&stop, true);
	for (k = 0; k < READERS; k++)
		pthread_join(readers[k].thread, NULL);
	return ok ? 0 : 1;
}

/* A write that fits in part says how much; the next one says ENOSPC; and what was said to be
 * written is there. */
static int until_full(const char *path)
{
	int fd = open_file(path, O_DIRECT), res, k;
	uint64_t pos = 0, at;
	struct queue q;

	queue_init(&q, false);
	memset(data, 'd', PIECE);
	/* behind its end a file is written synchronously */
	if (ftruncate(fd, (off_t)1 << 40))
		die("truncate");
	for (k = 0; k<2; pos += res> 0 ? (uint64_t)res : 0) {
		write_pieces(&q, fd, 1, pos, &res);
		k += res != (int)PIECE;
		if (res < 0)
			break;
	}
	if (res != -ENOSPC) {
		fprintf(stderr, "dioasync: full at %llu: result %d, not ENOSPC\n",
			(unsigned long long)pos, res);
		return 1;
	}
	for (at = 0; at < pos; at += PIECE) {
		size_t n = pos - at < PIECE ? pos - at : PIECE;

		if (pread(fd, buf, PIECE, (off_t)at) != PIECE || memcmp(buf, data, n)) {
			fprintf(stderr, "dioasync: what was written at %llu is not there\n",
				(unsigned long long)at);
			return 1;
		}
	}
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 4 && (!strcmp(argv[1], "aio") || !strcmp(argv[1], "uring")))
		return beside_readers(argv[1][0] == 'u', argv[2], strtoul(argv[3], NULL, 10));
	if (argc == 3 && !strcmp(argv[1], "full"))
		return until_full(argv[2]);
	fprintf(stderr, "usage: dioasync aio|uring FILE ROUNDS; dioasync full FILE\n");
	return 2;
}
