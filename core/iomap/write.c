/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Buffered writes (docs/IO.md, rows B7 to B9, B12).
 *
 * A write into a folio first makes the blocks it covers in part uptodate, the only
 * step that can fail for reasons of the device, and then goes run by run: each
 * run of blocks is complete, uptodate and dirty before the next is touched.
 * So a write that stops midway leaves whole blocks, and nothing else.
 */
#include <errno.h>
#include <string.h>
#include "core/block/integrity.h"
#include "core/iomap/internal.h"

/* Receive buffers are adopted from this payload on; below, what a copy costs is less than what the
 * buffer pins. */
#define ADOPT_MIN (64u << 10)

enum run_kind { RUN_IN_PLACE, RUN_FRESH, RUN_ADOPT, RUN_COPY_ON_WRITE };

/* One call of folio_write(). */
struct piece {
	struct address_space *m;
	struct folio *f;
	size_t off, end; /* bytes of the folio */
	const struct iomap_src *src;
	size_t src_off; /* of byte @off */
};

static bool block_whole(const struct piece *p, unsigned int i)
{
	size_t start = (size_t)i << p->m->blkbits;

	return p->off <= start && start + block_bytes(p->m) <= p->end;
}

/* Where the bytes for folio offset @off come from. */
static const char *piece_src(const struct piece *p, size_t off)
{
	return (const char *)p->src->buf + p->src_off + (off - p->off);
}

static bool can_adopt(const struct piece *p, unsigned int i)
{
	size_t start = (size_t)i << p->m->blkbits;

	return p->src && p->src->seg && p->src->len >= ADOPT_MIN && block_whole(p, i) &&
	       !((uintptr_t)piece_src(p, start) & (min_t(size_t, block_bytes(p->m), 4096) - 1));
}

bool folio_block_writable(const struct folio *f, struct folio_state *fs, unsigned int i)
{
	return f->blocks[i].seg && !bitmap_test(folio_bits(f, fs, FB_WRITEBACK), i);
}

static enum run_kind block_kind(const struct piece *p, struct folio_state *fs, unsigned int i)
{
	if (can_adopt(p, i))
		return RUN_ADOPT;
	if (!p->src && block_whole(p, i))
		return RUN_FRESH; /* static zeros: nothing to allocate */
	if (folio_block_writable(p->f, fs, i))
		return RUN_IN_PLACE;
	return block_whole(p, i) ? RUN_FRESH : RUN_COPY_ON_WRITE;
}

/* The run of alike blocks that starts at @first; in place: contiguous in memory too. */
static unsigned int next_run(const struct piece *p, unsigned int first, unsigned int end,
			     enum run_kind *kind)
{
	struct folio *f = p->f;
	struct folio_state *fs = folio_state(f);
	unsigned int i = first + 1;

	pthread_mutex_lock(&fs->lock);
	*kind = block_kind(p, fs, first);
	if (*kind != RUN_COPY_ON_WRITE)
		for (; i < end && block_kind(p, fs, i) == *kind; i++)
			if (*kind == RUN_IN_PLACE &&
			    f->blocks[i].addr != (char *)f->blocks[i - 1].addr + block_bytes(p->m))
				break;
	pthread_mutex_unlock(&fs->lock);
	return i - first;
}

/* Copy (or zero) bytes [from, to) of the folio at @dst. */
static void put_bytes(const struct piece *p, char *dst, size_t from, size_t to)
{
	if (p->src)
		memcpy(dst, piece_src(p, from), to - from);
	else
		memset(dst, 0, to - from);
}

/* Does one run.  Number of blocks that became dirty, or -ENOMEM with nothing changed. */
static int write_run(const struct piece *p, unsigned int first, unsigned int n, enum run_kind kind)
{
	struct address_space *m = p->m;
	struct folio *f = p->f;
	size_t start = (size_t)first << m->blkbits, bytes = (size_t)n << m->blkbits;
	size_t from = max_t(size_t, start, p->off), to = min_t(size_t, start + bytes, p->end);
	struct seg *seg;
	int newly;

	if (kind == RUN_ADOPT)
		return (int)folio_publish(m, f, first, n, p->src->seg, (void *)piece_src(p, start),
					  true);
	if (kind == RUN_FRESH && !p->src)
		return (int)folio_publish(m, f, first, n, NULL, NULL, true);
	if (kind == RUN_IN_PLACE) {
		put_bytes(p, (char *)f->blocks[first].addr + (from - start), from, to);
		return (int)folio_dirty_blocks(m, f, first, n);
	}
	seg = pagecache_seg_alloc(m->cache, bytes);
	if (!seg)
		return -ENOMEM;
	if (kind == RUN_COPY_ON_WRITE)
		memcpy(seg->base, f->blocks[first].addr, bytes);
	put_bytes(p, (char *)seg->base + (from - start), from, to);
	newly = (int)folio_publish(m, f, first, n, seg, seg->base, true);
	seg_put(seg);
	return newly;
}

const struct iomap *iomap_readable_map(struct address_space *m, const struct iomap *map,
				       uint64_t pos)
{
	if (iomap_needs_zeroing(m, map, pos) || map->tuples || !map->bdev->integrity)
		return map;
	return NULL;
}

/* Make a partly written block uptodate (docs/IO.md, row B8). */
static int fill_edge(struct piece *p, unsigned int i, const struct iomap_iter *it,
		     const struct iomap_ops *ops)
{
	uint64_t pos = folio_pos(p->m, p->f) + ((uint64_t)i << p->m->blkbits);

	if (block_whole(p, i) || iomap_block_uptodate(p->f, i))
		return 0;
	return iomap_read_blocks(p->f, i, 1, ops,
				 iomap_readable_map(p->m, iomap_iter_srcmap(it), pos));
}

