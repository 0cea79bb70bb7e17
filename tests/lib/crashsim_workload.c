/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the crash simulator does to the file system before the power goes. */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "fs/inode/inode.h"
#include "core/lib/util.h"
#include "core/pagecache/pagecache.h"
#include "fs/alloc/alloc_trim.h"
#include "fs/journal/journal.h"
#include "fs/vfs/vfs.h"
#include "tallyfs/format.h"
#include "tests/lib/crashsim_priv.h"
#include "tests/lib/fixture.h"
#include "tests/lib/random.h"

#define NR_NAMES 14
#define NR_LONG 60 /* names that fill tree nodes quickly */
#define NAME_BYTES 170

static uint64_t pick_dir(struct sim *s)
{
	uint64_t d = s->dir[test_rand(&s->rng) % NR_DIRS];

	return d ? d : TFS_INO_ROOT;
}

static const char *pick_name(struct sim *s, char *buf)
{
	if (test_rand(&s->rng) % 4)
		snprintf(buf, NAME_BYTES, "n%u", (unsigned int)(test_rand(&s->rng) % NR_NAMES));
	else
		snprintf(buf, NAME_BYTES, "%0160u", (unsigned int)(test_rand(&s->rng) % NR_LONG));
	return buf;
}

/* Errors a correct file system may give to a random operation. */
static void expect(struct sim *s, const char *what, int64_t err)
{
	static const int fine[] = { EEXIST, ENOENT, ENOTEMPTY, EISDIR, ENOTDIR, EINVAL,
				    ENOSPC, EPERM,  ENODATA,   ELOOP,  EMLINK };

	for (size_t i = 0; i < ARRAY_SIZE(fine); i++)
		if (err == -fine[i])
			return;
	if (err < 0)
		sim_fail(s, "%s: %s", what, strerror((int)-err));
}

/* A regular file by random name, with a lookup reference; NULL: that is no such thing. */
static struct mfile *lookup_file(struct sim *s, struct vfs_attr *a)
{
	char name[NAME_BYTES];

	if (vfs_lookup(s->fs, pick_dir(s), pick_name(s, name), a))
		return NULL;
	if (S_ISREG(a->mode))
		return sim_find_file(s, a->ino);
	vfs_forget(s->fs, a->ino, 1);
	return NULL;
}

static void do_create(struct sim *s)
{
	struct vfs_cred cred = { 0 };
	struct vfs_attr a;
	char name[NAME_BYTES];
	int err = vfs_create(s->fs, pick_dir(s), pick_name(s, name), 0644, &cred, O_RDWR, &a, NULL);

	expect(s, "create", err);
	if (!err) {
		sim_new_file(s, a.ino);
		vfs_forget(s->fs, a.ino, 1);
	}
}

/* What the model says of the file now is what a read gives: after an operation that failed half
 * way. */
static void resync(struct sim *s, struct mfile *m, struct vfs_file *f)
{
	uint64_t limit = (uint64_t)MAX_BLOCKS * s->bs;

	m->size = i_size_read(&f->inode->mapping);
	memset(m->data, 0, limit);
	if (vfs_pread(s->fs, f, m->data, min_t(uint64_t, limit, m->size), 0) < 0)
		sim_fail(s, "reading back failed");
	sim_file_changed(s, m, 0, limit);
}

/* Bytes that tell where and when they were written. */
static void fill(struct sim *s, uint8_t *buf, uint64_t len)
{
	for (uint64_t i = 0; i < len; i++)
		buf[i] = (uint8_t)(1 + (s->op * 31 + i * 7 + (i >> 8)) % 255);
}

