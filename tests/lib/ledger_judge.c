/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core/iomap/iomap.h"
#include "core/lib/util.h"
#include "core/pagecache/pagecache.h"
#include "fs/inode/inode.h"
#include "tallyfs/format.h"
#include "tests/lib/fixture.h"
#include "tests/lib/ledger.h"

#define CHUNK 1024u

/* Judging one file: what may be there, what is, and whether all of it could be read. */
struct look {
	struct ledger *l;
	int k;
	const struct ledger_version *may; /* the last of those that may be there */
	bool many;			  /* the older ones, too */
	struct ledger_version *found;
	bool whole;
};

#define any_version(lk, v, cond)                                             \
	({                                                                   \
		bool any_ = false;                                           \
		for (const struct ledger_version *v = (lk)->may; v && !any_; \
		     v = (lk)->many ? v->older : NULL)                       \
			any_ = (cond);                                       \
		any_;                                                        \
	})

static void failed(struct look *lk, const char *what, int64_t err)
{
	ledger_error(lk->l, what, err);
	lk->whole = false;
}

/* ---- one file ---- */

/* A byte may be of another version than the next one. */
static bool bytes_ok(const struct look *lk, uint64_t pos, uint64_t len, const uint8_t *got)
{
	for (uint64_t i = 0; i < len; i++)
		if (!any_version(lk, v, v->data[pos + i] == got[i]))
			return false;
	return true;
}

static void look_content(struct look *lk, struct vfs_file *f, uint64_t size)
{
	static uint8_t buf[CHUNK] __attribute__((aligned(4096)));
	uint64_t pos, len;
	int64_t n;

	for (pos = 0; pos < size; pos += len) {
		len = min_t(uint64_t, CHUNK, size - pos);
		n = vfs_pread(lk->l->fs, f, buf, len, pos);
		if (n < 0)
			failed(lk, "read", n);
		else if (n != (int64_t)len)
			ledger_wrong(lk->l, "a short read", lk->k, pos);
		else if (!bytes_ok(lk, pos, len, buf))
			ledger_wrong(lk->l, "other bytes", lk->k, pos);
		else
			memcpy(lk->found->data + pos, buf, len);
	}
}

/*
 * Between two versions lie sizes that a write has had on its way, at the end of a block; and, where
 * an operation failed, those of one that was applied to another version than we think.
 */
static bool size_ok(const struct look *lk, uint64_t size)
{
	return any_version(lk, v, v->size == size) ||
	       (any_version(lk, v, v->size > size) && any_version(lk, v, v->size < size) &&
		(lk->l->file[lk->k].unsure || !(size % CHUNK)));
}

static void look_attr(struct look *lk, const struct vfs_attr *a)
{
	bool unsure = lk->l->file[lk->k].unsure;

	if (!any_version(lk, v, v->mode == (a->mode & 07777)) || !S_ISREG(a->mode))
		ledger_wrong(lk->l, "has another mode", lk->k, a->mode);
	if (!any_version(lk, v, v->uid == a->uid))
		ledger_wrong(lk->l, "has another owner", lk->k, a->uid);
	if (!unsure && !any_version(lk, v,
				    !v->mtime.tv_sec || (v->mtime.tv_sec == a->mtime.tv_sec &&
							 v->mtime.tv_nsec == a->mtime.tv_nsec)))
		ledger_wrong(lk->l, "has another mtime", lk->k, (uint64_t)a->mtime.tv_sec);
	if (!unsure && !any_version(lk, v, a->nlink == 1u + v->at.linked))
		ledger_wrong(lk->l, "has another number of links", lk->k, a->nlink);
	lk->found->mode = a->mode & 07777;
	lk->found->uid = a->uid;
	lk->found->mtime = a->mtime;
	lk->found->size = a->size;
}

static bool xattr_ok(const struct ledger_version *v, const uint8_t *value, uint64_t len)
{
	if (v->xattr_len != len)
		return false;
	for (uint64_t i = 0; i < len; i++)
		if (value[i] != fx_byte(v->xattr_tag, i))
			return false;
	return true;
}

static void look_xattr(struct look *lk, uint64_t ino)
{
	uint8_t value[LEDGER_XATTR_MAX];
	int n = vfs_getxattr(lk->l->fs, ino, "user.ledger", value, sizeof(value));
	uint64_t len = n == -ENODATA ? 0 : (uint64_t)n;
	const struct ledger_version *v;

	if (n < 0 && n != -ENODATA) {
		failed(lk, "getxattr", n);
		return;
	}
	for (v = lk->may; v; v = lk->many ? v->older : NULL) {
		if (!xattr_ok(v, value, len))
			continue;
		lk->found->xattr_len = len;
		lk->found->xattr_tag = v->xattr_tag;
		return;
	}
	ledger_wrong(lk->l, "has another extended attribute", lk->k, len);
}

