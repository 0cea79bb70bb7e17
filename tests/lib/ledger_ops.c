/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include "core/iomap/iomap.h"
#include "core/lib/util.h"
#include "core/pagecache/pagecache.h"
#include "fs/inode/inode.h"
#include "tallyfs/format.h"
#include "tests/lib/fixture.h"
#include "tests/lib/ledger.h"

#define BLOCK 4096u

/* The time that the operation has given the file is what it must keep. */
static void note_time(struct ledger *l, uint64_t ino, struct ledger_version *v)
{
	struct vfs_attr a;
	int err = vfs_getattr(l->fs, ino, &a);

	memset(&v->mtime, 0, sizeof(v->mtime));
	if (err)
		ledger_error(l, "getattr", err);
	else
		v->mtime = a.mtime;
}

/* The end of an operation on an open file. */
static void close_file(struct ledger *l, int k, const char *what, struct vfs_file *f,
		       struct ledger_version *v, int64_t err)
{
	if (err >= 0)
		note_time(l, f->inode->ino, v);
	vfs_release(l->fs, f);
	ledger_done(l, k, what, v, err);
}

/* ---- content ---- */

static void write_at(struct ledger *l, int k, uint64_t pos, uint64_t len)
{
	static uint8_t buf[LEDGER_BYTES] __attribute__((aligned(4096)));
	struct vfs_file *f = ledger_open(l, k, O_RDWR);
	struct ledger_version *v;
	uint64_t i, tag = ledger_pick(l, UINT64_MAX);
	int64_t n;

	if (!f)
		return;
	v = ledger_next(l, k);
	for (i = 0; i < len; i++)
		v->data[pos + i] = fx_byte(tag, i);
	v->size = max_t(uint64_t, v->size, pos + len);
	memcpy(buf, v->data + pos, len);
	n = vfs_pwrite(l->fs, f, buf, len, pos);
	close_file(l, k, "write", f, v, n == (int64_t)len ? 0 : n < 0 ? n : -EIO);
}

void ledger_append(struct ledger *l, int k)
{
	uint64_t size = l->file[k].now->size;

	if (size < LEDGER_BYTES)
		write_at(l, k, size,
			 min_t(uint64_t, LEDGER_BYTES - size, 1 + ledger_pick(l, 9000)));
	else
		ledger_truncate(l, k);
}

void ledger_overwrite(struct ledger *l, int k)
{
	uint64_t pos = ledger_pick(l, LEDGER_BYTES - 1);

	write_at(l, k, pos, 1 + ledger_pick(l, LEDGER_BYTES - pos));
}

/* From its start, as most programs write. */
void ledger_rewrite(struct ledger *l, int k)
{
	write_at(l, k, 0, 1 + ledger_pick(l, LEDGER_BYTES));
}

void ledger_write_block(struct ledger *l, int k)
{
	uint64_t nr = LEDGER_BYTES / BLOCK, from = ledger_pick(l, nr);

	write_at(l, k, from * BLOCK, (1 + ledger_pick(l, nr - from)) * BLOCK);
}

void ledger_write_inline(struct ledger *l, int k)
{
	if (l->file[k].now->size > 1000)
		ledger_unlink(l, k);
	else
		write_at(l, k, 0, 1 + ledger_pick(l, 300));
}

static void set_size(struct ledger *l, int k, uint64_t size)
{
	struct vfs_file *f = ledger_open(l, k, O_RDWR);
	struct vfs_attr set = { .size = size }, a;
	struct ledger_version *v;

	if (!f)
		return;
	v = ledger_next(l, k);
	memset(v->data + size, 0, LEDGER_BYTES - size);
	v->size = size;
	close_file(l, k, "truncate", f, v,
		   vfs_setattr(l->fs, f->inode->ino, VFS_SET_SIZE, &set, &fx_root, &a));
}

void ledger_truncate(struct ledger *l, int k)
{
	set_size(l, k, ledger_pick(l, l->file[k].now->size + 1));
}

void ledger_extend(struct ledger *l, int k)
{
	uint64_t size = l->file[k].now->size;

	set_size(l, k, size + ledger_pick(l, LEDGER_BYTES - size + 1));
}