static void write_at(struct sim *s, struct mfile *m, struct vfs_file *f, uint64_t pos, uint64_t len)
{
	uint64_t old = m->size;
	uint8_t *buf;
	void *mem;
	int64_t n;

	/* memory that lies in its pages as the data in its blocks: or no direct write would go
	 * straight to the device
	 */
	if (posix_memalign(&mem, 4096, 4096 + len))
		abort();
	buf = (uint8_t *)mem + pos % s->bs % 4096;
	fill(s, buf, len);
	n = vfs_pwrite(s->fs, f, buf, len, pos);
	expect(s, "write", n);
	if (n > 0) {
		memcpy(m->data + pos, buf, (size_t)n);
		m->size = max_t(uint64_t, m->size, pos + (uint64_t)n);
		sim_file_changed(s, m, min_t(uint64_t, pos, old), pos + (uint64_t)n);
	}
	free(mem);
}

static void write_file(struct sim *s, struct mfile *m, struct vfs_file *f)
{
	static const uint32_t max_len[] = { 100, 3000, 9000, 40000, 200000 };
	uint64_t limit = (uint64_t)MAX_BLOCKS * s->bs, pos, len;

	len = 1 + test_rand(&s->rng) % max_len[test_rand(&s->rng) % ARRAY_SIZE(max_len)];
	if (len > limit / 2)
		len = limit / 2;
	pos = test_rand(&s->rng) % 3 ? test_rand(&s->rng) % (m->size + 1)
				     : test_rand(&s->rng) % (limit - len);
	if (test_rand(&s->rng) & 1)
		pos = round_down_to(pos, s->bs);
	if (pos + len > limit)
		pos = limit - len;
	/* direct writes: mostly whole blocks, which go past the cache */
	if (f->flags & O_DIRECT && test_rand(&s->rng) % 4) {
		pos = round_down_to(pos, s->bs);
		len = min_t(uint64_t, round_up_to(len, s->bs), limit - pos);
	}
	write_at(s, m, f, pos, len);
}

/* Every other block: as many extents, more than one transaction removes. */
static void scatter_file(struct sim *s, struct mfile *m, struct vfs_file *f)
{
	uint64_t from = test_rand(&s->rng) % 8,
		 n = min_t(uint64_t, MAX_BLOCKS, (512u << 10) / s->bs);

	for (uint64_t b = from; b < n; b += 2)
		write_at(s, m, f, b * s->bs, min_t(uint64_t, s->bs, 700));
}

static void fallocate_file(struct sim *s, struct mfile *m, struct vfs_file *f)
{
	static const int modes[] = { 0,
				     FALLOC_FL_KEEP_SIZE,
				     FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				     FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				     FALLOC_FL_ZERO_RANGE,
				     FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE };
	uint64_t limit = (uint64_t)MAX_BLOCKS * s->bs, pos = test_rand(&s->rng) % (limit - 1), end,
		 old = m->size;
	uint64_t len = 1 + test_rand(&s->rng) % min_t(uint64_t, limit - pos, 30 * s->bs), zeroed;
	int mode = modes[test_rand(&s->rng) % ARRAY_SIZE(modes)], err;

	err = vfs_fallocate(s->fs, f, mode, pos, len);
	expect(s, "fallocate", err);
	if (err) {
		resync(s, m, f);
		return;
	}
	end = pos + len;
	zeroed = min_t(uint64_t, end, old);
	if (mode & ~FALLOC_FL_KEEP_SIZE && zeroed > pos)
		memset(m->data + pos, 0, zeroed - pos);
	if (!(mode & FALLOC_FL_KEEP_SIZE))
		m->size = max_t(uint64_t, old, end);
	sim_file_changed(s, m, min_t(uint64_t, pos, old), end);
}

static void copy_between(struct sim *s, struct mfile *in, struct vfs_file *fin, struct mfile *out,
			 struct vfs_file *fout)
{
	uint64_t limit = (uint64_t)MAX_BLOCKS * s->bs, pin = test_rand(&s->rng) % (in->size + 1);
	uint64_t pout = test_rand(&s->rng) % limit, len = 1 + test_rand(&s->rng) % limit,
		 old = out->size;
	int64_t n;

