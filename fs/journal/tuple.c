/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tuples: reading and writing them in the groups' tuple blocks, and sealing tree nodes. */
#include <errno.h>
#include <string.h>
#include "core/block/integrity.h"
#include "core/lib/list.h"
#include "core/lib/util.h"
#include "fs/disk/geom.h"
#include "fs/journal/buffer.h"
#include "fs/journal/trans.h"
#include "fs/journal/tuple.h"
#include "fs/state/fs.h"
#include "tallyfs/format.h"

/* The part of [block, block + n) whose tuples lie in one tuple block. */
struct piece {
	uint64_t tuple_block;
	unsigned int slot;
	uint32_t n;
};

static bool range_ok(const struct tfs_fs *fs, uint64_t block, uint32_t n)
{
	return block < fs->geom.total_blocks && n <= fs->geom.total_blocks - block;
}

static struct piece piece_of(const struct tfs_geom *g, uint64_t block, uint32_t n)
{
	uint64_t group = tfs_group_of(g, block),
		 end = tfs_group_start(g, group) + tfs_group_nr_blocks(g, group);
	struct piece p;

	p.tuple_block = tfs_tuple_block_of(g, block, &p.slot);
	p.n = (uint32_t)min_t(uint64_t, n, end - block);
	p.n = min_t(uint32_t, p.n, g->tuples_per_block - p.slot);
	return p;
}

int tuple_read(struct tfs_trans *t, uint64_t block, uint32_t n, struct tuple16 *out)
{
	struct tfs_fs *fs = t->fs;
	struct tfs_buf *b;
	struct piece p;
	int err;

	if (!range_ok(fs, block, n))
		return -EUCLEAN;
	for (; n; block += p.n, n -= p.n, out += p.n) {
		p = piece_of(&fs->geom, block, n);
		if (tfs_group_of(&fs->geom, block) >= fs->cnt.groups_init) {
			memset(out, 0, p.n * sizeof(*out)); /* no header yet: never written */
			continue;
		}
		err = buf_get(t, p.tuple_block, BUF_TUPLE, &b);
		if (err)
			return err;
		memcpy(out, (const struct tuple16 *)buf_data(b) + p.slot, p.n * sizeof(*out));
		buf_put(b);
	}
	return 0;
}

int tuple_prefault(struct tfs_trans *t, uint64_t block, uint32_t n)
{
	struct tfs_fs *fs = t->fs;
	struct tfs_buf *b;
	struct piece p;
	int err;

	if (!range_ok(fs, block, n))
		return -EUCLEAN;
	for (; n; block += p.n, n -= p.n) {
		p = piece_of(&fs->geom, block, n);
		if (tfs_group_of(&fs->geom, block) >= fs->cnt.groups_init)
			continue;
		err = buf_get(t, p.tuple_block, BUF_TUPLE, &b);
		if (err)
			return err;
		buf_put(b);
	}
	return 0;
}

int tuple_write(struct tfs_trans *t, uint64_t block, uint32_t n, const struct tuple16 *tuples)
{
	struct tfs_fs *fs = t->fs;
	struct tfs_buf *b;
	struct piece p;
	int err;

	/* all that may be missing, before the first change */
	err = tuple_prefault(t, block, n);
	for (; n && !err; block += p.n, n -= p.n, tuples += p.n) {
		p = piece_of(&fs->geom, block, n);
		err = buf_get(t, p.tuple_block, BUF_TUPLE, &b);
		if (err)
			return err;
		err = buf_modify(t, b);
		if (!err) {
			memcpy((struct tuple16 *)buf_data(b) + p.slot, tuples,
			       p.n * sizeof(*tuples));
			buf_log(t, b, p.slot * TFS_TUPLE_BYTES, p.n * TFS_TUPLE_BYTES);
		}
		buf_put(b);
	}
	return err;
}

void tuple_make(const struct tfs_fs *fs, uint64_t block, uint32_t n, const void *data,
		enum tfs_app_tag app, struct tuple16 *out)
{
	blk_integrity_generate_buf(&fs->integrity, data, block, n, (uint16_t)app, out);
}

int tuple_seal_nodes(struct tfs_trans *t, struct list_head *tx_bufs)
{
	struct tuple16 tuples[TFS_MAX_NODE / TFS_MIN_BLOCK];
	struct tfs_fs *fs = t->fs;
	struct tfs_node *node;
	struct tfs_buf *b;
	int err;

	/* tuple blocks that join the transaction here go to the end of the list */
	list_for_each_entry(b, tx_bufs, tx_list) {
		if (b->kind != BUF_NODE)
			continue;
		node = buf_data(b);
		node->txid = le64_of(t->txid);
		buf_log(t, b, offsetof(struct tfs_node, txid), sizeof(node->txid));
		tuple_make(fs, b->block, fs->geom.node_blocks, node, TFS_APP_NODE, tuples);
		err = tuple_write(t, b->block, fs->geom.node_blocks, tuples);
		if (err)
			return err;
	}
	return 0;
}
