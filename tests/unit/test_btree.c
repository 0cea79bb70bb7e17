/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fs/btree/btree*.c, fs/disk/btree_key.c: the B+tree on a real (if small) file system, against a
 * sorted array.  Items get keys of a small space so that operations hit, and all lengths.  Now and
 * then the file system is closed and opened, or loses power after a commit, so that what the tree
 * logs of its changes must be all there is.  A failure is made short (exercise_shortest.h).
 */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <errno.h>
#include <string.h>

#include "core/block/bdev.h"
#include "core/lib/util.h"
#include "fs/btree/btree.h"
#include "fs/btree/btree_delete.h"
#include "fs/btree/btree_insert.h"
#include "fs/disk/btree_key.h"
#include "fs/journal/buffer.h"
#include "fs/journal/bufcache.h"
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

#define TREE TFS_TREE_REFS /* the one that is not there yet: nothing else is in it */
#define MAX_ITEMS 20000

struct rec {
	struct tkey key;
	uint32_t len;
	uint8_t fill;
};

struct model {
	struct tfs_fs *fs;
	uint64_t rng;
	struct rec rec[MAX_ITEMS];
	unsigned int n;
	uint8_t data[TFS_MAX_NODE];
	const struct exercise_steps *steps;
	uint64_t op;
};

static unsigned int rnd(struct model *m, unsigned int below)
{
	return (unsigned int)(test_rand(&m->rng) >> 16) % below;
}

static void say(const struct model *m, const char *what, const struct tkey *key, unsigned int len)
{
	exercise_say(m->steps, m->op, "%s %llu/%u/%llu, %u", what, (unsigned long long)key->ino,
		     key->type, (unsigned long long)key->off, len);
}