	if (test_rand(&s->rng) % 4) {
		pin = round_down_to(pin, s->bs);
		pout = test_rand(&s->rng) & 1 ? pin : round_down_to(pout, s->bs);
	}
	if (pout >= limit)
		pout = 0;
	if (len > limit - pout)
		len = limit - pout;
	n = vfs_copy_file_range(s->fs, fin, pin, fout, pout, len, 0);
	expect(s, "copy_file_range", n);
	if (n > 0) {
		memmove(out->data + pout, in->data + pin, (size_t)n);
		out->size = max_t(uint64_t, old, pout + (uint64_t)n);
		sim_file_changed(s, out, min_t(uint64_t, pout, old), pout + (uint64_t)n);
	} else if (n < 0) {
		resync(s, out, fout);
	}
}

/* Copies into the file, from another or from itself: what lies alike is shared.  The model knows
 * nothing of that. */
static void share_file(struct sim *s, struct mfile *m, struct vfs_file *f)
{
	struct vfs_file *fin;
	struct mfile *in;
	struct vfs_attr a;

	in = lookup_file(s, &a);
	if (!in)
		return;
	if (!vfs_open(s->fs, a.ino, O_RDWR, &fin)) {
		copy_between(s, in, fin, m, f);
		vfs_release(s->fs, fin);
	}
	vfs_forget(s->fs, a.ino, 1);
}

/* Changes nothing that can be seen. */
static void unshare_file(struct sim *s, struct mfile *m, struct vfs_file *f)
{
	expect(s, "unshare",
	       fx_unshare(s->fs, f, test_rand(&s->rng) % (m->size + 1),
			  test_rand(&s->rng) % 100000));
}

static void change_file(struct sim *s, struct mfile *m, struct vfs_file *f)
{
	uint64_t r = test_rand(&s->rng) % 14;

	if (r < 7)
		write_file(s, m, f);
	else if (r < 8)
		scatter_file(s, m, f);
	else if (r < 11)
		share_file(s, m, f);
	else if (r < 12)
		unshare_file(s, m, f);
	else
		fallocate_file(s, m, f);
}

static void do_write(struct sim *s)
{
	struct vfs_file *f;
	struct vfs_attr a;
	struct mfile *m = lookup_file(s, &a);

	if (!m)
		return;
	if (!vfs_open(s->fs, a.ino, O_RDWR | (test_rand(&s->rng) % 3 ? 0 : O_DIRECT), &f)) {
		change_file(s, m, f);
		vfs_release(s->fs, f);
	}
	vfs_forget(s->fs, a.ino, 1);
}

/* ---- files kept open: their names may go, or they never had one ---- */

static void let_go(struct sim *s, unsigned int k)
{
	if (!s->held[k].f)
		return;
	vfs_release(s->fs, s->held[k].f);
	vfs_forget(s->fs, s->held[k].ino, 1);
	s->held[k].f = NULL;
}

static void hold_one(struct sim *s, unsigned int k)
{
	struct vfs_cred cred = { 0 };
	struct vfs_attr a;
	int err = 0;

	if (test_rand(&s->rng) & 1) {
		if (!lookup_file(s, &a))
			return;
		err = vfs_open(s->fs, a.ino, O_RDWR, &s->held[k].f);
		if (err)
			vfs_forget(s->fs, a.ino, 1);
	} else {
		err = vfs_tmpfile(s->fs, pick_dir(s), 0600, &cred, O_RDWR, &a, &s->held[k].f);
		if (!err)
			sim_new_file(s, a.ino);
	}
	s->held[k].ino = a.ino;
	expect(s, "open", err);
}

