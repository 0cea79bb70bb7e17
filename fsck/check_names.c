/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names against back-references; directories hang together; orphans and intents belong to
 * somebody. */
#include <errno.h>
#include <stdio.h>
#include "core/lib/util.h"
#include "fs/btree/btree.h"
#include "fs/disk/btree_key.h"
#include "fs/journal/trans.h"
#include "fs/names/inode_item.h"
#include "fsck/check_priv.h"
#include "tallyfs/format.h"

#define MAX_SHOWN 50u

/* The key behind @k in the order of the tree; false: there is none. */
static bool next_key(struct tkey *k)
{
	return ++k->off || ++k->type || ++k->ino;
}

/* Where a name and its inode contradict: *text.  0 or -errno. */
static int compare_name(struct tfs_trans *t, const struct btree_item *it, char *text, size_t size)
{
	const struct tfs_dirent_item *de = it->data;
	unsigned long long dir = it->key.ino, ino = le64_get(de->ino);
	struct btree_path p = BTREE_PATH_INIT;
	struct tfs_inode_item item;
	int err = inode_item_read(t, ino, &item);

	if (err == -ENOENT) {
		snprintf(text, size, "directory %llu names inode %llu, which does not exist", dir,
			 ino);
		return 0;
	}
	if (err)
		return err;
	if ((le32_get(item.mode) >> 12 & 15) != de->type) {
		snprintf(text, size, "directory %llu names inode %llu with another file type", dir,
			 ino);
		return 0;
	}
	err = btree_seek(t, TFS_TREE_FS, &TKEY(ino, TFS_KEY_LINK, it->key.off), BTREE_EQ, &p);
	btree_release(&p);
	if (err == -ENOENT) {
		snprintf(text, size,
			 "inode %llu lacks the back-reference to its name in directory %llu", ino,
			 dir);
		err = 0;
	}
	return err;
}

/* Which directory of a LINK item lacks the name. */
static int compare_link(struct tfs_trans *t, const struct btree_item *it, char *text, size_t size)
{
	const le64 *dirs = it->data;
	int err = 0;

	for (uint32_t i = 0; i < it->len / sizeof(*dirs) && !err; i++) {
		struct btree_path p = BTREE_PATH_INIT;

		err = btree_seek(t, TFS_TREE_FS,
				 &TKEY(le64_get(dirs[i]), TFS_KEY_DIRENT, it->key.off), BTREE_EQ,
				 &p);
		btree_release(&p);
		if (err == -ENOENT) {
			snprintf(text, size,
				 "inode %llu says directory %llu names it, which it does not",
				 (unsigned long long)it->key.ino,
				 (unsigned long long)le64_get(dirs[i]));
			return 0;
		}
	}
	return err;
}

/* Look at the first item at or behind *k, and say which that was. */
static int compare_next(struct tfs_trans *t, struct tkey *k, char *text, size_t size)
{
	struct btree_path p = BTREE_PATH_INIT;
	struct btree_item it;
	int err = btree_seek(t, TFS_TREE_FS, k, BTREE_GE, &p);

	if (err)
		return err;
	btree_item(&p, &it);
	if (it.key.type == TFS_KEY_DIRENT && it.len > sizeof(struct tfs_dirent_item))
		err = compare_name(t, &it, text, size);
	else if (it.key.type == TFS_KEY_LINK)
		err = compare_link(t, &it, text, size);
	*k = it.key;
	btree_release(&p);
	return err;
}

/*
 * The sums differ: look at every name and every back-reference again, one by
 * one, to say which.  Slow, but only where something is wrong.
 */
static void find_mismatches(struct check *c)
{
	struct tkey k = TKEY(1, 0, 0), at;
	unsigned int shown = 0;
	uint64_t n = 0;
	int err = 0;

	do {
		char text[300];
		struct tfs_trans t = { 0 };

		if (!check_step(c, "names", n, max_t(uint64_t, n, c->names + c->links)))
			return;
		n++;
		do {
			at = k;
			text[0] = 0;
			trans_read_begin(&t, c->fs);
			err = compare_next(&t, &at, text, sizeof(text));
		} while (trans_again(&t, &err));
		if (!err && text[0]) {
			check_report(c, CHECK_ERROR, "names-differ", at.ino, UINT64_MAX, "%s",
				     text);
			shown++;
		}
		assert(err || tkey_cmp(&at, &k) >= 0);
		k = at;
	} while (!err && shown < MAX_SHOWN && next_key(&k));
	if (!shown)
		check_report(c, CHECK_ERROR, "names-differ", 0, UINT64_MAX,
			     "%llu names, %llu back-references, and they do not match",
			     (unsigned long long)c->names, (unsigned long long)c->links);
}

