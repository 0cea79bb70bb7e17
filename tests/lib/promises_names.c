/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Operations on names, attributes and extended attributes. */
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tests/lib/fixture.h"
#include "tests/lib/promises_priv.h"

/* A place for a name. */
struct place {
	unsigned int dir, n;
	uint64_t ino;
	char name[8];
	struct object **o;
};

static struct place pick_place(struct promises *p)
{
	struct place l = { .dir = (unsigned int)pr_rand(p, PR_DIRS),
			   .n = (unsigned int)pr_rand(p, PR_NAMES) };

	l.ino = p->dir[l.dir];
	pr_name(l.name, l.n);
	l.o = &p->entry[l.dir][l.n];
	return l;
}

static void touched(struct promises *p, struct object *o)
{
	o->touched = p->op;
	pr_note_times(p, o);
}

static void set_entry(struct promises *p, const struct place *l, struct object *o)
{
	*l->o = o;
	p->dir_touched[l->dir] = p->op;
}

static void make_one(struct promises *p, const struct place *l)
{
	struct vfs_cred cred = { .uid = (uid_t)pr_rand(p, 3), .gid = (gid_t)pr_rand(p, 3) };
	uint64_t r = pr_rand(p, 8);
	struct object *o;
	struct vfs_attr a;
	char target[24];
	int err;

	snprintf(target, sizeof(target), "target/%u", p->op);
	if (r < 6)
		err = vfs_create(p->fs, l->ino, l->name, 0644, &cred, O_RDWR, &a, NULL);
	else if (r < 7)
		err = vfs_mkdir(p->fs, l->ino, l->name, 0755, &cred, &a);
	else
		err = vfs_symlink(p->fs, l->ino, l->name, target, &cred, &a);
	if (!pr_ok(p, "making a name", err))
		return;
	vfs_forget(p->fs, a.ino, 1);
	o = pr_new_object(p, &a);
	if (S_ISLNK(a.mode))
		o->f.xattr[0] = pr_hash(target, strlen(target));
	set_entry(p, l, o);
}

/* One name less: its last, and nobody has it open, and it is gone. */
static void lost_name(struct promises *p, struct object *o)
{
	o->f.nlink = S_ISDIR(o->f.mode) ? 0 : o->f.nlink - 1;
	touched(p, o);
	pr_let_go(o);
}

static void remove_one(struct promises *p, const struct place *l)
{
	struct object *o = *l->o;

	if (!pr_ok(p, "removing a name",
		   S_ISDIR(o->f.mode) ? vfs_rmdir(p->fs, l->ino, l->name)
				      : vfs_unlink(p->fs, l->ino, l->name)))
		return;
	set_entry(p, l, NULL);
	lost_name(p, o);
}

static void link_one(struct promises *p, const struct place *l, struct object *o)
{
	struct vfs_attr a;

	if (!pr_ok(p, "link", vfs_link(p->fs, o->f.ino, l->ino, l->name, &a)))
		return;
	vfs_forget(p->fs, a.ino, 1);
	o->f.nlink++;
	set_entry(p, l, o);
	touched(p, o);
}

static void exchange(struct promises *p, const struct place *a, const struct place *b)
{
	struct object *oa = *a->o, *ob = *b->o;

	if (!pr_ok(p, "exchange",
		   vfs_rename(p->fs, a->ino, a->name, b->ino, b->name, RENAME_EXCHANGE)))
		return;
	set_entry(p, a, ob);
	set_entry(p, b, oa);
	touched(p, oa);
	touched(p, ob);
}

static void rename_one(struct promises *p, const struct place *a, const struct place *b)
{
	struct object *o = *a->o, *victim = *b->o;

	if (o == victim) /* nothing happens */
		return;
	if (victim && (pr_rand(p, 3) == 0 || S_ISDIR(o->f.mode) != S_ISDIR(victim->f.mode))) {
		exchange(p, a, b);
		return;
	}
	if (!pr_ok(p, "rename", vfs_rename(p->fs, a->ino, a->name, b->ino, b->name, 0)))
		return;
	set_entry(p, a, NULL);
	set_entry(p, b, o);
	touched(p, o);
	if (!victim)
		return;
	if (S_ISREG(o->f.mode) && S_ISREG(victim->f.mode))
		p->installs[p->nr_installs++] = (struct install){ .op = p->op, .o = o };
	lost_name(p, victim);
}

