/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fs/alloc/alloc.c, alloc_data.c, alloc_node.c, group_trans.c: the allocator: against a model with
 * a state for each block (a failure is made short, see exercise_shortest.h), and what it must
 * refuse.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "core/block/bdev.h"
#include "core/lib/log.h"
#include "core/lib/util.h"
#include "fs/alloc/alloc.h"
#include "fs/alloc/alloc_data.h"
#include "fs/alloc/alloc_int.h"
#include "fs/alloc/alloc_node.h"
#include "fs/alloc/space.h"
#include "fs/disk/block_bitmap.h"
#include "fs/disk/geom.h"
#include "fs/disk/group.h"
#include "fs/journal/buffer.h"
#include "fs/journal/journal.h"
#include "fs/journal/trans.h"
#include "fs/state/fs.h"
#include "fs/vfs/fs_open.h"
#include "fs/vfs/mkfs.h"
#include "tallyfs/format.h"
#include "tests/lib/exercise_shortest.h"
#include "tests/lib/fixture.h"
#include "tests/lib/fixture_bare.h"
#include "tests/lib/random.h"

#define IMAGE (8ull << 20)
#define MAX_BLOCKS 8192

enum state { FIXED, FREE, CLAIMED, USED, PENDING };

struct model {
	struct tfs_fs *fs;
	uint8_t state[MAX_BLOCKS], node[MAX_BLOCKS];
	uint64_t freed[MAX_BLOCKS]; /* PENDING: by this transaction */
	uint64_t rng;
	const struct exercise_steps *steps;
	uint64_t op;
};

struct range {
	uint64_t start, n;
};

static uint64_t freed_in; /* transaction of the last free */

static int do_commit(struct tfs_trans *t, void *arg)
{
	struct range *r = arg;
	int err = alloc_prefault(t, r->start, r->n);

	if (!err)
		err = alloc_commit(t, r->start, r->n);
	if (!err)
		t->fs->cnt.data_blocks += r->n;
	return err;
}

static int do_free(struct tfs_trans *t, void *arg)
{
	struct range *r = arg;
	int err = alloc_free(t, r->start, r->n);

	if (!err)
		t->fs->cnt.data_blocks -= r->n;
	freed_in = t->txid;
	return err;
}

static void empty_leaf(const struct tfs_geom *g, uint64_t block, struct tfs_node *n)
{
	n->magic = le32_of(TFS_NODE_MAGIC);
	n->addr = le64_of(block);
	n->data_start = le32_of(g->node_size);
}

static int do_node(struct tfs_trans *t, void *arg)
{
	struct range *r = arg;
	struct tfs_buf *b;
	int err = alloc_prefault_nodes(t, r->n, 1);

	FX_CHECK(!t->modified);
	if (!err)
		err = alloc_node(t, r->n, &r->start);
	FX_CHECK(err != -TRANS_RESTART * t->modified);
	if (!err)
		err = buf_new(t, r->start, BUF_NODE, &b);
	if (err)
		return err;
	empty_leaf(&t->fs->geom, r->start, buf_data(b));
	buf_put(b);
	return 0;
}

static int do_free_node(struct tfs_trans *t, void *arg)
{
	struct range *r = arg;
	struct tfs_buf *b;
	int err = buf_get(t, r->start, BUF_NODE, &b);

	if (err)
		return err;
	freed_in = t->txid;
	err = alloc_free_node(t, r->start);
	if (err)
		buf_put(b);
	else
		buf_free(t, b);
	return err;
}

static void model_start(struct model *m)
{
	const struct tfs_geom *g = &m->fs->geom;
	uint64_t b, root = m->fs->roots[TFS_TREE_FS].addr;

	FX_CHECK(g->total_blocks <= MAX_BLOCKS);
	for (b = 0; b < g->total_blocks; b++)
		m->state[b] = tfs_geom_fixed(g, b, 1) ? FIXED : FREE;
	for (b = 0; b < g->node_blocks; b++)
		m->state[root + b] = USED;
	m->node[root] = 2; /* never freed */
}

static void expect(struct model *m, uint64_t start, uint64_t n, enum state old, enum state new)
{
	uint64_t i;

	FX_CHECK(start + n <= m->fs->geom.total_blocks);
	for (i = start; i < start + n; i++) {
		FX_IS(m->state[i], old);
		m->state[i] = (uint8_t) new;
	}
}

