/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Opening and closing a file system: superblock, log, caches of metadata; files come on top
 * (mount.c). */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <xxhash.h>
#include "core/block/bdev.h"
#include "core/block/integrity.h"
#include "core/lib/log.h"
#include "core/lib/util.h"
#include "core/pagecache/pagecache.h"
#include "fs/alloc/alloc.h"
#include "fs/alloc/group_trans.h"
#include "fs/alloc/space.h"
#include "fs/disk/geom.h"
#include "fs/disk/group.h"
#include "fs/disk/log_overlay.h"
#include "fs/journal/buffer.h"
#include "fs/journal/bufcache.h"
#include "fs/journal/checkpoint.h"
#include "fs/journal/journal.h"
#include "fs/journal/journal_thread.h"
#include "fs/journal/recover.h"
#include "fs/journal/trans.h"
#include "fs/state/backing.h"
#include "fs/state/fs.h"
#include "fs/vfs/admit.h"
#include "fs/vfs/fs_open.h"
#include "tallyfs/format.h"

#define DEFAULT_CACHE (64ull << 20) /* bytes */
#define MIN_META_CACHE (4ull << 20)

/* ---- opening ---- */

struct groups {
	struct tfs_fs *fs;
	const struct tfs_recovery *r;
	void *header;
};

/* The superblock alone could claim the whole host's space with a number: its header, in the log or
 * at home, says it too. */
static bool group_is_there(void *arg, uint64_t group)
{
	struct groups *g = arg;
	const struct tfs_geom *geom = &g->fs->geom;
	uint64_t block = tfs_group_header_block(geom, group);
	const void *h;
	uint32_t bytes;
	char why[128];

	h = g->r->overlay ? overlay_lookup(g->r->overlay, block, &bytes) : NULL;
	if (!h && !bdev_read(g->fs->bdev, g->header, buf_kind_bytes(geom, BUF_GROUP),
			     block << geom->blkbits))
		h = g->header;
	return h &&
	       !group_check_header(geom, le64_get(g->fs->super.seed), group, h, why, sizeof(why));
}

/* What the journal and every commit write to has its space before anything relies on it. */
static int back_fixed(struct tfs_fs *fs, const struct tfs_recovery *r, char *why, size_t why_len)
{
	struct groups groups = { fs, r,
				 tl_alloc_aligned(4096, buf_kind_bytes(&fs->geom, BUF_GROUP)) };
	struct bdev_usage u;
	int err = -ENOMEM;

	snprintf(why, why_len, "out of memory");
	if (groups.header)
		err = backing_fixed(fs->bdev, &fs->geom, le64_get(fs->super.groups_init),
				    group_is_there, &groups, why, why_len);
	tl_free(groups.header);
	if (!err && fs->bdev->cow)
		log_warn("%s: lies on btrfs, which copies on write: should that get full, even the "
			 "journal may not be "
			 "written any more; make the image anew in an empty file after \"chattr "
			 "+C\" (mkfs does that "
			 "for "
			 "files that it creates)",
			 fs->bdev->name);
	if (err != -EOPNOTSUPP)
		return err;
	if (bdev_usage(fs->bdev, &u) || u.taken < fs->geom.total_blocks << fs->geom.blkbits)
		log_warn("%s: has holes, and the file system that it lies on can't reserve space "
			 "for them: should that "
			 "get full, what was written here may be lost",
			 fs->bdev->name);
	return 0;
}

static int recover(struct tfs_fs *fs, struct tfs_recovery *r, char *why, size_t why_len)
{
	int err;

	if (fs->opts.ro && fs->opts.norecovery)
		return 0;
	if (r->corrupt && (!fs->opts.ro || fs->opts.whole_journal || r->base_unknown)) {
		snprintf(why, why_len,
			 "the journal is damaged: %s; -o ro,norecovery shows the state before it",
			 r->what);
		return -EUCLEAN;
	}
	if (r->corrupt)
		log_warn("%s: the journal is damaged: %s", fs->bdev->name, r->what);
	if (r->header_damaged[0] || r->header_damaged[1])
		log_warn("%s: copy %d of the journal's header is damaged", fs->bdev->name,
			 r->header_damaged[0] ? 0 : 1);
	if (r->unreadable)
		log_warn("%s: %llu blocks of the journal can't be read; nothing that counts was in "
			 "them",
			 fs->bdev->name, (unsigned long long)r->unreadable);
	if (r->pending)
		log_info("%s: transactions %llu to %llu from the journal %s", fs->bdev->name,
			 (unsigned long long)r->first_txid, (unsigned long long)r->last_txid,
			 fs->opts.ro ? "read into memory" : "replayed");
	if (fs->opts.ro) {
		fs->overlay = r->overlay;
		r->overlay = NULL;
		return 0;
	}
	err = back_fixed(fs, r, why, why_len);
	if (err)
		return err;
	err = journal_recover_apply(fs->bdev, &fs->super, &fs->geom, r);
	if (err)
		snprintf(why, why_len, "the journal could not be replayed: %s%s", strerror(-err),
			 err == -ENOSPC && fs->bdev->thin
				 ? " on the file system that the image lies on"
				 : "");
	return err;
}

