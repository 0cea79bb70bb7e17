/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Refcounted memory segments: what folios, bios and receive buffers are made
 * of.  A segment is page aligned (4096), so every part of it that starts on
 * a block boundary can be given to an O_DIRECT device.
 *
 * Whoever keeps a pointer into a segment holds a reference.  A folio under
 * writeback and the bio that writes it hold one each, so a writer may give the
 * folio fresh memory while the device still reads the old.
 */
#ifndef CORE_SEG_H
#define CORE_SEG_H

#include <stdatomic.h>
#include "core/lib/util.h"

struct seg_pool;

struct seg {
	atomic_uint refs;
	uint32_t size; /* bytes usable at @base */
	void *base;
	struct seg_pool *pool;
	struct seg_chunk *chunk; /* where the memory came from (private) */
};

/*
 * A pool counts the bytes of all its live segments (the figure that memory
 * bounds are checked against) and keeps a few MiB of free memory.
 */
struct seg_pool *seg_pool_create(void);
/* Not for a cache: where memory is refused it is to be had at the expense of those. */
void seg_pool_is_vital(struct seg_pool *pool);
/* Every segment must have been put. */
void seg_pool_destroy(struct seg_pool *pool);
uint64_t seg_pool_bytes(const struct seg_pool *pool);
/* Of them, those that wait for content (receive buffers): no memory bound of a cache counts
 * them. */
uint64_t seg_pool_idle_bytes(const struct seg_pool *pool);

/* @bytes is rounded up to a multiple of 1024 (4096 from 4096 up).  Contents undefined.  NULL if out
 * of memory. */
struct seg *seg_alloc(struct seg_pool *pool, size_t bytes);
struct seg *seg_get(struct seg *s);
void seg_put(struct seg *s); /* NULL is fine */
/*
 * Whoever holds a segment only to have one says so, and takes it back before the segment is put or
 * left to somebody else.
 */
void seg_set_idle(struct seg *s, bool idle);

#endif
