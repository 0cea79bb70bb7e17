/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include "tests/lib/thindev.h"

#define UNIT 4096u

struct thindev {
	struct bdev b;
	struct bdev *lower;
	pthread_mutex_t lock;
	uint8_t *has; /* one byte for each UNIT */
	uint64_t units, taken, room;
	uint64_t refused_writes, refused_provisions;
	bool no_provision;
};

static struct thindev *of(struct bdev *b)
{
	return container_of(b, struct thindev, b);
}

static int take(struct thindev *d, uint64_t off, uint64_t len, uint64_t *refused)
{
	uint64_t from = off / UNIT, to = div_up(off + len, UNIT), need = 0, i;
	int err = 0;

	pthread_mutex_lock(&d->lock);
	for (i = from; i < to; i++)
		need += !d->has[i];
	if (need * UNIT > d->room) {
		err = -ENOSPC;
		++*refused;
	} else {
		memset(d->has + from, 1, to - from);
		d->taken += need;
		d->room -= need * UNIT;
	}
	pthread_mutex_unlock(&d->lock);
	return err;
}

static int host_readv(struct bdev *b, const struct iovec *iov, int n, uint64_t off)
{
	return of(b)->lower->ops->readv(of(b)->lower, iov, n, off);
}

static int host_writev(struct bdev *b, const struct iovec *iov, int n, uint64_t off)
{
	struct thindev *d = of(b);
	uint64_t len = 0;
	int i, err;

	for (i = 0; i < n; i++)
		len += iov[i].iov_len;
	err = take(d, off, len, &d->refused_writes);
	return err ? err : d->lower->ops->writev(d->lower, iov, n, off);
}

static int host_flush(struct bdev *b)
{
	return of(b)->lower->ops->flush(of(b)->lower);
}

static void drop(struct thindev *d, uint64_t unit)
{
	if (!d->has[unit])
		return;
	d->has[unit] = 0;
	d->taken--;
	d->room += UNIT;
	memset((char *)bdev_mem_data(d->lower) + unit * UNIT, 0, UNIT);
}

static int host_discard(struct bdev *b, uint64_t off, uint64_t len)
{
	struct thindev *d = of(b);
	uint64_t i;

	pthread_mutex_lock(&d->lock);
	for (i = div_up(off, UNIT); i < (off + len) / UNIT; i++)
		drop(d, i);
	pthread_mutex_unlock(&d->lock);
	return 0;
}

static int host_provision(struct bdev *b, uint64_t off, uint64_t len)
{
	struct thindev *d = of(b);

	return d->no_provision ? -EOPNOTSUPP : take(d, off, len, &d->refused_provisions);
}

static int host_backed(struct bdev *b, uint64_t off, uint64_t end, uint64_t *start, uint64_t *stop)
{
	struct thindev *d = of(b);
	uint64_t i = off / UNIT;

	pthread_mutex_lock(&d->lock);
	while (i * UNIT < end && !d->has[i])
		i++;
	*start = max_t(uint64_t, off, min_t(uint64_t, i * UNIT, end));
	while (i * UNIT < end && d->has[i])
		i++;
	*stop = max_t(uint64_t, *start, min_t(uint64_t, i * UNIT, end));
	pthread_mutex_unlock(&d->lock);
	return 0;
}

static int host_usage(struct bdev *b, struct bdev_usage *u)
{
	struct thindev *d = of(b);

	pthread_mutex_lock(&d->lock);
	*u = (struct bdev_usage){ .taken = d->taken * UNIT, .free = d->room, .avail = d->room };
	pthread_mutex_unlock(&d->lock);
	return 0;
}

static void host_close(struct bdev *b)
{
	struct thindev *d = of(b);

	bdev_close(d->lower);
	pthread_mutex_destroy(&d->lock);
	free(d->has);
	free(d);
}

static const struct bdev_ops host_ops = {
	.readv = host_readv,
	.writev = host_writev,
	.flush = host_flush,
	.discard = host_discard,
	.provision = host_provision,
	.backed = host_backed,
	.usage = host_usage,
	.close = host_close,
};

struct bdev *thindev_create(struct bdev *lower, uint64_t room)
{
	struct thindev *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	d->units = div_up(lower->size, UNIT);
	d->has = calloc(d->units, 1);
	if (!d->has) {
		free(d);
		return NULL;
	}
	d->b = (struct bdev){
		.ops = &host_ops,
		.name = "thindev",
		.size = lower->size,
		.align = lower->align,
		.max_io = lower->max_io,
		.max_segs = lower->max_segs,
		.thin = true,
	};
	d->lower = lower;
	d->room = room;
	pthread_mutex_init(&d->lock, NULL);
	return &d->b;
}

void thindev_set_room(struct bdev *b, uint64_t room)
{
	pthread_mutex_lock(&of(b)->lock);
	of(b)->room = room;
	pthread_mutex_unlock(&of(b)->lock);
}

void thindev_no_provision(struct bdev *b)
{
	of(b)->no_provision = true;
}

void thindev_sparsify(struct bdev *b)
{
	struct thindev *d = of(b);
	static const char zeros[UNIT];
	uint64_t i;

	pthread_mutex_lock(&d->lock);
	for (i = 0; i < d->units; i++)
		if (!memcmp((char *)bdev_mem_data(d->lower) + i * UNIT, zeros, UNIT))
			drop(d, i);
	pthread_mutex_unlock(&d->lock);
}

uint64_t thindev_refused_writes(struct bdev *b)
{
	return of(b)->refused_writes;
}

uint64_t thindev_refused_provisions(struct bdev *b)
{
	return of(b)->refused_provisions;
}

uint64_t thindev_taken(struct bdev *b)
{
	return of(b)->taken * UNIT;
}
