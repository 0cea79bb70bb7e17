/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A node of the tree: what btree_check_node() lets pass must not make lookups, insertions and
 * deletions fall; a leaf that it lets pass is a tree, and then a model says what they answer.
 * Input: flags; what the node's header says; number of operations; the operations; the node's bytes
 * (NODE_COOKED: its keys and lengths, put in order).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "core/lib/util.h"
#include "fs/btree/btree.h"
#include "fs/btree/btree_delete.h"
#include "fs/btree/btree_insert.h"
#include "fs/state/fs.h"
#include "fs/vfs/fs_open.h"
#include "tests/fuzz/base.h"
#include "tests/fuzz/fuzz.h"
#include "tests/lib/undodev.h"

enum {
	NODE_SMALL = 1 << 0, /* 1 KiB blocks */
	NODE_COOKED = 1 << 1,
	NODE_INNER = 1 << 2,
};

#define OPS_MAX 24
#define ITEMS_MAX 1024

static struct tkey model[ITEMS_MAX];
static uint32_t model_len[ITEMS_MAX];
static unsigned int nr_model;

static struct tkey small_key(struct fuzz_in *in)
{
	uint64_t ino = fuzz_get(in, 1);
	uint8_t type = (uint8_t)fuzz_get(in, 1);

	/* few of them, and the ends */
	return TKEY(ino == 255 ? UINT64_MAX : ino, type,
		    type & 1 ? fuzz_get(in, 1) : UINT64_MAX - fuzz_get(in, 1));
}

/* ---- the model ---- */

static unsigned int model_at(const struct tkey *k)
{
	unsigned int i = 0;

	while (i < nr_model && tkey_cmp(&model[i], k) < 0)
		i++;
	return i;
}

static bool model_has(unsigned int i, const struct tkey *k)
{
	return i < nr_model && !tkey_cmp(&model[i], k);
}

static void model_set(const struct tkey *k, uint32_t len)
{
	unsigned int i = model_at(k);

	if (!model_has(i, k)) {
		if (nr_model == ITEMS_MAX)
			fuzz_die("the model is full");
		memmove(&model[i + 1], &model[i], (nr_model - i) * sizeof(model[0]));
		memmove(&model_len[i + 1], &model_len[i], (nr_model - i) * sizeof(model_len[0]));
		model[i] = *k;
		nr_model++;
	}
	model_len[i] = len;
}

static void model_delete(unsigned int i, unsigned int n)
{
	nr_model -= n;
	memmove(&model[i], &model[i + n], (nr_model - i) * sizeof(model[0]));
	memmove(&model_len[i], &model_len[i + n], (nr_model - i) * sizeof(model_len[0]));
}

/* ---- the node ---- */

static void cook(struct tfs_node *n, uint32_t size, struct fuzz_in *in)
{
	struct tfs_item *item = (struct tfs_item *)(n + 1);
	uint32_t start = size, nr = 0;

	nr_model = 0;
	while (in->left && nr_model < 200) {
		struct tkey k = small_key(in);
		uint32_t len = (uint32_t)fuzz_get(in, 1) * 4 % (TFS_MAX_ITEM(size) + 1);

		model_set(&k, len);
	}
	for (; nr < nr_model; nr++) {
		if (64 + (nr + 1) * sizeof(*item) + model_len[nr] > start)
			break;
		start -= model_len[nr];
		item[nr] = (struct tfs_item){ .key = tkey_put(&model[nr]),
					      .off = le32_of(start),
					      .len = le32_of(model_len[nr]) };
	}
	n->level = le16_of(0);
	n->nritems = le16_of((uint16_t)nr);
	n->data_start = le32_of(start);
	n->data_holes = le32_of(0);
}

/* True: the check lets it pass. */
static bool make_node(const struct base *b, unsigned int flags, struct fuzz_in *in, uint64_t block)
{
	uint32_t size = b->seal.geom.node_size;
	struct tfs_node *n = seal_at(&b->seal, block);
	const uint8_t *bytes;
	size_t len;
	char why[200];

	memset(n, 0, size);
	n->magic = le32_of(TFS_NODE_MAGIC);
	n->addr = le64_of(block);
	n->level = le16_of(flags & NODE_INNER ? 1 : 0);
	n->nritems = le16_of((uint16_t)fuzz_get(in, 1));
	n->data_start = le32_of(size - (uint32_t)fuzz_get(in, 2));
	n->data_holes = le32_of((uint32_t)fuzz_get(in, 2));
	if (flags & NODE_COOKED) {
		cook(n, size, in);
	} else {
		len = fuzz_take(in, size - sizeof(*n), &bytes);
		memcpy(n + 1, bytes, len);
	}
	return !btree_check_node(&b->seal.geom, block, n, why, sizeof(why));
}

