/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fs/vfs/file.c, core/iomap/direct.c: files opened with O_DIRECT, next to cached descriptors of the
 * same file: against a byte array, over remounts and crashes.  TALLYFS_SEED replays, TALLYFS_OPS
 * lengthens; a failure of these is made short (exercise_shortest.h).
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "core/block/bdev.h"
#include "core/lib/log.h"
#include "core/lib/util.h"
#include "core/pagecache/pagecache.h"
#include "fs/inode/inode.h"
#include "fs/vfs/vfs.h"
#include "tests/lib/exercise_shortest.h"
#include "tests/lib/fixture.h"
#include "tests/lib/random.h"

#define BS 4096u
#define MAX_SIZE 700000u

static struct fixture fx;
static uint8_t *mem; /* page aligned, MAX_SIZE and a page */

static void quiet(enum log_level lvl, const char *line)
{
}

static void setup(void)
{
	log_set_hook(quiet);
	fx_init();
	cr_assert_eq(posix_memalign((void **)&mem, 4096, round_up_to(MAX_SIZE, 4096) + 4096), 0);
}

static void teardown(void)
{
	free(mem);
	fx_exit();
}

TestSuite(direct_model, .init = setup, .fini = teardown, .timeout = 900);

static struct vfs_file *open_direct(const char *name)
{
	struct vfs_file *f;

	FX_OK(vfs_open(fx.fs, fx_ino(&fx, name), O_RDWR | O_DIRECT, &f));
	return f;
}

static void fill(uint64_t tag, size_t len)
{
	for (size_t k = 0; k < len; k++)
		mem[k] = fx_byte(tag, k);
}

static uint64_t cached_folios(const struct vfs_file *f)
{
	return f->inode->mapping.nr_folios;
}

/* Whole blocks never see the cache, and are on the device at once, fsync or not. */
Test(direct_model, goes_past_the_cache)
{
	struct vfs_file *f;
	uint64_t written;

	fx_create(&fx, FX_MEDIUM);
	fx_file(&fx, "a", NULL);
	f = open_direct("a");
	fill(1, 50 * BS);
	written = atomic_load(&fx.dev->stats.write_bytes);
	FX_IS(vfs_pwrite(fx.fs, f, mem, 50 * BS, 0), 50 * BS);
	cr_assert_eq(atomic_load(&fx.dev->stats.write_bytes) - written, 50 * BS);
	FX_IS(fx_size_of(&fx, f), 50 * BS);
	memset(mem, 0, 50 * BS);
	FX_IS(vfs_pread(fx.fs, f, mem, 60 * BS, 0), 50 * BS);
	for (unsigned int k = 0; k < 50 * BS; k++)
		cr_assert_eq(mem[k], fx_byte(1, k));
	cr_assert_eq(cached_folios(f), 0);
	FX_IS(fx_stat(&fx, "cache", "direct_write_bytes"), 50 * BS);
	FX_IS(fx_stat(&fx, "cache", "direct_read_bytes"), 50 * BS);
	FX_IS(fx_stat(&fx, "space", "reserved"), 0);
	FX_OK(vfs_fsync(fx.fs, f, true));
	fx_close(&fx, f);
	fx_crash_remount(&fx);
	f = open_direct("a");
	FX_IS(vfs_pread(fx.fs, f, mem, 60 * BS, BS), 49 * BS);
	for (unsigned int k = 0; k < 49 * BS; k++)
		cr_assert_eq(mem[k], fx_byte(1, BS + k));
	fx_close(&fx, f);
	fx_destroy(&fx);
}

