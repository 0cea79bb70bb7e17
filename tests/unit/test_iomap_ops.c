/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fs/inode/iomap_ops.c, fs/inode/map_blocks.c, end_ioends.c: reservations kept and given back,
 * errors of the device, stale mappings. */
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/falloc.h>
#include <string.h>
#include "core/block/bdev.h"
#include "core/iomap/iomap.h"
#include "core/lib/log.h"
#include "core/lib/util.h"
#include "core/pagecache/pagecache.h"
#include "fs/inode/damage.h"
#include "fs/inode/icache.h"
#include "fs/inode/iget.h"
#include "fs/inode/inode.h"
#include "fs/inode/reap.h"
#include "fs/vfs/vfs.h"
#include "tallyfs/format.h"
#include "tests/lib/faultdev.h"
#include "tests/lib/fixture.h"

static struct fixture fx;
static struct bdev *dev;

static void setup(void)
{
	fx_init();
	dev = faultdev_create(fx_mem(FX_SMALL));
	fx_create_on(&fx, dev, FX_SMALL, 17, NULL);
}

TestSuite(iomap_ops, .init = setup, .timeout = 900);

static void finish(void)
{
	log_init("test", false, LOG_LVL_WARN);
	fx_destroy(&fx);
	fx_exit();
}

static void drop_cache(void)
{
	/* completions that are just ending hold folios a moment longer */
	iomap_ioend_drain();
	pagecache_shrink(fx.fs->pagecache, 0);
}

Test(iomap_ops, reservations_are_balanced)
{
	struct vfs_file *f;

	fx_file(&fx, "a", &f);
	fx_write(&fx, f, 0, 10 * 4096, 1);
	cr_assert_eq(fx_stat(&fx, "space", "reserved"), 10);
	fx_write(&fx, f, 100, 5000, 1); /* dirty already */
	cr_assert_eq(fx_stat(&fx, "space", "reserved"), 10);
	FX_OK(vfs_fsync(fx.fs, f, false));
	cr_assert_eq(fx_stat(&fx, "space", "reserved"), 0);
	cr_assert_eq(fx_stat(&fx, "space", "claimed"), 0);
	fx_write(&fx, f, 4096, 4096, 1);
	fx_write(&fx, f, 20 * 4096, 4096, 2);
	cr_assert_eq(fx_stat(&fx, "space", "reserved"), 2);
	fx_set_size(&fx, f, 10 * 4096);
	cr_assert_eq(fx_stat(&fx, "space", "reserved"), 1);
	FX_OK(vfs_fallocate(fx.fs, f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 8192));
	cr_assert_eq(fx_stat(&fx, "space", "reserved"), 0);
	/* preallocated blocks are written in place: the reservation comes back */
	FX_OK(vfs_fallocate(fx.fs, f, 0, 0, 8192));
	fx_write(&fx, f, 0, 8192, 3);
	FX_OK(vfs_fsync(fx.fs, f, false));
	cr_assert_eq(fx_stat(&fx, "space", "reserved"), 0);
	fx_expect(&fx, f, 0, 8192, 3);
	fx_close(&fx, f);
	finish();
}

Test(iomap_ops, partial_writes_read_what_is_there)
{
	struct vfs_file *f;

	fx_file(&fx, "a", &f);
	fx_write(&fx, f, 0, 100000, 1);
	FX_OK(vfs_fsync(fx.fs, f, false));
	drop_cache();
	fx_write(&fx, f, 10, 100, 2);
	fx_write(&fx, f, 50001, 9999, 3);
	FX_OK(vfs_fsync(fx.fs, f, false));
	drop_cache();
	fx_expect(&fx, f, 0, 10, 1);
	fx_expect(&fx, f, 10, 100, 2);
	fx_expect(&fx, f, 110, 50001 - 110, 1);
	fx_expect(&fx, f, 50001, 9999, 3);
	fx_expect(&fx, f, 60000, 40000, 1);
	fx_close(&fx, f);
	finish();
}

static void quiet(enum log_level lvl, const char *line)
{
	(void)lvl;
	(void)line;
}

