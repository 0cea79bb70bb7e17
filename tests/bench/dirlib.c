/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What each operation on a directory of N entries costs the library:  dirlib [N...]
 *
 * In process on a device in memory, for each N (default 1000 10000 100000 1000000) on a new file
 * system: create, list, stat (after a remount), rename and remove all.  Microseconds of CPU time
 * for one, and by the figure of the first N; "log" is what growth with the logarithm would give.
 * Other work on the machine hardly disturbs it, unlike dirscale.py.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "core/block/bdev.h"
#include "fs/state/fs.h"
#include "fs/vfs/vfs.h"
#include "tallyfs/format.h"
#include "tests/lib/fixture.h"

enum { CREATE, LIST, STAT, RENAME, REMOVE, PHASES };
static const char *const phase_name[PHASES] = { "create", "list", "stat", "rename", "remove" };

static struct fixture fx;
static uint64_t dir;

static void name_of(char *buf, char first, unsigned long k)
{
	snprintf(buf, 32, "%c%08x-%lu", first, (unsigned int)(k * 2654435761u), k);
}

static void create(unsigned long k)
{
	struct vfs_attr a;
	char name[32];

	name_of(name, 'f', k);
	FX_OK(vfs_create(fx.fs, dir, name, 0644, &fx_root, O_RDWR, &a, NULL));
	vfs_forget(fx.fs, a.ino, 1);
}

static void stat_one(unsigned long k)
{
	struct vfs_attr a;
	char name[32];

	name_of(name, 'f', k);
	FX_OK(vfs_lookup(fx.fs, dir, name, &a));
	vfs_forget(fx.fs, a.ino, 1);
}

static void rename_one(unsigned long k)
{
	char name[32], new_name[32];

	name_of(name, 'f', k);
	name_of(new_name, 'r', k);
	FX_OK(vfs_rename(fx.fs, dir, name, dir, new_name, 0));
}

static void remove_one(unsigned long k)
{
	char name[32];

	name_of(name, 'r', k);
	FX_OK(vfs_unlink(fx.fs, dir, name));
}

static bool count(void *arg, const struct vfs_dirent *de)
{
	(void)de;
	++*(unsigned long *)arg;
	return true;
}

static void list(unsigned long n)
{
	unsigned long found = 0;

	FX_OK(vfs_readdir(fx.fs, dir, 0, count, &found));
	FX_CHECK(found == n + 2);
}

static double cpu_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void measure(unsigned long n, double *us)
{
	static void (*const one[PHASES])(unsigned long k) = { create, NULL, stat_one, rename_one,
							      remove_one };
	struct bdev *dev = bdev_mem_create((4096ull << 20) + n * 2048);
	struct vfs_attr a;
	unsigned int p;

	FX_CHECK(dev);
	fx_format(dev, FX_MEDIUM, 1);
	fx_mount(&fx, dev, &(struct tfs_mount_opts){ .no_threads = true });
	FX_OK(vfs_mkdir(fx.fs, TFS_INO_ROOT, "d", 0755, &fx_root, &a));
	vfs_forget(fx.fs, a.ino, 1);
	dir = a.ino;
	for (p = 0; p < PHASES; p++) {
		double began;

		if (p == STAT) {
			FX_OK(vfs_unmount(fx.fs));
			fx_mount(&fx, dev, &(struct tfs_mount_opts){ .no_threads = true });
		}
		began = cpu_now();
		for (unsigned long k = 0; one[p] && k < n; k++)
			one[p](k);
		if (p == LIST)
			list(n);
		us[p] = (cpu_now() - began) / (double)n * 1e6;
	}
	FX_OK(vfs_unmount(fx.fs));
	bdev_close(dev);
}

int main(int argc, char **argv)
{
	static const unsigned long all[] = { 1000, 10000, 100000, 1000000 };
	double first[PHASES], us[PHASES];
	unsigned long n0 = 0;

	fx_init();
	printf("%9s %-8s %9s %8s %6s\n", "entries", "", "us/op", "growth", "log");
	for (int i = 0; i < (argc > 1 ? argc - 1 : 4); i++) {
		unsigned long n = argc > 1 ? strtoul(argv[i + 1], NULL, 10) : all[i];

		if (!n)
			break;
		measure(n, us);
		for (int p = 0; p < PHASES; p++) {
			if (!n0)
				first[p] = us[p];
			printf("%9lu %-8s %9.2f %8.2f %6.2f\n", n, phase_name[p], us[p],
			       us[p] / first[p], n0 ? log((double)n) / log((double)n0) : 1.0);
		}
		n0 = n0 ? n0 : n;
		fflush(stdout);
	}
	fx_exit();
	return 0;
}
