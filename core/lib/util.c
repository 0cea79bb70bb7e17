/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Allocation with fault injection: the only way to reach the cleanup paths on purpose. */
#include "core/lib/util.h"

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

/* Never touched, so it costs address space only. */
#define RESERVE_BYTES (16u << 20)

/* Held back for the moment when memory is refused. */
static _Atomic(void *) reserve;
static void (*_Atomic refusal_hook)(void *arg);
static void *_Atomic refusal_arg;

void tl_on_refusal(void (*fn)(void *arg), void *arg)
{
	atomic_store(&refusal_hook, NULL);
	atomic_store(&refusal_arg, arg);
	atomic_store(&refusal_hook, fn);
}

bool tl_reserve(void)
{
	void *p, *none = NULL;

	if (atomic_load(&reserve))
		return true;
	p = tl_map(RESERVE_BYTES);
	if (p && !atomic_compare_exchange_strong(&reserve, &none, p))
		tl_unmap(p, RESERVE_BYTES);
	return p;
}

static void reserve_use(void)
{
	void (*hook)(void *arg) = atomic_load(&refusal_hook);
	void *p = atomic_exchange(&reserve, NULL);

	if (p)
		tl_unmap(p, RESERVE_BYTES);
	if (hook)
		hook(atomic_load(&refusal_arg));
}

/* Another thread may have let the reserve go, so it is tried again in any case. */
#define RETRY(p, again)                \
	({                             \
		void *p_ = (p);        \
                                       \
		if (unlikely(!p_)) {   \
			reserve_use(); \
			p_ = (again);  \
		}                      \
		p_;                    \
	})

void *tl_alloc(size_t bytes)
{
	if (injected_failure())
		return NULL;
	return RETRY(malloc(bytes ? bytes : 1), malloc(bytes ? bytes : 1));
}

void *tl_zalloc(size_t bytes)
{
	if (injected_failure())
		return NULL;
	return RETRY(calloc(1, bytes ? bytes : 1), calloc(1, bytes ? bytes : 1));
}

void *tl_realloc(void *p, size_t bytes)
{
	/* Still good where it failed, which a compiler that does not look at the result can't
	 * know. */
	void *volatile old = p;

	if (injected_failure())
		return NULL;
	/* realloc(p, 0) frees p and may return NULL, which reads as a failure. */
	return RETRY(realloc(old, bytes ? bytes : 1), realloc(old, bytes ? bytes : 1));
}

void *tl_alloc_aligned(size_t align, size_t bytes)
{
	void *p;

	if (injected_failure())
		return NULL;
	if (align < sizeof(void *))
		align = sizeof(void *);
	return RETRY(posix_memalign(&p, align, bytes ? bytes : 1) ? NULL : p,
		     posix_memalign(&p, align, bytes ? bytes : 1) ? NULL : p);
}

void tl_free(void *p)
{
	free(p);
}

static void *map(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

void *tl_map(size_t bytes)
{
	return injected_failure() ? NULL : map(bytes);
}

void *tl_map_vital(size_t bytes)
{
	if (injected_failure())
		return NULL;
	return RETRY(map(bytes), map(bytes));
}

void tl_unmap(void *p, size_t bytes)
{
	munmap(p, bytes);
}
