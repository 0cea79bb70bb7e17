/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which blocks of a folio are there: the bits that reading and writing go by (the names are those
 * of Linux's iomap). */
#ifndef CORE_FOLIO_STATE_H
#define CORE_FOLIO_STATE_H

#include "core/pagecache/pagecache.h"

static inline uint64_t block_bytes(const struct address_space *m)
{
	return 1ULL << m->blkbits;
}

bool iomap_is_partially_uptodate(struct folio *f, size_t from,
				 size_t count); /* bytes within the folio */
bool iomap_release_folio(struct folio *f);	/* locked; false: dirty or writeback */
void iomap_invalidate_folio(struct folio *f, size_t offset,
			    size_t len); /* locked; whole blocks inside are dropped */
int iomap_migrate_folio(struct folio *to, struct folio *from); /* both locked */
bool iomap_block_uptodate(struct folio *f, unsigned int block);
bool iomap_block_dirty(struct folio *f, unsigned int block);

/* The memory that all-zero blocks share: that of block @i. */
void *iomap_zero_block(const struct address_space *m, unsigned int i);
/*
 * Give blocks [first, first + n) of a locked folio the memory at @base in @seg
 * (a reference is taken for each), or static zeros (@seg NULL), and make them
 * uptodate; with @dirty also dirty.  Returns how many became dirty.
 */
unsigned int folio_publish(struct address_space *m, struct folio *f, unsigned int first,
			   unsigned int n, struct seg *seg, void *base, bool dirty);
/* Blocks changed in place become dirty.  Returns how many were clean. */
unsigned int folio_dirty_blocks(struct address_space *m, struct folio *f, unsigned int first,
				unsigned int n);
/* Account for @newly blocks that folio_publish() or folio_dirty_blocks() made dirty. */
void folio_account_dirty(struct address_space *m, struct folio *f, unsigned int newly);
/* A block could not be read. */
void folio_set_block_error(struct folio *f, unsigned int block);
/*
 * The first run of blocks in [*first, end) that are not uptodate (@uptodate false) or are
 * (true): *first is where it begins.  Returns its length, 0: none.
 */
unsigned int folio_next_run(struct folio *f, unsigned int *first, unsigned int end, bool uptodate);

#endif