Test(iomap_ops, failed_writeback_is_told_and_retried)
{
	struct vfs_file *f, *g;

	fx_file(&fx, "a", &f);
	FX_OK(vfs_open(fx.fs, f->inode->ino, O_RDWR, &g));
	fx_write(&fx, f, 0, 50000, 1);
	log_set_hook(quiet);
	faultdev_plan(dev, .kind = FAULT_ERROR, .ops = FAULT_WRITE);
	cr_assert_eq(vfs_fsync(fx.fs, f, false), -EIO);
	cr_assert_eq(fx_stat(&fx, "space", "claimed"), 0);
	cr_assert_gt(fx_stat(&fx, "space", "reserved"), 0);
	cr_assert_eq(vfs_flush(fx.fs, g), -EIO); /* every descriptor hears of it once */
	cr_assert_eq(vfs_flush(fx.fs, g), 0);
	fx_expect(&fx, f, 0, 50000, 1);
	log_set_hook(NULL);
	FX_OK(vfs_fsync(fx.fs, f, false));
	cr_assert_eq(fx_stat(&fx, "space", "reserved"), 0);
	fx_close(&fx, g);
	fx_close(&fx, f);
	fx_remount(&fx);
	f = fx_open(&fx, "a");
	fx_expect(&fx, f, 0, 50000, 1);
	fx_close(&fx, f);
	finish();
}

Test(iomap_ops, failed_writeback_while_truncating)
{
	struct vfs_attr a = { .size = 5000 };
	struct vfs_file *f;

	fx_file(&fx, "a", &f);
	fx_write(&fx, f, 0, 50000, 1);
	FX_OK(vfs_fsync(fx.fs, f, false));
	log_set_hook(quiet);
	faultdev_plan(dev, .kind = FAULT_ERROR, .ops = FAULT_WRITE);
	cr_assert_eq(vfs_setattr(fx.fs, f->inode->ino, VFS_SET_SIZE, &a, &fx_root, &a), -EIO);
	log_set_hook(NULL);
	/* the next change finishes it first */
	fx_write(&fx, f, 20000, 1000, 2);
	fx_close(&fx, f);
	fx_remount(&fx);
	f = fx_open(&fx, "a");
	fx_expect(&fx, f, 0, 5000, 1);
	fx_expect_zero(&fx, f, 5000, 15000);
	fx_expect(&fx, f, 20000, 1000, 2);
	cr_assert_eq(fx_size_of(&fx, f), 21000);
	fx_close(&fx, f);
	finish();
}

Test(iomap_ops, dead_device)
{
	struct vfs_file *f;
	struct vfs_attr a;

	fx_file(&fx, "a", &f);
	fx_write(&fx, f, 0, 50000, 1);
	FX_OK(vfs_fsync(fx.fs, f, false));
	fx_write(&fx, f, 0, 50000, 2);
	log_set_hook(quiet);
	faultdev_plan(dev, .kind = FAULT_ERROR, .ops = FAULT_WRITE, .times = FAULT_ALWAYS);
	cr_assert_lt(vfs_fsync(fx.fs, f, false), 0);
	vfs_create(fx.fs, TFS_INO_ROOT, "b", 0644, &fx_root, 0, &a, NULL);
	cr_assert_lt(vfs_sync(fx.fs), 0);
	cr_assert_lt(vfs_fsync(fx.fs, f, false), 0);
	fx_close(&fx, f);
	cr_assert_lt(vfs_unmount(fx.fs), 0);
	faultdev_clear(dev);
	log_set_hook(NULL);
	fx_check_clean(&fx);
	fx_mount_own(&fx, NULL);
	f = fx_open(&fx, "a");
	fx_expect(&fx, f, 0, 50000, 1);
	fx_close(&fx, f);
	finish();
}

