/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fs/disk/btree_check.c: tree nodes from a hostile device: each rule of btree_check_node, and
 * random bytes.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/lib/util.h"
#include "fs/disk/btree_check.h"
#include "fs/disk/btree_key.h"
#include "fs/disk/geom.h"
#include "tallyfs/format.h"

#define BLOCK 64u
static const struct tfs_geom geom = { .block_size = 4096,
				      .node_size = 16384,
				      .blkbits = 12,
				      .node_blocks = 4,
				      .blocks_per_group = 32768,
				      .total_blocks = 100000,
				      .nr_groups = 4 };
static union {
	struct tfs_node hdr;
	uint8_t bytes[16384];
} n;
static struct tfs_item *const item = (struct tfs_item *)(&n.hdr + 1);
static struct tfs_child *const child = (struct tfs_child *)(&n.hdr + 1);
static char why[100];

static int check(void)
{
	why[0] = 0;
	return btree_check_node(&geom, BLOCK, &n, why, sizeof(why));
}

static void make(unsigned int level, unsigned int nr)
{
	memset(&n, 0, sizeof(n));
	n.hdr.magic = le32_of(TFS_NODE_MAGIC);
	n.hdr.level = le16_of((uint16_t)level);
	n.hdr.nritems = le16_of((uint16_t)nr);
	n.hdr.addr = le64_of(BLOCK);
	n.hdr.data_start = le32_of(level ? 0 : geom.node_size);
}

/* Four items of 100 bytes, 50 bytes of holes. */
static void make_leaf(void)
{
	unsigned int i;

	make(0, 4);
	for (i = 0; i < 4; i++) {
		item[i].key = tkey_put(&TKEY(i, 1, 0));
		item[i].off = le32_of(geom.node_size - (i + 1) * 100);
		item[i].len = le32_of(i ? 100 : 50);
	}
	n.hdr.data_start = le32_of(geom.node_size - 400);
	n.hdr.data_holes = le32_of(50);
	cr_assert_eq(check(), 0, "%s", why);
}

static void make_inner(void)
{
	unsigned int i;

	make(1, 4);
	for (i = 0; i < 4; i++) {
		child[i].key = tkey_put(&TKEY(i, 0, 0));
		child[i].addr = le64_of(1000 + i * 4);
	}
	cr_assert_eq(check(), 0, "%s", why);
}

