/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Small helpers everyone in the tree uses: arithmetic, containers, assertions. */
#ifndef CORE_UTIL_H
#define CORE_UTIL_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#define SECTOR_SHIFT 9
#define SECTOR_SIZE (1u << SECTOR_SHIFT)
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/* Each argument is evaluated once. */
#define min_t(t, a, b)                             \
	({                                         \
		t min_a_ = (a), min_b_ = (b);      \
		min_a_ < min_b_ ? min_a_ : min_b_; \
	})
#define max_t(t, a, b)                             \
	({                                         \
		t max_a_ = (a), max_b_ = (b);      \
		max_a_ > max_b_ ? max_a_ : max_b_; \
	})

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* @align must be a power of two. */
static inline uint64_t round_up_to(uint64_t x, uint64_t align)
{
	return (x + align - 1) & ~(align - 1);
}

static inline uint64_t round_down_to(uint64_t x, uint64_t align)
{
	return x & ~(align - 1);
}

static inline uint64_t div_up(uint64_t a, uint64_t b)
{
	return a / b + (a % b != 0);
}

static inline bool is_pow2(uint64_t x)
{
	return x && !(x & (x - 1));
}

/* floor(log2(x)), x > 0 */
static inline unsigned int ilog2_u64(uint64_t x)
{
	return 63 - (unsigned int)__builtin_clzll(x);
}

/*
 * All memory that can run out goes through these, so that tests can make the
 * N-th allocation fail.  tl_alloc returns uninitialised memory, tl_zalloc
 * zeroed; tl_alloc_aligned takes a power-of-two alignment.  NULL on failure.
 * Everything is released with tl_free (NULL is fine).
 */
void *tl_alloc(size_t bytes);
void *tl_zalloc(size_t bytes);
void *tl_realloc(void *p, size_t bytes);
void *tl_alloc_aligned(size_t align, size_t bytes);
void tl_free(void *p);
/* Whole pages, zeroed, straight from the kernel; released with tl_unmap of the same size. */
void *tl_map(size_t bytes);
void *tl_map_vital(size_t bytes); /* see tl_reserve() */
void tl_unmap(void *p, size_t bytes);

/*
 * A reserve: when memory is refused, tl_alloc() and its like let it go and try again, so that what
 * is under way can be brought to its end, and @fn is told, whose part it is to see that less memory
 * is used.  It is called with any locks held.  tl_map() does neither, since a cache is to grow no
 * further then; tl_map_vital() is for the rest. tl_reserve(): true if the reserve is there (again).
 */
void tl_on_refusal(void (*fn)(void *arg), void *arg);
bool tl_reserve(void);

/*
 * Fault injection for tests: fail the @n-th allocation from now (1 = the next
 * one); 0 switches it off.  tl_alloc_count() counts attempts since then.
 */
void tl_alloc_fail_nth(uint64_t n);
uint64_t tl_alloc_count(void);

#endif
