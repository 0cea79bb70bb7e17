/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * All of core/iomap/ and core/pagecache/: random operations on a toy file, compared with a plain
 * byte array.  The seed is fixed: TALLYFS_SEED takes another one, TALLYFS_OPS sets the length.
 * A failure is made short (exercise_shortest.h), if it comes again: there are a flusher and threads
 * for I/O here, whose moments are not repeated.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core/lib/log.h"
#include "core/pagecache/pagecache_internal.h"
#include "tests/lib/exercise_shortest.h"
#include "tests/lib/fixture.h"
#include "tests/lib/random.h"
#include "tests/lib/toymap.h"

#define FILE_MAX (2u << 20)

struct model {
	struct toymap t;
	unsigned char *want; /* FILE_MAX bytes; zeros behind size */
	unsigned char *buf;
	uint64_t size, rng, op;
	bool injected; /* errors were injected into writeback */
	const struct exercise_steps *steps;
};

static uint64_t rnd(struct model *x, uint64_t n)
{
	return test_rand(&x->rng) % n;
}

/* A random range: often small, often on block boundaries. */
static void pick_range(struct model *x, uint64_t limit, uint64_t *pos, uint64_t *len)
{
	uint64_t bs = 1ULL << x->t.mapping.blkbits;
	uint64_t max = rnd(x, 16) ? rnd(x, 4) ? 10000 : 200000 : 1 << 20;

	*pos = rnd(x, limit);
	if (!rnd(x, 3))
		*pos = round_down_to(*pos, bs);
	*len = 1 + rnd(x, max);
	if (!rnd(x, 3))
		*len = round_up_to(*len, bs);
	if (*pos + *len > FILE_MAX)
		*len = FILE_MAX - *pos;
	exercise_say(x->steps, x->op, "  from %llu+%llu", (unsigned long long)*pos,
		     (unsigned long long)*len);
}

static void check_read(struct model *x, uint64_t pos, uint64_t len, bool may_fail)
{
	int64_t n = toymap_read(&x->t, pos, x->buf, len);
	uint64_t want = pos >= x->size ? 0 : min_t(uint64_t, len, x->size - pos);

	if (may_fail && (n == -EIO || (n >= 0 && (uint64_t)n < want)))
		want = n < 0 ? 0 : (uint64_t)n;
	else
		FX_CHECK(n == (int64_t)want);
	FX_CHECK(!memcmp(x->buf, x->want + pos, want));
}

static void op_read(struct model *x)
{
	uint64_t pos, len;

	pick_range(x, FILE_MAX, &pos, &len);
	if (x->size && rnd(x, 4))
		pos %= x->size;
	check_read(x, pos, len, false);
}

static void op_write(struct model *x)
{
	uint64_t pos, len, limit = rnd(x, 8) ? x->size + 20000 : FILE_MAX;
	int64_t n;

	pick_range(x, min_t(uint64_t, limit, FILE_MAX), &pos, &len);
	for (uint64_t i = 0; i < len; i++)
		x->buf[i] = (unsigned char)(x->op * 31 + i * 7 + (i >> 9));
	n = toymap_write(&x->t, pos, x->buf, len);
	FX_CHECK(n == (int64_t)len);
	memcpy(x->want + pos, x->buf, len);
	x->size = max_t(uint64_t, x->size, pos + len);
}

/* As a receive buffer that the cache may keep. */
static void op_adopt(struct model *x)
{
	uint64_t bs = 1ULL << x->t.mapping.blkbits, pos,
		 len = (64u << 10) + round_down_to(rnd(x, 500000), 1024);
	struct seg *seg = seg_alloc(pagecache_segs(x->t.cache), len + 4096);
	struct iomap_src src = { .len = len, .seg = seg };

	FX_CHECK(seg);
	pos = round_down_to(rnd(x, FILE_MAX - len), bs);
	src.buf = (char *)seg->base + (rnd(x, 2) ? 4096 : 0);
	for (uint64_t i = 0; i < len; i++)
		((unsigned char *)src.buf)[i] = (unsigned char)(x->op + i * 3 + (i >> 10));
	memcpy(x->want + pos, src.buf, len);
	FX_CHECK(iomap_file_buffered_write(&x->t.mapping, pos, &src, &toy_ops) == (int64_t)len);
	seg_put(seg);
	x->size = max_t(uint64_t, x->size, pos + len);
}

