/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "core/lib/util.h"
#include "tests/lib/exercise_content.h"
#include "tests/lib/exercise_content_past.h"
#include "tests/lib/exercise_notes.h"
#include "tests/lib/random.h"

struct file {
	uint8_t *
		data; /* aligned like pages, so that direct I/O may use it; zeros behind the size */
	uint64_t size;
	struct content_past *past; /* NULL: no power cuts */
};

struct content_run {
	const struct content_opts *o;
	const struct content_ops *ops;
	void *be;
	uint64_t rng, op;
	struct file *files;
	uint8_t *buf;
	struct exercise_notes notes;
	bool failed;
};

static void __attribute__((format(printf, 2, 3))) note(struct content_run *x, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	exercise_note(&x->notes, fmt, ap);
	va_end(ap);
}

static void __attribute__((format(printf, 2, 3))) fail(struct content_run *x, const char *fmt, ...)
{
	va_list ap;

	if (x->failed)
		return;
	x->failed = true;
	va_start(ap, fmt);
	exercise_notes_fail(&x->notes, fmt, ap);
	va_end(ap);
}

/* The answer must be this one. */
static void want(struct content_run *x, const char *what, int64_t got, int64_t wanted)
{
	if (got != wanted)
		fail(x, "%s gave %lld, not %lld", what, (long long)got, (long long)wanted);
}

static uint64_t rnd(struct content_run *x, uint64_t below)
{
	return test_rand(&x->rng) % below;
}

/* A position or length below @below: often at or beside a block's edge, or small. */
static uint64_t pick(struct content_run *x, uint64_t below)
{
	uint64_t v = rnd(x, below), edge = 1024ull << (2 * rnd(x, 4));

	switch (rnd(x, 5)) {
	case 0:
		return v - v % edge;
	case 1:
		v = v - v % edge + rnd(x, 3);
		return v ? v - 1 : 0;
	case 2:
		return v % 5000;
	default:
		return v;
	}
}

static void pick_range(struct content_run *x, uint64_t *pos, uint64_t *len)
{
	uint64_t max = x->o->max_size;

	*pos = pick(x, max);
	*len = 1 + pick(x, rnd(x, 4) ? min_t(uint64_t, max, 20000) : min_t(uint64_t, max, 200000));
	*len = min_t(uint64_t, *len, max - *pos);
}

/* Inside the file; false: there is no room for one. */
static bool pick_inside(struct content_run *x, const struct file *f, uint64_t *pos, uint64_t *len)
{
	if (!f->size)
		return false;
	*pos = rnd(x, f->size);
	*len = 1 + pick(x, min_t(uint64_t, f->size - *pos, 100000));
	*len = min_t(uint64_t, *len, f->size - *pos);
	return true;
}

static void fill(struct content_run *x, uint8_t *p, uint64_t len)
{
	uint64_t v = test_rand(&x->rng), i;

	for (i = 0; i < len; i++)
		p[i] = (uint8_t)(v + i * 131 + (i >> 8));
}

/* [pos, end) has new content, and the file is this long now. */
static void changed(struct file *f, uint64_t pos, uint64_t end, uint64_t size)
{
	f->size = size;
	if (f->past)
		content_past_changed(f->past, f->data, size, pos, end);
}

static void grew(struct file *f, uint64_t pos, uint64_t end)
{
	changed(f, pos, end, max_t(uint64_t, f->size, end));
}

static void compare(struct content_run *x, unsigned int k, uint64_t pos, uint64_t len,
		    const char *how)
{
	const uint8_t *data = x->files[k].data + pos;
	uint64_t i;

	if (!memcmp(x->buf, data, len))
		return;
	for (i = 0; x->buf[i] == data[i];)
		i++;
	fail(x, "%s of file %u at %llu+%llu differs at %llu: %02x, not %02x", how, k,
	     (unsigned long long)pos, (unsigned long long)len, (unsigned long long)(pos + i),
	     x->buf[i], data[i]);
}

