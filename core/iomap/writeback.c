/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writeback (docs/IO.md, rows B13 to B15, B17, B18): dirty blocks, in the order of the file,
 * are given a place by the file system and become ioends.
 *
 * What may fail for want of memory is had before map_blocks() is called: space
 * that has been allocated for a block must not be lost track of.
 */
#include <errno.h>
#include <string.h>
#include "core/block/integrity.h"
#include "core/iomap/internal.h"
#include "core/lib/trace.h"

/* Bios that one run of blocks inside a folio may add to an ioend: reserve_bios() has that many. */
#define WB_RUN_BIOS 1

struct wb {
	struct address_space *m;
	struct writeback_control *wbc;
	struct iomap_writepage_ctx *wpc;
	struct iomap_ioend *spare;
	int error; /* first one */
};

static void wb_submit(struct wb *wb)
{
	if (wb->wpc->ioend)
		iomap_ioend_submit(wb->wpc->ioend, 0);
	wb->wpc->ioend = NULL;
}

static bool can_add(const struct iomap_ioend *ioend, const struct iomap *map,
		    struct address_space *m, uint64_t pos, uint64_t len)
{
	return ioend->io_mapping == m && ioend->io_type == map->type && map->type != IOMAP_INLINE &&
	       !((ioend->io_flags ^ map->flags) & IOMAP_F_SHARED) &&
	       ioend->io_offset + ioend->io_size == pos &&
	       ioend->io_addr + ioend->io_size == map->addr + (pos - map->offset) &&
	       ioend->io_bio->bi_bdev == map->bdev &&
	       ioend->io_size + len <= IOMAP_IOEND_MAX_BYTES &&
	       ioend->io_nr_bios + WB_RUN_BIOS <= IOMAP_IOEND_MAX_BIOS;
}

/*
 * What a run of up to BIO_MAX_VECS blocks of a folio may need: an ioend of its own with one bio,
 * and one more bio in that at hand, should it go on there.  0 or -ENOMEM.
 */
static int reserve_bios(struct wb *wb, const struct folio *f)
{
	struct iomap_writepage_ctx *wpc = wb->wpc;
	unsigned int vecs = (unsigned int)min_t(
		uint64_t, max_t(uint64_t, f->nblocks, atomic_load(&wb->m->nr_dirty_blocks)),
		BIO_MAX_VECS);

	if (wpc->ioend && !iomap_ioend_reserve(wpc->ioend, 1, vecs, NULL, false))
		wb_submit(wb);
	if (!wb->spare)
		wb->spare = iomap_ioend_alloc(wb->m, wpc->ops);
	if (!wb->spare)
		return -ENOMEM;
	if (iomap_ioend_reserve(wb->spare, 1, vecs, wpc->bs, false))
		return 0;
	/* the pool is dry, and we are to wait: nothing of ours may be among what is waited for */
	wb_submit(wb);
	return iomap_ioend_reserve(wb->spare, 1, vecs, wpc->bs, true) ? 0 : -ENOMEM;
}

/* Blocks [first, first + n) of @f into @ioend. */
static void add_to_ioend(struct wb *wb, struct iomap_ioend *ioend, struct folio *f,
			 unsigned int first, unsigned int n)
{
	struct address_space *m = wb->m;
	struct bio *bio = ioend->io_bio;
	unsigned int i = first, end = first + n;

	while (i < end) {
		struct folio_block *b = &f->blocks[i];
		unsigned int len = 1u << m->blkbits, j = i + 1, room;

		if (!bio || bio->bi_iter.bi_size >= IOEND_BIO_BYTES)
			bio = iomap_ioend_add_bio(ioend, wb->wpc->iomap.bdev);
		room = IOEND_BIO_BYTES - bio->bi_iter.bi_size;
		while (j < end && len + block_bytes(m) <= room && f->blocks[j].seg == b->seg &&
		       f->blocks[j].addr == (char *)b->addr + len) {
			len += 1u << m->blkbits;
			j++;
		}
		if (!bio_add_vec(bio, b->seg, b->addr, len)) {
			bio = NULL; /* full */
			continue;
		}
		ioend->io_size += len;
		i = j;
	}
}

