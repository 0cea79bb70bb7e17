/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From an inode number to a path, for people: upwards through the back-references. */
#include <errno.h>
#include <string.h>

#include "fs/journal/trans.h"
#include "fs/names/dir.h"
#include "fs/names/backref.h"
#include "fs/names/path.h"
#include "tallyfs/format.h"

/* A path that is built from its end. */
struct backwards {
	char *buf;
	size_t pos; /* what is there so far begins here */
};

static int prepend(struct backwards *b, const char *name, size_t len)
{
	if (b->pos < len + 1)
		return -ERANGE;
	b->pos -= len;
	memcpy(b->buf + b->pos, name, len);
	b->buf[--b->pos] = '/';
	return 0;
}

/* Trouble on the way up leaves a "?"; only what would go away by itself is handed on. */
static bool is_damage(int err)
{
	return err == -ENOENT || err == -EUCLEAN || err == -EIO;
}

/* One step: prepend @ino's name, *ino becomes its directory.  *done: no way up from here. */
static int step_up(struct tfs_trans *t, struct backwards *b, uint64_t *ino, bool *done)
{
	struct tfs_dirent de;
	uint64_t dir, cookie;
	int err;

	err = backref_first(t, *ino, &dir, &cookie);
	if (err) {
		*done = true;
		return is_damage(err) ? prepend(b, "?", 1) : err;
	}
	err = dir_entry_at(t, dir, cookie, &de);
	if (err && !is_damage(err))
		return err;
	if (err || de.ino != *ino)
		err = prepend(b, "?", 1);
	else
		err = prepend(b, de.name, de.len);
	*ino = dir;
	return err;
}

int inode_path(struct tfs_trans *t, uint64_t ino, char *buf, size_t size)
{
	struct backwards b = { .buf = buf, .pos = size };
	uint64_t mark = ino, steps, until = 2, dir, cookie;
	bool done = false;
	int err = 0;

	if (size < 2)
		return -ERANGE;
	buf[--b.pos] = 0;
	if (ino == TFS_INO_ROOT) {
		memcpy(buf, "/", 2);
		return 0;
	}
	err = backref_first(t, ino, &dir, &cookie);
	if (err == -ENOENT)
		return err;
	err = 0;
	/* A hostile image may have a loop: Brent's way to see it takes no memory. */
	for (steps = 1; !err && !done && ino != TFS_INO_ROOT; steps++) {
		err = step_up(t, &b, &ino, &done);
		if (!err && !done && ino == mark)
			err = -ELOOP;
		if (steps == until) {
			mark = ino;
			until *= 2;
		}
	}
	if (!err)
		memmove(buf, buf + b.pos, size - b.pos);
	return err;
}
