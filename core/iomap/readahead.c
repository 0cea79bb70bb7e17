/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sequential reads (docs/IO.md, row B4): what comes next is fetched before it is asked for, and
 * what lies behind is let go, so that a long read turns over a few MiB of warm memory instead
 * of faulting in, filling and reclaiming the whole cache.
 */
#include "core/iomap/internal.h"
#include "core/lib/trace.h"

/* The window grows from the one to the other. */
#define RA_MIN (128u << 10)
#define RA_MAX (2u << 20)
/* A reader's requests are served by several threads: so far, or this many requests, they may
 * overtake each other. */
#define RA_SLACK (256u << 10)
#define RA_SLACK_REQUESTS 4
/* What is kept behind a sequential reader: more than its requests overtake each other. */
#define RA_BEHIND (4u << 20)

/* Folios from @index on (at most @max) that can be locked at once and miss something; each keeps a
 * byte pending. */
static unsigned int ra_collect(struct address_space *m, uint64_t index, unsigned int max,
			       struct folio **folios)
{
	unsigned int n;

	for (n = 0; n < max; n++) {
		struct folio *f = filemap_try_grab_folio(m, index + n);
		struct folio_state *fs;

		if (!f)
			break;
		fs = folio_state_create(f);
		if (!fs || folio_test(f, FOLIO_UPTODATE)) {
			folio_unlock(f);
			folio_put(f);
			break;
		}
		pthread_mutex_lock(&fs->lock);
		fs->read_bytes_pending = 1;
		pthread_mutex_unlock(&fs->lock);
		folios[n] = f;
	}
	return n;
}

void iomap_readahead(struct address_space *m, uint64_t pos, uint64_t len,
		     const struct iomap_ops *ops)
{
	uint64_t bs = block_bytes(m), isize = i_size_read(m), end, index, last;
	struct folio *folios[READ_BATCH];
	struct read_op op;
	unsigned int n;

	trace3(iomap_readahead, m->ino, pos, len);
	end = pos + len < pos ? isize : min_t(uint64_t, pos + len, isize);
	pos = round_down_to(pos, bs);
	end = round_up_to(end, bs);
	while (pos < end) {
		/* never at the price of what is dirty, or of waiting */
		if (!pagecache_make_room(
			    m->cache, min_t(uint64_t, end - pos, pagecache_unit(m->cache)), false))
			return;
		index = pos >> m->folio_shift;
		last = (end - 1) >> m->folio_shift;
		n = ra_collect(m, index,
			       (unsigned int)min_t(uint64_t, last - index + 1, READ_BATCH), folios);
		if (n) {
			uint64_t stop = min_t(uint64_t, end, (index + n) << m->folio_shift);

			read_op_init(&op, m, ops, folios, n, false);
			read_op_fill(&op, pos, stop);
			if (read_op_finish(&op))
				return;
		}
		pos = (index + max_t(unsigned int, n, 1)) << m->folio_shift;
	}
}

/* Is a read of [pos, end) near enough to where the last one ended to be the same reader's next? */
static bool ra_goes_on(uint64_t prev, uint64_t pos, uint64_t end)
{
	uint64_t slack = max_t(uint64_t, RA_SLACK, RA_SLACK_REQUESTS * (end - pos));

	return !pos || (pos + slack >= prev && pos <= prev + slack);
}

/* What follows @end is to be fetched when less than half a window of it has been fetched before. */
static void ra_fetch(struct address_space *m, uint64_t end, struct iomap_ahead *a)
{
	uint64_t ahead = atomic_load_explicit(&m->ra_end, memory_order_relaxed);
	uint64_t window = atomic_load_explicit(&m->ra_window, memory_order_relaxed);
	uint64_t isize = i_size_read(m), bound = atomic_load(&m->cache->cache_bytes) / 8;

	if (end >= isize)
		return;
	if (ahead < end || ahead > end + 2 * (uint64_t)RA_MAX)
		ahead = end;
	if (ahead - end > window / 2)
		return;
	window = window ? min_t(uint64_t, window * 2, RA_MAX) : RA_MIN;
	if (bound)
		window = min_t(uint64_t, window, bound);
	atomic_store_explicit(&m->ra_window, window, memory_order_relaxed);
	end = min_t(uint64_t, end + window, isize);
	if (end <= ahead)
		return;
	atomic_store_explicit(&m->ra_end, end, memory_order_relaxed);
	a->fetch = ahead;
	a->fetch_len = end - ahead;
}

bool iomap_read_note(struct address_space *m, uint64_t pos, uint64_t end, struct iomap_ahead *a)
{
	uint64_t prev = atomic_load_explicit(&m->ra_prev, memory_order_relaxed);

	*a = (struct iomap_ahead){ 0 };
	if (!ra_goes_on(prev, pos, end)) {
		atomic_store_explicit(&m->ra_prev, end, memory_order_relaxed);
		atomic_store_explicit(&m->ra_end, 0, memory_order_relaxed);
		atomic_store_explicit(&m->ra_window, 0, memory_order_relaxed);
		return false;
	}
	atomic_store_explicit(&m->ra_prev, pos ? max_t(uint64_t, prev, end) : end,
			      memory_order_relaxed);
	if (end > RA_BEHIND &&
	    atomic_load_explicit(&m->ra_window, memory_order_relaxed) >= RA_MAX) {
		a->behind = pos > RA_BEHIND ? pos - RA_BEHIND : 0;
		a->behind_end = end - RA_BEHIND;
	}
	ra_fetch(m, end, a);
	return a->fetch_len || a->behind < a->behind_end;
}

void iomap_read_ahead(struct address_space *m, const struct iomap_ahead *a,
		      const struct iomap_ops *ops)
{
	if (a->behind < a->behind_end)
		pagecache_drop_behind(m, a->behind, a->behind_end);
	if (a->fetch_len)
		iomap_readahead(m, a->fetch, a->fetch_len, ops);
}
