/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fs/vfs/readdir.c: every name that is there throughout exactly once. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core/block/bdev.h"
#include "core/lib/util.h"
#include "fs/state/fs.h"
#include "fs/vfs/vfs.h"
#include "tallyfs/format.h"
#include "tests/lib/fixture.h"
#include "tests/lib/fixture_suite.h"
#include "tests/lib/lister.h"
#include "tests/lib/random.h"

#define NAMES 500

static struct fixture fx;

FX_SUITE(readdir, fx, FX_SMALL, 900);

struct list {
	int seen[NAMES], room, dots;
	uint64_t last;
};

static bool fill(void *arg, const struct vfs_dirent *de)
{
	struct list *l = arg;

	if (!l->room)
		return false;
	l->room--;
	cr_assert_gt(de->cookie, l->last);
	l->last = de->cookie;
	if (de->name[0] == '.') {
		cr_assert_eq(de->type, DT_DIR);
		cr_assert_eq(de->ino, TFS_INO_ROOT);
		l->dots++;
	} else {
		cr_assert_eq(de->type, DT_REG);
		cr_assert_eq(de->len, strlen(de->name));
		l->seen[atoi(de->name + 1)]++;
	}
	return true;
}

static void make(int from, int to)
{
	char name[16];

	for (int k = from; k < to; k++) {
		snprintf(name, sizeof(name), "n%d", k);
		fx_file(&fx, name, NULL);
	}
}

Test(readdir, in_pieces_while_it_changes)
{
	struct list l = { .room = 0 };
	char name[16];
	int before;

	make(0, 300);
	fx_remount(&fx);
	do {
		before = l.room = 37;
		FX_OK(vfs_readdir(fx.fs, TFS_INO_ROOT, l.last, fill, &l));
		before -= l.room;
		if (l.dots == 2 && l.seen[10] < 2) {
			/* names come and go in the meantime */
			for (int k = 1; k < 300; k += 100) {
				snprintf(name, sizeof(name), "n%d", k);
				vfs_unlink(fx.fs, TFS_INO_ROOT, name);
			}
		}
	} while (before == 37);
	cr_assert_eq(l.dots, 2);
	for (int k = 0; k < 300; k++) {
		if (k % 100 == 1)
			cr_assert_leq(l.seen[k], 1);
		else
			cr_assert_eq(l.seen[k], 1);
	}
}

Test(readdir, empty_and_removed)
{
	struct list l = { .room = 10 };
	struct vfs_attr a;

	FX_OK(vfs_readdir(fx.fs, TFS_INO_ROOT, 0, fill, &l));
	cr_assert_eq(l.dots, 2);
	FX_OK(vfs_mkdir(fx.fs, TFS_INO_ROOT, "d", 0755, &fx_root, &a));
	FX_OK(vfs_rmdir(fx.fs, TFS_INO_ROOT, "d"));
	l = (struct list){ .room = 10 };
	FX_OK(vfs_readdir(fx.fs, a.ino, 0, fill, &l));
	cr_assert_eq(l.room, 10);
	vfs_forget(fx.fs, a.ino, 1);
	make(0, 1);
	cr_assert_eq(vfs_readdir(fx.fs, fx_ino(&fx, "n0"), 0, fill, &l), -ENOTDIR);
}

/* Several listings at once, each in pieces and jumping about, while names around them come and
 * go. */
static void several_listings(unsigned int break_rules)
{
	uint64_t rng = test_seed(31001);
	struct lister l[5];
	struct vfs_attr a;

	fx_destroy(&fx);
	fx_create_on(&fx, fx_mem(FX_SMALL1K), FX_SMALL1K, rng,
		     &(struct tfs_mount_opts){ .no_threads = true, .break_rules = break_rules });
	FX_OK(vfs_mkdir(fx.fs, TFS_INO_ROOT, "d", 0755, &fx_root, &a));
	lister_make(fx.fs, a.ino);
	for (size_t k = 0; k < ARRAY_SIZE(l); k++)
		lister_init(&l[k], fx.fs, a.ino, rng + k + 1);
	for (uint64_t n = test_ops(6000); n--;) {
		lister_churn(fx.fs, a.ino, (unsigned int)(n % 3), &rng);
		lister_step(&l[n % ARRAY_SIZE(l)]);
	}
	for (size_t k = 0; k < ARRAY_SIZE(l); k++) {
		cr_assert_gt(l[k].passes, 3);
		cr_assert_gt(l[k].seeks, 3);
	}
	vfs_forget(fx.fs, a.ino, 1);
}

Test(readdir, several_listings)
{
	several_listings(0);
}

/* As if somebody knew the hash key: some dozens of names at each of 16 places. */
Test(readdir, colliding_names)
{
	several_listings(TFS_BREAK_HASH);
}
