/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Per-block state of folios (docs/IO.md, rows B2, B5, B6): which blocks are present and
 * uptodate, dirty, under writeback, and whose memory they are in.
 */
#include <errno.h>
#include <string.h>
#include "core/pagecache/folio_state.h"
#include "core/pagecache/pagecache_internal.h"

/*
 * What holes and zeroed blocks point to.  Never written, so the kernel backs it
 * with its own page of zeros; as large as a folio may be, so that neighbouring
 * blocks stay neighbours in memory and one iovec covers them.
 */
#define ZERO_AREA (1u << 20)
static unsigned char zero_area[ZERO_AREA] __attribute__((aligned(4096)));

void *iomap_zero_block(const struct address_space *m, unsigned int i)
{
	return zero_area + (((uint64_t)i << m->blkbits) & (ZERO_AREA - 1));
}

/* Drop the references of blocks [first, first + n); neighbours in one segment in one go. */
static void put_blocks(struct folio *f, unsigned int first, unsigned int n)
{
	struct folio_block *b = f->blocks + first, *end = b + n;

	while (b < end) {
		struct seg *seg = b->seg;
		unsigned int same = 0;

		for (; b < end && b->seg == seg; b++, same++)
			*b = (struct folio_block){ 0 };
		if (!seg)
			continue;
		if (same > 1)
			atomic_fetch_sub(&seg->refs, same - 1);
		seg_put(seg);
	}
}

static void set_uptodate(struct folio *f, struct folio_state *fs, unsigned int first,
			 unsigned int n)
{
	fs->nr_uptodate += bitmap_set_range(folio_bits(f, fs, FB_UPTODATE), first, n);
	if (fs->nr_uptodate == f->nblocks)
		atomic_fetch_or(&f->flags, FOLIO_UPTODATE);
	if (folio_test(f, FOLIO_ERROR)) {
		unsigned long *err = folio_bits(f, fs, FB_ERROR);

		bitmap_clear_range(err, first, n);
		if (bitmap_next_set(err, 0, f->nblocks) == f->nblocks)
			atomic_fetch_and(&f->flags, ~FOLIO_ERROR);
	}
}

unsigned int folio_publish(struct address_space *m, struct folio *f, unsigned int first,
			   unsigned int n, struct seg *seg, void *base, bool dirty)
{
	struct folio_state *fs = folio_state(f);
	unsigned int i, newly = 0;

	if (seg)
		atomic_fetch_add(&seg->refs, n);
	pthread_mutex_lock(&fs->lock);
	put_blocks(f, first, n);
	for (i = first; i < first + n; i++) {
		f->blocks[i].seg = seg;
		f->blocks[i].addr = seg ? (char *)base + ((size_t)(i - first) << m->blkbits)
					: iomap_zero_block(m, i);
	}
	set_uptodate(f, fs, first, n);
	if (dirty) {
		newly = bitmap_set_range(folio_bits(f, fs, FB_DIRTY), first, n);
		fs->nr_dirty += newly;
	}
	pthread_mutex_unlock(&fs->lock);
	return newly;
}

unsigned int folio_dirty_blocks(struct address_space *m, struct folio *f, unsigned int first,
				unsigned int n)
{
	struct folio_state *fs = folio_state(f);
	unsigned int newly;

	pthread_mutex_lock(&fs->lock);
	assert(bitmap_next_clear(folio_bits(f, fs, FB_UPTODATE), first, first + n) == first + n);
	newly = bitmap_set_range(folio_bits(f, fs, FB_DIRTY), first, n);
	fs->nr_dirty += newly;
	pthread_mutex_unlock(&fs->lock);
	return newly;
}

void folio_account_dirty(struct address_space *m, struct folio *f, unsigned int newly)
{
	if (!newly)
		return;
	mapping_account(m, newly, 0);
	if (!folio_test(f, FOLIO_DIRTY))
		filemap_sync_dirty_tag(m, f);
}

void folio_set_block_error(struct folio *f, unsigned int block)
{
	struct folio_state *fs = folio_state(f);

	pthread_mutex_lock(&fs->lock);
	bitmap_set_range(folio_bits(f, fs, FB_ERROR), block, 1);
	atomic_fetch_or(&f->flags, FOLIO_ERROR);
	pthread_mutex_unlock(&fs->lock);
}