static void do_write(struct content_run *x, unsigned int k)
{
	struct file *f = &x->files[k];
	uint64_t pos, len;

	pick_range(x, &pos, &len);
	if (x->ops->append && !rnd(x, 5)) {
		pos = f->size;
		len = min_t(uint64_t, len, x->o->max_size - pos);
		if (!len)
			return;
		note(x, "append %u %llu+%llu", k, (unsigned long long)pos, (unsigned long long)len);
		fill(x, f->data + pos, len);
		want(x, "append", x->ops->append(x->be, k, f->data + pos, len), (int64_t)len);
	} else {
		note(x, "write %u %llu+%llu", k, (unsigned long long)pos, (unsigned long long)len);
		fill(x, f->data + pos, len);
		want(x, "write", x->ops->pwrite(x->be, k, f->data + pos, len, pos), (int64_t)len);
	}
	grew(f, pos, pos + len);
}

static void do_read(struct content_run *x, unsigned int k)
{
	const struct file *f = &x->files[k];
	uint64_t pos, len, n;

	pick_range(x, &pos, &len);
	n = pos >= f->size ? 0 : min_t(uint64_t, len, f->size - pos);
	note(x, "read %u %llu+%llu", k, (unsigned long long)pos, (unsigned long long)len);
	want(x, "read", x->ops->pread(x->be, k, x->buf, len, pos), (int64_t)n);
	compare(x, k, pos, n, "a read");
}

static void do_mmap(struct content_run *x, unsigned int k)
{
	struct file *f = &x->files[k];
	uint64_t pos, len;

	if (!x->ops->mread || !pick_inside(x, f, &pos, &len))
		return;
	if (rnd(x, 2)) {
		note(x, "mapped read %u %llu+%llu", k, (unsigned long long)pos,
		     (unsigned long long)len);
		want(x, "mapped read", x->ops->mread(x->be, k, x->buf, len, pos), (int64_t)len);
		compare(x, k, pos, len, "a mapped read");
	} else {
		note(x, "mapped write %u %llu+%llu", k, (unsigned long long)pos,
		     (unsigned long long)len);
		fill(x, f->data + pos, len);
		want(x, "mapped write", x->ops->mwrite(x->be, k, f->data + pos, len, pos),
		     (int64_t)len);
		changed(f, pos, pos + len, f->size);
	}
}

static void do_truncate(struct content_run *x, unsigned int k)
{
	struct file *f = &x->files[k];
	uint64_t size = pick(x, x->o->max_size);

	note(x, "truncate %u from %llu to %llu", k, (unsigned long long)f->size,
	     (unsigned long long)size);
	want(x, "truncate", x->ops->truncate(x->be, k, size), 0);
	if (size < f->size)
		memset(f->data + size, 0, f->size - size);
	changed(f, min_t(uint64_t, size, f->size), max_t(uint64_t, size, f->size), size);
}

static void do_fallocate(struct content_run *x, unsigned int k)
{
	static const int modes[] = { 0, FALLOC_FL_KEEP_SIZE,
				     FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				     FALLOC_FL_ZERO_RANGE,
				     FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE };
	struct file *f = &x->files[k];
	int mode = modes[rnd(x, ARRAY_SIZE(modes))];
	uint64_t pos, len, end;

	pick_range(x, &pos, &len);
	end = pos + len;
	note(x, "fallocate %u mode %d %llu+%llu", k, mode, (unsigned long long)pos,
	     (unsigned long long)len);
	want(x, "fallocate", x->ops->fallocate(x->be, k, mode, pos, len), 0);
	if (mode & ~FALLOC_FL_KEEP_SIZE && pos < f->size)
		memset(f->data + pos, 0, min_t(uint64_t, end, f->size) - pos);
	changed(f, pos, end, mode & FALLOC_FL_KEEP_SIZE ? f->size : max_t(uint64_t, f->size, end));
}

static void do_copy(struct content_run *x, unsigned int k)
{
	unsigned int to = (unsigned int)rnd(x, x->o->nr_files);
	uint64_t pos, len, to_pos = pick(x, x->o->max_size);
	int64_t n;

	if (!x->ops->copy || !pick_inside(x, &x->files[k], &pos, &len))
		return;
	len = min_t(uint64_t, len, x->o->max_size - to_pos);
	/* overlapping ranges of one file are an error, not a copy */
	if (to == k && to_pos < pos + len && pos < to_pos + len)
		return;
	note(x, "copy %u %llu+%llu to %u %llu", k, (unsigned long long)pos, (unsigned long long)len,
	     to, (unsigned long long)to_pos);
	n = x->ops->copy(x->be, k, pos, to, to_pos, len);
	if (n <= 0 || (uint64_t)n > len)
		fail(x, "copy gave %lld", (long long)n);
	else
		memcpy(x->files[to].data + to_pos, x->files[k].data + pos, (size_t)n);
	if (n > 0)
		grew(&x->files[to], to_pos, to_pos + (uint64_t)n);
}

