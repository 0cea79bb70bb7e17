/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * core/pagecache/folio_state.c, folio.c, errseq.c: per-folio state: B2, B5, B6, and errseq (B17).
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include "core/pagecache/pagecache_internal.h"
#include "tests/lib/toymap.h"

#define BS 4096u
#define FOLIO (8 * BS)

static struct toymap t;
static char buf[1 << 20];

static void setup(void)
{
	toymap_init(&t, &(struct toy_config){ .blkbits = 12,
					      .folio_shift = 15,
					      .file_bytes = 4 << 20,
					      .dev_bytes = 8 << 20,
					      .integrity = true });
}

static void teardown(void)
{
	toymap_exit(&t);
}

TestSuite(folio_state, .init = setup, .fini = teardown);

Test(folio_state, state_is_made_lazily_and_uptodate_is_all_bits)
{
	struct folio *f = filemap_grab_folio(&t.mapping, 0);

	cr_assert_null(folio_state(f));
	cr_assert(!iomap_is_partially_uptodate(f, 0, 1));
	folio_unlock(f);
	memset(buf, 1, sizeof(buf));
	toymap_write(&t, BS, buf, 3 * BS);
	cr_assert(!folio_test(f, FOLIO_UPTODATE));
	cr_assert(!iomap_block_uptodate(f, 0));
	cr_assert(iomap_block_uptodate(f, 1) && iomap_block_dirty(f, 3));
	cr_assert(!iomap_block_dirty(f, 4));
	cr_assert(iomap_is_partially_uptodate(f, BS + 1, 3 * BS - 1));
	cr_assert(!iomap_is_partially_uptodate(f, BS - 1, 2));
	cr_assert(!iomap_is_partially_uptodate(f, BS, 3 * BS + 1));
	/* absent blocks take no memory */
	cr_assert_null(f->blocks[0].addr);
	cr_assert_eq(f->blocks[1].seg, f->blocks[3].seg);
	toymap_write(&t, 0, buf, BS);
	toymap_write(&t, 4 * BS, buf, 3 * BS);
	cr_assert(!folio_test(f, FOLIO_UPTODATE), "one block is missing");
	toymap_write(&t, 7 * BS, buf, BS);
	cr_assert(folio_test(f, FOLIO_UPTODATE));
	folio_put(f);
}

Test(folio_state, release_refuses_dirty)
{
	struct folio *f;

	toymap_write(&t, 0, buf, FOLIO);
	f = filemap_lock_folio(&t.mapping, 0);
	cr_assert(!iomap_release_folio(f));
	folio_unlock(f);
	cr_assert_eq(toymap_sync(&t), 0);
	folio_lock(f);
	cr_assert(iomap_release_folio(f));
	cr_assert(!iomap_block_uptodate(f, 0) && !f->blocks[0].addr &&
		  !folio_test(f, FOLIO_UPTODATE));
	folio_unlock(f);
	folio_put(f);
}

Test(folio_state, partial_invalidate_keeps_the_rest)
{
	struct folio *f;

	toymap_write(&t, 0, buf, FOLIO);
	f = filemap_lock_folio(&t.mapping, 0);
	iomap_invalidate_folio(f, BS + 1, 3 * BS); /* whole blocks inside: 2 and 3 */
	cr_assert(iomap_block_dirty(f, 0) && iomap_block_dirty(f, 1) && iomap_block_dirty(f, 4));
	cr_assert(!iomap_block_uptodate(f, 2) && !iomap_block_dirty(f, 3) && !f->blocks[2].addr);
	cr_assert_eq(atomic_load(&t.mapping.nr_dirty_blocks), 6);
	cr_assert_eq(toymap_reservation_gap(&t), 0);
	folio_unlock(f);
	folio_put(f);
}

Test(folio_state, migrate_moves_everything)
{
	struct folio *from, *to;
	char back[BS];

	memset(buf, 7, BS);
	toymap_write(&t, 0, buf, 2 * BS);
	from = filemap_lock_folio(&t.mapping, 0);
	to = folio_alloc(&t.mapping, 0);
	cr_assert_eq(iomap_migrate_folio(to, from), 0);
	cr_assert_null(from->mapping);
	cr_assert(iomap_block_dirty(to, 1) && !iomap_block_dirty(from, 1));
	folio_unlock(from);
	folio_put(from);
	folio_unlock(to);
	folio_put(to);
	cr_assert_eq(toymap_read(&t, 0, back, BS), BS);
	cr_assert_eq(back[100], 7);
	cr_assert_eq(toymap_sync(&t), 0);
}

Test(folio_state, error_is_seen_once_by_each_file)
{
	uint64_t a = mapping_sample_error(&t.mapping), b = a, c, d;

	cr_assert_eq(mapping_check_and_advance_error(&t.mapping, &a), 0);
	mapping_set_error(&t.mapping, -EIO);
	/* nobody has seen it: a file opened now is told as well */
	c = mapping_sample_error(&t.mapping);
	cr_assert_eq(mapping_check_and_advance_error(&t.mapping, &a), -EIO);
	cr_assert_eq(mapping_check_and_advance_error(&t.mapping, &a), 0);
	cr_assert_eq(mapping_check_and_advance_error(&t.mapping, &b), -EIO);
	cr_assert_eq(mapping_check_and_advance_error(&t.mapping, &c), -EIO);
	d = mapping_sample_error(&t.mapping);
	cr_assert_eq(mapping_check_and_advance_error(&t.mapping, &d), 0);
	mapping_set_error(&t.mapping, -ENOSPC);
	cr_assert_eq(mapping_check_and_advance_error(&t.mapping, &d), -ENOSPC);
	cr_assert_eq(mapping_check_and_advance_error(&t.mapping, &a), -ENOSPC);
	/* not even those that had the file open have seen it: a new one is the first */
	mapping_set_error(&t.mapping, -ENOSPC);
	b = mapping_sample_error(&t.mapping);
	cr_assert_eq(mapping_check_and_advance_error(&t.mapping, &b), -ENOSPC);
	cr_assert_eq(mapping_check_and_advance_error(&t.mapping, &b), 0);
	cr_assert_eq(mapping_check_and_advance_error(&t.mapping, &d), -ENOSPC);
}
