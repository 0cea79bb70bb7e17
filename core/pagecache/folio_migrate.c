/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A folio's blocks and their state in another folio (docs/IO.md, row B6).  For a cache whose folios
 * move or change size: this one's do not, and nothing in the daemon calls it.
 */
#include <errno.h>
#include <string.h>
#include "core/pagecache/folio_state.h"
#include "core/pagecache/pagecache_internal.h"

/*
 * @to, fresh and in no index, takes the place, the blocks and the state of @from.
 * -EBUSY: @from is under writeback (its completion looks for the blocks where
 * they were); -EINVAL: the folios do not fit.
 */
int iomap_migrate_folio(struct folio *to, struct folio *from)
{
	struct address_space *m = from->mapping;
	struct folio_state *fs = folio_state(from);
	unsigned int i;

	if (!m || to->mapping || folio_state(to) || to->nblocks != from->nblocks ||
	    to->index != from->index)
		return -EINVAL;
	if (folio_test(from, FOLIO_WRITEBACK))
		return -EBUSY;
	if (fs) {
		struct folio_state *ts = folio_state_create(to);

		if (!ts)
			return -ENOMEM;
		pthread_mutex_lock(&fs->lock);
		memcpy(ts->bits, fs->bits,
		       (size_t)FB_NR * BITS_TO_LONGS(from->nblocks) * sizeof(long));
		ts->nr_uptodate = fs->nr_uptodate;
		ts->nr_dirty = fs->nr_dirty;
		for (i = 0; i < from->nblocks; i++) {
			to->blocks[i] = from->blocks[i];
			from->blocks[i] = (struct folio_block){ 0 };
		}
		memset(fs->bits, 0, (size_t)FB_NR * BITS_TO_LONGS(from->nblocks) * sizeof(long));
		fs->nr_uptodate = fs->nr_dirty = 0;
		pthread_mutex_unlock(&fs->lock);
		atomic_fetch_or(&to->flags, atomic_load(&from->flags) &
						    (FOLIO_UPTODATE | FOLIO_DIRTY | FOLIO_ERROR));
		atomic_fetch_and(&from->flags, ~(FOLIO_UPTODATE | FOLIO_DIRTY | FOLIO_ERROR));
	}
	filemap_replace_folio(m, from, to);
	return 0;
}
