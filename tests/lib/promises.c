/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core/block/guard.h"
#include "tallyfs/format.h"
#include "tests/lib/fixture.h"
#include "tests/lib/promises_priv.h"
#include "tests/lib/random.h"

const char *const promise_names[PROMISE_KINDS] = {
	[PROMISE_FSYNC] = "fsync",   [PROMISE_FDATASYNC] = "fdatasync",
	[PROMISE_O_SYNC] = "O_SYNC", [PROMISE_O_DSYNC] = "O_DSYNC",
	[PROMISE_MSYNC] = "msync",   [PROMISE_FSYNCDIR] = "fsync of a directory",
	[PROMISE_SYNC] = "sync",
};

void *pr_must(void *p)
{
	if (!p)
		abort();
	return p;
}

uint64_t pr_rand(struct promises *p, uint64_t n)
{
	return test_rand(&p->rng) % n;
}

void pr_fail(struct promises *p, const char *what, int64_t got)
{
	fprintf(stderr, "%s: operation %u: %s (%lld)\n", p->name, p->op, what, (long long)got);
	atomic_store(&p->failed, true);
}

bool pr_ok(struct promises *p, const char *what, int err)
{
	if (err)
		pr_fail(p, what, err);
	return !err;
}

void pr_deed(struct promises *p, const char *what, const struct object *o, uint64_t pos,
	     uint64_t len, int flags)
{
	p->deeds[p->op] = (struct deed){
		.what = what, .ino = o->f.ino, .pos = pos, .len = len, .flags = flags
	};
}

