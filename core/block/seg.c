/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Refcounted memory segments.
 *
 * malloc serves page-aligned memory badly: to align it takes a page more than
 * asked for, so the hole that a freed segment leaves never fits the next one
 * of the same size, and a cache that turns over grows.  Hence chunks of 1 MiB,
 * each cut into slots of one size, a power of two.  A chunk whose last slot
 * was freed serves any size next, or goes back to the kernel.  Sizes that are
 * too large for that, or would waste much of a slot, are mapped one by one.
 */
#include "core/block/seg.h"

#include <pthread.h>

#include "core/lib/list.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define forbid_access(p, bytes) __asan_poison_memory_region(p, bytes)
#define allow_access(p, bytes) __asan_unpoison_memory_region(p, bytes)
#else
#define forbid_access(p, bytes) ((void)(p), (void)(bytes))
#define allow_access(p, bytes) ((void)(p), (void)(bytes))
#endif

#define CHUNK_SHIFT 20
#define CHUNK_BYTES (1u << CHUNK_SHIFT)
#define SLOT_MIN_SHIFT 12
#define NR_CLASSES (CHUNK_SHIFT - SLOT_MIN_SHIFT + 1)
#define MAX_SLOTS (CHUNK_BYTES >> SLOT_MIN_SHIFT)
/* Above this a size that is no power of two is mapped on its own. */
#define ROUND_UP_MAX (64u << 10)
/* Chunks kept while nobody uses them. */
#define SPARE_MAX 4

struct seg_chunk {
	struct list_head list; /* among those with free slots, or the spare ones */
	uint8_t *base;
	unsigned int slot_shift, nr_slots, nr_free;
	uint64_t free[MAX_SLOTS / 64];
};

struct seg_pool {
	atomic_ullong bytes;  /* live */
	atomic_ullong idle;   /* of them: with nothing in them */
	pthread_mutex_t lock; /* what follows, and the chunks */
	struct list_head partial[NR_CLASSES];
	struct list_head spare;
	unsigned int nr_spare;
	bool vital;
};

struct seg_pool *seg_pool_create(void)
{
	struct seg_pool *pool = tl_zalloc(sizeof(*pool));
	unsigned int i;

	if (!pool)
		return NULL;
	pthread_mutex_init(&pool->lock, NULL);
	for (i = 0; i < NR_CLASSES; i++)
		INIT_LIST_HEAD(&pool->partial[i]);
	INIT_LIST_HEAD(&pool->spare);
	return pool;
}

void seg_pool_is_vital(struct seg_pool *pool)
{
	pool->vital = true;
}

static void chunk_destroy(struct seg_chunk *c)
{
	allow_access(c->base, CHUNK_BYTES);
	tl_unmap(c->base, CHUNK_BYTES);
	tl_free(c);
}

void seg_pool_destroy(struct seg_pool *pool)
{
	struct seg_chunk *c, *next;

	if (!pool)
		return;
	assert(atomic_load(&pool->bytes) == 0);
	list_for_each_entry_safe(c, next, &pool->spare, list)
		chunk_destroy(c);
	pthread_mutex_destroy(&pool->lock);
	tl_free(pool);
}

uint64_t seg_pool_bytes(const struct seg_pool *pool)
{
	return atomic_load(&pool->bytes);
}

uint64_t seg_pool_idle_bytes(const struct seg_pool *pool)
{
	return atomic_load(&pool->idle);
}

void seg_set_idle(struct seg *s, bool idle)
{
	if (idle)
		atomic_fetch_add(&s->pool->idle, s->size);
	else
		atomic_fetch_sub(&s->pool->idle, s->size);
}

/* log2 of the slot for @size, or 0 where it is to be mapped on its own. */
static unsigned int slot_shift(uint32_t size)
{
	if (size > CHUNK_BYTES || (size > ROUND_UP_MAX && !is_pow2(size)))
		return 0;
	if (size <= 1u << SLOT_MIN_SHIFT)
		return SLOT_MIN_SHIFT;
	return ilog2_u64(size - 1) + 1;
}

static void *map(const struct seg_pool *pool, size_t bytes)
{
	return pool->vital ? tl_map_vital(bytes) : tl_map(bytes);
}

