/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SEEK_HOLE and SEEK_DATA.  The mapping knows what has been written back, the
 * cache what has not: over a hole or an unwritten extent a block counts as data
 * when it is dirty, under writeback, or has memory of its own (its writeback ended
 * after we looked at the mapping).
 */
#include <errno.h>
#include "core/iomap/internal.h"

static bool block_is_data(const struct folio *f, struct folio_state *fs, unsigned int i)
{
	return f->blocks[i].seg || bitmap_test(folio_bits(f, fs, FB_DIRTY), i) ||
	       bitmap_test(folio_bits(f, fs, FB_WRITEBACK), i);
}

/* First byte in [pos, end) of @f's part where the cache has data (@data) or none; @end if there is
 * none. */
static uint64_t seek_folio(struct address_space *m, struct folio *f, uint64_t pos, uint64_t end,
			   bool data)
{
	struct folio_state *fs = folio_state(f);
	uint64_t fpos = f->index << m->folio_shift;
	unsigned int i = (unsigned int)((pos - fpos) >> m->blkbits);
	unsigned int stop = (unsigned int)div_up(end - fpos, block_bytes(m));

	if (!fs)
		return data ? end : pos;
	pthread_mutex_lock(&fs->lock);
	while (i < stop && block_is_data(f, fs, i) != data)
		i++;
	pthread_mutex_unlock(&fs->lock);
	return min_t(uint64_t, end, max_t(uint64_t, pos, fpos + ((uint64_t)i << m->blkbits)));
}

/* First byte in [pos, end) where the cache has data (@data) or none; @end if there is none. */
static uint64_t seek_cache(struct address_space *m, uint64_t pos, uint64_t end, bool data)
{
	while (pos < end) {
		uint64_t index = pos >> m->folio_shift, at = index, stop, found;
		struct folio *f = filemap_next_folio(m, &at, (end - 1) >> m->folio_shift, false);

		if (!f || at > index) {
			/* nothing cached between here and the next folio */
			if (!data || !f) {
				if (f)
					folio_put(f);
				return data ? end : pos;
			}
			pos = at << m->folio_shift;
		}
		stop = min_t(uint64_t, end, (at + 1) << m->folio_shift);
		found = seek_folio(m, f, pos, stop, data);
		folio_put(f);
		if (found < stop)
			return found;
		pos = stop;
	}
	return end;
}

/* Where in the current mapping data (or a hole) begins; its end if nowhere. */
static uint64_t seek_mapping(const struct iomap_iter *it, bool data)
{
	uint64_t end = it->pos + iomap_length(it);

	if (it->iomap.type == IOMAP_HOLE || it->iomap.type == IOMAP_UNWRITTEN)
		return seek_cache(it->mapping, it->pos, end, data);
	return data ? it->pos : end;
}

static int64_t seek(struct address_space *m, uint64_t pos, const struct iomap_ops *ops, bool data)
{
	uint64_t isize = i_size_read(m);
	struct iomap_iter it = { .mapping = m, .pos = pos, .flags = IOMAP_REPORT };
	int ret;

	if (pos >= isize)
		return -ENXIO;
	it.len = isize - pos;
	while ((ret = iomap_iter(&it, ops)) > 0) {
		uint64_t end = it.pos + iomap_length(&it), found = seek_mapping(&it, data);

		it.processed = (int64_t)(end - it.pos);
		if (found >= end)
			continue;
		it.len = end - it.pos; /* end the walk with this mapping */
		ret = iomap_iter(&it, ops);
		return ret < 0 ? ret : (int64_t)found;
	}
	if (ret < 0)
		return ret;
	return data ? -ENXIO : (int64_t)isize;
}

int64_t iomap_seek_hole(struct address_space *m, uint64_t pos, const struct iomap_ops *ops)
{
	return seek(m, pos, ops, false);
}

int64_t iomap_seek_data(struct address_space *m, uint64_t pos, const struct iomap_ops *ops)
{
	return seek(m, pos, ops, true);
}
