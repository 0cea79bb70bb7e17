/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A device in memory that misbehaves on request. */
#include "tests/lib/faulty_dev.h"

#include <errno.h>

#include "core/lib/workqueue.h"

struct faulty_async {
	struct faulty_dev d;
	struct workqueue *wq;
};

struct faulty_io {
	struct work w;
	struct bio *bio;
};

static struct faulty_dev *dev_of(struct bdev *b)
{
	return container_of(b, struct faulty_dev, b);
}

static int injected(struct faulty_dev *d, bool write)
{
	int err = atomic_load(write ? &d->write_err : &d->read_err);
	unsigned int n = atomic_load(&d->fail_nth_io);

	while (n && !atomic_compare_exchange_weak(&d->fail_nth_io, &n, n - 1))
		;
	return n == 1 ? -EIO : err;
}

static int do_io(struct faulty_dev *d, bool write, const struct iovec *iov, int n, uint64_t off)
{
	uint64_t bytes = 0;
	int i, err = injected(d, write);

	for (i = 0; i < n; i++)
		bytes += iov[i].iov_len;
	if (bytes > d->b.max_io || (uint32_t)n > d->b.max_segs ||
	    ((off | bytes) & (d->b.align - 1)))
		atomic_fetch_add(&d->too_big, 1);
	if (err)
		return err;
	return write ? d->mem->ops->writev(d->mem, iov, n, off)
		     : d->mem->ops->readv(d->mem, iov, n, off);
}

static int faulty_readv(struct bdev *b, const struct iovec *iov, int n, uint64_t off)
{
	return do_io(dev_of(b), false, iov, n, off);
}

static int faulty_writev(struct bdev *b, const struct iovec *iov, int n, uint64_t off)
{
	return do_io(dev_of(b), true, iov, n, off);
}

static int faulty_flush(struct bdev *b)
{
	return atomic_load(&dev_of(b)->flush_err);
}

static int faulty_discard(struct bdev *b, uint64_t off, uint64_t len)
{
	return bdev_discard(dev_of(b)->mem, off, len);
}

static void async_work(struct work *w)
{
	struct faulty_io *io = container_of(w, struct faulty_io, w);
	struct bio *bio = io->bio;
	struct iovec iov[BIO_MAX_VECS];
	struct bvec_iter it;
	struct bio_vec bv;
	int n = 0, err;

	tl_free(io);
	bio_for_each_segment(bv, bio, it)
		iov[n++] = (struct iovec){ .iov_base = bv.bv_base, .iov_len = bv.bv_len };
	err = do_io(dev_of(bio->bi_bdev), bio->bi_op == BIO_OP_WRITE, iov, n,
		    bio->bi_iter.bi_sector << SECTOR_SHIFT);
	if (err)
		bio_set_error(bio, err);
	else
		bio_advance(bio, bio->bi_iter.bi_size);
	bio_endio(bio);
}

static void faulty_submit(struct bdev *b, struct bio *bio)
{
	struct faulty_io *io;

	/* Tests that count allocations make one fail here now and then: not what they are after. */
	do {
		io = tl_alloc(sizeof(*io));
	} while (!io);
	io->bio = bio;
	work_init(&io->w, async_work);
	queue_work(container_of(dev_of(b), struct faulty_async, d)->wq, &io->w);
}

static const struct bdev_ops sync_ops = {
	.readv = faulty_readv,
	.writev = faulty_writev,
	.flush = faulty_flush,
	.discard = faulty_discard,
};

static const struct bdev_ops async_ops = {
	.flush = faulty_flush,
	.discard = faulty_discard,
	.submit = faulty_submit,
};

struct faulty_dev *faulty_dev_create(uint64_t bytes, bool async)
{
	struct faulty_async *a = tl_zalloc(sizeof(*a));

	if (!a)
		return NULL;
	a->d.mem = bdev_mem_create(bytes);
	if (!a->d.mem)
		goto out_free;
	if (async) {
		a->wq = workqueue_create("faulty", 2);
		if (!a->wq)
			goto out_mem;
	}
	a->d.b.ops = async ? &async_ops : &sync_ops;
	a->d.b.name = "faulty";
	a->d.b.size = bytes;
	a->d.b.align = SECTOR_SIZE;
	a->d.b.max_io = 1u << 20;
	a->d.b.max_segs = BIO_MAX_VECS;
	return &a->d;

out_mem:
	bdev_close(a->d.mem);
out_free:
	tl_free(a);
	return NULL;
}

void faulty_dev_destroy(struct faulty_dev *d)
{
	struct faulty_async *a = container_of(d, struct faulty_async, d);

	workqueue_destroy(a->wq);
	bdev_close(d->mem);
	tl_free(a);
}

uint8_t *faulty_dev_data(struct faulty_dev *d)
{
	return bdev_mem_data(d->mem);
}
