/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core/block/guard.h"
#include "core/pagecache/pagecache.h"
#include "fs/inode/inode_flush.h"
#include "fs/journal/journal.h"
#include "fsck/check.h"
#include "tests/lib/fixture.h"
#include "tests/lib/sequence_priv.h"
#include "tests/lib/testclock.h"
#include "tests/lib/undodev.h"

#define SEEN_BITS 12 /* images remembered: a table of this many bits */
#define FIRST_SECOND 1800000000ll

/* What was found in an image. */
struct seen {
	uint64_t hash; /* 0: none */
	struct seq_state left;
};

struct seq_lab {
	struct seq_opts o;
	struct bdev *image; /* an undodev */
	struct crashdev *cd;
	struct seq_model m;
	struct seen *seen;
	struct seq_counts counts;
	char why[SEQ_WHY + SEQ_TEXT];
};

const char *seq_kind_name(enum crash_mode mode)
{
	static const char *const names[] = { "all", "none", "subset", "torn", "ruined" };

	return names[mode];
}

struct seq_lab *seq_lab_create(const struct seq_opts *o)
{
	struct seq_lab *l = calloc(1, sizeof(*l));

	FX_CHECK(l);
	l->o = *o;
	if (!l->o.block_size)
		l->o.block_size = 4096;
	if (!l->o.kinds)
		l->o.kinds = (1u << CRASH_MODES) - 1;
	l->seen = calloc(1u << SEEN_BITS, sizeof(*l->seen));
	l->image = undodev_create(seq_base_bytes(l->o.block_size));
	FX_CHECK(l->seen && l->image);
	testclock_set(FIRST_SECOND * 1000000000);
	FX_IS(tfs_now().tv_sec, FIRST_SECOND); /* else it was not linked as testclock.h says */
	seq_base_make(l->image, l->o.block_size);
	undodev_keep(l->image);
	l->cd = crashdev_create(undodev_kept(l->image), l->image->size);
	crashdev_submit_inline(l->cd);
	crashdev_allow_fua(l->cd, l->o.fua);
	return l;
}

void seq_lab_forget(struct seq_lab *l)
{
	for (uint32_t i = 0; i < 1u << SEEN_BITS; i++) {
		seq_state_drop(&l->seen[i].left);
		l->seen[i].hash = 0;
	}
}

void seq_lab_destroy(struct seq_lab *l)
{
	testclock_set(0);
	seq_lab_forget(l);
	crashdev_destroy(l->cd);
	bdev_close(l->image);
	free(l->seen);
	free(l);
}

const char *seq_why(const struct seq_lab *l)
{
	return l->why;
}

const struct seq_counts *seq_counts(const struct seq_lab *l)
{
	return &l->counts;
}

/* ---- one image ---- */

static void take_report(void *arg, const struct check_problem *p)
{
	struct seq_state *left = arg;

	if (p->severity != CHECK_NOTE && !left->wrong[0])
		snprintf(left->wrong, sizeof(left->wrong), "%s", p->text);
}

static bool is_clean(struct seq_lab *l, struct seq_state *left, const char *when)
{
	struct check_opts co = { .verify_data = true, .report = take_report, .arg = left };
	struct check_result res = { 0 };
	char why[300] = "", found[SEQ_WHY];
	int err = tfs_check_device(l->image, &co, &res, why, sizeof(why));

	if (!err && !res.errors && !res.leaks)
		return true;
	memcpy(found, left->wrong, sizeof(found));
	snprintf(left->wrong, sizeof(left->wrong), "not clean %s: %.300s %.600s", when, why, found);
	return false;
}

/* @sound: no copy of superblock or log header may be rubbish until the next mount. */
static void look(struct seq_lab *l, struct seq_state *left, bool sound)
{
	struct tfs_mount_opts mo = { .no_threads = true, .cache_size = 1u << 20 };
	char why[300] = "";
	struct tfs_fs *fs;
	int err;

	left->wrong[0] = '\0';
	if (sound && !is_clean(l, left, "as found"))
		return;
	err = vfs_mount(l->image, &mo, &fs, why, sizeof(why));
	if (err) {
		snprintf(left->wrong, sizeof(left->wrong), "cannot be mounted: %s", why);
		return;
	}
	seq_walk(left, fs, l->o.block_size, true);
	err = vfs_unmount(fs);
	if (err && !left->wrong[0])
		snprintf(left->wrong, sizeof(left->wrong), "cannot be unmounted: %s",
			 strerror(-err));
	if (!left->wrong[0])
		is_clean(l, left, "after mount and unmount");
}

/* What is in the image; looked at once where many are alike. */
static const struct seq_state *left_in(struct seq_lab *l, bool sound)
{
	uint64_t hash = (undodev_hash(l->image) << 2) | (sound ? 3 : 1);
	struct seen *s = &l->seen[(hash * 0x9e3779b97f4a7c15ull) >> (64 - SEEN_BITS)];

	if (s->hash != hash) {
		seq_state_drop(&s->left);
		s->hash = hash;
		look(l, &s->left, sound);
		l->counts.looked_at++;
	}
	undodev_reset(l->image);
	return &s->left;
}