static void do_held(struct sim *s)
{
	unsigned int k = (unsigned int)(test_rand(&s->rng) % NR_HELD);
	struct mfile *m;
	struct vfs_attr a;
	char name[NAME_BYTES];
	int err;

	if (!s->held[k].f) {
		hold_one(s, k);
		return;
	}
	m = sim_find_file(s, s->held[k].ino);
	switch (test_rand(&s->rng) % 6) {
	case 0:
		let_go(s, k);
		break;
	case 1:
		err = vfs_fsync(s->fs, s->held[k].f, false);
		if (err)
			sim_fail(s, "fsync: %s", strerror(-err));
		else
			sim_file_synced(s, m);
		break;
	case 2: /* gives a name to a temporary file */
		err = vfs_link(s->fs, m->ino, pick_dir(s), pick_name(s, name), &a);
		expect(s, "link", err);
		if (!err)
			vfs_forget(s->fs, m->ino, 1);
		break;
	default:
		change_file(s, m, s->held[k].f);
	}
}

static void do_truncate(struct sim *s)
{
	struct vfs_cred cred = { 0 };
	struct vfs_attr a, set = { 0 };
	struct mfile *m = lookup_file(s, &a);
	uint64_t old;
	int err;

	if (!m)
		return;
	old = m->size;
	set.size = test_rand(&s->rng) % 4 ? test_rand(&s->rng) % (m->size + 1)
					  : test_rand(&s->rng) % ((uint64_t)MAX_BLOCKS * s->bs);
	err = vfs_setattr(s->fs, a.ino, VFS_SET_SIZE, &set, &cred, &a);
	expect(s, "truncate", err);
	if (!err) {
		if (set.size < old)
			memset(m->data + set.size, 0, old - set.size);
		m->size = set.size;
		sim_file_changed(s, m, min_t(uint64_t, old, set.size),
				 max_t(uint64_t, old, set.size));
	}
	vfs_forget(s->fs, a.ino, 1);
}

static void do_fsync(struct sim *s)
{
	struct vfs_file *f;
	struct vfs_attr a;
	struct mfile *m = lookup_file(s, &a);
	int err;

	if (!m)
		return;
	if (!vfs_open(s->fs, a.ino, O_RDWR, &f)) {
		err = vfs_fsync(s->fs, f, test_rand(&s->rng) & 1);
		if (err)
			sim_fail(s, "fsync: %s", strerror(-err));
		else
			sim_file_synced(s, m);
		vfs_release(s->fs, f);
	}
	vfs_forget(s->fs, a.ino, 1);
}

static void do_names(struct sim *s)
{
	struct vfs_cred cred = { 0 };
	struct vfs_attr a, set = { 0 };
	char n1[NAME_BYTES], n2[NAME_BYTES], value[MAX_ATTR];
	size_t len;
	uint64_t d1 = pick_dir(s), d2 = pick_dir(s);

	pick_name(s, n1);
	pick_name(s, n2);
	switch (test_rand(&s->rng) % 10) {
	case 0:
		expect(s, "unlink", vfs_unlink(s->fs, d1, n1));
		break;
	case 1:
	case 2:
		expect(s, "rename", vfs_rename(s->fs, d1, n1, d2, n2, 0));
		break;
	case 3:
		if (vfs_lookup(s->fs, d1, n1, &a))
			break;
		if (!S_ISDIR(a.mode)) {
			struct vfs_attr b;
			int err = vfs_link(s->fs, a.ino, d2, n2, &b);

			expect(s, "link", err);
			if (!err)
				vfs_forget(s->fs, b.ino, 1);
		}
		vfs_forget(s->fs, a.ino, 1);
		break;
	case 4:
		if (!vfs_symlink(s->fs, d1, n1, "target/of/a/link", &cred, &a))
			vfs_forget(s->fs, a.ino, 1);
		break;
	case 5:
	case 6:
		if (vfs_lookup(s->fs, d1, n1, &a))
			break;
		len = test_rand(&s->rng) % 3 ? 4 + test_rand(&s->rng) % 40
					     : 4 + test_rand(&s->rng) % (MAX_ATTR - 4);
		memset(value, (int)(s->op % 251), len);
		memcpy(value, &s->op, 4);
		if (test_rand(&s->rng) & 1)
			expect(s, "setxattr",
			       vfs_setxattr(s->fs, a.ino, "user.t", value, len, 0, &cred));
		else
			expect(s, "removexattr", vfs_removexattr(s->fs, a.ino, "user.t", &cred));
		vfs_forget(s->fs, a.ino, 1);
		break;
	case 7:
		if (vfs_lookup(s->fs, d1, n1, &a))
			break;
		set.mode = 0600 + s->op % 64;
		expect(s, "chmod", vfs_setattr(s->fs, a.ino, VFS_SET_MODE, &set, &cred, &set));
		vfs_forget(s->fs, a.ino, 1);
		break;
	case 8:
		expect(s, "exchange", vfs_rename(s->fs, d1, n1, d2, n2, 2 /* RENAME_EXCHANGE */));
		break;
	case 9:
		expect(s, "whiteout", vfs_rename_whiteout(s->fs, d1, n1, d2, n2, 0, &cred));
		break;
	}
}

