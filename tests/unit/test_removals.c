/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fs/inode/inode_flush.c, truncate.c, fs/vfs/fallocate.c: who syncs while something is being
 * removed waits for the end of that (inode_begin_removal()).
 *
 * The removal is held where it reads the bitmap of the blocks that go free, until the sync beside
 * it has asked for the lock of the file, or has returned.  Which of the two it is, time has no part
 * in; and what a power cut leaves when it has returned must have what was removed.
 */
#include <criterion/criterion.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>
#include "core/block/bdev.h"
#include "fs/disk/geom.h"
#include "fs/inode/inode.h"
#include "fs/inode/inode_flush.h"
#include "fs/inode/inode_lock.h"
#include "fs/journal/trans.h"
#include "fs/state/fs.h"
#include "fs/vfs/vfs.h"
#include "tallyfs/format.h"
#include "tests/lib/faultdev.h"
#include "tests/lib/fixture.h"

#define BS 4096u
#define SIZE (10 * BS)
#define FRONT (5 * BS) /* what lies behind is removed, or was never on disk */
#define BETWEEN (SIZE - 3 * BS)

typedef void sync_fn(struct vfs_file *f);

static struct fixture fx;
static struct bdev *mem;
static atomic_uint waiting;    /* have asked for the lock of a file, shared */
static atomic_bool hold, held; /* who begins a section next is to be held; is */

static void setup(void)
{
	struct tfs_mount_opts o = { .no_threads = true, .cache_size = 16u << 20 };

	fx_init();
	mem = fx_mem(FX_SMALL);
	fx_create_on(&fx, faultdev_create(mem), FX_SMALL, 4711, &o);
}

static void teardown(void)
{
	fx_destroy(&fx);
	fx_exit();
}

TestSuite(removals, .init = setup, .fini = teardown, .timeout = 120);

/* ---- what the linker puts in the place of the functions (tests/CMakeLists.txt) ---- */

void __real_inode_lock_shared(struct tfs_inode *i, bool io);
void __wrap_inode_lock_shared(struct tfs_inode *i, bool io);
void __wrap_inode_lock_shared(struct tfs_inode *i, bool io)
{
	atomic_fetch_add(&waiting, 1);
	__real_inode_lock_shared(i, io);
}

int __real_trans_begin_settle(struct tfs_trans *t, struct tfs_fs *fs, uint64_t credits);
int __wrap_trans_begin_settle(struct tfs_trans *t, struct tfs_fs *fs, uint64_t credits);
int __wrap_trans_begin_settle(struct tfs_trans *t, struct tfs_fs *fs, uint64_t credits)
{
	if (atomic_exchange(&hold, false)) {
		atomic_store(&held, true);
		while (atomic_load(&held))
			usleep(1000);
	}
	return __real_trans_begin_settle(t, fs, credits);
}

/* ---- the sync ---- */

static void do_fsync(struct vfs_file *f)
{
	FX_OK(vfs_fsync(fx.fs, f, false));
}

static void do_fdatasync(struct vfs_file *f)
{
	FX_OK(vfs_fsync(fx.fs, f, true));
}

static void do_sync(struct vfs_file *f)
{
	(void)f;
	FX_OK(vfs_sync(fx.fs));
}

static sync_fn *const syncs[] = { do_fsync, do_fdatasync, do_sync };
#define NR_SYNCS 3

struct syncer {
	pthread_t thread;
	sync_fn *sync;
	struct vfs_file *f;
	struct bdev *left; /* the device as it was when the sync had returned */
	atomic_bool done;
};

static void *sync_thread(void *arg)
{
	struct syncer *s = arg;

	s->sync(s->f);
	s->left = fx_copy_dev(mem);
	atomic_store(&s->done, true);
	return NULL;
}

static void sync_start(struct syncer *s)
{
	atomic_store(&waiting, 0);
	FX_OK(pthread_create(&s->thread, NULL, sync_thread, s));
}

static void sync_waits_or_returns(struct syncer *s)
{
	while (!atomic_load(&waiting) && !atomic_load(&s->done))
		usleep(1000);
}

/* ---- the removal ---- */

static void *truncate_to_front(void *f)
{
	fx_set_size(&fx, f, FRONT);
	return NULL;
}

static void *truncate_between(void *f)
{
	fx_set_size(&fx, f, BETWEEN);
	return NULL;
}

static void *punch_behind_front(void *f)
{
	FX_OK(vfs_fallocate(fx.fs, f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, FRONT,
			    SIZE - FRONT));
	return NULL;
}

/* Begun, and held where it reads the bitmap of the group of @block: by then what was dirty has
 * gone. */
static pthread_t remove_start(void *(*remove)(void *), struct vfs_file *f, uint64_t block)
{
	const struct tfs_geom *g = &fx.fs->geom;
	uint64_t bitmap = tfs_group_bitmap_block(g, tfs_group_of(g, block));
	pthread_t t;

	faultdev_plan(fx.dev, .kind = FAULT_STALL, .ops = FAULT_READ, .times = FAULT_ALWAYS,
		      .off = bitmap << g->blkbits, .len = BS);
	FX_OK(pthread_create(&t, NULL, remove, f));
	while (!faultdev_stalled(fx.dev))
		usleep(1000);
	return t;
}