/* Index of the first record >= @key. */
static unsigned int lower(const struct model *m, const struct tkey *key)
{
	unsigned int lo = 0, hi = m->n, mid;

	while (lo < hi) {
		mid = (lo + hi) / 2;
		if (tkey_cmp(&m->rec[mid].key, key) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static bool has(const struct model *m, unsigned int i, const struct tkey *key)
{
	return i < m->n && !tkey_cmp(&m->rec[i].key, key);
}

static struct tkey some_key(struct model *m)
{
	if (m->n && rnd(m, 2))
		return m->rec[rnd(m, m->n)].key;
	return TKEY(rnd(m, 40), 1 + rnd(m, 4), rnd(m, 16) * (rnd(m, 2) ? 1 : 1ull << 40));
}

static uint32_t some_len(struct model *m)
{
	uint32_t max = TFS_MAX_ITEM(m->fs->geom.node_size);

	switch (rnd(m, 12)) {
	case 0:
		return rnd(m, max + 1);
	case 1:
		return max;
	case 2:
		return 0;
	}
	return rnd(m, 100);
}

/* What an operation is called with: sections may run several times. */
struct call {
	struct model *m;
	struct tkey key, to;
	struct rec rec;
	enum btree_seek how;
	unsigned int max, done;
	bool more;
	int (*change)(struct tfs_trans *t, enum tfs_tree_id tree, const struct tkey *key,
		      const void *data, uint32_t len);
};

static int do_change(struct tfs_trans *t, void *arg)
{
	struct call *o = arg;

	return o->change(t, TREE, &o->rec.key, o->m->data, o->rec.len);
}

static int do_delete(struct tfs_trans *t, void *arg)
{
	struct call *o = arg;
	int err = btree_prefault(t, TREE, &o->key);

	return err ? err : btree_delete(t, TREE, &o->key);
}

static int do_range(struct tfs_trans *t, void *arg)
{
	struct call *o = arg;

	return btree_delete_range(t, TREE, &o->key, &o->to, o->max, &o->done, &o->more);
}

static void same_item(const struct btree_path *p, const struct rec *r)
{
	struct btree_item it;
	uint32_t i;

	btree_item(p, &it);
	FX_IS(tkey_cmp(&it.key, &r->key), 0);
	FX_IS(it.len, r->len);
	for (i = 0; i < it.len; i++)
		FX_IS(((const uint8_t *)it.data)[i], (uint8_t)(r->fill + i));
}

static int do_seek(struct tfs_trans *t, void *arg)
{
	struct call *o = arg;
	struct btree_path p = BTREE_PATH_INIT;
	unsigned int i = lower(o->m, &o->key);
	int err, want = has(o->m, i, &o->key) ? (int)i : -1;

	if (want < 0 && o->how == BTREE_GE && i < o->m->n)
		want = (int)i;
	if (want < 0 && o->how == BTREE_LE)
		want = (int)i - 1;
	err = btree_seek(t, TREE, &o->key, o->how, &p);
	if (!err)
		same_item(&p, &o->m->rec[want]);
	FX_CHECK(err == -TRANS_RESTART || err == (want < 0 ? -ENOENT : 0));
	btree_release(&p);
	return err;
}

static int do_scan(struct tfs_trans *t, void *arg)
{
	struct model *m = arg;
	struct btree_path p = BTREE_PATH_INIT;
	unsigned int i = 0;
	int err;

	for (err = btree_seek(t, TREE, &TKEY(0, 0, 0), BTREE_GE, &p); !err; err = btree_next(t, &p))
		same_item(&p, &m->rec[i++]);
	FX_IS(p.depth, 0);
	if (err == -TRANS_RESTART)
		return err;
	FX_IS(err, -ENOENT);
	FX_IS(i, m->n);
	for (err = btree_seek(t, TREE, &TKEY(UINT64_MAX, 255, UINT64_MAX), BTREE_LE, &p); !err;
	     err = btree_prev(t, &p))
		same_item(&p, &m->rec[--i]);
	if (err == -ENOENT)
		FX_IS(i, 0);
	return err;
}

static void drop(struct model *m, unsigned int i, unsigned int n)
{
	memmove(&m->rec[i], &m->rec[i + n], (m->n - i - n) * sizeof(m->rec[0]));
	m->n -= n;
}

static void change(struct model *m)
{
	struct call o = { .m = m, .rec = { some_key(m), some_len(m), (uint8_t)rnd(m, 256) } };
	unsigned int i = lower(m, &o.rec.key), kind = rnd(m, 3);
	bool there = has(m, i, &o.rec.key);
	int want = 0;
	uint32_t j;

	for (j = 0; j < o.rec.len; j++)
		m->data[j] = (uint8_t)(o.rec.fill + j);
	o.change = kind == 0 ? btree_insert : kind == 1 ? btree_update : btree_set;
	say(m, kind == 0 ? "insert" : kind == 1 ? "update" : "set", &o.rec.key, o.rec.len);
	if (kind == 0 && there)
		want = -EEXIST;
	if (kind == 1 && !there)
		want = -ENOENT;
	FX_IS(fx_in_write(m->fs, do_change, &o), want);
	if (want)
		return;
	if (!there) {
		memmove(&m->rec[i + 1], &m->rec[i], (m->n - i) * sizeof(m->rec[0]));
		m->n++;
	}
	m->rec[i] = o.rec;
}

static void delete_one(struct model *m)
{
	struct call o = { .m = m, .key = some_key(m) };
	unsigned int i = lower(m, &o.key);
	bool there = has(m, i, &o.key);

	say(m, "delete", &o.key, 0);
	FX_IS(fx_in_write(m->fs, do_delete, &o), there ? 0 : -ENOENT);
	if (there)
		drop(m, i, 1);
}

static void delete_range(struct model *m)
{
	struct call o = { .m = m, .key = some_key(m), .max = rnd(m, 60) };
	unsigned int i = lower(m, &o.key), n;

	o.to = rnd(m, 4) ? TKEY(o.key.ino, o.key.type, o.key.off + rnd(m, 16)) : some_key(m);
	say(m, "delete from", &o.key, o.max);
	say(m, "to", &o.to, o.max);
	n = lower(m, &o.to);
	n = n > i ? n - i : 0;
	FX_IS(fx_in_write(m->fs, do_range, &o), 0);
	FX_IS(o.done, n < o.max ? n : o.max);
	FX_IS(o.more, n > o.max);
	drop(m, i, o.done);
}

/* Everything was asked for before the first change: no read with the lock held. */
static void no_sync_reads(struct tfs_fs *fs)
{
	struct tfs_bufcache_stats st;

	bufcache_get_stats(fs, &st);
	FX_IS(st.sync_reads, 0);
}

static void reopen(struct model *m)
{
	struct bdev *b = m->fs->bdev;

	exercise_say(m->steps, m->op, "reopen");
	no_sync_reads(m->fs);
	if (rnd(m, 2)) {
		m->fs = fx_fs_reopen(m->fs);
	} else {
		FX_IS(journal_commit_all(m->fs), 0);
		tfs_close_nosave(m->fs);
		m->fs = fx_fs_open(b);
	}
	FX_IS(fx_in_read(m->fs, do_scan, m), -ENOENT);
}

static struct tfs_fs *make(uint32_t node_size)
{
	struct tfs_format_opts o = fx_bare_opts();

	o.node_size = node_size;
	o.journal_bytes = 8 << 20;
	o.blocks_per_group = 4096;
	return fx_fs_create(64 << 20, &o);
}

ParameterizedTestParameters(btree, model)
{
	static uint32_t sizes[] = { 4096, 16384, 65536 };

	return cr_make_param_array(uint32_t, sizes, 3);
}

struct run {
	uint32_t node_size;
	uint64_t seed, ops;
};

static void step(struct model *m, unsigned int grow)
{
	unsigned int r = rnd(m, 100);
	struct call o = { .m = m, .key = some_key(m), .how = (enum btree_seek)rnd(m, 3) };

	if (r < grow && m->n < MAX_ITEMS)
		change(m);
	else if (r < 85)
		delete_one(m);
	else if (r < 87)
		delete_range(m);
	else
		fx_in_read(m->fs, do_seek, &o);
	if (!rnd(m, 300))
		reopen(m);
}

static int run_model(void *arg, const struct exercise_steps *steps)
{
	const struct run *r = arg;
	struct model *m = tl_zalloc(sizeof(*m));
	struct exercise_walk w = exercise_walk(steps, r->seed, r->ops);

	m->fs = make(r->node_size);
	m->steps = steps;
	while (exercise_next(&w, &m->op, &m->rng)) /* out of 100: changes */
		step(m, (m->op - 1) / (r->ops / 6 + 1) % 2 ? 30 : 65);
	FX_IS(fx_in_read(m->fs, do_scan, m), -ENOENT);
	exercise_say(steps, m->op, "and then deletions of all there is");
	while (m->n)
		delete_one(m);
	FX_IS(m->fs->roots[TREE].level, 0);
	no_sync_reads(m->fs);
	fx_fs_destroy(m->fs);
	tl_free(m);
	return 0;
}

ParameterizedTest(const uint32_t *node_size, btree, model)
{
	struct run r = { *node_size, test_seed(11), test_ops(15000) };

	FX_OK(exercise_shortest(run_model, &r, r.seed, r.ops, 60, NULL));
}

/* ---- filling and emptying ---- */

static void put(struct tfs_fs *fs, struct model *m, uint64_t i)
{
	struct call o = { .m = m,
			  .change = btree_insert,
			  .rec = { .key = TKEY(i, 1, 0), .len = 40 } };

	cr_assert_eq(fx_in_write(fs, do_change, &o), 0);
}

static void take(struct tfs_fs *fs, uint64_t i)
{
	struct call o = { .key = TKEY(i, 1, 0) };

	cr_assert_eq(fx_in_write(fs, do_delete, &o), 0);
}

/* A permutation of 0 .. n-1 for n a power of two. */
static uint64_t scatter(uint64_t i, uint64_t n)
{
	return (i * 0x9e3779b1 + 12345) & (n - 1);
}

static void fill_and_empty(bool in_order, uint32_t node_size, uint64_t n, uint64_t max_nodes)
{
	struct model *m = tl_zalloc(sizeof(*m));
	struct tfs_fs *fs = make(node_size);
	uint64_t i, nodes, blocks;

	put(fs, m, 0);
	take(fs, 0);
	cr_assert_eq(journal_commit_all(fs), 0);
	nodes = fs->cnt.node_blocks;
	blocks = fs->cnt.free_blocks;
	for (i = 0; i < n; i++)
		put(fs, m, in_order ? i : scatter(i, n));
	cr_assert_geq(fs->roots[TREE].level, 1);
	cr_assert_leq((fs->cnt.node_blocks - nodes) / fs->geom.node_blocks, max_nodes);
	fs = fx_fs_reopen(fs);
	for (i = 0; i < n; i++)
		take(fs, in_order ? i : scatter(i * 7, n));
	cr_assert_eq(fs->roots[TREE].level, 0);
	cr_assert_eq(journal_commit_all(fs), 0);
	cr_assert_eq(fs->cnt.node_blocks, nodes);
	cr_assert_eq(fs->cnt.free_blocks, blocks);
	fx_fs_destroy(fs);
	tl_free(m);
}

/* 56 items of 32 + 40 bytes fit into a 4 KiB leaf, 226 into a 16 KiB one. */
Test(btree, filled_in_order)
{
	fill_and_empty(true, 4096, 16384, 16384 / 56 + 12);
}

Test(btree, filled_at_random)
{
	fill_and_empty(false, 4096, 16384, 16384 * 2 / 56);
}

Test(btree, a_hundred_thousand_in_order)
{
	fill_and_empty(true, 16384, 1 << 17, (1 << 17) / 226 + 12);
}

Test(btree, a_hundred_thousand_at_random)
{
	fill_and_empty(false, 16384, 1 << 17, (1 << 17) * 2 / 226);
}

/* ---- trouble ---- */

static void drop_damaged(struct tfs_fs *fs)
{
	struct bdev *b = fs->bdev;

	tfs_close_nosave(fs);
	bdev_close(b);
}

/* The root's buffer, to be changed.  Nothing vouches for what a test writes there but the
 * journal. */
static int do_break_root(struct tfs_trans *t, void *arg)
{
	int (*how)(struct tfs_child * c, unsigned int n) = *(void **)arg;
	struct tfs_buf *b;
	struct tfs_node *node;
	int err = buf_get(t, t->fs->roots[TREE].addr, BUF_NODE, &b);

	if (!err)
		err = buf_modify(t, b);
	if (err)
		return err;
	node = buf_data(b);
	how((struct tfs_child *)(node + 1), le16_get(node->nritems));
	buf_log(t, b, 0, b->bytes);
	buf_put(b);
	return 0;
}

static int same_child_twice(struct tfs_child *c, unsigned int n)
{
	c[n / 2].addr = c[n / 2 - 1].addr;
	return 0;
}

static int children_swapped(struct tfs_child *c, unsigned int n)
{
	le64 a = c[0].addr;

	c[0].addr = c[n - 1].addr;
	c[n - 1].addr = a;
	return 0;
}

static int bound_too_high(struct tfs_child *c, unsigned int n)
{
	c[n / 2].key.off = le64_of(le64_get(c[n / 2].key.off) + 1);
	return 0;
}

static int do_walk(struct tfs_trans *t, void *arg)
{
	struct btree_path p = BTREE_PATH_INIT;
	unsigned int *seen = arg;
	int err;

	*seen = 0;
	for (err = btree_seek(t, TREE, &TKEY(0, 0, 0), BTREE_GE, &p); !err; err = btree_next(t, &p))
		(*seen)++;
	cr_assert_eq(p.depth, 0);
	return err;
}

/* Nodes that are right in themselves, but not where they are: an error, and an end. */
Test(btree, misplaced_nodes)
{
	int (*const how[])(struct tfs_child *, unsigned int) = { same_child_twice, children_swapped,
								 bound_too_high };
	struct model *m = tl_zalloc(sizeof(*m));
	struct tfs_fs *fs;
	unsigned int i, seen;
	uint64_t n;
	void *fn;

	for (i = 0; i < 3; i++) {
		fs = make(4096);
		for (n = 0; n < 1000; n++)
			put(fs, m, n);
		cr_assert_eq(fs->roots[TREE].level, 1);
		fn = (void *)how[i];
		cr_assert_eq(fx_in_write(fs, do_break_root, &fn), 0);
		cr_assert_eq(fx_in_read(fs, do_walk, &seen), -EUCLEAN);
		cr_assert_lt(seen, 1000);
		drop_damaged(fs);
	}
	tl_free(m);
}

/*
 * Each allocation of a splitting insert, and of a delete that frees and merges, fails
 * once: an error, nothing leaked, and what is committed stays whole.
 */
Test(btree, no_memory)
{
	struct model *m = tl_zalloc(sizeof(*m));
	struct call ins = { .m = m,
			    .change = btree_insert,
			    .rec = { .key = TKEY(500, 1, 1), .len = 976 } };
	struct call del = { .key = TKEY(0, 0, 0), .to = TKEY(990, 0, 0), .max = UINT32_MAX };
	unsigned int i, seen, failed = 0;
	struct tfs_fs *fs;
	struct bdev *b;
	uint64_t n;
	int err;

	for (i = 1; i < 40; i++) {
		fs = make(4096);
		b = fs->bdev;
		for (n = 0; n < 1000; n++)
			put(fs, m, n);
		cr_assert_eq(journal_commit_all(fs), 0);
		tl_alloc_fail_nth(i);
		if (i % 2)
			err = fx_in_write(fs, do_change, &ins);
		else
			err = fx_in_write(fs, do_range, &del);
		tl_alloc_fail_nth(0);
		cr_assert(!err || err == -ENOMEM, "%d", err);
		failed += err != 0;
		tfs_close_nosave(fs);
		fs = fx_fs_open(b);
		cr_assert_eq(fx_in_read(fs, do_walk, &seen), -ENOENT);
		cr_assert_eq(seen, 1000);
		fx_fs_destroy(fs);
	}
	cr_assert_gt(failed, 3);
	tl_free(m);
}

/* ---- small things ---- */

static int do_absent(struct tfs_trans *t, void *arg)
{
	struct btree_path p = BTREE_PATH_INIT;
	struct tkey key = TKEY(1, 2, 3);
	char c;

	cr_assert_eq(btree_seek(t, TREE, &key, BTREE_GE, &p), -ENOENT);
	cr_assert_eq(btree_next(t, &p), -ENOENT);
	cr_assert_eq(btree_prev(t, &p), -ENOENT);
	return btree_lookup(t, TREE, &key, &c, 1);
}

static int do_limits(struct tfs_trans *t, void *arg)
{
	static uint8_t data[TFS_MAX_NODE];
	struct tkey key = TKEY(1, 2, 3);
	int err = btree_prefault(t, TREE, &key);

	if (err)
		return err;
	cr_assert_eq(btree_insert(t, TREE, &key, data, TFS_MAX_ITEM(t->fs->geom.node_size) + 1),
		     -EFBIG);
	cr_assert_eq(btree_insert(t, TREE, &key, "abcd", 4), 0);
	cr_assert_eq(btree_insert(t, TREE, &key, data, 1), -EEXIST);
	cr_assert_eq(btree_update(t, TREE, &key, data, TFS_MAX_ITEM(t->fs->geom.node_size) + 1),
		     -EFBIG);
	cr_assert_eq(btree_create(t, TREE), -EEXIST);
	cr_assert_eq(btree_lookup(t, TREE, &key, data, 4), 0);
	cr_assert_eq(memcmp(data, "abcd", 4), 0);
	key.snap = 1;
	cr_assert_eq(btree_lookup(t, TREE, &key, data, 4), -ENOENT);
	return 0;
}

static int do_wrong_length(struct tfs_trans *t, void *arg)
{
	char c;

	return btree_lookup(t, TREE, &TKEY(1, 2, 3), &c, 1);
}

Test(btree, no_tree_and_limits)
{
	struct tfs_fs *fs = make(16384);

	cr_assert_eq(fx_in_read(fs, do_absent, NULL), -ENOENT);
	cr_assert_eq(fx_in_write(fs, do_limits, NULL), 0);
	cr_assert_eq(fx_in_read(fs, do_wrong_length, NULL), -EUCLEAN);
	drop_damaged(fs);
}

/* Key order: ino, type, off, snap. */
Test(btree, key_order)
{
	static const struct tkey k[] = {
		{ 1, 9, 9, 1 }, { 1, 0, 0, 2 }, { 1, 0, 1, 2 }, { 1, 1, 0, 2 }, { 2, 0, 0, 1 }
	};
	struct tfs_key d;
	struct tkey back;
	int i, j, cmp;

	for (i = 0; i < 5; i++) {
		for (j = 0; j < 5; j++) {
			cmp = tkey_cmp(&k[i], &k[j]);
			cr_assert_eq((cmp > 0) - (cmp < 0), (i > j) - (i < j), "%d %d", i, j);
		}
		d = tkey_put(&k[i]);
		back = tkey_get(&d);
		cr_assert_eq(tkey_cmp(&back, &k[i]), 0);
	}
}
