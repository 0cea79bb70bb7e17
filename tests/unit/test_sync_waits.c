/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fs/inode/inode_flush.c, truncate.c, fs/vfs/fallocate.c, core/pagecache/pagecache.c: who syncs
 * waits for what others have begun, the removal of what was dirty (inode_begin_removal()) or its
 * write-back, and hears of what failed.
 *
 * A removal is held where it reads the bitmap of the blocks that go free, a write in the device,
 * until the sync beside it is about to wait, or has returned.  Which of the two it is, time has no
 * part in; and what a power cut leaves when it has returned must have what had been begun.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>
#include "core/block/bdev.h"
#include "core/pagecache/pagecache.h"
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
static atomic_uint waiting;    /* are about to wait: for a file's lock, or for its writes */
static atomic_bool hold, held; /* who begins a section next is to be held; is */

static void setup(void)
{
	struct tfs_mount_opts o = { .no_threads = true, .cache_size = 16u << 20 };

	fx_init();
	mem = fx_create_faulty(&fx, &o);
}

static void teardown(void)
{
	fx_destroy(&fx);
	fx_exit();
}

TestSuite(sync_waits, .init = setup, .fini = teardown, .timeout = 900);

/* ---- what the linker puts in the place of the functions (tests/CMakeLists.txt) ---- */

void __real_inode_lock(struct tfs_inode *i);
void __wrap_inode_lock(struct tfs_inode *i);
void __wrap_inode_lock(struct tfs_inode *i)
{
	atomic_fetch_add(&waiting, 1);
	__real_inode_lock(i);
}

void __real_filemap_fdatawait_range(struct address_space *m, uint64_t start, uint64_t end);
void __wrap_filemap_fdatawait_range(struct address_space *m, uint64_t start, uint64_t end);
void __wrap_filemap_fdatawait_range(struct address_space *m, uint64_t start, uint64_t end)
{
	atomic_fetch_add(&waiting, 1);
	__real_filemap_fdatawait_range(m, start, end);
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

/* The bitmap of the group of @block, which a removal of that block reads: by then what was dirty
 * has gone. */
static void plan_bitmap(enum fault_kind kind, uint64_t block)
{
	const struct tfs_geom *g = &fx.fs->geom;
	uint64_t bitmap = tfs_group_bitmap_block(g, tfs_group_of(g, block));

	faultdev_plan(fx.dev, .kind = kind, .ops = FAULT_READ, .times = FAULT_ALWAYS,
		      .off = bitmap << g->blkbits, .len = BS);
}

/* Begun, and held there. */
static pthread_t remove_start(void *(*remove)(void *), struct vfs_file *f, uint64_t block)
{
	pthread_t t;

	plan_bitmap(FAULT_STALL, block);
	FX_OK(pthread_create(&t, NULL, remove, f));
	while (!faultdev_stalled(fx.dev))
		usleep(1000);
	atomic_store(&waiting, 0); /* it has the lock */
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

/* What a power cut leaves: @tag up to FRONT, and zeros. */
static void expect_left(struct bdev *left, uint64_t size, unsigned int tag)
{
	struct fixture then;
	struct vfs_file *f;

	fx_mount(&then, left, NULL);
	then.own_dev = true;
	f = fx_open(&then, "a");
	cr_assert_eq(fx_size_of(&then, f), size);
	fx_expect(&then, f, 0, FRONT, tag);
	fx_expect_zero(&then, f, FRONT, size - FRONT);
	fx_close(&then, f);
	fx_destroy(&then);
}

static void finish(struct vfs_file *f)
{
	fx_close(&fx, f);
	FX_OK(vfs_unlink(fx.fs, TFS_INO_ROOT, "a"));
}

/* Behind FRONT the file is 1 on the disk and 2 in the cache.  A block of what is on the disk. */
static uint64_t newer_in_memory(struct vfs_file **f)
{
	uint64_t block;

	fx_file(&fx, "a", f);
	fx_write(&fx, *f, 0, SIZE, 1);
	*f = remounted(*f);
	block = block_at(*f, FRONT);
	fx_write(&fx, *f, FRONT, SIZE - FRONT, 2);
	return block;
}

/*
 * As the file was before the write and the removal, it must not be again.  @flushed: somebody else
 * brings the inode's item to the tree, before the removal and meanwhile, and waits for nothing.
 */
static void sync_beside(void *(*remove)(void *), sync_fn *sync, bool flushed, uint64_t size)
{
	struct syncer s = { .sync = sync };
	uint64_t block = newer_in_memory(&s.f);
	pthread_t removal;

	if (flushed)
		FX_OK(inode_flush(s.f->inode, false, SIZE));
	removal = remove_start(remove, s.f, block);
	if (flushed)
		FX_OK(inode_flush(s.f->inode, false, FRONT));
	sync_start(&s);
	sync_waits_or_returns(&s);
	go_on(removal, &s);
	expect_left(s.left, size, 1);
	finish(s.f);
}

Test(sync_waits, for_a_truncation)
{
	for (unsigned int k = 0; k < 2 * NR_SYNCS; k++)
		sync_beside(truncate_to_front, syncs[k / 2], k % 2, FRONT);
}

Test(sync_waits, for_a_punch)
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
Test(sync_waits, for_a_truncation_that_begins_later)
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
		expect_left(s.left, BETWEEN, 1);
		finish(s.f);
	}
}

