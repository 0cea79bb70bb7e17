/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * For inputs that are three bytes, records of 16 and steps of 6: changes that keep the rest in its
 * place, beside those that libFuzzer makes of any bytes.
 */
#include <string.h>
#include "core/lib/util.h"
#include "tests/fuzz/fuzz.h"

#define HEAD 3u
#define RECORD 16u
#define STEP 6u

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned int seed);

/* One more of @unit bytes at @at: a copy of another, or zeros. */
static size_t grow(uint8_t *data, size_t size, size_t max, size_t at, size_t unit, size_t from)
{
	if (size + unit > max || at > size)
		return size;
	memmove(data + at + unit, data + at, size - at);
	if (from + unit <= at)
		memcpy(data + at, data + from, unit);
	else
		memset(data + at, 0, unit);
	return size + unit;
}

static size_t shrink(uint8_t *data, size_t size, size_t at, size_t unit)
{
	if (at + unit > size)
		return size;
	memmove(data + at, data + at + unit, size - at - unit);
	return size - unit;
}

/* One of the records: more, less, another. */
static size_t records(uint8_t *data, size_t size, size_t max, unsigned int r)
{
	unsigned int n = data[2] % 32, k = n ? r / 8 % n : 0;
	size_t at = HEAD + k * RECORD, was = size;

	if (r % 8 == 0 && n < 16) {
		size = grow(data, size, max, at, RECORD, HEAD + r / 64 % (n + 1) * RECORD);
		data[2] = (uint8_t)(data[2] + (size != was));
	} else if (r % 8 == 1 && n) {
		size = shrink(data, size, at, RECORD);
		data[2] = (uint8_t)(data[2] - (size != was));
	} else if (n && at + RECORD <= size) {
		LLVMFuzzerMutate(data + at, RECORD, RECORD);
	}
	return size;
}

static size_t steps(uint8_t *data, size_t size, size_t max, unsigned int r)
{
	size_t first = HEAD + data[2] % 32 * RECORD, n, at;

	if (first >= size)
		return first == size ? grow(data, size, max, size, STEP, 0) : size;
	n = (size - first) / STEP;
	at = first + (n ? r / 8 % n : 0) * STEP;
	if (r % 8 == 0)
		return grow(data, size, max, at, STEP, first);
	if (r % 8 == 1)
		return shrink(data, size, at, STEP);
	if (at + STEP <= size)
		LLVMFuzzerMutate(data + at, STEP, STEP);
	return size;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned int seed)
{
	unsigned int r = seed * 2654435761u >> 4;

	if (size <= HEAD || max <= HEAD)
		return LLVMFuzzerMutate(data, size, max);
	switch (r % 8) {
	case 0:
		return LLVMFuzzerMutate(data, size, max);
	case 1:
		LLVMFuzzerMutate(data, HEAD, HEAD);
		return size;
	case 2:
	case 3:
	case 4:
	case 5:
		return records(data, size, max, r / 8);
	default:
		return steps(data, size, max, r / 8);
	}
}
