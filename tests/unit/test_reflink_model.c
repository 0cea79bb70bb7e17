/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fs/vfs/reflink.c, fs/inode/block_refs.c: files that share blocks against byte arrays: copies,
 * overwriting, truncation, holes, unsharing, unlinking, syncs, crashes and remounts, the checker
 * after each few.  TALLYFS_SEED replays, TALLYFS_OPS lengthens; a failure is made short
 * (exercise_shortest.h).
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core/lib/util.h"
#include "core/pagecache/pagecache.h"
#include "fs/vfs/vfs.h"
#include "tallyfs/format.h"
#include "tests/lib/exercise_shortest.h"
#include "tests/lib/fixture.h"
#include "tests/lib/random.h"

#define NR_FILES 5
#define MAX_SIZE 300000u

static struct fixture fx;

struct mfile {
	struct vfs_file *f;
	uint8_t *data;
	uint64_t size;
	char name[8];
};

struct model {
	struct mfile file[NR_FILES];
	uint8_t *buf;
	uint64_t rng, op;
	const struct exercise_steps *steps;
};

TestSuite(reflink_model, .timeout = 900);

static uint64_t pick(struct model *m, uint64_t below)
{
	uint64_t x = test_rand(&m->rng) % below;

	return test_rand(&m->rng) % 4 ? round_down_to(x, fx.fs->geom.block_size) : x;
}

static struct mfile *pick_file(struct model *m)
{
	return &m->file[test_rand(&m->rng) % NR_FILES];
}

static void pick_range(struct model *m, uint64_t *pos, uint64_t *len)
{
	*pos = pick(m, MAX_SIZE);
	*len = pick(m, test_rand(&m->rng) % 3 ? 20000 : 150000) + 1;
	if (test_rand(&m->rng) % 2)
		*len = round_up_to(*len, fx.fs->geom.block_size);
	if (*len > MAX_SIZE - *pos)
		*len = MAX_SIZE - *pos;
}

static void do_write(struct model *m)
{
	struct mfile *x = pick_file(m);
	uint64_t pos, len;

	pick_range(m, &pos, &len);
	for (uint64_t k = 0; k < len; k++)
		x->data[pos + k] = fx_byte(m->op, k);
	exercise_say(m->steps, m->op, "write %s %llu+%llu", x->name, (unsigned long long)pos,
		     (unsigned long long)len);
	FX_IS(vfs_pwrite(fx.fs, x->f, x->data + pos, len, pos), len);
	x->size = max_t(uint64_t, x->size, pos + len);
}

static void do_copy(struct model *m)
{
	struct mfile *in = pick_file(m), *out = pick_file(m);
	uint64_t pin, pout, len, want, done = 0;

	pick_range(m, &pin, &len);
	pout = test_rand(&m->rng) % 4 ? pin : pick(m, MAX_SIZE);
	if (len > MAX_SIZE - pout)
		len = MAX_SIZE - pout;
	want = pin >= in->size ? 0 : min_t(uint64_t, len, in->size - pin);
	exercise_say(m->steps, m->op, "copy %s %llu+%llu to %s %llu", in->name,
		     (unsigned long long)pin, (unsigned long long)len, out->name,
		     (unsigned long long)pout);
	while (done < want) {
		int64_t n = vfs_copy_file_range(fx.fs, in->f, pin + done, out->f, pout + done,
						len - done, 0);

		if (in == out && pin < pout + want && pout < pin + want) {
			FX_IS(n, -EINVAL);
			return;
		}
		FX_CHECK(n > 0);
		done += (uint64_t)n;
	}
	FX_IS(done, want);
	memmove(out->data + pout, in->data + pin, want);
	if (want)
		out->size = max_t(uint64_t, out->size, pout + want);
}

static void do_truncate(struct model *m)
{
	struct mfile *x = pick_file(m);
	uint64_t size = pick(m, MAX_SIZE);

	exercise_say(m->steps, m->op, "truncate %s from %llu to %llu", x->name,
		     (unsigned long long)x->size, (unsigned long long)size);
	fx_set_size(&fx, x->f, size);
	if (size < x->size)
		memset(x->data + size, 0, x->size - size);
	x->size = size;
}

static void do_falloc(struct model *m)
{
	static const int modes[] = { FALLOC_FL_KEEP_SIZE,
				     FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				     FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE };
	int mode = modes[test_rand(&m->rng) % ARRAY_SIZE(modes)];
	struct mfile *x = pick_file(m);
	uint64_t pos, len;

	pick_range(m, &pos, &len);
	exercise_say(m->steps, m->op, "fallocate %s mode %d %llu+%llu", x->name, mode,
		     (unsigned long long)pos, (unsigned long long)len);
	FX_OK(vfs_fallocate(fx.fs, x->f, mode, pos, len));
	if (mode != FALLOC_FL_KEEP_SIZE && pos < x->size)
		memset(x->data + pos, 0, min_t(uint64_t, pos + len, x->size) - pos);
}

