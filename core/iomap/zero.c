/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Zeroing through the cache (docs/IO.md, row B11).  Whole blocks cost no memory: they point
 * to static zeros and are dirty.  Holes and unwritten extents are zero
 * already, except for what the cache has over them and has not written yet.
 */
#include <errno.h>
#include "core/iomap/internal.h"

/* The first run of blocks in [*first, end) that are dirty; *unsettled: one under writeback and
 * clean came before it. */
static unsigned int next_settled_dirty_run(struct folio *f, unsigned int *first, unsigned int end,
					   bool *unsettled)
{
	struct folio_state *fs = folio_state(f);
	unsigned int dirty, stop, i;

	pthread_mutex_lock(&fs->lock);
	dirty = bitmap_next_set(folio_bits(f, fs, FB_DIRTY), *first, end);
	stop = bitmap_next_clear(folio_bits(f, fs, FB_DIRTY), dirty, end);
	i = bitmap_next_set(folio_bits(f, fs, FB_WRITEBACK), *first, dirty);
	*unsettled = i < dirty;
	pthread_mutex_unlock(&fs->lock);
	*first = dirty;
	return stop - dirty;
}

/*
 * Zero what is dirty of bytes [from, to) in a locked folio over a hole or an unwritten extent.  0,
 * -errno, or -EAGAIN: a block is being written, and will be mapped once that is done, or already
 * was.
 */
static int zero_dirty_blocks(struct folio *f, size_t from, size_t to, struct iomap_iter *it,
			     const struct iomap_ops *ops, bool *did_zero)
{
	struct address_space *m = f->mapping;
	unsigned int i = (unsigned int)(from >> m->blkbits), n;
	unsigned int end = (unsigned int)div_up(to, block_bytes(m));
	bool unsettled = false;

	if (!folio_state(f))
		return 0;
	if (ops->iomap_valid && !ops->iomap_valid(m, &it->iomap))
		return -EAGAIN;
	while ((n = next_settled_dirty_run(f, &i, end, &unsettled)) && !unsettled) {
		size_t start = max_t(size_t, from, (size_t)i << m->blkbits);
		size_t stop = min_t(size_t, to, (size_t)(i + n) << m->blkbits);
		int64_t ret = folio_write(f, start, stop - start, NULL, 0, it, ops, &it->dirtied);

		if (ret < (int64_t)(stop - start))
			return ret < 0 ? (int)ret : -ENOMEM;
		*did_zero = true;
		i += n;
	}
	return unsettled ? -EAGAIN : 0;
}

/*
 * A hole or unwritten extent: only what is dirty in the cache needs work.  What was dirty when the
 * mapping was made may by now be written, mapped, and gone from the cache: so the mapping must hold
 * at the end as well.
 */
static int64_t zero_over_hole(struct iomap_iter *it, const struct iomap_ops *ops, bool *did_zero)
{
	struct address_space *m = it->mapping;
	uint64_t length = iomap_length(it), end = it->pos + length,
		 index = it->pos >> m->folio_shift;
	bool busy = mapping_busy(m);
	struct folio *f;
	int err = 0;

	for (; busy && !err &&
	       (f = filemap_next_folio(m, &index, (end - 1) >> m->folio_shift, false));
	     index++) {
		folio_lock(f);
		if (f->mapping == m) {
			uint64_t pos = folio_pos(m, f);

			err = zero_dirty_blocks(f, it->pos > pos ? it->pos - pos : 0,
						min_t(uint64_t, end - pos, 1ULL << m->folio_shift),
						it, ops, did_zero);
		}
		folio_unlock(f);
		if (err == -EAGAIN)
			folio_wait_writeback(f);
		folio_put(f);
	}
	if (!err && ops->iomap_valid && !ops->iomap_valid(m, &it->iomap))
		err = -EAGAIN;
	if (err == -EAGAIN) {
		it->iomap.flags |= IOMAP_F_STALE;
		return 0;
	}
	return err ? err : (int64_t)length;
}

static int64_t zero_mapping(struct iomap_iter *it, const struct iomap_ops *ops, void *arg)
{
	const struct iomap *src = iomap_iter_srcmap(it);
	struct address_space *m = it->mapping;
	uint64_t size = 1ULL << m->folio_shift, length = iomap_length(it), done = 0;
	/* no more than about this much between two looks at the dirty limit */
	size_t unit = pagecache_unit(m->cache);
	bool *did_zero = arg;
	int64_t n = 0;
	int err;

	if (src->type == IOMAP_HOLE || src->type == IOMAP_UNWRITTEN)
		return zero_over_hole(it, ops, did_zero);
	while (done < length && it->dirtied << m->blkbits < unit) {
		uint64_t pos = it->pos + done, off = pos & (size - 1);
		uint64_t want = min_t(uint64_t, size - off, length - done);
		struct folio *f = iomap_get_folio(it, pos, ops, &err);

		if (!f)
			return done ? (int64_t)done : err;
		n = folio_write(f, off, want, NULL, 0, it, ops, &it->dirtied);
		folio_unlock(f);
		folio_put(f);
		if (n > 0) {
			done += (uint64_t)n;
			*did_zero = true;
		}
		if (n < (int64_t)want)
			break;
	}
	return done ? (int64_t)done : n;
}

int iomap_zero_range(struct address_space *m, uint64_t pos, uint64_t len, bool *did_zero,
		     const struct iomap_ops *ops)
{
	bool unused = false;

	return iomap_walk_throttled(m, pos, len, IOMAP_ZERO, ops, zero_mapping,
				    did_zero ? did_zero : &unused);
}

int iomap_truncate_page(struct address_space *m, uint64_t pos, bool *did_zero,
			const struct iomap_ops *ops)
{
	uint64_t off = pos & (block_bytes(m) - 1);

	return off ? iomap_zero_range(m, pos, block_bytes(m) - off, did_zero, ops) : 0;
}
