/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fs/disk/block_bitmap.c: bit arrays against a model of one byte per bit. */
#include <criterion/criterion.h>
#include <string.h>

#include "fs/disk/block_bitmap.h"

#define BITS 512

static uint64_t map[BITS / 64];
static uint8_t model[BITS];

static uint32_t rnd(uint64_t *s, uint32_t n)
{
	*s = *s * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(*s >> 33) % n;
}

static uint32_t model_next(uint32_t from, uint32_t to, int v)
{
	while (from < to && model[from] != v)
		from++;
	return from;
}

static bool model_slot(uint32_t at, uint32_t slot)
{
	return model_next(at, at + slot, 1) == at + slot;
}

static void compare(uint32_t from, uint32_t to, uint32_t slot)
{
	uint32_t i, n, first;

	cr_assert_eq(block_bitmap_next_set(map, from, to), model_next(from, to, 1));
	cr_assert_eq(block_bitmap_next_clear(map, from, to), model_next(from, to, 0));
	for (n = 0, i = from; i < to; i++)
		n += !model[i];
	cr_assert_eq(block_bitmap_count_clear(map, from, to), n);
	for (n = 0, i = from / slot * slot; i < to; i += slot)
		n += model_slot(i, slot);
	cr_assert_eq(block_bitmap_count_slots(map, from, to, slot), from < to ? n : 0);
	for (first = to, i = (from + slot - 1) / slot * slot; i + slot <= to && first == to;
	     i += slot)
		if (model_slot(i, slot))
			first = i;
	cr_assert_eq(block_bitmap_next_slot(map, from, to, slot), first);
}

Test(block_bitmap, random_against_model)
{
	uint64_t seed = 42;
	uint32_t a, b, i, slot;
	int round;

	for (round = 0; round < 20000; round++) {
		a = rnd(&seed, BITS);
		b = a + rnd(&seed, rnd(&seed, 4) ? 20 : BITS - a) % (BITS - a + 1);
		if (round % 2) {
			block_bitmap_set(map, a, b);
			memset(model + a, 1, b - a);
		} else {
			block_bitmap_clear(map, a, b);
			memset(model + a, 0, b - a);
		}
		for (i = 0; i < BITS; i += 1 + i % 7)
			cr_assert_eq(block_bitmap_test(map, i), model[i]);
		slot = 1u << rnd(&seed, 7);
		a = rnd(&seed, BITS);
		b = a + rnd(&seed, BITS - a + 1);
		if (a < b)
			compare(a, b, slot);
	}
}
