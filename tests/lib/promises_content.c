/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Operations on the content of a file, and what makes it durable. */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>
#include "core/lib/util.h"
#include "tests/lib/fixture.h"
#include "tests/lib/promises_priv.h"

/* [from, to) is new, the size is @size now. */
static void changed(struct promises *p, struct object *o, uint64_t from, uint64_t to, uint64_t size)
{
	uint64_t bs = p->block_size;

	o->size = size;
	past_add(&o->sizes, p->op, size);
	for (uint64_t b = from / bs; b < PR_BYTES / bs && b * bs < to; b++)
		past_add(&o->block[b], p->op, pr_hash(o->data + b * bs, bs));
	pr_note_times(p, o);
}

/* All that changed its content until now, and with it its making; unless @data_only also its
 * attributes, names and times. */
static struct promise promise_of(struct promises *p, enum promise_kind kind, struct object *o,
				 bool data_only)
{
	uint32_t made = o->size ? o->made : 0;

	return (struct promise){ .kind = kind,
				 .op = p->op,
				 .names = data_only ? made : o->touched,
				 .o = o,
				 .content = true,
				 .times = !data_only };
}

static void promise(struct promises *p, enum promise_kind kind, struct object *o, bool data_only)
{
	struct promise pr = promise_of(p, kind, o, data_only);

	pr_promise(p, &pr);
}

/* What O_SYNC and O_DSYNC said. */
static void promise_written(struct promises *p, struct object *o, const struct vfs_file *f)
{
	if ((f->flags & O_SYNC) == O_SYNC)
		promise(p, PROMISE_O_SYNC, o, false);
	else if (f->flags & O_DSYNC)
		promise(p, PROMISE_O_DSYNC, o, true);
}

static void pick_range(struct promises *p, struct object *o, uint64_t *pos, uint64_t *len)
{
	static const uint32_t max_len[] = { 100, 3000, 9000, PR_BYTES / 2 };

	*len = 1 + pr_rand(p, max_len[pr_rand(p, ARRAY_SIZE(max_len))]);
	*pos = pr_rand(p, 3) ? pr_rand(p, o->size + 1) : pr_rand(p, PR_BYTES);
	if (pr_rand(p, 2)) {
		*pos = round_down_to(*pos, p->block_size);
		*len = round_up_to(*len, p->block_size);
	}
	if (*pos == PR_BYTES)
		*pos = 0;
	*len = min_t(uint64_t, *len, PR_BYTES - *pos);
}

/* @len bytes for @pos, in memory that lies in its pages as they in their blocks: else no direct
 * write would go past the cache. */
static uint8_t *make_bytes(struct promises *p, uint64_t pos, uint64_t len, void **mem)
{
	uint8_t *buf;

	if (posix_memalign(mem, 4096, 4096 + len))
		abort();
	buf = (uint8_t *)*mem + pos % p->block_size % 4096;
	for (uint64_t i = 0; i < len; i++)
		buf[i] = (uint8_t)(1 + (p->op * 31 + i * 7 + (i >> 8)) % 255);
	memcpy(buf, &p->op, min_t(uint64_t, len, sizeof(p->op)));
	return buf;
}

static void write_some(struct promises *p, struct object *o, struct vfs_file *f)
{
	uint64_t pos, len, old = o->size;
	void *mem;
	uint8_t *buf;
	int64_t n;

	pick_range(p, o, &pos, &len);
	if (f->flags & O_APPEND)
		pos = old;
	len = min_t(uint64_t, len, PR_BYTES - pos);
	if (!len)
		return;
	buf = make_bytes(p, pos, len, &mem);
	pr_deed(p, "write", o, pos, len, f->flags);
	n = vfs_pwrite(p->fs, f, buf, len, pos);
	if (n != (int64_t)len) {
		pr_fail(p, "write", n);
	} else {
		memcpy(o->data + pos, buf, len);
		changed(p, o, min_t(uint64_t, pos, old), pos + len,
			max_t(uint64_t, old, pos + len));
		promise_written(p, o, f);
	}
	free(mem);
}

