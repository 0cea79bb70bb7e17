/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The overlay: what replay makes of the log, by home block, in memory.  Mounting
 * for writing writes it home; mounting read-only and fsck -n read through it.
 *
 * Revokes are collected while a transaction is replayed, as ranges, and take effect at its end:
 * what it and those before it have for a structure that begins in one of them is dropped.  So they
 * cost less memory than the log that says them.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/lib/util.h"
#include "fs/disk/log_overlay.h"

struct entry {
	struct entry *next;
	uint64_t block;
	uint32_t bytes;
	void *data;
};

struct range {
	uint64_t start, end;
};

struct tfs_overlay {
	uint32_t align;
	unsigned int bits;
	size_t nr; /* entries */
	struct entry **hash;
	struct range *revoked; /* by the transaction being replayed */
	size_t nr_revoked, max_revoked;
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
	tl_free(o->revoked);
	tl_free(o->hash);
	tl_free(o);
}

static struct entry **slot(struct entry **hash, unsigned int bits, uint64_t block)
{
	return &hash[(block * 0x9e3779b97f4a7c15ull) >> (64 - bits)];
}

static struct entry *find_entry(const struct tfs_overlay *o, uint64_t block)
{
	struct entry *e;

	for (e = *slot(o->hash, o->bits, block); e && e->block != block; e = e->next)
		;
	return e;
}

/* Twice the slots; without the memory for it the chains only get longer. */
static void grow_hash(struct tfs_overlay *o)
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

static int add(struct tfs_overlay *o, uint64_t block, const void *data, uint32_t bytes)
{
	struct entry *e = tl_alloc(sizeof(*e)), **s;
	void *copy = tl_alloc_aligned(o->align, bytes);

	if (!e || !copy) {
		tl_free(e);
		tl_free(copy);
		return -ENOMEM;
	}
	if (o->nr >> o->bits)
		grow_hash(o);
	s = slot(o->hash, o->bits, block);
	*e = (struct entry){ .next = *s, .block = block, .bytes = bytes, .data = copy };
	memcpy(copy, data, bytes);
	*s = e;
	o->nr++;
	return 0;
}

static void drop(struct tfs_overlay *o, struct entry **p)
{
	struct entry *e = *p;

	*p = e->next;
	tl_free(e->data);
	tl_free(e);
	o->nr--;
}

int overlay_image(struct tfs_overlay *o, uint64_t block, const void *data, uint32_t bytes)
{
	struct entry *e = find_entry(o, block);
	void *copy;

	if (!e)
		return add(o, block, data, bytes);
	if (e->bytes != bytes) {
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

int overlay_range(struct tfs_overlay *o, uint64_t block, uint32_t bytes, uint32_t off,
		  const void *data, uint32_t len)
{
	struct entry *e = find_entry(o, block);

	if (!e || e->bytes != bytes || off > bytes || len > bytes - off)
		return -EUCLEAN;
	memcpy((char *)e->data + off, data, len);
	return 0;
}

int overlay_revoke(struct tfs_overlay *o, uint64_t block, uint32_t n)
{
	struct range *grown;
	size_t max;

	if (o->nr_revoked == o->max_revoked) {
		max = o->max_revoked ? o->max_revoked + o->max_revoked / 2 : 64;
		grown = tl_realloc(o->revoked, max * sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		o->revoked = grown;
		o->max_revoked = max;
	}
	o->revoked[o->nr_revoked++] = (struct range){ .start = block, .end = block + n };
	return 0;
}

static int by_start(const void *a, const void *b)
{
	uint64_t x = ((const struct range *)a)->start, y = ((const struct range *)b)->start;

	return x < y ? -1 : x > y;
}

/* In order, and where they touch or overlap as one.  Blocks in all. */
static uint64_t join_revoked(struct tfs_overlay *o)
{
	struct range *r = o->revoked;
	uint64_t blocks = 0;
	size_t i, n = 0;

	qsort(r, o->nr_revoked, sizeof(*r), by_start);
	for (i = 1; i < o->nr_revoked; i++) {
		if (r[i].start <= r[n].end)
			r[n].end = max_t(uint64_t, r[n].end, r[i].end);
		else
			r[++n] = r[i];
	}
	o->nr_revoked = n + 1;
	for (i = 0; i < o->nr_revoked; i++)
		blocks += r[i].end - r[i].start;
	return blocks;
}

static bool is_revoked(const struct tfs_overlay *o, uint64_t block)
{
	size_t lo = 0, hi = o->nr_revoked, mid;

	while (lo < hi) {
		mid = (lo + hi) / 2;
		if (o->revoked[mid].end <= block)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < o->nr_revoked && o->revoked[lo].start <= block;
}

/* Few blocks: look each of them up. */
static void drop_blocks(struct tfs_overlay *o)
{
	struct entry **p;
	uint64_t b;
	size_t i;

	for (i = 0; i < o->nr_revoked; i++) {
		for (b = o->revoked[i].start; b < o->revoked[i].end; b++) {
			for (p = slot(o->hash, o->bits, b); *p && (*p)->block != b; p = &(*p)->next)
				;
			if (*p)
				drop(o, p);
		}
	}
}

/* Few entries: ask of each. */
static void drop_entries(struct tfs_overlay *o)
{
	struct entry **p;
	size_t i;

	for (i = 0; i < (size_t)1 << o->bits; i++) {
		for (p = &o->hash[i]; *p;) {
			if (is_revoked(o, (*p)->block))
				drop(o, p);
			else
				p = &(*p)->next;
		}
	}
}

void overlay_end_tx(struct tfs_overlay *o)
{
	if (!o->nr_revoked)
		return;
	if (join_revoked(o) <= o->nr)
		drop_blocks(o);
	else
		drop_entries(o);
	/* what one transaction of a hostile log took, the next one need not have */
	tl_free(o->revoked);
	o->revoked = NULL;
	o->nr_revoked = o->max_revoked = 0;
}

const void *overlay_lookup(const struct tfs_overlay *o, uint64_t block, uint32_t *bytes)
{
	struct entry *e = find_entry(o, block);

	if (!e)
		return NULL;
	*bytes = e->bytes;
	return e->data;
}

static int by_block(const void *a, const void *b)
{
	uint64_t x = (*(struct entry *const *)a)->block, y = (*(struct entry *const *)b)->block;

	return x < y ? -1 : x > y;
}

int overlay_each(const struct tfs_overlay *o,
		 int (*fn)(void *arg, uint64_t block, uint32_t bytes, const void *data), void *arg)
{
	struct entry **sorted, *e;
	size_t i, n = 0;
	int ret = 0;

	sorted = tl_alloc(max_t(size_t, o->nr, 1) * sizeof(*sorted));
	if (!sorted)
		return -ENOMEM;
	for (i = 0; i < (size_t)1 << o->bits; i++)
		for (e = o->hash[i]; e; e = e->next)
			sorted[n++] = e;
	qsort(sorted, n, sizeof(*sorted), by_block);
	for (i = 0; i < n && !ret; i++)
		ret = fn(arg, sorted[i]->block, sorted[i]->bytes, sorted[i]->data);
	tl_free(sorted);
	return ret;
}
