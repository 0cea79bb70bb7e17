/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lies about nodes of the trees. */
#include <string.h>
#include "core/lib/util.h"
#include "tests/fuzz/lies_priv.h"

struct tfs_node *lie_node_of(struct base *b, const struct lie *l)
{
	uint64_t block = b->node[l->index % b->nr_nodes];

	part_touch(b, PART_NODE, block);
	return seal_at(&b->seal, block);
}

/* How many items or children lie within the node, whatever it says. */
static unsigned int nritems(const struct base *b, const struct tfs_node *n)
{
	uint32_t each = n->level.v ? sizeof(struct tfs_child) : sizeof(struct tfs_item);

	return min_t(uint32_t, le16_get(n->nritems),
		     (b->seal.geom.node_size - (uint32_t)sizeof(*n)) / each);
}

void lie_item(struct base *b, const struct lie *l, bool content)
{
	struct tfs_node *n = lie_node_of(b, l);
	struct tfs_item *item = (struct tfs_item *)(n + 1) + l->sub;
	uint32_t off;

	if (l->sub >= nritems(b, n) || le16_get(n->level))
		return;
	off = le32_get(item->off);
	if (!content)
		lie_change_in(b, l, item, sizeof(*item));
	else if (off < b->seal.geom.node_size &&
		 le32_get(item->len) <= b->seal.geom.node_size - off)
		lie_change_in(b, l, (uint8_t *)n + off, le32_get(item->len));
}

void lie_child(struct base *b, const struct lie *l)
{
	struct tfs_node *n = lie_node_of(b, l);

	if (le16_get(n->level) && l->sub < nritems(b, n))
		lie_change_in(b, l, (struct tfs_child *)(n + 1) + l->sub, sizeof(struct tfs_child));
}

void lie_remove(struct base *b, const struct lie *l)
{
	struct tfs_node *n = lie_node_of(b, l);
	size_t each = le16_get(n->level) ? sizeof(struct tfs_child) : sizeof(struct tfs_item);
	unsigned int nr = nritems(b, n);
	uint8_t *at = (uint8_t *)(n + 1) + l->sub * each;

	if (l->sub >= nr)
		return;
	if (!le16_get(n->level))
		n->data_holes = le32_of(le32_get(n->data_holes) +
					le32_get(((struct tfs_item *)(void *)at)->len));
	memmove(at, at + each, (nr - l->sub - 1) * each);
	n->nritems = le16_of((uint16_t)(nr - 1));
}

/* An item of any kind behind the item @sub: its key is that one's but for one number; its data is
 * the start of a copy of that one's. */
void lie_insert(struct base *b, const struct lie *l)
{
	struct tfs_node *n = lie_node_of(b, l);
	struct tfs_item *item = (struct tfs_item *)(n + 1) + l->sub, old;
	uint32_t start = le32_get(n->data_start), size = b->seal.geom.node_size, len;
	unsigned int nr = nritems(b, n);

	if (le16_get(n->level) || l->sub >= nr || start > size)
		return;
	old = *item;
	len = l->field < le32_get(old.len) ? l->field : le32_get(old.len);
	if (sizeof(*n) + (nr + 1) * sizeof(old) + len > start || le32_get(old.off) > size - len ||
	    len > size)
		return;
	memmove(item + 2, item + 1, (nr - l->sub - 1) * sizeof(old));
	item[1] = old;
	lie_change_in(b, l, &item[1].key, sizeof(old.key));
	item[1].off = le32_of(start - len);
	item[1].len = le32_of(len);
	memcpy((uint8_t *)n + start - len, (uint8_t *)n + le32_get(old.off), len);
	n->data_start = le32_of(start - len);
	n->nritems = le16_of((uint16_t)(nr + 1));
}

void lie_copy(struct base *b, const struct lie *l)
{
	struct tfs_node *n = lie_node_of(b, l);
	uint64_t block = b->node[l->index % b->nr_nodes];

	memmove(n, seal_at(&b->seal, b->node[l->value % b->nr_nodes]), b->seal.geom.node_size);
	if (!(l->sub & 1))
		n->addr = le64_of(block);
}