/* A store into mapped memory, and msync: whole pages within the file. */
static void store_and_msync(struct promises *p, struct object *o, struct vfs_file *f)
{
	struct iomap_src src;
	uint64_t pos, len;
	void *mem;

	if (!o->size)
		return;
	pos = round_down_to(pr_rand(p, o->size), 4096);
	len = min_t(uint64_t, o->size - pos, 4096 * (1 + pr_rand(p, 3)));
	pr_deed(p, "store and msync", o, pos, len, f->flags);
	src = (struct iomap_src){ .buf = make_bytes(p, pos, len, &mem), .len = len };
	if (vfs_write(p->fs, f, pos, &src, VFS_WRITE_CACHE, NULL) != (int64_t)len) {
		pr_fail(p, "write from the cache", -1);
	} else {
		memcpy(o->data + pos, src.buf, len);
		changed(p, o, pos, pos + len, o->size);
		if (pr_ok(p, "fsync", vfs_fsync(p->fs, f, false)))
			promise(p, PROMISE_MSYNC, o, false);
	}
	free(mem);
}

/* Often right behind what moved the size without writing: nothing else brings that to the device.
 */
static void maybe_fdatasync(struct promises *p, struct object *o, struct vfs_file *f)
{
	if (pr_rand(p, 3) == 0 && pr_ok(p, "fdatasync", vfs_fsync(p->fs, f, true)))
		promise(p, PROMISE_FDATASYNC, o, true);
}

static void set_size(struct promises *p, struct object *o, struct vfs_file *f, uint64_t size)
{
	uint64_t old = o->size;
	struct vfs_attr a = { .size = size };

	pr_deed(p, "truncate", o, size, 0, 0);
	if (!pr_ok(p, "truncate", vfs_setattr(p->fs, o->f.ino, VFS_SET_SIZE, &a, &fx_root, NULL)))
		return;
	if (size < old)
		memset(o->data + size, 0, old - size);
	changed(p, o, min_t(uint64_t, size, old), max_t(uint64_t, size, old), size);
	maybe_fdatasync(p, o, f);
}

static void truncate_it(struct promises *p, struct object *o, struct vfs_file *f)
{
	set_size(p, o, f, pr_rand(p, 4) ? pr_rand(p, o->size + 1) : pr_rand(p, PR_BYTES + 1));
}

/* fallocate(2) */
static void change_blocks(struct promises *p, struct object *o, struct vfs_file *f, int mode,
			  uint64_t pos, uint64_t len)
{
	uint64_t old = o->size, end = pos + len;

	pr_deed(p, "fallocate", o, pos, len, mode);
	if (!pr_ok(p, "fallocate", vfs_fallocate(p->fs, f, mode, pos, len)))
		return;
	if (mode & ~FALLOC_FL_KEEP_SIZE && min_t(uint64_t, end, old) > pos)
		memset(o->data + pos, 0, min_t(uint64_t, end, old) - pos);
	changed(p, o, min_t(uint64_t, pos, old), end,
		mode & FALLOC_FL_KEEP_SIZE ? old : max_t(uint64_t, old, end));
}

static void fallocate_it(struct promises *p, struct object *o, struct vfs_file *f)
{
	static const int modes[] = { 0, FALLOC_FL_KEEP_SIZE,
				     FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				     FALLOC_FL_ZERO_RANGE,
				     FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE };
	uint64_t pos, len;

	pick_range(p, o, &pos, &len);
	change_blocks(p, o, f, modes[pr_rand(p, ARRAY_SIZE(modes))], pos, len);
}

