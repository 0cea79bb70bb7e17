/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A mapping's folios: lookup, ranges to write, wait for, truncate and invalidate. */
#include <errno.h>
#include "core/pagecache/folio_state.h"
#include "core/pagecache/pagecache_internal.h"

struct folio *filemap_get_folio(struct address_space *m, uint64_t index)
{
	struct folio *f;

	pthread_mutex_lock(&m->lock);
	f = radix_lookup(&m->index, index);
	if (f)
		folio_get(f);
	pthread_mutex_unlock(&m->lock);
	return f;
}

void filemap_get_batch(struct address_space *m, uint64_t index, unsigned int n, struct folio **out)
{
	unsigned int i;

	pthread_mutex_lock(&m->lock);
	for (i = 0; i < n; i++) {
		out[i] = radix_lookup(&m->index, index + i);
		if (out[i])
			folio_get(out[i]);
	}
	pthread_mutex_unlock(&m->lock);
}

struct folio *filemap_next_folio(struct address_space *m, uint64_t *index, uint64_t last,
				 bool dirty)
{
	struct folio *f;

	pthread_mutex_lock(&m->lock);
	f = radix_next(&m->index, index, dirty);
	if (f && *index > last)
		f = NULL;
	if (f)
		folio_get(f);
	pthread_mutex_unlock(&m->lock);
	return f;
}

struct folio *filemap_lock_folio(struct address_space *m, uint64_t index)
{
	struct folio *f;

	while ((f = filemap_get_folio(m, index))) {
		folio_lock(f);
		if (f->mapping == m)
			return f;
		folio_unlock(f);
		folio_put(f);
	}
	return NULL;
}

/* 0, -EEXIST (somebody was faster), -ENOMEM */
static int filemap_add_folio(struct address_space *m, struct folio *f)
{
	int err;

	f->mapping = m;
	folio_get(f);
	pthread_mutex_lock(&m->lock);
	err = radix_insert(&m->index, f->index, f);
	if (!err) {
		m->nr_folios++;
		lru_add(m->cache, f);
	}
	pthread_mutex_unlock(&m->lock);
	if (err) {
		f->mapping = NULL;
		folio_put(f);
	}
	return err;
}

struct folio *filemap_try_grab_folio(struct address_space *m, uint64_t index)
{
	struct folio *f = filemap_get_folio(m, index);

	if (f) {
		if (folio_trylock(f)) {
			if (f->mapping == m)
				return f;
			folio_unlock(f);
		}
		folio_put(f);
		return NULL;
	}
	f = folio_alloc(m, index);
	if (!f)
		return NULL;
	if (!filemap_add_folio(m, f))
		return f;
	folio_unlock(f);
	folio_put(f);
	return NULL;
}

struct folio *filemap_grab_folio(struct address_space *m, uint64_t index)
{
	for (;;) {
		struct folio *f = filemap_lock_folio(m, index);
		int err;

		if (f)
			return f;
		f = folio_alloc(m, index);
		if (!f)
			return NULL;
		err = filemap_add_folio(m, f);
		if (!err)
			return f;
		folio_unlock(f);
		folio_put(f);
		if (err != -EEXIST)
			return NULL;
	}
}

bool filemap_remove_folio(struct address_space *m, struct folio *f, bool force)
{
	bool ok;

	pthread_mutex_lock(&m->lock);
	/* the index holds one reference, the caller the other; new ones are only had under this
	 * lock */
	ok = force || (atomic_load(&f->refs) == 2 && !folio_has_busy_blocks(f));
	if (ok) {
		radix_delete(&m->index, f->index);
		m->nr_folios--;
		f->mapping = NULL;
	}
	pthread_mutex_unlock(&m->lock);
	if (ok) {
		lru_del(f->cache, f);
		folio_put(f);
	}
	return ok;
}

void filemap_replace_folio(struct address_space *m, struct folio *from, struct folio *to)
{
	folio_get(to);
	to->mapping = m;
	pthread_mutex_lock(&m->lock);
	radix_replace(&m->index, from->index, to);
	from->mapping = NULL;
	lru_add(m->cache, to);
	pthread_mutex_unlock(&m->lock);
	lru_del(from->cache, from);
	folio_put(from);
}

void filemap_sync_dirty_tag(struct address_space *m, struct folio *f)
{
	struct folio_state *fs = folio_state(f);

	pthread_mutex_lock(&m->lock);
	pthread_mutex_lock(&fs->lock);
	if (fs->nr_dirty) {
		radix_tag_set(&m->index, f->index);
		atomic_fetch_or(&f->flags, FOLIO_DIRTY);
	} else {
		radix_tag_clear(&m->index, f->index);
		atomic_fetch_and(&f->flags, ~FOLIO_DIRTY);
	}
	pthread_mutex_unlock(&fs->lock);
	pthread_mutex_unlock(&m->lock);
}

/* Index of the last folio that [start, end) touches; the range is not empty. */
static uint64_t last_index(struct address_space *m, uint64_t end)
{
	return (end - 1) >> m->folio_shift;
}

