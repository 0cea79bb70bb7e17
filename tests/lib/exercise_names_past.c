/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a power cut may leave of the tree exerciser's names. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core/block/guard.h"
#include "tests/lib/exercise_names_priv.h"
#include "tests/lib/random.h"

/* ---- a tree as a number: the sum over all its names, in whatever order they come ---- */

static uint64_t hash_path(uint64_t above, const char *name)
{
	return guard_xxh3(name, strlen(name), above);
}

static uint64_t hash_entry(uint64_t path, uint64_t ino, unsigned int nlink, uint8_t type)
{
	uint64_t facts[3] = { ino, nlink, type };

	return guard_xxh3(facts, sizeof(facts), path);
}

static uint64_t hash_model(const struct names_run *x, int dir, uint64_t above)
{
	uint64_t sum = 0;

	for (int k = 0; k < NAMES; k++) {
		int i = x->nodes[dir].ent[k];
		uint64_t path;

		if (i == NONE)
			continue;
		path = hash_path(above, x->names[k]);
		sum += hash_entry(path, x->nodes[i].ino, x->nodes[i].nlink, x->nodes[i].type);
		if (x->nodes[i].type == DT_DIR)
			sum += hash_model(x, i, path);
	}
	return sum;
}

struct walk {
	struct names_run *x;
	void *image;
	uint64_t sum;
	int err;
	unsigned int nr;
	char path[NAMES_PATH_MAX];
	char (*names)[256]; /* of the directory being listed */
};

static void take_name(void *arg, const char *name, uint64_t ino, uint8_t type)
{
	struct walk *w = arg;

	if (!strcmp(name, ".") || !strcmp(name, ".."))
		return;
	if (w->nr == NAMES)
		w->err = -1;
	else
		snprintf(w->names[w->nr++], sizeof(w->names[0]), "%s", name);
}

static int list_names(struct walk *w)
{
	const struct names_ops *ops = w->x->ops;
	void *list;
	int more;

	w->nr = 0;
	if (ops->list_open(w->image, w->path[0] ? w->path : "/", &list))
		return -1;
	do {
		more = ops->list(w->image, list, NAMES, take_name, w);
	} while (more > 0);
	ops->list_close(w->image, list);
	return more < 0 || w->err ? -1 : 0;
}

static void walk_dir(struct walk *w, uint64_t above)
{
	char names[NAMES][256];
	size_t len = strlen(w->path);
	unsigned int nr;

	w->names = names;
	w->err = list_names(w);
	nr = w->nr;
	for (unsigned int k = 0; k < nr && !w->err; k++) {
		uint64_t path = hash_path(above, names[k]);
		struct names_stat st;

		if ((size_t)snprintf(w->path + len, sizeof(w->path) - len, "/%s", names[k]) >=
		    sizeof(w->path) - len) {
			w->err = -1;
			break;
		}
		w->err = w->x->ops->stat(w->image, w->path, &st);
		if (w->err)
			break;
		w->sum += hash_entry(path, st.ino, st.nlink, st.type);
		if (st.type == DT_DIR)
			walk_dir(w, path);
	}
	w->path[len] = '\0';
}

/* ---- the states ---- */

void names_past_free(struct names_run *x)
{
	free(x->past.states);
}

void names_past_changed(struct names_run *x, int dir, int dir2)
{
	struct names_past *p = &x->past;

	if (!x->ops->cut)
		return;
	if (p->nr == p->room) {
		p->room = p->room ? p->room * 2 : 64;
		p->states = realloc(p->states, p->room * sizeof(*p->states));
		if (!p->states)
			abort();
	}
	p->states[p->nr] = hash_model(x, 0, 1);
	x->nodes[dir].touched = p->before + p->nr;
	if (dir2 != NONE)
		x->nodes[dir2].touched = p->before + p->nr;
	p->nr++;
}

void names_past_synced(struct names_run *x, int dir)
{
	struct names_past *p = &x->past;
	unsigned int first;

	if (!x->ops->cut)
		return;
	/* the cut may have come before the end of this operation, which promised nothing yet */
	names_past_maybe_cut(x);
	x->ops->begin(x->be);
	first = dir == NONE ? p->before + p->nr - 1 : x->nodes[dir].touched;
	if (first <= p->before)
		return;
	p->nr -= first - p->before;
	memmove(p->states, p->states + (first - p->before), p->nr * sizeof(*p->states));
	p->before = first;
}

static int check_after_cut(void *arg, void *image)
{
	struct names_run *x = arg;
	struct walk *w = calloc(1, sizeof(*w));
	bool found = false;

	if (!w)
		abort();
	w->x = x;
	w->image = image;
	walk_dir(w, 1);
	for (unsigned int i = 0; i < x->past.nr && !found; i++)
		found = x->past.states[i] == w->sum;
	if (w->err)
		names_fail(x, "after a power cut the tree cannot be read below '%.200s'", w->path);
	else if (!found)
		names_fail(x,
			   "after a power cut the tree is none of the %u there have been since "
			   "the last sync",
			   x->past.nr);
	free(w);
	return x->failed ? -1 : 0;
}

void names_past_maybe_cut(struct names_run *x)
{
	if (!x->ops->cut || x->failed || test_rand(&x->rng) % x->o->cut_every)
		return;
	if (x->ops->cut(x->be, check_after_cut, x))
		names_fail(x, "a power cut");
}
