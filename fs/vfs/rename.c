/* SPDX-License-Identifier: GPL-2.0-or-later */
/* rename(2): moving, replacing, exchanging, leaving a whiteout; one section. */
#include <linux/fs.h>
#include "fs/alloc/space.h"
#include "fs/inode/inode.h"
#include "fs/inode/inode_flush.h"
#include "fs/inode/reaper.h"
#include "fs/journal/trans.h"
#include "fs/names/dir.h"
#include "fs/names/backref.h"
#include "fs/state/error.h"
#include "fs/state/fs.h"
#include "fs/vfs/create.h"
#include "fs/vfs/flags.h"
#include "fs/vfs/namei.h"
#include "fs/vfs/vfs.h"
#include "tallyfs/format.h"

/* Directories climbed over in one section: others have their turn in between. */
#define CLIMB_STEPS 64u

/*
 * Would a directory, moved, hold itself?  The way up may be long, and in a hostile image a circle,
 * so it is climbed before the section that renames, in sections of a few steps.  What is found
 * holds while no directory moves.
 */
struct climb {
	uint64_t moves; /* tfs_fs.dir_moves when it began */
	uint64_t at, steps, mark, next_mark;
	bool top;
	int verdict; /* 0 or -EINVAL */
};

static void climb_from(struct climb *c, const struct tfs_fs *fs, uint64_t dir)
{
	*c = (struct climb){ .moves = fs->dir_moves, .at = dir, .next_mark = 1 };
}

/* Up from @from: is @dir met?  In a circle one comes by the mark, which is set anew at twice the
 * distance each time. */
static int climb_some(struct tfs_trans *t, struct climb *c, uint64_t dir, uint64_t from)
{
	uint64_t cookie;

	if (c->moves != t->fs->dir_moves || !c->at)
		climb_from(c, t->fs, from);
	for (unsigned int k = 0; k < CLIMB_STEPS && !c->top; k++) {
		int err = 0;

		if (c->at == dir)
			c->verdict = -EINVAL;
		else if (c->at != TFS_INO_ROOT)
			err = backref_first(t, c->at, &c->at, &cookie);
		c->top = c->verdict || c->at == TFS_INO_ROOT || err == -ENOENT;
		if (err && err != -ENOENT)
			return err;
		if (!c->top && c->at == c->mark)
			return tfs_handle_fs_error(t->fs, -EUCLEAN,
						   "directory %llu is above itself",
						   (unsigned long long)c->at);
		if (++c->steps == c->next_mark) {
			c->mark = c->at;
			c->next_mark *= 2;
		}
	}
	return 0;
}

static int climb(struct tfs_fs *fs, struct climb *c, uint64_t dir, uint64_t from)
{
	int err = 0;

	*c = (struct climb){ 0 };
	while (!err && !c->top)
		err = TRANS_READ(t, fs, climb_some(t, c, dir, from));
	return err;
}

/* @there: up from where the first is to go.  @back: the other way, of an exchange. */
struct climbs {
	struct climb there, back;
};

static int climb_both(struct tfs_fs *fs, struct climbs *c, struct name_ref *src,
		      struct name_ref *dst, unsigned int flags)
{
	int err = 0;

	if (src->dir == dst->dir)
		return 0;
	if (inode_is_dir(src->inode))
		err = climb(fs, &c->there, src->inode->ino, dst->dir->ino);
	if (!err && flags & RENAME_EXCHANGE && dst->inode && inode_is_dir(dst->inode))
		err = climb(fs, &c->back, dst->inode->ino, src->dir->ino);
	return err;
}

/* -ESTALE: climb again. */
static int climb_verdict(struct tfs_trans *t, const struct climb *c)
{
	return c->moves == t->fs->dir_moves ? c->verdict : -ESTALE;
}

static int check_replace(struct tfs_trans *t, struct name_ref *src, struct name_ref *dst)
{
	bool empty;
	int err;

	if (inode_is_dir(src->inode) && !inode_is_dir(dst->inode))
		return -ENOTDIR;
	if (!inode_is_dir(src->inode) && inode_is_dir(dst->inode))
		return -EISDIR;
	if (!inode_is_dir(dst->inode))
		return 0;
	err = dir_is_empty(t, dst->inode->ino, &empty);
	return err ? err : empty ? 0 : -ENOTEMPTY;
}

