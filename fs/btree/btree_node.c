/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The layout of one tree node: searching it, and changing it with exact log ranges. */
#include <errno.h>
#include <string.h>

#include "core/lib/util.h"
#include "fs/disk/btree_key.h"
#include "fs/journal/buffer.h"
#include "fs/journal/trans.h"
#include "tallyfs/format.h"

#include "fs/btree/btree_node.h"

#define HDR ((uint32_t)sizeof(struct tfs_node))
#define ITEM ((uint32_t)sizeof(struct tfs_item))
#define CHILD ((uint32_t)sizeof(struct tfs_child))

int key_cmp_disk(const struct tfs_key *disk, const struct tkey *key)
{
	struct tkey k = tkey_get(disk);

	return tkey_cmp(&k, key);
}

unsigned int node_search(const struct tfs_buf *b, const struct tkey *key, bool *exact)
{
	size_t step = node_level(b) ? sizeof(struct tfs_child) : sizeof(struct tfs_item);
	const char *keys =
		(const char *)(node_of(b) + 1); /* both kinds of entry begin with the key */
	unsigned int lo = 0, hi = node_count(b), mid;
	int cmp;

	*exact = false;
	while (lo < hi) {
		mid = (lo + hi) / 2;
		cmp = key_cmp_disk((const struct tfs_key *)(keys + mid * step), key);
		if (cmp < 0) {
			lo = mid + 1;
		} else {
			hi = mid;
			*exact = *exact || cmp == 0;
		}
	}
	return lo;
}

unsigned int inner_search(const struct tfs_buf *b, const struct tkey *key)
{
	bool exact;
	unsigned int slot = node_search(b, key, &exact);

	return exact || !slot ? slot : slot - 1;
}

/* Each change of a node also changes its header. */
static void log_header(struct tfs_trans *t, struct tfs_buf *b)
{
	node_of(b)->txid = le64_of(t->txid);
	buf_log(t, b, 0, HDR);
}

static void set_count(struct tfs_buf *b, unsigned int n)
{
	node_of(b)->nritems = le16_of((uint16_t)n);
}

void node_init(struct tfs_trans *t, struct tfs_buf *b, enum tfs_tree_id tree, unsigned int level)
{
	*node_of(b) = (struct tfs_node){
		.magic = le32_of(TFS_NODE_MAGIC),
		.level = le16_of((uint16_t)level),
		.addr = le64_of(b->block),
		.tree = le32_of(tree),
		.data_start = le32_of(level ? 0 : b->bytes),
	};
	log_header(t, b);
}

/* ---- leaves ---- */

static uint32_t data_start(const struct tfs_buf *b)
{
	return le32_get(node_of(b)->data_start);
}

static uint32_t data_holes(const struct tfs_buf *b)
{
	return le32_get(node_of(b)->data_holes);
}

static void set_data(struct tfs_buf *b, uint32_t start, uint32_t holes)
{
	node_of(b)->data_start = le32_of(start);
	node_of(b)->data_holes = le32_of(holes);
}

/* Contiguous bytes between the item headers and the data. */
static uint32_t leaf_gap(const struct tfs_buf *b)
{
	return data_start(b) - HDR - node_count(b) * ITEM;
}

uint32_t leaf_free(const struct tfs_buf *b)
{
	return leaf_gap(b) + data_holes(b);
}

uint32_t leaf_used(const struct tfs_buf *b)
{
	return node_room(b) - leaf_free(b);
}

/* Close the holes.  Data is laid down again from the node's end in item order. */
static int leaf_compact(struct tfs_trans *t, struct tfs_buf *b)
{
	struct tfs_item *items = leaf_items(b);
	uint32_t i, len, pos = b->bytes;
	char *node = buf_data(b), *copy;

	copy = tl_alloc(b->bytes);
	if (!copy)
		return -ENOMEM;
	for (i = 0; i < node_count(b); i++) {
		len = le32_get(items[i].len);
		if (!len)
			continue;
		pos -= len;
		memcpy(copy + pos, node + le32_get(items[i].off), len);
		items[i].off = le32_of(pos);
	}
	memcpy(node + pos, copy + pos, b->bytes - pos);
	tl_free(copy);
	set_data(b, pos, 0);
	buf_log(t, b, 0, b->bytes);
	return 0;
}

/* Take @len bytes for data out of the gap. */
static uint32_t data_take(struct tfs_buf *b, uint32_t len)
{
	uint32_t pos = data_start(b) - len;

	if (!len)
		return b->bytes; /* an empty item points at the end, where it is never in the way */
	set_data(b, pos, data_holes(b));
	return pos;
}

/* @len bytes at @off belong to nobody any more. */
static void data_drop(struct tfs_buf *b, uint32_t off, uint32_t len)
{
	if (!len)
		return;
	if (off == data_start(b))
		set_data(b, off + len, data_holes(b));
	else
		set_data(b, data_start(b), data_holes(b) + len);
}

