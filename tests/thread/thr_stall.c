/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * No lock is held over device I/O that a cached read needs: while something is stuck in the device,
 * what is cached is read all the same: content of the same file, its attributes, names of its
 * directory, and a listing.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "core/block/bdev.h"
#include "core/lib/util.h"
#include "core/pagecache/pagecache.h"
#include "fs/inode/inode.h"
#include "fs/journal/journal.h"
#include "fs/state/fs.h"
#include "fs/vfs/vfs.h"
#include "tallyfs/format.h"
#include "tests/lib/faultdev.h"
#include "tests/lib/fixture.h"

#define FILE_BYTES (4u << 20)
/* bytes at the front of the file that are in memory; behind them lie cold ones */
#define CACHED (512u << 10)
#define COLD (2u << 20)
#define PATIENCE 60000 /* milliseconds */

static struct fixture fx;
static struct vfs_file *file, *other, *direct;
static uint64_t top;

/* ---- what gets stuck ---- */

static void write_warm(void)
{
	fx_write(&fx, file, 0, 4096, 1);
}

/* Part of a block: the rest of it must be read. */
static void write_cold(void)
{
	fx_write(&fx, file, COLD + 100, 50, 1);
}

/* The front of a block; a block and the front of the next. */
static void write_front(void)
{
	fx_write(&fx, file, COLD, 50, 1);
}

static void write_tail(void)
{
	fx_write(&fx, file, COLD, 4096 + 50, 1);
}

/* The last block is partly filled, and what lies between becomes zeros. */
static void write_behind_the_end(void)
{
	fx_write(&fx, file, FILE_BYTES + 5000, 50, 1);
}

static void read_cold(void)
{
	fx_expect(&fx, file, COLD, 4096, 1);
}

static void read_direct(void)
{
	static uint8_t buf[4096] __attribute__((aligned(4096)));

	FX_IS(vfs_pread(fx.fs, direct, buf, sizeof(buf), COLD), sizeof(buf));
}

static void do_fsync(void)
{
	FX_OK(vfs_fsync(fx.fs, file, false));
}

static void make_name(void)
{
	struct vfs_attr a;

	FX_OK(vfs_create(fx.fs, top, "new", 0644, &fx_root, O_RDWR, &a, NULL));
	vfs_forget(fx.fs, a.ino, 1);
	FX_OK(vfs_unlink(fx.fs, top, "new"));
}

static void do_commit(void)
{
	FX_OK(journal_commit_all(fx.fs));
}

static void do_checkpoint(void)
{
	FX_OK(journal_checkpoint(fx.fs));
}

static void do_writeback(void)
{
	FX_OK(pagecache_sync(fx.fs->pagecache, true));
}

static void do_seek(void)
{
	FX_IS(vfs_lseek(fx.fs, other, 0, SEEK_DATA), 0);
	FX_OK(vfs_fsync(fx.fs, other, false));
}

/* More than may be dirty: waits for the flusher, which is stuck. */
static void write_much(void)
{
	fx_write(&fx, file, 0, 12u << 20, 1);
	fx_set_size(&fx, file, FILE_BYTES);
}

static void list_extents(void)
{
	struct vfs_extent x[4];

	FX_CHECK(vfs_extents(fx.fs, file, 0, x, 4) > 0);
}

static const struct {
	const char *name;
	void (*before)(void); /* not stuck yet */
	void (*stuck)(void);
	enum fault_op op;
	bool throttled; /* stuck when a writer is throttled */
	bool writer;	/* and then a writer of the same file comes and has to wait for it */
} all[] = {
	{ "write-back", write_warm, do_writeback, FAULT_WRITE, false, false },
	{ "fsync, writing the data", write_warm, do_fsync, FAULT_WRITE, false, false },
	{ "fsync, flushing", write_warm, do_fsync, FAULT_FLUSH, false, false },
	{ "fsync, with a writer", write_warm, do_fsync, FAULT_FLUSH, false, true },
	{ "commit, writing", make_name, do_commit, FAULT_WRITE, false, false },
	{ "commit, flushing", make_name, do_commit, FAULT_FLUSH, false, false },
	{ "checkpoint, writing", make_name, do_checkpoint, FAULT_WRITE, false, false },
	{ "checkpoint, flushing", make_name, do_checkpoint, FAULT_FLUSH, false, false },
	{ "fsync of another file", write_warm, do_seek, FAULT_FLUSH, false, false },
	{ "cold read", NULL, read_cold, FAULT_READ, false, false },
	{ "cold read, with a writer", NULL, read_cold, FAULT_READ, false, true },
	{ "cold direct read", NULL, read_direct, FAULT_READ, false, false },
	{ "cold direct read, with a writer", NULL, read_direct, FAULT_READ, false, true },
	{ "write into a cold block", NULL, write_cold, FAULT_READ, false, false },
	{ "write into a cold block, with a writer", NULL, write_cold, FAULT_READ, false, true },
	{ "write into the front of a cold block", NULL, write_front, FAULT_READ, false, false },
	{ "write that ends in a cold block", NULL, write_tail, FAULT_READ, false, false },
	{ "write behind a cold end", NULL, write_behind_the_end, FAULT_READ, false, false },
	{ "throttled write", NULL, write_much, FAULT_WRITE, true, false },
	{ "list of extents", write_warm, list_extents, FAULT_WRITE, false, false },
	{ "list of extents, with a writer", write_warm, list_extents, FAULT_WRITE, false, true },
};

