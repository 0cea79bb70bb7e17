/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fs/disk/super.c, super_copy.c: the superblock: copies, versions, features, nonsense. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "tests/lib/faultdev.h"
#include "tests/lib/fixture_bare.h"
#include "core/block/bdev.h"
#include "core/lib/util.h"
#include "fs/disk/geom.h"
#include "fs/disk/super.h"
#include "fs/vfs/mkfs.h"
#include "tallyfs/format.h"

static struct tfs_super *super_at(struct fixture *m, int which)
{
	static const uint64_t at[] = { TFS_SUPER_OFFSET, (1u << 20) - 4096, (8u << 20) - 4096 };

	return (struct tfs_super *)((char *)bdev_mem_data(m->dev) + at[which]);
}

static void made(struct fixture *m)
{
	fx_bare_create(m);
	fx_bare_close(m);
}

static int read_super(struct fixture *m, int which)
{
	struct tfs_super s;
	struct tfs_geom g;
	int err = tfs_super_read(m->dev, which, &s, &g, m->why, sizeof(m->why));

	if (!err)
		cr_assert_eq(g.nr_groups, 8);
	return err;
}

Test(super, copies)
{
	struct fixture m;
	int i;

	made(&m);
	for (i = -1; i < 3; i++)
		cr_assert_eq(read_super(&m, i), 0, "%d: %s", i, m.why);
	super_at(&m, 0)->label[0] ^= 1;
	cr_assert_eq(read_super(&m, 0), -EUCLEAN);
	cr_assert_eq(read_super(&m, -1), 0);
	cr_assert_eq(read_super(&m, 2), 0);
	/* a mount that changes something heals the first */
	cr_assert_eq(fx_bare_open(&m), 0, "%s", m.why);
	cr_assert_eq(fx_item_set(&m, 1, 1, 1), 0);
	fx_bare_close(&m);
	cr_assert_eq(read_super(&m, 0), 0, "%s", m.why);
	for (i = 0; i < 3; i++)
		memset(super_at(&m, i), 0, 4096);
	cr_assert_eq(read_super(&m, -1), -EINVAL);
	cr_assert_eq(fx_bare_open(&m), -EINVAL);
	cr_assert(strstr(m.why, "not a tallyfs"));
	fx_bare_destroy(&m);
}

/* The log is empty and the primary gone: a mount for writing brings it back, on a device that minds
 * alignment. */
Test(super, destroyed_primary)
{
	static const char zeros[4096];
	struct fixture m;
	int copy;

	for (copy = 0; copy < 3; copy++) {
		made(&m);
		m.dev->align = 4096;
		memset(super_at(&m, copy), 0, 4096);
		cr_assert_eq(read_super(&m, -1), 0, "%s", m.why);
		m.opts.ro = true;
		cr_assert_eq(fx_bare_open(&m), 0, "%s", m.why);
		fx_bare_crash(&m);
		cr_assert_arr_eq(super_at(&m, copy), zeros, 4096);
		m.opts.ro = false;
		cr_assert_eq(fx_bare_open(&m), 0, "%s", m.why);
		fx_bare_crash(&m);
		cr_assert_arr_eq(super_at(&m, copy), super_at(&m, !copy), 4096, "copy %d", copy);
		fx_bare_destroy(&m);
	}
}

