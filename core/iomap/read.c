/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Buffered reads: what is cached is described without a copy and without a
 * question to the file system; what is missing is read in bios that run
 * across folios (docs/IO.md, rows B3, B4).
 */
#include <errno.h>
#include <string.h>
#include "core/iomap/internal.h"

/* Read the missing blocks inside the current mapping. */
static int fill_mapping(struct read_op *op, const struct iomap_iter *it, const struct iomap *map)
{
	struct address_space *m = op->m;
	uint64_t pos = it->pos, end = pos + iomap_length(it);

	while (pos < end) {
		struct folio *f = op->folios[(pos >> m->folio_shift) - op->folios[0]->index];
		uint64_t fpos = folio_pos(m, f),
			 stop = min_t(uint64_t, end, fpos + (1ULL << m->folio_shift));
		unsigned int first = (unsigned int)((pos - fpos) >> m->blkbits), n;
		unsigned int last = (unsigned int)((stop - fpos) >> m->blkbits);
		int err;

		while ((n = folio_next_run(f, &first, last, false))) {
			err = read_op_run(op, f, first, n, map);
			if (err)
				return err;
			first += n;
		}
		pos = stop;
	}
	return 0;
}

/* First missing byte in [pos, end) of the op's folios; @end: none. */
static uint64_t next_missing(struct read_op *op, uint64_t pos, uint64_t end)
{
	struct address_space *m = op->m;

	while (pos < end) {
		struct folio *f = op->folios[(pos >> m->folio_shift) - op->folios[0]->index];
		uint64_t fpos = folio_pos(m, f);
		unsigned int first = (unsigned int)((pos - fpos) >> m->blkbits);

		if (folio_next_run(f, &first, f->nblocks, false))
			return min_t(uint64_t, end, fpos + ((uint64_t)first << m->blkbits));
		pos = fpos + (1ULL << m->folio_shift);
	}
	return end;
}

void read_op_fill(struct read_op *op, uint64_t start, uint64_t end)
{
	struct iomap_iter it = { .mapping = op->m, .flags = op->flags };
	int ret;

	op->end = end;
	it.pos = next_missing(op, start, end);
	it.len = end - it.pos;
	while ((ret = iomap_iter(&it, op->ops)) > 0) {
		ret = fill_mapping(op, &it, iomap_iter_srcmap(&it));
		it.processed = ret ? ret : (int64_t)iomap_length(&it);
	}
	if (ret < 0 && !op->error)
		op->error = ret;
}

int iomap_read_blocks(struct folio *f, unsigned int first, unsigned int n,
		      const struct iomap_ops *ops, const struct iomap *map)
{
	struct address_space *m = f->mapping;
	uint64_t pos = folio_pos(m, f) + ((uint64_t)first << m->blkbits);
	unsigned int end = first + n;
	struct read_op op;
	int err;

	read_op_init(&op, m, ops, &f, 1, true);
	if (map) {
		op.end = pos + ((uint64_t)n << m->blkbits);
		for (; !op.error && (n = folio_next_run(f, &first, end, false)); first += n)
			op.error = read_op_run(&op, f, first, n, map);
	} else {
		read_op_fill(&op, pos, pos + ((uint64_t)n << m->blkbits));
	}
	err = read_op_finish(&op);
	atomic_fetch_add(&m->cache->read_misses, op.missed);
	return err;
}

int iomap_read_folio(struct folio *f, const struct iomap_ops *ops)
{
	struct address_space *m = f->mapping;
	uint64_t pos = folio_pos(m, f);
	struct read_op op;
	int err = -ENOMEM;

	if (!folio_state_create(f))
		goto out;
	read_op_init(&op, m, ops, &f, 1, true);
	read_op_fill(&op, pos, pos + (1ULL << m->folio_shift));
	err = read_op_finish(&op);
	atomic_fetch_add(&m->cache->read_misses, op.missed);
out:
	folio_unlock(f);
	return err;
}

