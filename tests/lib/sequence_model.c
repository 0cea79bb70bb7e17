/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What was promised, and so what a power cut may leave. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tests/lib/fixture.h"
#include "tests/lib/sequence_priv.h"

#define BIT(n) (1u << (n))

void seq_model_start(struct seq_model *m, uint32_t block_size)
{
	m->block_size = block_size;
	m->step = 0;
	m->nr_files = 0;
}

void seq_model_drop(struct seq_model *m)
{
	for (unsigned int i = 0; i < m->nr_files; i++)
		free(m->file[i].data);
	m->nr_files = 0;
	for (unsigned int s = 0; s <= SEQ_STEPS; s++) {
		free(m->names[s]);
		m->names[s] = NULL;
	}
}

static const struct seq_file *find(const struct seq_model *m, uint64_t ino)
{
	for (unsigned int i = 0; i < m->nr_files; i++)
		if (m->file[i].ino == ino)
			return &m->file[i];
	return NULL;
}

struct seq_file *seq_file(struct seq_model *m, uint64_t ino)
{
	struct seq_file *f = (struct seq_file *)find(m, ino);

	if (f)
		return f;
	FX_CHECK(m->nr_files < SEQ_FILES);
	f = &m->file[m->nr_files++];
	*f = (struct seq_file){
		.ino = ino, .data = calloc(1, SEQ_BYTES), .changed = true, .in_names = BIT(m->step)
	};
	FX_CHECK(f->data);
	return f;
}

void seq_did_write(struct seq_file *f, uint64_t pos, const uint8_t *data, uint64_t len)
{
	memmove(f->data + pos, data, len);
	f->size = max_t(uint64_t, f->size, pos + len);
	f->changed = true;
}

void seq_did_zero(struct seq_file *f, uint64_t pos, uint64_t len, bool keep_size)
{
	uint64_t end = keep_size ? min_t(uint64_t, f->size, pos + len) : pos + len;

	if (end > pos)
		memset(f->data + pos, 0, end - pos);
	f->size = max_t(uint64_t, f->size, end);
	f->changed = true;
}

void seq_did_truncate(struct seq_model *m, struct seq_file *f, uint64_t size)
{
	if (size == f->size)
		return;
	f->truncated |= BIT(m->step);
	/* what was there stays what it was, written or not */
	f->trunc_from[m->step] = size < f->size ? size : UINT64_MAX;
	f->in_names |= BIT(m->step);
	if (size < f->size)
		memset(f->data + size, 0, f->size - size);
	f->size = size;
	f->changed = true;
}

/* The last of a set of steps. */
static unsigned int last(unsigned int steps)
{
	return steps ? 31 - (unsigned int)__builtin_clz(steps) : 0;
}

/* Names are written in order: all up to that which last concerned the file, or (fdatasync) to its
 * making. */
void seq_did_sync(struct seq_model *m, struct seq_file *f, bool datasync)
{
	unsigned int made = (unsigned int)__builtin_ctz(f->in_names);

	f->synced |= BIT(m->step);
	if (!datasync)
		f->timed |= BIT(m->step);
	m->promised[m->step] = datasync ? made : last(f->in_names);
}

void seq_did_sync_names(struct seq_model *m)
{
	m->promised[m->step] = m->step;
}

void seq_did_sync_all(struct seq_model *m)
{
	seq_did_sync_names(m);
	for (unsigned int i = 0; i < m->nr_files; i++) {
		m->file[i].synced |= BIT(m->step);
		m->file[i].timed |= BIT(m->step);
	}
}

static void note_version(struct seq_model *m, struct seq_file *f)
{
	struct seq_version *v = &f->at[m->step];

	if (m->step)
		*v = f->at[m->step - 1];
	v->size = f->size;
	for (uint64_t b = 0; f->changed && b * m->block_size < SEQ_BYTES; b++)
		v->hash[b] = seq_block_hash(f->data + b * m->block_size, m->block_size);
	f->changed = false;
}

bool seq_model_step(struct seq_model *m, const struct seq_state *now, uint64_t began,
		    uint64_t ended, char *why)
{
	unsigned int s = m->step;

	m->began[s] = began;
	m->ended[s] = ended;
	free(m->names[s]);
	m->names[s] = strdup(now->names);
	for (unsigned int i = 0; i < m->nr_files; i++)
		note_version(m, &m->file[i]);
	for (unsigned int i = 0; i < now->nr_files; i++) {
		struct seq_file *f = seq_file(m, now->file[i].ino);

		f->at[s].mtime = now->file[i].mtime;
		f->at[s].ctime = now->file[i].ctime;
		if (f->at[s].size == now->file[i].size)
			continue;
		snprintf(why, SEQ_WHY, "step %u: inode %llu has size %llu, it should be %llu", s,
			 (unsigned long long)f->ino, (unsigned long long)now->file[i].size,
			 (unsigned long long)f->at[s].size);
		return false;
	}
	m->step++;
	m->promised[m->step] = 0;
	return true;
}

/* ---- after a cut ---- */

/* One image: after so many events, with the names of step @names; of no step after @ceil. */
struct cut {
	const struct seq_model *m;
	uint64_t events;
	unsigned int names, ceil;
};