/* The device forgot writes of superblocks; the journal's header knows better. */
Test(super, stale)
{
	struct tfs_super old;
	struct fixture m;
	int lost;

	for (lost = 1; lost < 8; lost++) {
		made(&m);
		old = *super_at(&m, 0);
		cr_assert_eq(fx_bare_open(&m), 0, "%s", m.why);
		cr_assert_eq(fx_item_set(&m, 1, 7, 300), 0);
		fx_bare_close(&m);
		for (int i = 0; i < 3; i++)
			if (lost >> i & 1)
				*super_at(&m, i) = old;
		m.opts.ro = true;
		cr_assert_eq(fx_bare_open(&m), lost == 7 ? -EUCLEAN : 0, "%d: %s", lost, m.why);
		if (lost == 7) {
			cr_assert(strstr(m.why, "no superblock is of that one"), "%s", m.why);
			m.opts.ro = false;
			cr_assert_eq(fx_bare_open(&m), -EUCLEAN);
		} else {
			cr_assert_eq(fx_item_get(&m, 1), 7);
			fx_bare_crash(&m);
			m.opts.ro = false;
			cr_assert_eq(fx_bare_open(&m), 0, "%s", m.why);
			cr_assert_eq(fx_item_get(&m, 1), 7);
			fx_bare_crash(&m);
			for (int i = 1; i < 3; i++)
				cr_assert_arr_eq(super_at(&m, i), super_at(&m, 0), 4096);
			cr_assert_eq(le64_get(super_at(&m, 0)->txid), le64_get(old.txid) + 1);
		}
		fx_bare_destroy(&m);
	}
}

/* ---- what somebody put where a copy might be ---- */

#define REAL_MB 256u

static struct bdev *format_with(uint32_t block_size, struct tfs_super *s)
{
	struct tfs_format_opts o = { .block_size = block_size, .test_seed = block_size };
	struct bdev *b = bdev_mem_create((uint64_t)REAL_MB << 20);
	struct tfs_geom g;
	char why[200];

	cr_assert_eq(tfs_format_plan(b, &o, s, &g, why, sizeof(why)), 0, "%s", why);
	cr_assert_eq(tfs_format_write(b, &o, s, &g), 0);
	return b;
}

static char *at_byte(struct bdev *b, uint64_t off)
{
	return (char *)bdev_mem_data(b) + off;
}

enum { ROTTEN, ZEROED, UNLIKE, NO_END = 4, NO_GROUP0 = 8, PLANT_2K = 16, PLANT_8K = 32 };

Test(super, planted_copies)
{
	static const struct {
		unsigned int what;
		bool refused;
	} t[] = {
		{ ROTTEN | PLANT_2K, false },
		{ ROTTEN | PLANT_2K | PLANT_8K, false },
		{ ROTTEN | PLANT_2K | PLANT_8K | NO_END, false },
		{ ROTTEN | PLANT_2K | PLANT_8K | NO_GROUP0, false },
		{ ROTTEN | PLANT_2K | NO_END | NO_GROUP0, true },
		{ ZEROED, false },
		{ ZEROED | PLANT_2K | PLANT_8K, false },
		{ ZEROED | NO_END, false },
		{ ZEROED | NO_END | PLANT_2K, true },
		{ ZEROED | NO_END | PLANT_8K, true },
		{ UNLIKE, true }, /* the primary knows neither secret of the copies */
	};
	const uint64_t end = (uint64_t)REAL_MB << 20;
	struct tfs_super real, planted[2], got;
	struct bdev *evil[2] = { format_with(2048, &planted[0]), format_with(8192, &planted[1]) },
		    *b;
	struct tfs_geom g;
	char why[200];
	size_t i;
	int err;

	for (i = 0; i < ARRAY_SIZE(t); i++) {
		b = format_with(4096, &real);
		if (t[i].what & PLANT_2K)
			memcpy(at_byte(b, (32u << 20) - 4096), &planted[0], 4096);
		if (t[i].what & PLANT_8K)
			memcpy(at_byte(b, end - 8192), &planted[1], 4096);
		if (t[i].what & NO_END)
			memset(at_byte(b, end - 4096), 0xdd, 4096);
		if (t[i].what & NO_GROUP0)
			memset(at_byte(b, (128u << 20) - 4096), 0xdd, 4096);
		if (t[i].what & ZEROED)
			memset(at_byte(b, TFS_SUPER_OFFSET), 0, 4096);
		else if (t[i].what & UNLIKE)
			memset(at_byte(b, TFS_SUPER_OFFSET + offsetof(struct tfs_super, seed)),
			       0x5a, 24);
		else
			*at_byte(b, TFS_SUPER_OFFSET + 200) ^= 1;
		err = tfs_super_read(b, -1, &got, &g, why, sizeof(why));
		cr_assert_eq(err, t[i].refused ? -EUCLEAN : 0, "%zu: %d %s", i, err, why);
		cr_assert(err || !memcmp(got.uuid, real.uuid, 16), "%zu: somebody else's", i);
		bdev_close(b);
	}
	bdev_close(evil[0]);
	bdev_close(evil[1]);
}