/* ---- what must go on ---- */

static bool count(void *arg, const struct vfs_dirent *de)
{
	(void)de;
	++*(unsigned int *)arg;
	return true;
}

static void read_cached(void)
{
	unsigned int n = 0;
	struct vfs_attr a;

	fx_expect(&fx, file, 8192, 4096, 1);
	FX_OK(vfs_getattr(fx.fs, file->inode->ino, &a));
	FX_OK(vfs_lookup(fx.fs, top, "file", &a));
	vfs_forget(fx.fs, a.ino, 1);
	FX_OK(vfs_readdir(fx.fs, top, 0, count, &n));
	FX_CHECK(n >= 4);
}

static atomic_int finished; /* bits */

static void *stuck_thread(void *arg)
{
	((void (*)(void))arg)();
	return NULL;
}

static void *writer_thread(void *arg)
{
	(void)arg;
	fx_write(&fx, file, 100000, 50, 1);
	return NULL;
}

static void *reader_thread(void *arg)
{
	(void)arg;
	for (int n = 0; n < 20; n++)
		read_cached();
	atomic_store(&finished, 1);
	return NULL;
}

static void warm_up(void)
{
	fx_remount(&fx);
	top = fx_ino(&fx, "d");
	FX_OK(vfs_open(fx.fs, fx_ino(&fx, "d/file"), O_RDWR, &file));
	FX_OK(vfs_open(fx.fs, fx_ino(&fx, "d/file"), O_RDWR | O_DIRECT, &direct));
	FX_OK(vfs_open(fx.fs, fx_ino(&fx, "d/other"), O_RDWR, &other));
	fx_set_size(&fx, file, FILE_BYTES - 1000);
	FX_OK(vfs_sync(fx.fs));
	pagecache_shrink(fx.fs->pagecache, 0);
	/* backwards, so that nothing is read ahead */
	for (uint64_t pos = CACHED; pos; pos -= 65536)
		fx_expect(&fx, file, pos - 65536, 65536, 1);
	fx_write(&fx, other, 0, 5000, 2);
	read_cached();
}

/* Milliseconds it took, or -1. */
static int wait_until(bool (*done)(void))
{
	for (int ms = 0; ms < PATIENCE; ms++) {
		if (done())
			return ms;
		usleep(1000);
	}
	return -1;
}

static bool is_stalled(void)
{
	return faultdev_stalled(fx.dev);
}

static bool is_throttled(void)
{
	return faultdev_stalled(fx.dev) && fx_stat(&fx, "cache", "throttled");
}

static bool reader_is_done(void)
{
	return atomic_load(&finished);
}

static int scene(unsigned int k)
{
	pthread_t stuck, writer, reader;
	int bad = 0;

	warm_up();
	if (all[k].before)
		all[k].before();
	atomic_store(&finished, 0);
	faultdev_plan(fx.dev, .kind = FAULT_STALL, .ops = all[k].op, .times = FAULT_ALWAYS);
	FX_OK(pthread_create(&stuck, NULL, stuck_thread, (void *)all[k].stuck));
	if (wait_until(all[k].throttled ? is_throttled : is_stalled) < 0) {
		fprintf(stderr, "%s: did not come as far as the device\n", all[k].name);
		bad = 1;
	}
	if (all[k].writer) {
		FX_OK(pthread_create(&writer, NULL, writer_thread, NULL));
		usleep(20000);
	}
	FX_OK(pthread_create(&reader, NULL, reader_thread, NULL));
	if (wait_until(reader_is_done) < 0) {
		fprintf(stderr, "%s: a cached read has to wait\n", all[k].name);
		bad = 1;
	}
	faultdev_clear(fx.dev);
	pthread_join(stuck, NULL);
	pthread_join(reader, NULL);
	if (all[k].writer)
		pthread_join(writer, NULL);
	fx_close(&fx, file);
	fx_close(&fx, direct);
	fx_close(&fx, other);
	return bad;
}

int main(int argc, char **argv)
{
	/* no periodic commit, no flusher in between */
	struct tfs_mount_opts o = { .cache_size = 64u << 20,
				    .dirty_size = 8u << 20,
				    .commit_interval = 10000 };
	struct vfs_attr a;
	int bad = 0;

	fx_init();
	fx_create_on(&fx, faultdev_create(fx_mem(FX_MEDIUM)), FX_MEDIUM, 99, &o);
	FX_OK(vfs_mkdir(fx.fs, TFS_INO_ROOT, "d", 0755, &fx_root, &a));
	top = a.ino;
	vfs_forget(fx.fs, a.ino, 1);
	for (int k = 0; k < 2; k++) {
		FX_OK(vfs_create(fx.fs, top, k ? "other" : "file", 0644, &fx_root, O_RDWR, &a,
				 &file));
		fx_write(&fx, file, 0, FILE_BYTES, 1);
		fx_close(&fx, file);
		vfs_forget(fx.fs, a.ino, 1);
	}
	for (unsigned int k = 0; k < ARRAY_SIZE(all); k++)
		if (argc < 2 || (unsigned int)atoi(argv[1]) == k)
			bad |= scene(k);
	fx_destroy(&fx);
	fx_exit();
	return bad;
}