static uint64_t count(const struct model *m, enum state s)
{
	uint64_t i, n = 0;

	for (i = 0; i < m->fs->geom.total_blocks; i++)
		n += m->state[i] == s;
	return n;
}

/* A random run in state @s of data (@node: the start of a node). */
static bool some(struct model *m, enum state s, bool node, struct range *r)
{
	uint64_t i = test_rand(&m->rng) % m->fs->geom.total_blocks, k;

	for (k = 0; k < m->fs->geom.total_blocks; k++, i = (i + 1) % m->fs->geom.total_blocks) {
		if (m->state[i] != s || (node ? m->node[i] != 1 : m->node[i] != 0))
			continue;
		if (node) {
			*r = (struct range){ i, m->fs->geom.node_blocks };
			return true;
		}
		r->start = i;
		r->n = 0;
		while (r->n < 20 && i + r->n < m->fs->geom.total_blocks &&
		       m->state[i + r->n] == s && !m->node[i + r->n])
			r->n++;
		return true;
	}
	return false;
}

static void mark_node(struct model *m, uint64_t start, uint8_t v)
{
	memset(m->node + start, v ? 3 : 0, m->fs->geom.node_blocks);
	m->node[start] = v;
}

/* What was freed by a transaction that is durable now (the journal commits when it likes). */
static void settle(struct model *m)
{
	uint64_t i, durable = journal_durable_txid(m->fs);

	for (i = 0; i < m->fs->geom.total_blocks; i++)
		if (m->state[i] == PENDING && m->freed[i] <= durable)
			m->state[i] = FREE;
}

static void free_range(struct model *m, const struct range *r)
{
	uint64_t i;

	expect(m, r->start, r->n, USED, PENDING);
	for (i = 0; i < r->n; i++)
		m->freed[r->start + i] = freed_in;
}

static void op_data(struct model *m)
{
	uint64_t want = 1 + test_rand(&m->rng) % 40, goal = 0, start, got;
	struct tfs_space_stats before, after;
	int err;

	space_get_stats(m->fs, &before);
	if (test_rand(&m->rng) % 2)
		goal = test_rand(&m->rng) % (m->fs->geom.total_blocks + 100);
	exercise_say(m->steps, m->op, "claim %llu at %llu", (unsigned long long)want,
		     (unsigned long long)goal);
	err = space_reserve(m->fs, want, SPACE_NEW);
	space_get_stats(m->fs, &after);
	settle(m);
	if (err) {
		FX_IS(err, -ENOSPC);
		/* not before a commit was tried */
		FX_CHECK(after.enospc_commits != before.enospc_commits);
		return;
	}
	/* reserved blocks are there */
	FX_OK(alloc_data(m->fs, goal, want, &start, &got));
	FX_CHECK(got >= 1 && got <= want);
	expect(m, start, got, FREE, CLAIMED);
	space_unreserve(m->fs, want - got);
}

static void say(const struct model *m, const char *what, const struct range *r)
{
	exercise_say(m->steps, m->op, "%s %llu+%llu", what, (unsigned long long)r->start,
		     (unsigned long long)r->n);
}

static void op(struct model *m)
{
	struct range r = { 0 };
	int err;

	switch (test_rand(&m->rng) % 10) {
	case 0:
	case 1:
	case 2:
		op_data(m);
		break;
	case 3:
		if (some(m, CLAIMED, false, &r)) {
			say(m, "cancel", &r);
			alloc_cancel(m->fs, r.start, r.n, false);
			expect(m, r.start, r.n, CLAIMED, FREE);
		}
		break;
	case 4:
	case 5:
		if (some(m, CLAIMED, false, &r)) {
			say(m, "commit", &r);
			FX_IS(fx_in_write(m->fs, do_commit, &r), 0);
			expect(m, r.start, r.n, CLAIMED, USED);
		}
		break;
	case 6:
		if (some(m, USED, false, &r)) {
			say(m, "free", &r);
			FX_IS(fx_in_write(m->fs, do_free, &r), 0);
			free_range(m, &r);
		}
		break;
	case 7:
		r.n = test_rand(&m->rng) % 3 ? 0 : test_rand(&m->rng) % m->fs->geom.total_blocks;
		say(m, "node near", &r);
		err = fx_in_write(m->fs, do_node, &r);
		FX_CHECK(!err || err == -ENOSPC);
		settle(m);
		if (!err) {
			FX_IS(r.start % m->fs->geom.blocks_per_group % m->fs->geom.node_blocks, 0);
			expect(m, r.start, m->fs->geom.node_blocks, FREE, USED);
			mark_node(m, r.start, 1);
		}
		break;
	case 8:
		if (test_rand(&m->rng) % 2 && some(m, USED, true, &r)) {
			say(m, "free a node", &r);
			FX_IS(fx_in_write(m->fs, do_free_node, &r), 0);
			free_range(m, &r);
			mark_node(m, r.start, 0);
		}
		break;
	default:
		if (test_rand(&m->rng) % 8 == 0)
			FX_IS(journal_commit_all(m->fs), 0);
	}
}

