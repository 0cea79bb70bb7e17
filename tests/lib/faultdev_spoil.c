/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "tests/lib/faultdev_priv.h"

static void copy_iov(uint8_t *flat, const struct iovec *iov, int n, bool from_iov)
{
	for (int i = 0; i < n; flat += iov[i++].iov_len) {
		if (from_iov)
			memcpy(flat, iov[i].iov_base, iov[i].iov_len);
		else
			memcpy(iov[i].iov_base, flat, iov[i].iov_len);
	}
}

/* ---- the device below ---- */

static int lower_io(const struct command *c, const struct iovec *iov, int n, uint64_t off)
{
	struct bdev *l = c->d->lower;

	if (c->op == FAULT_READ)
		return l->ops->readv(l, iov, n, off);
	return c->fua ? l->ops->writev_fua(l, iov, n, off) : l->ops->writev(l, iov, n, off);
}

int faultdev_pass(const struct command *c)
{
	return lower_io(c, c->iov, c->n, c->off);
}

static int lower_buf(const struct command *c, uint8_t *buf, uint64_t len, uint64_t off)
{
	struct iovec iov = { buf, len };

	return len ? lower_io(c, &iov, 1, off) : 0;
}

/* What a write carries; or for what a read brings, or what the medium holds, room. */
static uint8_t *flat_buf(const struct command *c, bool filled)
{
	uint8_t *buf = faultdev_must(aligned_alloc(4096, round_up_to(c->len + 1, 4096)));

	if (filled)
		copy_iov(buf, c->iov, c->n, true);
	return buf;
}

/* What is on the medium where @c writes, and whether that is anything else. */
static uint8_t *medium(const struct command *c, bool *differs)
{
	struct command rd = { .d = c->d, .op = FAULT_READ, .len = c->len };
	uint8_t *old = flat_buf(&rd, false), *new = flat_buf(c, true);

	if (lower_buf(&rd, old, c->len, c->off))
		abort();
	*differs = memcmp(old, new, c->len);
	free(new);
	return old;
}

void faultdev_count_struck(struct faultdev *d, uint64_t off, uint64_t len)
{
	pthread_mutex_lock(&d->lock);
	d->struck++;
	d->struck_off = off;
	d->struck_len = len;
	pthread_mutex_unlock(&d->lock);
}

/* ---- stale sectors ---- */

void faultdev_free_stale(struct faultdev *d)
{
	while (d->stale) {
		struct stale *s = d->stale;

		d->stale = s->next;
		free(s->old);
		free(s->pending);
		free(s);
	}
}

/* The sector at device byte @at is read (@data: as it was before), or written.  Lock held. */
static void meet_stale(struct faultdev *d, uint64_t at, uint8_t *data)
{
	for (struct stale *s = d->stale; s; s = s->next) {
		uint64_t o = at - s->off;

		if (at < s->off || o >= s->len || !s->pending[o / SECTOR_SIZE])
			continue;
		s->pending[o / SECTOR_SIZE] = false;
		if (data)
			memcpy(data, s->old + o, SECTOR_SIZE);
	}
}

void faultdev_meet_stale(const struct command *c)
{
	uint64_t off = c->off;

	pthread_mutex_lock(&c->d->lock);
	for (int i = 0; c->d->stale && i < c->n; off += c->iov[i++].iov_len)
		for (uint64_t o = 0; o < c->iov[i].iov_len; o += SECTOR_SIZE)
			meet_stale(c->d, off + o,
				   c->op == FAULT_READ ? (uint8_t *)c->iov[i].iov_base + o : NULL);
	pthread_mutex_unlock(&c->d->lock);
}

/* ---- faults ---- */

