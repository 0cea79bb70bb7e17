/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <pthread.h>
#include <unistd.h>
#include "tests/lib/faultdev.h"

#define MAX_FAULTS 64

struct fault {
	enum fault_kind kind;
	uint64_t off, len;
	int count; /* 0: unused */
	unsigned int usec;
};

struct faultdev {
	struct bdev b;
	struct bdev *lower;
	pthread_mutex_t lock;
	struct fault faults[MAX_FAULTS];
	atomic_ullong nr_reads, nr_writes;
	pthread_cond_t cleared;
	unsigned int clears, stalled; /* under lock */
	/* the N-th I/O, see faultdev_nth(); under lock */
	uint64_t nth; /* 0: none, or it has come */
	enum nth_fault nth_how;
	bool nth_sticky, nth_struck, nth_write;
	uint64_t nth_off, nth_len;
};

static struct faultdev *of(struct bdev *b)
{
	return container_of(b, struct faultdev, b);
}

static uint64_t iov_bytes(const struct iovec *iov, int n)
{
	uint64_t len = 0;

	while (n--)
		len += iov[n].iov_len;
	return len;
}

/* Does a fault of this kind strike?  Lock held. */
static bool strike_locked(struct faultdev *d, enum fault_kind kind, uint64_t off, uint64_t len,
			  struct fault *hit)
{
	bool found = false;
	int i;

	for (i = 0; i < MAX_FAULTS && !found; i++) {
		struct fault *f = &d->faults[i];

		if (!f->count || f->kind != kind || off >= f->off + f->len || f->off >= off + len)
			continue;
		*hit = *f;
		if (f->count > 0)
			f->count--;
		found = true;
	}
	return found;
}

static bool strike(struct faultdev *d, enum fault_kind kind, uint64_t off, uint64_t len,
		   struct fault *hit)
{
	bool found;

	pthread_mutex_lock(&d->lock);
	found = strike_locked(d, kind, off, len, hit);
	pthread_mutex_unlock(&d->lock);
	return found;
}

static void maybe_stall(struct faultdev *d, enum fault_kind kind, uint64_t off, uint64_t len)
{
	unsigned int clears;
	struct fault f;

	pthread_mutex_lock(&d->lock);
	clears = d->clears;
	if (strike_locked(d, kind, off, len, &f)) {
		d->stalled++;
		while (clears == d->clears)
			pthread_cond_wait(&d->cleared, &d->lock);
		d->stalled--;
	}
	pthread_mutex_unlock(&d->lock);
}

static void flip(const struct iovec *iov, int n, uint64_t at)
{
	for (int i = 0; i < n; i++) {
		if (at < iov[i].iov_len) {
			((unsigned char *)iov[i].iov_base)[at] ^= 4;
			return;
		}
		at -= iov[i].iov_len;
	}
}

/* Is this the N-th, or does it touch what the N-th has spoilt? */
static bool nth_strikes(struct faultdev *d, bool write, uint64_t off, uint64_t len)
{
	bool hit = false;

	pthread_mutex_lock(&d->lock);
	if (d->nth && !--d->nth) {
		d->nth_struck = hit = true;
		d->nth_write = write;
		d->nth_off = off;
		d->nth_len = len;
	} else if (d->nth_struck && d->nth_sticky && d->nth_write == write) {
		hit = off < d->nth_off + d->nth_len && d->nth_off < off + len;
	}
	pthread_mutex_unlock(&d->lock);
	return hit;
}

/* The front half of @iov, as one piece after the other; returns what the device says to that. */
static int transfer_half(struct faultdev *d, const struct iovec *iov, int n, uint64_t off,
			 bool write)
{
	uint64_t left = iov_bytes(iov, n) / 2 & ~(uint64_t)(d->lower->align - 1);
	int err = 0;

	for (int i = 0; i < n && left && !err; i++) {
		struct iovec part = { iov[i].iov_base, min_t(uint64_t, iov[i].iov_len, left) };

		err = write ? d->lower->ops->writev(d->lower, &part, 1, off)
			    : d->lower->ops->readv(d->lower, &part, 1, off);
		off += part.iov_len;
		left -= part.iov_len;
	}
	return err ? err : -EIO;
}

static int nth_read(struct faultdev *d, const struct iovec *iov, int n, uint64_t off)
{
	int err;

	if (d->nth_how == NTH_ERROR)
		return -EIO;
	if (d->nth_how == NTH_SHORT)
		return transfer_half(d, iov, n, off, false);
	err = d->lower->ops->readv(d->lower, iov, n, off);
	if (!err)
		flip(iov, n, iov_bytes(iov, n) / 2);
	return err;
}

static int nth_write(struct faultdev *d, const struct iovec *iov, int n, uint64_t off)
{
	uint64_t at = off + iov_bytes(iov, n) / 2;
	unsigned char *data;
	int err;

	if (d->nth_how == NTH_ERROR)
		return -EIO;
	if (d->nth_how == NTH_SHORT)
		return transfer_half(d, iov, n, off, true);
	err = d->lower->ops->writev(d->lower, iov, n, off);
	data = bdev_mem_data(d->lower);
	if (!err)
		data[at] ^= 4;
	return err;
}