/* From an inline file to blocks and on, by direct and cached writes in turns. */
Test(direct_model, small_files_and_growing_ones)
{
	struct vfs_file *c, *d;

	fx_create(&fx, FX_SMALL);
	fx_file(&fx, "a", &c);
	d = open_direct("a");
	fill(2, 3 * BS);
	FX_IS(vfs_pwrite(fx.fs, d, mem, 100, 0), 100);
	FX_IS(vfs_pread(fx.fs, d, mem, BS, 0), 100);
	cr_assert_eq(mem[99], fx_byte(2, 99));
	/* behind a gap: the inline block becomes a block in time */
	fill(3, BS);
	FX_IS(vfs_pwrite(fx.fs, d, mem, BS, 2 * BS), BS);
	fx_expect(&fx, c, 0, 100, 2);
	fx_expect_zero(&fx, c, 100, 2 * BS - 100);
	FX_IS(vfs_pread(fx.fs, c, mem, BS, 2 * BS), BS);
	cr_assert_eq(mem[5], fx_byte(3, 5));
	fx_close(&fx, c);
	fx_close(&fx, d);
	fx_remount(&fx);
	/* over an inline file, whole */
	fx_file(&fx, "b", &c);
	fx_write(&fx, c, 0, 300, 4);
	FX_OK(vfs_fsync(fx.fs, c, false));
	d = open_direct("b");
	fill(5, BS);
	FX_IS(vfs_pwrite(fx.fs, d, mem, BS, 0), BS);
	fx_expect(&fx, c, 0, BS, 5);
	fx_close(&fx, c);
	fx_close(&fx, d);
	fx_remount(&fx);
	fx_destroy(&fx);
}

/* O_APPEND and unaligned memory. */
Test(direct_model, appends)
{
	struct vfs_file *d;
	uint64_t size = 0;

	fx_create(&fx, FX_SMALL1K);
	fx_file(&fx, "a", NULL);
	FX_OK(vfs_open(fx.fs, fx_ino(&fx, "a"), O_RDWR | O_DIRECT | O_APPEND, &d));
	for (unsigned int k = 0; k < 60; k++) {
		unsigned int len = k % 3 ? 1024 * (k % 7) + 1024 : 700, off = k % 4 ? 0 : 13;

		for (unsigned int n = 0; n < len; n++)
			mem[off + n] = fx_byte(9, size + n);
		FX_IS(vfs_pwrite(fx.fs, d, mem + off, len, 0), len);
		size += len;
	}
	FX_IS(fx_size_of(&fx, d), size);
	fx_expect(&fx, d, 0, size, 9);
	fx_close(&fx, d);
	fx_remount(&fx);
	d = fx_open(&fx, "a");
	fx_expect(&fx, d, 0, size, 9);
	fx_close(&fx, d);
	fx_destroy(&fx);
}

/* Preallocated blocks are written in place, and the reservation goes back. */
Test(direct_model, into_preallocated_space)
{
	struct vfs_file *d;

	fx_create(&fx, FX_SMALL);
	fx_file(&fx, "a", NULL);
	d = open_direct("a");
	FX_OK(vfs_fallocate(fx.fs, d, 0, 0, 40 * BS));
	FX_IS(vfs_pread(fx.fs, d, mem, 40 * BS, 0), 40 * BS);
	for (unsigned int k = 0; k < 40 * BS; k++)
		cr_assert_eq(mem[k], 0);
	fill(6, 40 * BS);
	FX_IS(vfs_pwrite(fx.fs, d, mem, 10 * BS, 5 * BS), 10 * BS);
	FX_IS(vfs_pwrite(fx.fs, d, mem, 20 * BS, 30 * BS), 20 * BS);
	fx_expect_zero(&fx, d, 0, 5 * BS);
	fx_expect(&fx, d, 30 * BS, 0, 6);
	FX_IS(fx_stat(&fx, "space", "reserved"), 0);
	FX_IS(fx_stat(&fx, "space", "claimed"), 0);
	fx_close(&fx, d);
	fx_remount(&fx);
	fx_destroy(&fx);
}

/* A flipped bit is an error for direct readers too, is recorded, and hits nobody else. */
Test(direct_model, a_flipped_bit_is_never_data)
{
	struct vfs_file *d;
	uint8_t *dev;
	uint64_t at;

	fx_create(&fx, FX_SMALL);
	fx_file(&fx, "a", NULL);
	d = open_direct("a");
	fill(7, 20 * BS);
	FX_IS(vfs_pwrite(fx.fs, d, mem, 20 * BS, 0), 20 * BS);
	dev = bdev_mem_data(fx.dev);
	for (at = 0; memcmp(dev + at, mem + 8 * BS, BS); at += BS)
		cr_assert_lt(at, fx_bytes(FX_SMALL));
	dev[at + 77] ^= 4;
	FX_IS(vfs_pread(fx.fs, d, mem, 20 * BS, 0), 8 * BS);
	FX_IS(vfs_pread(fx.fs, d, mem, BS, 8 * BS), -EIO);
	FX_IS(vfs_pread(fx.fs, d, mem, 11 * BS, 9 * BS), 11 * BS);
	cr_assert_gt(fx_stat(&fx, "integrity", "mismatches_since_mount"), 0);
	dev[at + 77] ^= 4;
	FX_IS(vfs_pread(fx.fs, d, mem, 20 * BS, 0), 20 * BS);
	fx_close(&fx, d);
	vfs_crash(fx.fs);
	bdev_close(fx.dev);
}

