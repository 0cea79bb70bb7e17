/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is unlinked is room for what comes next: right after the only large file of a full file
 * system has lost its name, its last user and its lookups, in any order and by any thread, a new
 * file is created and written, however long the reaper takes.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <unistd.h>
#include "core/block/bdev.h"
#include "fs/alloc/alloc_int.h"
#include "fs/alloc/space.h"
#include "fs/state/fs.h"
#include "fs/vfs/vfs.h"
#include "tallyfs/format.h"
#include "tests/lib/fixture.h"

#define ROUNDS 8
#define LATE 20000 /* microseconds */
#define NEXT_BYTES (512u << 10)
#define PATIENCE 600 /* seconds, after which somebody waits for ever */

/* ns that the file system waits for room.  How slow the machine is, is not what this is about. */
#define GENEROUS 120000000000ull
#define SHORT 300000000ull

static struct fixture fx;
static atomic_int go_on = 1;

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

/* Its only large file loses its name, with a lookup left. */
static uint64_t unlink_big(void)
{
	struct vfs_attr attr;

	FX_OK(vfs_lookup(fx.fs, TFS_INO_ROOT, "big", &attr));
	FX_OK(vfs_unlink(fx.fs, TFS_INO_ROOT, "big"));
	return attr.ino;
}

static void fill_and_close(void)
{
	struct vfs_file *file;

	fx_file(&fx, "big", &file);
	fx.fs->alloc->may_die_until = 0; /* all have been forgotten */
	fill(file);
	fx_close(&fx, file);
}

static void *forget_late(void *arg)
{
	usleep(LATE);
	vfs_forget(fx.fs, *(uint64_t *)arg, 1);
	return NULL;
}

/* Written, or allocated in one piece. */
static void next_fits(int round, bool allocate)
{
	struct vfs_file *file;

	fx_file(&fx, "next", &file);
	if (allocate)
		FX_OK(vfs_fallocate(fx.fs, file, 0, 0, NEXT_BYTES));
	fx_write(&fx, file, 0, NEXT_BYTES, (uint64_t)round + 1);
	fx_expect(&fx, file, 0, NEXT_BYTES, (uint64_t)round + 1);
	fx_close(&fx, file);
	FX_OK(vfs_unlink(fx.fs, TFS_INO_ROOT, "next"));
}

static void one_round(int round)
{
	pthread_t late;
	uint64_t ino;

	fill_and_close();
	ino = unlink_big();
	if (round % 2)
		vfs_forget(fx.fs, ino, 1);
	else
		FX_OK(pthread_create(&late, NULL, forget_late, &ino));
	next_fits(round, round % 4 < 2);
	if (round % 2 == 0)
		pthread_join(late, NULL);
}

/* ---- what is not forgotten keeps nobody waiting for ever ---- */

static void *overwrite(void *arg)
{
	struct vfs_file *file = arg;

	while (atomic_load(&go_on)) {
		fx_write(&fx, file, 0, 4096, 1);
		FX_OK(vfs_fsync(fx.fs, file, true));
	}
	return NULL;
}

/* Somebody reaches the deleted file yet (as by O_PATH), and somebody else overwrites all along. */
static void held_and_overwritten(void)
{
	static uint8_t buf[65536];
	struct vfs_file *over, *more;
	struct vfs_attr attr;
	pthread_t t;
	uint64_t ino;

	fx_file(&fx, "over", &over);
	fx_write(&fx, over, 0, 4096, 1);
	fx_file(&fx, "more", &more);
	fill_and_close();
	ino = unlink_big();
	fx.fs->alloc->new_ns = SHORT;
	FX_OK(pthread_create(&t, NULL, overwrite, over));
	FX_IS(vfs_pwrite(fx.fs, more, buf, sizeof(buf), 0), -ENOSPC);
	FX_IS(vfs_fallocate(fx.fs, more, 0, 0, NEXT_BYTES), -ENOSPC);
	/* a reaper that gets nowhere */
	space_dying(fx.fs, 1);
	FX_IS(vfs_fallocate(fx.fs, more, 0, 0, NEXT_BYTES), -ENOSPC);
	FX_IS(vfs_symlink(fx.fs, TFS_INO_ROOT, "name", "target", &fx_root, &attr), -ENOSPC);
	space_dying(fx.fs, -1);
	fx.fs->alloc->new_ns = GENEROUS;
	vfs_forget(fx.fs, ino, 1);
	fx_write(&fx, more, 0, NEXT_BYTES, 2);
	atomic_store(&go_on, 0);
	pthread_join(t, NULL);
	fx_close(&fx, over);
	fx_close(&fx, more);
}

int main(void)
{
	struct tfs_mount_opts opts = { .cache_size = 4 << 20 };

	alarm(PATIENCE);
	fx_init();
	fx_create_on(&fx, fx_mem(FX_SMALL), FX_SMALL, 1, &opts);
	fx.fs->alloc->new_ns = fx.fs->alloc->forget_ns = GENEROUS;
	for (int round = 0; round < ROUNDS; round++)
		one_round(round);
	held_and_overwritten();
	fx_destroy(&fx);
	fx_exit();
	return 0;
}
