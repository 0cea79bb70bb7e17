/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tallydump block: what a block is, whether it matches its tuple, and its bytes. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "core/block/bdev.h"
#include "core/block/integrity.h"
#include "core/lib/util.h"
#include "fs/disk/block_bitmap.h"
#include "fs/disk/geom.h"
#include "fs/disk/log_overlay.h"
#include "fs/journal/buffer.h"
#include "fs/journal/trans.h"
#include "fs/journal/tuple.h"
#include "tallyfs/format.h"
#include "tools/dump.h"
#include "tools/dump_print.h"

#define ROW_BYTES 32u

struct block {
	const char *kind;
	uint64_t first; /* of the structure it is a part of */
	bool has_tuple;
	struct tuple16 tuple;
};

static bool within(uint64_t block, uint64_t first, uint64_t n)
{
	return block >= first && block - first < n;
}

/* Structures with a place of their own; NULL: none of these. */
static const char *fixed_kind(const struct tfs_geom *g, uint64_t block, uint64_t *first)
{
	uint64_t group = tfs_group_of(g, block);

	*first = block;
	for (int i = 0; i < 2; i++)
		if (g->super_copies[i] && within(block, g->super_copies[i], g->group_hdr_blocks)) {
			*first = g->super_copies[i];
			return "superblock copy";
		}
	if (within(block, g->super_block, g->group_hdr_blocks)) {
		*first = g->super_block;
		return "superblock";
	}
	if (within(block, g->journal_start, g->journal_blocks))
		return "journal";
	if (within(block, tfs_group_header_block(g, group), g->group_hdr_blocks)) {
		*first = tfs_group_header_block(g, group);
		return "group header";
	}
	if (block == tfs_group_bitmap_block(g, group))
		return "bitmap";
	if (within(block, tfs_group_tuple_block(g, group, 0), tfs_group_nr_tuple_blocks(g, group)))
		return "tuples";
	return tfs_geom_fixed(g, block, 1) ? "reserved" : NULL;
}

/* In use, and as what, says the bitmap, and then the tuple. */
static int look(struct tfs_trans *t, struct dump *d, void *arg)
{
	const struct tfs_geom *g = &d->geom;
	uint64_t group = tfs_group_of(g, d->n), start = tfs_group_start(g, group);
	struct block *b = arg;
	struct tfs_buf *bmp;
	bool used;
	int err;

	b->kind = "free";
	if (group >= d->fs->cnt.groups_init)
		return 0;
	err = buf_get(t, tfs_group_bitmap_block(g, group), BUF_BITMAP, &bmp);
	if (err)
		return err;
	used = block_bitmap_test(buf_data(bmp), (uint32_t)(d->n - start));
	buf_put(bmp);
	if (!used)
		return 0;
	err = tuple_read(t, d->n, 1, &b->tuple);
	if (err)
		return err;
	b->has_tuple = true;
	if (le16_get(b->tuple.app) == TFS_APP_NODE) {
		b->kind = "node";
		b->first = start + round_down_to(d->n - start, g->node_blocks);
	} else {
		b->kind =
			le16_get(b->tuple.app) == TFS_APP_DATA ? "data" : "in use, but not written";
	}
	return 0;
}

/* As the journal leaves it, or as it lies on the device. */
static int get_content(struct dump *d, struct json_object *o, const struct block *b, uint8_t *data)
{
	uint32_t bytes, bs = d->geom.block_size;
	uint64_t off = (d->n - b->first) * bs;
	const uint8_t *image =
		d->fs->overlay ? overlay_lookup(d->fs->overlay, b->first, &bytes) : NULL;

	if (image && off < bytes) {
		memset(data, 0, bs);
		memcpy(data, image + off, min_t(uint64_t, bs, bytes - off));
		dump_str(o, "from", "journal");
		return 0;
	}
	dump_str(o, "from", "device");
	return bdev_read(d->bdev, data, bs, d->n << d->geom.blkbits);
}

static void add_row(struct json_object *rows, uint32_t off, const uint8_t *p, uint32_t n)
{
	char hex[2 * ROW_BYTES + 1], text[ROW_BYTES + 1];
	struct json_object *r = dump_row(rows);

	for (uint32_t i = 0; i < n; i++) {
		snprintf(hex + 2 * i, 3, "%02x", p[i]);
		text[i] =
			p[i] > ' ' && p[i] < 0x7f && p[i] != '"' && p[i] != '\\' ? (char)p[i] : '.';
	}
	text[n] = '\0';
	dump_u64(r, "offset", off);
	dump_str(r, "hex", hex);
	dump_str(r, "text", text);
}

/* Rows that repeat the one before are left out, but for the last. */
static void add_content(struct json_object *o, const uint8_t *data, uint32_t bytes)
{
	struct json_object *rows = dump_array(o, "content");

	for (uint32_t off = 0; off < bytes; off += ROW_BYTES)
		if (!off || off + ROW_BYTES >= bytes ||
		    memcmp(data + off, data + off - ROW_BYTES, ROW_BYTES))
			add_row(rows, off, data + off, ROW_BYTES);
}

int dump_block(struct dump *d, struct json_object *o)
{
	struct block b = { .first = d->n };
	struct tuple16 found;
	uint8_t *data;
	int err = 0;

	if (d->n >= d->geom.total_blocks)
		return dump_fail(d, -ERANGE, "block %llu: there are only %llu",
				 (unsigned long long)d->n,
				 (unsigned long long)d->geom.total_blocks);
	b.kind = fixed_kind(&d->geom, d->n, &b.first);
	if (!b.kind)
		err = dump_section(d, look, &b);
	if (err)
		return dump_fail(d, err, "block %llu: its bitmap or tuple: %s",
				 (unsigned long long)d->n, strerror(-err));
	data = tl_alloc_aligned(4096, d->geom.block_size);
	if (!data)
		return dump_fail(d, -ENOMEM, "out of memory");
	dump_u64(o, "block", d->n);
	dump_u64(o, "byte", d->n << d->geom.blkbits);
	dump_u64(o, "group", tfs_group_of(&d->geom, d->n));
	dump_str(o, "kind", b.kind);
	if (b.first != d->n)
		dump_u64(o, "part_of", b.first);
	err = get_content(d, o, &b, data);
	if (!err && b.has_tuple) {
		tuple_make(d->fs, d->n, 1, data, (enum tfs_app_tag)le16_get(b.tuple.app), &found);
		cli_json_hex(o, "guard", le64_get(b.tuple.guard));
		json_object_object_add(
			o, "matches",
			json_object_new_boolean(!memcmp(&found, &b.tuple, sizeof(found))));
	}
	if (!err)
		add_content(o, data, d->geom.block_size);
	tl_free(data);
	return err ? dump_fail(d, err, "block %llu: %s", (unsigned long long)d->n, strerror(-err))
		   : 0;
}
