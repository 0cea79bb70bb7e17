/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Readers, writers, truncation, sync, reclaim and the flusher on one file at
 * once, under an inode lock as the file system has it, compared with a byte
 * array.  The seed of the choices is fixed (how threads meet is not); TALLYFS_SEED
 * and TALLYFS_OPS as in test_iomap_model.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "core/lib/log.h"
#include "core/pagecache/pagecache_internal.h"
#include "tests/lib/random.h"
#include "tests/lib/toymap.h"

#define FILE_MAX (2u << 20)
#define READERS 3
#define WRITERS 2

static struct toymap toy;
/* readers must not starve the writers that end the test */
static pthread_rwlock_t inode_lock = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;
static unsigned char want[FILE_MAX];
static atomic_bool stop;
static atomic_ullong nr_done; /* reads that found something, and changes */
static uint64_t seed, nr_ops;

#define REQUIRE(x)                                                                                 \
	do {                                                                                       \
		if (!(x)) {                                                                        \
			fprintf(stderr, "%s:%d: %s (TALLYFS_SEED=%llu)\n", __FILE__, __LINE__, #x, \
				(unsigned long long)seed);                                         \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

static uint64_t rnd(uint64_t *s, uint64_t n)
{
	return test_rand(s) % n;
}

static void *reader(void *arg)
{
	uint64_t s = seed * 31 + (uintptr_t)arg + 1, pos, len, size, seq = 0;
	unsigned char *buf = malloc(FILE_MAX);
	int64_t n;

	while (!atomic_load(&stop)) {
		len = 1 + rnd(&s, 200000);
		pos = rnd(&s, 2) ? seq : rnd(&s, FILE_MAX);
		pthread_rwlock_rdlock(&inode_lock);
		size = i_size_read(&toy.mapping);
		n = toymap_read(&toy, pos, buf, len);
		REQUIRE(n == (int64_t)(pos < size ? min_t(uint64_t, len, size - pos) : 0));
		REQUIRE(!memcmp(buf, want + pos, (size_t)n));
		pthread_rwlock_unlock(&inode_lock);
		if (n)
			atomic_fetch_add(&nr_done, 1);
		seq = n ? pos + (uint64_t)n : 0;
	}
	free(buf);
	return NULL;
}

static void write_some(uint64_t *s, unsigned char *buf)
{
	uint64_t len = 1 + rnd(s, rnd(s, 2) ? 300000 : 5000), pos = rnd(s, FILE_MAX - len);
	unsigned char base = (unsigned char)rnd(s, 256);

	for (uint64_t i = 0; i < len; i++)
		buf[i] = (unsigned char)(base + i * 5 + (i >> 8));
	pthread_rwlock_wrlock(&inode_lock);
	REQUIRE(toymap_write(&toy, pos, buf, len) == (int64_t)len);
	memcpy(want + pos, buf, len);
	pthread_rwlock_unlock(&inode_lock);
}

static void shorten(uint64_t *s)
{
	uint64_t size;

	pthread_rwlock_wrlock(&inode_lock);
	size = rnd(s, FILE_MAX);
	REQUIRE(!toymap_truncate(&toy, size));
	memset(want + size, 0, FILE_MAX - size);
	pthread_rwlock_unlock(&inode_lock);
}

static void zero_some(uint64_t *s)
{
	uint64_t pos, len;

	pthread_rwlock_wrlock(&inode_lock);
	pos = rnd(s, FILE_MAX);
	len = 1 + rnd(s, 100000);
	if (pos < i_size_read(&toy.mapping)) {
		len = min_t(uint64_t, len, i_size_read(&toy.mapping) - pos);
		REQUIRE(!iomap_zero_range(&toy.mapping, pos, len, NULL, &toy_ops));
		memset(want + pos, 0, len);
	}
	pthread_rwlock_unlock(&inode_lock);
}

static void punch_some(uint64_t *s)
{
	uint64_t pos, len;

	pthread_rwlock_wrlock(&inode_lock);
	pos = rnd(s, FILE_MAX);
	len = 1 + rnd(s, 300000);
	if (pos < i_size_read(&toy.mapping)) {
		len = min_t(uint64_t, len, i_size_read(&toy.mapping) - pos);
		REQUIRE(!toymap_punch(&toy, pos, len));
		memset(want + pos, 0, len);
	}
	pthread_rwlock_unlock(&inode_lock);
}

static void unshare_some(uint64_t *s)
{
	uint64_t bits = toy.mapping.blkbits, blocks = FILE_MAX >> bits, first = rnd(s, blocks);
	uint64_t n = 1 + rnd(s, blocks - first);

	pthread_rwlock_wrlock(&inode_lock);
	toymap_share(&toy, first, n);
	if (rnd(s, 2))
		REQUIRE(!iomap_file_unshare(&toy.mapping, first << bits, n << bits, &toy_ops));
	pthread_rwlock_unlock(&inode_lock);
}

static void *writer(void *arg)
{
	uint64_t s = seed * 77 + (uintptr_t)arg + 1;
	unsigned char *buf = malloc(FILE_MAX);

	for (uint64_t i = 0; i < nr_ops; i++) {
		atomic_fetch_add(&nr_done, 1);
		switch (rnd(&s, 16)) {
		case 0:
			shorten(&s);
			break;
		case 1:
			zero_some(&s);
			break;
		case 2:
			punch_some(&s);
			break;
		case 3:
			unshare_some(&s);
			break;
		default:
			write_some(&s, buf);
		}
	}
	free(buf);
	return NULL;
}

/* Writeback meets an error now and then, and keeps what it could not write. */
static bool good_or_eio(int err)
{
	return !err || err == -EIO;
}

/* One write that fails, or one read that brings a flipped bit, which the second look puts right. */
static void inject(uint64_t *s)
{
	faultdev_clear(toy.bdev);
	if (rnd(s, 2))
		faultdev_plan(toy.bdev, .kind = FAULT_ERROR, .ops = FAULT_WRITE,
			      .off = rnd(s, 8u << 20), .len = 1u << 20);
	else
		faultdev_plan(toy.bdev, .kind = FAULT_FLIP, .ops = FAULT_READ,
			      .off = rnd(s, 8u << 20), .len = 1);
}

/* What has no lock of the inode: fsync, sync, memory pressure, errors of the device. */
static void *pressure(void *arg)
{
	uint64_t s = seed + 5, pos;

	while (!atomic_load(&stop)) {
		switch (rnd(&s, 5)) {
		case 0:
			pagecache_shrink(toy.cache, rnd(&s, FILE_MAX));
			break;
		case 1:
			REQUIRE(good_or_eio(pagecache_sync(toy.cache, true)));
			break;
		case 2:
			pos = rnd(&s, FILE_MAX);
			REQUIRE(good_or_eio(filemap_write_and_wait_range(&toy.mapping, pos,
									 pos + rnd(&s, FILE_MAX))));
			break;
		case 3:
			inject(&s);
			break;
		default:
			filemap_range_busy(&toy.mapping, 0, FILE_MAX);
			invalidate_inode_pages_range(&toy.mapping, 0, rnd(&s, FILE_MAX));
		}
	}
	return NULL;
}

/* From the device, with nothing left in the cache. */
static void check_all(void)
{
	unsigned char *buf = malloc(FILE_MAX);
	uint64_t size = i_size_read(&toy.mapping);

	pagecache_shrink(toy.cache, 0);
	REQUIRE(buf);
	REQUIRE(toymap_read(&toy, 0, buf, FILE_MAX) == (int64_t)size);
	REQUIRE(!memcmp(buf, want, size));
	free(buf);
}

static void quiet(enum log_level lvl, const char *line)
{
}

static void run(unsigned int blkbits, unsigned int folio_shift)
{
	struct toy_config cfg = {
		.blkbits = blkbits,
		.folio_shift = folio_shift,
		.file_bytes = FILE_MAX,
		.dev_bytes = 8u << 20,
		.cache = { .cache_bytes = 2u << 20,
			   .dirty_bytes = 512u << 10,
			   .flush_interval_ms = 5 },
		.integrity = true,
	};
	pthread_t readers[READERS], writers[WRITERS], other;
	uintptr_t i;

	memset(want, 0, sizeof(want));
	atomic_store(&stop, false);
	toymap_init(&toy, &cfg);
	for (i = 0; i < READERS; i++)
		REQUIRE(!pthread_create(&readers[i], NULL, reader, (void *)i));
	REQUIRE(!pthread_create(&other, NULL, pressure, NULL));
	for (i = 0; i < WRITERS; i++)
		REQUIRE(!pthread_create(&writers[i], NULL, writer, (void *)i));
	for (i = 0; i < WRITERS; i++)
		pthread_join(writers[i], NULL);
	atomic_store(&stop, true);
	for (i = 0; i < READERS; i++)
		pthread_join(readers[i], NULL);
	pthread_join(other, NULL);
	faultdev_clear(toy.bdev);
	toymap_sync(&toy); /* may still tell of the last error */
	REQUIRE(!toymap_sync(&toy));
	REQUIRE(!toymap_reservation_gap(&toy));
	check_all();
	toymap_exit(&toy);
}

int main(void)
{
	/* one block a folio, a few, and 1 MiB, over all block sizes */
	static const unsigned char shapes[][2] = { { 12, 16 }, { 12, 12 }, { 10, 15 }, { 11, 20 },
						   { 13, 13 }, { 14, 17 }, { 15, 20 }, { 16, 16 } };

	seed = test_seed(1);
	nr_ops = test_ops(60);
	log_set_hook(quiet);
	for (size_t i = 0; i < ARRAY_SIZE(shapes); i++)
		run(shapes[i][0], shapes[i][1]);
	printf("%llu operations\n", atomic_load(&nr_done));
	return 0;
}
