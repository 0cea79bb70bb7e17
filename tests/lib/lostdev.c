/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include "tests/lib/lostdev.h"

struct lostdev {
	struct bdev b;
	struct bdev *mem;
	pthread_mutex_t lock;
	uint64_t nth, writes;
	enum lost_how how;
	bool struck;
	uint64_t off, len; /* of the write that was lost */
	uint8_t *old;	   /* what was there before */
	bool *stale;	   /* by sector of it: still to be read as it was */
};

static struct lostdev *of(struct bdev *b)
{
	return container_of(b, struct lostdev, b);
}

static uint64_t iov_bytes(const struct iovec *iov, int n)
{
	uint64_t len = 0;

	while (n--)
		len += iov[n].iov_len;
	return len;
}

static bool differs(struct lostdev *d, const struct iovec *iov, int n, uint64_t off)
{
	const uint8_t *data = bdev_mem_data(d->mem);

	for (int i = 0; i < n; off += iov[i++].iov_len)
		if (memcmp(data + off, iov[i].iov_base, iov[i].iov_len))
			return true;
	return false;
}

static void strike(struct lostdev *d, uint64_t off, uint64_t len)
{
	d->struck = true;
	d->off = off;
	d->len = len;
	d->old = malloc(len);
	d->stale = calloc(len / SECTOR_SIZE, sizeof(*d->stale));
	if (!d->old || !d->stale)
		abort();
	memcpy(d->old, (uint8_t *)bdev_mem_data(d->mem) + off, len);
	if (d->how == LOST_STALE)
		memset(d->stale, true, len / SECTOR_SIZE);
}

/* The sector of the lost write that lies at device byte @at, if it is still stale; else NULL. */
static bool *stale_at(struct lostdev *d, uint64_t at)
{
	if (!d->struck || at < d->off || at - d->off >= d->len ||
	    !d->stale[(at - d->off) / SECTOR_SIZE])
		return NULL;
	return &d->stale[(at - d->off) / SECTOR_SIZE];
}

static int lost_readv(struct bdev *b, const struct iovec *iov, int n, uint64_t off)
{
	struct lostdev *d = of(b);
	int err;

	pthread_mutex_lock(&d->lock);
	err = d->mem->ops->readv(d->mem, iov, n, off);
	for (int i = 0; i < n && !err; off += iov[i++].iov_len) {
		for (uint64_t o = 0; o < iov[i].iov_len; o += SECTOR_SIZE) {
			bool *stale = stale_at(d, off + o);

			if (!stale)
				continue;
			memcpy((uint8_t *)iov[i].iov_base + o, d->old + (off + o - d->off),
			       SECTOR_SIZE);
			*stale = false;
		}
	}
	pthread_mutex_unlock(&d->lock);
	return err;
}

static int lost_writev(struct bdev *b, const struct iovec *iov, int n, uint64_t off)
{
	struct lostdev *d = of(b);
	uint64_t len = iov_bytes(iov, n);
	bool now;
	int err = 0;

	pthread_mutex_lock(&d->lock);
	now = ++d->writes == d->nth && differs(d, iov, n, off);
	for (uint64_t o = 0; o < len; o += SECTOR_SIZE) {
		bool *stale = stale_at(d, off + o);

		if (stale)
			*stale = false; /* written anew */
	}
	if (now)
		strike(d, off, len);
	if (!now || d->how != LOST_WRITE)
		err = d->mem->ops->writev(d->mem, iov, n, off);
	pthread_mutex_unlock(&d->lock);
	return err;
}

static int lost_flush(struct bdev *b)
{
	return 0;
}

static int lost_discard(struct bdev *b, uint64_t off, uint64_t len)
{
	return of(b)->mem->ops->discard(of(b)->mem, off, len);
}

static void lost_close(struct bdev *b)
{
	struct lostdev *d = of(b);

	pthread_mutex_destroy(&d->lock);
	free(d->old);
	free(d->stale);
	free(d);
}

static const struct bdev_ops lost_ops = {
	.readv = lost_readv,
	.writev = lost_writev,
	.flush = lost_flush,
	.discard = lost_discard,
	.close = lost_close,
};

struct bdev *lostdev_create(struct bdev *mem)
{
	struct lostdev *d = calloc(1, sizeof(*d));

	if (!d)
		abort();
	d->b = (struct bdev){ .ops = &lost_ops,
			      .name = "lostdev",
			      .size = mem->size,
			      .align = mem->align,
			      .max_io = mem->max_io,
			      .max_segs = mem->max_segs };
	d->mem = mem;
	pthread_mutex_init(&d->lock, NULL);
	return &d->b;
}

void lostdev_nth(struct bdev *b, uint64_t n, enum lost_how how)
{
	struct lostdev *d = of(b);

	pthread_mutex_lock(&d->lock);
	free(d->old);
	free(d->stale);
	d->old = NULL;
	d->stale = NULL;
	d->struck = false;
	d->writes = 0;
	d->nth = n;
	d->how = how;
	pthread_mutex_unlock(&d->lock);
}

uint64_t lostdev_writes(struct bdev *b)
{
	uint64_t n;

	pthread_mutex_lock(&of(b)->lock);
	n = of(b)->writes;
	pthread_mutex_unlock(&of(b)->lock);
	return n;
}

bool lostdev_struck(struct bdev *b, uint64_t *off, uint64_t *len)
{
	struct lostdev *d = of(b);
	bool struck;

	pthread_mutex_lock(&d->lock);
	struck = d->struck;
	*off = d->off;
	*len = d->len;
	pthread_mutex_unlock(&d->lock);
	return struck;
}