static void fallocate_range(struct ledger *l, int k, const char *what, int mode, bool zeroes)
{
	uint64_t pos = ledger_pick(l, LEDGER_BYTES - 1),
		 len = 1 + ledger_pick(l, LEDGER_BYTES - pos);
	struct vfs_file *f = ledger_open(l, k, O_RDWR);
	struct ledger_version *v;

	if (!f)
		return;
	v = ledger_next(l, k);
	if (zeroes)
		memset(v->data + pos, 0, len);
	if (!(mode & FALLOC_FL_KEEP_SIZE))
		v->size = max_t(uint64_t, v->size, pos + len);
	close_file(l, k, what, f, v, vfs_fallocate(l->fs, f, mode, pos, len));
}

void ledger_punch(struct ledger *l, int k)
{
	fallocate_range(l, k, "punch", FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, true);
}

void ledger_zero(struct ledger *l, int k)
{
	fallocate_range(l, k, "zero", FALLOC_FL_ZERO_RANGE, true);
}

void ledger_allocate(struct ledger *l, int k)
{
	fallocate_range(l, k, "allocate", FALLOC_FL_KEEP_SIZE, false);
}

/* The whole of the next file becomes the front of @k. */
void ledger_clone(struct ledger *l, int k)
{
	int from = (k + 1) % LEDGER_FILES;
	const struct ledger_version *src = l->file[from].now;
	struct ledger_version *v;
	struct vfs_file *in, *out;
	int64_t n;

	if (!src->at.exists)
		return;
	in = ledger_open(l, from, O_RDONLY);
	out = in ? ledger_open(l, k, O_RDWR) : NULL;
	if (out) {
		v = ledger_next(l, k);
		memcpy(v->data, src->data, src->size);
		v->size = max_t(uint64_t, v->size, src->size);
		n = vfs_copy_file_range(l->fs, in, 0, out, 0, src->size, 0);
		close_file(l, k, "copy", out, v, n == (int64_t)src->size ? 0 : n < 0 ? n : -EIO);
		/* nobody knows what has been copied */
		l->file[k].unsure |= l->file[from].unsure;
	}
	if (in)
		vfs_release(l->fs, in);
}

void ledger_unshare(struct ledger *l, int k)
{
	struct vfs_file *f = ledger_open(l, k, O_RDWR);

	if (f)
		close_file(l, k, "unshare", f, ledger_next(l, k),
			   fx_unshare(l->fs, f, 0, LEDGER_BYTES));
}

/* ---- names ---- */

void ledger_create(struct ledger *l, int k)
{
	struct ledger_version *v = ledger_next(l, k);
	unsigned int dir = (unsigned int)ledger_pick(l, 2);
	struct vfs_attr a;
	uint64_t parent;
	char name[128];
	int err = ledger_dir(l, dir, &parent);

	if (!err) {
		err = vfs_create(l->fs, parent, ledger_name(name, k, false), 0644, &fx_root, O_RDWR,
				 &a, NULL);
		vfs_forget(l->fs, parent, 1);
	}
	memset(v, 0, sizeof(*v));
	v->at = (struct ledger_place){ .exists = true, .dir = dir };
	v->mode = 0644;
	if (!err) {
		v->mtime = a.mtime;
		vfs_forget(l->fs, a.ino, 1);
	}
	ledger_done(l, k, "create", v, err);
}

void ledger_rename(struct ledger *l, int k)
{
	struct ledger_version *v = ledger_next(l, k);
	uint64_t from, to;
	char name[128];
	int err = ledger_dir(l, v->at.dir, &from);

	ledger_name(name, k, false);
	if (!err) {
		err = ledger_dir(l, !v->at.dir, &to);
		if (!err) {
			err = vfs_rename(l->fs, from, name, to, name, 0);
			vfs_forget(l->fs, to, 1);
		}
		vfs_forget(l->fs, from, 1);
	}
	v->at.dir = !v->at.dir;
	ledger_done(l, k, "rename", v, err);
}