unsigned int folio_next_run(struct folio *f, unsigned int *first, unsigned int end, bool uptodate)
{
	struct folio_state *fs = folio_state(f);
	unsigned long *bits;
	unsigned int stop;

	pthread_mutex_lock(&fs->lock);
	bits = folio_bits(f, fs, FB_UPTODATE);
	if (uptodate) {
		*first = bitmap_next_set(bits, *first, end);
		stop = bitmap_next_clear(bits, *first, end);
	} else {
		*first = bitmap_next_clear(bits, *first, end);
		stop = bitmap_next_set(bits, *first, end);
	}
	pthread_mutex_unlock(&fs->lock);
	return stop - *first;
}

static unsigned int folio_blkbits(const struct folio *f)
{
	return f->mapping ? f->mapping->blkbits : 0;
}

bool iomap_is_partially_uptodate(struct folio *f, size_t from, size_t count)
{
	struct folio_state *fs = folio_state(f);
	unsigned int bits = folio_blkbits(f), first, end;
	bool ok;

	if (!fs || !bits || !count)
		return false;
	first = (unsigned int)(from >> bits);
	end = min_t(uint64_t, ((uint64_t)from + count - 1) >> bits, f->nblocks - 1) + 1;
	if (first >= end)
		return false;
	pthread_mutex_lock(&fs->lock);
	ok = bitmap_next_clear(folio_bits(f, fs, FB_UPTODATE), first, end) == end;
	pthread_mutex_unlock(&fs->lock);
	return ok;
}

static bool block_bit(struct folio *f, unsigned int block, enum folio_bits which)
{
	struct folio_state *fs = folio_state(f);
	bool set;

	if (!fs)
		return false;
	pthread_mutex_lock(&fs->lock);
	set = bitmap_test(folio_bits(f, fs, which), block);
	pthread_mutex_unlock(&fs->lock);
	return set;
}

bool iomap_block_uptodate(struct folio *f, unsigned int block)
{
	return block_bit(f, block, FB_UPTODATE);
}

bool iomap_block_dirty(struct folio *f, unsigned int block)
{
	return block_bit(f, block, FB_DIRTY);
}

/* Forget blocks [first, first + n); state lock held.  Returns how many were dirty. */
static unsigned int drop_blocks(struct folio *f, struct folio_state *fs, unsigned int first,
				unsigned int n)
{
	unsigned int dirty = bitmap_clear_range(folio_bits(f, fs, FB_DIRTY), first, n);

	assert(bitmap_next_set(folio_bits(f, fs, FB_WRITEBACK), first, first + n) == first + n);
	fs->nr_dirty -= dirty;
	fs->nr_uptodate -= bitmap_clear_range(folio_bits(f, fs, FB_UPTODATE), first, n);
	bitmap_clear_range(folio_bits(f, fs, FB_ERROR), first, n);
	atomic_fetch_and(&f->flags, ~FOLIO_UPTODATE);
	if (bitmap_next_set(folio_bits(f, fs, FB_ERROR), 0, f->nblocks) == f->nblocks)
		atomic_fetch_and(&f->flags, ~FOLIO_ERROR);
	put_blocks(f, first, n);
	return dirty;
}

bool iomap_release_folio(struct folio *f)
{
	struct folio_state *fs = folio_state(f);
	bool ok;

	if (!fs)
		return true;
	pthread_mutex_lock(&fs->lock);
	ok = !fs->nr_dirty && !fs->write_bytes_pending;
	if (ok)
		drop_blocks(f, fs, 0, f->nblocks);
	pthread_mutex_unlock(&fs->lock);
	return ok;
}

void iomap_invalidate_folio(struct folio *f, size_t offset, size_t len)
{
	struct address_space *m = f->mapping;
	struct folio_state *fs = folio_state(f);
	uint64_t bs = block_bytes(m);
	unsigned int first = (unsigned int)div_up(offset, bs);
	unsigned int end = min_t(uint64_t, ((uint64_t)offset + len) >> m->blkbits, f->nblocks);
	unsigned int dirty;

	if (!fs || first >= end)
		return;
	pthread_mutex_lock(&fs->lock);
	dirty = drop_blocks(f, fs, first, end - first);
	pthread_mutex_unlock(&fs->lock);
	if (!dirty)
		return;
	filemap_sync_dirty_tag(m, f);
	mapping_account(m, -(int64_t)dirty, 0);
	if (m->a_ops->undirty)
		m->a_ops->undirty(m, dirty);
}
