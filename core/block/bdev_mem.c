/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A device in memory, for tests. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "core/block/bdev.h"

/* What a discarded byte reads as, so that nobody comes to rely on zeroes. */
#define DISCARDED 0xdd
/* Above this it is zeroes after all: a sparse device must stay sparse. */
#define DISCARD_FILL_MAX (1u << 20)

struct bdev_mem {
	struct bdev b;
	uint8_t *data;
};

static struct bdev_mem *mem_of(struct bdev *b)
{
	return container_of(b, struct bdev_mem, b);
}

static int mem_readv(struct bdev *b, const struct iovec *iov, int n, uint64_t off)
{
	int i, err = bdev_check_iov(b, iov, n, off);

	for (i = 0; !err && i < n; off += iov[i++].iov_len)
		memcpy(iov[i].iov_base, mem_of(b)->data + off, iov[i].iov_len);
	return err;
}

static int mem_writev(struct bdev *b, const struct iovec *iov, int n, uint64_t off)
{
	int i, err = bdev_check_iov(b, iov, n, off);

	for (i = 0; !err && i < n; off += iov[i++].iov_len)
		memcpy(mem_of(b)->data + off, iov[i].iov_base, iov[i].iov_len);
	return err;
}

static int mem_flush(struct bdev *b)
{
	return 0;
}

static int mem_discard(struct bdev *b, uint64_t off, uint64_t len)
{
	uint64_t first = round_up_to(off, 4096), end = round_down_to(off + len, 4096);

	if (off > b->size || len > b->size - off)
		return -EIO;
	if (len <= DISCARD_FILL_MAX)
		memset(mem_of(b)->data + off, DISCARDED, len);
	else if (madvise(mem_of(b)->data + first, end - first, MADV_DONTNEED))
		return -errno;
	return 0;
}

static void mem_close(struct bdev *b)
{
	struct bdev_mem *m = mem_of(b);

	munmap(m->data, m->b.size);
	tl_free(m);
}

static const struct bdev_ops mem_ops = {
	.readv = mem_readv,
	.writev = mem_writev,
	.flush = mem_flush,
	.discard = mem_discard,
	.close = mem_close,
};

struct bdev *bdev_mem_create(uint64_t bytes)
{
	struct bdev_mem *m;

	if (!bytes || bytes % SECTOR_SIZE)
		return NULL;
	m = tl_zalloc(sizeof(*m));
	if (!m)
		return NULL;
	m->data = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (m->data == MAP_FAILED) {
		tl_free(m);
		return NULL;
	}
	m->b = (struct bdev){
		.ops = &mem_ops,
		.name = "mem",
		.size = bytes,
		.align = SECTOR_SIZE,
		.max_io = 1u << 20,
		.max_segs = 256,
	};
	return &m->b;
}

void *bdev_mem_data(struct bdev *b)
{
	return mem_of(b)->data;
}