/* The last of the steps that had returned. */
static unsigned int last_ended(const struct cut *c, unsigned int steps)
{
	for (unsigned int s = c->m->step; s-- > 1;)
		if (steps & BIT(s) && c->m->ended[s] <= c->events)
			return s;
	return 0;
}

/* The last of the steps that came with the names that are there. */
static unsigned int last_named(const struct cut *c, unsigned int steps)
{
	return last(steps & (BIT(c->names + 1) - 1));
}

/* On disk it may end with a block written on the way from one size to the next. */
static bool size_ok(const struct cut *c, const struct seq_file *f, unsigned int floor,
		    uint64_t size)
{
	uint64_t lo = UINT64_MAX, hi = 0;

	for (unsigned int s = floor; s <= c->ceil; s++) {
		if (f->at[s].size == size)
			return true;
		lo = min_t(uint64_t, lo, f->at[s].size);
		hi = max_t(uint64_t, hi, f->at[s].size);
	}
	return size % c->m->block_size == 0 && size >= lo && size <= hi;
}

static bool times_ok(const struct cut *c, const struct seq_file *f, unsigned int floor,
		     const struct seq_stat *left)
{
	bool m = false, ct = false;

	for (unsigned int s = floor; s <= c->ceil; s++) {
		m |= f->at[s].mtime == left->mtime;
		ct |= f->at[s].ctime == left->ctime;
	}
	return m && ct;
}

static unsigned int block_floor(const struct cut *c, const struct seq_file *f, unsigned int floor,
				unsigned int block)
{
	for (unsigned int s = floor + 1; s <= c->names; s++)
		if (f->truncated & BIT(s) && block >= f->trunc_from[s] / c->m->block_size)
			floor = s;
	return floor;
}

static bool block_ok(const struct cut *c, const struct seq_file *f, unsigned int floor,
		     unsigned int block, uint64_t hash)
{
	for (unsigned int s = block_floor(c, f, floor, block); s <= c->ceil; s++)
		if (f->at[s].hash[block] == hash)
			return true;
	return false;
}

static bool file_ok(const struct cut *c, const struct seq_stat *left, char *why)
{
	const struct seq_file *f = find(c->m, left->ino);
	unsigned int floor, installed, sized, timed;
	unsigned long long ino = left->ino;

	if (!f) {
		snprintf(why, SEQ_WHY, "inode %llu was never made", ino);
		return false;
	}
	installed = last_named(c, f->installed);
	floor = max_t(unsigned int, last_ended(c, f->synced), installed ? installed - 1 : 0);
	sized = max_t(unsigned int, floor, last_named(c, f->truncated));
	timed = max_t(unsigned int, last_ended(c, f->timed), last_named(c, f->in_names));
	if (!size_ok(c, f, sized, left->size)) {
		snprintf(why, SEQ_WHY, "inode %llu has size %llu, none of steps %u to %u", ino,
			 (unsigned long long)left->size, sized, c->ceil);
		return false;
	}
	if (!times_ok(c, f, timed, left)) {
		snprintf(why, SEQ_WHY, "inode %llu: mtime %lld, ctime %lld, none of steps %u to %u",
			 ino, (long long)left->mtime, (long long)left->ctime, timed, c->ceil);
		return false;
	}
	for (unsigned int b = 0; b < left->nr_blocks; b++) {
		if (block_ok(c, f, floor, b, left->hash[b]))
			continue;
		snprintf(why, SEQ_WHY,
			 "inode %llu (size %llu): block %u has none of its contents of steps %u to "
			 "%u (names are of step %u)",
			 ino, (unsigned long long)left->size, b, block_floor(c, f, floor, b),
			 c->ceil, c->names);
		return false;
	}
	return true;
}

/* The first line of @a that is not in @b. */
static void odd_line(const char *a, const char *b, char *line, size_t room)
{
	size_t n = 0;

	while (a[n] && a[n] == b[n])
		n++;
	while (n && a[n - 1] != '\n')
		n--;
	snprintf(line, room, "%.*s", (int)strcspn(a + n, "\n"), a + n);
}

bool seq_may_be(const struct seq_model *m, uint64_t events, const struct seq_state *left, char *why)
{
	struct cut c = { .m = m, .events = events };
	unsigned int floor = 0;
	char is[300], should[300];

	for (unsigned int s = 1; s < m->step; s++) {
		if (m->began[s] < events || m->ended[s] <= events)
			c.ceil = s;
		if (m->ended[s] <= events)
			floor = max_t(unsigned int, floor, m->promised[s]);
	}
	for (c.names = floor; c.names <= c.ceil; c.names++)
		if (!strcmp(m->names[c.names], left->names))
			break;
	if (c.names > c.ceil) {
		odd_line(left->names, m->names[c.ceil], is, sizeof(is));
		odd_line(m->names[c.ceil], left->names, should, sizeof(should));
		snprintf(why, SEQ_WHY,
			 "the names are none of steps %u to %u: there is \"%s\", in the last "
			 "\"%s\"",
			 floor, c.ceil, is, should);
		return false;
	}
	for (unsigned int i = 0; i < left->nr_files; i++)
		if (!file_ok(&c, &left->file[i], why))
			return false;
	return true;
}