static void op_zero(struct model *x)
{
	uint64_t pos, len;

	if (!x->size)
		return;
	pick_range(x, x->size, &pos, &len);
	len = min_t(uint64_t, len, x->size - pos);
	FX_CHECK(iomap_zero_range(&x->t.mapping, pos, len, NULL, &toy_ops) == 0);
	memset(x->want + pos, 0, len);
}

static void op_truncate(struct model *x)
{
	uint64_t size = rnd(x, 3) ? rnd(x, x->size + 10000) : rnd(x, FILE_MAX);

	size = min_t(uint64_t, size, FILE_MAX);
	FX_CHECK(toymap_truncate(&x->t, size) == 0);
	if (size < x->size)
		memset(x->want + size, 0, x->size - size);
	x->size = size;
}

/*
 * Must succeed; but once errors are injected, the flusher may have met one, and tell of it
 * only when its own pass ends: on a busy machine any number of operations later.
 */
static void sync_all(struct model *x)
{
	int err = toymap_sync(&x->t);

	for (int i = 0; err && x->injected && i < 3; i++)
		err = toymap_sync(&x->t);
	FX_CHECK(!err);
}

static void op_sync(struct model *x)
{
	sync_all(x);
	if (!rnd(x, 2))
		pagecache_shrink(x->t.cache, 0);
	FX_CHECK(!atomic_load(&x->t.mapping.nr_dirty_blocks));
	FX_CHECK(!atomic_load(&x->t.mapping.nr_writeback_blocks));
}

/* Start writing and do not wait: what follows meets blocks under writeback. */
static void op_start_writeback(struct model *x)
{
	struct writeback_control wbc = { .end = UINT64_MAX, .nr_to_write = 1 + rnd(x, 200) };

	faultdev_plan(x->t.bdev, .kind = FAULT_DELAY, .ops = FAULT_IO,
		      .times = 1 + (unsigned int)rnd(x, 3), .usec = 500);
	FX_CHECK(x->t.mapping.a_ops->writepages(&x->t.mapping, &wbc) == 0);
}

static void op_reclaim(struct model *x)
{
	pagecache_shrink(x->t.cache, rnd(x, 2) ? 0 : rnd(x, FILE_MAX));
}

static void op_invalidate(struct model *x)
{
	uint64_t pos, len;

	pick_range(x, FILE_MAX, &pos, &len);
	invalidate_inode_pages_range(&x->t.mapping, pos, pos + len);
}

static void op_unshare(struct model *x)
{
	uint64_t bits = x->t.mapping.blkbits, first = rnd(x, FILE_MAX >> bits), n;

	n = 1 + rnd(x, (FILE_MAX >> bits) - first);
	toymap_share(&x->t, first, n);
	if (rnd(x, 2))
		FX_CHECK(iomap_file_unshare(&x->t.mapping, first << bits, n << bits, &toy_ops) ==
			 0);
}

static void op_readahead(struct model *x)
{
	uint64_t pos, len;

	pick_range(x, FILE_MAX, &pos, &len);
	iomap_readahead(&x->t.mapping, pos, len, &toy_ops);
}

static void op_bad_read(struct model *x)
{
	uint64_t pos, len;
	enum fault_kind kind = rnd(x, 2) && x->t.bdev->integrity ? FAULT_FLIP : FAULT_ERROR;

	pagecache_shrink(x->t.cache, 0);
	for (int i = 0; i < 8; i++)
		faultdev_plan(x->t.bdev, .kind = kind, .ops = FAULT_READ, .off = rnd(x, 8u << 20),
			      .len = 1, .times = 1 + (unsigned int)rnd(x, 4));
	pick_range(x, x->size + 1, &pos, &len);
	check_read(x, pos, len, true);
	iomap_readahead(&x->t.mapping, pos, len, &toy_ops);
	faultdev_clear(x->t.bdev);
	check_read(x, pos, len, false);
}