/* ---- buffered read ---- */

struct reader {
	struct address_space *m;
	const struct iomap_ops *ops;
	struct iomap_read_result *res;
	unsigned int room; /* entries allocated */
	uint64_t pos, end; /* file bytes still to do */
	uint64_t missed;
};

static int result_grow(struct reader *r)
{
	unsigned int room = r->room ? r->room * 2 : 16;
	struct iovec *iov = tl_realloc(r->res->iov, room * sizeof(*iov));
	struct seg **segs;

	if (!iov)
		return -ENOMEM;
	r->res->iov = iov;
	segs = tl_realloc(r->res->segs, room * sizeof(*segs));
	if (!segs)
		return -ENOMEM;
	r->res->segs = segs;
	r->room = room;
	return 0;
}

/* Append @len bytes at @addr; state lock held. */
static int result_add(struct reader *r, struct seg *seg, void *addr, size_t len)
{
	struct iomap_read_result *res = r->res;

	if (res->nr_iov) {
		struct iovec *last = &res->iov[res->nr_iov - 1];

		if (res->segs[res->nr_iov - 1] == seg &&
		    (char *)last->iov_base + last->iov_len == addr) {
			last->iov_len += len;
			res->bytes += len;
			return 0;
		}
	}
	if (res->nr_iov == r->room && result_grow(r))
		return -ENOMEM;
	res->iov[res->nr_iov] = (struct iovec){ addr, len };
	res->segs[res->nr_iov++] = seg ? seg_get(seg) : NULL;
	res->bytes += len;
	return 0;
}

/* Blocks from @block on that are uptodate and go on in memory, up to @stop (> block). */
static unsigned int contiguous_blocks(const struct folio *f, unsigned int block, unsigned int stop,
				      unsigned int blkbits)
{
	unsigned int i = block + 1;

	while (i < stop && f->blocks[i].seg == f->blocks[block].seg &&
	       f->blocks[i].addr == (char *)f->blocks[i - 1].addr + (1u << blkbits))
		i++;
	return i - block;
}

/* Take what is uptodate of @f from r->pos on.  1: to the end of folio or read; 0: a block is
 * missing; -ENOMEM. */
static int collect(struct reader *r, struct folio *f)
{
	struct address_space *m = r->m;
	struct folio_state *fs = folio_state(f);
	uint64_t fpos = f->index << m->folio_shift;
	uint64_t stop = min_t(uint64_t, r->end, fpos + (1ULL << m->folio_shift));
	unsigned int last, ready, i;
	int err = 0;

	if (!fs)
		return 0;
	last = (unsigned int)div_up(stop - fpos, block_bytes(m));
	pthread_mutex_lock(&fs->lock);
	i = (unsigned int)((r->pos - fpos) >> m->blkbits);
	ready = bitmap_next_clear(folio_bits(f, fs, FB_UPTODATE), i, last);
	while (i < ready && !err) {
		unsigned int n = contiguous_blocks(f, i, ready, m->blkbits);
		uint64_t bpos = fpos + ((uint64_t)i << m->blkbits);
		uint64_t to = min_t(uint64_t, stop, bpos + ((uint64_t)n << m->blkbits));

		err = result_add(r, f->blocks[i].seg, (char *)f->blocks[i].addr + (r->pos - bpos),
				 to - r->pos);
		if (!err)
			r->pos = to;
		i += n;
	}
	pthread_mutex_unlock(&fs->lock);
	return err ? err : r->pos == stop;
}

static void put_folios(struct folio **folios, unsigned int n)
{
	while (n--)
		if (folios[n])
			folio_put(folios[n]);
}

