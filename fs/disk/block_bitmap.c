/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bit arrays, a word at a time. */
#include <endian.h>

#include "core/lib/util.h"
#include "fs/disk/block_bitmap.h"

static inline uint64_t word(const void *map, uint32_t i)
{
	return le64toh(((const uint64_t *)map)[i]);
}

/* Bits of word @i that lie in [from, to). */
static inline uint64_t mask_of(uint32_t i, uint32_t from, uint32_t to)
{
	uint64_t m = ~0ull;

	if (from > i * 64)
		m &= ~0ull << (from - i * 64);
	if (to < (i + 1) * 64)
		m &= to > i * 64 ? ~0ull >> ((i + 1) * 64 - to) : 0;
	return m;
}

void block_bitmap_set(void *map, uint32_t from, uint32_t to)
{
	uint32_t i;

	for (i = from / 64; i * 64 < to; i++)
		((uint64_t *)map)[i] |= htole64(mask_of(i, from, to));
}

void block_bitmap_clear(void *map, uint32_t from, uint32_t to)
{
	uint32_t i;

	for (i = from / 64; i * 64 < to; i++)
		((uint64_t *)map)[i] &= ~htole64(mask_of(i, from, to));
}

static uint32_t next(const void *map, uint32_t from, uint32_t to, uint64_t flip)
{
	uint64_t w;
	uint32_t i;

	for (i = from / 64; i * 64 < to; i++) {
		w = (word(map, i) ^ flip) & mask_of(i, from, to);
		if (w)
			return i * 64 + (uint32_t)__builtin_ctzll(w);
	}
	return to;
}

uint32_t block_bitmap_next_clear(const void *map, uint32_t from, uint32_t to)
{
	return next(map, from, to, ~0ull);
}

uint32_t block_bitmap_next_set(const void *map, uint32_t from, uint32_t to)
{
	return next(map, from, to, 0);
}

uint32_t block_bitmap_count_clear(const void *map, uint32_t from, uint32_t to)
{
	uint32_t i, n = 0;

	for (i = from / 64; i * 64 < to; i++)
		n += (uint32_t)__builtin_popcountll(~word(map, i) & mask_of(i, from, to));
	return n;
}

/* Bit k * slot of the result is set where the whole group from there on is clear. */
static uint64_t free_groups(uint64_t w, uint32_t slot)
{
	static const uint64_t first[] = { ~0ull,
					  0x5555555555555555ull,
					  0x1111111111111111ull,
					  0x0101010101010101ull,
					  0x0001000100010001ull,
					  0x0000000100000001ull,
					  1ull };
	uint32_t i;

	for (i = 1; i < slot; i *= 2)
		w |= w >> i;
	return ~w & first[ilog2_u64(slot)];
}

uint32_t block_bitmap_count_slots(const void *map, uint32_t from, uint32_t to, uint32_t slot)
{
	uint32_t i, n = 0;

	from = (uint32_t)round_down_to(from, slot);
	to = (uint32_t)round_up_to(to, slot);
	for (i = from / 64; i * 64 < to; i++)
		n += (uint32_t)__builtin_popcountll(free_groups(word(map, i), slot) &
						    mask_of(i, from, to));
	return n;
}

uint32_t block_bitmap_next_slot(const void *map, uint32_t from, uint32_t to, uint32_t slot)
{
	uint32_t end = (uint32_t)round_down_to(to, slot), i;
	uint64_t w;

	from = (uint32_t)round_up_to(from, slot);
	for (i = from / 64; i * 64 < end; i++) {
		w = free_groups(word(map, i), slot) & mask_of(i, from, end);
		if (w)
			return i * 64 + (uint32_t)__builtin_ctzll(w);
	}
	return to;
}