static void look_open(struct look *lk, struct vfs_file *f)
{
	struct vfs_attr a;
	int err = vfs_getattr(lk->l->fs, f->inode->ino, &a);

	if (err) {
		failed(lk, "getattr", err);
		return;
	}
	if (!size_ok(lk, a.size))
		ledger_wrong(lk->l, "has another size", lk->k, a.size);
	else
		look_content(lk, f, a.size);
	look_xattr(lk, f->inode->ino);
}

static void look_ino(struct look *lk, uint64_t ino)
{
	struct vfs_file *f;
	int err = vfs_open(lk->l->fs, ino, O_RDONLY | (lk->l->direct ? O_DIRECT : 0), &f);

	if (err) {
		failed(lk, "open", err);
		return;
	}
	look_open(lk, f);
	vfs_release(lk->l->fs, f);
}

/* Is it there by that name?  Then its inode; holds a reference. */
static uint64_t look_name(struct look *lk, unsigned int dir, bool link, struct vfs_attr *a)
{
	char name[128];
	int err = ledger_lookup(lk->l, dir, ledger_name(name, lk->k, link), a);

	if (err && err != -ENOENT) {
		failed(lk, "lookup", err);
		return 0;
	}
	if (err && !any_version(lk, v, !v->at.exists || (link ? !v->at.linked : v->at.dir != dir)))
		ledger_wrong(lk->l, link ? "link is missing" : "is missing", lk->k, dir);
	if (!err && !any_version(lk, v, v->at.exists && (link ? v->at.linked : v->at.dir == dir)))
		ledger_wrong(lk->l, link ? "link should not be there" : "should not be there",
			     lk->k, dir);
	return err ? 0 : a->ino;
}

static void look_file(struct look *lk)
{
	struct vfs_attr a, link;
	uint64_t ino, second;

	for (unsigned int dir = 0; dir < 2; dir++) {
		ino = look_name(lk, dir, false, &a);
		if (!ino)
			continue;
		if (lk->found->at.exists)
			ledger_wrong(lk->l, "is there twice", lk->k, 0);
		lk->found->at.exists = true;
		lk->found->at.dir = dir;
		look_attr(lk, &a);
		look_ino(lk, ino);
		second = look_name(lk, 0, true, &link);
		if (second && second != ino)
			ledger_wrong(lk->l, "link is another file", lk->k, second);
		lk->found->at.linked = second != 0;
		if (second)
			vfs_forget(lk->l->fs, second, 1);
		vfs_forget(lk->l->fs, ino, 1);
	}
	if (!lk->found->at.exists && lk->whole && !any_version(lk, v, !v->at.exists))
		ledger_wrong(lk->l, "is nowhere", lk->k, 0);
}

static void judge_file(struct ledger *l, int k, bool fresh)
{
	struct ledger_file *f = &l->file[k];
	struct look lk = { .l = l,
			   .k = k,
			   .may = f->now,
			   .many = fresh || f->unsure,
			   .found = calloc(1, sizeof(*lk.found)),
			   .whole = true };
	unsigned int wrong = l->wrong;

	FX_CHECK(lk.found);
	look_file(&lk);
	if (fresh && lk.whole && l->wrong == wrong) {
		ledger_settle(l, k, lk.found);
		return;
	}
	free(lk.found);
	f->unsure |= fresh && f->now->older;
}

/* What nobody can find any more, but one has open. */
static void judge_held(struct ledger *l, int k)
{
	struct ledger_file *f = &l->file[k];
	struct look lk = { .l = l,
			   .k = k,
			   .may = f->held_version,
			   .whole = true,
			   .found = calloc(1, sizeof(*lk.found)) };

	FX_CHECK(lk.found);
	look_open(&lk, f->held);
	free(lk.found);
}

/* ---- listings ---- */

struct listing {
	struct ledger *l;
	unsigned int dir;
	bool file[LEDGER_FILES], link[LEDGER_FILES], fill[LEDGER_FILL];
};

