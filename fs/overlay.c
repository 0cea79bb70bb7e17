/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The overlay: what replay makes of the log, by home block, in memory.  Mounting
 * for writing writes it home; mounting read-only and fsck -n read through it.
 *
 * A revoked block keeps an entry without an image, so that a record of the same
 * transaction that comes after the revoke is not replayed either.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "fs/overlay.h"

struct entry {
	struct entry *next;
	uint64_t block, revoked; /* last transaction that revoked it; 0: none */
	uint32_t bytes;
	void *data; /* NULL: revoked */
};

struct tfs_overlay {
	uint32_t align;
	unsigned int bits;
	size_t nr; /* entries */
	struct entry **hash;
};

struct tfs_overlay *overlay_create(uint32_t align)
{
	struct tfs_overlay *o = tl_zalloc(sizeof(*o));

	if (!o)
		return NULL;
	o->align = max_t(uint32_t, align, 512);
	o->bits = 10;
	o->hash = tl_zalloc(sizeof(*o->hash) << o->bits);
	if (!o->hash) {
		tl_free(o);
		return NULL;
	}
	return o;
}

void overlay_free(struct tfs_overlay *o)
{
	struct entry *e, *next;
	size_t i;

	if (!o)
		return;
	for (i = 0; i < (size_t)1 << o->bits; i++) {
		for (e = o->hash[i]; e; e = next) {
			next = e->next;
			tl_free(e->data);
			tl_free(e);
		}
	}
	tl_free(o->hash);
	tl_free(o);
}

static struct entry **slot(struct entry **hash, unsigned int bits, uint64_t block)
{
	return &hash[(block * 0x9e3779b97f4a7c15ull) >> (64 - bits)];
}

static struct entry *find(const struct tfs_overlay *o, uint64_t block)
{
	struct entry *e;

	for (e = *slot(o->hash, o->bits, block); e && e->block != block; e = e->next)
		;
	return e;
}

/* Twice the slots; without the memory for it the chains only get longer. */
static void grow(struct tfs_overlay *o)
{
	struct entry **hash, **s, *e, *next;
	size_t i;

	hash = tl_zalloc(sizeof(*hash) << (o->bits + 1));
	if (!hash)
		return;
	for (i = 0; i < (size_t)1 << o->bits; i++) {
		for (e = o->hash[i]; e; e = next) {
			next = e->next;
			s = slot(hash, o->bits + 1, e->block);
			e->next = *s;
			*s = e;
		}
	}
	tl_free(o->hash);
	o->hash = hash;
	o->bits++;
}

static struct entry *find_or_add(struct tfs_overlay *o, uint64_t block)
{
	struct entry *e = find(o, block), **s;

	if (e)
		return e;
	e = tl_zalloc(sizeof(*e));
	if (!e)
		return NULL;
	if (o->nr >> o->bits)
		grow(o);
	e->block = block;
	s = slot(o->hash, o->bits, block);
	e->next = *s;
	*s = e;
	o->nr++;
	return e;
}

int overlay_image(struct tfs_overlay *o, uint64_t txid, uint64_t block, const void *data, uint32_t bytes)
{
	struct entry *e = find_or_add(o, block);
	void *copy;

	if (!e)
		return -ENOMEM;
	if (txid <= e->revoked)
		return 0;
	if (!e->data || e->bytes != bytes) {
		copy = tl_alloc_aligned(o->align, bytes);
		if (!copy)
			return -ENOMEM;
		tl_free(e->data);
		e->data = copy;
		e->bytes = bytes;
	}
	memcpy(e->data, data, bytes);
	return 0;
}

int overlay_range(struct tfs_overlay *o, uint64_t txid, uint64_t block, uint32_t bytes, uint32_t off, const void *data,
		  uint32_t len)
{
	struct entry *e = find(o, block);

	if (e && txid <= e->revoked)
		return 0;
	if (!e || !e->data || e->bytes != bytes || off > bytes || len > bytes - off)
		return -EUCLEAN;
	memcpy((char *)e->data + off, data, len);
	return 0;
}

int overlay_revoke(struct tfs_overlay *o, uint64_t txid, uint64_t block)
{
	struct entry *e = find_or_add(o, block);

	if (!e)
		return -ENOMEM;
	tl_free(e->data);
	e->data = NULL;
	e->bytes = 0;
	e->revoked = txid;
	return 0;
}

const void *overlay_lookup(const struct tfs_overlay *o, uint64_t block, uint32_t *bytes)
{
	struct entry *e = find(o, block);

	if (!e || !e->data)
		return NULL;
	*bytes = e->bytes;
	return e->data;
}

static int by_block(const void *a, const void *b)
{
	uint64_t x = (*(struct entry *const *)a)->block, y = (*(struct entry *const *)b)->block;

	return x < y ? -1 : x > y;
}

int overlay_each(const struct tfs_overlay *o, int (*fn)(void *arg, uint64_t block, uint32_t bytes, const void *data),
		 void *arg)
{
	struct entry **sorted, *e;
	size_t i, n = 0;
	int ret = 0;

	sorted = tl_alloc(max_t(size_t, o->nr, 1) * sizeof(*sorted));
	if (!sorted)
		return -ENOMEM;
	for (i = 0; i < (size_t)1 << o->bits; i++)
		for (e = o->hash[i]; e; e = e->next)
			if (e->data)
				sorted[n++] = e;
	qsort(sorted, n, sizeof(*sorted), by_block);
	for (i = 0; i < n && !ret; i++)
		ret = fn(arg, sorted[i]->block, sorted[i]->bytes, sorted[i]->data);
	tl_free(sorted);
	return ret;
}
