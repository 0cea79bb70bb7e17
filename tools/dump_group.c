/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tallydump: superblock, group headers, tuples. */
#include <errno.h>
#include <string.h>
#include <uuid/uuid.h>
#include "core/block/bdev.h"
#include "core/block/integrity.h"
#include "core/lib/util.h"
#include "fs/disk/block_bitmap.h"
#include "fs/disk/geom.h"
#include "fs/disk/group.h"
#include "fs/disk/super.h"
#include "fs/journal/buffer.h"
#include "fs/journal/trans.h"
#include "fs/journal/tuple.h"
#include "tallyfs/format.h"
#include "tools/dump.h"
#include "tools/dump_print.h"

static void add_roots(struct json_object *o, const struct tfs_super *s)
{
	struct json_object *rows = dump_array(o, "roots"), *r;
	unsigned int i;

	for (i = 0; i < TFS_NR_TREES; i++) {
		if (!le64_get(s->roots[i].addr))
			continue;
		r = dump_row(rows);
		dump_u64(r, "tree", i);
		dump_u64(r, "addr", le64_get(s->roots[i].addr));
		dump_u64(r, "addr2", le64_get(s->roots[i].addr2));
		dump_u64(r, "level", le32_get(s->roots[i].level));
	}
}

static void add_copies(struct dump *d, struct json_object *o)
{
	struct json_object *rows = dump_array(o, "superblocks"), *r;
	struct tfs_super s;
	struct tfs_geom g;
	char why[200];
	int i;

	for (i = 0; i < 3; i++) {
		if (i && !d->geom.super_copies[i - 1])
			continue;
		r = dump_row(rows);
		dump_u64(r, "block", i ? d->geom.super_copies[i - 1] : d->geom.super_block);
		if (tfs_super_read(d->bdev, i, &s, &g, why, sizeof(why)))
			dump_str(r, "damaged", why);
		else
			dump_u64(r, "txid", le64_get(s.txid));
	}
}

int dump_super(struct dump *d, struct json_object *o)
{
	const struct tfs_super *s = &d->super;
	const struct tfs_geom *g = &d->geom;
	char uuid[37];

	uuid_unparse_lower(s->uuid, uuid);
	dump_u64(o, "version", le32_get(s->version));
	dump_str(o, "uuid", uuid);
	cli_json_path(o, "label", (const char *)s->label,
		      strnlen((const char *)s->label, sizeof(s->label)));
	cli_json_hex(o, "compat", le64_get(s->compat));
	cli_json_hex(o, "ro_compat", le64_get(s->ro_compat));
	cli_json_hex(o, "incompat", le64_get(s->incompat));
	dump_str(o, "guard", le32_get(s->guard) == TFS_GUARD_CRC32 ? "crc32" : "xxh3");
	cli_json_hex(o, "seed", le64_get(s->seed));
	cli_json_hex(o, "csum", le64_get(s->csum));
	dump_u64(o, "block_size", g->block_size);
	dump_u64(o, "node_size", g->node_size);
	dump_u64(o, "inline_max", g->inline_max);
	dump_u64(o, "blocks_per_group", g->blocks_per_group);
	dump_u64(o, "total_blocks", g->total_blocks);
	dump_u64(o, "groups", g->nr_groups);
	dump_u64(o, "groups_init", le64_get(s->groups_init));
	dump_u64(o, "journal_start", g->journal_start);
	dump_u64(o, "journal_blocks", g->journal_blocks);
	dump_u64(o, "txid", le64_get(s->txid));
	dump_u64(o, "free_blocks", le64_get(s->free_blocks));
	dump_u64(o, "free_slots", le64_get(s->free_slots));
	dump_u64(o, "data_blocks", le64_get(s->data_blocks));
	dump_u64(o, "node_blocks", le64_get(s->node_blocks));
	dump_u64(o, "extents", le64_get(s->nr_extents));
	dump_u64(o, "shared_extents", le64_get(s->shared_extents));
	dump_u64(o, "inodes", le64_get(s->nr_inodes));
	dump_u64(o, "next_ino", le64_get(s->next_ino));
	dump_u64(o, "mismatches", le64_get(s->mismatches));
	dump_u64(o, "mount_count", le64_get(s->mount_count));
	dump_str(o, "state", le32_get(s->state) & TFS_STATE_ERRORS ? "errors" : "clean");
	dump_time(o, "created", le64_get(s->create_time), 0);
	dump_time(o, "mounted", le64_get(s->mount_time), 0);
	dump_time(o, "checked", le64_get(s->check_time), 0);
	add_roots(o, s);
	add_copies(d, o);
	return 0;
}