uint64_t pr_nsec(struct timespec ts)
{
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint64_t pr_hash(const void *data, size_t len)
{
	return guard_xxh3(data, len, 7) | 1;
}

/* ---- pasts ---- */

void past_add(struct past *p, uint32_t op, uint64_t v)
{
	if (p->nr && p->v[p->nr - 1].v == v)
		return;
	if (p->nr == p->room) {
		p->room = p->room ? p->room * 2 : 2;
		p->v = pr_must(realloc(p->v, p->room * sizeof(*p->v)));
	}
	p->v[p->nr++] = (struct past_value){ .op = op, .v = v };
}

unsigned int past_first(const struct past *p, uint32_t lo)
{
	unsigned int i = p->nr;

	while (i > 1 && p->v[i - 1].op > lo)
		i--;
	return i ? i - 1 : 0;
}

bool past_has(const struct past *p, uint32_t lo, uint32_t hi, uint64_t v)
{
	for (unsigned int i = past_first(p, lo); i < p->nr && p->v[i].op <= hi; i++)
		if (p->v[i].v == v)
			return true;
	return false;
}

/* ---- objects ---- */

struct object *pr_new_object(struct promises *p, const struct vfs_attr *a)
{
	struct object *o = pr_must(calloc(1, sizeof(*o)));
	uint8_t *zeros;

	o->f = (struct facts){
		.ino = a->ino, .mode = a->mode, .uid = a->uid, .gid = a->gid, .nlink = a->nlink
	};
	o->made = o->touched = p->op;
	p->objects[p->nr_objects++] = o;
	if (!S_ISREG(a->mode))
		return o;
	zeros = o->data = pr_must(calloc(1, PR_BYTES));
	past_add(&o->sizes, p->op, 0);
	for (unsigned int b = 0; b < PR_BYTES / p->block_size; b++)
		past_add(&o->block[b], p->op, pr_hash(zeros, p->block_size));
	pr_note_times(p, o);
	return o;
}

void pr_let_go(struct object *o)
{
	if (o->f.nlink || o->held)
		return;
	free(o->data);
	o->data = NULL;
}

void pr_note_times(struct promises *p, struct object *o)
{
	struct vfs_attr a;

	if (!S_ISREG(o->f.mode) || (!o->f.nlink && !o->held) ||
	    !pr_ok(p, "getattr", vfs_getattr(p->fs, o->f.ino, &a)))
		return;
	p->last = o;
	past_add(&o->mtimes, p->op, pr_nsec(a.mtime));
	past_add(&o->ctimes, p->op, pr_nsec(a.ctime));
}

struct object *pr_pick_file(struct promises *p)
{
	struct object *o = p->last;

	if (o && o->data && pr_rand(p, 3) == 0)
		return o;
	for (int i = 0; p->nr_objects && i < 20; i++) {
		o = p->objects[pr_rand(p, p->nr_objects)];
		if (o->data)
			return o;
	}
	return NULL;
}

struct vfs_file *pr_open(struct promises *p, struct object *o, int flags)
{
	struct vfs_file *f = o->held;

	if (f && (!o->f.nlink || pr_rand(p, 2)))
		return f;
	return pr_ok(p, "open", vfs_open(p->fs, o->f.ino, flags, &f)) ? f : NULL;
}

void pr_close(struct promises *p, struct object *o, struct vfs_file *f)
{
	if (f != o->held)
		vfs_release(p->fs, f);
}

/* ---- names as text ---- */

void pr_name(char buf[8], unsigned int name)
{
	snprintf(buf, 8, "n%u", name);
}

size_t pr_line(char *buf, size_t len, unsigned int dir, unsigned int name, const struct facts *f)
{
	int n = snprintf(buf, len, "%u/n%u: inode %llu %o %u:%u links %u %llx %llx\n", dir, name,
			 (unsigned long long)f->ino, f->mode, f->uid, f->gid, f->nlink,
			 (unsigned long long)f->xattr[0], (unsigned long long)f->xattr[1]);

	if (n < 0 || (size_t)n >= len)
		abort();
	return (size_t)n;
}

static char *text_of(struct promises *p)
{
	char buf[PR_TEXT] = "";
	size_t at = 0;

	for (unsigned int d = 0; d < PR_DIRS; d++)
		for (unsigned int n = 0; n < PR_NAMES; n++)
			if (p->entry[d][n])
				at += pr_line(buf + at, sizeof(buf) - at, d, n, &p->entry[d][n]->f);
	return pr_must(strdup(buf));
}

/* ---- the log ---- */

void pr_promise(struct promises *p, const struct promise *pr)
{
	pthread_mutex_lock(&p->given_lock);
	if (p->nr_given == p->room_given) {
		p->room_given = p->room_given ? p->room_given * 2 : 64;
		p->given = pr_must(realloc(p->given, p->room_given * sizeof(*p->given)));
	}
	p->given[p->nr_given] = *pr;
	/* within the lock: they are to lie in order */
	p->given[p->nr_given++].at = crashdev_events(p->cd);
	pthread_mutex_unlock(&p->given_lock);
}

uint32_t promises_done(struct promises *p)
{
	return atomic_load(&p->done);
}

void promises_synced(struct promises *p, uint32_t done)
{
	pr_promise(p, &(struct promise){ .kind = PROMISE_SYNC,
					 .op = done,
					 .names = done,
					 .content = true,
					 .times = true });
}

bool promises_failed(struct promises *p)
{
	return atomic_load(&p->failed);
}

bool promises_step(struct promises *p)
{
	char *text;

	pthread_mutex_lock(&p->lock);
	if (p->op + 1 == PR_OPS || atomic_load(&p->failed)) {
		pthread_mutex_unlock(&p->lock);
		return false;
	}
	p->began[++p->op] = crashdev_events(p->cd);
	if (pr_rand(p, 100) < p->mix.syncs)
		pr_sync_op(p);
	else if (pr_rand(p, 100) < p->mix.removals)
		pr_removal_op(p);
	else if (pr_rand(p, 2))
		pr_names_op(p);
	else
		pr_content_op(p);
	text = text_of(p);
	p->text[p->op] = p->text[p->op - 1];
	if (strcmp(text, p->text[p->op]))
		p->text[p->op] = text;
	else
		free(text);
	atomic_store(&p->done, p->op);
	pthread_mutex_unlock(&p->lock);
	return !atomic_load(&p->failed);
}

static uint64_t make_dir(struct tfs_fs *fs, uint64_t in, const char *name)
{
	struct vfs_attr a;

	FX_OK(vfs_mkdir(fs, in, name, 0755, &fx_root, &a));
	vfs_forget(fs, a.ino, 1);
	return a.ino;
}

struct promises *promises_create(struct tfs_fs *fs, struct crashdev *cd, const char *name,
				 uint64_t seed, const struct promises_mix *mix)
{
	struct promises *p = pr_must(calloc(1, sizeof(*p)));

	p->fs = fs;
	p->cd = cd;
	p->rng = seed * 0x9e3779b97f4a7c15ull | 1;
	p->block_size = fs->geom.block_size;
	p->mix = *mix;
	snprintf(p->name, sizeof(p->name), "%s", name);
	p->dir[0] = make_dir(fs, TFS_INO_ROOT, name);
	p->dir[1] = make_dir(fs, p->dir[0], "d1");
	p->dir[2] = make_dir(fs, p->dir[0], "d2");
	p->text[0] = text_of(p);
	pthread_mutex_init(&p->lock, NULL);
	pthread_mutex_init(&p->given_lock, NULL);
	return p;
}

void promises_close(struct promises *p)
{
	for (unsigned int i = 0; i < p->nr_objects; i++)
		if (p->objects[i]->held)
			vfs_release(p->fs, p->objects[i]->held);
}

static void free_object(struct object *o)
{
	for (unsigned int b = 0; b < PR_BLOCKS; b++)
		free(o->block[b].v);
	free(o->sizes.v);
	free(o->mtimes.v);
	free(o->ctimes.v);
	free(o->data);
	free(o);
}

void promises_destroy(struct promises *p)
{
	for (unsigned int i = 0; i < p->nr_objects; i++)
		free_object(p->objects[i]);
	for (unsigned int i = 0; i <= p->op; i++)
		if (!i || p->text[i] != p->text[i - 1])
			free(p->text[i]);
	pthread_mutex_destroy(&p->lock);
	pthread_mutex_destroy(&p->given_lock);
	free(p->given);
	free(p);
}

uint64_t promises_moment(struct promises *p, uint64_t *rng)
{
	return p->nr_given ? p->given[test_rand(rng) % p->nr_given].at : 0;
}

void promises_count(struct promises *p, uint64_t *given, uint64_t *checked)
{
	for (unsigned int i = 0; i < p->nr_given; i++)
		given[p->given[i].kind]++;
	for (unsigned int k = 0; k < PROMISE_KINDS; k++)
		checked[k] += p->checked[k];
}
