/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core/lib/util.h"
#include "tests/lib/exercise_names_priv.h"
#include "tests/lib/random.h"

/* A name in a directory, by its numbers. */
struct at {
	int dir, name;
	const char *path;
};

void names_note(struct names_run *x, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	exercise_note(&x->notes, fmt, ap);
	va_end(ap);
}

void names_fail(struct names_run *x, const char *fmt, ...)
{
	va_list ap;

	if (x->failed)
		return;
	x->failed = true;
	va_start(ap, fmt);
	exercise_notes_fail(&x->notes, fmt, ap);
	va_end(ap);
}

uint64_t names_rnd(struct names_run *x, uint64_t below)
{
	return test_rand(&x->rng) % below;
}

bool names_want(struct names_run *x, const char *what, int got, int wanted)
{
	if (got != wanted)
		names_fail(x, "%s gave %d, not %d", what, got, wanted);
	return !got;
}

/* Short ones, some of odd bytes, and (the last quarter) some as long as can be, which directories
 * do not get. */
static void make_names(struct names_run *x)
{
	static const char odd[] = "\n \\\"'*?-\xff\xc3\x28";
	unsigned int i;

	for (i = 0; i < NAMES; i++) {
		char *n = x->names[i];

		if (i >= NAMES * 3 / 4) {
			memset(n, 'a' + (int)(i % 26), 255);
			snprintf(n + 250, 6, "%05u", i);
		} else if (i % 8 == 7) {
			snprintf(n, 256, "%c%u", odd[i / 8 % (sizeof(odd) - 1)], i);
		} else {
			snprintf(n, 256, "n%u", i);
		}
	}
}

bool names_path(const struct names_run *x, int dir, int name, char *buf)
{
	int stack[NODES][2], n = 0, i;
	size_t len = 0;

	for (; dir >= 0; dir = dir ? x->nodes[dir].parent : NONE) {
		stack[n][0] = dir;
		stack[n++][1] = name;
		if (dir)
			for (name = 0; x->nodes[x->nodes[dir].parent].ent[name] != dir;)
				name++;
	}
	for (i = n - 1; i >= 0; i--) {
		if (stack[i][1] < 0)
			continue;
		len += (size_t)snprintf(buf + len, NAMES_PATH_MAX - len, "/%s",
					x->names[stack[i][1]]);
		if (len >= NAMES_PATH_MAX)
			return false;
	}
	if (!len)
		strcpy(buf, "/");
	return true;
}

static int depth(const struct names_run *x, int dir)
{
	int n = 0;

	for (; dir; dir = x->nodes[dir].parent)
		n++;
	return n;
}

/* Is @a the directory @dir or above it? */
static bool above(const struct names_run *x, int a, int dir)
{
	for (;; dir = x->nodes[dir].parent) {
		if (dir == a)
			return true;
		if (!dir)
			return false;
	}
}

static bool is_empty(const struct node *n)
{
	int i;

	for (i = 0; i < NAMES; i++)
		if (n->ent[i] != NONE)
			return false;
	return true;
}

int names_any_dir(struct names_run *x)
{
	int tries, d;

	/* one big directory, and some others */
	for (tries = 0; names_rnd(x, 3) && tries < 20; tries++) {
		d = (int)names_rnd(x, NODES);
		if (x->nodes[d].type == DT_DIR)
			return d;
	}
	return 0;
}

/* A name somewhere, in x->path[@which]; there or not. */
static bool pick(struct names_run *x, struct at *at, int which, bool there)
{
	int tries;

	at->dir = names_any_dir(x);
	at->path = x->path[which];
	for (tries = 0; tries < 10; tries++) {
		at->name = (int)names_rnd(x, NAMES);
		if ((x->nodes[at->dir].ent[at->name] != NONE) == there)
			break;
	}
	return names_path(x, at->dir, at->name, x->path[which]);
}

static int node_at(const struct names_run *x, const struct at *at)
{
	return x->nodes[at->dir].ent[at->name];
}

