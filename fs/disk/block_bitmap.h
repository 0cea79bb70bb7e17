/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bit arrays in the on-disk order (bit i: byte i / 8, value 1 << i % 8), scanned a
 * word at a time.  The memory is a multiple of 8 bytes, aligned to 8.
 * Ranges are [from, to), from <= to.
 */
#ifndef FS_BLOCK_BITMAP_H
#define FS_BLOCK_BITMAP_H

#include "core/lib/util.h"

static inline bool block_bitmap_test(const void *map, uint32_t bit)
{
	return ((const uint8_t *)map)[bit / 8] >> (bit % 8) & 1;
}

void block_bitmap_set(void *map, uint32_t from, uint32_t to);
void block_bitmap_clear(void *map, uint32_t from, uint32_t to);
/* First clear / set bit in the range, or @to. */
uint32_t block_bitmap_next_clear(const void *map, uint32_t from, uint32_t to);
uint32_t block_bitmap_next_set(const void *map, uint32_t from, uint32_t to);
uint32_t block_bitmap_count_clear(const void *map, uint32_t from, uint32_t to);
/*
 * Groups of @slot bits (a power of two up to 64, aligned to itself) that are all clear, among
 * those that touch the range; the map's last bits belong to whole groups.
 */
uint32_t block_bitmap_count_slots(const void *map, uint32_t from, uint32_t to, uint32_t slot);
/* First all-clear group that lies wholly in the range, or @to. */
uint32_t block_bitmap_next_slot(const void *map, uint32_t from, uint32_t to, uint32_t slot);

#endif
