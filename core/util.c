/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Allocation with fault injection: the only way to reach the cleanup paths on purpose. */
#include "core/util.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

/*
 * Counting is off until a test asks for it: one shared counter hit by every
 * thread of a daemon would cost more than the allocation itself.
 */
static atomic_bool counting;
static atomic_ullong attempts;
static atomic_ullong fail_at; /* 0: never */

void tl_alloc_fail_nth(uint64_t n)
{
	atomic_store(&fail_at, 0);
	atomic_store(&attempts, 0);
	atomic_store(&fail_at, n);
	atomic_store(&counting, true);
}

uint64_t tl_alloc_count(void)
{
	return atomic_load(&attempts);
}

static bool injected_failure(void)
{
	uint64_t nth;

	if (likely(!atomic_load_explicit(&counting, memory_order_relaxed)))
		return false;
	nth = atomic_fetch_add(&attempts, 1) + 1;
	return nth == atomic_load(&fail_at);
}

void *tl_alloc(size_t bytes)
{
	if (injected_failure())
		return NULL;
	return malloc(bytes ? bytes : 1);
}

void *tl_zalloc(size_t bytes)
{
	if (injected_failure())
		return NULL;
	return calloc(1, bytes ? bytes : 1);
}

void *tl_realloc(void *p, size_t bytes)
{
	if (injected_failure())
		return NULL;
	/* realloc(p, 0) frees p and may return NULL, which reads as a failure. */
	return realloc(p, bytes ? bytes : 1);
}

void *tl_alloc_aligned(size_t align, size_t bytes)
{
	void *p;

	if (injected_failure())
		return NULL;
	if (align < sizeof(void *))
		align = sizeof(void *);
	return posix_memalign(&p, align, bytes ? bytes : 1) ? NULL : p;
}

void tl_free(void *p)
{
	free(p);
}

void *tl_map(size_t bytes)
{
	void *p;

	if (injected_failure())
		return NULL;
	p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return p == MAP_FAILED ? NULL : p;
}

void tl_unmap(void *p, size_t bytes)
{
	munmap(p, bytes);
}