/* The file ends with a hole where data was, perhaps never written: no write-back moves its size. */
static void end_in_hole(struct promises *p, struct object *o, struct vfs_file *f)
{
	uint64_t pos = round_up_to(o->size, p->block_size), len = p->block_size;
	void *mem;
	uint8_t *buf;

	if (pos + len > PR_BYTES || f->flags & O_APPEND)
		return;
	buf = make_bytes(p, pos, len, &mem);
	pr_deed(p, "write and punch", o, pos, len, f->flags);
	if (vfs_pwrite(p->fs, f, buf, len, pos) != (int64_t)len) {
		pr_fail(p, "write", -1);
	} else {
		memcpy(o->data + pos, buf, len);
		changed(p, o, o->size, pos + len, pos + len);
		/* no promise: it would be one of this operation, of which more is to come */
		if (pr_ok(p, "punch",
			  vfs_fallocate(p->fs, f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, pos,
					len))) {
			memset(o->data + pos, 0, len);
			changed(p, o, pos, pos + len, pos + len);
			maybe_fdatasync(p, o, f);
		}
	}
	free(mem);
}

static void copy_between(struct promises *p, struct object *in, struct vfs_file *fin,
			 struct object *o, struct vfs_file *f)
{
	uint64_t pin, pos, len, old = o->size;
	int64_t n;

	pick_range(p, in, &pin, &len);
	pos = pr_rand(p, 2) ? pin : pr_rand(p, PR_BYTES);
	if (pr_rand(p, 4)) {
		pin = round_down_to(pin, p->block_size);
		pos = round_down_to(pos, p->block_size);
		len = PR_BYTES;
	}
	len = min_t(uint64_t, len, PR_BYTES - max_t(uint64_t, pin, pos));
	if (in == o && pin < pos + len && pos < pin + len)
		return;
	pr_deed(p, in == o ? "copy within" : "copy into", o, pos, len, (int)pin);
	n = vfs_copy_file_range(p->fs, fin, pin, f, pos, len, 0);
	if (n < 0) {
		pr_fail(p, "copy_file_range", n);
	} else if (n > 0) {
		memcpy(o->data + pos, in->data + pin, (size_t)n);
		changed(p, o, min_t(uint64_t, pos, old), pos + (uint64_t)n,
			max_t(uint64_t, old, pos + (uint64_t)n));
		promise_written(p, o, f);
	}
}

/* From another file, or within one: what lies alike is shared. */
static void copy_into(struct promises *p, struct object *o, struct vfs_file *f)
{
	struct object *in = pr_pick_file(p);
	struct vfs_file *fin = in ? pr_open(p, in, O_RDWR) : NULL;

	if (!fin)
		return;
	copy_between(p, in, fin, o, f);
	pr_close(p, in, fin);
}

/* What is alive is what it should be, wherever it was meanwhile. */
static void look(struct promises *p, struct object *o, struct vfs_file *f)
{
	uint8_t *buf = pr_must(malloc(PR_BYTES));
	struct vfs_attr a;
	int64_t n = vfs_pread(p->fs, f, buf, PR_BYTES, 0);

	if (n != (int64_t)o->size || memcmp(buf, o->data, o->size))
		pr_fail(p, "a file does not have its content", n);
	free(buf);
	if (!pr_ok(p, "getattr", vfs_getattr(p->fs, o->f.ino, &a)))
		return;
	if (a.size != o->size || a.mode != o->f.mode || a.uid != o->f.uid || a.gid != o->f.gid ||
	    a.nlink != o->f.nlink)
		pr_fail(p, "a file does not have its attributes", (int64_t)a.ino);
	if (pr_nsec(a.mtime) != o->mtimes.v[o->mtimes.nr - 1].v ||
	    pr_nsec(a.ctime) != o->ctimes.v[o->ctimes.nr - 1].v)
		pr_fail(p, "a file does not have its times", (int64_t)a.ino);
}

static int pick_flags(struct promises *p)
{
	static const int flags[] = { O_DIRECT, O_DIRECT,	   O_SYNC,
				     O_DSYNC,  O_DSYNC | O_DIRECT, O_SYNC | O_DIRECT,
				     O_APPEND, O_APPEND | O_DSYNC };
	uint64_t r = pr_rand(p, 2 * ARRAY_SIZE(flags));

	return O_RDWR | (r < ARRAY_SIZE(flags) ? flags[r] : 0);
}