/* Blocks that somebody else writes back are dirty no longer, and not yet on the disk. */
Test(sync_waits, for_a_write_that_is_under_way)
{
	struct syncer s = { .sync = do_sync };

	fx_file(&fx, "a", &s.f);
	fx_write(&fx, s.f, 0, FRONT, 1);
	FX_OK(vfs_sync(fx.fs));
	fx_write(&fx, s.f, 0, FRONT, 2);
	faultdev_plan(fx.dev, .kind = FAULT_STALL, .ops = FAULT_WRITE);
	FX_OK(filemap_fdatawrite_range(&s.f->inode->mapping, 0, UINT64_MAX));
	while (!faultdev_stalled(fx.dev))
		usleep(1000);
	atomic_store(&waiting, 0);
	sync_start(&s);
	sync_waits_or_returns(&s);
	faultdev_clear(fx.dev);
	pthread_join(s.thread, NULL);
	expect_left(s.left, FRONT, 2);
	finish(s.f);
}

/* ---- failures ---- */

static int truncate_that_fails(struct vfs_file **f)
{
	struct vfs_attr a = { .size = FRONT };

	plan_bitmap(FAULT_ERROR, newer_in_memory(f));
	return vfs_setattr(fx.fs, (*f)->inode->ino, VFS_SET_SIZE, &a, &fx_root, &a);
}

/* In memory it has happened.  Who syncs finishes it, or hears that it could not be. */
Test(sync_waits, a_truncation_that_failed_is_not_forgotten)
{
	struct vfs_file *f;

	for (unsigned int k = 0; k <= NR_SYNCS; k++) {
		FX_IS(truncate_that_fails(&f), -EIO);
		cr_assert_eq(fx_size_of(&fx, f), FRONT);
		FX_OK(inode_flush(f->inode, false, FRONT)); /* by somebody else */
		FX_IS(vfs_fsync(fx.fs, f, false), -EIO);
		FX_IS(vfs_sync(fx.fs), -EIO);
		faultdev_clear(fx.dev);
		if (k < NR_SYNCS) {
			syncs[k](f);
			fx_close(&fx, f);
			fx_crash_remount(&fx);
		} else {
			fx_close(&fx, f);
			fx_remount(&fx);
		}
		f = fx_open(&fx, "a");
		cr_assert_eq(fx_size_of(&fx, f), FRONT);
		fx_expect(&fx, f, 0, FRONT, 1);
		finish(f);
	}
}

/* What was written there has gone unwritten: fsync tells. */
Test(sync_waits, a_punch_that_failed_is_told)
{
	struct vfs_file *f;

	plan_bitmap(FAULT_ERROR, newer_in_memory(&f));
	FX_IS(vfs_fallocate(fx.fs, f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, FRONT,
			    SIZE - FRONT),
	      -EIO);
	faultdev_clear(fx.dev);
	FX_IS(vfs_fsync(fx.fs, f, false), -EIO);
	FX_OK(vfs_fsync(fx.fs, f, false));
	finish(f);
}
