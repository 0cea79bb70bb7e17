/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fs/vfs/reflink.c, fs/inode/block_refs.c: files that share blocks against byte arrays: copies,
 * overwriting, truncation, holes, unsharing, unlinking, syncs, crashes and remounts, the checker
 * after each few.  TALLYFS_SEED replays, TALLYFS_OPS lengthens.
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
	cr_assert_eq(vfs_pwrite(fx.fs, x->f, x->data + pos, len, pos), (int64_t)len);
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
	while (done < want) {
		int64_t n = vfs_copy_file_range(fx.fs, in->f, pin + done, out->f, pout + done,
						len - done, 0);

		if (in == out && pin < pout + want && pout < pin + want) {
			cr_assert_eq(n, -EINVAL);
			return;
		}
		cr_assert_gt(n, 0, "op %llu: %lld", (unsigned long long)m->op, (long long)n);
		done += (uint64_t)n;
	}
	cr_assert_eq(done, want);
	memmove(out->data + pout, in->data + pin, want);
	if (want)
		out->size = max_t(uint64_t, out->size, pout + want);
}

static void do_truncate(struct model *m)
{
	struct mfile *x = pick_file(m);
	uint64_t size = pick(m, MAX_SIZE);

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
	FX_OK(vfs_fallocate(fx.fs, x->f, mode, pos, len));
	if (mode != FALLOC_FL_KEEP_SIZE && pos < x->size)
		memset(x->data + pos, 0, min_t(uint64_t, pos + len, x->size) - pos);
}

static void do_unshare(struct model *m)
{
	uint64_t pos, len;

	pick_range(m, &pos, &len);
	FX_OK(fx_unshare(fx.fs, pick_file(m)->f, pos, len));
}

static void do_unlink(struct model *m)
{
	struct mfile *x = pick_file(m);

	fx_close(&fx, x->f);
	FX_OK(vfs_unlink(fx.fs, TFS_INO_ROOT, x->name));
	fx_file(&fx, x->name, &x->f);
	memset(x->data, 0, MAX_SIZE);
	x->size = 0;
}

static void compare(struct model *m, struct mfile *x)
{
	int64_t n = vfs_pread(fx.fs, x->f, m->buf, MAX_SIZE, 0);

	cr_assert_eq(fx_size_of(&fx, x->f), x->size, "op %llu", (unsigned long long)m->op);
	cr_assert_eq(n, (int64_t)x->size, "op %llu: read %lld of %llu", (unsigned long long)m->op,
		     (long long)n, (unsigned long long)x->size);
	for (uint64_t k = 0; k < x->size; k++)
		cr_assert_eq(m->buf[k], x->data[k], "op %llu: file %s byte %llu is %u, not %u",
			     (unsigned long long)m->op, x->name, (unsigned long long)k, m->buf[k],
			     x->data[k]);
}

static void reopen(struct model *m, bool crash)
{
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
		FX_OK(vfs_fsync(fx.fs, pick_file(m)->f, what & 1));
	else if (what < 96)
		pagecache_shrink(fx.fs->pagecache, 0);
	else if (what < 98)
		fx_check_live(&fx);
	else
		reopen(m, what & 1);
	compare(m, pick_file(m));
}

static void run(enum fx_size size, uint64_t seed)
{
	struct model m = { .rng = test_seed(seed) };
	uint64_t ops = test_ops(500);

	fx_init();
	fx_create(&fx, size);
	m.buf = malloc(MAX_SIZE);
	for (int k = 0; k < NR_FILES; k++) {
		struct mfile *x = &m.file[k];

		x->data = calloc(1, MAX_SIZE);
		snprintf(x->name, sizeof(x->name), "f%d", k);
		fx_file(&fx, x->name, &x->f);
	}
	for (m.op = 1; m.op <= ops; m.op++)
		step(&m);
	reopen(&m, false);
	for (int k = 0; k < NR_FILES; k++) {
		compare(&m, &m.file[k]);
		fx_close(&fx, m.file[k].f);
		FX_OK(vfs_unlink(fx.fs, TFS_INO_ROOT, m.file[k].name));
		free(m.file[k].data);
	}
	FX_OK(vfs_sync(fx.fs));
	/* everything that was ever shared has come back */
	cr_assert_eq(fx_stat(&fx, "tree", "data_blocks"), 0);
	cr_assert_eq(fx_stat(&fx, "tree", "shared_extents"), 0);
	free(m.buf);
	fx_destroy(&fx);
	fx_exit();
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