/* An older file system of the same device, of which only copies were left, is wiped by mkfs
 * wherever a search looks. */
/* Zeros left of the primary's secrets are known to everybody. */
Test(super, zeros_are_no_secret)
{
	struct tfs_super real, planted, got;
	struct bdev *b = format_with(4096, &real), *evil = format_with(2048, &planted);
	struct tfs_geom g;
	char why[200];

	planted.seed = le64_of(0);
	memset(planted.hash_key, 0, sizeof(planted.hash_key));
	tfs_super_seal(&planted);
	memcpy(at_byte(b, (32u << 20) - 4096), &planted, 4096);
	memset(at_byte(b, TFS_SUPER_OFFSET + offsetof(struct tfs_super, seed)), 0, 24);
	cr_assert_eq(tfs_super_read(b, -1, &got, &g, why, sizeof(why)), -EUCLEAN);
	cr_assert(strstr(why, "agrees"), "%s", why);
	bdev_close(evil);
	bdev_close(b);
}

/* mkfs: what can't be read may be a copy all the same, and is none afterwards. */
Test(super, mkfs_wipes_what_it_cannot_read)
{
	struct tfs_format_opts o = { .test_seed = 9 };
	struct tfs_super s, planted;
	struct bdev *evil = format_with(2048, &planted),
		    *mem = bdev_mem_create((uint64_t)REAL_MB << 20), *b;
	const uint64_t at = (32u << 20) - 4096;
	struct tfs_geom g;
	char why[200];

	memcpy(at_byte(mem, at), &planted, 4096);
	b = faultdev_create(mem);
	faultdev_plan(b, .kind = FAULT_ERROR, .ops = FAULT_READ, .off = at, .len = 512,
		      .times = FAULT_ALWAYS);
	cr_assert_eq(tfs_format_plan(b, &o, &s, &g, why, sizeof(why)), 0, "%s", why);
	cr_assert_eq(tfs_format_write(b, &o, &s, &g), 0);
	cr_assert_neq(memcmp(at_byte(mem, at), TFS_SUPER_MAGIC, 8), 0);
	bdev_close(b);
	bdev_close(evil);
}

Test(super, mkfs_wipes_what_a_search_would_find)
{
	struct tfs_format_opts o = { .size = 64u << 20, .test_seed = 9 };
	struct tfs_super s, got;
	struct bdev *b = format_with(2048, &s);
	struct tfs_geom g;
	char why[200];

	memset(at_byte(b, TFS_SUPER_OFFSET), 0, 4096);
	cr_assert_eq(tfs_super_read(b, -1, &got, &g, why, sizeof(why)), 0);
	cr_assert_eq(tfs_format_plan(b, &o, &s, &g, why, sizeof(why)), 0);
	cr_assert_eq(tfs_format_write(b, &o, &s, &g), 0);
	memset(at_byte(b, TFS_SUPER_OFFSET), 0, 4096);
	cr_assert_eq(tfs_super_read(b, -1, &got, &g, why, sizeof(why)), -EINVAL, "found %s", why);
	bdev_close(b);
}

static int open_with(struct fixture *m, void (*change)(struct tfs_super *s))
{
	int i;

	for (i = 0; i < 3; i++) {
		change(super_at(m, i));
		tfs_super_seal(super_at(m, i));
	}
	return fx_bare_open(m);
}

