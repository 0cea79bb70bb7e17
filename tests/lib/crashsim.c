// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>
#include "core/guard.h"
#include "fs/alloc.h"
#include "fs/journal.h"
#include "fs/vfs.h"
#include "fsck/check.h"
#include "tests/lib/crashdev.h"
#include "tests/lib/crashsim.h"

#define IMAGE_BYTES (8u << 20)
#define MAX_BLOCKS 80 /* of a file */
#define MAX_FILES 400 /* inodes ever made in a run */
#define NR_NAMES 14
#define NR_DIRS 4

/* A state of one block: from operation @op on it holds content with this hash. */
struct version {
	uint32_t op;
	uint64_t hash;
};

struct mblock {
	struct version *v;
	unsigned int nr;
};

/* A regular file, by inode number (never used twice). */
struct mfile {
	uint64_t ino, size;
	uint32_t made; /* operation that created it */
	uint8_t *data; /* MAX_BLOCKS blocks, current content */
	struct mblock block[MAX_BLOCKS];
	struct version *sizes; /* hash = size */
	unsigned int nr_sizes;
	struct version *syncs; /* op = all operations up to here are durable, hash = events recorded by then */
	unsigned int nr_syncs;
};

struct sim {
	const struct crashsim_opts *o;
	struct crashsim_result *r;
	struct crashdev *cd;
	struct tfs_fs *fs;
	uint64_t rng;
	uint32_t bs;
	uint64_t zero_hash;
	struct mfile file[MAX_FILES];
	unsigned int nr_files;
	uint64_t dir[NR_DIRS]; /* inode numbers, 0: none */
	/* per operation: events when it began, namespace after it */
	uint64_t *began, *space;
	uint32_t op;
	struct version *syncs; /* global: op, events */
	unsigned int nr_syncs;
};

static void *must(void *p)
{
	if (!p)
		abort();
	return p;
}