/* Link counts of both directories, for the subdirectories they gain. */
static int check_link_max(const struct name_ref *src, const struct name_ref *dst,
			  unsigned int flags)
{
	bool moves = inode_is_dir(src->inode), replaces = dst->inode && inode_is_dir(dst->inode);

	if (moves && !replaces && dst->dir->a.nlink >= TFS_LINK_MAX)
		return -EMLINK;
	if (flags & RENAME_EXCHANGE && replaces && !moves && src->dir->a.nlink >= TFS_LINK_MAX)
		return -EMLINK;
	return 0;
}

static int check_move(struct tfs_trans *t, struct name_ref *src, struct name_ref *dst,
		      const struct climbs *c, unsigned int flags)
{
	bool cross = src->dir != dst->dir;
	int err = 0;

	if (src->inode->ino == TFS_INO_ROOT)
		return -EBUSY;
	if (cross && inode_is_dir(src->inode))
		err = climb_verdict(t, &c->there);
	if (!err && cross)
		err = check_link_max(src, dst, flags);
	if (!err && cross && flags & RENAME_EXCHANGE && inode_is_dir(dst->inode))
		err = climb_verdict(t, &c->back);
	else if (!err && dst->inode && !(flags & RENAME_EXCHANGE)) {
		/* a directory above the one moved is never empty */
		err = check_replace(t, src, dst);
	}
	return err;
}

static int rename_prefault(struct tfs_trans *t, struct name_ref *src, struct name_ref *dst)
{
	int err = dir_prefault(t, src->dir->ino, src->name, src->len, src->inode->ino);

	if (!err)
		err = dir_prefault(t, dst->dir->ino, dst->name, dst->len, src->inode->ino);
	if (!err && dst->inode)
		err = dir_prefault(t, dst->dir->ino, dst->name, dst->len, dst->inode->ino);
	if (!err && dst->inode)
		err = dir_prefault(t, src->dir->ino, src->name, src->len, dst->inode->ino);
	if (!err && dst->inode)
		err = drop_link_check(t, dst->inode);
	if (!err)
		err = inode_prefault(t, src->inode->ino);
	if (!err)
		err = inode_prefault(t, src->dir->ino);
	if (!err)
		err = inode_prefault(t, dst->dir->ino);
	return err;
}

static void touch_ctime(struct tfs_inode *i, struct timespec now)
{
	pthread_mutex_lock(&i->attr_lock);
	i->a.ctime = now;
	pthread_mutex_unlock(&i->attr_lock);
}

static int write_dirs(struct tfs_trans *t, struct name_ref *src, struct name_ref *dst)
{
	int err = inode_write(t, src->dir);

	return err || src->dir == dst->dir ? err : inode_write(t, dst->dir);
}

static int exchange(struct tfs_trans *t, struct name_ref *src, struct name_ref *dst)
{
	struct timespec now = tfs_now();
	int more = (int)inode_is_dir(src->inode) - (int)inode_is_dir(dst->inode);
	int err = dir_replace(t, src->dir->ino, &src->de, dst->inode->ino, dst->de.type);

	if (!err)
		err = dir_replace(t, dst->dir->ino, &dst->de, src->inode->ino, src->de.type);
	if (err)
		return err;
	dir_changed(src->dir, 0, -more, now);
	dir_changed(dst->dir, 0, more, now);
	touch_ctime(src->inode, now);
	touch_ctime(dst->inode, now);
	err = inode_write(t, src->inode);
	if (!err)
		err = inode_write(t, dst->inode);
	return err ? err : write_dirs(t, src, dst);
}

/* @white: for the old name, or NULL. */
static int move(struct tfs_trans *t, struct name_ref *src, struct name_ref *dst,
		struct tfs_inode *white)
{
	struct timespec now = tfs_now();
	int sub = inode_is_dir(src->inode) ? 1 : 0;
	int err;

	/* the new name first: it may fail for a reason of its own */
	if (dst->inode)
		err = dir_replace(t, dst->dir->ino, &dst->de, src->inode->ino, src->de.type);
	else
		err = dir_add(t, dst->dir->ino, dst->name, dst->len, src->inode->ino, src->de.type);
	if (!err)
		err = white ? whiteout_put(t, src, white) : dir_remove(t, src->dir->ino, &src->de);
	if (err)
		return err;
	dir_changed(src->dir, white ? 0 : -1, -sub, now);
	dir_changed(dst->dir, dst->inode ? 0 : 1, dst->inode && inode_is_dir(dst->inode) ? 0 : sub,
		    now);
	touch_ctime(src->inode, now);
	err = inode_write(t, src->inode);
	if (!err && dst->inode)
		err = drop_link(t, dst->inode, now);
	return err ? err : write_dirs(t, src, dst);
}

