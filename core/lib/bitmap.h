/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ranges of bits in arrays of longs, a word at a time.  Ranges are [from, from + n) or [from,
 * end). */
#ifndef CORE_BITMAP_H
#define CORE_BITMAP_H

#include "core/lib/util.h"

#define BITS_PER_LONG (8 * (unsigned int)sizeof(unsigned long))
#define BITS_TO_LONGS(n) (((n) + BITS_PER_LONG - 1) / BITS_PER_LONG)

static inline bool bitmap_test(const unsigned long *map, unsigned int bit)
{
	return map[bit / BITS_PER_LONG] >> (bit % BITS_PER_LONG) & 1;
}

/* The bits of word @w that lie in [from, end). */
static inline unsigned long bitmap_word_mask(unsigned int w, unsigned int from, unsigned int end)
{
	unsigned int lo = w * BITS_PER_LONG;
	unsigned long mask = ~0UL;

	if (from > lo)
		mask &= ~0UL << (from - lo);
	if (end < lo + BITS_PER_LONG)
		mask &= ~0UL >> (lo + BITS_PER_LONG - end);
	return mask;
}

/* Returns how many bits of the range were clear before. */
static inline unsigned int bitmap_set_range(unsigned long *map, unsigned int from, unsigned int n)
{
	unsigned int end = from + n, w, changed = 0;

	for (w = from / BITS_PER_LONG; w * BITS_PER_LONG < end; w++) {
		unsigned long mask = bitmap_word_mask(w, from, end);

		changed += (unsigned int)__builtin_popcountl(mask & ~map[w]);
		map[w] |= mask;
	}
	return changed;
}

/* Returns how many bits of the range were set before. */
static inline unsigned int bitmap_clear_range(unsigned long *map, unsigned int from, unsigned int n)
{
	unsigned int end = from + n, w, changed = 0;

	for (w = from / BITS_PER_LONG; w * BITS_PER_LONG < end; w++) {
		unsigned long mask = bitmap_word_mask(w, from, end);

		changed += (unsigned int)__builtin_popcountl(mask & map[w]);
		map[w] &= ~mask;
	}
	return changed;
}

/* First bit in [from, end) that is set (@set) or clear (!@set); @end if there is none. */
static inline unsigned int bitmap_find(const unsigned long *map, unsigned int from,
				       unsigned int end, bool set)
{
	unsigned int w;

	for (w = from / BITS_PER_LONG; w * BITS_PER_LONG < end; w++) {
		unsigned long word = (set ? map[w] : ~map[w]) & bitmap_word_mask(w, from, end);

		if (word)
			return w * BITS_PER_LONG + (unsigned int)__builtin_ctzl(word);
	}
	return end;
}

static inline unsigned int bitmap_next_set(const unsigned long *map, unsigned int from,
					   unsigned int end)
{
	return from < end ? bitmap_find(map, from, end, true) : end;
}

static inline unsigned int bitmap_next_clear(const unsigned long *map, unsigned int from,
					     unsigned int end)
{
	return from < end ? bitmap_find(map, from, end, false) : end;
}

#endif