static int new_node(struct names_run *x, uint8_t type, int parent)
{
	int i, k;

	for (i = 1; i < NODES; i++) {
		struct node *n = &x->nodes[i];

		if (n->type)
			continue;
		*n = (struct node){ .type = type,
				    .nlink = type == DT_DIR ? 2 : 1,
				    .parent = parent };
		for (k = 0; k < NAMES; k++)
			n->ent[k] = NONE;
		return i;
	}
	return NONE;
}

static void name_gone(struct names_run *x, const struct at *at)
{
	int i;

	x->nodes[at->dir].ent[at->name] = NONE;
	for (i = 0; i < LISTS; i++)
		if (x->lists[i].dir == at->dir)
			x->lists[i].stayed[at->name] = false;
}

/* A name of the node is gone: if it was the last, the node too. */
static void drop(struct names_run *x, int i)
{
	struct node *n = &x->nodes[i];
	int k;

	if (n->type == DT_DIR) {
		x->nodes[n->parent].nlink--;
		for (k = 0; k < LISTS; k++)
			if (x->lists[k].dir == i)
				names_list_close(x, &x->lists[k]);
		n->nlink = 0;
	} else {
		n->nlink--;
	}
	if (!n->nlink)
		n->type = 0;
}

/* ---- the operations ---- */

static void do_make(struct names_run *x)
{
	static const char *const what[] = { "create", "mkdir", "symlink" };
	static const uint8_t types[] = { DT_REG, DT_DIR, DT_LNK };
	unsigned int kind = (unsigned int)(names_rnd(x, 8) < 5 ? 0 : 1 + names_rnd(x, 2));
	struct names_stat st;
	struct at at;
	int err, i;

	if (!pick(x, &at, 0, !names_rnd(x, 10)))
		return;
	if (kind == 1 && (at.name >= NAMES * 3 / 4 || depth(x, at.dir) >= DEPTH))
		return;
	i = new_node(x, types[kind], at.dir);
	if (i == NONE)
		return;
	names_note(x, "%s %d/%d", what[kind], at.dir, at.name);
	err = kind == 0	  ? x->ops->create(x->be, at.path)
	      : kind == 1 ? x->ops->mkdir(x->be, at.path)
			  : x->ops->symlink(x->be, "some/where", at.path);
	if (!names_want(x, what[kind], err, node_at(x, &at) == NONE ? 0 : -EEXIST)) {
		x->nodes[i].type = 0;
		return;
	}
	x->nodes[at.dir].ent[at.name] = i;
	if (kind == 1)
		x->nodes[at.dir].nlink++;
	if (x->ops->cut && names_want(x, "stat", x->ops->stat(x->be, at.path, &st), 0))
		x->nodes[i].ino = st.ino;
	names_past_changed(x, at.dir, NONE);
}

static void do_remove(struct names_run *x)
{
	bool rmdir = !names_rnd(x, 4);
	struct at at;
	int i, wanted = 0, err;

	if (!pick(x, &at, 0, names_rnd(x, 10)))
		return;
	i = node_at(x, &at);
	if (i == NONE)
		wanted = -ENOENT;
	else if (rmdir)
		wanted = x->nodes[i].type != DT_DIR ? -ENOTDIR
			 : is_empty(&x->nodes[i])   ? 0
						    : -ENOTEMPTY;
	else if (x->nodes[i].type == DT_DIR)
		wanted = -EISDIR;
	names_note(x, "%s %d/%d", rmdir ? "rmdir" : "unlink", at.dir, at.name);
	err = rmdir ? x->ops->rmdir(x->be, at.path) : x->ops->unlink(x->be, at.path);
	if (!names_want(x, "remove", err, wanted))
		return;
	name_gone(x, &at);
	drop(x, i);
	names_past_changed(x, at.dir, NONE);
}