void ledger_link(struct ledger *l, int k)
{
	struct ledger_version *v;
	struct vfs_file *f;
	struct vfs_attr a;
	char name[128];
	int err;

	if (l->file[k].now->at.linked)
		return;
	f = ledger_open(l, k, O_RDONLY);
	if (!f)
		return;
	v = ledger_next(l, k);
	v->at.linked = true;
	err = vfs_link(l->fs, f->inode->ino, TFS_INO_ROOT, ledger_name(name, k, true), &a);
	if (!err)
		vfs_forget(l->fs, a.ino, 1);
	close_file(l, k, "link", f, v, err);
}

/* Its second link, if it has one. */
void ledger_unlink(struct ledger *l, int k)
{
	struct ledger_version *v = ledger_next(l, k);
	bool link = v->at.linked;
	uint64_t parent;
	char name[128];
	int err = ledger_dir(l, link ? 0 : v->at.dir, &parent);

	if (!err) {
		err = vfs_unlink(l->fs, parent, ledger_name(name, k, link));
		vfs_forget(l->fs, parent, 1);
	}
	if (link)
		v->at.linked = false;
	else
		v->at.exists = false;
	ledger_done(l, k, "unlink", v, err);
}

/* As editors do: a new file is written and renamed over the old one, in the same directory. */
void ledger_replace(struct ledger *l, int k)
{
	struct ledger_version *v;
	struct vfs_file *f = NULL;
	struct vfs_attr a;
	uint64_t parent, i, tag = ledger_pick(l, UINT64_MAX);
	int64_t err;
	char name[128];

	if (l->file[k].now->at.linked) {
		ledger_unlink(l, k);
		return;
	}
	v = ledger_next(l, k);
	err = ledger_dir(l, v->at.dir, &parent);
	memset(v->data, 0, LEDGER_BYTES);
	v->size = 1 + ledger_pick(l, LEDGER_BYTES / 2);
	v->xattr_len = 0;
	v->mode = 0600;
	v->uid = 0;
	for (i = 0; i < v->size; i++)
		v->data[i] = fx_byte(tag, i);
	if (err) {
		ledger_done(l, k, "replace", v, err);
		return;
	}
	vfs_unlink(l->fs, parent, "tmp"); /* of one that failed */
	err = vfs_create(l->fs, parent, "tmp", 0600, &fx_root, O_RDWR, &a, &f);
	if (!err) {
		vfs_forget(l->fs, a.ino, 1);
		err = vfs_pwrite(l->fs, f, v->data, v->size, 0);
		err = err == (int64_t)v->size ? vfs_rename(l->fs, parent, "tmp", parent,
							   ledger_name(name, k, false), 0)
		      : err < 0		      ? err
					      : -EIO;
	}
	vfs_forget(l->fs, parent, 1);
	if (f)
		close_file(l, k, "replace", f, v, err);
	else
		ledger_done(l, k, "replace", v, err);
}

/* Unlinked while it is open.  Next time for the same number, that one is closed. */
void ledger_hold(struct ledger *l, int k)
{
	struct ledger_file *file = &l->file[k];
	struct ledger_version *held;
	struct vfs_file *f;

	ledger_drop_held(l, k);
	if (file->now->at.linked || file->unsure) {
		ledger_unlink(l, k);
		return;
	}
	f = ledger_open(l, k, O_RDWR);
	if (!f)
		return;
	held = ledger_next(l, k);
	ledger_unlink(l, k);
	file->held = f;
	file->held_version = held;
}

/* ---- attributes ---- */

void ledger_set_attr(struct ledger *l, int k)
{
	struct vfs_file *f = ledger_open(l, k, O_RDONLY);
	struct ledger_version *v;
	struct vfs_attr set = { 0 }, a;

	if (!f)
		return;
	v = ledger_next(l, k);
	set.mode = v->mode = (uint32_t)ledger_pick(l, 0777);
	set.uid = v->uid = (uint32_t)ledger_pick(l, 60000);
	set.mtime.tv_sec = (time_t)ledger_pick(l, 2000000000);
	close_file(l, k, "setattr", f, v,
		   vfs_setattr(l->fs, f->inode->ino, VFS_SET_MODE | VFS_SET_UID | VFS_SET_MTIME,
			       &set, &fx_root, &a));
}

