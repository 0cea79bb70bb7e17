/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Disks that confirm a write and forget it, and go on living: the failure that a checksum beside
 * its block cannot see.
 *
 * A workload runs again and again on the same image, and each time another one of its write
 * commands is lost, or each sector of it is read once as it was before.  The mount goes on;
 * everything is read; it ends with an unmount or a crash; the next mount reads everything, writes
 * more, and reads everything again.  What comes back is right, or an error, or the mount is
 * refused.  Wrong is what no error told of: other bytes, another size, a file that is not there, or
 * one that should not be.
 *
 * Format 1 cannot notice one class (see may_be_wrong()).  Each other case of it is a failure.
 *
 * TALLYFS_OPS: how many writes of each combination are lost, spread evenly; as many as there are:
 * all of them.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core/block/bdev.h"
#include "core/iomap/iomap.h"
#include "core/lib/log.h"
#include "core/lib/util.h"
#include "core/pagecache/pagecache.h"
#include "fs/disk/geom.h"
#include "fs/inode/inode.h"
#include "fs/journal/journal.h"
#include "fs/state/fs.h"
#include "fs/vfs/vfs.h"
#include "tallyfs/format.h"
#include "tests/lib/fixture.h"
#include "tests/lib/faultdev.h"
#include "tests/lib/random.h"

#define NR_FILES 24
#define MAX_BYTES (40u << 10)
#define NR_FILL 70
#define FILL_BYTES 50000
#define SLICE 12 /* lost writes of a combination, by default */

struct model {
	bool exists, second_name;
	bool touched; /* since the last sync that succeeded */
	bool unsure;  /* an error told that something may be amiss */
	uint64_t size;
	uint8_t data[MAX_BYTES];
};

enum { NAMES, CONTENTS, HOLES, WHOLE, NR_WORKLOADS };
static const char *const workload_name[] = { "names", "contents", "holes and copies",
					     "whole files" };

struct lw {
	struct bdev *dev; /* a faultdev */
	struct tfs_fs *fs;
	int workload;
	uint64_t rng;
	unsigned int wrong, errors;
	char first_wrong[200];
	unsigned int fill; /* of the files new0, new1, ... */
	struct model file[NR_FILES];
};

enum verdict { NOTHING_LOST, RIGHT, ERRORS, REFUSED, WRONG_KNOWN, WRONG, NR_VERDICTS };

static void quiet(enum log_level lvl, const char *line)
{
}

static uint64_t pick(struct lw *w, uint64_t n)
{
	return test_rand(&w->rng) % n;
}

static const char *name_of(char *buf, int k, bool second)
{
	sprintf(buf, "%c%d_%080d", second ? 's' : 'f', k, k);
	return buf;
}

/* ---- operations: on the file system, and if it takes them, on the model ---- */

/* An operation on file @k ended with @err (or bytes).  True: the model follows. */
static bool done(struct lw *w, int k, int64_t err)
{
	w->file[k].touched = true;
	if (err >= 0)
		return true;
	w->errors++;
	/* a file system that takes nothing any more has changed nothing either */
	if (err != -EROFS)
		w->file[k].unsure = true;
	return false;
}

static struct vfs_file *open_file(struct lw *w, int k, int flags)
{
	struct vfs_attr a;
	struct vfs_file *f = NULL;
	char name[128];
	int err = vfs_lookup(w->fs, TFS_INO_ROOT, name_of(name, k, w->file[k].second_name), &a);

	if (!err) {
		err = vfs_open(w->fs, a.ino, flags, &f);
		vfs_forget(w->fs, a.ino, 1);
	}
	if (err)
		done(w, k, err);
	return err ? NULL : f;
}

static void do_create(struct lw *w, int k)
{
	struct vfs_attr a;
	char name[128];
	int err = vfs_create(w->fs, TFS_INO_ROOT, name_of(name, k, false), 0644, &fx_root, O_RDWR,
			     &a, NULL);

	if (!done(w, k, err))
		return;
	vfs_forget(w->fs, a.ino, 1);
	w->file[k].exists = true;
	w->file[k].second_name = false;
	w->file[k].size = 0;
	memset(w->file[k].data, 0, MAX_BYTES);
}

static void do_unlink(struct lw *w, int k)
{
	char name[128];

	if (done(w, k, vfs_unlink(w->fs, TFS_INO_ROOT, name_of(name, k, w->file[k].second_name))))
		w->file[k].exists = false;
}

static void do_rename(struct lw *w, int k)
{
	struct model *m = &w->file[k];
	char from[128], to[128];
	int err = vfs_rename(w->fs, TFS_INO_ROOT, name_of(from, k, m->second_name), TFS_INO_ROOT,
			     name_of(to, k, !m->second_name), 0);

	if (done(w, k, err))
		m->second_name = !m->second_name;
}

