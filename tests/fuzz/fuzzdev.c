/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A device in memory that is as before again at the cost of what was written to it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "core/block/bio.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/fuzzdev.h"

#define CHUNK 4096u

struct fuzzdev {
	struct bdev b;
	uint8_t *data, *kept;
	uint8_t *touched; /* a byte for each chunk */
	uint32_t *list;	  /* chunks touched */
	uint32_t nr;
	bool ro;
};

static struct fuzzdev *dev_of(struct bdev *b)
{
	return container_of(b, struct fuzzdev, b);
}

void fuzzdev_touch(struct bdev *b, uint64_t off, uint64_t len)
{
	struct fuzzdev *d = dev_of(b);

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

	if (dev_of(b)->ro)
		fuzz_die("a write at byte %llu by who only looks", (unsigned long long)off);
	for (int i = 0; !err && i < n; off += iov[i++].iov_len) {
		fuzzdev_touch(b, off, iov[i].iov_len);
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
	if (dev_of(b)->ro)
		fuzz_die("a discard at byte %llu by who only looks", (unsigned long long)off);
	fuzzdev_touch(b, off, len);
	memset(dev_of(b)->data + off, 0xdd, len);
	return 0;
}

static void dev_close(struct bdev *b)
{
	struct fuzzdev *d = dev_of(b);

	free(d->data);
	free(d->kept);
	free(d->touched);
	free(d->list);
	free(d);
}

/*
 * In the thread that asks: two wake-ups less for each bio.  Real devices complete from elsewhere
 * (see struct bdev_ops), but nobody here holds a lock that a completion takes.
 */
static void dev_submit(struct bdev *b, struct bio *bio)
{
	uint64_t off = bio->bi_iter.bi_sector << SECTOR_SHIFT;
	struct bvec_iter it = bio->bi_iter;
	int err = 0;

	while (it.bi_size && !err) {
		struct bio_vec bv = bvec_iter_bvec(bio->bi_io_vec, it);
		struct iovec iov = { bv.bv_base, bv.bv_len };

		err = bio->bi_op == BIO_OP_READ ? dev_readv(b, &iov, 1, off)
						: dev_writev(b, &iov, 1, off);
		off += bv.bv_len;
		bvec_iter_advance(bio->bi_io_vec, &it, bv.bv_len);
	}
	bio_set_error(bio, err);
	bio_endio(bio);
}

static const struct bdev_ops dev_ops = {
	.readv = dev_readv,
	.writev = dev_writev,
	.flush = dev_flush,
	.discard = dev_discard,
	.submit = dev_submit,
	.close = dev_close,
};

struct bdev *fuzzdev_create(uint64_t bytes)
{
	struct fuzzdev *d = calloc(1, sizeof(*d));

	if (!d)
		fuzz_die("out of memory");
	d->data = calloc(1, bytes);
	d->kept = malloc(bytes);
	d->touched = calloc(1, bytes / CHUNK);
	d->list = calloc(bytes / CHUNK, sizeof(*d->list));
	if (!d->data || !d->kept || !d->touched || !d->list)
		fuzz_die("out of memory");
	d->b = (struct bdev){ .ops = &dev_ops,
			      .name = "fuzz",
			      .size = bytes,
			      .align = SECTOR_SIZE,
			      .max_io = 1u << 20,
			      .max_segs = 256 };
	return &d->b;
}

void *fuzzdev_data(struct bdev *b)
{
	return dev_of(b)->data;
}

const void *fuzzdev_kept(struct bdev *b)
{
	return dev_of(b)->kept;
}

static void none_touched(struct fuzzdev *d)
{
	memset(d->touched, 0, d->b.size / CHUNK);
	d->nr = 0;
}

void fuzzdev_keep(struct bdev *b)
{
	memcpy(dev_of(b)->kept, dev_of(b)->data, b->size);
	none_touched(dev_of(b));
}

void fuzzdev_reset(struct bdev *b)
{
	struct fuzzdev *d = dev_of(b);

	for (uint32_t k = 0; k < d->nr; k++) {
		uint64_t off = (uint64_t)d->list[k] * CHUNK;

		memcpy(d->data + off, d->kept + off, CHUNK);
	}
	none_touched(d);
}

void fuzzdev_read_only(struct bdev *b, bool ro)
{
	dev_of(b)->ro = ro;
}