static void learn(const struct tfs_node *n)
{
	const struct tfs_item *item = (const struct tfs_item *)(n + 1);

	nr_model = 0;
	for (unsigned int k = 0; k < le16_get(n->nritems) && !le16_get(n->level); k++) {
		struct tkey key = tkey_get(&item[k].key);

		model_set(&key, le32_get(item[k].len));
	}
}

/* ---- operations ---- */

static int change(struct tfs_trans *t, const struct tkey *k, const void *data, uint32_t len)
{
	int err = btree_prefault(t, TFS_TREE_FS, k);

	if (err)
		return err;
	return data ? btree_set(t, TFS_TREE_FS, k, data, len) : btree_delete(t, TFS_TREE_FS, k);
}

static int change_range(struct tfs_trans *t, const struct tkey *from, const struct tkey *to,
			unsigned int max, unsigned int *done)
{
	bool more;

	return btree_delete_range(t, TFS_TREE_FS, from, to, max, done, &more);
}

static void insert(struct tfs_fs *fs, const struct tkey *k, uint32_t len, bool known)
{
	static const uint8_t data[TFS_MAX_NODE];
	int err = TRANS_WRITE(t, fs, TRANS_CREDITS(fs), change(t, k, data, len));

	fuzz_errno(err, "insert");
	if (err && known)
		fuzz_die("insert of %u bytes: %s", len, strerror(-err));
	if (!err)
		model_set(k, len);
}

static void delete (struct tfs_fs *fs, const struct tkey *k, bool known)
{
	unsigned int i = model_at(k);
	int err = TRANS_WRITE(t, fs, TRANS_CREDITS(fs), change(t, k, NULL, 0));

	fuzz_errno(err, "delete");
	if (known && err != (model_has(i, k) ? 0 : -ENOENT))
		fuzz_die("delete: %s", strerror(-err));
	if (!err && model_has(i, k))
		model_delete(i, 1);
}

static void delete_range(struct tfs_fs *fs, const struct tkey *a, const struct tkey *b,
			 unsigned int max, bool known)
{
	unsigned int done = 0, i = model_at(a), end = model_at(b), want;
	int err = TRANS_WRITE(t, fs, TRANS_CREDITS(fs), change_range(t, a, b, max, &done));

	fuzz_errno(err, "delete_range");
	if (!known || tkey_cmp(a, b) > 0)
		return;
	want = min_t(unsigned int, end - i, max);
	if (err || done != want)
		fuzz_die("%u deleted of %u: %s", done, want, strerror(-err));
	model_delete(i, done);
}

/* Backwards or forwards through all of it. */
static int scan(struct tfs_trans *t, bool back, bool known)
{
	struct tkey k = back ? TKEY(UINT64_MAX, UINT8_MAX, UINT64_MAX) : TKEY(0, 0, 0);
	struct btree_path p = BTREE_PATH_INIT;
	unsigned int seen = 0, i;
	int err = btree_seek(t, TFS_TREE_FS, &k, back ? BTREE_LE : BTREE_GE, &p);

	for (; !err; err = back ? btree_prev(t, &p) : btree_next(t, &p), seen++) {
		struct btree_item it;

		btree_item(&p, &it);
		if (seen && (back ? tkey_cmp(&it.key, &k) >= 0 : tkey_cmp(&it.key, &k) <= 0))
			fuzz_die("a scan that does not go on");
		k = it.key;
		i = back ? nr_model - 1 - seen : seen;
		if (known &&
		    (seen >= nr_model || tkey_cmp(&model[i], &k) || model_len[i] != it.len))
			fuzz_die("item %u is another one than it should be", i);
	}
	if (known && err == -ENOENT && seen != nr_model)
		fuzz_die("%u items of %u", seen, nr_model);
	btree_release(&p);
	return err;
}

