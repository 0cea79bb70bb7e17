/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Log blocks: positions, checksums, and the two copies of the header. */
#include <errno.h>
#include <string.h>
#include "core/block/bdev.h"
#include "core/block/guard.h"
#include "core/lib/util.h"
#include "fs/disk/geom.h"
#include "fs/disk/log_ring.h"
#include "tallyfs/format.h"

void ring_init(struct log_ring *r, struct bdev *b, const struct tfs_super *super,
	       const struct tfs_geom *g)
{
	r->bdev = b;
	r->base = g->journal_start << g->blkbits;
	r->size = ((g->journal_blocks << g->blkbits) / TFS_LOG_BLOCK) - TFS_LOG_FIRST;
	r->seed = le64_get(super->seed);
}

uint64_t ring_next(const struct log_ring *r, uint64_t pos, uint64_t n)
{
	return TFS_LOG_FIRST + (pos - TFS_LOG_FIRST + n) % r->size;
}

/* Log blocks from @pos that lie behind one another on the device. */
static uint64_t straight(const struct log_ring *r, uint64_t pos, uint64_t n)
{
	return min_t(uint64_t, n, TFS_LOG_FIRST + r->size - pos);
}

int ring_read(const struct log_ring *r, uint64_t pos, uint64_t n, void *buf)
{
	uint64_t part;
	int err = 0;

	for (; n && !err; n -= part) {
		part = straight(r, pos, n);
		err = bdev_read(r->bdev, buf, part * TFS_LOG_BLOCK, r->base + pos * TFS_LOG_BLOCK);
		buf = (char *)buf + part * TFS_LOG_BLOCK;
		pos = ring_next(r, pos, part);
	}
	return err;
}

int ring_write(const struct log_ring *r, uint64_t pos, uint64_t n, const void *buf)
{
	uint64_t part;
	int err = 0;

	for (; n && !err; n -= part) {
		part = straight(r, pos, n);
		err = bdev_write(r->bdev, buf, part * TFS_LOG_BLOCK, r->base + pos * TFS_LOG_BLOCK);
		buf = (const char *)buf + part * TFS_LOG_BLOCK;
		pos = ring_next(r, pos, part);
	}
	return err;
}

int ring_write_durable(const struct log_ring *r, uint64_t pos, uint64_t n, const void *buf)
{
	bool flush = false;
	uint64_t i, off;
	int err = 0;

	for (i = 0; i < n && !err;
	     i++, pos = ring_next(r, pos, 1), buf = (const char *)buf + TFS_LOG_BLOCK) {
		off = r->base + pos * TFS_LOG_BLOCK;
		err = flush ? -EOPNOTSUPP : bdev_write_fua(r->bdev, buf, TFS_LOG_BLOCK, off);
		if (err != -EOPNOTSUPP)
			continue;
		flush = true;
		err = bdev_write(r->bdev, buf, TFS_LOG_BLOCK, off);
	}
	return !err && flush ? bdev_flush(r->bdev) : err;
}

int ring_end(const struct log_ring *r, uint64_t pos)
{
	void *zeros = tl_alloc_aligned(TFS_LOG_BLOCK, TFS_LOG_BLOCK);
	int err;

	if (!zeros)
		return -ENOMEM;
	memset(zeros, 0, TFS_LOG_BLOCK);
	err = ring_write(r, pos, 1, zeros);
	tl_free(zeros);
	return err;
}

_Static_assert(offsetof(struct tfs_log_header, csum) == 8 &&
		       offsetof(struct tfs_log_commit, csum) == 8,
	       "log_csum");

uint64_t log_csum(const void *block, uint64_t seed)
{
	uint8_t copy[TFS_LOG_BLOCK];

	memcpy(copy, block, sizeof(copy));
	memset(copy + 8, 0, 8);
	return guard_xxh3(copy, sizeof(copy), seed);
}

static bool head_ok(const struct log_ring *r, const struct tfs_log_header *h)
{
	uint64_t tail = le64_get(h->tail);

	return le32_get(h->magic) == TFS_LOG_MAGIC && le64_get(h->csum) == log_csum(h, r->seed) &&
	       le32_get(h->version) == TFS_VERSION && tail >= TFS_LOG_FIRST &&
	       tail < TFS_LOG_FIRST + r->size && le64_get(h->epoch) < LOG_MAX_TXID &&
	       le64_get(h->seq) < LOG_MAX_TXID && le64_get(h->tail_txid) > 0 &&
	       le64_get(h->tail_txid) < LOG_MAX_TXID;
}

int log_read_header(const struct log_ring *r, int copy, struct log_head *head)
{
	struct tfs_log_header *h = tl_alloc_aligned(TFS_LOG_BLOCK, sizeof(*h));
	int err;

	if (!h)
		return -ENOMEM;
	err = bdev_read(r->bdev, h, sizeof(*h), r->base + (uint64_t)copy * TFS_LOG_BLOCK);
	if (!err && !head_ok(r, h))
		err = -EUCLEAN;
	if (!err) {
		head->epoch = le64_get(h->epoch);
		head->seq = le64_get(h->seq);
		head->tail = le64_get(h->tail);
		head->tail_txid = le64_get(h->tail_txid);
	}
	tl_free(h);
	return err;
}

/* The copy in force: whole, with the higher sequence number.  -1: there is none; -ENOMEM. */
static int in_force(const struct log_ring *r)
{
	int err[2], force = -1, i;
	struct log_head h[2];

	for (i = 0; i < 2; i++) {
		err[i] = log_read_header(r, i, &h[i]);
		if (err[i] == -ENOMEM)
			return -ENOMEM;
		if (!err[i] && (force < 0 || h[i].seq > h[force].seq))
			force = i;
	}
	return force;
}

int log_write_headers(const struct log_ring *r, const struct log_head *head)
{
	struct tfs_log_header *h = tl_alloc_aligned(TFS_LOG_BLOCK, sizeof(*h));
	int force = h ? in_force(r) : -ENOMEM, i, err = 0;

	if (force == -ENOMEM) {
		tl_free(h);
		return -ENOMEM;
	}
	memset(h, 0, sizeof(*h));
	h->magic = le32_of(TFS_LOG_MAGIC);
	h->version = le32_of(TFS_VERSION);
	h->epoch = le64_of(head->epoch);
	h->seq = le64_of(head->seq);
	h->tail = le64_of(head->tail);
	h->tail_txid = le64_of(head->tail_txid);
	h->csum = le64_of(log_csum(h, r->seed));
	for (i = 0; i < 2 && !err; i++) {
		err = bdev_write(r->bdev, h, sizeof(*h),
				 r->base + (uint64_t)(i ^ (force == 0)) * TFS_LOG_BLOCK);
		if (!err)
			err = bdev_flush(r->bdev);
	}
	tl_free(h);
	return err;
}
