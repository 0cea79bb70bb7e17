// SPDX-License-Identifier: GPL-2.0-or-later
/* Names against back-references; directories hang together; orphans and intents belong to somebody. */
#include <errno.h>
#include <stdio.h>
#include "fsck/check_priv.h"

/*
 * The sums differ: look at every name and every back-reference again, one by
 * one, to say which.  Slow, but only where something is wrong.
 */
static void find_mismatches(struct check *c)
{
	struct tkey k = TKEY(1, 0, 0);
	struct btree_path p = BTREE_PATH_INIT;
	struct tfs_trans t;
	unsigned int shown = 0;

	while (shown < 50 && !c->err) {
		struct btree_item it;
		char text[300] = "";
		int err;

		do {
			trans_read_begin(&t, c->fs);
			err = btree_seek(&t, TFS_TREE_FS, &k, BTREE_GE, &p);
			if (!err) {
				btree_item(&p, &it);
				k = it.key;
				if (k.type == TFS_KEY_DIRENT && it.len > sizeof(struct tfs_dirent_item)) {
					const struct tfs_dirent_item *de = it.data;
					struct tkey lk = TKEY(le64_get(de->ino), TFS_KEY_LINK, k.off);
					struct btree_path lp = BTREE_PATH_INIT;
					struct tfs_inode_item ii;

					err = inode_item_read(&t, lk.ino, &ii);
					if (err == -ENOENT)
						snprintf(text, sizeof(text),
							 "directory %llu names inode %llu, which does not exist",
							 (unsigned long long)k.ino, (unsigned long long)lk.ino);
					else if (!err && (le32_get(ii.mode) >> 12 & 15) != de->type)
						snprintf(text, sizeof(text),
							 "directory %llu names inode %llu with another file type",
							 (unsigned long long)k.ino, (unsigned long long)lk.ino);
					else if (!err &&
						 (err = btree_seek(&t, TFS_TREE_FS, &lk, BTREE_EQ, &lp)) == -ENOENT)
						snprintf(text, sizeof(text),
							 "inode %llu lacks the back-reference to its name in directory "
							 "%llu",
							 (unsigned long long)lk.ino, (unsigned long long)k.ino);
					btree_release(&lp);
					if (err == -ENOENT)
						err = 0;
				} else if (k.type == TFS_KEY_LINK && it.len >= sizeof(le64)) {
					struct tkey dk = TKEY(le64_get(*(const le64 *)it.data), TFS_KEY_DIRENT, k.off);
					struct btree_path dp = BTREE_PATH_INIT;

					err = btree_seek(&t, TFS_TREE_FS, &dk, BTREE_EQ, &dp);
					if (err == -ENOENT) {
						snprintf(text, sizeof(text),
							 "inode %llu says directory %llu names it, which it does not",
							 (unsigned long long)k.ino, (unsigned long long)dk.ino);
						err = 0;
					}
					btree_release(&dp);
				}
			}
			btree_release(&p);
		} while (trans_again(&t, &err));
		if (err)
			break;
		if (text[0]) {
			check_report(c, CHECK_ERROR, "names-differ", k.ino, UINT64_MAX, "%s", text);
			shown++;
		}
		k.off++;
		if (!k.off)
			k.type++;
	}
	if (!shown)
		check_report(c, CHECK_ERROR, "names-differ", 0, UINT64_MAX,
			     "%llu names, %llu back-references, and they do not match", (unsigned long long)c->names,
			     (unsigned long long)c->links);
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

/* Climb from every directory to one known to hang on the root; more steps than directories means a loop. */
static void check_connected(struct check *c)
{
	struct check_dir *dirs = c->dirs.v;

	if (!find_dir(c, TFS_INO_ROOT)) {
		check_report(c, CHECK_ERROR, "root-inode", TFS_INO_ROOT, UINT64_MAX, "there is no root directory");
		return;
	}
	for (size_t i = 0; i < c->dirs.nr; i++) {
		struct check_dir *d = &dirs[i], *up;
		size_t steps = 0;

		for (up = d; up && !up->connected && steps <= c->dirs.nr; steps++)
			up = find_dir(c, up->parent);
		if (!up || !up->connected) {
			check_report(c, CHECK_ERROR, "dir-unconnected", d->ino, UINT64_MAX,
				     "directory %llu does not hang on the root", (unsigned long long)d->ino);
			continue;
		}
		for (up = d; !up->connected; up = find_dir(c, up->parent))
			up->connected = true;
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
	struct tfs_trans t;
	int err;

	for (size_t i = 0; i < c->unlinked.nr; i++)
		if (!has(&c->orphans, u[i]))
			check_report(c, CHECK_ERROR, "orphan-missing", u[i], UINT64_MAX,
				     "inode %llu has no name and is not on the orphan list", (unsigned long long)u[i]);
	for (size_t i = 0; i < c->orphans.nr; i++)
		if (!has(&c->unlinked, o[i]))
			check_report(c, CHECK_ERROR, "orphan-linked", o[i], UINT64_MAX,
				     "inode %llu is on the orphan list but %s", (unsigned long long)o[i],
				     "does not exist without a name");
	for (size_t i = 0; i < c->intents.nr; i++) {
		do {
			trans_read_begin(&t, c->fs);
			err = inode_item_read(&t, n[i], &item);
		} while (trans_again(&t, &err));
		if (err)
			check_report(c, CHECK_ERROR, "intent-stale", n[i], UINT64_MAX,
				     "an intent names inode %llu, which does not exist", (unsigned long long)n[i]);
	}
}

void check_links(struct check *c)
{
	if (c->tree_incomplete) {
		check_report(c, CHECK_NOTE, "links-skipped", 0, UINT64_MAX,
			     "names and link counts were not compared: part of the tree is unreadable");
		return;
	}
	if (c->names != c->links || c->name_sum[0] != c->link_sum[0] || c->name_sum[1] != c->link_sum[1])
		find_mismatches(c);
	check_connected(c);
	check_orphans(c);
}
