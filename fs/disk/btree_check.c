/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Does a tree node make sense on its own?  Everything in the B+tree code relies on
 * this having been asked of each node read from the device: the bytes may be
 * anything.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/lib/util.h"
#include "fs/disk/btree_check.h"
#include "fs/disk/btree_key.h"
#include "fs/disk/geom.h"
#include "tallyfs/format.h"

#define HDR ((uint32_t)sizeof(struct tfs_node))

/* Which bytes of a node belong to item data: a bit each, 8 KiB for the largest node. */
struct byte_map {
	uint64_t word[TFS_MAX_NODE / 64];
};

static __attribute__((format(printf, 3, 4))) int bad(char *why, size_t why_len, const char *fmt,
						     ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (why && why_len)
		vsnprintf(why, why_len, fmt, ap);
	va_end(ap);
	return -EUCLEAN;
}

/* Mark bytes [off, off + len), len > 0; false if one was marked before. */
static bool claim_bytes(struct byte_map *m, uint32_t off, uint32_t len)
{
	uint32_t n, bit;
	uint64_t mask;

	while (len) {
		bit = off % 64;
		n = min_t(uint32_t, 64 - bit, len);
		mask = (n == 64 ? ~0ull : (1ull << n) - 1) << bit;
		if (m->word[off / 64] & mask)
			return false;
		m->word[off / 64] |= mask;
		off += n;
		len -= n;
	}
	return true;
}

/* What a reader of this version does not know would hide: two keys that differ here alone are one
 * to it. */
static bool key_plain(const struct tfs_key *k)
{
	return !le32_get(k->snap) && !k->pad[0] && !k->pad[1] && !k->pad[2];
}

static bool ascending(const struct tfs_key *a, const struct tfs_key *b)
{
	struct tkey ka = tkey_get(a), kb = tkey_get(b);

	return tkey_cmp(&ka, &kb) < 0;
}

static int check_leaf(const struct tfs_geom *g, const struct tfs_node *node, unsigned int n,
		      char *why, size_t why_len)
{
	const struct tfs_item *item = (const struct tfs_item *)(node + 1);
	uint32_t size = g->node_size, start = le32_get(node->data_start), off, len, sum = 0;
	struct byte_map map;
	unsigned int i;

	if (n > (size - HDR) / sizeof(*item))
		return bad(why, why_len, "%u items in a leaf of %u bytes", n, size);
	if (start > size || start < HDR + n * sizeof(*item))
		return bad(why, why_len, "data of %u items begins at byte %u", n, start);
	memset(&map, 0, sizeof(map));
	for (i = 0; i < n; i++) {
		off = le32_get(item[i].off);
		len = le32_get(item[i].len);
		/* an empty item lies nowhere, and may stay behind when data_start moves up */
		if (len > TFS_MAX_ITEM(size) || (len && off < start) || off > size ||
		    len > size - off)
			return bad(why, why_len, "item %u has %u bytes at %u", i, len, off);
		if (!claim_bytes(&map, off, len))
			return bad(why, why_len, "item %u overlaps another", i);
		if (!key_plain(&item[i].key))
			return bad(why, why_len, "item %u has a key of an unknown form", i);
		if (i && !ascending(&item[i - 1].key, &item[i].key))
			return bad(why, why_len, "item %u is out of order", i);
		sum += len;
	}
	if (le32_get(node->data_holes) != size - start - sum)
		return bad(why, why_len, "holes of %u bytes, not %u", size - start - sum,
			   le32_get(node->data_holes));
	return 0;
}

static bool child_possible(const struct tfs_geom *g, uint64_t addr, uint64_t own)
{
	return addr && addr != own && addr < g->total_blocks &&
	       g->total_blocks - addr >= g->node_blocks &&
	       (addr - tfs_group_start(g, tfs_group_of(g, addr))) % g->node_blocks == 0;
}

static int check_inner(const struct tfs_geom *g, const struct tfs_node *node, unsigned int n,
		       char *why, size_t why_len)
{
	static const struct tfs_key zero;
	const struct tfs_child *child = (const struct tfs_child *)(node + 1);
	uint64_t own = le64_get(node->addr), addr, addr2;
	unsigned int i;

	if (!n || n > (g->node_size - HDR) / sizeof(*child))
		return bad(why, why_len, "%u children in a node of %u bytes", n, g->node_size);
	if (memcmp(&child[0].key, &zero, sizeof(zero)))
		return bad(why, why_len, "the first child's key is not zero");
	for (i = 0; i < n; i++) {
		addr = le64_get(child[i].addr);
		addr2 = le64_get(child[i].addr2);
		if (!child_possible(g, addr, own) || (addr2 && !child_possible(g, addr2, own)))
			return bad(why, why_len, "child %u is at block %llu", i,
				   (unsigned long long)addr);
		if (!key_plain(&child[i].key))
			return bad(why, why_len, "child %u has a key of an unknown form", i);
		if (i && !ascending(&child[i - 1].key, &child[i].key))
			return bad(why, why_len, "child %u is out of order", i);
	}
	return 0;
}

int btree_check_node(const struct tfs_geom *g, uint64_t block, const void *data, char *why,
		     size_t why_len)
{
	const struct tfs_node *node = data;
	unsigned int level = le16_get(node->level), n = le16_get(node->nritems);

	if (le32_get(node->magic) != TFS_NODE_MAGIC)
		return bad(why, why_len, "magic is 0x%08x", le32_get(node->magic));
	if (le64_get(node->addr) != block)
		return bad(why, why_len, "says it is block %llu",
			   (unsigned long long)le64_get(node->addr));
	if (le32_get(node->tree) >= TFS_NR_TREES)
		return bad(why, why_len, "belongs to tree %u", le32_get(node->tree));
	if (level >= BTREE_MAX_DEPTH)
		return bad(why, why_len, "is at level %u", level);
	return level ? check_inner(g, node, n, why, why_len) : check_leaf(g, node, n, why, why_len);
}
