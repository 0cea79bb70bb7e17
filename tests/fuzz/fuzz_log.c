/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The log: one transaction behind a clean image, its records made by the input, or raw; sealed.
 * Input: base; flags (ROUNDS_* low, LOG_* from bit 3); number of records; the records, 16 bytes
 * each (LOG_RAW: that many times 16 bytes of payload); then operations as in fuzz_image.c.
 */
#include <stdlib.h>
#include <string.h>
#include "core/lib/util.h"
#include "tests/fuzz/base.h"
#include "tests/lib/undodev.h"
#include "tests/fuzz/rounds.h"

enum {
	LOG_RAW = 1 << 3,
	LOG_NO_SUPER = 1 << 4, /* the superblock does not come along */
	LOG_SHORT = 1 << 5,    /* the commit record speaks of fewer bytes */
	LOG_LONG = 1 << 6,     /* of more */
};

#define RECORDS_MAX 24

struct payload {
	uint8_t *p;
	size_t len, max;
};

static void put(struct payload *pl, const void *data, size_t len)
{
	len = min_t(size_t, len, pl->max - pl->len);
	if (data)
		memcpy(pl->p + pl->len, data, len);
	else
		memset(pl->p + pl->len, 0, len);
	pl->len += len;
}

static void put_record(struct payload *pl, uint32_t type, uint64_t block, uint32_t buf_bytes,
		       uint32_t off, uint32_t says, const void *data, uint32_t len)
{
	struct tfs_log_record r = { .type = le32_of(type),
				    .len = le32_of(says),
				    .block = le64_of(block),
				    .buf_bytes = le32_of(buf_bytes),
				    .off = le32_of(off) };

	put(pl, &r, sizeof(r));
	put(pl, data, len);
	put(pl, NULL, round_up_to(len, 8) - len);
}

static void put_super(const struct base *b, struct payload *pl)
{
	const struct tfs_log_header *h = seal_log_at(&b->seal, 0);
	struct tfs_super s;

	memcpy(&s, seal_at(&b->seal, b->seal.geom.super_block), sizeof(s));
	s.txid = h->tail_txid;
	/* sealed in place of the one at home, which comes back */
	memcpy(seal_at(&b->seal, b->seal.geom.super_block), &s, sizeof(s));
	seal_super(&b->seal, b->seal.geom.super_block);
	put_record(pl, TFS_REC_IMAGE, b->seal.geom.super_block, sizeof(s), 0, sizeof(s),
		   seal_at(&b->seal, b->seal.geom.super_block), sizeof(s));
	memcpy(seal_at(&b->seal, b->seal.geom.super_block),
	       (const uint8_t *)undodev_kept(b->dev) + TFS_SUPER_OFFSET, sizeof(s));
}

/* Where a record belongs, and how large the structure there is. */
static uint64_t home_of(const struct base *b, uint8_t kind, uint64_t index, uint32_t *bytes)
{
	const struct tfs_geom *g = &b->seal.geom;
	uint64_t group = index % g->nr_groups;

	*bytes = g->block_size;
	switch (kind % 8) {
	case 0:
	case 1:
		*bytes = g->node_size;
		return b->node[index % b->nr_nodes];
	case 2:
		return b->data[index % b->nr_data];
	case 3:
		*bytes = 4096;
		return tfs_group_header_block(g, group);
	case 4:
		return tfs_group_bitmap_block(g, group);
	case 5:
		return tfs_group_tuple_block(
			g, group, (unsigned int)(index / 64 % tfs_group_nr_tuple_blocks(g, group)));
	case 6:
		*bytes = 4096;
		return g->super_block;
	default:
		return index;
	}
}

static void record(const struct base *b, struct fuzz_in *in, struct payload *pl)
{
	static uint8_t content[TFS_MAX_NODE];
	uint8_t type = (uint8_t)fuzz_get(in, 1), kind = (uint8_t)fuzz_get(in, 1);
	uint64_t index = fuzz_get(in, 2), off = fuzz_get(in, 2), len = fuzz_get(in, 2);
	uint64_t value = fuzz_get(in, 8), block;
	uint32_t bytes, says;

	if (kind % 8 == 7 && type & 0x80)
		index = value;
	block = home_of(b, kind, index, &bytes);
	memset(content, 0, bytes);
	if (block < b->seal.geom.total_blocks &&
	    b->seal.geom.total_blocks - block >= b->seal.geom.node_blocks)
		memcpy(content, seal_at(&b->seal, block), bytes);
	if (type % 8 == TFS_REC_RANGE) {
		off %= bytes;
		len = min_t(uint64_t, len, bytes - off);
		memcpy(content + off, &value, min_t(uint64_t, len, sizeof(value)));
	} else if (type % 8 == TFS_REC_IMAGE) {
		if (type & 8)
			memcpy(content + off % (bytes - 8), &value, sizeof(value));
		off = 0;
		len = bytes;
	} else {
		off = value;
		len = min_t(uint64_t, len, bytes);
	}
	says = (uint32_t)(type & 16 ? value : len);
	put_record(pl, type % 8, block, (uint32_t)(type & 32 ? value : bytes), (uint32_t)off, says,
		   content + (type % 8 == TFS_REC_RANGE ? off : 0), (uint32_t)len);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	fuzz_init();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = fuzz_start(data, size);
	struct base *b = base_get((unsigned int)fuzz_get(&in, 1) % 2);
	unsigned int flags = (unsigned int)fuzz_get(&in, 1);
	unsigned int n = (unsigned int)fuzz_get(&in, 1) % (RECORDS_MAX + 1);
	const struct tfs_geom *g = &b->seal.geom;
	struct payload pl = { .max = (seal_log_blocks(&b->seal) - 8) * TFS_LOG_BLOCK };
	const uint8_t *raw;
	uint64_t says;

	pl.p = malloc(pl.max);
	if (!pl.p)
		fuzz_die("out of memory");
	if (!(flags & LOG_NO_SUPER))
		put_super(b, &pl);
	if (flags & LOG_RAW) {
		size_t len = fuzz_take(&in, n * 16, &raw);

		put(&pl, raw, len);
	}
	for (unsigned int k = 0; k < n && !(flags & LOG_RAW); k++)
		record(b, &in, &pl);
	says = pl.len;
	if (flags & LOG_SHORT)
		says -= says / 8 * 2;
	if (flags & LOG_LONG)
		says += 4096;
	undodev_touch(b->dev, g->journal_start << g->blkbits, g->journal_blocks << g->blkbits);
	if (!seal_transaction(&b->seal, pl.p, pl.len, says))
		fuzz_die("the log is too small");
	free(pl.p);
	rounds(b, &in, flags & 7);
	return 0;
}