static void op_bad_write(struct model *x)
{
	int err;

	x->injected = true;
	faultdev_plan(x->t.bdev, .kind = FAULT_ERROR, .ops = FAULT_WRITE, .off = rnd(x, 8u << 20),
		      .len = 4u << 20, .times = 1 + (unsigned int)rnd(x, 3));
	err = toymap_sync(&x->t);
	/* -ENOMEM: the flusher met it, see op_no_memory() */
	FX_CHECK(!err || err == -EIO || err == -ENOSPC || err == -ENOMEM);
	faultdev_clear(x->t.bdev);
	op_read(x);
	if (rnd(x, 2))
		op_write(x);
	sync_all(x);
}

static void op_no_space(struct model *x)
{
	x->injected = true;
	pthread_mutex_lock(&x->t.lock);
	x->t.map_error = -ENOSPC;
	x->t.map_errors = 1 + (int)rnd(x, 3);
	pthread_mutex_unlock(&x->t.lock);
	toymap_sync(&x->t);
	pthread_mutex_lock(&x->t.lock);
	x->t.map_errors = 0;
	pthread_mutex_unlock(&x->t.lock);
	sync_all(x);
}

static void op_seek(struct model *x)
{
	uint64_t pos = rnd(x, FILE_MAX);
	int64_t data = iomap_seek_data(&x->t.mapping, pos, &toy_ops);
	int64_t hole = iomap_seek_hole(&x->t.mapping, pos, &toy_ops);
	uint64_t end;

	if (pos >= x->size) {
		FX_CHECK(data == -ENXIO && hole == -ENXIO);
		return;
	}
	FX_CHECK(data == -ENXIO || (data >= (int64_t)pos && data < (int64_t)x->size));
	FX_CHECK(hole >= (int64_t)pos && hole <= (int64_t)x->size);
	/* what is not data is zero */
	end = data == -ENXIO ? x->size : (uint64_t)data;
	for (uint64_t i = pos; i < end; i++)
		FX_CHECK(!x->want[i]);
}

static void op_migrate(struct model *x)
{
	struct address_space *m = &x->t.mapping;
	struct folio *from = filemap_lock_folio(m, rnd(x, FILE_MAX >> m->folio_shift)), *to;
	int err;

	if (!from)
		return;
	to = folio_alloc(m, from->index);
	FX_CHECK(to);
	err = iomap_migrate_folio(to, from);
	FX_CHECK(!err || err == -EBUSY);
	folio_unlock(to);
	folio_put(to);
	folio_unlock(from);
	folio_put(from);
}

static void op_mkwrite(struct model *x)
{
	struct address_space *m = &x->t.mapping;
	uint64_t index, pos, n;
	struct folio *f;

	if (!x->size)
		return;
	index = rnd(x, div_up(x->size, 1ULL << m->folio_shift));
	f = filemap_grab_folio(m, index);
	FX_CHECK(f);
	FX_CHECK(iomap_read_folio(f, &toy_ops) == 0);
	folio_lock(f);
	FX_CHECK(iomap_page_mkwrite(f, &toy_ops) == 0);
	pos = index << m->folio_shift;
	n = min_t(uint64_t, 1ULL << m->folio_shift, x->size - pos);
	for (uint64_t i = 0; i < n; i++) {
		unsigned char *at = (unsigned char *)f->blocks[i >> m->blkbits].addr +
				    (i & ((1u << m->blkbits) - 1));

		FX_CHECK(*at == x->want[pos + i]);
		x->want[pos + i] = *at = (unsigned char)(*at + 1);
	}
	folio_unlock(f);
	folio_put(f);
}