static bool cut(struct seq_lab *l, uint64_t events, enum crash_mode mode, uint64_t *rng)
{
	const struct seq_state *left;
	char why[SEQ_WHY];

	crashdev_image_onto(l->cd, events, mode, rng, l->image);
	left = left_in(l, mode != CRASH_RUINED);
	l->counts.images[mode]++;
	if (left->wrong[0])
		memcpy(why, left->wrong, sizeof(why));
	else if (seq_may_be(&l->m, events, left, why))
		return true;
	snprintf(l->why, sizeof(l->why), "after %llu of %llu commands, %s: %s",
		 (unsigned long long)events, (unsigned long long)crashdev_events(l->cd),
		 seq_kind_name(mode), why);
	return false;
}

static bool cut_all(struct seq_lab *l, const char *text, uint64_t from)
{
	uint64_t rng = (guard_xxh3(text, strlen(text), l->o.seed) | 1);

	for (uint64_t events = from; events <= crashdev_events(l->cd); events++)
		for (int mode = 0; mode < CRASH_MODES; mode++)
			if (l->o.kinds & 1u << mode && !cut(l, events, (enum crash_mode)mode, &rng))
				return false;
	return true;
}

/* ---- one run ---- */

/* What the steps before have left is there now. */
static bool note(struct seq_lab *l, struct tfs_fs *fs, uint64_t began)
{
	uint64_t ended = crashdev_events(l->cd);
	struct seq_state now = { 0 };
	bool ok;

	seq_walk(&now, fs, l->o.block_size, false);
	memcpy(l->why, now.wrong, sizeof(now.wrong));
	ok = !now.wrong[0] && seq_model_step(&l->m, &now, began, ended, l->why);
	seq_state_drop(&now);
	return ok;
}

/* The base's files are the model's first. */
static bool note_base(struct seq_lab *l, struct tfs_fs *fs)
{
	struct seq_state now = { 0 };
	struct vfs_file *file;

	seq_walk(&now, fs, l->o.block_size, false);
	for (unsigned int i = 0; i < now.nr_files; i++) {
		struct seq_file *f = seq_file(&l->m, now.file[i].ino);

		f->size = now.file[i].size;
		FX_OK(vfs_open(fs, f->ino, O_RDONLY, &file));
		FX_IS(vfs_pread(fs, file, f->data, f->size, 0), f->size);
		vfs_release(fs, file);
	}
	seq_state_drop(&now);
	return note(l, fs, 0);
}

/* Nobody has asked for it, and it promises nothing. */
static int write_all(struct tfs_fs *fs)
{
	int err = pagecache_sync(fs->pagecache, true);

	if (!err)
		err = journal_commit_all(fs);
	return err ? err : journal_checkpoint(fs);
}

static enum seq_verdict run_steps(struct seq_lab *l, struct tfs_fs *fs, const char *text)
{
	char copy[SEQ_TEXT], *save, *step;
	uint64_t began;
	int err = 0;

	if (!note_base(l, fs))
		return SEQ_FAILED;
	snprintf(copy, sizeof(copy), "%s", text);
	for (step = strtok_r(copy, ";", &save); step; step = strtok_r(NULL, ";", &save)) {
		FX_CHECK(l->m.step < SEQ_STEPS);
		testclock_set((FIRST_SECOND + l->m.step) * 1000000000);
		began = crashdev_events(l->cd);
		err = seq_step(fs, &l->m, step);
		if (err > 0)
			return SEQ_INAPPLICABLE;
		if (err < 0)
			snprintf(l->why, sizeof(l->why), "not a step: %s", step);
		if (err < 0 || !note(l, fs, began))
			return SEQ_FAILED;
	}
	began = crashdev_events(l->cd);
	err = write_all(fs);
	if (err)
		snprintf(l->why, sizeof(l->why), "writing it all: %s", strerror(-err));
	return !err && note(l, fs, began) ? SEQ_HELD : SEQ_FAILED;
}

enum seq_verdict seq_run(struct seq_lab *l, const char *text, unsigned int cut_from)
{
	struct tfs_mount_opts mo = { .no_threads = true,
				     .cache_size = 1u << 20,
				     .break_rules = l->o.break_rules };
	enum seq_verdict v;
	struct tfs_fs *fs;

	crashdev_reset(l->cd, undodev_kept(l->image));
	crashdev_lose_flushes(l->cd, l->o.lose_nth_flush);
	seq_model_start(&l->m, l->o.block_size);
	if (vfs_mount(crashdev_bdev(l->cd), &mo, &fs, l->why, sizeof(l->why))) {
		l->counts.failures++;
		return SEQ_FAILED;
	}
	v = run_steps(l, fs, text);
	vfs_crash(fs);
	if (v == SEQ_INAPPLICABLE)
		l->counts.inapplicable++;
	else
		l->counts.sequences++;
	if (v == SEQ_HELD && !cut_all(l, text, cut_from ? l->m.began[cut_from] + 1 : 0))
		v = SEQ_FAILED;
	if (v == SEQ_FAILED)
		l->counts.failures++;
	seq_model_drop(&l->m);
	return v;
}