static int compare_bitmaps(struct tfs_trans *t, void *arg)
{
	struct model *m = arg;
	const struct tfs_geom *g = &m->fs->geom;
	uint64_t group, b, first, free, slots, all_free = 0, all_slots = 0;
	struct tfs_group *h;
	struct tfs_buf *bmp, *hdr;
	int err;

	for (group = 0; group < g->nr_groups; group++) {
		first = tfs_group_start(g, group);
		if (group >= m->fs->cnt.groups_init) {
			uint32_t fb, fs;

			group_fresh_counts(g, group, &fb, &fs);
			all_free += fb;
			all_slots += fs;
			for (b = first; b < first + tfs_group_nr_blocks(g, group); b++)
				FX_CHECK(m->state[b] == FREE || m->state[b] == FIXED ||
					 m->state[b] == CLAIMED);
			continue;
		}
		err = buf_get(t, tfs_group_bitmap_block(g, group), BUF_BITMAP, &bmp);
		if (err)
			return err;
		err = buf_get(t, tfs_group_header_block(g, group), BUF_GROUP, &hdr);
		if (err) {
			buf_put(bmp);
			return err;
		}
		for (b = 0; b < tfs_group_nr_blocks(g, group); b++)
			FX_IS(block_bitmap_test(buf_data(bmp), (uint32_t)b),
			      m->state[first + b] == USED || m->state[first + b] == FIXED);
		h = buf_data(hdr);
		free = block_bitmap_count_clear(buf_data(bmp), 0, tfs_group_nr_blocks(g, group));
		slots = block_bitmap_count_slots(buf_data(bmp), 0, tfs_group_nr_blocks(g, group),
						 g->node_blocks);
		FX_IS(le32_get(h->free_blocks), free);
		FX_IS(le32_get(h->free_slots), slots);
		all_free += free;
		all_slots += slots;
		buf_put(bmp);
		buf_put(hdr);
	}
	FX_IS(m->fs->cnt.free_blocks, all_free);
	FX_IS(m->fs->cnt.free_slots, all_slots);
	return 0;
}

/* Aligned runs of a node's length that are wholly free. */
static uint64_t model_slots(const struct model *m, uint64_t group)
{
	const struct tfs_geom *g = &m->fs->geom;
	const uint8_t *s = m->state + tfs_group_start(g, group);
	uint64_t nr = tfs_group_nr_blocks(g, group), at, k, n = 0;

	for (at = 0; at + g->node_blocks <= nr; at += g->node_blocks) {
		for (k = 0; k < g->node_blocks && s[at + k] == FREE; k++)
			;
		n += k == g->node_blocks;
	}
	return n;
}

static void check_slots(struct model *m)
{
	struct tfs_alloc *a = m->fs->alloc;
	uint64_t group, n, all = 0;

	for (group = 0; group < m->fs->geom.nr_groups; group++) {
		n = model_slots(m, group);
		all += n;
		if (a->groups[group].flags & AGROUP_KNOWN)
			FX_IS(a->groups[group].slots, n);
	}
	FX_IS(a->slots, all);
}

static void check_stats(struct model *m)
{
	struct tfs_space_stats st;

	settle(m);
	space_get_stats(m->fs, &st);
	FX_IS(st.claimed, count(m, CLAIMED));
	FX_IS(st.pending_free, count(m, PENDING));
	FX_IS(st.free_blocks, count(m, FREE));
	FX_IS(st.reserved, 0);
	check_slots(m);
}

struct run {
	struct tfs_format_opts o;
	uint64_t bytes, seed, ops;
	uint64_t round; /* operations; then claims go, and everything else stays */
};