static void op_punch(struct model *x)
{
	uint64_t pos, len;

	if (!x->size)
		return;
	pick_range(x, x->size, &pos, &len);
	len = min_t(uint64_t, len, x->size - pos);
	FX_CHECK(toymap_punch(&x->t, pos, len) == 0);
	memset(x->want + pos, 0, len);
}

/* Holes get space that is not written yet. */
static void op_allocate(struct model *x)
{
	uint64_t bits = x->t.mapping.blkbits, blocks = FILE_MAX >> bits, first = rnd(x, blocks);

	toymap_allocate(&x->t, first,
			1 + rnd(x, min_t(uint64_t, blocks - first, (256u << 10) >> bits)));
}

/*
 * One of the next allocations fails, here or in the flusher: what was written before it counts, the
 * rest never happened.
 */
static void op_no_memory(struct model *x)
{
	uint64_t pos, len, size = x->size;
	int64_t n;

	x->injected = x->op + 1;
	pick_range(x, min_t(uint64_t, x->size + 20000, FILE_MAX), &pos, &len);
	for (uint64_t i = 0; i < len; i++)
		x->buf[i] = (unsigned char)(x->op * 13 + i * 3 + (i >> 9));
	tl_alloc_fail_nth(1 + rnd(x, 24));
	n = toymap_write(&x->t, pos, x->buf, len);
	tl_alloc_fail_nth(0);
	FX_CHECK(n == -ENOMEM || (n > 0 && n <= (int64_t)len));
	if (n > 0) {
		memcpy(x->want + pos, x->buf, (size_t)n);
		x->size = max_t(uint64_t, size, pos + (uint64_t)n);
	}
	pagecache_shrink(x->t.cache, 0);
	pick_range(x, x->size + 1, &pos, &len);
	tl_alloc_fail_nth(1 + rnd(x, 24));
	n = toymap_read(&x->t, pos, x->buf, len);
	tl_alloc_fail_nth(0);
	FX_CHECK(n == -ENOMEM || n >= 0);
	for (int64_t i = 0; i < n; i++)
		FX_CHECK(x->buf[i] == x->want[pos + (uint64_t)i]);
	check_read(x, pos, len, false);
}

static const struct {
	const char *name;
	void (*fn)(struct model *x);
	unsigned int weight;
} model_ops[] = {
	{ "read", op_read, 20 },
	{ "write", op_write, 20 },
	{ "adopt", op_adopt, 4 },
	{ "zero", op_zero, 6 },
	{ "truncate", op_truncate, 6 },
	{ "sync", op_sync, 4 },
	{ "start writeback", op_start_writeback, 8 },
	{ "reclaim", op_reclaim, 4 },
	{ "invalidate", op_invalidate, 3 },
	{ "unshare", op_unshare, 3 },
	{ "readahead", op_readahead, 5 },
	{ "bad read", op_bad_read, 2 },
	{ "bad write", op_bad_write, 2 },
	{ "no space", op_no_space, 1 },
	{ "seek", op_seek, 4 },
	{ "migrate", op_migrate, 2 },
	{ "mkwrite", op_mkwrite, 2 },
	{ "punch", op_punch, 4 },
	{ "allocate", op_allocate, 2 },
	{ "no memory", op_no_memory, 2 },
};

static void run_op(struct model *x)
{
	unsigned int total = 0, i;
	uint64_t pick;

	for (i = 0; i < ARRAY_SIZE(model_ops); i++)
		total += model_ops[i].weight;
	pick = rnd(x, total);
	for (i = 0; pick >= model_ops[i].weight; i++)
		pick -= model_ops[i].weight;
	exercise_say(x->steps, x->op, "%s, size %llu", model_ops[i].name,
		     (unsigned long long)x->size);
	model_ops[i].fn(x);
	FX_CHECK(i_size_read(&x->t.mapping) == x->size);
}

static void quiet(enum log_level lvl, const char *line)
{
}

