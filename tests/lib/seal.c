/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Making what vouches for changed bytes of an image agree with them. */
#include <string.h>
#include "core/block/guard.h"
#include "core/block/integrity.h"
#include "core/lib/util.h"
#include "fs/disk/group.h"
#include "fs/disk/log_ring.h"
#include "fs/disk/super.h"
#include "tests/lib/seal.h"

int seal_open(struct seal *s, void *image)
{
	const struct tfs_super *super =
		(struct tfs_super *)(void *)((uint8_t *)image + TFS_SUPER_OFFSET);

	s->image = image;
	s->seed = le64_get(super->seed);
	s->guard = le32_get(super->guard);
	return tfs_super_geom(super, &s->geom);
}

void *seal_at(const struct seal *s, uint64_t block)
{
	return s->image + (block << s->geom.blkbits);
}

void seal_blocks(const struct seal *s, uint64_t first, uint32_t n, enum tfs_app_tag app)
{
	const struct blk_integrity bi = {
		.profile = s->guard == TFS_GUARD_CRC32 ? &profile_crc32 : &profile_xxh3_64,
		.interval_exp = (uint8_t)s->geom.blkbits,
		.key = s->seed,
	};
	unsigned int slot;

	for (uint64_t b = first; b < first + n; b++) {
		struct tuple16 *t = seal_at(s, tfs_tuple_block_of(&s->geom, b, &slot));

		blk_integrity_generate_buf(&bi, seal_at(s, b), b, 1, (uint16_t)app, t + slot);
	}
}

static struct tfs_group *header_of(const struct seal *s, uint64_t group)
{
	return seal_at(s, tfs_group_header_block(&s->geom, group));
}

static void vouch(const struct seal *s, struct tfs_vouch *v, uint64_t block)
{
	v->guard = le64_of(group_guard(s->guard, s->seed, seal_at(s, block), s->geom.block_size));
	v->flags = le32_of(TFS_VOUCH_WRITTEN);
}

void seal_bitmap(const struct seal *s, uint64_t group)
{
	vouch(s, &header_of(s, group)->bitmap, tfs_group_bitmap_block(&s->geom, group));
}

void seal_tuples(const struct seal *s, uint64_t block)
{
	uint64_t group = tfs_group_of(&s->geom, block);
	unsigned int slot;
	uint64_t at = tfs_tuple_block_of(&s->geom, block, &slot);

	vouch(s, &header_of(s, group)->tuples[at - tfs_group_tuple_block(&s->geom, group, 0)], at);
}

void seal_header(const struct seal *s, uint64_t group)
{
	struct tfs_group *h = header_of(s, group);

	h->csum = le64_of(group_csum(h, s->seed));
}

void seal_super(const struct seal *s, uint64_t block)
{
	tfs_super_seal(seal_at(s, block));
}

void *seal_log_at(const struct seal *s, uint64_t pos)
{
	return (uint8_t *)seal_at(s, s->geom.journal_start) + pos * TFS_LOG_BLOCK;
}

uint64_t seal_log_blocks(const struct seal *s)
{
	return (s->geom.journal_blocks << s->geom.blkbits) / TFS_LOG_BLOCK;
}

void seal_log_block(const struct seal *s, uint64_t pos)
{
	struct tfs_log_commit *c = seal_log_at(s, pos); /* csum lies alike in both */

	c->csum = le64_of(log_csum(c, s->seed));
}

void seal_commit(const struct seal *s, uint64_t pos)
{
	struct tfs_log_commit *c = seal_log_at(s, pos);
	uint64_t start = le64_get(c->start), bytes = le64_get(c->payload_bytes);
	uint64_t key = s->seed ^ le64_get(c->epoch) ^ le64_get(c->txid);
	uint64_t end = seal_log_blocks(s), straight;
	uint8_t *whole;

	if (start >= TFS_LOG_FIRST && start < end &&
	    bytes <= (end - TFS_LOG_FIRST) * TFS_LOG_BLOCK) {
		straight = min_t(uint64_t, bytes, (end - start) * TFS_LOG_BLOCK);
		whole = tl_alloc(bytes + 1);
		assert(whole);
		memcpy(whole, seal_log_at(s, start), straight);
		memcpy(whole + straight, seal_log_at(s, TFS_LOG_FIRST), bytes - straight);
		c->payload_csum = le64_of(guard_xxh3(whole, bytes, key));
		tl_free(whole);
	}
	seal_log_block(s, pos);
}

bool seal_transaction(const struct seal *s, const void *records, uint64_t len, uint64_t bytes)
{
	const struct tfs_log_header *h = seal_log_at(s, 0), *h1 = seal_log_at(s, 1);
	uint64_t end = seal_log_blocks(s), ring = end - TFS_LOG_FIRST, n, pos, start, txid;

	if (le64_get(h1->seq) > le64_get(h->seq))
		h = h1;
	n = div_up(len, TFS_LOG_BLOCK);
	start = pos = le64_get(h->tail);
	txid = le64_get(h->tail_txid);
	if (n + 4 > ring || start < TFS_LOG_FIRST || start >= end)
		return false;
	for (uint64_t k = 0; k < n; k++) {
		uint64_t part = min_t(uint64_t, TFS_LOG_BLOCK, len - k * TFS_LOG_BLOCK);
		uint8_t *to = seal_log_at(s, pos);

		memcpy(to, (const uint8_t *)records + k * TFS_LOG_BLOCK, part);
		memset(to + part, 0, TFS_LOG_BLOCK - part);
		pos = TFS_LOG_FIRST + (pos - TFS_LOG_FIRST + 1) % ring;
	}
	for (uint32_t copy = 0; copy < 2; copy++) {
		struct tfs_log_commit *c = seal_log_at(s, pos);

		memset(c, 0, sizeof(*c));
		c->magic = le32_of(TFS_COMMIT_MAGIC);
		c->copy = le32_of(copy);
		c->epoch = h->epoch;
		c->txid = le64_of(txid);
		c->pos = le64_of(pos);
		c->start = le64_of(start);
		c->payload_bytes = le64_of(bytes);
		c->durable_txid = le64_of(txid - 1);
		seal_commit(s, pos);
		pos = TFS_LOG_FIRST + (pos - TFS_LOG_FIRST + 1) % ring;
	}
	memset(seal_log_at(s, pos), 0, TFS_LOG_BLOCK);
	return true;
}