static void end_round(struct model *m)
{
	uint64_t b;

	exercise_say(m->steps, m->op, "compare, reopen, compare");
	check_stats(m);
	FX_OK(fx_in_read(m->fs, compare_bitmaps, m));
	m->fs = fx_fs_reopen(m->fs);
	for (b = 0; b < m->fs->geom.total_blocks; b++)
		if (m->state[b] == CLAIMED || m->state[b] == PENDING)
			m->state[b] = FREE;
	check_stats(m);
	FX_OK(fx_in_read(m->fs, compare_bitmaps, m));
}

static int run_model(void *arg, const struct exercise_steps *steps)
{
	const struct run *r = arg;
	struct model *m = calloc(1, sizeof(*m));
	struct exercise_walk w = exercise_walk(steps, r->seed, r->ops);

	m->steps = steps;
	m->fs = fx_fs_create(r->bytes, &r->o);
	model_start(m);
	while (exercise_next(&w, &m->op, &m->rng)) {
		op(m);
		if (m->op % r->round == 0 || m->op == w.nr)
			end_round(m);
	}
	fx_fs_destroy(m->fs);
	free(m);
	return 0;
}

static void model(struct tfs_format_opts o, uint64_t bytes, uint64_t seed)
{
	struct run r = { o, bytes, seed, test_ops(2000), 500 };

	FX_OK(exercise_shortest(run_model, &r, r.seed, r.ops, 60, NULL));
}

Test(alloc, random_against_model)
{
	uint64_t seed = test_seed(1), i;

	for (i = 0; i < 4; i++)
		model(fx_bare_opts(), IMAGE, seed + i);
}

Test(alloc, random_small_nodes)
{
	struct tfs_format_opts o = fx_bare_opts();

	o.node_size = 4096;
	model(o, IMAGE, test_seed(2));
}

Test(alloc, random_small_blocks)
{
	struct tfs_format_opts o = fx_bare_opts();

	o.block_size = 1024;
	o.blocks_per_group = 2048;
	model(o, IMAGE, test_seed(3));
}

Test(alloc, random_large_blocks)
{
	struct tfs_format_opts o = fx_bare_opts();

	o.block_size = 65536;
	o.blocks_per_group = 0;
	model(o, 64ull << 20, test_seed(4));
}

static struct range used_run(struct tfs_fs *fs, uint64_t n)
{
	struct range r;

	cr_assert_eq(space_reserve(fs, n, SPACE_NEW), 0);
	cr_assert_eq(alloc_data(fs, 0, n, &r.start, &r.n), 0);
	cr_assert_eq(r.n, n);
	cr_assert_eq(fx_in_write(fs, do_commit, &r), 0);
	return r;
}

Test(alloc, double_free_is_found)
{
	struct tfs_format_opts o = fx_bare_opts();
	struct tfs_fs *fs = fx_fs_create(IMAGE, &o);
	struct bdev *b = fs->bdev;
	struct range r = used_run(fs, 10), part = { r.start + 3, 2 };

	log_set_hook(NULL);
	cr_assert_eq(fx_in_write(fs, do_free, &part), 0);
	cr_assert_eq(fx_in_write(fs, do_free, &r), -EUCLEAN, "two of them are free already");
	cr_assert(atomic_load(&fs->read_only));
	tfs_close_nosave(fs);
	bdev_close(b);
}

Test(alloc, free_of_what_was_never_allocated)
{
	struct tfs_format_opts o = fx_bare_opts();
	static const struct range bad[] = {
		{ 0, 1 },    { 16, 1 },	   { 17, 1 },  { 300, 1 },    { 1500, 4 }, { 2047, 1 },
		{ 2048, 1 }, { ~0ull, 1 }, { 255, 2 }, { 100, 1000 }, { 1500, 0 }, { 1500, ~0ull }
	};
	struct tfs_fs *fs;
	struct bdev *b;
	struct range r;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		fs = fx_fs_create(IMAGE, &o);
		b = fs->bdev;
		r = bad[i];
		cr_assert_eq(fx_in_write(fs, do_free, &r), -EUCLEAN, "row %u", i);
		tfs_close_nosave(fs);
		bdev_close(b);
	}
}