int64_t folio_write(struct folio *f, size_t off, size_t len, const struct iomap_src *src,
		    size_t src_off, const struct iomap_iter *it, const struct iomap_ops *ops,
		    uint64_t *dirtied)
{
	struct address_space *m = f->mapping;
	struct piece p = {
		.m = m, .f = f, .off = off, .end = off + len, .src = src, .src_off = src_off
	};
	unsigned int first = (unsigned int)(off >> m->blkbits);
	unsigned int end = (unsigned int)div_up(off + len, block_bytes(m)), i, n, newly = 0;
	int ret;

	if (!folio_state_create(f))
		return -ENOMEM;
	ret = fill_edge(&p, first, it, ops);
	if (!ret && end - 1 > first)
		ret = fill_edge(&p, end - 1, it, ops);
	if (ret)
		return ret;
	for (i = first; i < end; i += n) {
		enum run_kind kind;

		n = next_run(&p, i, end, &kind);
		ret = write_run(&p, i, n, kind);
		if (ret < 0)
			break;
		newly += (unsigned int)ret;
	}
	folio_account_dirty(m, f, newly);
	folio_mark_accessed(f);
	*dirtied += newly;
	if (i == first)
		return ret;
	return (int64_t)(min_t(size_t, (size_t)i << m->blkbits, p.end) - off);
}

struct folio *iomap_get_folio(struct iomap_iter *it, uint64_t pos, const struct iomap_ops *ops,
			      int *err)
{
	struct folio *f = filemap_grab_folio(it->mapping, pos >> it->mapping->folio_shift);

	*err = 0;
	if (!f) {
		*err = -ENOMEM;
		return NULL;
	}
	if (ops->iomap_valid && !ops->iomap_valid(it->mapping, &it->iomap))
		it->iomap.flags |= IOMAP_F_STALE;
	if (it->iomap.flags & IOMAP_F_STALE) {
		folio_unlock(f);
		folio_put(f);
		return NULL;
	}
	return f;
}

/* What the current mapping takes of the write.  Bytes, or -errno if not one. */
static int64_t write_mapping(struct iomap_iter *it, const struct iomap_src *src, size_t src_off,
			     const struct iomap_ops *ops)
{
	struct address_space *m = it->mapping;
	uint64_t size = 1ULL << m->folio_shift, length = iomap_length(it), done = 0;
	int64_t n = 0;
	int err;

	while (done < length) {
		uint64_t pos = it->pos + done, off = pos & (size - 1);
		uint64_t want = min_t(uint64_t, size - off, length - done);
		struct folio *f = iomap_get_folio(it, pos, ops, &err);

		if (!f) {
			n = err;
			break;
		}
		n = folio_write(f, off, want, src, src_off + done, it, ops, &it->dirtied);
		if (n > 0 && pos + (uint64_t)n > i_size_read(m)) {
			/* before the folio is unlocked: writeback zeroes what lies behind i_size */
			i_size_write(m, pos + (uint64_t)n);
		}
		folio_unlock(f);
		folio_put(f);
		if (n > 0)
			done += (uint64_t)n;
		if (n < (int64_t)want)
			break;
	}
	return done ? (int64_t)done : n;
}

/* One chunk.  Bytes written, or -errno if not one. */
static int64_t write_chunk(struct address_space *m, uint64_t pos, size_t len,
			   const struct iomap_src *src, size_t src_off, const struct iomap_ops *ops)
{
	struct iomap_iter it = { .mapping = m, .pos = pos, .len = len, .flags = IOMAP_WRITE };
	int ret;

	while ((ret = iomap_iter(&it, ops)) > 0)
		it.processed = write_mapping(&it, src, src_off + (it.pos - pos), ops);
	return it.pos > pos ? (int64_t)(it.pos - pos) : ret;
}

int64_t iomap_file_buffered_write(struct address_space *m, uint64_t pos,
				  const struct iomap_src *src, const struct iomap_ops *ops)
{
	/* the unit between two looks at the dirty limit */
	size_t unit = pagecache_unit(m->cache), done = 0;
	uint64_t isize = i_size_read(m);
	int64_t ret = 0;

	if (!src->len)
		return 0;
	if (pos > isize) {
		ret = iomap_zero_range(m, isize, pos - isize, NULL, ops);
		if (ret)
			return ret;
	}
	while (done < src->len) {
		size_t chunk = min_t(size_t, src->len - done, unit);

		ret = write_chunk(m, pos + done, chunk, src, done, ops);
		if (ret > 0)
			done += (size_t)ret;
		if (ret < (int64_t)chunk)
			break;
		if (done < src->len)
			balance_dirty_pages(m);
	}
	return done ? (int64_t)done : ret;
}

int iomap_walk_throttled(struct address_space *m, uint64_t pos, uint64_t len, unsigned int flags,
			 const struct iomap_ops *ops,
			 int64_t (*body)(struct iomap_iter *it, const struct iomap_ops *ops,
					 void *arg),
			 void *arg)
{
	size_t unit = pagecache_unit(m->cache);
	uint64_t end = pos + len;
	int ret = 0;

	while (pos < end) {
		struct iomap_iter it = {
			.mapping = m, .pos = pos, .len = end - pos, .flags = flags
		};

		while ((ret = iomap_iter(&it, ops)) > 0) {
			it.processed = body(&it, ops, arg);
			/* enough dirtied: end this walk here, so that no mapping is held while we
			 * wait */
			if (it.processed > 0 && it.dirtied << m->blkbits >= unit)
				it.len = (uint64_t)it.processed;
		}
		if (ret)
			return ret;
		if (it.pos == pos)
			return -EIO;
		pos = it.pos;
		balance_dirty_pages(m);
	}
	return 0;
}
