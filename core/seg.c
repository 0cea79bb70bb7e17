/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Refcounted memory segments.
 *
 * Fresh memory costs a page fault per page, so a pool keeps some free segments
 * of the sizes that folios and receive buffers ask for again and again: powers
 * of two from 1 KiB to 1 MiB.  Other sizes go straight back to malloc.
 */
#include "core/seg.h"

#include <pthread.h>

#define SEG_ALIGN 4096u
#define CLASS_MIN_SHIFT 10
#define CLASS_MAX_SHIFT 20
#define NR_CLASSES (CLASS_MAX_SHIFT - CLASS_MIN_SHIFT + 1)
/* Bytes kept free per pool, all classes together. */
#define FREE_MAX_BYTES (4u << 20)

/* What a free segment's memory holds: the link to the next one. */
struct free_seg {
	struct seg *next;
};

struct seg_pool {
	atomic_ullong bytes;  /* live */
	pthread_mutex_t lock; /* what follows */
	struct seg *free[NR_CLASSES];
	uint64_t free_bytes;
};

struct seg_pool *seg_pool_create(void)
{
	struct seg_pool *pool = tl_zalloc(sizeof(*pool));

	if (!pool)
		return NULL;
	pthread_mutex_init(&pool->lock, NULL);
	return pool;
}

static void seg_release_memory(struct seg *s)
{
	tl_free(s->base);
	tl_free(s);
}

void seg_pool_destroy(struct seg_pool *pool)
{
	unsigned int i;

	if (!pool)
		return;
	assert(atomic_load(&pool->bytes) == 0);
	for (i = 0; i < NR_CLASSES; i++) {
		while (pool->free[i]) {
			struct seg *s = pool->free[i];

			pool->free[i] = ((struct free_seg *)s->base)->next;
			seg_release_memory(s);
		}
	}
	pthread_mutex_destroy(&pool->lock);
	tl_free(pool);
}

uint64_t seg_pool_bytes(const struct seg_pool *pool)
{
	return atomic_load(&pool->bytes);
}

/* Index of the free list for @size, or -1. */
static int size_class(uint32_t size)
{
	if (!is_pow2(size) || size > (1u << CLASS_MAX_SHIFT))
		return -1;
	return (int)ilog2_u64(size) - CLASS_MIN_SHIFT;
}

static struct seg *take_free(struct seg_pool *pool, uint32_t size)
{
	int class = size_class(size);
	struct seg *s;

	if (class < 0)
		return NULL;
	pthread_mutex_lock(&pool->lock);
	s = pool->free[class];
	if (s) {
		pool->free[class] = ((struct free_seg *)s->base)->next;
		pool->free_bytes -= size;
	}
	pthread_mutex_unlock(&pool->lock);
	return s;
}

static bool give_free(struct seg_pool *pool, struct seg *s)
{
	int class = size_class(s->size);
	bool kept = false;

	if (class < 0)
		return false;
	pthread_mutex_lock(&pool->lock);
	if (pool->free_bytes + s->size <= FREE_MAX_BYTES) {
		((struct free_seg *)s->base)->next = pool->free[class];
		pool->free[class] = s;
		pool->free_bytes += s->size;
		kept = true;
	}
	pthread_mutex_unlock(&pool->lock);
	return kept;
}

struct seg *seg_alloc(struct seg_pool *pool, size_t bytes)
{
	uint64_t size = bytes >= 4096 ? round_up_to(bytes, 4096) : round_up_to(bytes ? bytes : 1, 1024);
	struct seg *s;

	if (size > UINT32_MAX)
		return NULL;
	s = take_free(pool, (uint32_t)size);
	if (!s) {
		s = tl_alloc(sizeof(*s));
		if (!s)
			return NULL;
		s->base = tl_alloc_aligned(SEG_ALIGN, size);
		if (!s->base) {
			tl_free(s);
			return NULL;
		}
	}
	atomic_init(&s->refs, 1);
	s->size = (uint32_t)size;
	s->pool = pool;
	atomic_fetch_add(&pool->bytes, size);
	return s;
}

struct seg *seg_get(struct seg *s)
{
	unsigned int old = atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);

	assert(old > 0);
	(void)old;
	return s;
}

void seg_put(struct seg *s)
{
	struct seg_pool *pool;
	uint32_t size;

	if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
		return;
	pool = s->pool;
	size = s->size;
	if (!give_free(pool, s))
		seg_release_memory(s);
	/* Last, so that whoever sees 0 may destroy the pool. */
	atomic_fetch_sub(&pool->bytes, size);
}