static void do_write(struct lw *w, int k, uint64_t pos, uint64_t len)
{
	struct vfs_file *f = open_file(w, k, O_RDWR);
	struct model *m = &w->file[k];
	uint8_t buf[MAX_BYTES];
	uint64_t i, tag = test_rand(&w->rng);
	int64_t n;

	if (!f)
		return;
	for (i = 0; i < len; i++)
		buf[i] = fx_byte(tag, i);
	n = vfs_pwrite(w->fs, f, buf, len, pos);
	vfs_release(w->fs, f);
	if (!done(w, k, n == (int64_t)len ? n : n < 0 ? n : -EIO))
		return;
	memcpy(m->data + pos, buf, len);
	m->size = max_t(uint64_t, m->size, pos + len);
}

static void do_truncate(struct lw *w, int k, uint64_t size)
{
	struct vfs_file *f = open_file(w, k, O_RDWR);
	struct vfs_attr set = { .size = size }, a;
	struct model *m = &w->file[k];
	int err;

	if (!f)
		return;
	err = vfs_setattr(w->fs, f->inode->ino, VFS_SET_SIZE, &set, &fx_root, &a);
	vfs_release(w->fs, f);
	if (!done(w, k, err))
		return;
	if (size < m->size)
		memset(m->data + size, 0, m->size - size);
	m->size = size;
}

static void do_fallocate(struct lw *w, int k, int mode, uint64_t pos, uint64_t len)
{
	struct vfs_file *f = open_file(w, k, O_RDWR);
	struct model *m = &w->file[k];
	int err;

	if (!f)
		return;
	err = vfs_fallocate(w->fs, f, mode, pos, len);
	vfs_release(w->fs, f);
	if (done(w, k, err) && (mode & FALLOC_FL_PUNCH_HOLE))
		memset(m->data + pos, 0, len);
}

/* The whole of @from becomes the front of @k. */
static void do_copy(struct lw *w, int k, int from)
{
	struct model *m = &w->file[k], *src = &w->file[from];
	struct vfs_file *in = open_file(w, from, O_RDONLY),
			*out = in ? open_file(w, k, O_RDWR) : NULL;
	int64_t n = 0;

	if (out) {
		n = vfs_copy_file_range(w->fs, in, 0, out, 0, src->size, 0);
		vfs_release(w->fs, out);
	}
	if (in)
		vfs_release(w->fs, in);
	if (!out || !done(w, k, n == (int64_t)src->size ? n : n < 0 ? n : -EIO))
		return;
	memcpy(m->data, src->data, src->size);
	m->size = max_t(uint64_t, m->size, src->size);
	m->unsure |= src->unsure;
}

static void one_op(struct lw *w)
{
	static const unsigned int kinds[NR_WORKLOADS] = { 4, 5, 10, 1 };
	int k = (int)pick(w, NR_FILES);
	struct model *m = &w->file[k];
	uint64_t pos = pick(w, MAX_BYTES - 1), len = 1 + pick(w, MAX_BYTES - pos);

	if (!m->exists) {
		do_create(w, k);
		return;
	}
	switch (pick(w, kinds[w->workload])) {
	case 0:
		do_write(w, k, 0, 1 + pick(w, w->workload == NAMES ? 1500 : MAX_BYTES));
		break;
	case 1:
		if (w->workload != NAMES) {
			do_write(w, k, pos, len);
			break;
		}
		/* fall through */
	case 2:
		do_rename(w, k);
		break;
	case 3:
		do_unlink(w, k);
		break;
	case 4:
		do_write(w, k, pos & ~4095ull, 4096 < MAX_BYTES - pos ? 4096 : 1);
		break;
	case 5:
		do_truncate(w, k, pos);
		break;
	case 6:
		do_fallocate(w, k, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, pos, len);
		break;
	case 7:
		do_fallocate(w, k, FALLOC_FL_KEEP_SIZE, pos, len);
		break;
	default:
		if (w->file[(k + 1) % NR_FILES].exists)
			do_copy(w, k, (k + 1) % NR_FILES);
	}
}

static void do_sync(struct lw *w)
{
	int k, err = vfs_sync(w->fs);

	w->errors += err != 0;
	for (k = 0; k < NR_FILES; k++) {
		w->file[k].unsure |= err && w->file[k].touched;
		w->file[k].touched = false;
	}
}

static void run(struct lw *w, int rounds)
{
	int r, i;

	for (r = 0; r < rounds; r++) {
		for (i = 0; i < 14; i++)
			one_op(w);
		do_sync(w);
		/* not at the end: there the last transaction is in the log alone */
		if (!(r & 1))
			journal_checkpoint(w->fs);
	}
}

