/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What an image goes through.  Whatever it is: nobody crashes, hangs or eats memory, the checker
 * and mounts for reading write nothing, and no block is delivered that nothing vouches for.  And if
 * the checker calls it clean: it mounts, nothing in it is damage, it is clean afterwards, and also
 * after the journal was replayed.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "fs/journal/journal.h"
#include "fs/vfs/admit.h"
#include "fs/vfs/vfs.h"
#include "fsck/check.h"
#include "tests/lib/undodev.h"
#include "tests/fuzz/rounds.h"
#include "tests/fuzz/use.h"

#define CACHE_BYTES (2u << 20)
#define STEPS_MAX 24

static char problem[300];

static void report(void *arg, const struct check_problem *p)
{
	if (p->severity != CHECK_NOTE && !problem[0])
		snprintf(problem, sizeof(problem), "%s: %s", p->code, p->text);
}

/* fsck -n: clean? */
static bool check(struct base *b)
{
	struct check_opts o = { .verify_data = true, .report = report };
	struct check_result r;
	char why[300] = "";
	int err;

	problem[0] = '\0';
	undodev_read_only(b->dev, true);
	err = tfs_check_device(b->dev, &o, &r, why, sizeof(why));
	undodev_read_only(b->dev, false);
	fuzz_quiet();
	fuzz_errno(err, "check");
	if (err)
		snprintf(problem, sizeof(problem), "%s", why);
	return !err && !r.errors && !r.leaks;
}

/* fsck -p: what a mount would do first.  False: it can't. */
static bool repair(struct base *b)
{
	struct tfs_recovery rec = { 0 };
	struct tfs_super super = { 0 };
	struct tfs_geom geom;
	char why[300] = "";
	int err = tfs_admit(b->dev, -1, ADMIT_WRITE, &super, &geom, &rec, why, sizeof(why));
	bool ok = !err && !rec.corrupt;

	fuzz_errno(err, "admit");
	if (ok && (rec.pending || journal_recovery_mends(&rec)))
		ok = !fuzz_errno(journal_recover_apply(b->dev, &super, &geom, &rec), "apply");
	journal_recovery_free(&rec);
	return ok;
}

/* 0, or why not. */
static int mount(struct base *b, bool ro, unsigned int flags, struct tfs_fs **fs)
{
	struct tfs_mount_opts o = { .no_threads = !fuzz_threads(),
				    .cache_size = CACHE_BYTES,
				    .ro = ro,
				    .errors = flags & ROUNDS_CONTINUE ? TFS_ERRORS_CONTINUE
								      : TFS_ERRORS_REMOUNT_RO };
	char why[300] = "";
	int err = vfs_mount(b->dev, &o, fs, why, sizeof(why));

	fuzz_errno(err, "mount");
	snprintf(problem, sizeof(problem), "%s", why);
	return err;
}

static int look(struct base *b, bool sound)
{
	static struct use u;
	int err;

	undodev_read_only(b->dev, true);
	err = mount(b, true, 0, &u.fs);
	u.sound = sound;
	if (!err) {
		use_walk(&u);
		fuzz_errno(vfs_unmount(u.fs), "unmount");
	}
	undodev_read_only(b->dev, false);
	return err;
}

/* One who looks at everything and then works. */
struct worker {
	struct use u;
	struct fuzz_in in;
};

static void *run(void *arg)
{
	struct worker *w = arg;

	use_walk(&w->u);
	use_work(&w->u, &w->in, STEPS_MAX);
	return NULL;
}

/* The operations of @in: by the first alone or, half of them each, by both at once. */
static void run_both(struct worker *w, const struct fuzz_in *in)
{
	size_t half = fuzz_threads() ? in->left / 2 : in->left;
	pthread_t second;

	w[0].in = (struct fuzz_in){ .p = in->p, .left = half };
	w[1].in = (struct fuzz_in){ .p = in->p + half, .left = in->left - half };
	w[1].u.fs = w[0].u.fs;
	w[1].u.sound = w[0].u.sound;
	if (fuzz_threads() && pthread_create(&second, NULL, run, &w[1]))
		fuzz_die("no thread");
	run(&w[0]);
	if (fuzz_threads())
		pthread_join(second, NULL);
}

static int work(struct base *b, const struct fuzz_in *in, unsigned int flags, bool sound)
{
	static struct worker w[2];
	struct use *u = &w[0].u;
	int err = mount(b, false, flags, &u->fs);

	u->sound = sound;
	if (err)
		return err;
	run_both(w, in);
	if (flags & ROUNDS_CRASH)
		vfs_crash(u->fs);
	else
		use_ret(u, vfs_unmount(u->fs), "unmount");
	return 0;
}

/* To look at it with the programs. */
static void dump(struct base *b)
{
	const char *path = getenv("FUZZ_DUMP");
	FILE *f = path ? fopen(path, "wb") : NULL;

	if (!f)
		return;
	fwrite(undodev_data(b->dev), 1, b->dev->size, f);
	fclose(f);
}

bool rounds(struct base *b, struct fuzz_in *in, unsigned int flags)
{
	bool sound;
	int err;

	dump(b);
	sound = check(b);

	if (repair(b) && sound && !check(b))
		fuzz_die("clean, and not after the journal was replayed: %s", problem);
	err = work(b, in, flags, sound);
	/* features of a later version may allow reading only */
	if (err && err != -EPROTONOSUPPORT && sound)
		fuzz_die("clean, and does not mount: %s", problem);
	if (!check(b) && sound)
		fuzz_die("clean, and not after it was used: %s", problem);
	if (look(b, sound) && sound)
		fuzz_die("clean, and does not mount again: %s", problem);
	return sound;
}
