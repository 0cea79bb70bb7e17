/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "core/block/bio.h"
#include "core/lib/workqueue.h"
#include "tests/lib/faultdev_priv.h"

static struct faultdev *of(struct bdev *b)
{
	return container_of(b, struct faultdev, b);
}

/* Not tl_alloc(): tests that make the n-th of those fail are not after this one. */
void *faultdev_must(void *p)
{
	if (!p) {
		fprintf(stderr, "faultdev: no memory\n");
		abort();
	}
	return p;
}

static uint64_t iov_bytes(const struct iovec *iov, int n)
{
	uint64_t len = 0;

	while (n--)
		len += iov[n].iov_len;
	return len;
}

/* What hits a command.  It has waited, if it had to. */
static struct fault_hit hit(struct faultdev *d, enum fault_op op, uint64_t off, uint64_t len)
{
	struct fault_hit h;
	unsigned int clears;

	pthread_mutex_lock(&d->lock);
	if (op == FAULT_WRITE && d->logged < d->log_max)
		d->log[d->logged++] = (struct faultdev_write){ off, len };
	h = fault_plan_hit(&d->plan, op, off, len);
	clears = d->clears;
	if (h.delayed) {
		pthread_mutex_unlock(&d->lock);
		usleep(h.usec);
		pthread_mutex_lock(&d->lock);
	}
	if (h.stalled) {
		d->stalled++;
		while (clears == d->clears)
			pthread_cond_wait(&d->cleared, &d->lock);
		d->stalled--;
	}
	pthread_mutex_unlock(&d->lock);
	return h;
}

static int do_io(const struct command *c)
{
	struct faultdev *d = c->d;
	struct fault_hit h;
	int err;

	atomic_fetch_add(c->op == FAULT_READ ? &d->nr_reads : &d->nr_writes, 1);
	if (c->len > d->b.max_io || (uint32_t)c->n > d->b.max_segs ||
	    ((c->off | c->len) & (d->b.align - 1)))
		atomic_fetch_add(&d->too_big, 1);
	h = hit(d, c->op, c->off, c->len);
	if (c->op == FAULT_WRITE)
		faultdev_meet_stale(c);
	err = h.spoilt ? faultdev_spoil(c, &h.spoil) : faultdev_pass(c);
	if (c->op == FAULT_READ && !err)
		faultdev_meet_stale(c);
	return err;
}

/* ---- the device ---- */

static int fault_readv(struct bdev *b, const struct iovec *iov, int n, uint64_t off)
{
	return do_io(&(struct command){ of(b), FAULT_READ, false, iov, n, off, iov_bytes(iov, n) });
}

static int fault_writev(struct bdev *b, const struct iovec *iov, int n, uint64_t off)
{
	return do_io(
		&(struct command){ of(b), FAULT_WRITE, false, iov, n, off, iov_bytes(iov, n) });
}

static int fault_writev_fua(struct bdev *b, const struct iovec *iov, int n, uint64_t off)
{
	if (!of(b)->fua || !of(b)->lower->ops->writev_fua)
		return -EOPNOTSUPP;
	return do_io(&(struct command){ of(b), FAULT_WRITE, true, iov, n, off, iov_bytes(iov, n) });
}

/* Is a flush or discard to be kept from the device below, with *err? */
static bool kept_back(struct faultdev *d, enum fault_op op, uint64_t off, uint64_t len, int *err)
{
	struct fault_hit h = hit(d, op, off, len);

	if (!h.spoilt || (h.spoil.kind != FAULT_ERROR && h.spoil.kind != FAULT_LOSE))
		return false;
	faultdev_count_struck(d, off, len);
	*err = h.spoil.kind == FAULT_LOSE ? 0 : h.spoil.err ? h.spoil.err : -EIO;
	return true;
}

static int fault_flush(struct bdev *b)
{
	struct bdev *l = of(b)->lower;
	int err;

	atomic_fetch_add(&of(b)->nr_flushes, 1);
	return kept_back(of(b), FAULT_FLUSH, 0, 0, &err) ? err : l->ops->flush(l);
}

static int fault_discard(struct bdev *b, uint64_t off, uint64_t len)
{
	struct bdev *l = of(b)->lower;
	int err;

	return kept_back(of(b), FAULT_DISCARD, off, len, &err) ? err : l->ops->discard(l, off, len);
}

static void fault_close(struct bdev *b)
{
	struct faultdev *d = of(b);

	if (d->wq)
		workqueue_destroy(d->wq);
	if (!d->borrowed)
		bdev_close(d->lower);
	faultdev_free_stale(d);
	pthread_cond_destroy(&d->cleared);
	pthread_mutex_destroy(&d->lock);
	free(d);
}

struct async_io {
	struct work w;
	struct bio *bio;
};