/* The running state, from the superblock. */
static void set_state(struct tfs_fs *fs)
{
	const struct tfs_super *s = &fs->super;
	int i;

	fs->seed = le64_get(s->seed);
	memcpy(fs->hash_key, s->hash_key, sizeof(fs->hash_key));
	fs->cnt = (struct tfs_counters){
		.free_blocks = le64_get(s->free_blocks),
		.free_slots = le64_get(s->free_slots),
		.data_blocks = le64_get(s->data_blocks),
		.node_blocks = le64_get(s->node_blocks),
		.nr_extents = le64_get(s->nr_extents),
		.nr_inodes = le64_get(s->nr_inodes),
		.next_ino = le64_get(s->next_ino),
		.groups_init = le64_get(s->groups_init),
		.shared_extents = le64_get(s->shared_extents),
	};
	for (i = 0; i < TFS_NR_TREES; i++) {
		fs->roots[i].addr = le64_get(s->roots[i].addr);
		fs->roots[i].level = le32_get(s->roots[i].level);
	}
	atomic_store(&fs->refs_used, fs->roots[TFS_TREE_REFS].addr != 0);
	atomic_store(&fs->mismatches, le64_get(s->mismatches));
	atomic_store(&fs->inconsistent, (le32_get(s->state) & TFS_STATE_ERRORS) != 0);
	fs->integrity = (struct blk_integrity){
		.profile =
			le32_get(s->guard) == TFS_GUARD_CRC32 ? &profile_crc32 : &profile_xxh3_64,
		.interval_exp = (uint8_t)fs->geom.blkbits,
		.flags = BLK_INTEGRITY_GENERATE | (fs->opts.no_verify ? 0 : BLK_INTEGRITY_VERIFY),
		.key = fs->seed,
		.app = TFS_APP_DATA,
	};
}

static int setup(struct tfs_fs *fs, const struct tfs_recovery *r)
{
	static const struct journal_hooks hooks = { .seal = group_seal, .release = alloc_release };
	uint64_t cache = fs->opts.cache_size ? fs->opts.cache_size : DEFAULT_CACHE;
	int err;

	err = bufcache_create(fs, max_t(uint64_t, cache / 8 * 3, MIN_META_CACHE));
	if (!err && !fs->opts.ro) {
		/* Of no weight by themselves: they go along with the first change. */
		fs->super.mount_time = le64_of((uint64_t)time(NULL));
		fs->super.mount_count = le64_of(le64_get(fs->super.mount_count) + 1);
		err = journal_create(fs, r, &hooks);
	}
	if (!err)
		err = alloc_init(fs);
	return err;
}

static void fs_lock_init(struct tfs_fs *fs)
{
	pthread_rwlockattr_t attr;

	/* Readers come all the time: with the default they would keep a commit waiting for ever. */
	pthread_rwlockattr_init(&attr);
	pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&fs->meta_lock, &attr);
	pthread_rwlockattr_destroy(&attr);
}

static void fs_free(struct tfs_fs *fs)
{
	if (fs->alloc)
		alloc_exit(fs);
	journal_destroy(fs);
	bufcache_destroy(fs);
	overlay_free(fs->overlay);
	if (fs->bdev->integrity == &fs->integrity)
		fs->bdev->integrity = NULL;
	pthread_mutex_destroy(&fs->told.lock);
	pthread_rwlock_destroy(&fs->meta_lock);
	tl_free(fs);
}

int tfs_open(struct bdev *b, const struct tfs_mount_opts *opts, struct tfs_fs **out, char *why,
	     size_t why_len)
{
	struct tfs_recovery r = { .next_txid = 1 };
	struct tfs_fs *fs;
	int err;

	snprintf(why, why_len, "out of memory");
	fs = tl_zalloc(sizeof(*fs));
	if (!fs)
		return -ENOMEM;
	fs->bdev = b;
	fs->opts = *opts;
	atomic_init(&fs->read_only, opts->ro);
	pthread_mutex_init(&fs->told.lock, NULL);
	fs_lock_init(fs);
	err = tfs_admit(b, (int)opts->super - 1,
			opts->ro ? opts->norecovery ? ADMIT_NO_LOG : 0 : ADMIT_WRITE, &fs->super,
			&fs->geom, &r, why, why_len);
	if (!err)
		err = recover(fs, &r, why, why_len);
	if (!err) {
		set_state(fs);
		if (r.copy_lost)
			atomic_store(&fs->inconsistent, true);
		snprintf(why, why_len, "out of memory");
		err = setup(fs, &r);
	}
	journal_recovery_free(&r);
	if (err) {
		fs_free(fs);
		return err;
	}
	b->integrity = &fs->integrity;
	space_back_pool(fs);
	why[0] = '\0';
	*out = fs;
	return 0;
}

int tfs_start(struct tfs_fs *fs)
{
	int err;

	if (fs->opts.no_threads)
		return 0;
	err = bufcache_start(fs);
	if (!err && fs->journal)
		err = journal_thread_start(fs);
	return err;
}

/* ---- closing ---- */

static void stop_threads(struct tfs_fs *fs)
{
	bufcache_stop(fs);
	journal_thread_stop(fs);
}

int tfs_close(struct tfs_fs *fs)
{
	int err;

	stop_threads(fs);
	err = journal_checkpoint(fs);
	if (fs->journal && atomic_load(&fs->shutdown))
		journal_mark_broken(fs->journal);
	fs_free(fs);
	return err;
}

void tfs_close_nosave(struct tfs_fs *fs)
{
	stop_threads(fs);
	fs_free(fs);
}