/* New files, until there is hardly room: blocks that look free but are not, become something
 * else. */
static void fill(struct lw *w)
{
	struct vfs_attr a;
	struct vfs_file *f;
	uint8_t buf[FILL_BYTES];
	char name[32];
	unsigned int i;

	for (; w->fill < NR_FILL; w->fill++) {
		sprintf(name, "new%u", w->fill);
		if (vfs_create(w->fs, TFS_INO_ROOT, name, 0644, &fx_root, O_RDWR, &a, &f))
			break;
		vfs_forget(w->fs, a.ino, 1);
		for (i = 0; i < FILL_BYTES; i++)
			buf[i] = fx_byte(1000 + w->fill, i);
		w->errors += vfs_pwrite(w->fs, f, buf, FILL_BYTES, 0) != FILL_BYTES ||
			     vfs_fsync(w->fs, f, false);
		vfs_release(w->fs, f);
	}
	do_sync(w);
}

/* ---- looking ---- */

static void wrong(struct lw *w, int k, const char *what, uint64_t at)
{
	if (!w->wrong++)
		snprintf(w->first_wrong, sizeof(w->first_wrong), "file %d: %s (%llu)", k, what,
			 (unsigned long long)at);
}

static void judge_content(struct lw *w, int k, struct vfs_file *f)
{
	struct model *m = &w->file[k];
	uint8_t buf[1024];
	uint64_t pos, len;

	for (pos = 0; pos < m->size; pos += len) {
		len = min_t(uint64_t, sizeof(buf), m->size - pos);
		if (vfs_pread(w->fs, f, buf, len, pos) != (int64_t)len)
			w->errors++;
		else if (memcmp(buf, m->data + pos, len))
			wrong(w, k, "other bytes", pos);
	}
}

static void judge_file(struct lw *w, int k)
{
	struct model *m = &w->file[k];
	struct vfs_attr a;
	struct vfs_file *f;
	char name[128];
	int which, err;

	for (which = 0; which < 2; which++) {
		err = vfs_lookup(w->fs, TFS_INO_ROOT, name_of(name, k, which), &a);
		if (err && err != -ENOENT) {
			w->errors++;
			continue;
		}
		if (!err != (m->exists && m->second_name == (bool)which))
			wrong(w, k, err ? "is missing" : "should not be there", 0);
		if (err)
			continue;
		if (vfs_open(w->fs, a.ino, O_RDONLY, &f)) {
			w->errors++;
		} else {
			if (m->exists && a.size != m->size)
				wrong(w, k, "has another size", a.size);
			else if (m->exists)
				judge_content(w, k, f);
			vfs_release(w->fs, f);
		}
		vfs_forget(w->fs, a.ino, 1);
	}
}

static void judge(struct lw *w)
{
	int k;

	iomap_ioend_drain(); /* what still holds folios */
	pagecache_shrink(w->fs->pagecache, 0);
	for (k = 0; k < NR_FILES; k++)
		if (!w->file[k].unsure)
			judge_file(w, k);
}

/* ---- one case ---- */

static int mount_it(struct lw *w)
{
	struct tfs_mount_opts o = { .no_threads = true, .cache_size = 8u << 20 };
	char why[300];

	return vfs_mount(w->dev, &o, &w->fs, why, sizeof(why));
}

static void end_it(struct lw *w, bool crash)
{
	if (crash)
		vfs_crash(w->fs);
	else
		w->errors += vfs_unmount(w->fs) != 0;
}

/*
 * What format 1 does not vouch for: a group header is taken by its own checksum.  A command that
 * brings it home together with bitmap or tuple blocks takes them back together; then blocks in use
 * look free, or old data matches.
 */
static bool may_be_wrong(const struct tfs_geom *g, uint64_t off, uint64_t len)
{
	uint64_t group, header, end = off + len;

	for (group = 0; group < g->nr_groups; group++) {
		header = tfs_group_header_block(g, group) << g->blkbits;
		if (off <= header && end > tfs_group_bitmap_block(g, group) << g->blkbits)
			return true;
	}
	return false;
}