/* What is called a hole is zeros; a hole and data follow each other; behind the end there is
 * neither. */
static void do_seek(struct content_run *x, unsigned int k)
{
	const struct file *f = &x->files[k];
	uint64_t pos = pick(x, x->o->max_size), i;
	int64_t data, hole;

	note(x, "seek %u from %llu", k, (unsigned long long)pos);
	data = x->ops->seek(x->be, k, pos, SEEK_DATA);
	hole = x->ops->seek(x->be, k, pos, SEEK_HOLE);
	if (pos >= f->size) {
		want(x, "SEEK_DATA", data, -ENXIO);
		want(x, "SEEK_HOLE", hole, -ENXIO);
		return;
	}
	if (data < 0 && data != -ENXIO)
		fail(x, "SEEK_DATA gave %lld", (long long)data);
	if (hole < (int64_t)pos || (uint64_t)hole > f->size || (data < 0 && hole != (int64_t)pos))
		fail(x, "SEEK_HOLE gave %lld", (long long)hole);
	if (data >= 0 && ((uint64_t)data < pos || (uint64_t)data >= f->size ||
			  ((uint64_t)data == pos) == ((uint64_t)hole == pos)))
		fail(x, "SEEK_DATA gave %lld, SEEK_HOLE %lld", (long long)data, (long long)hole);
	for (i = pos; i < (data < 0 ? f->size : (uint64_t)data) && !f->data[i]; i++)
		;
	if (i < (data < 0 ? f->size : (uint64_t)data))
		fail(x, "there is data at %llu, in a hole up to %lld", (unsigned long long)i,
		     (long long)data);
}

static void check_all(struct content_run *x)
{
	const uint64_t piece = 64 << 10;
	unsigned int k;
	uint64_t pos;

	for (k = 0; k < x->o->nr_files && !x->failed; k++) {
		want(x, "the size", x->ops->size(x->be, k), (int64_t)x->files[k].size);
		for (pos = 0; pos < x->files[k].size && !x->failed; pos += piece) {
			uint64_t n = min_t(uint64_t, piece, x->files[k].size - pos);

			want(x, "read", x->ops->pread(x->be, k, x->buf, n, pos), (int64_t)n);
			compare(x, k, pos, n, "all");
		}
	}
}

static void do_unshare(struct content_run *x, unsigned int k)
{
	uint64_t pos, len;

	pick_range(x, &pos, &len);
	if (!x->ops->unshare)
		return;
	note(x, "unshare %u %llu+%llu", k, (unsigned long long)pos, (unsigned long long)len);
	want(x, "unshare", x->ops->unshare(x->be, k, pos, len), 0);
}

static void do_background(struct content_run *x)
{
	unsigned int which = (unsigned int)rnd(x, 3);

	if (!x->ops->background)
		return;
	note(x, "background %u", which);
	want(x, "background", x->ops->background(x->be, which), 0);
}

/* ---- power cuts ---- */

static int check_file_after_cut(struct content_run *x, void *image, unsigned int k)
{
	const struct content_past *past = x->files[k].past;
	int64_t size = x->ops->size(image, k), n;
	uint32_t bs = x->o->block_size;

	if (size < 0 || !content_past_size_ok(past, (uint64_t)size)) {
		fail(x,
		     "after a power cut file %u has size %lld, which it did not have since its "
		     "last fsync",
		     k, (long long)size);
		return -1;
	}
	for (uint64_t pos = 0; pos < (uint64_t)size; pos += bs) {
		memset(x->buf, 0, bs);
		n = x->ops->pread(image, k, x->buf, bs, pos);
		if (n != (int64_t)min_t(uint64_t, bs, (uint64_t)size - pos)) {
			fail(x, "after a power cut a read of file %u at %llu gave %lld", k,
			     (unsigned long long)pos, (long long)n);
			return -1;
		}
		if (!content_past_block_ok(past, pos / bs, x->buf)) {
			fail(x,
			     "after a power cut file %u (size %lld) has at %llu what was not there "
			     "since its last "
			     "fsync: %02x ...",
			     k, (long long)size, (unsigned long long)pos, x->buf[0]);
			return -1;
		}
	}
	return 0;
}

