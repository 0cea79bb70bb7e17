/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Is what was promised in an image of a power cut, and nothing that never was? */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core/lib/util.h"
#include "tests/lib/promises_priv.h"

struct look {
	struct promises *p;
	struct tfs_fs *fs;
	char text[PR_TEXT];
	uint64_t files[PR_DIRS * PR_NAMES]; /* inode numbers */
	unsigned int nr_files;
	uint32_t lo; /* of the content of the file at hand */
	char *why;
	size_t why_len;
};

#define WRONG(l, ...) (snprintf((l)->why, (l)->why_len, __VA_ARGS__), -1)

/* Promises and beginnings up to the cut. */
static void advance(struct promises *p, uint64_t cut)
{
	uint32_t top = 0;

	while (p->in_force < p->nr_given && p->given[p->in_force].at <= cut) {
		const struct promise *pr = &p->given[p->in_force++];

		p->in_force_by_kind[pr->kind]++;
		top = max_t(uint32_t, top, pr->op);
		p->names_lo = max_t(uint32_t, p->names_lo, pr->names);
		for (unsigned int i = 0; i < p->nr_objects; i++) {
			struct object *o = p->objects[i];

			if (pr->o ? pr->o != o : o->made > pr->op)
				continue;
			if (pr->content)
				o->content_lo = max_t(uint32_t, o->content_lo, pr->op);
			if (pr->times)
				o->times_lo = max_t(uint32_t, o->times_lo, pr->op);
		}
	}
	/* a promise may need no command at all: what it covers has begun */
	while (p->hi < p->op && (p->began[p->hi + 1] < cut || p->hi < top))
		p->hi++;
	for (unsigned int k = 0; k < PROMISE_KINDS; k++)
		p->checked[k] += p->in_force_by_kind[k];
}

/* ---- names and attributes ---- */

static int get_xattrs(struct look *l, struct facts *f)
{
	char name[] = "user.0", value[PR_XATTR_MAX];
	int n;

	if (S_ISLNK(f->mode)) {
		n = vfs_readlink(l->fs, f->ino, value, sizeof(value));
		if (n < 0)
			return n;
		f->xattr[0] = pr_hash(value, (size_t)n);
		return 0;
	}
	for (unsigned int k = 0; k < PR_XATTRS; k++) {
		name[5] = (char)('0' + k);
		n = vfs_getxattr(l->fs, f->ino, name, value, sizeof(value));
		if (n < 0 && n != -ENODATA)
			return n;
		f->xattr[k] = n < 0 ? 0 : pr_hash(value, (size_t)n);
	}
	return 0;
}

static int look_at(struct look *l, unsigned int d, unsigned int n, size_t *len)
{
	struct facts f = { 0 };
	struct vfs_attr a;
	char name[8];
	int err;

	pr_name(name, n);
	err = vfs_lookup(l->fs, l->p->dir[d], name, &a);
	if (err)
		return err;
	vfs_forget(l->fs, a.ino, 1);
	f = (struct facts){
		.ino = a.ino, .mode = a.mode, .uid = a.uid, .gid = a.gid, .nlink = a.nlink
	};
	err = get_xattrs(l, &f);
	if (err)
		return err;
	*len += pr_line(l->text + *len, sizeof(l->text) - *len, d, n, &f);
	if (S_ISREG(a.mode))
		l->files[l->nr_files++] = a.ino;
	return 0;
}

static bool count_one(void *arg, const struct vfs_dirent *de)
{
	++*(unsigned int *)arg;
	return true;
}

static int read_names(struct look *l)
{
	size_t len = 0;

	for (unsigned int d = 0; d < PR_DIRS; d++) {
		unsigned int found = 0, listed = 0, others = d ? 2 : 4;
		int err;

		for (unsigned int n = 0; n < PR_NAMES; n++) {
			err = look_at(l, d, n, &len);
			if (err && err != -ENOENT)
				return WRONG(l, "%s/%u/n%u cannot be read: %s", l->p->name, d, n,
					     strerror(-err));
			found += !err;
		}
		err = vfs_readdir(l->fs, l->p->dir[d], 0, count_one, &listed);
		if (err || listed != found + others)
			return WRONG(l, "%s/%u lists %u names, %u are there (%d)", l->p->name, d,
				     listed, found, err);
	}
	return 0;
}

/* The first state it may be; *@state. */
static int match_names(struct look *l, uint32_t *state)
{
	struct promises *p = l->p;

	for (uint32_t k = p->names_lo; k <= p->hi; k++) {
		if (!strcmp(p->text[k], l->text)) {
			*state = k;
			return 0;
		}
	}
	for (*state = 0; *state < p->op && strcmp(p->text[*state], l->text);)
		++*state;
	return WRONG(l,
		     "names and attributes are none of those after operations %u (promised) to %u "
		     "(begun), but of %u (if below %u):\n%spromised:\n%sbegun:\n%s",
		     p->names_lo, p->hi, *state, p->op, l->text, p->text[p->names_lo],
		     p->text[p->hi]);
}

/* ---- contents ---- */

static struct object *object_of(struct promises *p, uint64_t ino)
{
	for (unsigned int i = 0; i < p->nr_objects; i++)
		if (p->objects[i]->f.ino == ino)
			return p->objects[i];
	return NULL;
}