/* The same every time, up to the write that is lost.  Writes it took, in *writes. */
static enum verdict one_case(const void *start, struct bdev *mem, const struct lw *begin,
			     uint64_t n, enum fault_kind how, bool crash, uint64_t *writes)
{
	struct lw *w = malloc(sizeof(*w));
	struct tfs_geom geom;
	uint64_t off, len;
	enum verdict v = REFUSED;

	cr_assert_not_null(w);
	memcpy(w, begin, sizeof(*w));
	memcpy(bdev_mem_data(mem), start, mem->size);
	w->dev = faultdev_borrow(mem);
	if (n)
		faultdev_plan(w->dev, .kind = how, .ops = FAULT_WRITE, .nth = n);
	cr_assert_eq(mount_it(w), 0);
	geom = w->fs->geom;
	run(w, 4);
	judge(w);
	end_it(w, crash);
	*writes = faultdev_writes(w->dev);
	if (mount_it(w))
		goto out;
	judge(w);
	run(w, 2);
	fill(w);
	judge(w);
	end_it(w, !crash);
	if (mount_it(w))
		goto out;
	judge(w);
	vfs_crash(w->fs);
	v = w->errors ? ERRORS : RIGHT;
out:
	if (!faultdev_struck(w->dev, &off, &len))
		v = NOTHING_LOST;
	if (w->wrong)
		v = may_be_wrong(&geom, off, len) ? WRONG_KNOWN : WRONG;
	if (v == WRONG)
		fprintf(stderr, "%s: write %llu, %llu bytes at %llu: %u wrong: %s\n",
			workload_name[w->workload], (unsigned long long)n, (unsigned long long)len,
			(unsigned long long)off, w->wrong, w->first_wrong);
	bdev_close(w->dev);
	free(w);
	return v;
}

/* An image with files in it, and the model of it. */
static struct lw *prepare(struct bdev *mem, enum fx_size size, int workload)
{
	struct lw *w = calloc(1, sizeof(*w));

	cr_assert_not_null(w);
	w->workload = CONTENTS;
	w->rng = test_seed(7);
	fx_format(mem, size, 3);
	w->dev = mem;
	cr_assert_eq(mount_it(w), 0);
	run(w, 6);
	w->workload = workload;
	run(w, 2);
	end_it(w, false);
	cr_assert_eq(w->errors, 0);
	return w;
}

static void sweep(enum fx_size size, int workload)
{
	static const struct {
		enum fault_kind kind;
		const char *name;
	} how[] = { { FAULT_LOSE, "lost" }, { FAULT_STALE, "stale" } };
	struct bdev *mem = bdev_mem_create(fx_bytes(size));
	struct lw *begin = prepare(mem, size, workload);
	uint64_t most = test_ops(SLICE), all, n, nr, seen[NR_VERDICTS];
	void *start = malloc(mem->size);
	unsigned int wrongs = 0;
	unsigned int k;
	int crash;

	cr_assert_not_null(start);
	memcpy(start, bdev_mem_data(mem), mem->size);
	for (k = 0; k < ARRAY_SIZE(how); k++) {
		for (crash = 0; crash < 2; crash++) {
			memset(seen, 0, sizeof(seen));
			cr_assert_eq(one_case(start, mem, begin, 0, how[k].kind, crash, &all),
				     NOTHING_LOST);
			nr = min_t(uint64_t, most, all);
			for (n = 0; n < nr; n++)
				seen[one_case(start, mem, begin, all - n * all / nr, how[k].kind,
					      crash, &(uint64_t){ 0 })]++;
			fprintf(stderr,
				"%s, %u-byte blocks, %s, %s: %llu of %llu writes: %llu right, %llu "
				"errors, %llu "
				"refused, "
				"%llu wrong (known), %llu WRONG, %llu lost nothing\n",
				workload_name[workload], size == FX_SMALL1K ? 1024 : 4096,
				how[k].name, crash ? "crash" : "unmount", (unsigned long long)nr,
				(unsigned long long)all, (unsigned long long)seen[RIGHT],
				(unsigned long long)seen[ERRORS], (unsigned long long)seen[REFUSED],
				(unsigned long long)seen[WRONG_KNOWN],
				(unsigned long long)seen[WRONG],
				(unsigned long long)seen[NOTHING_LOST]);
			wrongs += (unsigned int)seen[WRONG];
		}
	}
	cr_assert_eq(wrongs, 0);
	free(start);
	free(begin);
	bdev_close(mem);
}

static void setup(void)
{
	fx_init();
	log_set_hook(quiet);
}

TestSuite(lost_writes, .init = setup, .fini = fx_exit);

Test(lost_writes, names)
{
	sweep(FX_SMALL, NAMES);
}

Test(lost_writes, names_1k)
{
	sweep(FX_SMALL1K, NAMES);
}

Test(lost_writes, contents)
{
	sweep(FX_SMALL, CONTENTS);
}

Test(lost_writes, contents_1k)
{
	sweep(FX_SMALL1K, CONTENTS);
}

Test(lost_writes, holes_and_copies)
{
	sweep(FX_SMALL, HOLES);
}

Test(lost_writes, holes_and_copies_1k)
{
	sweep(FX_SMALL1K, HOLES);
}

Test(lost_writes, whole_files)
{
	sweep(FX_SMALL, WHOLE);
}

Test(lost_writes, whole_files_1k)
{
	sweep(FX_SMALL1K, WHOLE);
}
