/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A folio is about to be written in place (docs/IO.md, row B12).  For a program that maps files
 * into memory: the daemon has no such mappings and does not call it.
 */
#include <errno.h>
#include <string.h>
#include "core/iomap/internal.h"

/*
 * Give blocks whose memory must not change (writeback, static zeros) memory of their own with the
 * same content.
 */
static int folio_make_writable(struct address_space *m, struct folio *f, unsigned int first,
			       unsigned int n)
{
	struct folio_state *fs = folio_state(f);
	unsigned int i;

	for (i = first; i < first + n; i++) {
		struct seg *seg;
		bool ok;

		pthread_mutex_lock(&fs->lock);
		ok = folio_block_writable(f, fs, i);
		pthread_mutex_unlock(&fs->lock);
		if (ok)
			continue;
		seg = pagecache_seg_alloc(m->cache, block_bytes(m));
		if (!seg)
			return -ENOMEM;
		memcpy(seg->base, f->blocks[i].addr, block_bytes(m));
		folio_publish(m, f, i, 1, seg, seg->base, false);
		seg_put(seg);
	}
	return 0;
}

/* The part of a folio that the current mapping covers becomes dirty, in memory of its own. */
static int64_t mkwrite_mapping(struct iomap_iter *it, struct folio *f)
{
	struct address_space *m = it->mapping;
	unsigned int first = (unsigned int)((it->pos - folio_pos(m, f)) >> m->blkbits);
	unsigned int n = (unsigned int)div_up(iomap_length(it), block_bytes(m));
	int err = folio_make_writable(m, f, first, n);

	if (err)
		return err;
	it->dirtied = folio_dirty_blocks(m, f, first, n);
	folio_account_dirty(m, f, (unsigned int)it->dirtied);
	return (int64_t)iomap_length(it);
}

int iomap_page_mkwrite(struct folio *f, const struct iomap_ops *ops)
{
	struct address_space *m = f->mapping;
	struct iomap_iter it = { .mapping = m, .flags = IOMAP_WRITE | IOMAP_FAULT };
	int ret;

	if (!m || folio_pos(m, f) >= i_size_read(m))
		return -EFAULT;
	it.pos = folio_pos(m, f);
	it.len = min_t(uint64_t, 1ULL << m->folio_shift,
		       round_up_to(i_size_read(m), block_bytes(m)) - it.pos);
	if (!iomap_is_partially_uptodate(f, 0, it.len))
		return -EIO;
	while ((ret = iomap_iter(&it, ops)) > 0)
		it.processed = mkwrite_mapping(&it, f);
	return ret;
}