void pr_content_op(struct promises *p)
{
	struct object *o = pr_pick_file(p);
	struct vfs_file *f = o ? pr_open(p, o, pick_flags(p)) : NULL;
	uint64_t r = pr_rand(p, 20);

	if (!f)
		return;
	if (r < 9)
		write_some(p, o, f);
	else if (r < 11)
		store_and_msync(p, o, f);
	else if (r < 13)
		truncate_it(p, o, f);
	else if (r < 14)
		fallocate_it(p, o, f);
	else if (r < 15)
		end_in_hole(p, o, f);
	else if (r < 17)
		copy_into(p, o, f);
	else if (r < 18)
		pr_ok(p, "unshare", fx_unshare(p->fs, f, pr_rand(p, PR_BYTES), PR_BYTES));
	else
		look(p, o, f);
	pr_close(p, o, f);
}

void pr_removal_op(struct promises *p)
{
	struct object *o = pr_pick_file(p);
	struct vfs_file *f = o ? pr_open(p, o, O_RDWR) : NULL;
	uint64_t bs = p->block_size, pos = round_down_to(pr_rand(p, PR_BYTES), bs);

	if (!f)
		return;
	if (pr_rand(p, 3))
		write_some(p, o, f);
	else if (pr_rand(p, 2))
		set_size(p, o, f, round_down_to(pr_rand(p, o->size + 1), bs));
	else
		change_blocks(p, o, f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, pos,
			      min_t(uint64_t, PR_BYTES - pos, bs * (1 + pr_rand(p, 8))));
	pr_close(p, o, f);
}

static void sync_dir(struct promises *p)
{
	unsigned int d = (unsigned int)pr_rand(p, PR_DIRS);

	if (pr_ok(p, "fsync of a directory", vfs_fsyncdir(p->fs, p->dir[d])))
		pr_promise(p, &(struct promise){ .kind = PROMISE_FSYNCDIR,
						 .op = p->op,
						 .names = p->dir_touched[d] });
}

void pr_sync_op(struct promises *p)
{
	uint64_t r = pr_rand(p, 10), trimmed;
	struct object *o;
	struct vfs_file *f;

	if (r < 2) {
		sync_dir(p);
		return;
	}
	if (r < 3) {
		int err = vfs_trim(p->fs, 0, UINT64_MAX, 0, NULL, NULL, &trimmed);

		pr_ok(p, "trim", err == -EBUSY ? 0 : err);
		return;
	}
	o = pr_pick_file(p);
	f = o ? pr_open(p, o, O_RDWR) : NULL;
	if (!f)
		return;
	pr_deed(p, "fsync", o, 0, 0, r < 6);
	if (pr_ok(p, "fsync", vfs_fsync(p->fs, f, r < 6)))
		promise(p, r < 6 ? PROMISE_FDATASYNC : PROMISE_FSYNC, o, r < 6);
	pr_close(p, o, f);
}

void promises_sync_beside(struct promises *p)
{
	struct vfs_file *f = NULL;
	struct promise pr = { 0 };
	struct object *o;
	bool data_only;

	pthread_mutex_lock(&p->lock);
	o = p->last && p->last->data ? p->last : pr_pick_file(p);
	data_only = pr_rand(p, 2);
	if (o && o->f.nlink && pr_ok(p, "open", vfs_open(p->fs, o->f.ino, O_RDWR, &f)))
		pr = promise_of(p, data_only ? PROMISE_FDATASYNC : PROMISE_FSYNC, o, data_only);
	pthread_mutex_unlock(&p->lock);
	if (!f)
		return;
	if (pr_ok(p, "fsync beside a writer", vfs_fsync(p->fs, f, data_only)))
		pr_promise(p, &pr);
	vfs_release(p->fs, f);
}
