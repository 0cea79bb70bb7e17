/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is unlinked is room for what comes next: right after the only large file of a full file
 * system has lost its name, its last user and its lookups, in any order and by any thread, a new
 * file is created and written, however long the reaper takes.
 */
#include <errno.h>
#include <pthread.h>
#include <unistd.h>
#include "core/block/bdev.h"
#include "fs/state/fs.h"
#include "fs/vfs/vfs.h"
#include "tallyfs/format.h"
#include "tests/lib/fixture.h"

#define ROUNDS 20
#define LATE 20000 /* microseconds */

static struct fixture fx;

static void fill(struct vfs_file *file)
{
	static uint8_t buf[65536];
	int64_t n;
	uint64_t pos = 0;

	for (; (n = vfs_pwrite(fx.fs, file, buf, sizeof(buf), pos)) > 0; pos += (uint64_t)n)
		;
	FX_IS(n, -ENOSPC);
	FX_CHECK(pos > 1 << 20);
}

static void *forget_late(void *arg)
{
	usleep(LATE);
	vfs_forget(fx.fs, *(uint64_t *)arg, 1);
	return NULL;
}

static void next_fits(int round)
{
	struct vfs_file *file;
	uint64_t ino = fx_file(&fx, "next", &file);

	fx_write(&fx, file, 0, 512 << 10, (uint64_t)round + 1);
	fx_expect(&fx, file, 0, 512 << 10, (uint64_t)round + 1);
	fx_close(&fx, file);
	FX_OK(vfs_unlink(fx.fs, TFS_INO_ROOT, "next"));
	vfs_forget(fx.fs, ino, 1);
}

static void one_round(int round)
{
	struct vfs_file *file;
	uint64_t ino = fx_file(&fx, "big", &file);
	pthread_t late;

	fill(file);
	fx_close(&fx, file);
	FX_OK(vfs_unlink(fx.fs, TFS_INO_ROOT, "big"));
	if (round % 2)
		vfs_forget(fx.fs, ino, 1);
	else
		FX_OK(pthread_create(&late, NULL, forget_late, &ino));
	next_fits(round);
	if (round % 2 == 0)
		pthread_join(late, NULL);
}

int main(void)
{
	struct tfs_mount_opts opts = { .cache_size = 4 << 20 };

	fx_init();
	fx_create_on(&fx, fx_mem(FX_SMALL), FX_SMALL, 1, &opts);
	for (int round = 0; round < ROUNDS; round++)
		one_round(round);
	fx_destroy(&fx);
	fx_exit();
	return 0;
}
