/* SPDX-License-Identifier: GPL-2.0-or-later */
/* core/block/seg.c: memory segments: rounding, references, the byte count, reuse, failures. */
#include <criterion/criterion.h>
#include <string.h>

#include "core/block/seg.h"

Test(seg, sizes_are_rounded_and_aligned)
{
	static const struct {
		size_t ask;
		uint32_t get;
	} t[] = { { 1, 1024 },	  { 1024, 1024 }, { 1025, 2048 },
		  { 4095, 4096 }, { 4097, 8192 }, { 70000, 73728 } };
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
	struct seg *s = seg_alloc(pool, 4096);

	cr_assert_eq(seg_get(s), s);
	seg_put(s);
	cr_assert_eq(seg_pool_bytes(pool), 4096);
	seg_put(s);
	cr_assert_eq(seg_pool_bytes(pool), 0);
	seg_put(NULL);
	seg_pool_destroy(pool);
}

/* Segments of all sizes come and go; none may overlap another, and none may move. */
Test(seg, no_overlap)
{
	static const size_t sizes[] = { 1024,  4096,   5000,	16384,	65536,
					70000, 131072, 1 << 20, 3 << 20 };
	struct seg_pool *pool = seg_pool_create();
	struct seg *s[200] = { NULL };
	unsigned int turn, i;

	srand(11);
	for (turn = 0; turn < 3000; turn++) {
		i = (unsigned int)rand() % ARRAY_SIZE(s);
		if (s[i]) {
			unsigned char *p = s[i]->base;

			cr_assert(p[0] == i && p[s[i]->size / 2] == i && p[s[i]->size - 1] == i);
			seg_put(s[i]);
			s[i] = NULL;
			continue;
		}
		s[i] = seg_alloc(pool, sizes[(unsigned int)rand() % ARRAY_SIZE(sizes)]);
		cr_assert_eq((uintptr_t)s[i]->base % 4096, 0);
		memset(s[i]->base, (int)i, s[i]->size);
	}
	for (i = 0; i < ARRAY_SIZE(s); i++)
		seg_put(s[i]);
	cr_assert_eq(seg_pool_bytes(pool), 0);
	seg_pool_destroy(pool);
}

/* What malloc would not do: a freed segment's place is taken by the next of its size. */
Test(seg, memory_does_not_grow_by_turning_over)
{
	struct seg_pool *pool = seg_pool_create();
	struct seg *s[256];
	unsigned int i, turn;

	for (i = 0; i < 256; i++)
		s[i] = seg_alloc(pool, 65536);
	tl_alloc_fail_nth(0);
	for (turn = 0; turn < 16; turn++) {
		for (i = turn % 2; i < 256; i += 2)
			seg_put(s[i]);
		for (i = turn % 2; i < 256; i += 2)
			s[i] = seg_alloc(pool, 65536);
	}
	cr_assert_eq(tl_alloc_count(), 16 * 128, "one each, for the struct: no memory was mapped");
	for (i = 0; i < 256; i++)
		seg_put(s[i]);
	/* Of 16 MiB some is kept: as many as that come without mapping more. */
	tl_alloc_fail_nth(0);
	for (i = 0; i < 256; i++)
		s[i] = seg_alloc(pool, 4096); /* of another size */
	cr_assert_eq(tl_alloc_count(), 256);
	for (i = 0; i < 256; i++)
		seg_put(s[i]);
	tl_alloc_fail_nth(0);
	for (i = 0; i < 16; i++)
		s[i] = seg_alloc(pool, 1 << 20);
	cr_assert_eq(tl_alloc_count(), 16 + 12 * 2, "4 chunks were kept");
	for (i = 0; i < 16; i++)
		seg_put(s[i]);
	seg_pool_destroy(pool);
}

Test(seg, no_memory)
{
	static const struct {
		size_t bytes;
		unsigned int allocations;
	} t[] = { { 4096, 3 }, { 70000, 2 } };
	struct seg_pool *pool;
	unsigned int n;
	size_t i;

	tl_alloc_fail_nth(1);
	cr_assert_null(seg_pool_create());
	pool = seg_pool_create();
	for (i = 0; i < ARRAY_SIZE(t); i++) {
		for (n = 1; n <= t[i].allocations; n++) {
			tl_alloc_fail_nth(n);
			cr_assert_null(seg_alloc(pool, t[i].bytes));
			cr_assert_eq(seg_pool_bytes(pool), 0);
		}
	}
	tl_alloc_fail_nth(0);
	cr_assert_null(seg_alloc(pool, (size_t)1 << 40));
	seg_pool_destroy(pool);
	seg_pool_destroy(NULL);
}