static void fail(struct sim *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void fail(struct sim *s, const char *fmt, ...)
{
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (!s->r->failures++)
		snprintf(s->r->first_failure, sizeof(s->r->first_failure), "%s", text);
}

static void push(struct version **v, unsigned int *nr, uint32_t op, uint64_t hash)
{
	if (!(*nr & (*nr - 1)))
		*v = must(realloc(*v, (*nr ? *nr * 2 : 1) * sizeof(**v)));
	(*v)[(*nr)++] = (struct version){ op, hash };
}

/* ---- namespace as one number ---- */

struct walk {
	struct tfs_fs *fs;
	uint64_t hash;
	struct {
		uint64_t ino;
		uint8_t type;
		char name[256];
	} ent[64];
	unsigned int nr;
	int err;
	void (*file)(struct sim *s, struct tfs_fs *fs, const struct vfs_attr *a);
	struct sim *sim;
};

static bool walk_fill(void *arg, const struct vfs_dirent *de)
{
	struct walk *w = arg;

	if ((de->len == 1 && de->name[0] == '.') || (de->len == 2 && !memcmp(de->name, "..", 2)))
		return true;
	if (w->nr == ARRAY_SIZE(w->ent))
		return false;
	w->ent[w->nr].ino = de->ino;
	w->ent[w->nr].type = de->type;
	memcpy(w->ent[w->nr].name, de->name, de->len);
	w->ent[w->nr++].name[de->len] = '\0';
	return true;
}

/* Entries come in hash order, which is the same for the same names, but rename may differ: a commutative sum. */
static void walk_add(struct walk *w, const char *text, size_t len)
{
	w->hash += guard_xxh3(text, len, 7);
}

static void walk_dir(struct walk *w, uint64_t dir, const char *path, int depth)
{
	struct walk *sub = must(calloc(1, sizeof(*sub)));

	sub->fs = w->fs;
	w->err = w->err ? w->err : vfs_readdir(w->fs, dir, 0, walk_fill, sub);
	for (unsigned int i = 0; i < sub->nr && !w->err && depth < 8; i++) {
		char line[1400], target[300] = "", xattr[64] = "", child[900];
		struct vfs_attr a;
		int n;

		w->err = vfs_lookup(w->fs, dir, sub->ent[i].name, &a);
		if (w->err)
			break;
		if (S_ISLNK(a.mode)) {
			n = vfs_readlink(w->fs, a.ino, target, sizeof(target) - 1);
			w->err = n < 0 ? n : 0;
		}
		n = vfs_getxattr(w->fs, a.ino, "user.t", xattr, sizeof(xattr) - 1);
		if (n < 0 && n != -ENODATA)
			w->err = n;
		snprintf(child, sizeof(child), "%.500s/%s", path, sub->ent[i].name);
		n = snprintf(line, sizeof(line), "%s %o %u %u %s %s %llu", child, a.mode, a.nlink, a.uid, target, xattr,
			     (unsigned long long)a.ino);
		walk_add(w, line, (size_t)n);
		if (a.ino != sub->ent[i].ino)
			w->err = -EUCLEAN;
		if (S_ISDIR(a.mode) && !w->err)
			walk_dir(w, a.ino, child, depth + 1);
		if (S_ISREG(a.mode) && w->file && !w->err)
			w->file(w->sim, w->fs, &a);
		vfs_forget(w->fs, a.ino, 1);
	}
	free(sub);
}

static int namespace_hash(struct sim *s, struct tfs_fs *fs, uint64_t *hash,
			  void (*file)(struct sim *s, struct tfs_fs *fs, const struct vfs_attr *a))
{
	struct walk w = { .fs = fs, .sim = s, .file = file };

	walk_dir(&w, TFS_INO_ROOT, "", 0);
	*hash = w.hash;
	return w.err;
}

/* ---- the model of file content ---- */

static struct mfile *find_file(struct sim *s, uint64_t ino)
{
	for (unsigned int i = 0; i < s->nr_files; i++)
		if (s->file[i].ino == ino)
			return &s->file[i];
	return NULL;
}

static struct mfile *new_file(struct sim *s, uint64_t ino)
{
	struct mfile *f = &s->file[s->nr_files++];

	if (s->nr_files == MAX_FILES)
		abort();
	f->ino = ino;
	f->made = s->op;
	f->data = must(calloc(MAX_BLOCKS, s->bs));
	for (int i = 0; i < MAX_BLOCKS; i++)
		push(&f->block[i].v, &f->block[i].nr, 0, s->zero_hash);
	push(&f->sizes, &f->nr_sizes, 0, 0);
	return f;
}

/* Blocks touching [from, to) have new content as of this operation. */
static void file_changed(struct sim *s, struct mfile *f, uint64_t from, uint64_t to)
{
	for (uint64_t b = from / s->bs; b < MAX_BLOCKS && b * s->bs < to; b++)
		push(&f->block[b].v, &f->block[b].nr, s->op, guard_xxh3(f->data + b * s->bs, s->bs, 3));
	push(&f->sizes, &f->nr_sizes, s->op, f->size);
}

/* All content and all names up to this operation are durable from now on. */
static void all_synced(struct sim *s)
{
	uint64_t ev = crashdev_events(s->cd);

	push(&s->syncs, &s->nr_syncs, s->op, ev);
	for (unsigned int i = 0; i < s->nr_files; i++)
		push(&s->file[i].syncs, &s->file[i].nr_syncs, s->op, ev);
}

/* Its content is, and, as one journal holds everything in order, all names up to its making. */
static void file_synced(struct sim *s, struct mfile *f)
{
	uint64_t ev = crashdev_events(s->cd);
	uint32_t before = s->nr_syncs ? s->syncs[s->nr_syncs - 1].op : 0;

	push(&f->syncs, &f->nr_syncs, s->op, ev);
	push(&s->syncs, &s->nr_syncs, max_t(uint32_t, before, f->made), ev);
}

/* Last operation known durable at a cut after @events. */
static uint32_t durable_op(const struct version *v, unsigned int nr, uint64_t events)
{
	while (nr && v[nr - 1].hash > events)
		nr--;
	return nr ? v[nr - 1].op : 0;
}

/* Is @hash a value the history had within (floor, ceil], or the one in force at @floor? */
static bool version_ok(const struct version *v, unsigned int nr, uint32_t floor, uint32_t ceil, uint64_t hash)
{
	for (unsigned int i = nr; i-- > 0;) {
		if (v[i].op > ceil)
			continue;
		if (v[i].hash == hash)
			return true;
		if (v[i].op <= floor)
			return false;
	}
	return false;
}

/* On-disk size: one the file had, or the end of a block written on the way between two of them. */
static bool size_ok(struct sim *s, const struct mfile *f, uint32_t floor, uint32_t ceil, uint64_t size)
{
	uint64_t lo = UINT64_MAX, hi = 0;

	if (version_ok(f->sizes, f->nr_sizes, floor, ceil, size))
		return true;
	for (unsigned int i = f->nr_sizes; i-- > 0;) {
		if (f->sizes[i].op > ceil)
			continue;
		lo = min_t(uint64_t, lo, f->sizes[i].hash);
		hi = max_t(uint64_t, hi, f->sizes[i].hash);
		if (f->sizes[i].op <= floor)
			break;
	}
	return size % s->bs == 0 && size >= lo && size <= hi;
}

/* ---- checking one crash image ---- */

static struct {
	uint32_t ceil;
	uint64_t events;
	bool ruined; /* a copy of superblock or log header may be rubbish until the next mount */
} cut;

static void check_file(struct sim *s, struct tfs_fs *fs, const struct vfs_attr *a)
{
	struct mfile *m = find_file(s, a->ino);
	struct vfs_file *f;
	uint32_t floor;
	uint8_t *buf;
	int64_t n;

	if (!m) {
		fail(s, "cut %llu: inode %llu was never made", (unsigned long long)cut.events,
		     (unsigned long long)a->ino);
		return;
	}
	floor = durable_op(m->syncs, m->nr_syncs, cut.events);
	if (!size_ok(s, m, floor, cut.ceil, a->size)) {
		fail(s, "cut %llu: inode %llu has size %llu, which it never had since operation %u (until %u)",
		     (unsigned long long)cut.events, (unsigned long long)a->ino, (unsigned long long)a->size, floor,
		     cut.ceil);
		return;
	}
	if (vfs_open(fs, a->ino, O_RDONLY, &f)) {
		fail(s, "open failed");
		return;
	}
	buf = must(malloc(s->bs));
	for (uint64_t b = 0; b < MAX_BLOCKS; b++) {
		memset(buf, 0, s->bs);
		n = vfs_pread(fs, f, buf, s->bs, b * s->bs);
		if (n < 0) {
			fail(s, "cut %llu: inode %llu block %llu: read: %s", (unsigned long long)cut.events,
			     (unsigned long long)a->ino, (unsigned long long)b, strerror((int)-n));
			break;
		}
		/* behind the size anything may be what the file had before it shrank or before it grew */
		if (b * s->bs >= a->size)
			break;
		if (!version_ok(m->block[b].v, m->block[b].nr, floor, cut.ceil, guard_xxh3(buf, s->bs, 3))) {
			fail(s,
			     "cut %llu: inode %llu block %llu (size %llu): content it did not have between operation "
			     "%u and %u",
			     (unsigned long long)cut.events, (unsigned long long)a->ino, (unsigned long long)b,
			     (unsigned long long)a->size, floor, cut.ceil);
			break;
		}
	}
	free(buf);
	vfs_release(fs, f);
}

static char report_text[400];

static void take_report(void *arg, const struct check_problem *p)
{
	if (p->severity != CHECK_NOTE && !report_text[0])
		snprintf(report_text, sizeof(report_text), "%s", p->text);
}

static bool check_clean(struct sim *s, struct bdev *b, const char *when)
{
	struct check_opts co = { .verify_data = true, .report = take_report };
	struct check_result res;
	char why[300] = "";
	int err;

	report_text[0] = '\0';
	err = tfs_check_device(b, &co, &res, why, sizeof(why));
	if (!err && !res.errors && !res.leaks)
		return true;
	fail(s, "cut %llu: not clean %s: %s %s", (unsigned long long)cut.events, when, why, report_text);
	return false;
}

static void check_mounted(struct sim *s, struct tfs_fs *fs)
{
	uint32_t floor = durable_op(s->syncs, s->nr_syncs, cut.events), k;
	uint64_t hash;
	int err = namespace_hash(s, fs, &hash, check_file);

	if (err) {
		fail(s, "cut %llu: walk: %s", (unsigned long long)cut.events, strerror(-err));
		return;
	}
	for (k = floor; k <= cut.ceil; k++)
		if (s->space[k] == hash)
			return;
	fail(s, "cut %llu: the namespace is none of those after operations %u to %u", (unsigned long long)cut.events,
	     floor, cut.ceil);
}

static void check_device(struct sim *s, struct bdev *b)
{
	struct tfs_mount_opts mo = { .no_threads = true, .cache_size = 4 << 20 };
	struct tfs_fs *fs;
	char why[300];
	int err;

	if (!cut.ruined && !check_clean(s, b, "as found"))
		return;
	err = vfs_mount(b, &mo, &fs, why, sizeof(why));
	if (err) {
		fail(s, "cut %llu: mount: %s", (unsigned long long)cut.events, why);
		return;
	}
	check_mounted(s, fs);
	err = vfs_unmount(fs);
	if (err)
		fail(s, "cut %llu: unmount: %s", (unsigned long long)cut.events, strerror(-err));
	check_clean(s, b, "after mount and unmount");
}

/* Cut the power again while the first cut is being recovered from. */
static void recut(struct sim *s, const void *image)
{
	struct crashdev *cd = crashdev_create(image, IMAGE_BYTES);
	struct tfs_mount_opts mo = { .no_threads = true, .cache_size = 4 << 20 };
	struct bdev *b;
	enum crash_mode mode;
	struct tfs_fs *fs;
	char why[300];
	uint64_t n;

	if (!vfs_mount(crashdev_bdev(cd), &mo, &fs, why, sizeof(why)))
		vfs_crash(fs);
	n = crashdev_events(cd);
	b = bdev_mem_create(IMAGE_BYTES);
	mode = test_rand(&s->rng) % CRASH_MODES;
	cut.ruined |= mode == CRASH_RUINED;
	crashdev_image(cd, n ? test_rand(&s->rng) % (n + 1) : 0, mode, &s->rng, bdev_mem_data(must(b)));
	check_device(s, b);
	bdev_close(b);
	crashdev_destroy(cd);
	s->r->recuts++;
}

static void cut_and_check(struct sim *s)
{
	uint64_t total = crashdev_events(s->cd);
	struct bdev *b = must(bdev_mem_create(IMAGE_BYTES));

	s->r->events = (unsigned int)total;
	for (unsigned int i = 0; i < s->o->images && s->r->failures < 20; i++) {
		enum crash_mode mode = i % CRASH_MODES;

		cut.events = total * i / s->o->images + 1;
		for (cut.ceil = s->op; s->began[cut.ceil] > cut.events; cut.ceil--)
			;
		crashdev_image(s->cd, cut.events, mode, &s->rng, bdev_mem_data(b));
		s->r->images++;
		cut.ruined = mode == CRASH_RUINED;
		if (s->o->recut_every && i % s->o->recut_every == 0)
			recut(s, bdev_mem_data(b));
		cut.ruined = mode == CRASH_RUINED;
		check_device(s, b);
	}
	bdev_close(b);
}

/* ---- the workload ---- */

static uint64_t pick_dir(struct sim *s)
{
	uint64_t d = s->dir[test_rand(&s->rng) % NR_DIRS];

	return d ? d : TFS_INO_ROOT;
}

static const char *pick_name(struct sim *s, char *buf)
{
	snprintf(buf, 16, "n%u", (unsigned int)(test_rand(&s->rng) % NR_NAMES));
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
		fail(s, "%s: %s", what, strerror((int)-err));
}

/* A regular file by random name, with a lookup reference; NULL: that is no such thing. */
static struct mfile *lookup_file(struct sim *s, struct vfs_attr *a)
{
	char name[16];

	if (vfs_lookup(s->fs, pick_dir(s), pick_name(s, name), a))
		return NULL;
	if (S_ISREG(a->mode))
		return find_file(s, a->ino);
	vfs_forget(s->fs, a->ino, 1);
	return NULL;
}

static void do_create(struct sim *s)
{
	struct vfs_cred cred = { 0 };
	struct vfs_attr a;
	char name[16];
	int err = vfs_create(s->fs, pick_dir(s), pick_name(s, name), 0644, &cred, O_RDWR, &a, NULL);

	expect(s, "create", err);
	if (!err) {
		new_file(s, a.ino);
		vfs_forget(s->fs, a.ino, 1);
	}
}

static void do_write(struct sim *s)
{
	static const uint32_t max_len[] = { 100, 3000, 9000, 40000, 200000 };
	uint64_t limit = (uint64_t)MAX_BLOCKS * s->bs, pos, len;
	struct vfs_file *f;
	struct vfs_attr a;
	struct mfile *m = lookup_file(s, &a);
	uint8_t *buf;
	int64_t n;

	if (!m)
		return;
	len = 1 + test_rand(&s->rng) % max_len[test_rand(&s->rng) % ARRAY_SIZE(max_len)];
	if (len > limit / 2)
		len = limit / 2;
	pos = test_rand(&s->rng) % 3 ? test_rand(&s->rng) % (m->size + 1) : test_rand(&s->rng) % (limit - len);
	if (test_rand(&s->rng) & 1)
		pos = round_down_to(pos, s->bs);
	if (pos + len > limit)
		pos = limit - len;
	buf = must(malloc(len));
	for (uint64_t i = 0; i < len; i++)
		buf[i] = (uint8_t)(1 + (s->op * 31 + i * 7 + (i >> 8)) % 255);
	if (!vfs_open(s->fs, a.ino, O_RDWR, &f)) {
		n = vfs_pwrite(s->fs, f, buf, len, pos);
		expect(s, "write", n);
		if (n > 0) {
			uint64_t old = m->size;

			memcpy(m->data + pos, buf, (size_t)n);
			m->size = max_t(uint64_t, m->size, pos + (uint64_t)n);
			file_changed(s, m, min_t(uint64_t, pos, old), pos + (uint64_t)n);
		}
		vfs_release(s->fs, f);
	}
	free(buf);
	vfs_forget(s->fs, a.ino, 1);
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
		file_changed(s, m, min_t(uint64_t, old, set.size), max_t(uint64_t, old, set.size));
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
			fail(s, "fsync: %s", strerror(-err));
		else
			file_synced(s, m);
		vfs_release(s->fs, f);
	}
	vfs_forget(s->fs, a.ino, 1);
}