Test(iomap_ops, data_device_part_stays_bad)
{
	struct tfs_inode *i;
	struct vfs_file *f;
	uint64_t ino = fx_file(&fx, "a", &f);

	/* all writes of data fail for ever, those of metadata do not: what is lost is on record */
	fx_write(&fx, f, 0, 50000, 1);
	FX_OK(vfs_fsync(fx.fs, f, false));
	fx_write(&fx, f, 0, 50000, 2);
	log_set_hook(quiet);
	faultdev_plan(dev, .kind = FAULT_ERROR, .ops = FAULT_WRITE);
	cr_assert_eq(vfs_fsync(fx.fs, f, false), -EIO);
	FX_OK(inode_get(fx.fs, ino, &i));
	FX_OK(damage_lost(i));
	inode_put(i);
	log_set_hook(NULL);
	cr_assert_eq(vfs_fsync(fx.fs, f, false), -EIO);
	fx_close(&fx, f);
	fx_remount(&fx);
	f = fx_open(&fx, "a");
	cr_assert_eq(vfs_fsync(fx.fs, f, false), -EIO);
	fx_close(&fx, f);
	finish();
}

Test(iomap_ops, read_error)
{
	struct vfs_file *f;
	char c;

	fx_file(&fx, "a", &f);
	fx_write(&fx, f, 0, 50000, 1);
	FX_OK(vfs_fsync(fx.fs, f, false));
	drop_cache();
	log_set_hook(quiet);
	faultdev_plan(dev, .kind = FAULT_ERROR, .ops = FAULT_READ, .times = FAULT_ALWAYS);
	cr_assert_eq(vfs_pread(fx.fs, f, &c, 1, 100), -EIO);
	cr_assert_eq(vfs_pwrite(fx.fs, f, &c, 1, 100), -EIO);
	faultdev_clear(dev);
	log_set_hook(NULL);
	fx_expect(&fx, f, 0, 50000, 1);
	fx_close(&fx, f);
	finish();
}

/*
 * Every allocation of an ordinary scenario fails once: a clean error each time, and nothing is out
 * of balance.  Where a transaction is half made there is no way back: the file system stops, and
 * the committed state is whole.
 */
Test(iomap_ops, out_of_memory)
{
	uint64_t ok = 0, died = 0;

	log_set_hook(quiet);
	for (uint64_t n = 1; ok < 3 && n < 400; n++) {
		struct vfs_file *f = NULL;
		struct vfs_attr a;
		static char buf[30000];
		int64_t ret;

		drop_cache();
		tl_alloc_fail_nth(n);
		ret = vfs_create(fx.fs, TFS_INO_ROOT, "m", 0644, &fx_root, O_RDWR, &a, &f);
		if (!ret)
			ret = vfs_pwrite(fx.fs, f, buf, sizeof(buf), 0);
		if (ret > 0)
			ret = vfs_fsync(fx.fs, f, false);
		if (!ret)
			ret = vfs_pread(fx.fs, f, buf, sizeof(buf), 0);
		tl_alloc_fail_nth(0);
		cr_assert(ret > 0 || ret == -ENOMEM || ret == -EIO || ret == -EAGAIN,
			  "allocation %llu: %lld", (unsigned long long)n, (long long)ret);
		ok = ret == sizeof(buf) ? ok + 1 : 0;
		if (f) {
			vfs_forget(fx.fs, a.ino, 1);
			fx_close(&fx, f);
		}
		if (atomic_load(&fx.fs->read_only)) {
			/* in the middle of a transaction: nothing of it may reach the device */
			fx_crash_remount(&fx);
			log_set_hook(quiet); /* the checker has taken it off */
			died++;
		}
		ret = vfs_unlink(fx.fs, TFS_INO_ROOT, "m");
		cr_assert(!ret || ret == -ENOENT);
		/* the last to let go of it may have been a completion worker, which leaves the rest
		 * to others */
		iomap_ioend_drain();
		reap_run(fx.fs);
		cr_assert_eq(fx_stat(&fx, "space", "reserved"), 0, "allocation %llu",
			     (unsigned long long)n);
		cr_assert_eq(fx_stat(&fx, "space", "claimed"), 0, "allocation %llu",
			     (unsigned long long)n);
	}
	log_set_hook(NULL);
	cr_assert_eq(ok, 3);
	cr_assert_lt(died, 100);
	finish();
}