static int do_short(const struct command *c, int says)
{
	uint64_t half = c->len / 2 & ~(uint64_t)(c->d->lower->align - 1);
	uint8_t *buf = flat_buf(c, c->op == FAULT_WRITE);
	int err = lower_buf(c, buf, half, c->off);

	if (!err && c->op == FAULT_READ) {
		struct iovec part;
		uint64_t o = 0;

		for (int i = 0; i < c->n && o < half; o += c->iov[i++].iov_len) {
			part = (struct iovec){ c->iov[i].iov_base,
					       min_t(uint64_t, c->iov[i].iov_len, half - o) };
			copy_iov(buf + o, &part, 1, false);
		}
	}
	free(buf);
	return err ? err : says;
}

static int do_flip(const struct command *c, const struct fault *f)
{
	uint8_t *buf = flat_buf(c, c->op == FAULT_WRITE);
	uint64_t at = !f->len ? c->len / 2 : f->off > c->off ? f->off - c->off : 0;
	int err = 0;

	/* a sticky one hits neighbours, too */
	if (at >= c->len)
		at = c->len / 2;
	if (c->op == FAULT_READ)
		err = lower_buf(c, buf, c->len, c->off);
	buf[at] ^= 4;
	if (c->op == FAULT_WRITE)
		err = lower_buf(c, buf, c->len, c->off);
	else if (!err)
		copy_iov(buf, c->iov, c->n, false);
	free(buf);
	return err;
}

/* The first @keep bytes arrive. */
static int do_tear(const struct command *c, uint64_t keep)
{
	uint8_t *buf = flat_buf(c, true);
	int err = lower_buf(c, buf, min_t(uint64_t, keep, c->len), c->off);

	free(buf);
	return err;
}

/* The next reads of sectors [first, first + nr) of what @c writes bring @instead. */
static int do_stale(const struct command *c, const uint8_t *instead, uint64_t first, uint64_t nr)
{
	struct stale *s = faultdev_must(calloc(1, sizeof(*s)));
	int err = faultdev_pass(c);

	s->off = c->off;
	s->len = c->len;
	s->old = faultdev_must(malloc(c->len));
	memcpy(s->old, instead, c->len);
	s->pending = faultdev_must(calloc(c->len / SECTOR_SIZE, 1));
	memset(s->pending + first, true, nr);
	pthread_mutex_lock(&c->d->lock);
	s->next = c->d->stale;
	c->d->stale = s;
	pthread_mutex_unlock(&c->d->lock);
	return err;
}

static int do_flip_once(const struct command *c)
{
	uint8_t *buf = flat_buf(c, true);
	int err;

	buf[c->len / 2] ^= 4;
	err = do_stale(c, buf, c->len / 2 / SECTOR_SIZE, 1);
	free(buf);
	return err;
}

/* Faults that make the medium other than it should be, if it would be. */
static int spoil_write(const struct command *c, const struct fault *f)
{
	bool differs;
	uint8_t *old = medium(c, &differs);
	int err;

	if (differs)
		faultdev_count_struck(c->d, c->off, c->len);
	if (!differs)
		err = faultdev_pass(c);
	else if (f->kind == FAULT_STALE)
		err = do_stale(c, old, 0, c->len / SECTOR_SIZE);
	else
		err = do_tear(c, f->kind == FAULT_TEAR ? f->at : 0);
	free(old);
	return err;
}

int faultdev_spoil(const struct command *c, const struct fault *f)
{
	bool lies = f->kind == FAULT_LOSE || f->kind == FAULT_STALE || f->kind == FAULT_TEAR;

	if (lies)
		return c->op == FAULT_WRITE ? spoil_write(c, f) : faultdev_pass(c);
	faultdev_count_struck(c->d, c->off, c->len);
	if (f->kind == FAULT_SHORT)
		return do_short(c, f->err ? f->err : -EIO);
	if (f->kind == FAULT_FLIP)
		return do_flip(c, f);
	if (f->kind == FAULT_FLIP_ONCE)
		return c->op == FAULT_WRITE ? do_flip_once(c) : faultdev_pass(c);
	if (f->kind == FAULT_MISDIRECT)
		return lower_io(c, c->iov, c->n, f->at);
	return f->err ? f->err : -EIO;
}