#define CR_BAD(make_it, change, text)                                         \
	do {                                                                  \
		make_it();                                                    \
		change;                                                       \
		cr_assert_eq(check(), -EUCLEAN, "passed: %s", #change);       \
		cr_assert(strstr(why, text), "%s says \"%s\"", #change, why); \
	} while (0)

Test(btree_check, header)
{
	CR_BAD(make_leaf, n.hdr.magic = le32_of(1), "magic");
	CR_BAD(make_leaf, n.hdr.addr = le64_of(68), "block 68");
	CR_BAD(make_leaf, n.hdr.tree = le32_of(TFS_NR_TREES), "tree");
	CR_BAD(make_leaf, n.hdr.level = le16_of(BTREE_MAX_DEPTH), "level");
	make(0, 0);
	cr_assert_eq(check(), 0, "an empty leaf is fine");
	cr_assert_eq(btree_check_node(&geom, BLOCK + 4, &n, NULL, 0), -EUCLEAN,
		     "without asking why");
}

Test(btree_check, leaf)
{
	CR_BAD(make_leaf, n.hdr.nritems = le16_of(65535), "items");
	CR_BAD(make_leaf, n.hdr.data_start = le32_of(16385), "begins");
	CR_BAD(make_leaf, n.hdr.data_start = le32_of(64 + 4 * 32 - 1), "begins");
	CR_BAD(make_leaf, n.hdr.data_start = le32_of(geom.node_size - 399), "item 3");
	CR_BAD(make_leaf, n.hdr.data_holes = le32_of(51), "holes");
	CR_BAD(make_leaf, item[2].off = le32_of(UINT32_MAX - 50), "item 2");
	CR_BAD(make_leaf, item[2].len = le32_of(UINT32_MAX - 50), "item 2");
	CR_BAD(make_leaf, item[2].len = le32_of(301), "item 2");
	CR_BAD(make_leaf, item[2].len = le32_of(101), "overlaps");
	CR_BAD(make_leaf, item[3].off = le32_of(geom.node_size - 399), "overlaps");
	CR_BAD(make_leaf, item[3].off = item[1].off, "overlaps");
	CR_BAD(make_leaf, item[1].key = item[2].key, "order");
	CR_BAD(make_leaf, item[3].key.ino = le64_of(0), "order");
	CR_BAD(make_leaf, item[2].key.snap = le32_of(7), "item 2 has a key");
	CR_BAD(make_leaf, item[0].key.snap = le32_of(1u << 31), "item 0 has a key");
	CR_BAD(make_leaf, item[3].key.pad[0] = 1, "item 3 has a key");
	CR_BAD(make_leaf, item[3].key.pad[2] = 128, "item 3 has a key");
	make_leaf();
	item[3].len = le32_of(0);
	item[3].off = le32_of(geom.node_size);
	n.hdr.data_holes = le32_of(150);
	cr_assert_eq(check(), 0, "an empty item at the end: %s", why);
	item[3].off = le32_of(geom.node_size + 1);
	cr_assert_eq(check(), -EUCLEAN);
	/* data_start has moved past it */
	item[3].off = le32_of(80);
	cr_assert_eq(check(), 0, "an empty item anywhere: %s", why);
}

Test(btree_check, item_too_long)
{
	uint32_t max = TFS_MAX_ITEM(geom.node_size);

	make(0, 1);
	item[0].len = le32_of(max);
	item[0].off = le32_of(geom.node_size - max);
	n.hdr.data_start = item[0].off;
	cr_assert_eq(check(), 0, "%s", why);
	item[0].len = le32_of(max + 1);
	item[0].off = le32_of(geom.node_size - max - 1);
	n.hdr.data_start = item[0].off;
	cr_assert_eq(check(), -EUCLEAN);
}

Test(btree_check, inner)
{
	CR_BAD(make_inner, n.hdr.nritems = le16_of(0), "children");
	CR_BAD(make_inner, n.hdr.nritems = le16_of((16384 - 64) / 40 + 1), "children");
	CR_BAD(make_inner, child[0].key.snap = le32_of(1), "not zero");
	CR_BAD(make_inner, child[2].key = child[1].key, "order");
	CR_BAD(make_inner, child[3].key.snap = le32_of(1), "child 3 has a key");
	CR_BAD(make_inner, child[3].key.pad[1] = 1, "child 3 has a key");
	CR_BAD(make_inner, child[2].addr = le64_of(0), "child 2");
	CR_BAD(make_inner, child[2].addr = le64_of(BLOCK), "child 2");
	CR_BAD(make_inner, child[2].addr = le64_of(1001), "child 2");
	CR_BAD(make_inner, child[2].addr = le64_of(100000), "child 2");
	CR_BAD(make_inner, child[2].addr = le64_of(UINT64_MAX - 3), "child 2");
	CR_BAD(make_inner, child[2].addr2 = le64_of(1001), "child 2");
}

/* Nothing to compare with: what passes must be safe to read, which the sanitizers see. */
Test(btree_check, random_damage)
{
	unsigned int seed = getenv("TALLYFS_SEED") ? (unsigned int)atoi(getenv("TALLYFS_SEED")) : 1,
		     i, j, at, passed = 0;
	unsigned int sum = 0, s;

	printf("TALLYFS_SEED=%u\n", seed);
	srandom(seed);
	for (i = 0; i < 20000; i++) {
		if (i % 2)
			make_leaf();
		else
			make_inner();
		for (j = (unsigned int)random() % 4 + 1; j; j--) {
			at = (unsigned int)random() % (64 + 4 * 40);
			n.bytes[at] ^= (uint8_t)(1u << random() % 8);
		}
		if (check())
			continue;
		passed++;
		if (le16_get(n.hdr.level))
			continue;
		for (s = 0; s < le16_get(n.hdr.nritems); s++)
			for (at = 0; at < le32_get(item[s].len); at++)
				sum += n.bytes[le32_get(item[s].off) + at];
	}
	cr_assert_gt(passed, 0); /* damage to txid or within a key's room */
	cr_assert_eq(sum, 0);
}