static void do_names(struct sim *s)
{
	struct vfs_cred cred = { 0 };
	struct vfs_attr a, set = { 0 };
	char n1[16], n2[16], value[40];
	uint64_t d1 = pick_dir(s), d2 = pick_dir(s);

	pick_name(s, n1);
	pick_name(s, n2);
	switch (test_rand(&s->rng) % 9) {
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
		snprintf(value, sizeof(value), "v%u", s->op);
		if (test_rand(&s->rng) & 1)
			expect(s, "setxattr", vfs_setxattr(s->fs, a.ino, "user.t", value, strlen(value), 0, &cred));
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

static void do_sync(struct sim *s)
{
	int err;

	switch (test_rand(&s->rng) % 5) {
	case 0:
		err = vfs_sync(s->fs);
		if (!err)
			all_synced(s);
		break;
	case 1: /* the flusher's work: data goes out, nothing is promised */
	case 2:
		err = pagecache_sync(s->fs->pagecache, true);
		break;
	case 3:
		err = journal_commit_all(s->fs);
		break;
	default:
		err = journal_checkpoint(s->fs);
	}
	if (err)
		fail(s, "sync: %s", strerror(-err));
}

static void one_op(struct sim *s)
{
	uint64_t r = test_rand(&s->rng) % 100;

	if (r < 12)
		do_create(s);
	else if (r < 42)
		do_write(s);
	else if (r < 52)
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

static void workload(struct sim *s)
{
	for (s->op = 1; s->op <= s->o->ops && !s->r->failures; s->op++) {
		int err;

		s->began[s->op] = crashdev_events(s->cd);
		one_op(s);
		err = namespace_hash(s, s->fs, &s->space[s->op], NULL);
		if (err)
			fail(s, "walk after operation %u: %s", s->op, strerror(-err));
	}
	s->op--;
}

static int make_image(struct sim *s, struct bdev *b)
{
	struct tfs_format_opts fo = { .block_size = s->bs,
				      .blocks_per_group = (1u << 20) / s->bs,
				      .journal_bytes = 900u << 10,
				      .test_seed = s->o->seed };
	struct tfs_super super;
	struct tfs_geom geom;
	char why[300] = "";
	int err = tfs_format_plan(b, &fo, &super, &geom, why, sizeof(why));

	if (!err)
		err = tfs_format_write(b, &fo, &super, &geom);
	if (err)
		fail(s, "mkfs: %s %s", strerror(-err), why);
	return err;
}

static void sim_free(struct sim *s)
{
	for (unsigned int i = 0; i < s->nr_files; i++) {
		for (int b = 0; b < MAX_BLOCKS; b++)
			free(s->file[i].block[b].v);
		free(s->file[i].data);
		free(s->file[i].sizes);
		free(s->file[i].syncs);
	}
	free(s->began);
	free(s->space);
	free(s->syncs);
	if (s->cd)
		crashdev_destroy(s->cd);
	free(s);
}

static void sim_mount_and_run(struct sim *s)
{
	struct tfs_mount_opts mo = { .no_threads = true, .cache_size = 4 << 20, .break_rules = s->o->break_rules };
	char why[300];

	crashdev_lose_flushes(s->cd, s->o->lose_nth_flush);
	if (vfs_mount(crashdev_bdev(s->cd), &mo, &s->fs, why, sizeof(why))) {
		fail(s, "mount: %s", why);
		return;
	}
	namespace_hash(s, s->fs, &s->space[0], NULL);
	workload(s);
	vfs_crash(s->fs);
	if (!s->r->failures)
		cut_and_check(s);
}

void crashsim_run(const struct crashsim_opts *o, struct crashsim_result *r)
{
	struct sim *s = must(calloc(1, sizeof(*s)));
	struct bdev *b = must(bdev_mem_create(IMAGE_BYTES));
	uint8_t *zero;

	memset(r, 0, sizeof(*r));
	s->o = o;
	s->r = r;
	s->rng = o->seed;
	s->bs = o->block_size ? o->block_size : 4096;
	zero = must(calloc(1, s->bs));
	s->zero_hash = guard_xxh3(zero, s->bs, 3);
	free(zero);
	s->began = must(calloc(o->ops + 2, sizeof(*s->began)));
	s->space = must(calloc(o->ops + 2, sizeof(*s->space)));
	if (!make_image(s, b)) {
		s->cd = crashdev_create(bdev_mem_data(b), IMAGE_BYTES);
		sim_mount_and_run(s);
	}
	bdev_close(b);
	sim_free(s);
}
