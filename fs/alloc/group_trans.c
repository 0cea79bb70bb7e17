/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Groups in transactions: first use, and the seals a commit puts on them. */
#include <errno.h>
#include <string.h>
#include "core/lib/list.h"
#include "fs/alloc/alloc_int.h"
#include "fs/alloc/group_trans.h"
#include "fs/disk/geom.h"
#include "fs/disk/group.h"
#include "fs/journal/buffer.h"
#include "fs/journal/trans.h"
#include "fs/state/fs.h"
#include "tallyfs/format.h"

static int new_header(struct tfs_trans *t, uint64_t group)
{
	struct tfs_fs *fs = t->fs;
	struct tfs_buf *b;
	int err = buf_new(t, tfs_group_header_block(&fs->geom, group), BUF_GROUP, &b);

	if (err)
		return err;
	group_fresh_header(&fs->geom, fs->seed, group, buf_data(b));
	buf_put(b);
	fs->cnt.groups_init = group + 1;
	atomic_store(&fs->alloc->init_groups, group + 1);
	fs->super_dirty = true;
	return 0;
}

int group_init(struct tfs_trans *t, uint64_t group)
{
	struct tfs_fs *fs = t->fs;
	struct tfs_buf *b;
	int err;

	if (group < fs->cnt.groups_init)
		return 0;
	/* the superblock has one mark: all groups below it have headers */
	while (fs->cnt.groups_init <= group) {
		err = new_header(t, fs->cnt.groups_init);
		if (err)
			return err;
	}
	/* who comes is about to change the bitmap: there is nothing to read */
	err = buf_new(t, tfs_group_bitmap_block(&fs->geom, group), BUF_BITMAP, &b);
	if (err)
		return err;
	group_fresh_bitmap(&fs->geom, group, buf_data(b));
	buf_put(b);
	return 0;
}

#define HEADERS_AT_ONCE 8u
/* its image in the log, and what goes with it */
#define HEADER_CREDITS (sizeof(struct tfs_group) + 512)

static int open_some(struct tfs_trans *t, uint64_t group)
{
	unsigned int n;
	int err = 0;

	for (n = 0; !err && n < HEADERS_AT_ONCE && t->fs->cnt.groups_init <= group; n++)
		err = new_header(t, t->fs->cnt.groups_init);
	return err;
}

int group_open(struct tfs_fs *fs, uint64_t group)
{
	struct tfs_trans t = { 0 };
	int err = 0;

	while (!err && atomic_load(&fs->alloc->init_groups) <= group) {
		do {
			err = trans_begin_settle(&t, fs, HEADERS_AT_ONCE * HEADER_CREDITS);
			if (!err)
				err = open_some(&t, group);
		} while (trans_again(&t, &err));
	}
	return err;
}

/* Which vouch of its group's header speaks for @b. */
static size_t vouch_offset(const struct tfs_geom *g, const struct tfs_buf *b)
{
	uint64_t group = tfs_group_of(g, b->block);

	if (b->kind == BUF_BITMAP)
		return offsetof(struct tfs_group, bitmap);
	return offsetof(struct tfs_group, tuples) +
	       (b->block - tfs_group_tuple_block(g, group, 0)) * sizeof(struct tfs_vouch);
}

static int vouch(struct tfs_trans *t, struct tfs_buf *b)
{
	struct tfs_fs *fs = t->fs;
	size_t off = vouch_offset(&fs->geom, b);
	struct tfs_vouch *v;
	struct tfs_buf *hdr;
	int err;

	err = buf_get(t, tfs_group_header_block(&fs->geom, tfs_group_of(&fs->geom, b->block)),
		      BUF_GROUP, &hdr);
	if (err)
		return err;
	err = buf_modify(t, hdr);
	if (!err) {
		v = (struct tfs_vouch *)((char *)buf_data(hdr) + off);
		v->guard = le64_of(
			group_guard(le32_get(fs->super.guard), fs->seed, buf_data(b), b->bytes));
		v->txid = le64_of(t->txid);
		v->flags = le32_of(TFS_VOUCH_WRITTEN);
		buf_log(t, hdr, (uint32_t)off, sizeof(*v));
	}
	buf_put(hdr);
	return err;
}

int group_seal(struct tfs_trans *t, struct list_head *tx_bufs)
{
	struct tfs_buf *b;
	struct tfs_group *h;
	int err;

	alloc_note_growth(t->fs); /* the counters are whole at a commit */
	/* headers that join the transaction here go to the end of the list */
	list_for_each_entry(b, tx_bufs, tx_list) {
		if (b->kind != BUF_TUPLE && b->kind != BUF_BITMAP)
			continue;
		err = vouch(t, b);
		if (err)
			return err;
	}
	list_for_each_entry(b, tx_bufs, tx_list) {
		if (b->kind != BUF_GROUP)
			continue;
		h = buf_data(b);
		h->txid = le64_of(t->txid);
		h->csum = le64_of(group_csum(h, t->fs->seed));
		buf_log(t, b, offsetof(struct tfs_group, csum),
			offsetof(struct tfs_group, nr_blocks) - offsetof(struct tfs_group, csum));
	}
	return 0;
}
