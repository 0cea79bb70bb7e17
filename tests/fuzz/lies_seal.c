/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The parts of an image that lies were told of: sealing them, sending them by the log. */
#include <stdlib.h>
#include <string.h>
#include "core/lib/util.h"
#include "tests/lib/undodev.h"
#include "tests/fuzz/lies.h"
#include "tests/fuzz/lies_priv.h"

struct part {
	enum part_kind kind;
	uint64_t block;
	uint32_t bytes;
};

#define PARTS_MAX 256

static struct part parts[PARTS_MAX];
static unsigned int nr_parts;

void part_touch(struct base *b, enum part_kind kind, uint64_t block)
{
	const struct tfs_geom *g = &b->seal.geom;
	uint32_t bytes = kind == PART_SUPER || kind == PART_HEADER ? 4096
			 : kind == PART_NODE			   ? g->node_size
								   : g->block_size;

	for (unsigned int k = 0; k < nr_parts; k++)
		if (parts[k].block == block)
			return;
	if (nr_parts == PARTS_MAX)
		return;
	parts[nr_parts++] = (struct part){ kind, block, bytes };
	undodev_touch(b->dev, block << g->blkbits, bytes);
}

void parts_none(void)
{
	nr_parts = 0;
}

void parts_seal(struct base *b, unsigned int flags)
{
	const struct tfs_geom *g = &b->seal.geom;
	unsigned int slot;

	for (unsigned int k = 0; k < nr_parts && !(flags & LIES_TUPLES_OPEN); k++) {
		struct part p = parts[k];
		bool node = p.kind == PART_NODE;

		if (!node && p.kind != PART_DATA)
			continue;
		part_touch(b, PART_TUPLES, tfs_tuple_block_of(g, p.block, &slot));
		seal_blocks(&b->seal, p.block, node ? g->node_blocks : 1,
			    node ? TFS_APP_NODE : TFS_APP_DATA);
	}
	for (unsigned int k = 0; k < nr_parts; k++) {
		struct part p = parts[k];
		uint64_t group = tfs_group_of(g, p.block);

		if (p.kind == PART_SUPER && !(flags & LIES_SUPERS_OPEN))
			seal_super(&b->seal, p.block);
		if ((p.kind != PART_TUPLES && p.kind != PART_BITMAP) || flags & LIES_VOUCHES_OPEN)
			continue;
		part_touch(b, PART_HEADER, tfs_group_header_block(g, group));
		if (p.kind == PART_BITMAP) {
			seal_bitmap(&b->seal, group);
		} else {
			uint64_t i = p.block - tfs_group_tuple_block(g, group, 0);

			seal_tuples(&b->seal, tfs_group_start(g, group) + i * g->tuples_per_block);
		}
	}
	for (unsigned int k = 0; k < nr_parts && !(flags & LIES_VOUCHES_OPEN); k++)
		if (parts[k].kind == PART_HEADER)
			seal_header(&b->seal, tfs_group_of(g, parts[k].block));
}

static bool by_log(const struct part *p)
{
	return p->kind != PART_DATA;
}

static uint8_t *put_record(struct base *b, const struct part *p, uint8_t *to)
{
	struct tfs_log_record r = { .type = le32_of(TFS_REC_IMAGE),
				    .len = le32_of(p->bytes),
				    .block = le64_of(p->block),
				    .buf_bytes = le32_of(p->bytes) };
	uint8_t *home = seal_at(&b->seal, p->block);

	memcpy(to, &r, sizeof(r));
	memcpy(to + sizeof(r), home, p->bytes);
	memcpy(home, (const uint8_t *)undodev_kept(b->dev) + (p->block << b->seal.geom.blkbits),
	       p->bytes);
	return to + sizeof(r) + p->bytes;
}

void parts_send(struct base *b)
{
	const struct tfs_geom *g = &b->seal.geom;
	uint64_t room = (seal_log_blocks(&b->seal) - 8) * TFS_LOG_BLOCK, len = 0;
	const struct tfs_log_header *h = seal_log_at(&b->seal, 0);
	struct tfs_super *super = seal_at(&b->seal, g->super_block);
	uint8_t *records, *at;

	/* a transaction has the superblock, with its own number */
	part_touch(b, PART_SUPER, g->super_block);
	super->txid = h->tail_txid;
	seal_super(&b->seal, g->super_block);
	for (unsigned int k = 0; k < nr_parts; k++)
		len += sizeof(struct tfs_log_record) + parts[k].bytes;
	if (len > room)
		return;
	at = records = malloc(len);
	if (!records)
		fuzz_die("out of memory");
	for (unsigned int k = 0; k < nr_parts; k++)
		if (by_log(&parts[k]))
			at = put_record(b, &parts[k], at);
	len = (uint64_t)(at - records);
	undodev_touch(b->dev, g->journal_start << g->blkbits, g->journal_blocks << g->blkbits);
	seal_transaction(&b->seal, records, len, len);
	free(records);
}
