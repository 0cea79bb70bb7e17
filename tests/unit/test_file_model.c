/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fs/vfs/file.c, fallocate.c: one file against a byte array: random writes, reads, truncation,
 * punching, preallocation, syncs, dropped caches, evictions and remounts.  TALLYFS_SEED replays,
 * TALLYFS_OPS lengthens; a failure is made short (exercise_shortest.h).
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "core/lib/util.h"
#include "core/pagecache/pagecache.h"
#include "fs/vfs/vfs.h"
#include "tests/lib/exercise_shortest.h"
#include "tests/lib/fixture.h"
#include "tests/lib/random.h"

#define MAX_SIZE 700000u

static struct fixture fx;

struct model {
	struct vfs_file *f;
	uint8_t *data, *buf;
	uint64_t size, rng, op;
	const struct exercise_steps *steps;
};

TestSuite(file_model, .timeout = 900);

/* A position or length: often at or next to a block boundary, or tiny. */
static uint64_t pick(struct model *m, uint64_t below)
{
	uint64_t x = test_rand(&m->rng) % below;

	switch (test_rand(&m->rng) % 4) {
	case 0:
		return x & ~4095ull;
	case 1:
		return (x & ~1023ull) + (test_rand(&m->rng) & 1);
	case 2:
		return x % 5000;
	default:
		return x;
	}
}

static void pick_range(struct model *m, uint64_t *pos, uint64_t *len)
{
	*pos = pick(m, MAX_SIZE);
	*len = pick(m, test_rand(&m->rng) % 3 ? 20000 : 200000) + 1;
	if (*len > MAX_SIZE - *pos)
		*len = MAX_SIZE - *pos;
	if (!*len)
		*len = 1, *pos = 0;
}

static void do_write(struct model *m)
{
	uint64_t pos, len;

	pick_range(m, &pos, &len);
	for (uint64_t k = 0; k < len; k++)
		m->data[pos + k] = fx_byte(m->op, k);
	exercise_say(m->steps, m->op, "write %llu+%llu", (unsigned long long)pos,
		     (unsigned long long)len);
	FX_IS(vfs_pwrite(fx.fs, m->f, m->data + pos, len, pos), len);
	if (pos + len > m->size)
		m->size = pos + len;
}

static void do_read(struct model *m)
{
	uint64_t pos, len, want;

	pick_range(m, &pos, &len);
	want = pos >= m->size ? 0 : len < m->size - pos ? len : m->size - pos;
	exercise_say(m->steps, m->op, "read %llu+%llu", (unsigned long long)pos,
		     (unsigned long long)len);
	FX_IS(vfs_pread(fx.fs, m->f, m->buf, len, pos), want);
	FX_CHECK(!memcmp(m->buf, m->data + pos, want));
}

static void do_truncate(struct model *m)
{
	uint64_t size = pick(m, MAX_SIZE);

	exercise_say(m->steps, m->op, "truncate from %llu to %llu", (unsigned long long)m->size,
		     (unsigned long long)size);
	fx_set_size(&fx, m->f, size);
	if (size < m->size)
		memset(m->data + size, 0, m->size - size);
	m->size = size;
}

static void do_falloc(struct model *m)
{
	static const int modes[] = { 0, FALLOC_FL_KEEP_SIZE,
				     FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				     FALLOC_FL_ZERO_RANGE,
				     FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE };
	int mode = modes[test_rand(&m->rng) % ARRAY_SIZE(modes)];
	uint64_t pos, len, end;

	pick_range(m, &pos, &len);
	exercise_say(m->steps, m->op, "fallocate mode %d %llu+%llu", mode, (unsigned long long)pos,
		     (unsigned long long)len);
	FX_OK(vfs_fallocate(fx.fs, m->f, mode, pos, len));
	end = pos + len;
	if (mode & ~FALLOC_FL_KEEP_SIZE && pos < m->size)
		memset(m->data + pos, 0, (end < m->size ? end : m->size) - pos);
	if (!(mode & FALLOC_FL_KEEP_SIZE) && end > m->size)
		m->size = end;
}

