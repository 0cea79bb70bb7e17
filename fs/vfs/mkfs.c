/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writing a planned file system.  Everything but a few structures is left as it lies on the
 * device: what has no header yet is fresh by definition, and what was there
 * before can't verify under the new seed.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include "core/block/bdev.h"
#include "core/block/integrity.h"
#include "core/lib/util.h"
#include "fs/disk/block_bitmap.h"
#include "fs/disk/geom.h"
#include "fs/disk/group.h"
#include "fs/disk/super.h"
#include "fs/journal/recover.h"
#include "fs/state/backing.h"
#include "fs/vfs/mkfs.h"
#include "fs/vfs/mkfs_plan.h"
#include "tallyfs/format.h"

struct format {
	struct bdev *b;
	const struct tfs_super *super;
	const struct tfs_geom *g;
	uint64_t seed;
	uint8_t *buf; /* the largest structure */
};

static int put_block(struct format *f, uint64_t block, const void *data, size_t len)
{
	if (data != f->buf)
		memcpy(f->buf, data, len);
	return bdev_write(f->b, f->buf, len, block << f->g->blkbits);
}

static int wipe(struct format *f, uint64_t byte)
{
	if (byte > f->b->size || f->b->size - byte < TFS_SUPER_BYTES)
		return 0;
	memset(f->buf, 0, TFS_SUPER_BYTES);
	return bdev_write(f->b, f->buf, TFS_SUPER_BYTES, byte);
}

/* What a search would take for a copy, whoever left it there. */
static int wipe_found(struct format *f)
{
	uint64_t places[TFS_SUPER_PLACES];
	unsigned int i, n = tfs_super_places(f->b, places);
	int err = 0;

	for (i = 0; i < n && !err; i++) {
		/* what can't be read might be a copy that can be one day; or it can't be written
		 * either */
		if (bdev_read(f->b, f->buf, TFS_SUPER_BYTES, places[i]))
			wipe(f, places[i]);
		else if (!memcmp(f->buf, TFS_SUPER_MAGIC, sizeof(((struct tfs_super *)0)->magic)))
			err = wipe(f, places[i]);
	}
	return err;
}

/* From here on, and until the new primary superblock is written, nothing can take the device for a
 * tallyfs. */
static int destroy_old(struct format *f)
{
	struct tfs_super old;
	struct tfs_geom g = { 0 };
	int err, i;

	err = bdev_read(f->b, f->buf, TFS_SUPER_BYTES, TFS_SUPER_OFFSET);
	if (err)
		return err;
	memcpy(&old, f->buf, sizeof(old));
	/* its geometry is a hint where else to wipe, its checksum does not matter */
	if (memcmp(old.magic, TFS_SUPER_MAGIC, sizeof(old.magic)) || tfs_super_geom(&old, &g))
		g.super_copies[0] = g.super_copies[1] = 0;
	err = wipe(f, TFS_SUPER_OFFSET);
	for (i = 0; i < 2 && !err; i++)
		if (g.super_copies[i])
			err = wipe(f, g.super_copies[i] << g.blkbits);
	for (i = 0; i < 2 && !err; i++)
		if (f->g->super_copies[i])
			err = wipe(f, f->g->super_copies[i] << f->g->blkbits);
	if (!err)
		err = wipe_found(f);
	return err ? err : bdev_flush(f->b);
}

static void root_inode(const struct tfs_format_opts *o, const struct tfs_super *s,
		       struct tfs_inode_item *it)
{
	memset(it, 0, sizeof(*it));
	it->mode = le32_of(S_IFDIR | 0755);
	it->uid = le32_of(o->root_uid);
	it->gid = le32_of(o->root_gid);
	it->nlink = le32_of(2);
	it->generation = le64_of(1);
	it->btime.sec = s->create_time;
	it->atime = it->mtime = it->ctime = it->btime;
}

/* The root leaf, with one item: the root directory's inode. */
static void root_leaf(struct format *f, const struct tfs_format_opts *o, uint64_t addr)
{
	struct tfs_node *n = (struct tfs_node *)f->buf;
	struct tfs_item *item = (struct tfs_item *)(n + 1);
	uint32_t at = f->g->node_size - (uint32_t)sizeof(struct tfs_inode_item);

	memset(f->buf, 0, f->g->node_size);
	n->magic = le32_of(TFS_NODE_MAGIC);
	n->nritems = le16_of(1);
	n->addr = le64_of(addr);
	n->txid = le64_of(TFS_FORMAT_TXID);
	n->tree = le32_of(TFS_TREE_FS);
	n->data_start = le32_of(at);
	item->key.ino = le64_of(TFS_INO_ROOT);
	item->key.type = TFS_KEY_INODE;
	item->off = le32_of(at);
	item->len = le32_of(sizeof(struct tfs_inode_item));
	root_inode(o, f->super, (struct tfs_inode_item *)(f->buf + at));
}