void ledger_set_xattr(struct ledger *l, int k)
{
	struct vfs_file *f = ledger_open(l, k, O_RDONLY);
	struct ledger_version *v;
	uint8_t value[LEDGER_XATTR_MAX];

	if (!f)
		return;
	v = ledger_next(l, k);
	v->xattr_len = 1 + ledger_pick(l, ledger_pick(l, 2) ? 60 : LEDGER_XATTR_MAX);
	v->xattr_tag = ledger_pick(l, UINT64_MAX);
	for (uint64_t i = 0; i < v->xattr_len; i++)
		value[i] = fx_byte(v->xattr_tag, i);
	close_file(l, k, "setxattr", f, v,
		   vfs_setxattr(l->fs, f->inode->ino, "user.ledger", value, v->xattr_len, 0,
				&fx_root));
}

void ledger_remove_xattr(struct ledger *l, int k)
{
	struct vfs_file *f;
	struct ledger_version *v;

	if (!l->file[k].now->xattr_len || l->file[k].unsure) {
		ledger_set_xattr(l, k);
		return;
	}
	f = ledger_open(l, k, O_RDONLY);
	if (!f)
		return;
	v = ledger_next(l, k);
	v->xattr_len = 0;
	close_file(l, k, "removexattr", f, v,
		   vfs_removexattr(l->fs, f->inode->ino, "user.ledger", &fx_root));
}

/* ---- what makes it durable ---- */

void ledger_fsync(struct ledger *l, int k)
{
	struct vfs_file *f = ledger_open(l, k, O_RDONLY);
	int err;

	if (!f)
		return;
	err = vfs_fsync(l->fs, f, false);
	vfs_release(l->fs, f);
	if (err)
		ledger_error(l, "fsync", err);
	else
		ledger_durable(l, k, false);
}

void ledger_trim(struct ledger *l, int k)
{
	uint64_t trimmed;
	int err = vfs_trim(l->fs, 0, UINT64_MAX, 0, NULL, NULL, &trimmed);

	if (err)
		ledger_error(l, "trim", err);
}

static void write_back(struct vfs_file *f)
{
	filemap_write_and_wait_range(&f->inode->mapping, 0, UINT64_MAX);
	iomap_ioend_drain();
}

/* One file after the other, lest the order in which threads are done differ between two runs. */
static void write_back_all(struct ledger *l)
{
	struct vfs_file *f;

	for (int k = 0; k < LEDGER_FILES; k++) {
		if (l->file[k].held)
			write_back(l->file[k].held);
		f = l->file[k].now->at.exists ? ledger_open(l, k, O_RDONLY) : NULL;
		if (!f)
			continue;
		write_back(f);
		vfs_release(l->fs, f);
	}
}

void ledger_sync(struct ledger *l)
{
	int k, err;

	write_back_all(l); /* what fails is tried again, and told */
	err = vfs_sync(l->fs);
	if (err)
		ledger_error(l, "sync", err);
	for (k = 0; !err && k < LEDGER_FILES; k++)
		ledger_durable(l, k, true);
}

void ledger_fill(struct ledger *l)
{
	static uint8_t buf[LEDGER_FILL_BYTES];
	struct vfs_attr a;
	struct vfs_file *f;
	char name[32];
	unsigned int i;
	int64_t err;

	for (; l->fill < LEDGER_FILL; l->fill++) {
		sprintf(name, "new%u", l->fill);
		err = vfs_create(l->fs, TFS_INO_ROOT, name, 0644, &fx_root, O_RDWR, &a, &f);
		if (err) {
			ledger_error(l, "create (filling)", err);
			break;
		}
		vfs_forget(l->fs, a.ino, 1);
		for (i = 0; i < sizeof(buf); i++)
			buf[i] = fx_byte(1000 + l->fill, i);
		err = vfs_pwrite(l->fs, f, buf, sizeof(buf), 0);
		err = err == sizeof(buf) ? vfs_fsync(l->fs, f, false) : err < 0 ? err : -EIO;
		if (err)
			ledger_error(l, "filling", err);
		l->filled[l->fill] = !err;
		vfs_release(l->fs, f);
	}
	ledger_sync(l);
}
