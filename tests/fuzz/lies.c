/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Changing an image so that no checksum gives it away; and then, perhaps, so that they do. */
#include <string.h>
#include "core/lib/util.h"
#include "tests/lib/undodev.h"
#include "tests/fuzz/lies.h"
#include "tests/fuzz/lies_priv.h"

static void lie_super(struct base *b, const struct lie *l, bool root)
{
	const struct tfs_geom *g = &b->seal.geom;
	const uint64_t all[] = { g->super_block, g->super_copies[0], g->super_copies[1] };
	const uint32_t changing = offsetof(struct tfs_super, txid);

	/* all alike, or one of them */
	for (unsigned int k = 0; k < 3; k++) {
		struct tfs_super *s = seal_at(&b->seal, all[k]);

		if (!all[k] || (l->sub % 8 < 3 && l->sub % 8 != k))
			continue;
		part_touch(b, PART_SUPER, all[k]);
		if (root)
			lie_change_in(b, l, &s->roots[l->index % 2], sizeof(s->roots[0]));
		else if (l->field % 4)
			lie_change_in(b, l, &s->txid, offsetof(struct tfs_super, roots) - changing);
		else
			lie_change_in(b, l, s, offsetof(struct tfs_super, reserved) + 8);
	}
}

static void lie_group(struct base *b, const struct lie *l)
{
	const struct tfs_geom *g = &b->seal.geom;
	uint64_t group = l->index % g->nr_groups, block;
	unsigned int slot;

	switch ((enum lie_what)(l->what % LIE_KINDS)) {
	case LIE_HEADER:
		block = tfs_group_header_block(g, group);
		part_touch(b, PART_HEADER, block);
		lie_change_in(b, l, seal_at(&b->seal, block),
			      l->field % 4 ? offsetof(struct tfs_group, tuples) + 24 * 4 : 4096);
		break;
	case LIE_BITMAP:
		block = tfs_group_bitmap_block(g, group);
		part_touch(b, PART_BITMAP, block);
		lie_change_in(b, l, seal_at(&b->seal, block), g->blocks_per_group / 8);
		break;
	default:
		block = l->field % 2 ? b->node[l->index % b->nr_nodes]
				     : b->data[l->index % b->nr_data];
		part_touch(b, PART_TUPLES, tfs_tuple_block_of(g, block, &slot));
		lie_change_in(b, l,
			      (uint8_t *)seal_at(&b->seal, tfs_tuple_block_of(g, block, &slot)) +
				      slot * TFS_TUPLE_BYTES,
			      TFS_TUPLE_BYTES);
	}
}

static void lie_data(struct base *b, const struct lie *l)
{
	uint64_t block = b->data[l->index % b->nr_data];

	part_touch(b, PART_DATA, block);
	lie_change_in(b, l, seal_at(&b->seal, block), b->seal.geom.block_size);
}

static void touch_log(struct base *b, uint64_t pos)
{
	undodev_touch(b->dev,
		      (b->seal.geom.journal_start << b->seal.geom.blkbits) + pos * TFS_LOG_BLOCK,
		      TFS_LOG_BLOCK);
}

static void lie_log_head(struct base *b, const struct lie *l, unsigned int flags)
{
	for (uint64_t k = 0; k < 2; k++) {
		if (l->sub % 4 == k)
			continue;
		touch_log(b, k);
		lie_change_in(b, l, seal_log_at(&b->seal, k),
			      offsetof(struct tfs_log_header, reserved));
		if (!(flags & LIES_LOG_OPEN))
			seal_log_block(&b->seal, k);
	}
}