static void vouch(struct format *f, struct tfs_vouch *v)
{
	v->guard =
		le64_of(group_guard(le32_get(f->super->guard), f->seed, f->buf, f->g->block_size));
	v->txid = le64_of(TFS_FORMAT_TXID);
	v->flags = le32_of(TFS_VOUCH_WRITTEN);
}

/* The group of the root: node, tuple block, bitmap, header. */
static int write_root_group(struct format *f, const struct tfs_format_opts *o, uint64_t group)
{
	const struct tfs_geom *g = f->g;
	struct blk_integrity bi = { .interval_exp = (uint8_t)g->blkbits,
				    .flags = BLK_INTEGRITY_GENERATE,
				    .key = f->seed };
	uint64_t root = le64_get(f->super->roots[TFS_TREE_FS].addr), tblock;
	uint32_t at = (uint32_t)(root - tfs_group_start(g, group));
	struct tuple16 tuples[TFS_MAX_NODE / TFS_MIN_BLOCK];
	struct tfs_group h;
	unsigned int slot;
	int err;

	bi.profile =
		le32_get(f->super->guard) == TFS_GUARD_CRC32 ? &profile_crc32 : &profile_xxh3_64;
	group_fresh_header(g, f->seed, group, &h);
	root_leaf(f, o, root);
	blk_integrity_generate_buf(&bi, f->buf, root, g->node_blocks, TFS_APP_NODE, tuples);
	err = put_block(f, root, f->buf, g->node_size);
	if (err)
		return err;
	tblock = tfs_tuple_block_of(g, root, &slot);
	memset(f->buf, 0, g->block_size);
	memcpy(f->buf + slot * TFS_TUPLE_BYTES, tuples, g->node_blocks * TFS_TUPLE_BYTES);
	vouch(f, &h.tuples[at / g->tuples_per_block]);
	err = put_block(f, tblock, f->buf, g->block_size);
	if (err)
		return err;
	group_fresh_bitmap(g, group, f->buf);
	block_bitmap_set(f->buf, at, at + g->node_blocks);
	vouch(f, &h.bitmap);
	err = put_block(f, tfs_group_bitmap_block(g, group), f->buf, g->block_size);
	if (err)
		return err;
	h.free_blocks = le32_of(le32_get(h.free_blocks) - g->node_blocks);
	h.free_slots = le32_of(le32_get(h.free_slots) - 1);
	h.txid = le64_of(TFS_FORMAT_TXID);
	h.csum = le64_of(group_csum(&h, f->seed));
	return put_block(f, tfs_group_header_block(g, group), &h, sizeof(h));
}

static int write_groups(struct format *f, const struct tfs_format_opts *o)
{
	uint64_t last = le64_get(f->super->groups_init) - 1, group;
	struct tfs_group h;
	int err = 0;

	for (group = 0; group < last && !err; group++) {
		group_fresh_header(f->g, f->seed, group, &h);
		err = put_block(f, tfs_group_header_block(f->g, group), &h, sizeof(h));
	}
	return err ? err : write_root_group(f, o, last);
}

int tfs_format_erase(struct bdev *b, const struct tfs_geom *geom)
{
	struct format f = { .b = b, .g = geom, .buf = tl_alloc_aligned(4096, TFS_MAX_NODE) };
	int err = f.buf ? destroy_old(&f) : -ENOMEM;

	tl_free(f.buf);
	return err;
}

/* Space for all that is at fixed places; the rest comes when it is needed (fs/state/backing.h). */
static int back_fixed(struct format *f)
{
	uint64_t groups = le64_get(f->super->groups_init),
		 root = le64_get(f->super->roots[TFS_TREE_FS].addr);
	char why[200];
	int err = backing_fixed(f->b, f->g, groups, NULL, NULL, why, sizeof(why));

	if (!err)
		err = bdev_provision(f->b, root << f->g->blkbits, f->g->node_size);
	return err == -EOPNOTSUPP ? backing_zero_fixed(f->b, f->g, groups) : err;
}

int tfs_format_write(struct bdev *b, const struct tfs_format_opts *o, const struct tfs_super *super,
		     const struct tfs_geom *geom)
{
	struct format f = { .b = b, .super = super, .g = geom, .seed = le64_get(super->seed) };
	int err, i;

	f.buf = tl_alloc_aligned(4096, TFS_MAX_NODE);
	if (!f.buf)
		return -ENOMEM;
	err = destroy_old(&f);
	if (!err)
		err = back_fixed(&f);
	if (!err)
		err = write_groups(&f, o);
	if (!err)
		err = journal_format(b, super, geom);
	/* a superblock, even a copy, speaks for all the rest */
	if (!err)
		err = bdev_flush(b);
	for (i = 0; i < 2 && !err; i++)
		if (geom->super_copies[i])
			err = put_block(&f, geom->super_copies[i], super, sizeof(*super));
	if (!err)
		err = bdev_flush(b);
	if (!err)
		err = put_block(&f, geom->super_block, super, sizeof(*super));
	if (!err)
		err = bdev_flush(b);
	tl_free(f.buf);
	return err;
}