static void do_link(struct names_run *x)
{
	struct at from, to;
	int i, wanted;

	if (!pick(x, &from, 0, true) || !pick(x, &to, 1, !names_rnd(x, 10)))
		return;
	i = node_at(x, &from);
	if (i != NONE && x->nodes[i].type == DT_DIR && node_at(x, &to) != NONE)
		return; /* which of two errors is not laid down */
	wanted = i == NONE		      ? -ENOENT
		 : node_at(x, &to) != NONE    ? -EEXIST
		 : x->nodes[i].type == DT_DIR ? -EPERM
					      : 0;
	names_note(x, "link %d/%d to %d/%d", from.dir, from.name, to.dir, to.name);
	if (!names_want(x, "link", x->ops->link(x->be, from.path, to.path), wanted))
		return;
	x->nodes[to.dir].ent[to.name] = i;
	x->nodes[i].nlink++;
	names_past_changed(x, to.dir, NONE);
}

enum { NOREPLACE = 1, EXCHANGE = 2, WHITEOUT = 4 };

static int rename_error(const struct names_run *x, const struct at *from, const struct at *to,
			unsigned int flags)
{
	int a = node_at(x, from), b = node_at(x, to);

	if (a == NONE || (b == NONE && flags & EXCHANGE))
		return -ENOENT;
	if (b != NONE && flags & NOREPLACE)
		return -EEXIST;
	if (x->nodes[a].type == DT_DIR && above(x, a, to->dir))
		return -EINVAL;
	if (b == NONE)
		return 0;
	if (x->nodes[b].type == DT_DIR && above(x, b, from->dir))
		return flags & EXCHANGE ? -EINVAL : -ENOTEMPTY;
	if (a == b || flags & EXCHANGE)
		return 0;
	if (x->nodes[a].type == DT_DIR && x->nodes[b].type != DT_DIR)
		return -ENOTDIR;
	if (x->nodes[a].type != DT_DIR && x->nodes[b].type == DT_DIR)
		return -EISDIR;
	return x->nodes[b].type == DT_DIR && !is_empty(&x->nodes[b]) ? -ENOTEMPTY : 0;
}

static void moved(struct names_run *x, int i, const struct at *from, const struct at *to)
{
	x->nodes[to->dir].ent[to->name] = i;
	if (x->nodes[i].type != DT_DIR)
		return;
	x->nodes[from->dir].nlink--;
	x->nodes[to->dir].nlink++;
	x->nodes[i].parent = to->dir;
}

/* Directories keep short names and do not go too deep, so that paths stay short enough. */
static bool fits(const struct names_run *x, int i, const struct at *to)
{
	return i == NONE || x->nodes[i].type != DT_DIR ||
	       (to->name < NAMES * 3 / 4 && depth(x, to->dir) < DEPTH);
}

/* The old name goes, or comes to mean something new in the same moment. */
static void moved_away(struct names_run *x, const struct at *from, int white)
{
	struct names_stat st;

	name_gone(x, from);
	if (white == NONE)
		return;
	x->nodes[from->dir].ent[from->name] = white;
	if (x->ops->cut && names_want(x, "stat", x->ops->stat(x->be, from->path, &st), 0))
		x->nodes[white].ino = st.ino;
}

static void do_rename(struct names_run *x)
{
	static const unsigned int all[] = {
		0, 0, 0, NOREPLACE, EXCHANGE, WHITEOUT, WHITEOUT | NOREPLACE
	};
	unsigned int flags = all[names_rnd(x, ARRAY_SIZE(all))];
	struct at from, to;
	int a, b, wanted, got, white = NONE;

	if (!pick(x, &from, 0, names_rnd(x, 20)) ||
	    !pick(x, &to, 1, flags & EXCHANGE ? names_rnd(x, 10) : !names_rnd(x, 3)))
		return;
	a = node_at(x, &from);
	b = node_at(x, &to);
	if (!fits(x, a, &to) || (flags & EXCHANGE && !fits(x, b, &from)))
		return;
	wanted = rename_error(x, &from, &to, flags);
	names_note(x, "rename %d/%d to %d/%d flags %u", from.dir, from.name, to.dir, to.name,
		   flags);
	if (flags & WHITEOUT && !wanted && a != b) {
		white = new_node(x, DT_CHR, from.dir);
		if (white == NONE)
			return;
	}
	got = x->ops->rename(x->be, from.path, to.path, flags);
	/* a file over a directory above it: both are true */
	if (wanted == -ENOTEMPTY && got == -EISDIR && x->nodes[a].type != DT_DIR)
		return;
	if (!names_want(x, "rename", got, wanted) || a == b)
		return;
	if (flags & EXCHANGE) {
		moved(x, a, &from, &to);
		moved(x, b, &to, &from);
	} else {
		moved_away(x, &from, white);
		if (b != NONE)
			drop(x, b);
		moved(x, a, &from, &to);
	}
	names_past_changed(x, from.dir, to.dir);
}

