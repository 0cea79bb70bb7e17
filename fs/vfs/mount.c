/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Mounting and unmounting: fs/disk/super.c with caches, threads and the reaper on top. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "core/block/bdev.h"
#include "core/block/bio.h"
#include "core/block/integrity.h"
#include "core/iomap/iomap.h"
#include "core/lib/memlimit.h"
#include "core/pagecache/pagecache.h"
#include "fs/inode/aops.h"
#include "fs/inode/damage.h"
#include "fs/inode/icache.h"
#include "fs/inode/iget.h"
#include "fs/inode/inode.h"
#include "fs/inode/inode_flush.h"
#include "fs/inode/lookup_count.h"
#include "fs/inode/reap.h"
#include "fs/inode/reaper.h"
#include "fs/state/fs.h"
#include "fs/vfs/fs_open.h"
#include "fs/vfs/vfs.h"
#include "tallyfs/format.h"

#define COMMIT_DEFAULT 5u /* seconds */

static int create_pagecache(struct tfs_fs *fs)
{
	struct pagecache_config cfg = { .cache_bytes = fs->opts.cache_size };

	/* no thread yet: without one nobody can be made to wait for it either */
	fs->pagecache = pagecache_create(&cfg);
	return fs->pagecache ? 0 : -ENOMEM;
}

static void free_caches(struct tfs_fs *fs)
{
	/* completions that nobody waits for any more still hold folios and inodes */
	iomap_ioend_drain();
	icache_destroy(fs);
	blk_flush_integrity(); /* likewise reads ahead */
	damage_destroy(fs);
	pagecache_destroy(fs->pagecache);
	fs->pagecache = NULL;
}

int vfs_start_threads(struct tfs_fs *fs)
{
	int err = blk_init((unsigned int)sysconf(_SC_NPROCESSORS_ONLN));

	if (err)
		return err;
	err = iomap_ioend_init();
	if (err) {
		blk_exit();
		return err;
	}
	fs->icache->runtime = true;
	fs->opts.no_threads = false;
	err = pagecache_start(fs->pagecache, fs->opts.dirty_size, fs->opts.commit_interval * 1000);
	if (!err)
		err = reaper_start(fs);
	if (!err)
		err = damage_start(fs);
	if (!err)
		err = tfs_start(fs);
	return err;
}

static int create_icache(struct tfs_fs *fs)
{
	struct iomap_writeback_ops wb_ops = tfs_writeback_ops(fs);

	return icache_create(fs, &tfs_aops, &wb_ops);
}

int vfs_mount(struct bdev *b, const struct tfs_mount_opts *opts, struct tfs_fs **out, char *why,
	      size_t why_len)
{
	struct tfs_mount_opts o = *opts;
	struct tfs_inode *root;
	struct tfs_fs *fs;
	int err;

	if (!o.cache_size)
		o.cache_size = memlimit_default_cache();
	if (!o.dirty_size)
		o.dirty_size = o.cache_size / 4;
	if (!o.commit_interval)
		o.commit_interval = COMMIT_DEFAULT;
	o.whole_journal = true;
	err = tfs_open(b, &o, &fs, why, why_len);
	if (err)
		return err;
	err = create_pagecache(fs);
	if (!err)
		err = create_icache(fs);
	if (!err)
		err = damage_create(fs);
	if (!err && !o.ro)
		err = reap_mount(fs);
	if (!err) {
		err = inode_get(fs, TFS_INO_ROOT, &root);
		if (!err) {
			err = inode_is_dir(root) ? 0 : -EUCLEAN;
			inode_put(root);
		}
		if (err == -ESTALE)
			err = -EUCLEAN;
	}
	if (!err && !o.no_threads)
		err = vfs_start_threads(fs);
	if (err) {
		snprintf(why, why_len, "%s",
			 err == -EUCLEAN ? "the file system is damaged; run fsck.tallyfs"
					 : strerror(-err));
		vfs_crash(fs);
		return err;
	}
	*out = fs;
	return 0;
}

static void stop_threads(struct tfs_fs *fs)
{
	pagecache_stop(fs->pagecache);
	reaper_stop(fs);
	damage_stop(fs);
}

/* The block layer as it was before vfs_start_threads. */
static void runtime_exit(bool runtime)
{
	if (!runtime)
		return;
	iomap_ioend_exit();
	blk_exit();
}

/* Data that no attempt could write is about to be dropped: say so where fsync and the next mount
 * will find it. */
static int report_lost(struct tfs_fs *fs)
{
	struct tfs_inode *i = NULL;
	int err = 0;

	while ((i = icache_next(fs, i))) {
		if (!inode_is_reg(i) || !atomic_load(&i->mapping.nr_dirty_blocks))
			continue;
		err = -EIO;
		damage_lost(i);
	}
	return err;
}

/* What memory holds and the tree does not: bytes of data, and inodes whose items lag behind. */
static uint64_t unwritten(struct tfs_fs *fs)
{
	struct pagecache_stats st;

	pagecache_get_stats(fs->pagecache, &st);
	return st.dirty_bytes + st.writeback_bytes + icache_nr_dirty(fs);
}

/* in a row that have got nowhere: what fails now and then is no reason to lose anything */
#define FLUSH_TRIES 3

/* All that can be written is.  0, or why the rest could not: never 0 with anything left. */
static int flush_all(struct tfs_fs *fs)
{
	uint64_t least = UINT64_MAX, left;
	unsigned int tries = 0;
	int err, err2;

	do {
		err = pagecache_sync(fs->pagecache, true);
		err2 = icache_flush(fs);
		err = err ? err : err2;
		/* who completed the last of it may not have counted it yet, nor let its inode go */
		iomap_ioend_drain();
		left = unwritten(fs);
		tries = left < least ? 0 : tries + 1;
		least = left < least ? left : least;
	} while (left && tries < FLUSH_TRIES && !atomic_load(&fs->shutdown));
	return !left ? 0 : err ? err : -EIO;
}

int vfs_unmount(struct tfs_fs *fs)
{
	bool runtime = fs->icache->runtime;
	int err = 0, err2;

	stop_threads(fs);
	if (!fs->opts.ro) {
		damage_run(fs);
		lookup_forget_all(fs);
		iomap_ioend_drain(); /* what is being written of the dead holds them */
		reap_run(fs);
		err = flush_all(fs);
		err2 = report_lost(fs);
		err = err ? err : err2;
	}
	free_caches(fs);
	err2 = tfs_close(fs);
	runtime_exit(runtime);
	return err ? err : err2;
}

void vfs_crash(struct tfs_fs *fs)
{
	bool runtime = fs->icache && fs->icache->runtime;
	int none = 0;

	/* sections and writeback fail from now on */
	atomic_compare_exchange_strong(&fs->shutdown, &none, -EIO);
	atomic_store(&fs->read_only, true);
	if (fs->icache && fs->damage)
		stop_threads(fs);
	free_caches(fs);
	tfs_close_nosave(fs);
	runtime_exit(runtime);
}