/* ---- shared blocks ---- */

static unsigned int shared_at(struct vfs_file *f, uint64_t block)
{
	struct vfs_extent x;

	FX_IS(vfs_extents(fx.fs, f, block * BS, &x, 1), 1);
	cr_assert_leq(x.pos, block * BS);
	return x.flags & VFS_EXTENT_SHARED ? 1 : 0;
}

/* Which of the first 30 blocks somebody else has too. */
static uint64_t shared_blocks(struct vfs_file *f)
{
	uint64_t bits = 0;

	for (unsigned int k = 0; k < 30; k++)
		bits |= (uint64_t)shared_at(f, k) << k;
	return bits;
}

static uint64_t data_blocks(void)
{
	FX_OK(vfs_sync(fx.fs));
	return fx_stat(&fx, "tree", "data_blocks");
}

static void write_direct(struct vfs_file *f, uint64_t pos, uint64_t len, uint64_t tag)
{
	for (uint64_t k = 0; k < len; k++)
		mem[pos % BS + k] = fx_byte(tag, pos + k);
	FX_IS(vfs_pwrite(fx.fs, f, mem + pos % BS, len, pos), (int64_t)len);
}

/* A copy's blocks, written past the cache: these, and no others, become its own; the source keeps
 * what it had. */
Test(direct_model, writes_to_shared_blocks)
{
	const uint64_t all = (1u << 30) - 1;
	struct vfs_file *a, *b, *d, *s;
	uint64_t used;

	fx_create(&fx, FX_SMALL);
	fx_file(&fx, "a", &a);
	fx_file(&fx, "b", &b);
	fx_write(&fx, a, 0, 30 * BS, 1);
	FX_IS(vfs_copy_file_range(fx.fs, a, 0, b, 0, 30 * BS, 0), 30 * BS);
	used = data_blocks();
	FX_IS(shared_blocks(b), all);
	d = open_direct("b");
	s = open_direct("a");
	write_direct(d, 10 * BS, 5 * BS, 2);
	FX_IS(data_blocks(), used + 5);
	FX_IS(shared_blocks(b), all & ~(31ull << 10));
	FX_IS(shared_blocks(a), all & ~(31ull << 10));
	/* again: its own already */
	write_direct(d, 10 * BS, 5 * BS, 3);
	FX_IS(data_blocks(), used + 5);
	/* from within a block to within another: both of them, and what lies between */
	write_direct(d, 20 * BS + 100, 2 * BS, 4);
	FX_IS(data_blocks(), used + 8);
	FX_IS(shared_blocks(b), all & ~(31ull << 10) & ~(7ull << 20));
	/* the source; the copy keeps what it had */
	write_direct(s, 25 * BS, BS, 5);
	FX_IS(data_blocks(), used + 9);
	pagecache_shrink(fx.fs->pagecache, 0);
	fx_expect(&fx, a, 0, 25 * BS, 1);
	fx_expect(&fx, a, 25 * BS, BS, 5);
	fx_expect(&fx, a, 26 * BS, 4 * BS, 1);
	fx_expect(&fx, b, 0, 10 * BS, 1);
	fx_expect(&fx, b, 10 * BS, 5 * BS, 3);
	fx_expect(&fx, b, 15 * BS, 5 * BS + 100, 1);
	fx_expect(&fx, b, 20 * BS + 100, 2 * BS, 4);
	fx_expect(&fx, b, 22 * BS + 100, 8 * BS - 100, 1);
	FX_IS(fx_stat(&fx, "space", "reserved"), 0);
	fx_check_live(&fx);
	fx_close(&fx, s);
	fx_close(&fx, d);
	fx_close(&fx, a);
	fx_close(&fx, b);
	fx_crash_remount(&fx);
	fx_destroy(&fx);
}