static int check_after_cut(void *arg, void *image)
{
	struct content_run *x = arg;
	int err = 0;

	for (unsigned int k = 0; k < x->o->nr_files && !err; k++)
		err = check_file_after_cut(x, image, k);
	return err;
}

static void maybe_cut(struct content_run *x)
{
	if (!x->ops->cut || x->failed || rnd(x, x->o->cut_every))
		return;
	if (x->ops->cut(x->be, check_after_cut, x))
		fail(x, "a power cut");
}

/* What this operation promised; known to the model only after the cut, which may have come before
 * its end. */
static void synced(struct content_run *x, unsigned int from, unsigned int to)
{
	maybe_cut(x);
	for (; from < to; from++)
		if (x->files[from].past)
			content_past_synced(x->files[from].past);
	if (x->ops->begin)
		x->ops->begin(x->be);
}

/* ---- the run ---- */

static void other_step(struct content_run *x, unsigned int k, uint64_t what)
{
	if (what < 5) {
		note(x, "fsync %u", k);
		want(x, "fsync", x->ops->fsync(x->be, k, rnd(x, 2)), 0);
		synced(x, k, k + 1);
	} else if (what < 8) {
		note(x, "reopen %u", k);
		want(x, "reopen", x->ops->reopen(x->be, k), 0);
	} else if (what < 10) {
		note(x, "drop the cache");
		want(x, "drop_cache", x->ops->drop_cache(x->be), 0);
	} else if (what < 12) {
		note(x, "sync");
		want(x, "sync", x->ops->sync(x->be), 0);
		synced(x, 0, x->o->nr_files);
	} else if (what < 14) {
		do_unshare(x, k);
	} else {
		do_background(x);
	}
}

static void step(struct content_run *x)
{
	unsigned int k = (unsigned int)rnd(x, x->o->nr_files);
	uint64_t what = rnd(x, 107);

	exercise_notes_begin(&x->notes, x->op);
	if (x->ops->begin)
		x->ops->begin(x->be);
	if (x->o->remount_every && !rnd(x, x->o->remount_every)) {
		note(x, "remount");
		want(x, "remount", x->ops->remount(x->be), 0);
		check_all(x);
		synced(x, 0, x->o->nr_files);
	} else if (what < 30) {
		do_write(x, k);
	} else if (what < 50) {
		do_read(x, k);
	} else if (what < 60) {
		do_mmap(x, k);
	} else if (what < 68) {
		do_truncate(x, k);
	} else if (what < 80) {
		do_fallocate(x, k);
	} else if (what < 85) {
		do_copy(x, k);
	} else if (what < 90) {
		do_seek(x, k);
	} else {
		other_step(x, k, what - 90);
	}
	want(x, "the size", x->ops->size(x->be, k), (int64_t)x->files[k].size);
	maybe_cut(x);
}

static int make_files(struct content_run *x)
{
	const uint64_t room = round_up_to(x->o->max_size, 64 << 10) + (64 << 10);
	void *mem;

	x->files = calloc(x->o->nr_files, sizeof(*x->files));
	if (!x->files || posix_memalign(&mem, 4096, room))
		return -1;
	x->buf = mem;
	for (unsigned int k = 0; k < x->o->nr_files; k++) {
		if (posix_memalign(&mem, 4096, room))
			return -1;
		x->files[k].data = memset(mem, 0, room);
		if (x->ops->cut)
			x->files[k].past = content_past_create(x->o->block_size, x->o->max_size);
	}
	return 0;
}

static void free_files(struct content_run *x)
{
	for (unsigned int k = 0; x->files && k < x->o->nr_files; k++) {
		free(x->files[k].data);
		if (x->files[k].past)
			content_past_destroy(x->files[k].past);
	}
	free(x->files);
	free(x->buf);
}

int exercise_content(const struct content_opts *o, const struct content_ops *ops, void *be)
{
	struct content_run x = {
		.o = o, .ops = ops, .be = be, .notes = { .steps = &o->steps, .seed = o->seed }
	};
	struct exercise_walk w = exercise_walk(&o->steps, o->seed, o->ops);

	x.failed = make_files(&x);
	while (!x.failed && exercise_next(&w, &x.op, &x.rng))
		step(&x);
	if (!x.failed)
		check_all(&x);
	free_files(&x);
	return x.failed ? -1 : 0;
}
