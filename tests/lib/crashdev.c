/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include "tests/lib/crashdev.h"
#include "tests/lib/random.h"
#include "tests/lib/submit_inline.h"
#include "tests/lib/undodev.h"

enum event_kind { EV_WRITE, EV_FUA, EV_DISCARD, EV_FLUSH };

struct event {
	enum event_kind kind;
	uint64_t off, len;
	uint8_t *data;
};

struct crashdev {
	struct bdev bdev;
	uint8_t *live;	      /* what reads see */
	uint8_t *base;	      /* everything up to the flush at or before the last cut asked for */
	uint64_t base_events; /* events in @base */
	struct event *events;
	uint64_t nr, cap, flushes;
	unsigned int lose_nth;
	bool fua;
	pthread_mutex_t lock;
};

static struct crashdev *to_crashdev(struct bdev *b)
{
	return container_of(b, struct crashdev, bdev);
}

/* Tests have memory, or they may die. */
static void *must(void *p)
{
	if (!p)
		abort();
	return p;
}

static void record(struct crashdev *cd, enum event_kind kind, uint64_t off, uint64_t len)
{
	struct event *e;

	if (cd->nr == cd->cap) {
		cd->cap = cd->cap ? cd->cap * 2 : 1024;
		cd->events = must(realloc(cd->events, cd->cap * sizeof(*cd->events)));
	}
	e = &cd->events[cd->nr++];
	*e = (struct event){ .kind = kind, .off = off, .len = len };
	if (kind == EV_WRITE || kind == EV_FUA) {
		e->data = must(malloc(len));
		memcpy(e->data, cd->live + off, len);
	}
}

static int crash_readv(struct bdev *b, const struct iovec *iov, int n, uint64_t off)
{
	struct crashdev *cd = to_crashdev(b);

	pthread_mutex_lock(&cd->lock);
	for (int i = 0; i < n; off += iov[i++].iov_len)
		memcpy(iov[i].iov_base, cd->live + off, iov[i].iov_len);
	pthread_mutex_unlock(&cd->lock);
	return 0;
}

static int write_as(struct crashdev *cd, enum event_kind kind, const struct iovec *iov, int n,
		    uint64_t off)
{
	uint64_t start = off;

	pthread_mutex_lock(&cd->lock);
	for (int i = 0; i < n; off += iov[i++].iov_len)
		memcpy(cd->live + off, iov[i].iov_base, iov[i].iov_len);
	record(cd, kind, start, off - start);
	pthread_mutex_unlock(&cd->lock);
	return 0;
}

static int crash_writev(struct bdev *b, const struct iovec *iov, int n, uint64_t off)
{
	return write_as(to_crashdev(b), EV_WRITE, iov, n, off);
}

static int crash_writev_fua(struct bdev *b, const struct iovec *iov, int n, uint64_t off)
{
	struct crashdev *cd = to_crashdev(b);

	return cd->fua ? write_as(cd, EV_FUA, iov, n, off) : -EOPNOTSUPP;
}

static int crash_flush(struct bdev *b)
{
	struct crashdev *cd = to_crashdev(b);

	pthread_mutex_lock(&cd->lock);
	cd->flushes++;
	if (!cd->lose_nth || cd->flushes % cd->lose_nth)
		record(cd, EV_FLUSH, 0, 0);
	pthread_mutex_unlock(&cd->lock);
	return 0;
}

static int crash_discard(struct bdev *b, uint64_t off, uint64_t len)
{
	struct crashdev *cd = to_crashdev(b);

	pthread_mutex_lock(&cd->lock);
	memset(cd->live + off, 0xdd, len);
	record(cd, EV_DISCARD, off, len);
	pthread_mutex_unlock(&cd->lock);
	return 0;
}

static void crash_close(struct bdev *b)
{
}

static const struct bdev_ops crash_ops = {
	.readv = crash_readv,
	.writev = crash_writev,
	.writev_fua = crash_writev_fua,
	.flush = crash_flush,
	.discard = crash_discard,
	.close = crash_close,
};

static const struct bdev_ops inline_ops = {
	.readv = crash_readv,
	.writev = crash_writev,
	.writev_fua = crash_writev_fua,
	.flush = crash_flush,
	.discard = crash_discard,
	.submit = submit_inline,
	.close = crash_close,
};

struct crashdev *crashdev_create(const void *image, uint64_t bytes)
{
	struct crashdev *cd = must(calloc(1, sizeof(*cd)));

	cd->bdev = (struct bdev){ .ops = &crash_ops,
				  .name = "crashdev",
				  .size = bytes,
				  .align = 512,
				  .max_io = 1u << 20,
				  .max_segs = 256 };
	cd->live = must(aligned_alloc(4096, bytes));
	cd->base = must(malloc(bytes));
	memcpy(cd->live, image, bytes);
	memcpy(cd->base, image, bytes);
	pthread_mutex_init(&cd->lock, NULL);
	return cd;
}

void crashdev_destroy(struct crashdev *cd)
{
	for (uint64_t i = 0; i < cd->nr; i++)
		free(cd->events[i].data);
	free(cd->events);
	free(cd->live);
	free(cd->base);
	pthread_mutex_destroy(&cd->lock);
	free(cd);
}

struct bdev *crashdev_bdev(struct crashdev *cd)
{
	return &cd->bdev;
}

void crashdev_submit_inline(struct crashdev *cd)
{
	cd->bdev.ops = &inline_ops;
}

void crashdev_reset(struct crashdev *cd, const void *image)
{
	for (uint64_t i = 0; i < cd->nr; i++) {
		const struct event *e = &cd->events[i];

		memcpy(cd->live + e->off, (const uint8_t *)image + e->off, e->len);
		memcpy(cd->base + e->off, (const uint8_t *)image + e->off, e->len);
		free(e->data);
	}
	cd->nr = 0;
	cd->base_events = 0;
	cd->flushes = 0;
}