/* The second of the pair of commit records follows the first. */
static void lie_log(struct base *b, const struct lie *l, bool payload, unsigned int flags)
{
	uint64_t pos, start, bytes;
	struct tfs_log_commit *c;

	if (!b->nr_commits)
		return;
	pos = b->commit[l->index % b->nr_commits];
	c = seal_log_at(&b->seal, pos);
	start = le64_get(c->start);
	bytes = le64_get(c->payload_bytes);
	touch_log(b, pos);
	if (!payload) {
		lie_change_in(b, l, c, offsetof(struct tfs_log_commit, reserved));
	} else if (start >= TFS_LOG_FIRST && bytes && start < seal_log_blocks(&b->seal) &&
		   bytes <= (seal_log_blocks(&b->seal) - start) * TFS_LOG_BLOCK) {
		uint64_t at = (l->off | (uint64_t)l->field << 16) % bytes / 8 * 8;

		at = min_t(uint64_t, at, bytes - min_t(uint64_t, bytes, 8));
		touch_log(b, start + at / TFS_LOG_BLOCK);
		lie_change(b, l, (uint8_t *)seal_log_at(&b->seal, start) + at);
	}
	if (!(flags & LIES_LOG_OPEN))
		for (unsigned int k = 0; k < b->nr_commits; k++) {
			touch_log(b, b->commit[k]);
			seal_commit(&b->seal, b->commit[k]);
		}
}

static void tell(struct base *b, const struct lie *l, unsigned int flags)
{
	switch ((enum lie_what)(l->what % LIE_KINDS)) {
	case LIE_SUPER:
	case LIE_SUPER_ROOT:
		lie_super(b, l, l->what % LIE_KINDS == LIE_SUPER_ROOT);
		break;
	case LIE_NODE:
		lie_change_in(b, l, lie_node_of(b, l), l->sub % 2 ? 64 : b->seal.geom.node_size);
		break;
	case LIE_ITEM:
	case LIE_CONTENT:
		lie_item(b, l, l->what % LIE_KINDS == LIE_CONTENT);
		break;
	case LIE_CHILD:
		lie_child(b, l);
		break;
	case LIE_REMOVE:
		lie_remove(b, l);
		break;
	case LIE_INSERT:
		lie_insert(b, l);
		break;
	case LIE_COPY:
		lie_copy(b, l);
		break;
	case LIE_DATA:
		lie_data(b, l);
		break;
	case LIE_LOG_HEAD:
		lie_log_head(b, l, flags);
		break;
	case LIE_COMMIT:
	case LIE_PAYLOAD:
		lie_log(b, l, l->what % LIE_KINDS == LIE_PAYLOAD, flags);
		break;
	default:
		lie_group(b, l);
	}
}

/* What nothing vouches for: bytes change, and nobody seals them. */
static void rot(struct base *b, const struct lie *l)
{
	const struct tfs_geom *g = &b->seal.geom;
	uint64_t poison = FUZZ_POISON, block, off;
	uint32_t bytes = g->block_size;

	if (l->what % 4 == 0) {
		block = b->node[l->index % b->nr_nodes];
		bytes = g->node_size;
	} else if (l->what % 4 == 1) {
		block = lie_place(b, l->value);
	} else {
		block = b->data[l->index % b->nr_data];
	}
	if (block >= g->total_blocks)
		return;
	off = (block << g->blkbits) + l->off % (bytes - sizeof(poison));
	undodev_touch(b->dev, off, sizeof(poison));
	memcpy(b->seal.image + off, &poison, sizeof(poison));
}

static struct lie next_lie(struct fuzz_in *in)
{
	struct lie l;

	l.what = (uint8_t)fuzz_get(in, 1);
	l.sub = (uint8_t)fuzz_get(in, 1);
	l.index = (uint16_t)fuzz_get(in, 2);
	l.off = (uint16_t)fuzz_get(in, 2);
	l.how = (uint8_t)fuzz_get(in, 1);
	l.field = (uint8_t)fuzz_get(in, 1);
	l.value = fuzz_get(in, 8);
	return l;
}

bool lies_tell(struct base *b, struct fuzz_in *in, unsigned int n, unsigned int rots,
	       unsigned int flags)
{
	struct lie l;

	parts_none();
	for (unsigned int k = 0; k < n; k++) {
		l = next_lie(in);
		tell(b, &l, flags);
	}
	parts_seal(b, flags);
	if (flags & LIES_BY_LOG && !b->pending)
		parts_send(b);
	for (unsigned int k = 0; k < rots; k++) {
		l = next_lie(in);
		rot(b, &l);
	}
	return rots || flags & ~(unsigned int)LIES_BY_LOG;
}