/* Does the part of @f in [start, end) hold a dirty block or one under writeback? */
static bool folio_range_busy(struct address_space *m, struct folio *f, uint64_t start, uint64_t end)
{
	struct folio_state *fs = folio_state(f);
	uint64_t pos = f->index << m->folio_shift;
	unsigned int first = start > pos ? (start - pos) >> m->blkbits : 0;
	unsigned int stop = f->nblocks;
	bool busy;

	if (!fs)
		return false;
	if (end - pos < (uint64_t)f->nblocks << m->blkbits)
		stop = div_up(end - pos, 1ULL << m->blkbits);
	pthread_mutex_lock(&fs->lock);
	busy = bitmap_next_set(folio_bits(f, fs, FB_DIRTY), first, stop) < stop ||
	       bitmap_next_set(folio_bits(f, fs, FB_WRITEBACK), first, stop) < stop;
	pthread_mutex_unlock(&fs->lock);
	return busy;
}

bool filemap_range_busy(struct address_space *m, uint64_t start, uint64_t end)
{
	uint64_t index = start >> m->folio_shift;
	struct folio *f;
	bool busy = false;

	if (start >= end || !mapping_busy(m))
		return false;
	for (; !busy && (f = filemap_next_folio(m, &index, last_index(m, end), false)); index++) {
		busy = folio_range_busy(m, f, start, end);
		folio_put(f);
	}
	return busy;
}

int filemap_writepages(struct address_space *m, struct writeback_control *wbc)
{
	int err = m->a_ops->writepages(m, wbc);

	if (err) {
		mapping_set_error(m, err);
		mapping_back_off(m);
	}
	return err;
}

int filemap_fdatawrite_range(struct address_space *m, uint64_t start, uint64_t end)
{
	struct writeback_control wbc = {
		.start = start, .end = end, .nr_to_write = UINT64_MAX, .sync = true
	};

	if (start >= end || !atomic_load(&m->nr_dirty_blocks))
		return 0;
	return filemap_writepages(m, &wbc);
}

void filemap_fdatawait_range(struct address_space *m, uint64_t start, uint64_t end)
{
	uint64_t index = start >> m->folio_shift;
	struct folio *f;

	if (start >= end || !atomic_load(&m->nr_writeback_blocks))
		return;
	for (; (f = filemap_next_folio(m, &index, last_index(m, end), false)); index++) {
		folio_wait_writeback(f);
		folio_put(f);
	}
}

int filemap_write_and_wait_range(struct address_space *m, uint64_t start, uint64_t end)
{
	uint64_t mark = mapping_error_mark(m);
	int err = filemap_fdatawrite_range(m, start, end);

	filemap_fdatawait_range(m, start, end);
	return err ? err : mapping_error_after(m, mark);
}

/* The whole blocks of [start, end) in a locked folio without writeback go; the folio too, if it is
 * all inside. */
static void truncate_folio(struct address_space *m, struct folio *f, uint64_t start, uint64_t end)
{
	uint64_t size = 1ULL << m->folio_shift, pos = folio_pos(m, f);
	uint64_t from = start > pos ? start - pos : 0;
	uint64_t to = end - pos < size ? end - pos : size;

	iomap_invalidate_folio(f, from, to - from);
	if (!from && to == size)
		filemap_remove_folio(m, f, true);
}

void truncate_inode_pages_range(struct address_space *m, uint64_t start, uint64_t end)
{
	uint64_t bs = 1ULL << m->blkbits, index;
	struct folio *f;

	start = round_up_to(start, bs);
	if (end != UINT64_MAX)
		end = round_down_to(end, bs);
	if (start >= end)
		return;
	index = start >> m->folio_shift;
	for (; (f = filemap_next_folio(m, &index, last_index(m, end), false)); index++) {
		folio_lock(f);
		if (f->mapping == m) {
			folio_wait_writeback(f);
			truncate_folio(m, f, start, end);
		}
		folio_unlock(f);
		folio_put(f);
	}
}

void truncate_inode_pages(struct address_space *m, uint64_t start)
{
	truncate_inode_pages_range(m, start, UINT64_MAX);
}

/* Drop what is clean of [start, end) in a locked folio.  0, or -EBUSY if something is not. */
static int invalidate_folio(struct address_space *m, struct folio *f, uint64_t start, uint64_t end)
{
	uint64_t pos = folio_pos(m, f), bs = 1ULL << m->blkbits, at;

	if (!folio_range_busy(m, f, start, end)) {
		truncate_folio(m, f, start, end);
		return 0;
	}
	start = max_t(uint64_t, start, pos);
	end = min_t(uint64_t, end, pos + (1ULL << m->folio_shift));
	for (at = start; at < end; at += bs)
		if (!folio_range_busy(m, f, at, at + bs))
			iomap_invalidate_folio(f, at - pos, bs);
	return -EBUSY;
}

int invalidate_inode_pages_range(struct address_space *m, uint64_t start, uint64_t end)
{
	uint64_t bs = 1ULL << m->blkbits, index;
	struct folio *f;
	int err = 0;

	start = round_up_to(start, bs);
	if (end != UINT64_MAX)
		end = round_down_to(end, bs);
	if (start >= end)
		return 0;
	index = start >> m->folio_shift;
	for (; (f = filemap_next_folio(m, &index, last_index(m, end), false)); index++) {
		folio_lock(f);
		if (f->mapping == m && invalidate_folio(m, f, start, end))
			err = -EBUSY;
		folio_unlock(f);
		folio_put(f);
	}
	return err;
}
