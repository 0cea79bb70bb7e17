/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core/lib/util.h"
#include "tests/lib/fixture.h"
#include "tests/lib/ledger.h"
#include "tests/lib/random.h"

/* Not tl_alloc(): whoever makes the n-th of those fail means the file system's. */
static struct ledger_version *version(const struct ledger_version *of)
{
	struct ledger_version *v = malloc(sizeof(*v));

	FX_CHECK(v);
	if (of)
		memcpy(v, of, sizeof(*v));
	else
		memset(v, 0, sizeof(*v));
	v->older = NULL;
	return v;
}

static void free_versions(struct ledger_version *v)
{
	while (v) {
		struct ledger_version *older = v->older;

		free(v);
		v = older;
	}
}

void ledger_init(struct ledger *l, uint64_t seed)
{
	memset(l, 0, sizeof(*l));
	l->rng = seed;
	l->now = 1000000000000000;
	for (int k = 0; k < LEDGER_FILES; k++)
		l->file[k].now = version(NULL);
}

void ledger_copy(struct ledger *to, const struct ledger *from)
{
	*to = *from;
	to->fs = NULL;
	for (int k = 0; k < LEDGER_FILES; k++)
		to->file[k] = (struct ledger_file){ .now = version(from->file[k].now) };
}

void ledger_drop_held(struct ledger *l, int k)
{
	struct ledger_file *f = &l->file[k];

	if (f->held)
		vfs_release(l->fs, f->held);
	f->held = NULL;
	free_versions(f->held_version);
	f->held_version = NULL;
}

void ledger_free(struct ledger *l)
{
	for (int k = 0; k < LEDGER_FILES; k++) {
		free_versions(l->file[k].held_version);
		free_versions(l->file[k].now);
	}
}

int ledger_mount(struct ledger *l)
{
	struct tfs_mount_opts o = { .no_threads = true, .cache_size = 8u << 20 };
	char why[300];
	int err = vfs_mount(l->dev, &o, &l->fs, why, sizeof(why));

	if (err)
		l->fs = NULL;
	return err;
}

void ledger_unmount(struct ledger *l)
{
	int k, err;

	for (k = 0; k < LEDGER_FILES; k++)
		ledger_drop_held(l, k);
	err = vfs_unmount(l->fs);
	l->fs = NULL;
	if (err)
		ledger_error(l, "unmount", err);
	for (k = 0; !err && k < LEDGER_FILES; k++)
		ledger_durable(l, k, true);
}

void ledger_crash(struct ledger *l)
{
	/* what a release changes comes into no transaction that gets to the device */
	for (int k = 0; k < LEDGER_FILES; k++)
		ledger_drop_held(l, k);
	vfs_crash(l->fs);
	l->fs = NULL;
}

void ledger_error(struct ledger *l, const char *what, int64_t err)
{
	if (!l->errors++)
		snprintf(l->first_error, sizeof(l->first_error), "%s: %lld", what, (long long)err);
}

void ledger_wrong(struct ledger *l, const char *what, int k, uint64_t at)
{
	if (!l->wrong++)
		snprintf(l->first_wrong, sizeof(l->first_wrong), "file %d: %s (%llu)", k, what,
			 (unsigned long long)at);
}

uint64_t ledger_pick(struct ledger *l, uint64_t n)
{
	return test_rand(&l->rng) % n;
}

struct ledger_version *ledger_next(struct ledger *l, int k)
{
	return version(l->file[k].now);
}

/* What a device that is bad, or a file system that has noticed, may be the reason of. */
static bool expected(const struct ledger_file *f, int64_t err)
{
	if (err == -EIO || err == -EUCLEAN || err == -EROFS)
		return true;
	return f->unsure && (err == -ENOENT || err == -EEXIST);
}

bool ledger_done(struct ledger *l, int k, const char *what, struct ledger_version *v, int64_t err)
{
	struct ledger_file *f = &l->file[k];

	if (err >= 0) {
		v->older = f->now;
		f->now = v;
		return true;
	}
	ledger_error(l, what, err);
	if (!expected(f, err))
		ledger_wrong(l, what, k, (uint64_t)-err);
	/* a file system that takes nothing any more has changed nothing either */
	if (err == -EROFS) {
		free(v);
		return false;
	}
	v->older = f->now->older;
	f->now->older = v;
	f->unsure = true;
	return false;
}

void ledger_durable(struct ledger *l, int k, bool place)
{
	struct ledger_file *f = &l->file[k];
	struct ledger_version *v, *now = f->now;

	if (f->unsure)
		return;
	if (place) {
		free_versions(now->older);
		now->older = NULL;
	}
	for (v = now->older; v; v = v->older) {
		struct ledger_version *older = v->older;
		struct ledger_place at = v->at;

		memcpy(v, now, sizeof(*v));
		v->older = older;
		v->at = at;
	}
}

void ledger_settle(struct ledger *l, int k, struct ledger_version *v)
{
	free_versions(l->file[k].now);
	l->file[k].now = v;
	v->older = NULL;
	l->file[k].unsure = false;
}