static void set_attr(struct promises *p, struct object *o)
{
	struct vfs_attr a = { .mode = 0600 + p->op % 64,
			      .uid = p->op % 5,
			      .gid = p->op % 7,
			      .mtime = { .tv_sec = 1000000 + p->op, .tv_nsec = 5 } };
	static const unsigned int what[] = { VFS_SET_MODE, VFS_SET_UID | VFS_SET_GID,
					     VFS_SET_MTIME };
	unsigned int k = (unsigned int)pr_rand(p, S_ISLNK(o->f.mode) ? 2 : 3);

	if (S_ISLNK(o->f.mode))
		k = 1;
	if (!pr_ok(p, "setattr", vfs_setattr(p->fs, o->f.ino, what[k], &a, &fx_root, NULL)))
		return;
	if (k == 0)
		o->f.mode = (o->f.mode & S_IFMT) | a.mode;
	if (k == 1) {
		o->f.uid = a.uid;
		o->f.gid = a.gid;
	}
	touched(p, o);
}

static void set_xattr(struct promises *p, struct object *o)
{
	unsigned int k = (unsigned int)pr_rand(p, PR_XATTRS);
	char name[] = "user.0", value[PR_XATTR_MAX];
	size_t len = 4 + pr_rand(p, pr_rand(p, 3) ? 40 : PR_XATTR_MAX - 4);

	if (S_ISLNK(o->f.mode))
		return;
	name[5] = (char)('0' + k);
	if (o->f.xattr[k] && pr_rand(p, 2)) {
		if (!pr_ok(p, "removexattr", vfs_removexattr(p->fs, o->f.ino, name, &fx_root)))
			return;
		o->f.xattr[k] = 0;
	} else {
		memset(value, (int)(p->op % 251), len);
		memcpy(value, &p->op, 4);
		if (!pr_ok(p, "setxattr",
			   vfs_setxattr(p->fs, o->f.ino, name, value, len, 0, &fx_root)))
			return;
		o->f.xattr[k] = pr_hash(value, len);
	}
	touched(p, o);
}

/* ---- files kept open, with names or without ---- */

static void tmpfile_one(struct promises *p)
{
	struct vfs_file *f;
	struct vfs_attr a;
	struct object *o;

	if (!pr_ok(p, "tmpfile", vfs_tmpfile(p->fs, p->dir[0], 0600, &fx_root, O_RDWR, &a, &f)))
		return;
	vfs_forget(p->fs, a.ino, 1);
	a.nlink = 0;
	o = pr_new_object(p, &a);
	o->held = f;
	pr_note_times(p, o);
}

static void hold_or_let_go(struct promises *p)
{
	struct object *o = pr_pick_file(p);
	struct vfs_file *f;

	if (!o || !pr_rand(p, 4)) {
		tmpfile_one(p);
		return;
	}
	if (o->held) {
		f = o->held;
		o->held = NULL;
		vfs_release(p->fs, f);
		pr_let_go(o);
	} else if (o->f.nlink) {
		pr_ok(p, "open", vfs_open(p->fs, o->f.ino, O_RDWR, &o->held));
	}
}

void pr_names_op(struct promises *p)
{
	struct place a = pick_place(p), b = pick_place(p);
	uint64_t r = pr_rand(p, 20);
	struct object *o;

	if (!*a.o) {
		o = pr_rand(p, 3) ? NULL : pr_pick_file(p);
		/* what has lost its names for good gets none again */
		if (o && (o->f.nlink || o->touched == o->made))
			link_one(p, &a, o);
		else
			make_one(p, &a);
	} else if (r < 3) {
		remove_one(p, &a);
	} else if (r < 9) {
		rename_one(p, &a, &b);
	} else if (r < 12) {
		set_attr(p, *a.o);
	} else if (r < 16) {
		set_xattr(p, *a.o);
	} else {
		hold_or_let_go(p);
	}
}