/* ---- groups ---- */

static void add_vouch(struct json_object *o, const struct tfs_vouch *v)
{
	json_object_object_add(o, "written",
			       json_object_new_boolean(le32_get(v->flags) & TFS_VOUCH_WRITTEN));
	if (!(le32_get(v->flags) & TFS_VOUCH_WRITTEN))
		return;
	cli_json_hex(o, "guard", le64_get(v->guard));
	dump_u64(o, "txid", le64_get(v->txid));
}

static void add_regions(struct json_object *o, const struct tfs_group *h)
{
	static const char *const names[] = { "none", "tuples", "journal", "super copy" };
	struct json_object *rows = dump_array(o, "regions"), *r;
	unsigned int i, type;

	for (i = 0; i < TFS_NR_REGIONS; i++) {
		type = le32_get(h->regions[i].type);
		if (type == TFS_REGION_NONE)
			continue;
		r = dump_row(rows);
		dump_str(r, "type", type < ARRAY_SIZE(names) ? names[type] : "unknown");
		dump_u64(r, "start", le32_get(h->regions[i].start));
		dump_u64(r, "length", le32_get(h->regions[i].length));
	}
}

static void add_header(struct dump *d, struct json_object *o, const struct tfs_group *h)
{
	struct json_object *rows, *r;
	unsigned int i;

	dump_u64(o, "group", d->n);
	json_object_object_add(o, "initialised",
			       json_object_new_boolean(d->n < d->fs->cnt.groups_init));
	dump_u64(o, "addr", le64_get(h->addr));
	dump_u64(o, "txid", le64_get(h->txid));
	cli_json_hex(o, "csum", le64_get(h->csum));
	dump_u64(o, "first_block", tfs_group_start(&d->geom, d->n));
	dump_u64(o, "blocks", le32_get(h->nr_blocks));
	dump_u64(o, "free_blocks", le32_get(h->free_blocks));
	dump_u64(o, "free_slots", le32_get(h->free_slots));
	add_regions(o, h);
	rows = dump_array(o, "bitmap");
	r = dump_row(rows);
	dump_u64(r, "block", tfs_group_bitmap_block(&d->geom, d->n));
	add_vouch(r, &h->bitmap);
	rows = dump_array(o, "tuple_blocks");
	for (i = 0; i < tfs_group_nr_tuple_blocks(&d->geom, d->n); i++) {
		r = dump_row(rows);
		dump_u64(r, "block", tfs_group_tuple_block(&d->geom, d->n, i));
		add_vouch(r, &h->tuples[i]);
	}
}

/* Runs of blocks in use, as the bitmap has them. */
static void add_runs(struct dump *d, struct json_object *o, const void *map)
{
	uint32_t nr = tfs_group_nr_blocks(&d->geom, d->n), from, to;
	struct json_object *rows = dump_array(o, "in_use"), *r;

	for (from = block_bitmap_next_set(map, 0, nr); from < nr;
	     from = block_bitmap_next_set(map, to, nr)) {
		to = block_bitmap_next_clear(map, from, nr);
		r = dump_row(rows);
		dump_u64(r, "block", tfs_group_start(&d->geom, d->n) + from);
		dump_u64(r, "blocks", to - from);
	}
}

