/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A device in memory that is as before again at the cost of what was written to it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "core/block/guard.h"
#include "tests/lib/fixture.h"
#include "tests/lib/submit_inline.h"
#include "tests/lib/undodev.h"

#define CHUNK 4096u

struct undodev {
	struct bdev b;
	uint8_t *data, *kept;
	uint8_t *touched; /* a byte for each chunk */
	uint32_t *list;	  /* chunks touched */
	uint32_t nr;
	bool ro;
};

static struct undodev *dev_of(struct bdev *b)
{
	return container_of(b, struct undodev, b);
}

void undodev_touch(struct bdev *b, uint64_t off, uint64_t len)
{
	struct undodev *d = dev_of(b);

	for (uint64_t c = off / CHUNK; len && c <= (off + len - 1) / CHUNK; c++) {
		/* several threads of the block layer write at once */
		if (__atomic_load_n(&d->touched[c], __ATOMIC_RELAXED) ||
		    __atomic_exchange_n(&d->touched[c], 1, __ATOMIC_RELAXED))
			continue;
		d->list[__atomic_fetch_add(&d->nr, 1, __ATOMIC_RELAXED)] = (uint32_t)c;
	}
}

static int dev_readv(struct bdev *b, const struct iovec *iov, int n, uint64_t off)
{
	int err = bdev_check_iov(b, iov, n, off);

	for (int i = 0; !err && i < n; off += iov[i++].iov_len)
		memcpy(iov[i].iov_base, dev_of(b)->data + off, iov[i].iov_len);
	return err;
}

static int dev_writev(struct bdev *b, const struct iovec *iov, int n, uint64_t off)
{
	int err = bdev_check_iov(b, iov, n, off);

	FX_CHECK(!dev_of(b)->ro);
	for (int i = 0; !err && i < n; off += iov[i++].iov_len) {
		undodev_touch(b, off, iov[i].iov_len);
		memcpy(dev_of(b)->data + off, iov[i].iov_base, iov[i].iov_len);
	}
	return err;
}

static int dev_flush(struct bdev *b)
{
	return 0;
}

static int dev_discard(struct bdev *b, uint64_t off, uint64_t len)
{
	if (off > b->size || len > b->size - off)
		return -EIO;
	FX_CHECK(!dev_of(b)->ro);
	undodev_touch(b, off, len);
	memset(dev_of(b)->data + off, 0xdd, len);
	return 0;
}

static void dev_close(struct bdev *b)
{
	struct undodev *d = dev_of(b);

	free(d->data);
	free(d->kept);
	free(d->touched);
	free(d->list);
	free(d);
}

static const struct bdev_ops dev_ops = {
	.readv = dev_readv,
	.writev = dev_writev,
	.flush = dev_flush,
	.discard = dev_discard,
	.submit = submit_inline,
	.close = dev_close,
};

struct bdev *undodev_create(uint64_t bytes)
{
	struct undodev *d = calloc(1, sizeof(*d));

	FX_CHECK(d);
	d->data = calloc(1, bytes);
	d->kept = malloc(bytes);
	d->touched = calloc(1, bytes / CHUNK);
	d->list = calloc(bytes / CHUNK, sizeof(*d->list));
	FX_CHECK(d->data && d->kept && d->touched && d->list);
	d->b = (struct bdev){ .ops = &dev_ops,
			      .name = "undo",
			      .size = bytes,
			      .align = SECTOR_SIZE,
			      .max_io = 1u << 20,
			      .max_segs = 256 };
	return &d->b;
}

void *undodev_data(struct bdev *b)
{
	return dev_of(b)->data;
}

const void *undodev_kept(struct bdev *b)
{
	return dev_of(b)->kept;
}

static void none_touched(struct undodev *d)
{
	memset(d->touched, 0, d->b.size / CHUNK);
	d->nr = 0;
}

void undodev_keep(struct bdev *b)
{
	memcpy(dev_of(b)->kept, dev_of(b)->data, b->size);
	none_touched(dev_of(b));
}

void undodev_reset(struct bdev *b)
{
	struct undodev *d = dev_of(b);

	for (uint32_t k = 0; k < d->nr; k++) {
		uint64_t off = (uint64_t)d->list[k] * CHUNK;

		memcpy(d->data + off, d->kept + off, CHUNK);
	}
	none_touched(d);
}

void undodev_read_only(struct bdev *b, bool ro)
{
	dev_of(b)->ro = ro;
}

uint64_t undodev_hash(struct bdev *b)
{
	struct undodev *d = dev_of(b);
	uint64_t sum = 0;

	for (uint32_t k = 0; k < d->nr; k++) {
		uint64_t off = (uint64_t)d->list[k] * CHUNK;

		if (memcmp(d->data + off, d->kept + off, CHUNK))
			sum += guard_xxh3(d->data + off, CHUNK, off + 1);
	}
	return sum;
}