static int rename_in_section(struct tfs_trans *t, struct name_ref *src, struct name_ref *dst,
			     const struct climbs *c, unsigned int flags, struct tfs_inode *white)
{
	int err = name_recheck(t, src);

	if (!err) {
		err = name_recheck(t, dst);
		if (err == -ENOENT && dst->inode && !dir_usable(dst->dir))
			err = -ESTALE; /* it was there, and may be gone */
	}
	if (err)
		return err;
	if (dst->inode && flags & RENAME_NOREPLACE)
		return -EEXIST;
	if (!dst->inode && flags & RENAME_EXCHANGE)
		return -ENOENT;
	if (dst->inode == src->inode)
		return 0; /* two names of one file: nothing to do, says POSIX */
	err = dir_may_remove(src->dir, src->inode);
	if (!err)
		err = dst->inode ? dir_may_remove(dst->dir, dst->inode) : inode_may_grow(dst->dir);
	if (!err)
		err = check_move(t, src, dst, c, flags);
	if (!err)
		err = rename_prefault(t, src, dst);
	if (!err && white)
		err = whiteout_prefault(t, src);
	if (err)
		return err;
	if (src->dir != dst->dir &&
	    (inode_is_dir(src->inode) || (dst->inode && inode_is_dir(dst->inode))))
		t->fs->dir_moves++;
	return flags & RENAME_EXCHANGE ? exchange(t, src, dst) : move(t, src, dst, white);
}

/* Both names, as they are now.  A file that takes another's place has its data on the device first
 * (docs/DESIGN.md, rule 4). */
static int find_both(struct tfs_fs *fs, struct name_ref *src, struct name_ref *dst,
		     unsigned int flags)
{
	int err = name_find(fs, src);

	if (err)
		return err;
	err = name_find(fs, dst);
	if (err)
		return err == -ENOENT ? 0 : err;
	if (dst->inode != src->inode && inode_is_reg(src->inode))
		err = inode_settle(src->inode);
	if (!err && flags & RENAME_EXCHANGE && dst->inode != src->inode && inode_is_reg(dst->inode))
		err = inode_settle(dst->inode);
	return err;
}

/* @cred: whose whiteout is left, or NULL. */
static int do_rename(struct tfs_fs *fs, uint64_t dir, const char *name, uint64_t newdir,
		     const char *newname, unsigned int flags, const struct vfs_cred *cred)
{
	struct name_ref src, dst = { 0 };
	struct tfs_inode *white = NULL;
	uint64_t credits = (cred ? 3 : 2) * TRANS_CREDITS(fs), max = trans_max_credits(fs);
	struct climbs c;
	int err = name_init(fs, &src, dir, name);

	if (!err)
		err = name_init(fs, &dst, newdir, newname);
	if (!err && (flags & ~(unsigned int)(RENAME_NOREPLACE | RENAME_EXCHANGE) ||
		     flags == (RENAME_NOREPLACE | RENAME_EXCHANGE)))
		err = -EINVAL;
	if (!err)
		err = tfs_writable(fs);
	if (!err)
		err = space_check_meta(fs, SPACE_NEW);
	if (!err && cred) {
		white = whiteout_alloc(src.dir, cred);
		err = white ? 0 : -ENOMEM;
	}
	while (!err) {
		err = find_both(fs, &src, &dst, flags);
		if (!err)
			err = climb_both(fs, &c, &src, &dst, flags);
		if (err)
			break;
		err = TRANS_WRITE(t, fs, credits < max ? credits : max,
				  rename_in_section(t, &src, &dst, &c, flags, white));
		if (err != -ESTALE)
			break;
		err = 0; /* the names mean other inodes by now */
	}
	if (white)
		inode_free(white);
	name_put(&src);
	name_put(&dst);
	reap_kick(fs);
	return err;
}

int vfs_rename(struct tfs_fs *fs, uint64_t dir, const char *name, uint64_t newdir,
	       const char *newname, unsigned int flags)
{
	return do_rename(fs, dir, name, newdir, newname, flags, NULL);
}

int vfs_rename_whiteout(struct tfs_fs *fs, uint64_t dir, const char *name, uint64_t newdir,
			const char *newname, unsigned int flags, const struct vfs_cred *cred)
{
	if (flags & RENAME_EXCHANGE)
		return -EINVAL;
	return do_rename(fs, dir, name, newdir, newname, flags, cred);
}
