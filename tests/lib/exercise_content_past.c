/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include "core/block/guard.h"
#include "core/lib/util.h"
#include "tests/lib/exercise_content_past.h"

/* Values in the order in which they came; the last is today's. */
struct values {
	uint64_t *v;
	unsigned int nr, room;
};

struct content_past {
	uint32_t block_size;
	uint64_t nr_blocks;
	struct values sizes, *blocks; /* bytes; hashes */
};

static void add(struct values *l, uint64_t value)
{
	if (l->nr && l->v[l->nr - 1] == value)
		return;
	if (l->nr == l->room) {
		l->room = l->room ? l->room * 2 : 4;
		l->v = realloc(l->v, l->room * sizeof(*l->v));
		if (!l->v)
			abort();
	}
	l->v[l->nr++] = value;
}

static bool has(const struct values *l, uint64_t value)
{
	for (unsigned int i = l->nr; i-- > 0;)
		if (l->v[i] == value)
			return true;
	return false;
}

static void keep_last(struct values *l)
{
	l->v[0] = l->v[l->nr - 1];
	l->nr = 1;
}

static uint64_t hash(const struct content_past *h, const uint8_t *block)
{
	return guard_xxh3(block, h->block_size, 3);
}

struct content_past *content_past_create(uint32_t block_size, uint64_t max_size)
{
	struct content_past *h = calloc(1, sizeof(*h));
	uint8_t *zeros = calloc(1, block_size);

	if (!h || !zeros)
		abort();
	h->block_size = block_size;
	h->nr_blocks = div_up(max_size, block_size);
	h->blocks = calloc(h->nr_blocks, sizeof(*h->blocks));
	if (!h->blocks)
		abort();
	for (uint64_t b = 0; b < h->nr_blocks; b++)
		add(&h->blocks[b], hash(h, zeros));
	add(&h->sizes, 0);
	free(zeros);
	return h;
}

void content_past_destroy(struct content_past *h)
{
	for (uint64_t b = 0; b < h->nr_blocks; b++)
		free(h->blocks[b].v);
	free(h->blocks);
	free(h->sizes.v);
	free(h);
}

void content_past_changed(struct content_past *h, const uint8_t *data, uint64_t size, uint64_t from,
			  uint64_t to)
{
	uint64_t bs = h->block_size;

	for (uint64_t b = from / bs; b < h->nr_blocks && b * bs < to; b++)
		add(&h->blocks[b], hash(h, data + b * bs));
	add(&h->sizes, size);
}

void content_past_synced(struct content_past *h)
{
	for (uint64_t b = 0; b < h->nr_blocks; b++)
		keep_last(&h->blocks[b]);
	keep_last(&h->sizes);
}

bool content_past_size_ok(const struct content_past *h, uint64_t size)
{
	uint64_t lo = UINT64_MAX, hi = 0;

	if (has(&h->sizes, size))
		return true;
	for (unsigned int i = 0; i < h->sizes.nr; i++) {
		lo = min_t(uint64_t, lo, h->sizes.v[i]);
		hi = max_t(uint64_t, hi, h->sizes.v[i]);
	}
	return size % h->block_size == 0 && size >= lo && size <= hi;
}

bool content_past_block_ok(const struct content_past *h, uint64_t index, const uint8_t *block)
{
	return index < h->nr_blocks && has(&h->blocks[index], hash(h, block));
}