/* Folios in a row from @r's position on.  1: all done; 0: something is missing; -ENOMEM. */
static int read_cached(struct reader *r)
{
	struct folio *folios[READ_BATCH];
	int ret = 1;

	while (ret > 0 && r->pos < r->end) {
		uint64_t index = r->pos >> r->m->folio_shift;
		unsigned int i, n;

		n = (unsigned int)min_t(uint64_t, ((r->end - 1) >> r->m->folio_shift) - index + 1,
					READ_BATCH);
		filemap_get_batch(r->m, index, n, folios);
		for (i = 0; i < n && ret > 0; i++) {
			ret = folios[i] ? collect(r, folios[i]) : 0;
			if (ret > 0)
				folio_mark_accessed(folios[i]);
		}
		put_folios(folios, n);
	}
	return ret;
}

/* Lock the folios of [pos, end) in ascending order, made where there are none.  How many: 0 when
 * out of memory. */
static unsigned int lock_folios(struct address_space *m, uint64_t pos, uint64_t end,
				struct folio **folios)
{
	uint64_t index = pos >> m->folio_shift, last = (end - 1) >> m->folio_shift;
	unsigned int n;

	for (n = 0; n < READ_BATCH && index + n <= last; n++) {
		folios[n] = filemap_grab_folio(m, index + n);
		if (!folios[n])
			break;
		if (!folio_state_create(folios[n])) {
			folio_unlock(folios[n]);
			folio_put(folios[n]);
			break;
		}
	}
	return n;
}

/* Read from r->pos on what is missing, and take it while it is locked.  0, or why not even the next
 * byte can be had. */
static int read_missing(struct reader *r)
{
	struct address_space *m = r->m;
	uint64_t before = r->pos, end = min_t(uint64_t, r->end, r->pos + pagecache_unit(m->cache));
	struct folio *folios[READ_BATCH];
	struct read_op op;
	unsigned int n, i;
	int err, ret = 1;

	n = lock_folios(m, r->pos, end, folios);
	if (!n)
		return -ENOMEM;
	end = min_t(uint64_t, end, (folios[0]->index + n) << m->folio_shift);
	read_op_init(&op, m, r->ops, folios, n, true);
	read_op_fill(&op, round_down_to(r->pos, block_bytes(m)), round_up_to(end, block_bytes(m)));
	err = read_op_finish(&op);
	r->missed += op.missed;
	for (i = 0; i < n && ret > 0; i++)
		ret = collect(r, folios[i]);
	for (i = 0; i < n; i++)
		folio_unlock(folios[i]);
	put_folios(folios, n);
	if (ret < 0)
		return ret;
	return r->pos > before ? 0 : err ? err : -EIO;
}

int iomap_file_buffered_read(struct address_space *m, uint64_t pos, size_t len, unsigned int flags,
			     const struct iomap_ops *ops, struct iomap_read_result *res)
{
	uint64_t isize = i_size_read(m);
	struct reader r = { .m = m, .ops = ops, .res = res, .pos = pos };
	uint64_t blocks;
	int ret = 0;

	memset(res, 0, sizeof(*res));
	if (!len || pos >= isize)
		return 0;
	r.end = len < isize - pos ? pos + len : isize;
	while (!ret && r.pos < r.end) {
		ret = read_cached(&r);
		if (!ret)
			ret = flags & IOMAP_NOWAIT ? -EAGAIN : read_missing(&r);
		else if (ret > 0)
			ret = 0;
	}
	if (ret && flags & IOMAP_NOWAIT) {
		iomap_read_result_release(res);
		return ret;
	}
	blocks = (div_up(r.pos, block_bytes(m)) - (pos >> m->blkbits));
	atomic_fetch_add(&m->cache->read_misses, r.missed);
	if (blocks > r.missed)
		atomic_fetch_add(&m->cache->read_hits, blocks - r.missed);
	if (res->bytes)
		return 0;
	iomap_read_result_release(res);
	return ret;
}

void iomap_read_result_release(struct iomap_read_result *res)
{
	unsigned int i;

	for (i = 0; i < res->nr_iov; i++)
		seg_put(res->segs[i]);
	tl_free(res->segs);
	tl_free(res->iov);
	memset(res, 0, sizeof(*res));
}