static int fault_readv(struct bdev *b, const struct iovec *iov, int n, uint64_t off)
{
	struct faultdev *d = of(b);
	uint64_t len = iov_bytes(iov, n);
	struct fault f;
	int err;

	atomic_fetch_add(&d->nr_reads, 1);
	if (strike(d, FAULT_DELAY, off, len, &f))
		usleep(f.usec);
	maybe_stall(d, FAULT_READ_STALL, off, len);
	if (strike(d, FAULT_READ_EIO, off, len, &f))
		return -EIO;
	if (nth_strikes(d, false, off, len))
		return nth_read(d, iov, n, off);
	err = d->lower->ops->readv(d->lower, iov, n, off);
	if (!err && strike(d, FAULT_READ_FLIP, off, len, &f))
		flip(iov, n, f.off > off ? f.off - off : 0);
	return err;
}

static int fault_writev(struct bdev *b, const struct iovec *iov, int n, uint64_t off)
{
	struct faultdev *d = of(b);
	uint64_t len = iov_bytes(iov, n);
	struct fault f;

	atomic_fetch_add(&d->nr_writes, 1);
	if (strike(d, FAULT_DELAY, off, len, &f))
		usleep(f.usec);
	maybe_stall(d, FAULT_WRITE_STALL, off, len);
	if (strike(d, FAULT_WRITE_EIO, off, len, &f))
		return -EIO;
	if (nth_strikes(d, true, off, len))
		return nth_write(d, iov, n, off);
	return d->lower->ops->writev(d->lower, iov, n, off);
}

static int fault_flush(struct bdev *b)
{
	struct fault f;

	if (strike(of(b), FAULT_FLUSH_DELAY, 0, UINT64_MAX, &f))
		usleep(f.usec);
	maybe_stall(of(b), FAULT_FLUSH_STALL, 0, UINT64_MAX);
	return of(b)->lower->ops->flush(of(b)->lower);
}

static int fault_discard(struct bdev *b, uint64_t off, uint64_t len)
{
	return of(b)->lower->ops->discard(of(b)->lower, off, len);
}

static void fault_close(struct bdev *b)
{
	bdev_close(of(b)->lower);
	pthread_cond_destroy(&of(b)->cleared);
	pthread_mutex_destroy(&of(b)->lock);
	tl_free(of(b));
}

static const struct bdev_ops fault_ops = {
	.readv = fault_readv,
	.writev = fault_writev,
	.flush = fault_flush,
	.discard = fault_discard,
	.close = fault_close,
};

struct bdev *faultdev_create(struct bdev *lower)
{
	struct faultdev *d = tl_zalloc(sizeof(*d));

	if (!d)
		return NULL;
	d->b.ops = &fault_ops;
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

void faultdev_add(struct bdev *b, enum fault_kind kind, uint64_t off, uint64_t len, int count,
		  unsigned int usec)
{
	struct faultdev *d = of(b);

	pthread_mutex_lock(&d->lock);
	for (int i = 0; i < MAX_FAULTS; i++) {
		if (!d->faults[i].count) {
			d->faults[i] = (struct fault){ kind, off, len, count, usec };
			break;
		}
	}
	pthread_mutex_unlock(&d->lock);
}

void faultdev_clear(struct bdev *b)
{
	struct faultdev *d = of(b);

	pthread_mutex_lock(&d->lock);
	for (int i = 0; i < MAX_FAULTS; i++)
		d->faults[i].count = 0;
	d->clears++;
	pthread_cond_broadcast(&d->cleared);
	d->nth = 0;
	d->nth_struck = false;
	pthread_mutex_unlock(&d->lock);
}

void faultdev_nth(struct bdev *b, uint64_t n, enum nth_fault how, bool sticky)
{
	struct faultdev *d = of(b);

	pthread_mutex_lock(&d->lock);
	d->nth = n;
	d->nth_how = how;
	d->nth_sticky = sticky;
	d->nth_struck = false;
	pthread_mutex_unlock(&d->lock);
}

unsigned int faultdev_stalled(struct bdev *b)
{
	unsigned int n;

	pthread_mutex_lock(&of(b)->lock);
	n = of(b)->stalled;
	pthread_mutex_unlock(&of(b)->lock);
	return n;
}

bool faultdev_nth_struck(struct bdev *b)
{
	bool struck;

	pthread_mutex_lock(&of(b)->lock);
	struck = of(b)->nth_struck;
	pthread_mutex_unlock(&of(b)->lock);
	return struck;
}

uint64_t faultdev_reads(struct bdev *b)
{
	return atomic_load(&of(b)->nr_reads);
}

uint64_t faultdev_writes(struct bdev *b)
{
	return atomic_load(&of(b)->nr_writes);
}
