/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "core/block/bdev.h"
#include "core/block/guard.h"
#include "core/lib/util.h"
#include "fs/disk/geom.h"
#include "fs/state/fs.h"
#include "fs/vfs/mkfs.h"
#include "fs/vfs/vfs.h"
#include "fsck/check.h"
#include "tallyfs/format.h"
#include "tests/lib/crashsim_priv.h"
#include "tests/lib/random.h"

#define SMALL_IMAGE (8u << 20)
#define LARGE_IMAGE (24u << 20) /* for large blocks, and the journal that goes with them */

void *sim_must(void *p)
{
	if (!p)
		abort();
	return p;
}

void sim_fail(struct sim *s, const char *fmt, ...)
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
		*v = sim_must(realloc(*v, (*nr ? *nr * 2 : 1) * sizeof(**v)));
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
	} ent[160];
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

/* Entries come in hash order, which is the same for the same names, but rename may differ: a
 * commutative sum. */
static void walk_add(struct walk *w, const char *text, size_t len)
{
	w->hash += guard_xxh3(text, len, 7);
}

static void walk_dir(struct walk *w, uint64_t dir, const char *path, int depth)
{
	struct walk *sub = sim_must(calloc(1, sizeof(*sub)));

	sub->fs = w->fs;
	w->err = w->err ? w->err : vfs_readdir(w->fs, dir, 0, walk_fill, sub);
	for (unsigned int i = 0; i < sub->nr && !w->err && depth < 8; i++) {
		char line[1400], target[300] = "", xattr[MAX_ATTR], child[900];
		struct vfs_attr a;
		uint64_t attr;
		int n;

		w->err = vfs_lookup(w->fs, dir, sub->ent[i].name, &a);
		if (w->err)
			break;
		if (S_ISLNK(a.mode)) {
			n = vfs_readlink(w->fs, a.ino, target, sizeof(target) - 1);
			w->err = n < 0 ? n : 0;
		}
		n = vfs_getxattr(w->fs, a.ino, "user.t", xattr, sizeof(xattr));
		if (n < 0 && n != -ENODATA)
			w->err = n;
		attr = guard_xxh3(xattr, n > 0 ? (size_t)n : 0, 5);
		snprintf(child, sizeof(child), "%.500s/%s", path, sub->ent[i].name);
		n = snprintf(line, sizeof(line), "%s %o %u %u %s %llx %llu", child, a.mode, a.nlink,
			     a.uid, target, (unsigned long long)attr, (unsigned long long)a.ino);
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

int sim_namespace_hash(struct sim *s, struct tfs_fs *fs, uint64_t *hash,
		       void (*file)(struct sim *s, struct tfs_fs *fs, const struct vfs_attr *a))
{
	struct walk w = { .fs = fs, .sim = s, .file = file };

	walk_dir(&w, TFS_INO_ROOT, "", 0);
	*hash = w.hash;
	return w.err;
}

/* ---- the model of file content ---- */

struct mfile *sim_find_file(struct sim *s, uint64_t ino)
{
	for (unsigned int i = 0; i < s->nr_files; i++)
		if (s->file[i].ino == ino)
			return &s->file[i];
	return NULL;
}

struct mfile *sim_new_file(struct sim *s, uint64_t ino)
{
	struct mfile *f = &s->file[s->nr_files++];

	if (s->nr_files == MAX_FILES)
		abort();
	f->ino = ino;
	f->made = s->op;
	f->data = sim_must(calloc(MAX_BLOCKS, s->bs));
	for (int i = 0; i < MAX_BLOCKS; i++)
		push(&f->block[i].v, &f->block[i].nr, 0, s->zero_hash);
	push(&f->sizes, &f->nr_sizes, 0, 0);
	return f;
}

/* Blocks touching [from, to) have new content as of this operation. */
void sim_file_changed(struct sim *s, struct mfile *f, uint64_t from, uint64_t to)
{
	for (uint64_t b = from / s->bs; b < MAX_BLOCKS && b * s->bs < to; b++)
		push(&f->block[b].v, &f->block[b].nr, s->op,
		     guard_xxh3(f->data + b * s->bs, s->bs, 3));
	push(&f->sizes, &f->nr_sizes, s->op, f->size);
}

/* All content and all names up to this operation are durable from now on. */
void sim_all_synced(struct sim *s)
{
	uint64_t ev = crashdev_events(s->cd);

	push(&s->syncs, &s->nr_syncs, s->op, ev);
	for (unsigned int i = 0; i < s->nr_files; i++)
		push(&s->file[i].syncs, &s->file[i].nr_syncs, s->op, ev);
}

/* Its content is, and, as one journal holds everything in order, all names up to its making. */
void sim_file_synced(struct sim *s, struct mfile *f)
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
static bool version_ok(const struct version *v, unsigned int nr, uint32_t floor, uint32_t ceil,
		       uint64_t hash)
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
static bool size_ok(struct sim *s, const struct mfile *f, uint32_t floor, uint32_t ceil,
		    uint64_t size)
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
	struct mfile *m = sim_find_file(s, a->ino);
	struct vfs_file *f;
	uint32_t floor;
	uint8_t *buf;
	int64_t n;

	if (!m) {
		sim_fail(s, "cut %llu: inode %llu was never made", (unsigned long long)cut.events,
			 (unsigned long long)a->ino);
		return;
	}
	floor = durable_op(m->syncs, m->nr_syncs, cut.events);
	if (!size_ok(s, m, floor, cut.ceil, a->size)) {
		sim_fail(s,
			 "cut %llu: inode %llu has size %llu, which it never had since operation "
			 "%u (until %u)",
			 (unsigned long long)cut.events, (unsigned long long)a->ino,
			 (unsigned long long)a->size, floor, cut.ceil);
		return;
	}
	if (vfs_open(fs, a->ino, O_RDONLY, &f)) {
		sim_fail(s, "open failed");
		return;
	}
	buf = sim_must(malloc(s->bs));
	for (uint64_t b = 0; b < MAX_BLOCKS; b++) {
		memset(buf, 0, s->bs);
		n = vfs_pread(fs, f, buf, s->bs, b * s->bs);
		if (n < 0) {
			sim_fail(s, "cut %llu: inode %llu block %llu: read: %s",
				 (unsigned long long)cut.events, (unsigned long long)a->ino,
				 (unsigned long long)b, strerror((int)-n));
			break;
		}
		/* behind the size anything may be what the file had before it shrank or before it
		 * grew */
		if (b * s->bs >= a->size)
			break;
		if (!version_ok(m->block[b].v, m->block[b].nr, floor, cut.ceil,
				guard_xxh3(buf, s->bs, 3))) {
			sim_fail(s,
				 "cut %llu: inode %llu block %llu (size %llu): content it did not "
				 "have between "
				 "operation "
				 "%u and %u",
				 (unsigned long long)cut.events, (unsigned long long)a->ino,
				 (unsigned long long)b, (unsigned long long)a->size, floor,
				 cut.ceil);
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
	sim_fail(s, "cut %llu: not clean %s: %s %s", (unsigned long long)cut.events, when, why,
		 report_text);
	return false;
}

static void check_mounted(struct sim *s, struct tfs_fs *fs)
{
	uint32_t floor = durable_op(s->syncs, s->nr_syncs, cut.events), k;
	uint64_t hash;
	int err = sim_namespace_hash(s, fs, &hash, check_file);

	if (err) {
		sim_fail(s, "cut %llu: walk: %s", (unsigned long long)cut.events, strerror(-err));
		return;
	}
	for (k = floor; k <= cut.ceil; k++)
		if (s->space[k] == hash)
			return;
	sim_fail(s, "cut %llu: the namespace is none of those after operations %u to %u",
		 (unsigned long long)cut.events, floor, cut.ceil);
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
		sim_fail(s, "cut %llu: mount: %s", (unsigned long long)cut.events, why);
		return;
	}
	check_mounted(s, fs);
	err = vfs_unmount(fs);
	if (err)
		sim_fail(s, "cut %llu: unmount: %s", (unsigned long long)cut.events,
			 strerror(-err));
	check_clean(s, b, "after mount and unmount");
}

/* Cut the power again while the first cut is being recovered from. */
static void recut(struct sim *s, const void *image)
{
	struct crashdev *cd = crashdev_create(image, s->image_bytes);
	struct tfs_mount_opts mo = { .no_threads = true, .cache_size = 4 << 20 };
	struct bdev *b;
	enum crash_mode mode;
	struct tfs_fs *fs;
	char why[300];
	uint64_t n;

	if (!vfs_mount(crashdev_bdev(cd), &mo, &fs, why, sizeof(why)))
		vfs_crash(fs);
	n = crashdev_events(cd);
	b = bdev_mem_create(s->image_bytes);
	mode = test_rand(&s->rng) % CRASH_MODES;
	cut.ruined |= mode == CRASH_RUINED;
	crashdev_image(cd, n ? test_rand(&s->rng) % (n + 1) : 0, mode, &s->rng,
		       bdev_mem_data(sim_must(b)));
	check_device(s, b);
	bdev_close(b);
	crashdev_destroy(cd);
	s->r->recuts++;
}

static void cut_and_check(struct sim *s)
{
	uint64_t total = crashdev_events(s->cd);
	struct bdev *b = sim_must(bdev_mem_create(s->image_bytes));

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

static int make_image(struct sim *s, struct bdev *b)
{
	struct tfs_format_opts fo = { .block_size = s->bs,
				      .blocks_per_group = max_t(uint32_t, (1u << 20) / s->bs, 128),
				      .journal_bytes = s->bs > 4096 ? 0 : 900u << 10,
				      .test_seed = s->o->seed };
	struct tfs_super super;
	struct tfs_geom geom;
	char why[300] = "";
	int err = tfs_format_plan(b, &fo, &super, &geom, why, sizeof(why));

	if (!err)
		err = tfs_format_write(b, &fo, &super, &geom);
	if (err)
		sim_fail(s, "mkfs: %s %s", strerror(-err), why);
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
	struct tfs_mount_opts mo = { .no_threads = true,
				     .cache_size = 4 << 20,
				     .break_rules = s->o->break_rules };
	char why[300];

	crashdev_lose_flushes(s->cd, s->o->lose_nth_flush);
	if (vfs_mount(crashdev_bdev(s->cd), &mo, &s->fs, why, sizeof(why))) {
		sim_fail(s, "mount: %s", why);
		return;
	}
	sim_namespace_hash(s, s->fs, &s->space[0], NULL);
	sim_workload(s);
	vfs_crash(s->fs);
	if (!s->r->failures)
		cut_and_check(s);
}

void crashsim_run(const struct crashsim_opts *o, struct crashsim_result *r)
{
	struct sim *s = sim_must(calloc(1, sizeof(*s)));
	uint8_t *zero;
	struct bdev *b;

	memset(r, 0, sizeof(*r));
	s->o = o;
	s->r = r;
	s->rng = o->seed;
	s->bs = o->block_size ? o->block_size : 4096;
	s->image_bytes = s->bs > 4096 ? LARGE_IMAGE : SMALL_IMAGE;
	b = sim_must(bdev_mem_create(s->image_bytes));
	zero = sim_must(calloc(1, s->bs));
	s->zero_hash = guard_xxh3(zero, s->bs, 3);
	free(zero);
	s->began = sim_must(calloc(o->ops + 2, sizeof(*s->began)));
	s->space = sim_must(calloc(o->ops + 2, sizeof(*s->space)));
	if (!make_image(s, b)) {
		s->cd = crashdev_create(bdev_mem_data(b), s->image_bytes);
		crashdev_allow_fua(s->cd, o->seed & 1);
		sim_mount_and_run(s);
	}
	bdev_close(b);
	sim_free(s);
}