/* Writing over what is there goes on on a full file system; new blocks do not. */
Test(direct_model, on_a_full_file_system)
{
	struct vfs_file *d;
	uint64_t pos = 0;
	int64_t n;

	fx_create(&fx, FX_SMALL);
	fx_file(&fx, "a", NULL);
	d = open_direct("a");
	fill(8, 64 * BS);
	while ((n = vfs_pwrite(fx.fs, d, mem, 64 * BS, pos)) > 0)
		pos += (uint64_t)n;
	FX_IS(n, -ENOSPC);
	FX_IS(fx_size_of(&fx, d), pos);
	for (uint64_t at = 0; at + 64 * BS <= pos; at += 64 * BS)
		FX_IS(vfs_pwrite(fx.fs, d, mem, 64 * BS, at), 64 * BS);
	FX_OK(vfs_fsync(fx.fs, d, false));
	FX_IS(fx_stat(&fx, "space", "reserved"), 0);
	fx_close(&fx, d);
	fx_remount(&fx);
	fx_destroy(&fx);
}

/* ---- model ---- */

struct model {
	struct vfs_file *c, *d; /* cached, direct */
	uint8_t *data;
	uint64_t size, rng, op;
	const struct exercise_steps *steps;
};

/* Often whole blocks, in memory that lies as they do. */
static void pick(struct model *m, uint64_t *pos, uint64_t *len, uint8_t **at)
{
	uint64_t max = test_rand(&m->rng) % 3 ? 20000 : 200000;

	*pos = test_rand(&m->rng) % (MAX_SIZE - BS);
	*len = 1 + test_rand(&m->rng) % max;
	*at = mem;
	switch (test_rand(&m->rng) % 4) {
	case 0:
	case 1:
		*pos = round_down_to(*pos, BS);
		*len = round_up_to(*len, BS);
		break;
	case 2:
		*at += *pos % BS;
		break;
	default:
		*at += test_rand(&m->rng) % BS;
	}
	if (*len > MAX_SIZE - *pos)
		*len = MAX_SIZE - *pos;
}

static struct vfs_file *some_file(struct model *m)
{
	return test_rand(&m->rng) % 2 ? m->c : m->d;
}

static void say(const struct model *m, const char *what, const struct vfs_file *f, uint64_t pos,
		uint64_t len)
{
	exercise_say(m->steps, m->op, "%s %s %llu+%llu", what, f == m->d ? "direct" : "cached",
		     (unsigned long long)pos, (unsigned long long)len);
}

static void do_write(struct model *m)
{
	struct vfs_file *f = some_file(m);
	uint64_t pos, len;
	uint8_t *at;

	pick(m, &pos, &len, &at);
	for (uint64_t k = 0; k < len; k++)
		at[k] = m->data[pos + k] = fx_byte(m->op, k);
	say(m, "write", f, pos, len);
	FX_IS(vfs_pwrite(fx.fs, f, at, len, pos), len);
	if (pos + len > m->size)
		m->size = pos + len;
}

struct pieces {
	const uint8_t *want;
	size_t done;
};

static int compare(void *arg, struct iovec *iov, int n, size_t bytes)
{
	struct pieces *p = arg;

	for (int k = 0; k < n; k++) {
		if (memcmp(iov[k].iov_base, p->want + p->done, iov[k].iov_len))
			return -EBADMSG;
		p->done += iov[k].iov_len;
	}
	return p->done == bytes ? 0 : -EPROTO;
}

static void do_read(struct model *m)
{
	struct vfs_file *f = some_file(m);
	uint64_t pos, len, want;
	uint8_t *at;

	pick(m, &pos, &len, &at);
	want = pos >= m->size ? 0 : min_t(uint64_t, len, m->size - pos);
	say(m, "read", f, pos, len);
	if (test_rand(&m->rng) % 2) {
		struct pieces p = { .want = m->data + pos };

		FX_OK(vfs_read(fx.fs, f, pos, len, compare, &p));
		FX_IS(p.done, want);
		return;
	}
	FX_IS(vfs_pread(fx.fs, f, at, len, pos), want);
	FX_CHECK(!memcmp(at, m->data + pos, want));
}