static void newer_version(struct tfs_super *s)
{
	s->version = le32_of(TFS_VERSION + 1);
}
static void incompat(struct tfs_super *s)
{
	s->incompat = le64_of(1ull << 63);
}
static void ro_compat(struct tfs_super *s)
{
	s->ro_compat = le64_of(1);
}
static void other_guard(struct tfs_super *s)
{
	s->guard = le32_of(9);
}
static void larger(struct tfs_super *s)
{
	s->total_blocks = le64_of(le64_get(s->total_blocks) + 64);
}
static void odd_blocks(struct tfs_super *s)
{
	s->block_size = le32_of(3000);
}
static void deep_tree(struct tfs_super *s)
{
	s->roots[0].level = le32_of(200);
}

Test(super, refusals)
{
	static const struct {
		void (*change)(struct tfs_super *s);
		int err;
	} t[] = { { newer_version, -EPROTONOSUPPORT },
		  { incompat, -EPROTONOSUPPORT },
		  { ro_compat, -EPROTONOSUPPORT },
		  { other_guard, -EPROTONOSUPPORT },
		  { larger, -EUCLEAN },
		  { odd_blocks, -EUCLEAN },
		  { deep_tree, -EUCLEAN } };
	struct fixture m;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(t); i++) {
		made(&m);
		cr_assert_eq(open_with(&m, t[i].change), t[i].err, "%zu: %s", i, m.why);
		cr_assert(m.why[0]);
		m.opts.ro = true;
		if (t[i].change == ro_compat)
			cr_assert_eq(fx_bare_open(&m), 0, "%s", m.why);
		fx_bare_destroy(&m);
	}
}

Test(super, read_only_device)
{
	struct fixture m;

	made(&m);
	m.dev->read_only = true;
	cr_assert_eq(fx_bare_open(&m), -EROFS);
	m.opts.ro = true;
	cr_assert_eq(fx_bare_open(&m), 0, "%s", m.why);
	cr_assert_eq(fx_item_set(&m, 1, 1, 1), -EROFS);
	fx_bare_close(&m);
	fx_bare_destroy(&m);
}

Test(super, tiny_device)
{
	struct bdev *b = bdev_mem_create(4096);
	struct tfs_super s;
	struct tfs_geom g;
	char why[100];

	cr_assert_eq(tfs_super_read(b, -1, &s, &g, why, sizeof(why)), -EINVAL);
	bdev_close(b);
}

Test(super, no_memory)
{
	struct fixture m;
	uint64_t n;
	int err = -ENOMEM;

	made(&m);
	for (n = 1; err == -ENOMEM; n++) {
		tl_alloc_fail_nth(n);
		err = fx_bare_open(&m);
		tl_alloc_fail_nth(0);
	}
	cr_assert_eq(err, 0, "allocation %llu: %d %s", (unsigned long long)n, err, m.why);
	cr_assert_gt(n, 8);
	fx_bare_destroy(&m);
}

/* Bytes of the device are counted in 63 bits: 2^48 blocks of 64 KiB would be none at all. */
Test(super, more_bytes_than_can_be_counted)
{
	struct tfs_super s = { 0 };
	struct tfs_geom g;

	s.block_size = le32_of(65536);
	s.node_size = le32_of(65536);
	s.blocks_per_group = le32_of(8 * 65536);
	s.total_blocks = le64_of(1ull << 48);
	s.nr_groups = le64_of((1ull << 48) / (8 * 65536));
	cr_assert_eq(tfs_geom_layout(&s, &g), -EUCLEAN);
	s.total_blocks = le64_of(1ull << 46);
	s.nr_groups = le64_of((1ull << 46) / (8 * 65536));
	cr_assert_eq(tfs_geom_layout(&s, &g), 0);
}
