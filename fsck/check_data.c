/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Data blocks: every mapped block has a tuple that is for it and for data;
 * on request every block is read, in device order, and compared with its tuple.
 *
 * A block is looked at once, however many files share it, and reported for each of
 * them:
 *
 *      |---------- extent -----------|
 *           |---- another, seen ----|      what is bad in it is known
 *                    |------------- a third -----------|
 *                                    |-----new--------|
 */
#include <errno.h>
#include "core/block/bdev.h"
#include "core/block/integrity.h"
#include "core/lib/util.h"
#include "fs/disk/geom.h"
#include "fs/journal/trans.h"
#include "fs/journal/tuple.h"
#include "fsck/check_priv.h"
#include "tallyfs/format.h"

#define CHUNK_BYTES (1u << 20)
/* lines about blocks that were reported before: each costs the image a few bytes only */
#define MAX_AGAIN 1000u

struct bad {
	uint64_t block;
	const char *what;
};

struct reader {
	void *buf;
	struct tuple16 *tuples;
	uint32_t max_blocks;
	uint64_t done, total; /* bytes */
	uint64_t seen;	      /* blocks below, from the extent's start on, have been looked at */
	struct check_vec bad; /* struct bad, by block */
	unsigned int again;
};

static int by_start(const void *a, const void *b)
{
	const struct check_extent *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

static int read_tuples(struct check *c, uint64_t block, uint32_t n, struct tuple16 *out)
{
	return TRANS_READ(t, c->fs, tuple_read(t, block, n, out));
}

static uint64_t ref_of(const struct tuple16 *t)
{
	uint64_t r = 0;

	for (int i = 5; i >= 0; i--)
		r = r << 8 | t->ref[i];
	return r;
}

static void report_block(struct check *c, const struct check_extent *x, uint64_t block,
			 const char *what)
{
	char name[4600];

	check_name(c, x->ino, name, sizeof(name));
	check_report(
		c, CHECK_ERROR, "data-bad", x->ino, block, "block %llu: %s: %s, bytes %llu to %llu",
		(unsigned long long)block, what, name,
		(unsigned long long)(x->fblock + block - x->start) << c->fs->geom.blkbits,
		((unsigned long long)(x->fblock + block - x->start + 1) << c->fs->geom.blkbits) -
			1);
}

static void bad_block(struct check *c, const struct check_extent *x, uint64_t block,
		      const char *what, struct reader *r)
{
	struct bad *b = check_vec_add(c, &r->bad, sizeof(*b));

	if (b)
		*b = (struct bad){ .block = block, .what = what };
	c->res->bad_data_blocks++;
	report_block(c, x, block, what);
}

/* Behind EOF a block holds zeros, in every committed state (docs/DESIGN.md, "EOF"). */
static void check_tail(struct check *c, const struct check_extent *x, uint64_t block,
		       const uint8_t *data)
{
	uint64_t pos = (x->fblock + block - x->start) << c->fs->geom.blkbits;
	uint32_t bs = c->fs->geom.block_size;

	if (pos >= x->eof_bytes || pos + bs <= x->eof_bytes)
		return;
	for (uint32_t i = (uint32_t)(x->eof_bytes - pos); i < bs; i++)
		if (data[i]) {
			check_report(c, CHECK_ERROR, "eof-tail", x->ino, block,
				     "inode %llu: bytes behind the end of the file are not zero",
				     (unsigned long long)x->ino);
			return;
		}
}

static void verify_blocks(struct check *c, const struct check_extent *x, uint64_t block, uint32_t n,
			  struct reader *r)
{
	const struct tfs_geom *g = &c->fs->geom;
	int err = bdev_read(c->fs->bdev, r->buf, (size_t)n << g->blkbits, block << g->blkbits);

	for (uint32_t i = 0; i < n && !c->err; i++) {
		uint8_t *data = (uint8_t *)r->buf + ((size_t)i << g->blkbits);
		unsigned int bad;

		/* one unreadable block must not hide its neighbours */
		if (err && bdev_read(c->fs->bdev, data, g->block_size, (block + i) << g->blkbits)) {
			bad_block(c, x, block + i, "cannot be read", r);
			continue;
		}
		if (blk_integrity_verify_buf(&c->fs->integrity, data, block + i, 1, TFS_APP_DATA,
					     &r->tuples[i], &bad))
			bad_block(c, x, block + i, "does not match its tuple", r);
		else
			check_tail(c, x, block + i, data);
		c->res->verified_bytes += g->block_size;
	}
}

static void check_run(struct check *c, const struct check_extent *x, uint64_t block, uint32_t n,
		      struct reader *r)
{
	int err = read_tuples(c, block, n, r->tuples);

	if (err && n > 1) {
		for (uint32_t i = 0; i < n && !c->err; i++)
			check_run(c, x, block + i, 1, r);
		return;
	}
	if (err) {
		bad_block(c, x, block, "its tuple cannot be read", r);
		return;
	}
	if (c->opts->verify_data) {
		verify_blocks(c, x, block, n, r);
		return;
	}
	for (uint32_t i = 0; i < n; i++)
		if (le16_get(r->tuples[i].app) != TFS_APP_DATA ||
		    ref_of(&r->tuples[i]) != block + i)
			bad_block(c, x, block + i, "its tuple is not one of a data block here", r);
}

/* The first bad block at or behind @block. */
static size_t find_bad(const struct reader *r, uint64_t block)
{
	const struct bad *b = r->bad.v;
	size_t lo = 0, hi = r->bad.nr;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (b[mid].block < block)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* Blocks [x->start, end) were seen in other extents: what was bad is bad here too, and where this
 * file ends is new. */
static void check_seen(struct check *c, const struct check_extent *x, uint64_t end,
		       struct reader *r)
{
	const struct bad *b = r->bad.v;
	unsigned int bits = c->fs->geom.blkbits;
	uint64_t eof = x->eof_bytes >> bits, tail = x->start + (eof - x->fblock);

	for (size_t i = find_bad(r, x->start);
	     i < r->bad.nr && b[i].block < end && r->again < MAX_AGAIN; i++) {
		report_block(c, x, b[i].block, b[i].what);
		if (++r->again == MAX_AGAIN)
			check_report(
				c, CHECK_NOTE, "data-bad-shared", 0, UINT64_MAX,
				"more files share blocks that are bad; not all of them are named");
	}
	if (!c->opts->verify_data || eof < x->fblock || tail >= end)
		return;
	b = r->bad.v;
	if (find_bad(r, tail) < r->bad.nr && b[find_bad(r, tail)].block == tail)
		return;
	if (!bdev_read(c->fs->bdev, r->buf, c->fs->geom.block_size, tail << bits))
		check_tail(c, x, tail, r->buf);
}

/* The part of an extent that no extent before it had. */
static uint32_t new_from(const struct check_extent *x, uint64_t seen)
{
	return seen <= x->start ? 0 : (uint32_t)min_t(uint64_t, seen - x->start, x->len);
}

static void check_extent_data(struct check *c, const struct check_extent *x, struct reader *r)
{
	const char *phase = c->opts->verify_data ? "data" : "tuples";
	uint32_t done = new_from(x, r->seen), n;

	if (done)
		check_seen(c, x, x->start + done, r);
	for (; done < x->len && check_progress(c, phase, r->done, r->total); done += n) {
		n = min_t(uint32_t, x->len - done, r->max_blocks);
		check_run(c, x, x->start + done, n, r);
		r->done += (uint64_t)n << c->fs->geom.blkbits;
	}
	r->seen = max_t(uint64_t, r->seen, x->start + x->len);
}

static void check_all(struct check *c, struct reader *r)
{
	const struct check_extent *x = c->extents.v;
	const char *phase = c->opts->verify_data ? "data" : "tuples";

	for (size_t i = 0; i < c->extents.nr && !c->err; i++) {
		if (i % 256 == 0 && !check_progress(c, phase, r->done, r->total))
			return;
		if (!(x[i].flags & TFS_EXTENT_UNWRITTEN))
			check_extent_data(c, &x[i], r);
	}
	check_progress(c, phase, r->done, r->total);
}

void check_data(struct check *c)
{
	struct reader r = { .max_blocks = CHUNK_BYTES >> c->fs->geom.blkbits };
	const struct check_extent *x = c->extents.v;
	uint64_t seen = 0;

	if (c->extents.nr)
		qsort(c->extents.v, c->extents.nr, sizeof(*x), by_start);
	for (size_t i = 0; i < c->extents.nr; i++) {
		if (x[i].flags & TFS_EXTENT_UNWRITTEN)
			continue;
		r.total += (uint64_t)(x[i].len - new_from(&x[i], seen)) << c->fs->geom.blkbits;
		seen = max_t(uint64_t, seen, x[i].start + x[i].len);
	}
	r.buf = tl_alloc_aligned(4096, CHUNK_BYTES);
	r.tuples = tl_alloc(r.max_blocks * sizeof(*r.tuples));
	if (r.buf && r.tuples)
		check_all(c, &r);
	else
		c->err = -ENOMEM;
	tl_free(r.buf);
	tl_free(r.tuples);
	tl_free(r.bad.v);
}
