/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>
#include "tests/lib/exercise_names_priv.h"

void names_list_close(struct names_run *x, struct listing *l)
{
	x->ops->list_close(x->be, l->handle);
	l->dir = NONE;
}

struct filling {
	struct names_run *x;
	struct listing *l;
	bool now; /* nothing happens meanwhile: every entry is as the model has it */
};

static void fill_one(void *arg, const char *name, uint64_t ino, uint8_t type)
{
	struct filling *f = arg;
	struct names_run *x = f->x;
	struct node *n;
	int k, i;

	if (!strcmp(name, ".") || !strcmp(name, "..")) {
		f->l->dots++;
		return;
	}
	for (k = 0; k < NAMES && strcmp(name, x->names[k]); k++)
		;
	if (k == NAMES) {
		names_fail(x, "the listing of %d has the name '%s'", f->l->dir, name);
		return;
	}
	f->l->seen[k]++;
	if (!f->now)
		return;
	i = x->nodes[f->l->dir].ent[k];
	n = &x->nodes[i == NONE ? 0 : i];
	if (i == NONE)
		names_fail(x, "the listing of %d has %d, which is not there", f->l->dir, k);
	else if (type != n->type || (n->ino && ino != n->ino))
		names_fail(x, "the listing of %d: %d is type %u inode %llu, not %u %llu", f->l->dir,
			   k, type, (unsigned long long)ino, n->type, (unsigned long long)n->ino);
}

static bool start_list(struct names_run *x, struct listing *l)
{
	int k;

	*l = (struct listing){ .dir = names_any_dir(x) };
	if (!names_path(x, l->dir, NONE, x->path[0]) ||
	    !names_want(x, "list_open", x->ops->list_open(x->be, x->path[0], &l->handle), 0)) {
		l->dir = NONE;
		return false;
	}
	for (k = 0; k < NAMES; k++)
		l->stayed[k] = x->nodes[l->dir].ent[k] != NONE;
	return true;
}

static void end_list(struct names_run *x, struct listing *l)
{
	int k;

	for (k = 0; k < NAMES; k++)
		if (l->stayed[k] && l->seen[k] != 1)
			names_fail(
				x,
				"the listing of %d has %d, which was there all the time, %u times",
				l->dir, k, l->seen[k]);
	if (l->dots != 2)
		names_fail(x, "the listing of %d has %u dots", l->dir, l->dots);
	names_list_close(x, l);
}

void names_list_now(struct names_run *x)
{
	struct listing l;
	struct filling f = { .x = x, .l = &l, .now = true };
	int more;

	names_note(x, "list");
	if (!start_list(x, &l))
		return;
	do {
		more = x->ops->list(x->be, l.handle, 1 + (unsigned int)names_rnd(x, 50), fill_one,
				    &f);
	} while (more > 0);
	names_want(x, "list", more, 0);
	end_list(x, &l);
}

void names_list_slowly(struct names_run *x)
{
	struct listing *l = &x->lists[names_rnd(x, LISTS)];
	struct filling f = { .x = x, .l = l };
	int more;

	if (l->dir == NONE) {
		names_note(x, "start a listing");
		start_list(x, l);
		return;
	}
	names_note(x, "list %d further", l->dir);
	more = x->ops->list(x->be, l->handle, 1 + (unsigned int)names_rnd(x, 8), fill_one, &f);
	if (more < 0)
		names_want(x, "list", more, 0);
	if (more <= 0)
		end_list(x, l);
}

void names_list_close_all(struct names_run *x)
{
	int i;

	for (i = 0; i < LISTS; i++)
		if (x->lists[i].dir != NONE)
			names_list_close(x, &x->lists[i]);
}