static int get_group(struct tfs_trans *t, struct dump *d, void *arg)
{
	struct tfs_buf *hdr = NULL, *bmp = NULL;
	int err;

	err = buf_get(t, tfs_group_header_block(&d->geom, d->n), BUF_GROUP, &hdr);
	if (!err)
		err = buf_get(t, tfs_group_bitmap_block(&d->geom, d->n), BUF_BITMAP, &bmp);
	if (!err) {
		add_header(d, arg, buf_data(hdr));
		add_runs(d, arg, buf_data(bmp));
	}
	buf_put(hdr);
	buf_put(bmp);
	return err;
}

/* A group without a header is what mkfs would have written. */
static int fresh_group(struct dump *d, struct json_object *o)
{
	struct tfs_group *h = tl_alloc(sizeof(*h));
	void *map = tl_alloc_aligned(8, d->geom.block_size);
	int err = -ENOMEM;

	if (h && map) {
		group_fresh_header(&d->geom, le64_get(d->super.seed), d->n, h);
		group_fresh_bitmap(&d->geom, d->n, map);
		add_header(d, o, h);
		add_runs(d, o, map);
		err = 0;
	}
	tl_free(h);
	tl_free(map);
	return err;
}

int dump_group(struct dump *d, struct json_object *o)
{
	int err;

	if (d->n >= d->geom.nr_groups)
		return dump_fail(d, -ERANGE, "group %llu: there are only %llu",
				 (unsigned long long)d->n, (unsigned long long)d->geom.nr_groups);
	err = d->n < d->fs->cnt.groups_init ? dump_section(d, get_group, o) : fresh_group(d, o);
	return err ? dump_fail(d, err, "group %llu: %s", (unsigned long long)d->n, strerror(-err))
		   : 0;
}

/* ---- tuples ---- */

static int get_tuple(struct tfs_trans *t, struct dump *d, void *arg)
{
	return tuple_read(t, d->n, 1, arg);
}

static const char *app_name(unsigned int app)
{
	switch (app) {
	case TFS_APP_NONE:
		return "none";
	case TFS_APP_DATA:
		return "data";
	case TFS_APP_NODE:
		return "node";
	}
	return "unknown";
}

/* Data lies at home as soon as its tuple is committed; a node may still be in the journal only. */
static int compare_data(struct dump *d, struct json_object *o, const struct tuple16 *tuple)
{
	void *data = tl_alloc_aligned(4096, d->geom.block_size);
	struct tuple16 found;
	int err;

	if (!data)
		return -ENOMEM;
	err = bdev_read(d->bdev, data, d->geom.block_size, d->n << d->geom.blkbits);
	if (!err) {
		tuple_make(d->fs, d->n, 1, data, TFS_APP_DATA, &found);
		json_object_object_add(
			o, "matches",
			json_object_new_boolean(!memcmp(&found, tuple, sizeof(found))));
	}
	tl_free(data);
	return err;
}

int dump_tuple(struct dump *d, struct json_object *o)
{
	uint64_t ref = 0;
	struct tuple16 tuple;
	unsigned int i, slot;
	int err;

	if (d->n >= d->geom.total_blocks)
		return dump_fail(d, -ERANGE, "block %llu: there are only %llu",
				 (unsigned long long)d->n,
				 (unsigned long long)d->geom.total_blocks);
	err = dump_section(d, get_tuple, &tuple);
	if (err)
		return dump_fail(d, err, "tuple of block %llu: %s", (unsigned long long)d->n,
				 strerror(-err));
	for (i = 0; i < 6; i++)
		ref |= (uint64_t)tuple.ref[i] << 8 * i;
	dump_u64(o, "block", d->n);
	dump_u64(o, "tuple_block", tfs_tuple_block_of(&d->geom, d->n, &slot));
	dump_u64(o, "slot", slot);
	cli_json_hex(o, "guard", le64_get(tuple.guard));
	dump_u64(o, "app", le16_get(tuple.app));
	dump_str(o, "kind", app_name(le16_get(tuple.app)));
	dump_u64(o, "ref", ref);
	if (le16_get(tuple.app) != TFS_APP_DATA)
		return 0;
	err = compare_data(d, o, &tuple);
	return err ? dump_fail(d, err, "block %llu: %s", (unsigned long long)d->n, strerror(-err))
		   : 0;
}