static void scan_all(struct tfs_fs *fs, bool known)
{
	for (int back = 0; back < 2; back++) {
		int err = TRANS_READ(t, fs, scan(t, back, known));

		fuzz_errno(err, "scan");
		if (known && err != -ENOENT)
			fuzz_die("scan: %s", strerror(-err));
	}
}

static void operate(struct tfs_fs *fs, struct fuzz_in *ops, bool known)
{
	while (ops->left) {
		uint8_t op = (uint8_t)fuzz_get(ops, 1);
		struct tkey a = small_key(ops), b;
		uint32_t len = (uint32_t)fuzz_get(ops, 1);

		switch (op % 4) {
		case 0:
		case 1:
			len = len * 4 % (TFS_MAX_ITEM(fs->geom.node_size) + 1);
			insert(fs, &a, op & 8 ? TFS_MAX_ITEM(fs->geom.node_size) : len, known);
			break;
		case 2:
			if (op & 8 && nr_model)
				a = model[len % nr_model];
			delete (fs, &a, known);
			break;
		default:
			b = small_key(ops);
			delete_range(fs, &a, &b, op & 8 ? 1 + len % 8 : 1000, known);
		}
	}
	scan_all(fs, known);
}

/* Whatever was written is sound again. */
static void look_again(struct base *b, uint64_t block, unsigned int depth)
{
	const struct tfs_node *n = seal_at(&b->seal, block);
	const struct tfs_child *child = (const struct tfs_child *)(n + 1);
	char why[200];

	if (btree_check_node(&b->seal.geom, block, n, why, sizeof(why)))
		fuzz_die("a node that was written: %s", why);
	for (unsigned int k = 0; le16_get(n->level) && depth && k < le16_get(n->nritems); k++)
		look_again(b, le64_get(child[k].addr), depth - 1);
}

static void set_roots(struct base *b, uint64_t block, uint32_t level)
{
	const struct tfs_geom *g = &b->seal.geom;
	const uint64_t all[] = { g->super_block, g->super_copies[0], g->super_copies[1] };

	for (unsigned int k = 0; k < 3; k++) {
		struct tfs_super *s = seal_at(&b->seal, all[k]);

		s->roots[TFS_TREE_FS].addr = le64_of(block);
		s->roots[TFS_TREE_FS].level = le32_of(level);
		seal_super(&b->seal, all[k]);
		undodev_touch(b->dev, all[k] << g->blkbits, 4096);
	}
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	fuzz_init();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tfs_mount_opts o = { .no_threads = true, .errors = TFS_ERRORS_CONTINUE };
	struct fuzz_in in = fuzz_start(data, size), ops = { 0 };
	unsigned int flags = (unsigned int)fuzz_get(&in, 1);
	struct base *b = base_get(flags & NODE_SMALL);
	const struct tfs_geom *g = &b->seal.geom;
	uint64_t block = b->node[0];
	struct tfs_node *n = seal_at(&b->seal, block);
	struct tfs_fs *fs;
	unsigned int slot;
	char why[300];
	bool known;

	ops.left = fuzz_take(&in, fuzz_get(&in, 1) % OPS_MAX * 5, &ops.p);
	undodev_touch(b->dev, block << g->blkbits, g->node_size);
	if (!make_node(b, flags, &in, block))
		return 0;
	known = !le16_get(n->level);
	learn(n);
	seal_blocks(&b->seal, block, g->node_blocks, TFS_APP_NODE);
	seal_tuples(&b->seal, block);
	seal_header(&b->seal, tfs_group_of(g, block));
	undodev_touch(b->dev, tfs_tuple_block_of(g, block, &slot) << g->blkbits, g->block_size);
	undodev_touch(b->dev, tfs_group_header_block(g, tfs_group_of(g, block)) << g->blkbits,
		      4096);
	set_roots(b, block, le16_get(n->level));
	if (tfs_open(b->dev, &o, &fs, why, sizeof(why)))
		fuzz_die("open: %s", why);
	scan_all(fs, known);
	operate(fs, &ops, known);
	if (fuzz_errno(tfs_close(fs), "close") && known)
		fuzz_die("closing failed");
	block = le64_get(((struct tfs_super *)seal_at(&b->seal, g->super_block))->roots[0].addr);
	if (known)
		look_again(b, block, BTREE_MAX_DEPTH);
	return 0;
}
