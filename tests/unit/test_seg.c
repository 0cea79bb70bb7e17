/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory segments: rounding, references, the byte count, reuse, failures. */
#include <criterion/criterion.h>
#include <string.h>

#include "core/seg.h"

Test(seg, sizes_are_rounded_and_aligned)
{
	static const struct {
		size_t ask;
		uint32_t get;
	} t[] = { { 1, 1024 }, { 1024, 1024 }, { 1025, 2048 }, { 4095, 4096 }, { 4097, 8192 }, { 70000, 73728 } };
	struct seg_pool *pool = seg_pool_create();
	struct seg *s;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(t); i++) {
		s = seg_alloc(pool, t[i].ask);
		cr_assert_eq(s->size, t[i].get);
		cr_assert_eq((uintptr_t)s->base % 4096, 0);
		cr_assert_eq(seg_pool_bytes(pool), t[i].get);
		memset(s->base, 0xff, s->size);
		seg_put(s);
		cr_assert_eq(seg_pool_bytes(pool), 0);
	}
	seg_pool_destroy(pool);
}

Test(seg, last_reference_frees)
{
	struct seg_pool *pool = seg_pool_create();
	struct seg *s = seg_alloc(pool, 4096), *t;

	cr_assert_eq(seg_get(s), s);
	seg_put(s);
	cr_assert_eq(seg_pool_bytes(pool), 4096);
	seg_put(s);
	cr_assert_eq(seg_pool_bytes(pool), 0);
	t = seg_alloc(pool, 4096); /* the free one, no allocation */
	tl_alloc_fail_nth(1);
	seg_put(t);
	t = seg_alloc(pool, 4096);
	cr_assert(t);
	cr_assert_eq(tl_alloc_count(), 0);
	tl_alloc_fail_nth(0);
	seg_put(t);
	seg_put(NULL);
	seg_pool_destroy(pool);
}

Test(seg, kept_memory_is_bounded)
{
	struct seg_pool *pool = seg_pool_create();
	struct seg *s[8];
	int i;

	for (i = 0; i < 8; i++)
		s[i] = seg_alloc(pool, 1 << 20);
	for (i = 0; i < 8; i++)
		seg_put(s[i]);
	tl_alloc_fail_nth(0);
	for (i = 0; i < 8; i++)
		s[i] = seg_alloc(pool, 1 << 20);
	cr_assert_eq(tl_alloc_count(), 8, "4 of 8 were kept, the others took two allocations each");
	for (i = 0; i < 8; i++)
		seg_put(s[i]);
	seg_pool_destroy(pool);
}

Test(seg, no_memory)
{
	struct seg_pool *pool;
	unsigned int n;

	tl_alloc_fail_nth(1);
	cr_assert_null(seg_pool_create());
	pool = seg_pool_create();
	for (n = 1; n <= 2; n++) {
		tl_alloc_fail_nth(n);
		cr_assert_null(seg_alloc(pool, 4096));
		cr_assert_eq(seg_pool_bytes(pool), 0);
	}
	tl_alloc_fail_nth(0);
	cr_assert_null(seg_alloc(pool, (size_t)1 << 40));
	seg_pool_destroy(pool);
	seg_pool_destroy(NULL);
}