/* Dirty blocks go under writeback. */
static void start_writeback(struct wb *wb, struct folio *f, unsigned int first, unsigned int n)
{
	struct folio_state *fs = folio_state(f);

	pthread_mutex_lock(&fs->lock);
	fs->nr_dirty -= bitmap_clear_range(folio_bits(f, fs, FB_DIRTY), first, n);
	bitmap_set_range(folio_bits(f, fs, FB_WRITEBACK), first, n);
	fs->write_bytes_pending += n << wb->m->blkbits;
	atomic_fetch_or(&f->flags, FOLIO_WRITEBACK);
	pthread_mutex_unlock(&fs->lock);
	mapping_account(wb->m, -(int64_t)n, n);
	wb->wbc->written += n;
}

/* Blocks that need not or cannot be written are no longer dirty. */
static void drop_dirty(struct wb *wb, struct folio *f, unsigned int first, unsigned int n)
{
	struct folio_state *fs = folio_state(f);

	pthread_mutex_lock(&fs->lock);
	n = bitmap_clear_range(folio_bits(f, fs, FB_DIRTY), first, n);
	fs->nr_dirty -= n;
	pthread_mutex_unlock(&fs->lock);
	mapping_account(wb->m, -(int64_t)n, 0);
	if (wb->m->a_ops->undirty)
		wb->m->a_ops->undirty(wb->m, n);
}

static void wb_error(struct wb *wb, int err)
{
	if (!wb->error)
		wb->error = err;
}

/* The file system had no place for the blocks. */
static void fail_run(struct wb *wb, struct folio *f, unsigned int first, unsigned int n, int err)
{
	const struct iomap_writeback_ops *ops = wb->wpc->ops;
	uint64_t pos = folio_pos(wb->m, f) + ((uint64_t)first << wb->m->blkbits);

	if (ops->discard_folio)
		ops->discard_folio(f, pos, (uint64_t)n << wb->m->blkbits);
	if (!ops->keep_dirty_on_error)
		drop_dirty(wb, f, first, n);
	wb_error(wb, err);
}

/* Mapped blocks [first, first + n): into the ioend at hand or a new one. */
static void writeback_blocks(struct wb *wb, struct folio *f, unsigned int first, unsigned int n)
{
	struct iomap_writepage_ctx *wpc = wb->wpc;
	uint64_t pos = folio_pos(wb->m, f) + ((uint64_t)first << wb->m->blkbits);

	if (wpc->ioend &&
	    !can_add(wpc->ioend, &wpc->iomap, wb->m, pos, (uint64_t)n << wb->m->blkbits))
		wb_submit(wb);
	if (!wpc->ioend) {
		iomap_ioend_start(wb->spare, &wpc->iomap, pos);
		wpc->ioend = wb->spare;
		wb->spare = NULL;
	}
	add_to_ioend(wb, wpc->ioend, f, first, n);
	start_writeback(wb, f, first, n);
}

/* One run of dirty blocks, or its front.  Blocks dealt with, or -ENOMEM. */
static int writeback_run(struct wb *wb, struct folio *f, unsigned int first, unsigned int n)
{
	struct iomap_writepage_ctx *wpc = wb->wpc;
	uint64_t pos = folio_pos(wb->m, f) + ((uint64_t)first << wb->m->blkbits), mapped;
	int err = reserve_bios(wb, f);

	if (err)
		return err;
	n = min_t(unsigned int, n, BIO_MAX_VECS);
	err = wpc->ops->map_blocks(wpc, wb->m, pos, (uint64_t)n << wb->m->blkbits);
	if (!err && (pos < wpc->iomap.offset || pos - wpc->iomap.offset >= wpc->iomap.length))
		err = -EIO;
	if (err) {
		fail_run(wb, f, first, n, err);
		return (int)n;
	}
	mapped = (wpc->iomap.offset + wpc->iomap.length - pos) >> wb->m->blkbits;
	n = (unsigned int)min_t(uint64_t, n, mapped);
	if (wpc->iomap.type == IOMAP_HOLE)
		drop_dirty(wb, f, first, n);
	else
		writeback_blocks(wb, f, first, n);
	return (int)n;
}