static struct seg_chunk *chunk_create(const struct seg_pool *pool)
{
	struct seg_chunk *c = tl_alloc(sizeof(*c));

	if (!c)
		return NULL;
	c->base = map(pool, CHUNK_BYTES);
	if (!c->base) {
		tl_free(c);
		return NULL;
	}
	forbid_access(c->base, CHUNK_BYTES);
	INIT_LIST_HEAD(&c->list);
	return c;
}

/* A chunk with at least one free slot of 1 << @shift bytes, in its list.  With the lock held. */
static struct seg_chunk *chunk_with_room(struct seg_pool *pool, unsigned int shift)
{
	struct list_head *partial = &pool->partial[shift - SLOT_MIN_SHIFT];
	struct seg_chunk *c;
	unsigned int i;

	if (!list_empty(partial))
		return list_first_entry(partial, struct seg_chunk, list);
	if (pool->nr_spare) {
		c = list_first_entry(&pool->spare, struct seg_chunk, list);
		list_del_init(&c->list);
		pool->nr_spare--;
	} else {
		c = chunk_create(pool);
		if (!c)
			return NULL;
	}
	c->slot_shift = shift;
	c->nr_slots = c->nr_free = CHUNK_BYTES >> shift;
	for (i = 0; i < ARRAY_SIZE(c->free); i++)
		c->free[i] = c->nr_slots >= (i + 1) * 64 ? UINT64_MAX
			     : c->nr_slots > i * 64	 ? (UINT64_C(1) << c->nr_slots % 64) - 1
							 : 0;
	list_add(&c->list, partial);
	return c;
}

static void *take_slot(struct seg_pool *pool, unsigned int shift, struct seg_chunk **from)
{
	struct seg_chunk *c;
	unsigned int i = 0, slot;
	void *p;

	pthread_mutex_lock(&pool->lock);
	c = chunk_with_room(pool, shift);
	if (!c) {
		pthread_mutex_unlock(&pool->lock);
		return NULL;
	}
	while (!c->free[i])
		i++;
	slot = i * 64 + (unsigned int)__builtin_ctzll(c->free[i]);
	c->free[i] &= c->free[i] - 1;
	if (!--c->nr_free)
		list_del_init(&c->list);
	pthread_mutex_unlock(&pool->lock);
	*from = c;
	p = c->base + ((size_t)slot << shift);
	allow_access(p, (size_t)1 << shift);
	return p;
}

static void give_slot(struct seg_pool *pool, struct seg_chunk *c, void *p)
{
	unsigned int slot = (unsigned int)(((uint8_t *)p - c->base) >> c->slot_shift);
	bool surplus = false;

	forbid_access(p, (size_t)1 << c->slot_shift);
	pthread_mutex_lock(&pool->lock);
	c->free[slot / 64] |= UINT64_C(1) << slot % 64;
	if (!c->nr_free++)
		list_add_tail(&c->list, &pool->partial[c->slot_shift - SLOT_MIN_SHIFT]);
	if (c->nr_free == c->nr_slots) {
		list_del_init(&c->list);
		surplus = pool->nr_spare >= SPARE_MAX;
		if (!surplus) {
			list_add(&c->list, &pool->spare);
			pool->nr_spare++;
		}
	}
	pthread_mutex_unlock(&pool->lock);
	if (surplus)
		chunk_destroy(c);
}

struct seg *seg_alloc(struct seg_pool *pool, size_t bytes)
{
	uint64_t size =
		bytes >= 4096 ? round_up_to(bytes, 4096) : round_up_to(bytes ? bytes : 1, 1024);
	unsigned int shift;
	struct seg *s;

	if (size > UINT32_MAX)
		return NULL;
	s = tl_alloc(sizeof(*s));
	if (!s)
		return NULL;
	shift = slot_shift((uint32_t)size);
	s->chunk = NULL;
	s->base = shift ? take_slot(pool, shift, &s->chunk) : map(pool, size);
	if (!s->base) {
		tl_free(s);
		return NULL;
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
	if (s->chunk)
		give_slot(pool, s->chunk, s->base);
	else
		tl_unmap(s->base, size);
	tl_free(s);
	/* Last, so that whoever sees 0 may destroy the pool. */
	atomic_fetch_sub(&pool->bytes, size);
}