static struct check_dir *find_dir(struct check *c, uint64_t ino)
{
	struct check_dir *d = c->dirs.v;
	size_t lo = 0, hi = c->dirs.nr;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (d[mid].ino == ino)
			return &d[mid];
		if (d[mid].ino < ino)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

/*
 * Where does directory @d hang?  Up its parents to one of which it is known, to none, or to one
 * this climb has seen already: a loop.  All on the way hang there too, so each is passed twice,
 * however long the chains are.
 */
static void climb(struct check *c, struct check_dir *d, size_t number)
{
	enum check_hangs where = HANGS_NOWHERE;
	struct check_dir *up;

	for (up = d; up && up->hangs == HANGS_UNKNOWN && up->climb != number;
	     up = find_dir(c, up->parent))
		up->climb = number;
	if (up && up->hangs != HANGS_UNKNOWN)
		where = up->hangs;
	for (up = d; up && up->hangs == HANGS_UNKNOWN; up = find_dir(c, up->parent))
		up->hangs = where;
}

static void check_connected(struct check *c)
{
	struct check_dir *dirs = c->dirs.v;

	if (!find_dir(c, TFS_INO_ROOT)) {
		check_report(c, CHECK_ERROR, "root-inode", TFS_INO_ROOT, UINT64_MAX,
			     "there is no root directory");
		return;
	}
	for (size_t i = 0; i < c->dirs.nr && check_step(c, "directories", i, c->dirs.nr); i++) {
		climb(c, &dirs[i], i + 1);
		if (dirs[i].hangs == HANGS_NOWHERE)
			check_report(c, CHECK_ERROR, "dir-unconnected", dirs[i].ino, UINT64_MAX,
				     "directory %llu does not hang on the root",
				     (unsigned long long)dirs[i].ino);
	}
}

static bool has(const struct check_vec *v, uint64_t ino)
{
	const uint64_t *a = v->v;
	size_t lo = 0, hi = v->nr;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (a[mid] == ino)
			return true;
		if (a[mid] < ino)
			lo = mid + 1;
		else
			hi = mid;
	}
	return false;
}

/* Both arrays come in inode order, as the tree is. */
static void check_orphans(struct check *c)
{
	const uint64_t *u = c->unlinked.v, *o = c->orphans.v, *n = c->intents.v;
	struct tfs_inode_item item;
	int err;

	for (size_t i = 0; i < c->unlinked.nr && check_step(c, "orphans", i, c->unlinked.nr); i++)
		if (!has(&c->orphans, u[i]))
			check_report(c, CHECK_ERROR, "orphan-missing", u[i], UINT64_MAX,
				     "inode %llu has no name and is not on the orphan list",
				     (unsigned long long)u[i]);
	for (size_t i = 0; i < c->orphans.nr && check_step(c, "orphans", i, c->orphans.nr); i++)
		if (!has(&c->unlinked, o[i]))
			check_report(c, CHECK_ERROR, "orphan-linked", o[i], UINT64_MAX,
				     "inode %llu is on the orphan list but %s",
				     (unsigned long long)o[i], "does not exist without a name");
	for (size_t i = 0; i < c->intents.nr && check_step(c, "orphans", i, c->intents.nr); i++) {
		err = TRANS_READ(t, c->fs, inode_item_read(t, n[i], &item));
		if (err)
			check_report(c, CHECK_ERROR, "intent-stale", n[i], UINT64_MAX,
				     "an intent names inode %llu, which does not exist",
				     (unsigned long long)n[i]);
	}
}

void check_links(struct check *c)
{
	if (c->tree_incomplete) {
		check_report(
			c, CHECK_NOTE, "links-skipped", 0, UINT64_MAX,
			"names and link counts were not compared: part of the tree is unreadable");
		return;
	}
	if (c->names != c->links || c->name_sum[0] != c->link_sum[0] ||
	    c->name_sum[1] != c->link_sum[1])
		find_mismatches(c);
	if (!c->err)
		check_connected(c);
	if (!c->err)
		check_orphans(c);
}
