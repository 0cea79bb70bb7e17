/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "fs/state/fs.h"
#include "fs/vfs/vfs.h"
#include "tests/lib/lister.h"
#include "tests/lib/random.h"

#define CHURN 400 /* names */

void lister_init(struct lister *l, struct tfs_fs *fs, uint64_t dir, uint64_t seed)
{
	*l = (struct lister){ .fs = fs, .dir = dir, .rng = seed };
}

static void make(struct tfs_fs *fs, uint64_t dir, const char *name, bool may_exist)
{
	struct vfs_attr a;
	int err = vfs_create(fs, dir, name, 0644, &fx_root, O_RDWR, &a, NULL);

	FX_CHECK(!err || (may_exist && err == -EEXIST));
	if (!err)
		vfs_forget(fs, a.ino, 1);
}

void lister_make(struct tfs_fs *fs, uint64_t dir)
{
	char name[16];

	for (unsigned int k = 0; k < LISTER_STAY; k++) {
		snprintf(name, sizeof(name), "s%u", k);
		make(fs, dir, name, false);
	}
}

static void met(struct lister *l, unsigned int k, uint64_t cookie)
{
	FX_CHECK(k < LISTER_STAY);
	FX_CHECK(!l->met[k]);
	FX_CHECK(!l->cookie[k] || l->cookie[k] == cookie);
	l->met[k] = true;
	l->cookie[k] = cookie;
}

static bool fill(void *arg, const struct vfs_dirent *de)
{
	struct lister *l = arg;

	if (!l->room)
		return false;
	l->room--;
	FX_CHECK(de->cookie > l->at);
	l->at = de->cookie;
	if (de->name[0] == '.')
		l->dots++;
	else if (de->name[0] == 's')
		met(l, (unsigned int)atoi(de->name + 1), de->cookie);
	return true;
}

static void start(struct lister *l, uint64_t from)
{
	memset(l->met, 0, sizeof(l->met));
	l->from = l->at = from;
	l->dots = 0;
}

static void end_of_listing(struct lister *l)
{
	for (unsigned int k = 0; k < LISTER_STAY; k++)
		FX_CHECK(l->met[k] == (!l->from || l->cookie[k] > l->from));
	FX_CHECK(l->from || l->dots == 2);
	l->passes++;
	start(l, 0);
}

void lister_step(struct lister *l)
{
	unsigned int max = 1 + (unsigned int)(test_rand(&l->rng) % 60);

	/* back, or forward, to an entry: only after a whole pass is it known where all of them
	 * are */
	if (l->passes && !(test_rand(&l->rng) % 20)) {
		start(l, l->cookie[test_rand(&l->rng) % LISTER_STAY]);
		l->seeks++;
	}
	l->room = max;
	FX_OK(vfs_readdir(l->fs, l->dir, l->at, fill, l));
	if (l->room)
		end_of_listing(l);
}

void lister_churn(struct tfs_fs *fs, uint64_t dir, unsigned int salt, uint64_t *rng)
{
	char name[24], other[24];
	uint64_t what = test_rand(rng) % 10;
	int err = 0;

	snprintf(name, sizeof(name), "c%u-%u", salt, (unsigned int)(test_rand(rng) % CHURN));
	snprintf(other, sizeof(other), "c%u-%u", salt, (unsigned int)(test_rand(rng) % CHURN));
	if (what < 5) {
		make(fs, dir, name, true);
	} else if (what < 7) {
		err = vfs_unlink(fs, dir, name);
	} else if (what < 9) {
		err = vfs_rename(fs, dir, name, dir, other, 0);
	} else {
		snprintf(other, sizeof(other), "s%u", (unsigned int)(test_rand(rng) % LISTER_STAY));
		err = vfs_rename(fs, dir, name, dir, other, 0);
	}
	FX_CHECK(!err || err == -ENOENT);
}