static bool *of_name(struct listing *li, const char *name)
{
	char want[128];
	unsigned int k;

	if (sscanf(name, "new%u", &k) == 1 && k < LEDGER_FILL && !li->dir)
		return &li->fill[k];
	if (sscanf(name + (*name != '\0'), "%u_", &k) != 1 || k >= LEDGER_FILES)
		return NULL;
	if (!strcmp(name, ledger_name(want, (int)k, false)))
		return &li->file[k];
	return !li->dir && !strcmp(name, ledger_name(want, (int)k, true)) ? &li->link[k] : NULL;
}

static bool entry(void *arg, const struct vfs_dirent *de)
{
	struct listing *li = arg;
	char name[TFS_NAME_MAX + 1];
	bool *seen;

	memcpy(name, de->name, de->len);
	name[de->len] = '\0';
	if (!strcmp(name, ".") || !strcmp(name, "..") || !strcmp(name, "tmp") ||
	    (!li->dir && !strcmp(name, "dir")))
		return true;
	seen = of_name(li, name);
	if (!seen)
		ledger_wrong(li->l, "a name that nobody has given", -1, li->dir);
	else if (*seen)
		ledger_wrong(li->l, "is listed twice", -1, li->dir);
	else
		*seen = true;
	return true;
}

/* @seen, and should it be? */
static void judge_listed(struct ledger *l, int k, bool seen, bool may, bool must)
{
	if (seen && !may)
		ledger_wrong(l, "is listed", k, 0);
	if (!seen && must)
		ledger_wrong(l, "is not listed", k, 0);
}

static void judge_listing(struct ledger *l, unsigned int dir, bool fresh)
{
	struct listing li = { .l = l, .dir = dir };
	uint64_t ino;
	int k, err = ledger_dir(l, dir, &ino);

	if (!err) {
		err = vfs_readdir(l->fs, ino, 0, entry, &li);
		vfs_forget(l->fs, ino, 1);
	}
	if (err == -ENOENT)
		ledger_wrong(l, "directory is missing", -1, dir);
	if (err)
		ledger_error(l, "readdir", err);
	for (k = 0; !err && k < LEDGER_FILES; k++) {
		struct look lk = { .k = k,
				   .may = l->file[k].now,
				   .many = fresh || l->file[k].unsure };
		bool in = any_version(&lk, v, v->at.exists && v->at.dir == dir),
		     out = any_version(&lk, v, !v->at.exists || v->at.dir != dir);

		judge_listed(l, k, li.file[k], in, !out);
		if (!dir)
			judge_listed(l, k, li.link[k],
				     any_version(&lk, v, v->at.exists && v->at.linked),
				     !any_version(&lk, v, !v->at.exists || !v->at.linked));
	}
	for (k = 0; !err && !dir && k < LEDGER_FILL; k++)
		judge_listed(l, 1000 + k, li.fill[k], k <= (int)l->fill, l->filled[k]);
}

/* ---- all ---- */

static void judge_fill(struct ledger *l, unsigned int n)
{
	static uint8_t buf[LEDGER_FILL_BYTES];
	struct vfs_file *f;
	struct vfs_attr a;
	char name[32];
	int64_t got;
	int err;

	sprintf(name, "new%u", n);
	err = ledger_lookup(l, 0, name, &a);
	if (!err) {
		err = vfs_open(l->fs, a.ino, O_RDONLY, &f);
		vfs_forget(l->fs, a.ino, 1);
	}
	if (err == -ENOENT)
		ledger_wrong(l, "is missing", 1000 + (int)n, 0);
	if (err) {
		ledger_error(l, "open (filled)", err);
		return;
	}
	got = vfs_pread(l->fs, f, buf, sizeof(buf), 0);
	vfs_release(l->fs, f);
	if (got < 0)
		ledger_error(l, "read (filled)", got);
	for (int64_t i = 0; got >= 0 && i < LEDGER_FILL_BYTES; i++) {
		if (got == LEDGER_FILL_BYTES && buf[i] == fx_byte(1000 + n, (uint64_t)i))
			continue;
		ledger_wrong(l, "other bytes", 1000 + (int)n, (uint64_t)i);
		break;
	}
}

void ledger_judge(struct ledger *l, bool fresh)
{
	unsigned int n;
	int k;

	iomap_ioend_drain(); /* what still holds folios */
	pagecache_shrink(l->fs->pagecache, 0);
	judge_listing(l, 0, fresh);
	judge_listing(l, 1, fresh);
	for (k = 0; k < LEDGER_FILES; k++) {
		judge_file(l, k, fresh);
		if (l->file[k].held)
			judge_held(l, k);
	}
	for (n = 0; n < l->fill; n++)
		if (l->filled[n])
			judge_fill(l, n);
}
