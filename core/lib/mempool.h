/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory pools: allocation that never fails, at the price of waiting.  A pool
 * keeps @nr elements in reserve; when the heap has nothing left they are
 * handed out, and when those are gone too, the caller waits for one to be
 * freed.  Progress is certain as long as every holder of an element gives it
 * back without needing another one of the same pool.
 */
#ifndef CORE_MEMPOOL_H
#define CORE_MEMPOOL_H

#include "core/lib/util.h"

struct mempool;

/* @nr >= 1 elements of @bytes each.  NULL if out of memory. */
struct mempool *mempool_create(unsigned int nr, size_t bytes);
/* Every element must be back. */
void mempool_destroy(struct mempool *mp); /* NULL is fine */
/* Never NULL; contents undefined. */
void *mempool_alloc(struct mempool *mp);
void *mempool_try_alloc(struct mempool *mp); /* NULL instead of waiting */
void mempool_free(struct mempool *mp, void *p);

#endif