static unsigned int next_dirty_run(struct folio *f, unsigned int *first, unsigned int end)
{
	struct folio_state *fs = folio_state(f);
	unsigned int stop;

	pthread_mutex_lock(&fs->lock);
	*first = bitmap_next_set(folio_bits(f, fs, FB_DIRTY), *first, end);
	stop = bitmap_next_clear(folio_bits(f, fs, FB_DIRTY), *first, end);
	pthread_mutex_unlock(&fs->lock);
	return stop - *first;
}

/* What lies behind the end of the file in its last block is written as zeros, each time. */
static void zero_eof_tail(struct address_space *m, struct folio *f, uint64_t isize)
{
	uint64_t in_block = isize & (block_bytes(m) - 1), fpos = folio_pos(m, f);
	struct folio_block *b;

	if (!in_block || isize - fpos >= 1ULL << m->folio_shift)
		return;
	b = &f->blocks[(isize - fpos) >> m->blkbits];
	if (b->seg && iomap_block_dirty(f, (unsigned int)((isize - fpos) >> m->blkbits)))
		memset((char *)b->addr + in_block, 0, block_bytes(m) - in_block);
}

/*
 * A locked folio that is not under writeback (docs/IO.md, row B14).
 *
 *        i_size:      |            wholly inside: all that is dirty
 *   [ b b b b ][ b b b|b ][ b ...  straddling: up to the block with the end, its tail zeroed
 *     inside    straddles  outside outside: left alone, a truncate is on its way
 */
static void write_folio(struct wb *wb, struct folio *f)
{
	struct address_space *m = wb->m;
	uint64_t fpos = folio_pos(m, f), isize = i_size_read(m), stop;
	unsigned int i = 0, end, n;
	int ret;

	if (fpos >= isize)
		return;
	stop = min_t(uint64_t, min_t(uint64_t, isize, wb->wbc->end) - fpos, 1ULL << m->folio_shift);
	end = (unsigned int)div_up(stop, block_bytes(m));
	if (wb->wbc->start > fpos)
		i = (unsigned int)((wb->wbc->start - fpos) >> m->blkbits);
	zero_eof_tail(m, f, isize);
	while ((n = next_dirty_run(f, &i, end))) {
		ret = writeback_run(wb, f, i, n);
		if (ret < 0) {
			wb_error(wb, ret);
			break;
		}
		i += (unsigned int)ret;
	}
	filemap_sync_dirty_tag(m, f);
}

/*
 * Lock the folio and wait for its last writeback.  What has been built so far is
 * sent off before any wait: whoever we wait for may be waiting for it.
 */
static bool lock_for_write(struct wb *wb, struct folio *f)
{
	if (!folio_trylock(f)) {
		wb_submit(wb);
		folio_lock(f);
	}
	if (f->mapping == wb->m && folio_test(f, FOLIO_WRITEBACK) && wb->wbc->sync) {
		wb_submit(wb);
		folio_wait_writeback(f);
	}
	if (f->mapping == wb->m && !folio_test(f, FOLIO_WRITEBACK) && folio_test(f, FOLIO_DIRTY))
		return true;
	folio_unlock(f);
	return false;
}

int iomap_writepages(struct address_space *m, struct writeback_control *wbc,
		     struct iomap_writepage_ctx *wpc, const struct iomap_writeback_ops *ops)
{
	struct wb wb = { .m = m, .wbc = wbc, .wpc = wpc };
	uint64_t index = wbc->start >> m->folio_shift, last;
	struct folio *f;

	if (wbc->start >= wbc->end)
		return 0;
	trace3(iomap_writepages, m->ino, wbc->start, wbc->end);
	wpc->ops = ops;
	last = (wbc->end - 1) >> m->folio_shift;
	for (; (f = filemap_next_folio(m, &index, last, true)); index++) {
		if (lock_for_write(&wb, f)) {
			write_folio(&wb, f);
			folio_unlock(f);
		}
		folio_put(f);
		if (wbc->written >= wbc->nr_to_write)
			break;
	}
	wb_submit(&wb);
	if (wb.spare)
		iomap_ioend_free(wb.spare);
	return wb.error;
}
