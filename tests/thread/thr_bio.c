/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Many threads write and read verified bios, some of them split, from one
 * small set of pools, through io_uring and through the thread pool.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/block/integrity.h"

#define THREADS 4
#define AREA (4u << 20) /* of each thread, on the device and in memory */
#define BLOCK 4096u

#define CHECK(cond)                                                                \
	do {                                                                       \
		if (!(cond)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
			exit(1);                                                   \
		}                                                                  \
	} while (0)

static struct bdev *dev;
static struct bio_set *set;
static struct tuple16 tuples[THREADS * AREA / BLOCK];
static struct blk_integrity bi = {
	.profile = &profile_xxh3_64,
	.interval_exp = 12,
	.flags = BLK_INTEGRITY_GENERATE | BLK_INTEGRITY_VERIFY,
	.key = 42,
	.app = 1,
};

struct thread {
	pthread_t t;
	unsigned int nr;
	uint8_t *mem;
	pthread_mutex_t lock;
	pthread_cond_t idle;
	unsigned int in_flight, errors;
};

static void end_io(struct bio *bio)
{
	struct thread *me = bio->bi_private;
	struct bvec_iter whole = bio->bi_integrity->bip_prep_iter;

	if (bio->bi_op == BIO_OP_WRITE)
		bio_integrity_copy_tuples(bio, &tuples[whole.bi_sector], whole.bi_size);
	pthread_mutex_lock(&me->lock);
	me->errors += bio->bi_status != 0;
	if (!--me->in_flight)
		pthread_cond_signal(&me->idle);
	pthread_mutex_unlock(&me->lock);
	bio_put(bio);
}

/* The thread's whole area in bios of all sizes up to 512 KiB, up to 1.5 MiB in places. */
static void run_area(struct thread *me, enum bio_op op)
{
	uint64_t base = (uint64_t)me->nr * AREA;
	uint32_t off, len, turn = me->nr;

	for (off = 0; off < AREA; off += len) {
		struct bio *bio = bio_alloc(dev, 8, op, set);

		len = min_t(uint32_t, AREA - off, BLOCK << turn % 8);
		if (turn % 9 == 8)
			len = min_t(uint32_t, AREA - off, 3u << 19);
		turn++;
		bio->bi_iter.bi_sector = (base + off) >> SECTOR_SHIFT;
		CHECK(bio_add_vec(bio, NULL, me->mem + off, len) == len);
		bio->bi_end_io = end_io;
		bio->bi_private = me;
		if (op == BIO_OP_READ)
			CHECK(!bio_integrity_prep_tuples(bio, &tuples[(base + off) / BLOCK]));
		pthread_mutex_lock(&me->lock);
		me->in_flight++;
		pthread_mutex_unlock(&me->lock);
		submit_bio(bio);
	}
	pthread_mutex_lock(&me->lock);
	while (me->in_flight)
		pthread_cond_wait(&me->idle, &me->lock);
	pthread_mutex_unlock(&me->lock);
}

static void *thread_main(void *arg)
{
	struct thread *me = arg;
	uint32_t i;

	for (i = 0; i < AREA; i++)
		me->mem[i] = (uint8_t)(i * 13 + (i >> 12) + me->nr);
	run_area(me, BIO_OP_WRITE);
	CHECK(!bdev_flush(dev));
	memset(me->mem, 0, AREA);
	run_area(me, BIO_OP_READ);
	CHECK(!me->errors);
	for (i = 0; i < AREA; i++)
		CHECK(me->mem[i] == (uint8_t)(i * 13 + (i >> 12) + me->nr));
	/* And now no tuple is right. */
	for (i = 0; i < AREA / BLOCK; i++)
		tuples[me->nr * (AREA / BLOCK) + i].guard.v ^= 1;
	run_area(me, BIO_OP_READ);
	CHECK(me->errors > 10);
	return NULL;
}

static void run(const char *path, unsigned int flags)
{
	struct thread t[THREADS];
	unsigned int i;

	CHECK(!bdev_open(path, flags, &dev));
	CHECK(!bdev_start(dev));
	dev->integrity = &bi;
	for (i = 0; i < THREADS; i++) {
		t[i] = (struct thread){ .nr = i };
		pthread_mutex_init(&t[i].lock, NULL);
		pthread_cond_init(&t[i].idle, NULL);
		t[i].mem = tl_alloc_aligned(4096, AREA);
		CHECK(t[i].mem && !pthread_create(&t[i].t, NULL, thread_main, &t[i]));
	}
	for (i = 0; i < THREADS; i++) {
		pthread_join(t[i].t, NULL);
		tl_free(t[i].mem);
	}
	blk_flush_integrity();
	bdev_close(dev);
}

int main(void)
{
	char path[] = "/var/tmp/tally-thr-XXXXXX";
	int fd = mkstemp(path);

	CHECK(fd >= 0 && !ftruncate(fd, THREADS * AREA));
	close(fd);
	CHECK(!blk_init(3));
	CHECK(!bioset_create(&set, 4) && !bioset_integrity_create(set, 4));
	run(path, 0);
	run(path, BDEV_OPEN_NO_URING);
	run(path, BDEV_OPEN_BUFFERED);
	bioset_free(set);
	blk_exit();
	unlink(path);
	return 0;
}