static void do_stat(struct names_run *x)
{
	struct names_stat st = { 0 };
	struct node *n;
	struct at at;
	int i;

	if (!pick(x, &at, 0, names_rnd(x, 10)))
		return;
	i = node_at(x, &at);
	names_note(x, "stat %d/%d", at.dir, at.name);
	if (!names_want(x, "stat", x->ops->stat(x->be, at.path, &st), i == NONE ? -ENOENT : 0))
		return;
	n = &x->nodes[i];
	if (!n->ino)
		n->ino = st.ino;
	if (st.type != n->type || st.nlink != n->nlink || st.ino != n->ino)
		names_fail(x, "stat of node %d: type %u links %u inode %llu, not %u %u %llu", i,
			   st.type, st.nlink, (unsigned long long)st.ino, n->type, n->nlink,
			   (unsigned long long)n->ino);
}

static void make_durable(struct names_run *x, uint64_t how)
{
	int dir;

	if (how < 1) {
		names_note(x, "sync");
		names_want(x, "sync", x->ops->sync(x->be), 0);
		names_past_synced(x, NONE);
	} else if (how < 3) {
		dir = names_any_dir(x);
		names_note(x, "fsync directory %d", dir);
		if (names_path(x, dir, NONE, x->path[0]) &&
		    names_want(x, "fsync_dir", x->ops->fsync_dir(x->be, x->path[0]), 0))
			names_past_synced(x, dir);
	} else if (x->ops->background) {
		names_note(x, "background %u", (unsigned int)how % 3);
		names_want(x, "background",
			   x->ops->background(x->be, (unsigned int)names_rnd(x, 3)), 0);
	}
}

static void step(struct names_run *x)
{
	uint64_t what = names_rnd(x, 105);

	exercise_notes_begin(&x->notes, x->op);
	if (x->ops->begin)
		x->ops->begin(x->be);
	if (x->o->remount_every && !names_rnd(x, x->o->remount_every)) {
		names_note(x, "remount");
		names_list_close_all(x);
		names_want(x, "remount", x->ops->remount(x->be), 0);
		names_past_synced(x, NONE);
	} else if (what < 27) {
		do_make(x);
	} else if (what < 44) {
		do_remove(x);
	} else if (what < 52) {
		do_link(x);
	} else if (what < 66) {
		do_rename(x);
	} else if (what < 80) {
		do_stat(x);
	} else if (what < 82) {
		names_list_now(x);
	} else if (what < 100) {
		names_list_slowly(x);
	} else {
		make_durable(x, what - 100);
	}
	names_past_maybe_cut(x);
}

int exercise_names(const struct names_opts *o, const struct names_ops *ops, void *be)
{
	struct names_run *x = calloc(1, sizeof(*x));
	struct exercise_walk w = exercise_walk(&o->steps, o->seed, o->ops);
	int i, ret;

	if (!x)
		return -1;
	x->o = o;
	x->ops = ops;
	x->be = be;
	x->notes = (struct exercise_notes){ .steps = &o->steps, .seed = o->seed };
	make_names(x);
	x->nodes[0] = (struct node){ .type = DT_DIR, .nlink = 2 };
	for (i = 0; i < NAMES; i++)
		x->nodes[0].ent[i] = NONE;
	for (i = 0; i < LISTS; i++)
		x->lists[i].dir = NONE;
	names_past_changed(x, 0, NONE);
	names_past_synced(x, NONE);
	while (!x->failed && exercise_next(&w, &x->op, &x->rng))
		step(x);
	names_list_close_all(x);
	ret = x->failed ? -1 : 0;
	names_past_free(x);
	free(x);
	return ret;
}
