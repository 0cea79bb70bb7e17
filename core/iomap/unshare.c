/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Unsharing (docs/IO.md, row B10): blocks shared with another file are read and dirtied as
 * they are, and writeback, which never writes to shared blocks, gives this file
 * its own.
 */
#include <errno.h>
#include "core/iomap/internal.h"

/* Blocks [first, first + n) of a locked folio.  0 or -errno. */
static int unshare_blocks(struct folio *f, unsigned int first, unsigned int n,
			  struct iomap_iter *it, const struct iomap_ops *ops)
{
	struct address_space *m = f->mapping;
	unsigned int i = first, newly;
	int err;

	if (!folio_state_create(f))
		return -ENOMEM;
	if (folio_next_run(f, &i, first + n, false)) {
		err = iomap_read_blocks(f, first, n, ops,
					iomap_readable_map(m, iomap_iter_srcmap(it), it->pos));
		if (err)
			return err;
	}
	newly = folio_dirty_blocks(m, f, first, n);
	folio_account_dirty(m, f, newly);
	it->dirtied += newly;
	return 0;
}

static int64_t unshare_mapping(struct iomap_iter *it, const struct iomap_ops *ops, void *arg)
{
	const struct iomap *src = iomap_iter_srcmap(it);
	struct address_space *m = it->mapping;
	uint64_t size = 1ULL << m->folio_shift, length = iomap_length(it), done = 0;
	int err = 0;

	if (!(it->iomap.flags & IOMAP_F_SHARED) || src->type != IOMAP_MAPPED)
		return (int64_t)length;
	while (done < length && it->dirtied << m->blkbits < pagecache_unit(m->cache)) {
		uint64_t pos = it->pos + done, off = pos & (size - 1);
		uint64_t want = min_t(uint64_t, size - off, length - done);
		struct folio *f = iomap_get_folio(it, pos, ops, &err);

		if (!f)
			break;
		err = unshare_blocks(
			f, (unsigned int)(off >> m->blkbits),
			(unsigned int)(div_up(off + want, block_bytes(m)) - (off >> m->blkbits)),
			it, ops);
		folio_unlock(f);
		folio_put(f);
		if (err)
			break;
		done += want;
	}
	return done ? (int64_t)done : err;
}

int iomap_file_unshare(struct address_space *m, uint64_t pos, uint64_t len,
		       const struct iomap_ops *ops)
{
	uint64_t isize = i_size_read(m);

	if (pos >= isize)
		return 0;
	len = min_t(uint64_t, len, isize - pos);
	return iomap_walk_throttled(m, pos, len, IOMAP_WRITE | IOMAP_UNSHARE, ops, unshare_mapping,
				    NULL);
}
