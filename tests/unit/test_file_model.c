/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fs/vfs/file.c, fallocate.c: one file against a byte array: random writes, reads, truncation,
 * punching, preallocation, syncs, dropped caches, evictions and remounts.  TALLYFS_SEED replays,
 * TALLYFS_OPS lengthens.
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
#include "tests/lib/fixture.h"
#include "tests/lib/random.h"

#define MAX_SIZE 700000u

static struct fixture fx;

struct model {
	struct vfs_file *f;
	uint8_t *data, *buf;
	uint64_t size, rng, op;
};

TestSuite(file_model, .timeout = 600);

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
	cr_assert_eq(vfs_pwrite(fx.fs, m->f, m->data + pos, len, pos), (int64_t)len);
	if (pos + len > m->size)
		m->size = pos + len;
}

static void do_read(struct model *m)
{
	uint64_t pos, len, want;
	int64_t n;

	pick_range(m, &pos, &len);
	want = pos >= m->size ? 0 : len < m->size - pos ? len : m->size - pos;
	n = vfs_pread(fx.fs, m->f, m->buf, len, pos);
	cr_assert_eq(n, (int64_t)want, "op %llu: read %lld of %llu", (unsigned long long)m->op,
		     (long long)n, (unsigned long long)want);
	cr_assert(!memcmp(m->buf, m->data + pos, want), "op %llu: read %llu+%llu differs",
		  (unsigned long long)m->op, (unsigned long long)pos, (unsigned long long)want);
}

static void do_truncate(struct model *m)
{
	uint64_t size = pick(m, MAX_SIZE);

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

	if (pos >= m->size)
		cr_assert_eq(data, -ENXIO);
	for (; pos < stop; pos++)
		cr_assert_eq(m->data[pos], 0, "op %llu: data at %llu in a hole",
			     (unsigned long long)m->op, (unsigned long long)pos);
}

static void reopen(struct model *m)
{
	fx_close(&fx, m->f);
	fx_remount(&fx);
	m->f = fx_open(&fx, "a");
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
		FX_OK(vfs_fsync(fx.fs, m->f, what & 1));
	else if (what < 98)
		pagecache_shrink(fx.fs->pagecache, 0);
	else
		reopen(m);
	cr_assert_eq(fx_size_of(&fx, m->f), m->size, "op %llu", (unsigned long long)m->op);
}

static void run(enum fx_size size, uint64_t seed)
{
	struct model m = { .rng = test_seed(seed) };
	uint64_t ops = test_ops(600);

	fx_init();
	fx_create(&fx, size);
	m.data = calloc(1, MAX_SIZE);
	m.buf = malloc(MAX_SIZE);
	fx_file(&fx, "a", &m.f);
	for (m.op = 1; m.op <= ops; m.op++)
		step(&m);
	reopen(&m);
	for (uint64_t pos = 0; pos < m.size; pos += 50000)
		cr_assert_gt(vfs_pread(fx.fs, m.f, m.buf + pos,
				       m.size - pos < 50000 ? m.size - pos : 50000, pos),
			     0);
	cr_assert(!memcmp(m.buf, m.data, m.size));
	fx_close(&fx, m.f);
	free(m.data);
	free(m.buf);
	fx_destroy(&fx);
	fx_exit();
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