/* What was done to it, to stderr. */
static void tell_deeds(const struct promises *p, const struct object *o)
{
	for (unsigned int i = 0; i < p->in_force; i++) {
		const struct promise *pr = &p->given[i];

		if (pr->content && (pr->o == o || (!pr->o && o->made <= pr->op)))
			fprintf(stderr, "%s: promised at event %llu: operation %u, by %s\n",
				p->name, (unsigned long long)pr->at, pr->op,
				promise_names[pr->kind]);
	}
	for (uint32_t k = o->made; k <= p->op; k++) {
		const struct deed *d = &p->deeds[k];

		if (d->what && d->ino == o->f.ino)
			fprintf(stderr, "%s: operation %u, from event %llu: %s %llu+%llu %#x\n",
				p->name, k, (unsigned long long)p->began[k], d->what,
				(unsigned long long)d->pos, (unsigned long long)d->len, d->flags);
	}
}

/*
 * One that it has had, or between two of them: the end of a block, or what it was when an fsync
 * began, which a truncation and a write that grows it again have overtaken.
 */
static bool size_ok(struct look *l, const struct object *o, uint64_t size)
{
	const struct past *s = &o->sizes;
	uint64_t lo = UINT64_MAX, hi = 0;
	unsigned int i;

	for (i = past_first(s, l->lo); i < s->nr && s->v[i].op <= l->p->hi; i++) {
		if (s->v[i].v == size)
			return true;
		lo = min_t(uint64_t, lo, s->v[i].v);
		hi = max_t(uint64_t, hi, s->v[i].v);
	}
	return size >= lo && size <= hi &&
	       (size % l->p->block_size == 0 || past_has(s, 0, l->p->hi, size));
}

static int check_blocks(struct look *l, const struct object *o, const uint8_t *data, uint64_t size)
{
	uint64_t bs = l->p->block_size;

	for (uint64_t b = 0; b * bs < size; b++) {
		uint64_t v = pr_hash(data + b * bs, bs);
		unsigned int i = 0;

		if (past_has(&o->block[b], l->lo, l->p->hi, v))
			continue;
		while (i < o->block[b].nr && o->block[b].v[i].v != v)
			i++;
		return WRONG(
			l,
			"%s: block %llu of inode %llu (%llu bytes) is none of those of operations "
			"%u (promised) to %u (begun), but that of %d",
			l->p->name, (unsigned long long)b, (unsigned long long)o->f.ino,
			(unsigned long long)size, l->lo, l->p->hi,
			i < o->block[b].nr ? (int)o->block[b].v[i].op : -1);
	}
	return 0;
}

static int check_attrs(struct look *l, const struct object *o, const struct vfs_attr *a)
{
	unsigned long long ino = a->ino;

	if (!size_ok(l, o, a->size))
		return WRONG(l,
			     "inode %llu has %llu bytes: none of its sizes of operations %u "
			     "(promised) to %u (begun)",
			     ino, (unsigned long long)a->size, l->lo, l->p->hi);
	if (!past_has(&o->mtimes, o->times_lo, l->p->hi, pr_nsec(a->mtime)))
		return WRONG(l, "inode %llu: mtime %llu is not of operations %u to %u", ino,
			     (unsigned long long)pr_nsec(a->mtime), o->times_lo, l->p->hi);
	if (!past_has(&o->ctimes, o->times_lo, l->p->hi, pr_nsec(a->ctime)))
		return WRONG(l, "inode %llu: ctime %llu is not of operations %u to %u", ino,
			     (unsigned long long)pr_nsec(a->ctime), o->times_lo, l->p->hi);
	return 0;
}

/* The last operation on the content of @o that is to be there: promised, or what a rename that is
 * there put in another file's place. */
static uint32_t content_lo(const struct promises *p, const struct object *o, uint32_t state)
{
	uint32_t lo = o->content_lo;

	for (unsigned int i = 0; i < p->nr_installs && p->installs[i].op <= state; i++)
		if (p->installs[i].o == o)
			lo = max_t(uint32_t, lo, p->installs[i].op);
	return lo;
}

static int check_file(struct look *l, const struct object *o, uint32_t state)
{
	uint8_t *buf = pr_must(calloc(1, PR_BYTES));
	struct vfs_file *f;
	struct vfs_attr a;
	int64_t n;
	int err = vfs_getattr(l->fs, o->f.ino, &a);

	err = err ? err : vfs_open(l->fs, o->f.ino, O_RDONLY, &f);
	if (err) {
		free(buf);
		return WRONG(l, "inode %llu cannot be opened: %s", (unsigned long long)o->f.ino,
			     strerror(-err));
	}
	l->lo = content_lo(l->p, o, state);
	err = check_attrs(l, o, &a);
	if (!err) {
		n = vfs_pread(l->fs, f, buf, PR_BYTES, 0);
		if (n != (int64_t)a.size)
			err = WRONG(l, "inode %llu cannot be read (%lld)",
				    (unsigned long long)o->f.ino, (long long)n);
		else
			err = check_blocks(l, o, buf, a.size);
	}
	vfs_release(l->fs, f);
	free(buf);
	if (err)
		tell_deeds(l->p, o);
	return err;
}

int promises_check(struct promises *p, struct tfs_fs *image, uint64_t cut, char *why, size_t len)
{
	struct look l = { .p = p, .fs = image, .why = why, .why_len = len };
	uint32_t state = 0;
	int err;

	advance(p, cut);
	err = read_names(&l);
	err = err ? err : match_names(&l, &state);
	for (unsigned int i = 0; !err && i < l.nr_files; i++)
		err = check_file(&l, object_of(p, l.files[i]), state);
	return err;
}