void crashdev_allow_fua(struct crashdev *cd, bool fua)
{
	cd->fua = fua;
}

void crashdev_lose_flushes(struct crashdev *cd, unsigned int nth)
{
	cd->lose_nth = nth;
}

uint64_t crashdev_events(struct crashdev *cd)
{
	uint64_t n;

	pthread_mutex_lock(&cd->lock);
	n = cd->nr;
	pthread_mutex_unlock(&cd->lock);
	return n;
}

static void apply(uint8_t *image, const struct event *e)
{
	if (e->kind == EV_WRITE || e->kind == EV_FUA)
		memcpy(image + e->off, e->data, e->len);
	else if (e->kind == EV_DISCARD)
		memset(image + e->off, 0xdd, e->len);
}

/* Any set of the event's sectors may have arrived. */
static void apply_torn(uint8_t *image, const struct event *e, uint64_t *rng)
{
	if (e->kind != EV_WRITE && e->kind != EV_FUA)
		return;
	for (uint64_t o = 0; o < e->len; o += SECTOR_SIZE)
		if (test_rand(rng) & 1)
			memcpy(image + e->off + o, e->data + o,
			       min_t(uint64_t, SECTOR_SIZE, e->len - o));
}

/* Sectors whose write the cut interrupted: neither old nor new. */
static void apply_ruin(uint8_t *image, const struct event *e, uint64_t *rng)
{
	if (e->kind != EV_FLUSH)
		for (uint64_t o = 0; o < e->len; o++)
			image[e->off + o] = (uint8_t)(test_rand(rng) >> 56);
}

/* Has event @i, of a power cut after @cut events, returned a promise that no flush need confirm?
 * The last may not have. */
static bool promised(const struct crashdev *cd, uint64_t i, uint64_t cut)
{
	return cd->events[i].kind == EV_FUA && i + 1 < cut;
}

/* Whatever became of the rest. */
static void apply_promised(struct crashdev *cd, uint64_t from, uint64_t cut, uint8_t *out)
{
	for (uint64_t i = from; i < cut; i++)
		if (promised(cd, i, cut))
			apply(out, &cd->events[i]);
}

static void apply_subset(struct crashdev *cd, uint64_t from, uint64_t to, bool torn, uint64_t *rng,
			 uint8_t *out)
{
	uint64_t *order = must(malloc((to - from + 1) * sizeof(*order))), nr = 0, tear;

	for (uint64_t i = from; i < to; i++)
		if (test_rand(rng) & 1)
			order[nr++] = i;
	for (uint64_t i = nr; i > 1; i--) {
		uint64_t j = test_rand(rng) % i, x = order[i - 1];

		order[i - 1] = order[j];
		order[j] = x;
	}
	tear = nr && torn ? test_rand(rng) % nr : UINT64_MAX;
	for (uint64_t i = 0; i < nr; i++) {
		if (i == tear)
			apply_torn(out, &cd->events[order[i]], rng);
		else
			apply(out, &cd->events[order[i]]);
	}
	free(order);
}

/* Put into @base what the flushes among the first @events have confirmed.  How many that is. */
static uint64_t settle(struct crashdev *cd, uint64_t events)
{
	uint64_t flushed = cd->base_events;

	for (uint64_t i = cd->base_events; i < events; i++)
		if (cd->events[i].kind == EV_FLUSH)
			flushed = i + 1;
	for (; cd->base_events < flushed; cd->base_events++) {
		struct event *e = &cd->events[cd->base_events];

		apply(cd->base, e);
		free(e->data);
		e->data = NULL;
	}
	return flushed;
}

void crashdev_settle(struct crashdev *cd, uint64_t events)
{
	pthread_mutex_lock(&cd->lock);
	settle(cd, events);
	pthread_mutex_unlock(&cd->lock);
}

/* @out holds what was confirmed. */
static void add_pending(struct crashdev *cd, uint64_t flushed, uint64_t events,
			enum crash_mode mode, uint64_t *rng, uint8_t *out)
{
	if (mode == CRASH_ALL)
		for (uint64_t i = flushed; i < events; i++)
			apply(out, &cd->events[i]);
	else if (mode == CRASH_RUINED)
		for (uint64_t i = flushed; i < events; i++)
			apply_ruin(out, &cd->events[i], rng);
	else if (mode != CRASH_NONE)
		apply_subset(cd, flushed, events, mode == CRASH_TORN, rng, out);
	if (mode != CRASH_ALL)
		apply_promised(cd, flushed, events, out);
}

void crashdev_image(struct crashdev *cd, uint64_t events, enum crash_mode mode, uint64_t *rng,
		    void *out)
{
	uint64_t flushed;

	pthread_mutex_lock(&cd->lock);
	flushed = settle(cd, events);
	memcpy(out, cd->base, cd->bdev.size);
	add_pending(cd, flushed, events, mode, rng, out);
	pthread_mutex_unlock(&cd->lock);
}

void crashdev_image_onto(struct crashdev *cd, uint64_t events, enum crash_mode mode, uint64_t *rng,
			 struct bdev *undodev)
{
	uint8_t *out = undodev_data(undodev);
	uint64_t flushed;

	pthread_mutex_lock(&cd->lock);
	flushed = settle(cd, events);
	for (uint64_t i = 0; i < events; i++) {
		const struct event *e = &cd->events[i];

		undodev_touch(undodev, e->off, e->len);
		if (i < flushed)
			memcpy(out + e->off, cd->base + e->off, e->len);
	}
	add_pending(cd, flushed, events, mode, rng, out);
	pthread_mutex_unlock(&cd->lock);
}