static void do_dirs(struct sim *s)
{
	unsigned int i = (unsigned int)(test_rand(&s->rng) % NR_DIRS);
	struct vfs_cred cred = { 0 };
	struct vfs_attr a;
	char name[16];
	int err;

	snprintf(name, sizeof(name), "d%u", i);
	if (s->dir[i]) {
		err = vfs_rmdir(s->fs, TFS_INO_ROOT, name);
		expect(s, "rmdir", err);
		if (!err)
			s->dir[i] = 0;
		return;
	}
	err = vfs_mkdir(s->fs, TFS_INO_ROOT, name, 0755, &cred, &a);
	expect(s, "mkdir", err);
	if (!err) {
		s->dir[i] = a.ino;
		vfs_forget(s->fs, a.ino, 1);
	}
}

/* What is free goes, at times with a commit before; nobody may notice. */
static int trim(struct sim *s)
{
	uint64_t total = s->fs->geom.total_blocks,
		 from = test_rand(&s->rng) % 2 ? 0 : test_rand(&s->rng) % total;
	uint64_t trimmed;

	if (test_rand(&s->rng) % 2)
		return vfs_trim(s->fs, from * s->bs, UINT64_MAX, 0, NULL, NULL, &trimmed);
	return alloc_trim(s->fs, from, total, test_rand(&s->rng) % 20, NULL, NULL, &trimmed);
}

static void do_sync(struct sim *s)
{
	int err;

	switch (test_rand(&s->rng) % 7) {
	case 0:
		err = vfs_sync(s->fs);
		if (!err)
			sim_all_synced(s);
		break;
	case 1: /* the flusher's work: data goes out, nothing is promised */
	case 2:
		err = pagecache_sync(s->fs->pagecache, true);
		break;
	case 3:
		err = journal_commit_all(s->fs);
		break;
	case 4:
	case 5:
		err = trim(s);
		break;
	default:
		err = journal_checkpoint(s->fs);
	}
	if (err)
		sim_fail(s, "sync: %s", strerror(-err));
}

static void one_op(struct sim *s)
{
	uint64_t r = test_rand(&s->rng) % 100;

	if (r < 12)
		do_create(s);
	else if (r < 37)
		do_write(s);
	else if (r < 45)
		do_held(s);
	else if (r < 53)
		do_truncate(s);
	else if (r < 60)
		do_fsync(s);
	else if (r < 85)
		do_names(s);
	else if (r < 89)
		do_dirs(s);
	else
		do_sync(s);
}

void sim_workload(struct sim *s)
{
	for (s->op = 1; s->op <= s->o->ops && !s->r->failures; s->op++) {
		int err;

		s->began[s->op] = crashdev_events(s->cd);
		one_op(s);
		err = sim_namespace_hash(s, s->fs, &s->space[s->op], NULL);
		if (err)
			sim_fail(s, "walk after operation %u: %s", s->op, strerror(-err));
	}
	s->op--;
	for (unsigned int k = 0; k < NR_HELD; k++)
		let_go(s, k);
}