/* What SEEK_DATA calls a hole is zeros. */
static void do_seek(struct model *m)
{
	uint64_t pos = pick(m, MAX_SIZE);
	int64_t data = vfs_lseek(fx.fs, m->f, pos, SEEK_DATA);
	uint64_t stop = data >= 0 ? (uint64_t)data : m->size;

	exercise_say(m->steps, m->op, "seek from %llu", (unsigned long long)pos);
	if (pos >= m->size)
		FX_IS(data, -ENXIO);
	for (; pos < stop; pos++)
		FX_CHECK(!m->data[pos]);
}

static void reopen(struct model *m)
{
	exercise_say(m->steps, m->op, "remount");
	fx_close(&fx, m->f);
	fx_remount(&fx);
	m->f = fx_open(&fx, "a");
}

static void do_fsync(struct model *m, bool datasync)
{
	exercise_say(m->steps, m->op, datasync ? "fdatasync" : "fsync");
	FX_OK(vfs_fsync(fx.fs, m->f, datasync));
}

static void do_drop(struct model *m)
{
	exercise_say(m->steps, m->op, "drop the cache");
	pagecache_shrink(fx.fs->pagecache, 0);
}

static void step(struct model *m)
{
	uint64_t what = test_rand(&m->rng) % 100;

	if (what < 35)
		do_write(m);
	else if (what < 60)
		do_read(m);
	else if (what < 70)
		do_truncate(m);
	else if (what < 82)
		do_falloc(m);
	else if (what < 87)
		do_seek(m);
	else if (what < 94)
		do_fsync(m, what & 1);
	else if (what < 98)
		do_drop(m);
	else
		reopen(m);
	FX_IS(fx_size_of(&fx, m->f), m->size);
}

struct run {
	enum fx_size size;
	uint64_t seed, ops;
	void (*step)(struct model *m);
};

static int run_model(void *arg, const struct exercise_steps *steps)
{
	const struct run *r = arg;
	struct model m = { .steps = steps };
	struct exercise_walk w = exercise_walk(steps, r->seed, r->ops);

	fx_init();
	fx_create(&fx, r->size);
	m.data = calloc(1, MAX_SIZE);
	m.buf = malloc(MAX_SIZE);
	fx_file(&fx, "a", &m.f);
	while (exercise_next(&w, &m.op, &m.rng))
		r->step(&m);
	reopen(&m);
	for (uint64_t pos = 0; pos < m.size; pos += 50000)
		FX_CHECK(vfs_pread(fx.fs, m.f, m.buf + pos,
				   m.size - pos < 50000 ? m.size - pos : 50000, pos) > 0);
	FX_CHECK(!memcmp(m.buf, m.data, m.size));
	fx_close(&fx, m.f);
	free(m.data);
	free(m.buf);
	fx_destroy(&fx);
	fx_exit();
	return 0;
}

static void run(enum fx_size size, uint64_t seed)
{
	struct run r = { size, test_seed(seed), test_ops(600), step };

	FX_OK(exercise_shortest(run_model, &r, r.seed, r.ops, 60, NULL));
}

Test(file_model, blocks_4k)
{
	run(FX_SMALL, 1001);
}

Test(file_model, blocks_1k)
{
	run(FX_SMALL1K, 1002);
}

Test(file_model, medium)
{
	run(FX_MEDIUM, 1003);
}

/* Planted: once the file was made shorter, byte 1000 is not what the model has where that is 0. */
static void bad_step(struct model *m)
{
	static bool truncated; /* in each run's own process */
	uint64_t size = m->size;

	step(m);
	truncated |= m->size < size;
	if (truncated && m->size > 1000 && !m->data[1000])
		vfs_pwrite(fx.fs, m->f, "x", 1, 1000);
}

Test(file_model, a_failure_is_made_short)
{
	struct run r = { FX_SMALL, test_seed(1004), 600, bad_step };
	struct oplist left = { 0 };

	exercise_shrink(run_model, &r, r.seed, r.ops, 60, &left);
	cr_assert(left.nr && left.nr <= 4, "%zu operations", left.nr);
	oplist_free(&left);
}
