/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fsck/check.c: a check that is stopped finds nothing more: what it has not seen yet is not
 * missing.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>

#include "core/block/bdev.h"
#include "fs/vfs/vfs.h"
#include "fsck/check.h"
#include "tests/lib/fixture.h"

struct stop {
	uint64_t calls, at, reports;
};

static bool progress(void *arg, const char *phase, uint64_t done, uint64_t total)
{
	struct stop *s = arg;

	return ++s->calls < s->at;
}

static void report(void *arg, const struct check_problem *p)
{
	struct stop *s = arg;

	s->reports++;
	printf("stopped at %llu: %s\n", (unsigned long long)s->at, p->text);
}

static void many_files(struct fixture *f)
{
	struct vfs_file *file;
	char name[64];

	for (int i = 0; i < 400; i++) {
		snprintf(name, sizeof(name), "a name that takes some room, number %d", i);
		fx_file(f, name, &file);
		fx_write(f, file, 0, i % 2 ? 300 : 5000, (uint64_t)i);
		fx_close(f, file);
	}
}

Test(check_stop, nothing_is_reported_of_a_clean_file_system)
{
	struct stop s = { 0 };
	struct check_opts o = {
		.verify_data = true, .report = report, .progress = progress, .arg = &s
	};
	struct check_result r;
	struct fixture f;
	char why[300];
	int err = -ECANCELED;

	fx_init();
	fx_create(&f, FX_SMALL1K);
	many_files(&f);
	fx_remount(&f);
	FX_OK(vfs_unmount(f.fs));
	for (uint64_t at = 1; err == -ECANCELED; at++) {
		s = (struct stop){ .at = at };
		err = tfs_check_device(f.dev, &o, &r, why, sizeof(why));
		cr_assert_eq(s.reports, 0);
		cr_assert_eq(r.errors + r.leaks, 0);
	}
	cr_assert_eq(err, 0);
	cr_assert_gt(s.at, 50, "it was stopped at %llu places only", (unsigned long long)s.at);
	bdev_close(f.dev);
	fx_exit();
}