static void do_truncate(struct model *m)
{
	uint64_t size = test_rand(&m->rng) % MAX_SIZE;

	if (test_rand(&m->rng) & 1)
		size = round_down_to(size, BS);
	exercise_say(m->steps, m->op, "truncate from %llu to %llu", (unsigned long long)m->size,
		     (unsigned long long)size);
	fx_set_size(&fx, m->c, size);
	if (size < m->size)
		memset(m->data + size, 0, m->size - size);
	m->size = size;
}

static void do_falloc(struct model *m)
{
	static const int modes[] = { 0, FALLOC_FL_KEEP_SIZE,
				     FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				     FALLOC_FL_ZERO_RANGE };
	int mode = modes[test_rand(&m->rng) % ARRAY_SIZE(modes)];
	struct vfs_file *f = some_file(m);
	uint64_t pos, len, end;
	uint8_t *at;

	pick(m, &pos, &len, &at);
	exercise_say(m->steps, m->op, "mode %d:", mode);
	say(m, "fallocate", f, pos, len);
	FX_OK(vfs_fallocate(fx.fs, f, mode, pos, len));
	end = pos + len;
	if (mode & ~FALLOC_FL_KEEP_SIZE && pos < m->size)
		memset(m->data + pos, 0, min_t(uint64_t, end, m->size) - pos);
	if (!(mode & FALLOC_FL_KEEP_SIZE) && end > m->size)
		m->size = end;
}

static void reopen(struct model *m, bool crash)
{
	exercise_say(m->steps, m->op, crash ? "fsync and crash" : "fsync and remount");
	FX_OK(vfs_fsync(fx.fs, m->d, false));
	fx_close(&fx, m->c);
	fx_close(&fx, m->d);
	if (crash)
		fx_crash_remount(&fx);
	else
		fx_remount(&fx);
	fx.dev->max_io = 12288;
	m->c = fx_open(&fx, "a");
	m->d = open_direct("a");
}

static void do_fsync(struct model *m, bool datasync)
{
	exercise_say(m->steps, m->op, datasync ? "fdatasync" : "fsync");
	FX_OK(vfs_fsync(fx.fs, some_file(m), datasync));
}

static void do_drop(struct model *m)
{
	exercise_say(m->steps, m->op, "drop the cache");
	pagecache_shrink(fx.fs->pagecache, 0);
}

static void step(struct model *m)
{
	uint64_t what = test_rand(&m->rng) % 100;

	if (what < 40)
		do_write(m);
	else if (what < 70)
		do_read(m);
	else if (what < 78)
		do_truncate(m);
	else if (what < 86)
		do_falloc(m);
	else if (what < 92)
		do_fsync(m, what & 1);
	else if (what < 97)
		do_drop(m);
	else
		reopen(m, what & 1);
	FX_IS(fx_size_of(&fx, m->d), m->size);
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
	m.data = calloc(1, MAX_SIZE);
	fx_file(&fx, "a", &m.c);
	m.d = open_direct("a");
	while (exercise_next(&w, &m.op, &m.rng))
		step(&m);
	reopen(&m, false);
	FX_IS(vfs_pread(fx.fs, m.d, mem, MAX_SIZE, 0), m.size);
	FX_CHECK(!memcmp(mem, m.data, m.size));
	FX_IS(vfs_pread(fx.fs, m.c, mem, MAX_SIZE, 0), m.size);
	FX_CHECK(!memcmp(mem, m.data, m.size));
	fx_close(&fx, m.c);
	fx_close(&fx, m.d);
	free(m.data);
	fx_destroy(&fx);
	fx_exit();
	return 0;
}

static void run(enum fx_size size, uint64_t seed)
{
	struct run r = { size, test_seed(seed), test_ops(2000) };

	fx_exit(); /* each run starts from nothing */
	FX_OK(exercise_shortest(run_model, &r, r.seed, r.ops, 60, NULL));
	fx_init();
}

Test(direct_model, model_4k)
{
	run(FX_SMALL, 3001);
}

Test(direct_model, model_1k)
{
	run(FX_SMALL1K, 3002);
}

Test(direct_model, model_medium)
{
	run(FX_MEDIUM, 3003);
}