static void do_unshare(struct model *m)
{
	struct mfile *x = pick_file(m);
	uint64_t pos, len;

	pick_range(m, &pos, &len);
	exercise_say(m->steps, m->op, "unshare %s %llu+%llu", x->name, (unsigned long long)pos,
		     (unsigned long long)len);
	FX_OK(fx_unshare(fx.fs, x->f, pos, len));
}

static void do_unlink(struct model *m)
{
	struct mfile *x = pick_file(m);

	exercise_say(m->steps, m->op, "unlink %s", x->name);
	fx_close(&fx, x->f);
	FX_OK(vfs_unlink(fx.fs, TFS_INO_ROOT, x->name));
	fx_file(&fx, x->name, &x->f);
	memset(x->data, 0, MAX_SIZE);
	x->size = 0;
}

static void compare(struct model *m, struct mfile *x)
{
	int64_t n = vfs_pread(fx.fs, x->f, m->buf, MAX_SIZE, 0);

	FX_IS(fx_size_of(&fx, x->f), x->size);
	FX_IS(n, x->size);
	FX_CHECK(!memcmp(m->buf, x->data, x->size));
}

static void reopen(struct model *m, bool crash)
{
	exercise_say(m->steps, m->op, crash ? "sync and crash" : "remount");
	for (int k = 0; k < NR_FILES; k++)
		fx_close(&fx, m->file[k].f);
	if (crash) {
		FX_OK(vfs_sync(fx.fs));
		fx_crash_remount(&fx);
	} else {
		fx_remount(&fx);
	}
	for (int k = 0; k < NR_FILES; k++)
		m->file[k].f = fx_open(&fx, m->file[k].name);
}

static void do_fsync(struct model *m, bool datasync)
{
	struct mfile *x = pick_file(m);

	exercise_say(m->steps, m->op, "%s %s", datasync ? "fdatasync" : "fsync", x->name);
	FX_OK(vfs_fsync(fx.fs, x->f, datasync));
}

static void do_drop(struct model *m)
{
	exercise_say(m->steps, m->op, "drop the cache");
	pagecache_shrink(fx.fs->pagecache, 0);
}

static void step(struct model *m)
{
	uint64_t what = test_rand(&m->rng) % 100;

	if (what < 25)
		do_write(m);
	else if (what < 60)
		do_copy(m);
	else if (what < 68)
		do_truncate(m);
	else if (what < 76)
		do_falloc(m);
	else if (what < 82)
		do_unshare(m);
	else if (what < 86)
		do_unlink(m);
	else if (what < 92)
		do_fsync(m, what & 1);
	else if (what < 96)
		do_drop(m);
	else if (what < 98)
		fx_check_live(&fx);
	else
		reopen(m, what & 1);
	compare(m, pick_file(m));
}

static void start(struct model *m)
{
	m->buf = malloc(MAX_SIZE);
	for (int k = 0; k < NR_FILES; k++) {
		struct mfile *x = &m->file[k];

		x->data = calloc(1, MAX_SIZE);
		snprintf(x->name, sizeof(x->name), "f%d", k);
		fx_file(&fx, x->name, &x->f);
	}
}

static void finish(struct model *m)
{
	reopen(m, false);
	for (int k = 0; k < NR_FILES; k++) {
		compare(m, &m->file[k]);
		fx_close(&fx, m->file[k].f);
		FX_OK(vfs_unlink(fx.fs, TFS_INO_ROOT, m->file[k].name));
		free(m->file[k].data);
	}
	FX_OK(vfs_sync(fx.fs));
	/* everything that was ever shared has come back */
	FX_IS(fx_stat(&fx, "tree", "data_blocks"), 0);
	FX_IS(fx_stat(&fx, "tree", "shared_extents"), 0);
	free(m->buf);
}

struct run {
	enum fx_size size;
	uint64_t seed, ops;
};

static int run_model(void *arg, const struct exercise_steps *steps)
{
	const struct run *r = arg;
	struct model m = { .steps = steps };
	struct exercise_walk w = exercise_walk(steps, r->seed, r->ops);

	fx_init();
	fx_create(&fx, r->size);
	start(&m);
	while (exercise_next(&w, &m.op, &m.rng))
		step(&m);
	finish(&m);
	fx_destroy(&fx);
	fx_exit();
	return 0;
}

static void run(enum fx_size size, uint64_t seed)
{
	struct run r = { size, test_seed(seed), test_ops(500) };

	FX_OK(exercise_shortest(run_model, &r, r.seed, r.ops, 60, NULL));
}

Test(reflink_model, blocks_4k)
{
	run(FX_SMALL, 5001);
}

Test(reflink_model, blocks_1k)
{
	run(FX_SMALL1K, 5002);
}

Test(reflink_model, medium)
{
	run(FX_MEDIUM, 5003);
}