Test(alloc, freed_blocks_wait_for_the_commit)
{
	struct tfs_format_opts o = fx_bare_opts();
	struct tfs_fs *fs = fx_fs_create(IMAGE, &o);
	struct range r = used_run(fs, 50);
	uint64_t start, got, i;

	cr_assert_eq(journal_commit_all(fs), 0);
	cr_assert_eq(fx_in_write(fs, do_free, &r), 0);
	for (i = 0; i < 60; i++) {
		cr_assert_eq(space_reserve(fs, 10, SPACE_NEW), 0);
		cr_assert_eq(alloc_data(fs, r.start, 10, &start, &got), 0);
		cr_assert(start + got <= r.start || start >= r.start + r.n,
			  "a block that is not durably free");
		alloc_cancel(fs, start, got, false);
		space_unreserve(fs, 10 - got);
	}
	cr_assert_eq(journal_commit_all(fs), 0);
	cr_assert_eq(space_reserve(fs, 10, SPACE_NEW), 0);
	cr_assert_eq(alloc_data(fs, r.start, 10, &start, &got), 0);
	cr_assert_eq(start, r.start);
	cr_assert_eq(got, 10);
	alloc_cancel(fs, start, got, true);
	space_unreserve(fs, 10);
	fx_fs_destroy(fs);
}

Test(alloc, sequential_data_is_contiguous)
{
	struct tfs_format_opts o = fx_bare_opts();
	uint64_t goal = 0, start, got, runs = 0, i;
	struct tfs_fs *fs;

	o.blocks_per_group = 0;
	fs = fx_fs_create(64ull << 20, &o);
	for (i = 0; i < 100; i++) {
		cr_assert_eq(space_reserve(fs, 64, SPACE_NEW), 0);
		cr_assert_eq(alloc_data(fs, goal, 64, &start, &got), 0);
		cr_assert_eq(got, 64);
		runs += start != goal;
		goal = start + got;
	}
	cr_assert_eq(runs, 1);
	fx_fs_destroy(fs);
}

Test(alloc, nodes_keep_together)
{
	struct tfs_format_opts o = fx_bare_opts();
	uint64_t first = 0, last = 0, i;
	struct range r;
	struct tfs_fs *fs;

	o.blocks_per_group = 0;
	fs = fx_fs_create(512ull << 20, &o);
	for (i = 0; i < 64; i++) {
		used_run(fs, 16);
		r = (struct range){ 0 };
		cr_assert_eq(fx_in_write(fs, do_node, &r), 0);
		if (!i)
			first = r.start;
		last = r.start;
	}
	cr_assert_eq(last, first + 63 * fs->geom.node_blocks, "no data between them");
	fx_fs_destroy(fs);
}

/* More groups than claim maps are kept: those with claims stay, the others come back as they
 * were. */
Test(alloc, maps_come_and_go)
{
	struct tfs_format_opts o = {
		.test_seed = 7, .block_size = 1024, .node_size = 4096, .blocks_per_group = 512
	};
	enum { GROUPS = 4300 };
	static struct range kept[GROUPS];
	struct tfs_space_stats before, after;
	uint64_t start, got, group, pass;
	struct tfs_fs *fs;

	fs = fx_fs_create((uint64_t)GROUPS * 512 * 1024, &o);
	cr_assert_eq(fs->geom.nr_groups, GROUPS);
	space_get_stats(fs, &before);
	for (pass = 0; pass < 2; pass++) {
		for (group = 2; group < GROUPS - 1; group++) { /* the journal is in 0 or 1 */
			cr_assert_eq(space_reserve(fs, 1, SPACE_NEW), 0);
			cr_assert_eq(alloc_data(fs, group * 512 + 300, 1, &start, &got), 0);
			cr_assert_eq(start, group * 512 + 300 + (pass && group % 10 == 0));
			if (!pass && group % 10 == 0)
				kept[group] = (struct range){ start, got };
			else
				alloc_cancel(fs, start, got, false);
		}
	}
	for (group = 0; group < GROUPS; group++)
		if (kept[group].n)
			alloc_cancel(fs, kept[group].start, kept[group].n, false);
	space_get_stats(fs, &after);
	cr_assert_eq(after.free_blocks, before.free_blocks);
	cr_assert_eq(after.claimed, 0);
	fx_fs_destroy(fs);
}

static int commit_claim(struct tfs_trans *t, void *arg)
{
	struct range *r = arg;
	int err = alloc_prefault(t, r->start, r->n);

	return err ? err : alloc_commit(t, r->start, r->n);
}

/* A claim far ahead of what is in use: the headers on the way there are more than one transaction
 * has room for. */