static void async_work(struct work *w)
{
	struct async_io *io = container_of(w, struct async_io, w);
	struct bio *bio = io->bio;
	struct bdev *b = bio->bi_bdev;
	uint64_t off = bio->bi_iter.bi_sector << SECTOR_SHIFT;
	struct iovec iov[BIO_MAX_VECS];
	struct bvec_iter it;
	struct bio_vec bv;
	int n = 0, err;

	free(io);
	bio_for_each_segment(bv, bio, it)
		iov[n++] = (struct iovec){ .iov_base = bv.bv_base, .iov_len = bv.bv_len };
	err = bio->bi_op == BIO_OP_WRITE ? fault_writev(b, iov, n, off)
					 : fault_readv(b, iov, n, off);
	if (err)
		bio_set_error(bio, err);
	else
		bio_advance(bio, bio->bi_iter.bi_size);
	bio_endio(bio);
}

static void fault_submit(struct bdev *b, struct bio *bio)
{
	struct async_io *io = faultdev_must(malloc(sizeof(*io)));

	io->bio = bio;
	work_init(&io->w, async_work);
	queue_work(of(b)->wq, &io->w);
}

static const struct bdev_ops sync_ops = {
	.readv = fault_readv,
	.writev = fault_writev,
	.writev_fua = fault_writev_fua,
	.flush = fault_flush,
	.discard = fault_discard,
	.close = fault_close,
};

static const struct bdev_ops async_ops = {
	.flush = fault_flush,
	.discard = fault_discard,
	.submit = fault_submit,
	.close = fault_close,
};

struct bdev *faultdev_create(struct bdev *lower)
{
	struct faultdev *d = faultdev_must(calloc(1, sizeof(*d)));

	d->b.ops = &sync_ops;
	d->b.name = "faultdev";
	d->b.size = lower->size;
	d->b.align = lower->align;
	d->b.max_io = lower->max_io;
	d->b.max_segs = lower->max_segs;
	d->lower = lower;
	pthread_mutex_init(&d->lock, NULL);
	pthread_cond_init(&d->cleared, NULL);
	return &d->b;
}

struct bdev *faultdev_borrow(struct bdev *lower)
{
	struct bdev *b = faultdev_create(lower);

	of(b)->borrowed = true;
	return b;
}

struct bdev *faultdev_create_async(struct bdev *lower)
{
	struct bdev *b = faultdev_create(lower);

	b->ops = &async_ops;
	of(b)->wq = faultdev_must(workqueue_create("faultdev", 2));
	return b;
}

struct bdev *faultdev_lower(struct bdev *b)
{
	return of(b)->lower;
}

void faultdev_allow_fua(struct bdev *b, bool fua)
{
	of(b)->fua = fua;
}

void faultdev_add(struct bdev *b, const struct fault *f)
{
	pthread_mutex_lock(&of(b)->lock);
	fault_plan_add(&of(b)->plan, f);
	pthread_mutex_unlock(&of(b)->lock);
}

void faultdev_clear(struct bdev *b)
{
	struct faultdev *d = of(b);

	pthread_mutex_lock(&d->lock);
	d->plan.nr = 0;
	d->struck = 0;
	faultdev_free_stale(d);
	d->clears++;
	pthread_cond_broadcast(&d->cleared);
	pthread_mutex_unlock(&d->lock);
}

void faultdev_release(struct bdev *b)
{
	struct faultdev *d = of(b);

	pthread_mutex_lock(&d->lock);
	d->clears++;
	pthread_cond_broadcast(&d->cleared);
	pthread_mutex_unlock(&d->lock);
}

uint64_t faultdev_struck(struct bdev *b, uint64_t *off, uint64_t *len)
{
	struct faultdev *d = of(b);
	uint64_t n;

	pthread_mutex_lock(&d->lock);
	n = d->struck;
	if (off)
		*off = d->struck_off;
	if (len)
		*len = d->struck_len;
	pthread_mutex_unlock(&d->lock);
	return n;
}

unsigned int faultdev_stalled(struct bdev *b)
{
	unsigned int n;

	pthread_mutex_lock(&of(b)->lock);
	n = of(b)->stalled;
	pthread_mutex_unlock(&of(b)->lock);
	return n;
}

void faultdev_log_writes(struct bdev *b, struct faultdev_write *log, uint64_t max)
{
	struct faultdev *d = of(b);

	pthread_mutex_lock(&d->lock);
	d->log = log;
	d->log_max = max;
	d->logged = 0;
	pthread_mutex_unlock(&d->lock);
}

uint64_t faultdev_reads(struct bdev *b)
{
	return atomic_load(&of(b)->nr_reads);
}

uint64_t faultdev_writes(struct bdev *b)
{
	return atomic_load(&of(b)->nr_writes);
}

uint64_t faultdev_flushes(struct bdev *b)
{
	return atomic_load(&of(b)->nr_flushes);
}

unsigned int faultdev_too_big(struct bdev *b)
{
	return atomic_load(&of(b)->too_big);
}
