/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "tests/lib/crashdev.h"
#include "tests/lib/random.h"
#include "tests/lib/submit_inline.h"
#include "tests/lib/undodev.h"

/* EV_RETURN: nothing but a moment at which one of the others returned. */
enum event_kind { EV_WRITE, EV_FUA, EV_DISCARD, EV_FLUSH, EV_RETURN };

struct event {
	enum event_kind kind;
	uint64_t off, len;
	uint64_t done; /* events recorded by the time it had returned */
	uint8_t *data;
};

#define UNDER_WAY 64

struct crashdev {
	struct bdev bdev;
	uint8_t *live; /* what reads see */
	uint8_t *base; /* the first @base_events events, all of which flushes have confirmed */
	uint64_t base_events; /* as of the last cut asked for */
	uint64_t flushed;     /* number of the last flush that had returned by then, or 0 */
	struct event *events;
	uint64_t nr, cap, flushes;
	unsigned int lose_nth;
	bool fua;
	unsigned int max_usec; /* a request takes; 0: none is under way beside another */
	uint64_t rng, under_way[UNDER_WAY], overlaps;
	unsigned int nr_under_way;
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

static uint64_t record(struct crashdev *cd, enum event_kind kind, uint64_t off, uint64_t len)
{
	if (cd->nr == cd->cap) {
		cd->cap = cd->cap ? cd->cap * 2 : 1024;
		cd->events = must(realloc(cd->events, cd->cap * sizeof(*cd->events)));
	}
	cd->events[cd->nr] =
		(struct event){ .kind = kind, .off = off, .len = len, .done = UINT64_MAX };
	return cd->nr++;
}

static void note_overlaps(struct crashdev *cd, uint64_t off, uint64_t len)
{
	for (unsigned int i = 0; i < cd->nr_under_way; i++) {
		const struct event *e = &cd->events[cd->under_way[i]];

		if (off < e->off + e->len && e->off < off + len)
			cd->overlaps++;
	}
}

/* A request begins, and takes its time without the lock.  Its number. */
static uint64_t begin(struct crashdev *cd, enum event_kind kind, uint64_t off, uint64_t len)
{
	uint64_t i;

	note_overlaps(cd, off, len);
	i = record(cd, kind, off, len);
	if (cd->max_usec) {
		if (cd->nr_under_way == UNDER_WAY)
			abort();
		cd->under_way[cd->nr_under_way++] = i;
	}
	return i;
}

/* For a while, or for none. */
static void take_time(struct crashdev *cd)
{
	struct timespec ts = { 0 };
	uint64_t r;

	if (!cd->max_usec)
		return;
	r = test_rand(&cd->rng);
	ts.tv_nsec = (long)(1000 * (r >> 8) % (1000 * cd->max_usec));
	pthread_mutex_unlock(&cd->lock);
	if (r % 4)
		nanosleep(&ts, NULL);
	pthread_mutex_lock(&cd->lock);
}

static void end(struct crashdev *cd, uint64_t i)
{
	if (!cd->max_usec) {
		cd->events[i].done = i + 1;
		return;
	}
	for (unsigned int k = 0; k < cd->nr_under_way; k++)
		if (cd->under_way[k] == i)
			cd->under_way[k] = cd->under_way[--cd->nr_under_way];
	record(cd, EV_RETURN, 0, 0);
	cd->events[i].done = cd->nr;
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
	uint64_t len = 0, at = 0, i;
	uint8_t *data;

	for (int k = 0; k < n; k++)
		len += iov[k].iov_len;
	data = must(malloc(len));
	for (int k = 0; k < n; at += iov[k++].iov_len)
		memcpy(data + at, iov[k].iov_base, iov[k].iov_len);
	pthread_mutex_lock(&cd->lock);
	i = begin(cd, kind, off, len);
	cd->events[i].data = data;
	take_time(cd);
	memcpy(cd->live + off, data, len);
	end(cd, i);
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
	if (!cd->lose_nth || cd->flushes % cd->lose_nth) {
		uint64_t i = begin(cd, EV_FLUSH, 0, 0);

		take_time(cd);
		end(cd, i);
	}
	pthread_mutex_unlock(&cd->lock);
	return 0;
}

static int crash_discard(struct bdev *b, uint64_t off, uint64_t len)
{
	struct crashdev *cd = to_crashdev(b);
	uint64_t i;

	pthread_mutex_lock(&cd->lock);
	i = begin(cd, EV_DISCARD, off, len);
	take_time(cd);
	memset(cd->live + off, 0xdd, len);
	end(cd, i);
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
	cd->flushed = 0;
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

void crashdev_take_time(struct crashdev *cd, unsigned int max_usec, uint64_t seed)
{
	cd->max_usec = max_usec;
	cd->rng = seed | 1;
}

uint64_t crashdev_overlaps(struct crashdev *cd)
{
	return cd->overlaps;
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
	if (e->kind == EV_WRITE || e->kind == EV_FUA || e->kind == EV_DISCARD)
		for (uint64_t o = 0; o < e->len; o++)
			image[e->off + o] = (uint8_t)(test_rand(rng) >> 56);
}

/* Had event @i returned before the last flush that had returned was sent? */
static bool confirmed(const struct crashdev *cd, uint64_t i)
{
	return cd->events[i].done <= cd->flushed;
}

static void apply_confirmed(struct crashdev *cd, uint64_t cut, uint8_t *out)
{
	for (uint64_t i = cd->base_events; i < cut; i++)
		if (confirmed(cd, i))
			apply(out, &cd->events[i]);
}

/* Has event @i returned a promise that no flush need confirm?  Where returns are no events, the cut
 * may have come before that of the last. */
static bool promised(const struct crashdev *cd, uint64_t i, uint64_t cut)
{
	return cd->events[i].kind == EV_FUA && cd->events[i].done + !cd->max_usec <= cut;
}

/* Whatever became of the rest.  (What a flush has confirmed too has its place before what was
 * written there since.) */
static void apply_promised(struct crashdev *cd, uint64_t cut, uint8_t *out)
{
	for (uint64_t i = cd->base_events; i < cut; i++)
		if (promised(cd, i, cut) && !confirmed(cd, i))
			apply(out, &cd->events[i]);
}

static void apply_subset(struct crashdev *cd, uint64_t cut, bool torn, uint64_t *rng, uint8_t *out)
{
	uint64_t from = cd->base_events, nr = 0, tear;
	uint64_t *order = must(malloc((cut - from + 1) * sizeof(*order)));

	for (uint64_t i = from; i < cut; i++)
		if (!confirmed(cd, i) && test_rand(rng) & 1)
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

/* Put into @base what the flushes among the first @events have confirmed, up to the first event
 * that they have not. */
static void settle(struct crashdev *cd, uint64_t events)
{
	for (uint64_t i = cd->base_events; i < events; i++)
		if (cd->events[i].kind == EV_FLUSH && cd->events[i].done <= events)
			cd->flushed = i;
	for (; cd->base_events <= cd->flushed && cd->base_events < events; cd->base_events++) {
		struct event *e = &cd->events[cd->base_events];

		if (e->kind != EV_FLUSH && e->kind != EV_RETURN && !confirmed(cd, cd->base_events))
			break;
		apply(cd->base, e);
		free(e->data);
		e->data = NULL;
	}
}

void crashdev_settle(struct crashdev *cd, uint64_t events)
{
	pthread_mutex_lock(&cd->lock);
	settle(cd, events);
	pthread_mutex_unlock(&cd->lock);
}

/* @out holds the first @base_events events. */
static void add_pending(struct crashdev *cd, uint64_t cut, enum crash_mode mode, uint64_t *rng,
			uint8_t *out)
{
	if (mode == CRASH_ALL) {
		for (uint64_t i = cd->base_events; i < cut; i++)
			apply(out, &cd->events[i]);
		return;
	}
	apply_confirmed(cd, cut, out);
	if (mode == CRASH_SUBSET || mode == CRASH_TORN)
		apply_subset(cd, cut, mode == CRASH_TORN, rng, out);
	for (uint64_t i = cd->base_events; mode == CRASH_RUINED && i < cut; i++)
		if (!confirmed(cd, i))
			apply_ruin(out, &cd->events[i], rng);
	apply_promised(cd, cut, out);
}

void crashdev_image(struct crashdev *cd, uint64_t events, enum crash_mode mode, uint64_t *rng,
		    void *out)
{
	pthread_mutex_lock(&cd->lock);
	settle(cd, events);
	memcpy(out, cd->base, cd->bdev.size);
	add_pending(cd, events, mode, rng, out);
	pthread_mutex_unlock(&cd->lock);
}

void crashdev_image_onto(struct crashdev *cd, uint64_t events, enum crash_mode mode, uint64_t *rng,
			 struct bdev *undodev)
{
	uint8_t *out = undodev_data(undodev);

	pthread_mutex_lock(&cd->lock);
	settle(cd, events);
	for (uint64_t i = 0; i < events; i++) {
		const struct event *e = &cd->events[i];

		undodev_touch(undodev, e->off, e->len);
		if (i < cd->base_events)
			memcpy(out + e->off, cd->base + e->off, e->len);
	}
	add_pending(cd, events, mode, rng, out);
	pthread_mutex_unlock(&cd->lock);
}