/* Both end. */
static void go_on(pthread_t removal, struct syncer *s)
{
	faultdev_clear(fx.dev);
	pthread_join(removal, NULL);
	pthread_join(s->thread, NULL);
}

/* ---- the file ---- */

/* The device block of the first that is mapped at or behind @pos.  Nothing may be dirty. */
static uint64_t block_at(struct vfs_file *f, uint64_t pos)
{
	struct vfs_extent e;

	FX_IS(vfs_extents(fx.fs, f, pos, &e, 1), 1);
	return e.addr >> fx.fs->geom.blkbits;
}

/* All that a mount reads only when it is needed is read anew. */
static struct vfs_file *remounted(struct vfs_file *f)
{
	fx_close(&fx, f);
	fx_remount(&fx);
	return fx_open(&fx, "a");
}

/* What a power cut leaves: 1 up to FRONT, and zeros. */
static void expect_left(struct bdev *left, uint64_t size)
{
	struct fixture then;
	struct vfs_file *f;

	fx_mount(&then, left, NULL);
	then.own_dev = true;
	f = fx_open(&then, "a");
	cr_assert_eq(fx_size_of(&then, f), size);
	fx_expect(&then, f, 0, FRONT, 1);
	fx_expect_zero(&then, f, FRONT, size - FRONT);
	fx_close(&then, f);
	fx_destroy(&then);
}

static void finish(struct vfs_file *f)
{
	fx_close(&fx, f);
	FX_OK(vfs_unlink(fx.fs, TFS_INO_ROOT, "a"));
}

/*
 * Behind FRONT the file is 1 on the disk and 2 in the cache, from where it is removed.  As it was
 * before both it must not be again.  @flushed: somebody else brings the inode's item to the tree,
 * before the removal and meanwhile, and waits for nothing.
 */
static void sync_beside(void *(*remove)(void *), sync_fn *sync, bool flushed, uint64_t size)
{
	struct syncer s = { .sync = sync };
	pthread_t removal;
	uint64_t block;

	fx_file(&fx, "a", &s.f);
	fx_write(&fx, s.f, 0, SIZE, 1);
	s.f = remounted(s.f);
	block = block_at(s.f, FRONT);
	fx_write(&fx, s.f, FRONT, SIZE - FRONT, 2);
	if (flushed)
		FX_OK(inode_flush(s.f->inode, false, SIZE));
	removal = remove_start(remove, s.f, block);
	if (flushed)
		FX_OK(inode_flush(s.f->inode, false, FRONT));
	sync_start(&s);
	sync_waits_or_returns(&s);
	go_on(removal, &s);
	expect_left(s.left, size);
	finish(s.f);
}

Test(removals, a_sync_waits_for_a_truncation)
{
	for (unsigned int k = 0; k < 2 * NR_SYNCS; k++)
		sync_beside(truncate_to_front, syncs[k / 2], k % 2, FRONT);
}

Test(removals, a_sync_waits_for_a_punch)
{
	for (unsigned int k = 0; k < 2 * NR_SYNCS; k++)
		sync_beside(punch_behind_front, syncs[k / 2], k % 2, SIZE);
}

/* On the disk the file ends at FRONT, but has a preallocated block far behind; in memory it goes on
 * with a hole.  That block. */
static uint64_t size_in_memory_alone(struct vfs_file **f)
{
	uint64_t end = SIZE - 2 * BS, block;

	fx_file(&fx, "a", f);
	fx_write(&fx, *f, 0, FRONT, 1);
	FX_OK(vfs_fallocate(fx.fs, *f, FALLOC_FL_KEEP_SIZE, SIZE - BS, BS));
	*f = remounted(*f);
	block = block_at(*f, SIZE - BS);
	fx_write(&fx, *f, FRONT, end - FRONT, 2);
	FX_OK(vfs_fallocate(fx.fs, *f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, FRONT,
			    end - FRONT));
	cr_assert_eq((*f)->inode->d_size, FRONT);
	return block;
}

/* A truncation begins when the sync has seen that there is none: the sync leaves the size to it,
 * and waits for it all the same. */
Test(removals, a_sync_waits_for_a_truncation_that_begins_later)
{
	for (unsigned int k = 0; k < NR_SYNCS; k++) {
		struct syncer s = { .sync = syncs[k] };
		uint64_t block = size_in_memory_alone(&s.f);
		pthread_t removal;

		atomic_store(&hold, true);
		sync_start(&s);
		while (!atomic_load(&held))
			usleep(1000);
		removal = remove_start(truncate_between, s.f, block);
		atomic_store(&held, false);
		sync_waits_or_returns(&s);
		go_on(removal, &s);
		expect_left(s.left, BETWEEN);
		finish(s.f);
	}
}