struct shape {
	unsigned int blkbits, folio_shift;
	bool integrity;
	unsigned int inline_max;
	uint64_t seed, ops;
};

static void start(struct model *x, const struct shape *s)
{
	struct toy_config cfg = {
		.blkbits = s->blkbits,
		.folio_shift = s->folio_shift,
		.file_bytes = FILE_MAX,
		.dev_bytes = 8u << 20,
		.cache = { .cache_bytes = 3u << 20,
			   .dirty_bytes = 1u << 20,
			   .flush_interval_ms = 20 },
		.integrity = s->integrity,
		.inline_max = s->inline_max,
	};

	x->rng = s->seed; /* for the shape */
	x->want = calloc(1, FILE_MAX);
	x->buf = malloc(FILE_MAX);
	toymap_init(&x->t, &cfg);
	x->t.scatter = rnd(x, 3) == 0;
	x->t.cow = rnd(x, 2);
}

static int run_model(void *arg, const struct exercise_steps *steps)
{
	const struct shape *s = arg;
	struct model m = { .steps = steps }, *x = &m;
	struct exercise_walk w = exercise_walk(steps, s->seed, s->ops);

	log_set_hook(quiet);
	start(x, s);
	while (exercise_next(&w, &x->op, &x->rng))
		run_op(x);
	sync_all(x);
	pagecache_shrink(x->t.cache, 0);
	check_read(x, 0, FILE_MAX, false);
	FX_CHECK(!toymap_reservation_gap(&x->t));
	toymap_exit(&x->t);
	free(x->want);
	free(x->buf);
	return 0;
}

/* Every shape has its own course. */
static void run_shape(struct shape s)
{
	s.seed = test_seed(1) * 1000 + s.blkbits * 37 + s.folio_shift;
	s.ops = test_ops(500);
	FX_OK(exercise_shortest(run_model, &s, s.seed, s.ops, 60, NULL));
	fprintf(stderr, "blocks of %u, folios of %u: %llu operations\n", 1u << s.blkbits,
		1u << s.folio_shift, (unsigned long long)s.ops);
}

/* All block sizes, with folios of one block, a few, and 1 MiB. */
#define SHAPE(name, blkbits, folio_shift, integrity, inline_max)                                  \
	Test(iomap_model, name)                                                                   \
	{                                                                                         \
		run_shape((struct shape){ (blkbits), (folio_shift), (integrity), (inline_max), 0, \
					  0 });                                                   \
	}

SHAPE(blocks_1k_folios_1k, 10, 10, true, 0)
SHAPE(blocks_1k_folios_64k, 10, 16, true, 700)
SHAPE(blocks_1k_folios_1m, 10, 20, true, 0)
SHAPE(blocks_2k_folios_2k, 11, 11, true, 2048)
SHAPE(blocks_2k_folios_32k, 11, 15, true, 0)
SHAPE(blocks_2k_folios_1m, 11, 20, true, 500)
SHAPE(blocks_4k_folios_4k, 12, 12, true, 0)
SHAPE(blocks_4k_folios_64k, 12, 16, true, 2000)
SHAPE(blocks_4k_folios_1m, 12, 20, true, 0)
SHAPE(blocks_4k_no_integrity, 12, 17, false, 4096)
SHAPE(blocks_8k_folios_8k, 13, 13, true, 0)
SHAPE(blocks_8k_folios_128k, 13, 17, true, 5000)
SHAPE(blocks_8k_folios_1m, 13, 20, false, 0)
SHAPE(blocks_16k_folios_16k, 14, 14, true, 3000)
SHAPE(blocks_16k_folios_1m, 14, 20, true, 0)
SHAPE(blocks_32k_folios_32k, 15, 15, true, 0)
SHAPE(blocks_32k_folios_1m, 15, 20, true, 3000)
SHAPE(blocks_64k_folios_64k, 16, 16, true, 0)
SHAPE(blocks_64k_folios_256k, 16, 18, true, 3000)
SHAPE(blocks_64k_folios_1m, 16, 20, true, 0)