Test(alloc, claims_far_ahead)
{
	struct tfs_format_opts o = {
		.test_seed = 7, .block_size = 1024, .node_size = 4096, .blocks_per_group = 512
	};
	struct range r;
	struct tfs_fs *fs = fx_fs_create(2000ull * 512 * 1024, &o);

	cr_assert_eq(space_reserve(fs, 1, SPACE_NEW), 0);
	cr_assert_eq(alloc_data(fs, 1900 * 512 + 300, 1, &r.start, &r.n), 0);
	cr_assert_eq(fx_in_write(fs, commit_claim, &r), 0);
	cr_assert_eq(journal_commit_all(fs), 0);
	fs = fx_fs_reopen(fs);
	cr_assert_eq(fs->cnt.groups_init, 1901);
	fx_fs_destroy(fs);
}

/* There is no memory for the headers on the way to a claim: it is none, and its blocks are reserved
 * as before. */
Test(alloc, a_claim_that_fails_keeps_its_reservation)
{
	struct tfs_format_opts o = {
		.test_seed = 7, .block_size = 1024, .node_size = 4096, .blocks_per_group = 512
	};
	uint64_t n, start, got;
	unsigned int failed = 0;
	struct tfs_space_stats st;
	struct tfs_fs *fs;
	struct bdev *b;
	int err;

	log_set_hook(NULL);
	for (n = 1; n < 20; n++) {
		fs = fx_fs_create(2000ull * 512 * 1024, &o);
		b = fs->bdev;
		cr_assert_eq(space_reserve(fs, 3, SPACE_NEW), 0);
		tl_alloc_fail_nth(n);
		err = alloc_data(fs, 1900 * 512 + 300, 3, &start, &got);
		tl_alloc_fail_nth(0);
		if (err && !atomic_load(&fs->shutdown)) {
			cr_assert_eq(err, -ENOMEM);
			space_get_stats(fs, &st);
			cr_assert_eq(st.reserved, 3);
			cr_assert_eq(st.claimed, 0);
			failed++;
		}
		tfs_close_nosave(fs);
		bdev_close(b);
	}
	cr_assert_gt(failed, 0);
}

Test(alloc, no_memory)
{
	struct tfs_format_opts o = fx_bare_opts();
	uint64_t n, start, got;
	struct tfs_space_stats st;
	struct tfs_fs *fs;
	int err;

	for (n = 1; n < 12; n++) {
		fs = fx_fs_create(IMAGE, &o);
		cr_assert_eq(space_reserve(fs, 4, SPACE_NEW), 0);
		tl_alloc_fail_nth(n);
		err = alloc_data(fs, 0, 4, &start, &got);
		tl_alloc_fail_nth(0);
		cr_assert(!err || err == -ENOMEM, "another group may do");
		if (!err)
			alloc_cancel(fs, start, got, true);
		space_unreserve(fs, 4);
		cr_assert_eq(alloc_data(fs, 0, 4, &start, &got), 0, "it goes on afterwards");
		alloc_cancel(fs, start, got, false);
		space_get_stats(fs, &st);
		cr_assert_eq(st.claimed + st.reserved, 0);
		fx_fs_destroy(fs);
	}
}

/* A group whose bitmap does not verify is left alone; the others serve. */
Test(alloc, damaged_bitmap_is_passed_over)
{
	struct tfs_format_opts o = fx_bare_opts();
	struct tfs_fs *fs = fx_fs_create(IMAGE, &o);
	uint64_t group, start, got, i;
	struct bdev *b = fs->bdev;
	struct range r = used_run(fs, 4);

	group = tfs_group_of(&fs->geom, r.start);
	cr_assert_eq(tfs_close(fs), 0);
	fs = fx_fs_open(b);
	fs->opts.errors = TFS_ERRORS_CONTINUE; /* else nothing at all is written any more */
	((uint8_t *)bdev_mem_data(b))[tfs_group_bitmap_block(&fs->geom, group) * 4096 + 9] ^= 4;
	for (i = 0; i < 50; i++) {
		cr_assert_eq(space_reserve(fs, 4, SPACE_NEW), 0);
		cr_assert_eq(alloc_data(fs, r.start, 4, &start, &got), 0);
		cr_assert_neq(tfs_group_of(&fs->geom, start), group);
		space_unreserve(fs, 4 - got);
	}
	tfs_close_nosave(fs);
	bdev_close(b);
}