int leaf_insert(struct tfs_trans *t, struct tfs_buf *b, unsigned int slot, const struct tkey *key,
		const void *data, uint32_t len)
{
	unsigned int n = node_count(b);
	struct tfs_item *items;
	uint32_t pos;
	int err;

	if (leaf_gap(b) < ITEM + len) {
		err = leaf_compact(t, b);
		if (err)
			return err;
	}
	items = leaf_items(b);
	memmove(&items[slot + 1], &items[slot], (n - slot) * ITEM);
	set_count(b, n + 1);
	pos = data_take(b, len);
	items[slot] =
		(struct tfs_item){ .key = tkey_put(key), .off = le32_of(pos), .len = le32_of(len) };
	buf_log(t, b, HDR + slot * ITEM, (n + 1 - slot) * ITEM);
	if (len) {
		memcpy((char *)buf_data(b) + pos, data, len);
		buf_log(t, b, pos, len);
	}
	log_header(t, b);
	return 0;
}

void leaf_remove(struct tfs_trans *t, struct tfs_buf *b, unsigned int slot, unsigned int n)
{
	struct tfs_item *items = leaf_items(b);
	unsigned int i, count = node_count(b);

	for (i = slot; i < slot + n; i++)
		data_drop(b, le32_get(items[i].off), le32_get(items[i].len));
	memmove(&items[slot], &items[slot + n], (count - slot - n) * ITEM);
	if (count > slot + n)
		buf_log(t, b, HDR + slot * ITEM, (count - slot - n) * ITEM);
	set_count(b, count - n);
	if (count == n)
		set_data(b, b->bytes, 0);
	log_header(t, b);
}

void leaf_overwrite(struct tfs_trans *t, struct tfs_buf *b, unsigned int slot, const void *data,
		    uint32_t len)
{
	struct tfs_item *item = &leaf_items(b)[slot];
	uint32_t off = le32_get(item->off), old = le32_get(item->len);

	if (len != old) {
		data_drop(b, off + len, old - len);
		item->len = le32_of(len);
		if (!len)
			item->off = le32_of(b->bytes);
		buf_log(t, b, HDR + slot * ITEM, ITEM);
	}
	if (len) {
		memcpy((char *)buf_data(b) + off, data, len);
		buf_log(t, b, off, len);
	}
	log_header(t, b);
}

int leaf_copy_tail(struct tfs_trans *t, struct tfs_buf *to, const struct tfs_buf *from,
		   unsigned int first)
{
	const struct tfs_item *src = leaf_items(from);
	unsigned int i, at = node_count(to), n = node_count(from) - first;
	struct tfs_item *dst;
	uint32_t pos, len, need = n * ITEM;
	int err;

	for (i = first; i < first + n; i++)
		need += le32_get(src[i].len);
	if (leaf_gap(to) < need) {
		err = leaf_compact(t, to);
		if (err)
			return err;
	}
	dst = leaf_items(to) + at;
	set_count(to, at + n);
	for (i = 0; i < n; i++) {
		len = le32_get(src[first + i].len);
		pos = data_take(to, len);
		dst[i] = src[first + i];
		dst[i].off = le32_of(pos);
		if (len)
			memcpy((char *)buf_data(to) + pos, item_data(from, first + i), len);
	}
	node_of(to)->txid = le64_of(t->txid);
	buf_log(t, to, 0, to->bytes);
	return 0;
}

void leaf_cut(struct tfs_trans *t, struct tfs_buf *b, unsigned int n)
{
	/* only the header changes: the data of the items becomes holes, closed when the room is
	 * needed */
	leaf_remove(t, b, n, node_count(b) - n);
}

/* ---- inner nodes ---- */

void inner_insert(struct tfs_trans *t, struct tfs_buf *b, unsigned int slot, const struct tkey *key,
		  uint64_t addr)
{
	struct tfs_child *c = inner_children(b);
	unsigned int n = node_count(b);

	memmove(&c[slot + 1], &c[slot], (n - slot) * CHILD);
	c[slot] = (struct tfs_child){ .key = tkey_put(key), .addr = le64_of(addr) };
	if (!slot)
		c[slot].key = (struct tfs_key){ 0 };
	set_count(b, n + 1);
	buf_log(t, b, HDR + slot * CHILD, (n + 1 - slot) * CHILD);
	log_header(t, b);
}

void inner_remove(struct tfs_trans *t, struct tfs_buf *b, unsigned int slot)
{
	struct tfs_child *c = inner_children(b);
	unsigned int n = node_count(b);

	memmove(&c[slot], &c[slot + 1], (n - slot - 1) * CHILD);
	if (!slot)
		c[slot].key = (struct tfs_key){ 0 };
	set_count(b, n - 1);
	if (slot < n - 1)
		buf_log(t, b, HDR + slot * CHILD, (n - slot - 1) * CHILD);
	log_header(t, b);
}

void inner_copy_tail(struct tfs_trans *t, struct tfs_buf *to, const struct tfs_buf *from,
		     unsigned int first, const struct tkey *key)
{
	unsigned int at = node_count(to), n = node_count(from) - first;
	struct tfs_child *dst = inner_children(to) + at;

	if (!n)
		return;
	memcpy(dst, inner_children(from) + first, n * CHILD);
	dst[0].key = at ? tkey_put(key) : (struct tfs_key){ 0 };
	set_count(to, at + n);
	buf_log(t, to, HDR + at * CHILD, n * CHILD);
	log_header(t, to);
}

void inner_cut(struct tfs_trans *t, struct tfs_buf *b, unsigned int n)
{
	set_count(b, n);
	log_header(t, b);
}
