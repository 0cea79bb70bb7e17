/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What df shows, and every number there is, for `tallyctl status`. */
#include <sys/statvfs.h>
#include "core/block/bdev.h"
#include "core/block/integrity.h"
#include "core/lib/hist.h"
#include "core/pagecache/pagecache.h"
#include "fs/alloc/space.h"
#include "fs/inode/damage.h"
#include "fs/inode/icache.h"
#include "fs/inode/inode.h"
#include "fs/journal/bufcache.h"
#include "fs/journal/journal.h"
#include "fs/journal/trans.h"
#include "fs/state/fs.h"
#include "fs/vfs/vfs.h"
#include "tallyfs/format.h"

struct out {
	vfs_stat_fn *fn;
	void *arg;
	const char *group;
};

static void say(const struct out *o, const char *name, uint64_t value)
{
	o->fn(o->arg, o->group, name, value);
}

static void cache_stats(struct tfs_fs *fs, struct out *o)
{
	struct pagecache_stats s;

	pagecache_get_stats(fs->pagecache, &s);
	o->group = "cache";
	say(o, "folios", s.folios);
	say(o, "bytes", s.bytes);
	say(o, "limit_bytes", fs->opts.cache_size);
	say(o, "dirty_bytes", s.dirty_bytes);
	say(o, "dirty_limit_bytes", fs->opts.dirty_size);
	say(o, "writeback_bytes", s.writeback_bytes);
	say(o, "read_hits", s.read_hits);
	say(o, "read_misses", s.read_misses);
	say(o, "reclaimed_folios", s.reclaimed_folios);
	say(o, "throttled", s.throttled);
	say(o, "ioends_built", s.ioends_built);
	say(o, "ioends_merged", s.ioends_merged);
	say(o, "direct_read_bytes", s.direct_read_bytes);
	say(o, "direct_write_bytes", s.direct_write_bytes);
}

static void space_stats(struct tfs_fs *fs, struct out *o)
{
	struct tfs_space_stats s;

	space_get_stats(fs, &s);
	o->group = "space";
	say(o, "total_blocks", fs->geom.total_blocks);
	say(o, "free_blocks", s.free_blocks);
	say(o, "claimed", s.claimed);
	say(o, "reserved", s.reserved);
	say(o, "pending_free", s.pending_free);
	say(o, "hidden_pool", s.hidden_pool);
	say(o, "enospc_commits", s.enospc_commits);
}

static void journal_stats(struct tfs_fs *fs, struct out *o)
{
	struct tfs_journal_stats s;

	if (!fs->journal)
		return;
	journal_get_stats(fs, &s);
	o->group = "journal";
	say(o, "running_txid", s.running_txid);
	say(o, "durable_txid", s.durable_txid);
	say(o, "commits", s.commits);
	say(o, "checkpoints", s.checkpoints);
	say(o, "log_bytes", s.log_bytes);
	say(o, "log_used", s.log_used);
	say(o, "log_size", s.log_size);
	say(o, "images", s.images);
	say(o, "ranges", s.ranges);
	say(o, "revokes", s.revokes);
}

static void buffer_stats(struct tfs_fs *fs, struct out *o)
{
	struct tfs_bufcache_stats s;
	struct tfs_journal_stats j;

	bufcache_get_stats(fs, &s);
	journal_get_stats(fs, &j);
	o->group = "buffers";
	say(o, "buffers", s.buffers);
	say(o, "bytes", s.bytes);
	say(o, "dirty_bytes", j.pinned_bytes);
	say(o, "hits", s.hits);
	say(o, "misses", s.misses);
	say(o, "evicted", s.evicted);
	say(o, "sync_reads", s.sync_reads);
}

static void integrity_stats_out(struct tfs_fs *fs, struct out *o)
{
	struct integrity_stats s;
	uint64_t recorded, dropped;

	integrity_get_stats(&s);
	damage_get_stats(fs, &recorded, &dropped);
	o->group = "integrity";
	say(o, "generated", s.generated);
	say(o, "verified", s.verified);
	/* seen by this process; those that a second look put right are among them */
	say(o, "failed_verifications", s.mismatches);
	say(o, "mismatches", atomic_load(&fs->mismatches));
	say(o, "mismatches_since_mount", recorded);
	say(o, "mismatches_not_listed", dropped);
}

static void device_stats(struct tfs_fs *fs, struct out *o)
{
	const struct bdev_stats *s = &fs->bdev->stats;

	o->group = "device";
	say(o, "reads", atomic_load(&s->reads));
	say(o, "read_bytes", atomic_load(&s->read_bytes));
	say(o, "writes", atomic_load(&s->writes));
	say(o, "write_bytes", atomic_load(&s->write_bytes));
	say(o, "flushes", atomic_load(&s->flushes));
	say(o, "discards", atomic_load(&s->discards));
	say(o, "errors", atomic_load(&s->errors));
}

static void tree_stats(struct tfs_fs *fs, struct out *o)
{
	struct tfs_counters c;
	struct tfs_trans t = { 0 };
	int err = 0;

	do {
		trans_read_begin(&t, fs);
		c = fs->cnt;
	} while (trans_again(&t, &err));
	o->group = "tree";
	say(o, "inodes", c.nr_inodes);
	say(o, "extents", c.nr_extents);
	say(o, "shared_extents", c.shared_extents);
	say(o, "data_blocks", c.data_blocks);
	say(o, "node_blocks", c.node_blocks);
	say(o, "groups_initialised", c.groups_init);
	say(o, "groups", fs->geom.nr_groups);
}

static void inode_stats(struct tfs_fs *fs, struct out *o)
{
	struct tfs_icache *ic = fs->icache;
	uint64_t n, lookups, evicted, reaped;

	pthread_mutex_lock(&ic->lock);
	n = ic->nr_inodes;
	lookups = ic->lookups.used;
	evicted = ic->evicted;
	reaped = ic->reaped;
	pthread_mutex_unlock(&ic->lock);
	o->group = "inodes";
	say(o, "cached", n);
	say(o, "limit", ic->limit);
	say(o, "looked_up", lookups);
	say(o, "evicted", evicted);
	say(o, "reaped", reaped);
}

void vfs_stats(struct tfs_fs *fs, vfs_stat_fn *fn, void *arg)
{
	struct out o = { .fn = fn, .arg = arg };

	tree_stats(fs, &o);
	space_stats(fs, &o);
	cache_stats(fs, &o);
	inode_stats(fs, &o);
	buffer_stats(fs, &o);
	journal_stats(fs, &o);
	integrity_stats_out(fs, &o);
	device_stats(fs, &o);
	o.group = "state";
	say(&o, "read_only", atomic_load(&fs->read_only));
	say(&o, "error", (uint64_t)-atomic_load(&fs->shutdown));
	say(&o, "verify_off", fs->opts.no_verify);
}

void vfs_latencies(struct tfs_fs *fs, const char *group, vfs_stat_fn *fn, void *arg)
{
	const struct bdev_stats *s = &fs->bdev->stats;

	if (fs->journal)
		hist_export(journal_commit_time(fs), group, "journal_commit", fn, arg);
	hist_export(&s->read_time, group, "device_read", fn, arg);
	hist_export(&s->write_time, group, "device_write", fn, arg);
	hist_export(&s->flush_time, group, "device_flush", fn, arg);
	hist_export(&s->discard_time, group, "device_discard", fn, arg);
}

int vfs_statfs(struct tfs_fs *fs, struct statvfs *st)
{
	uint64_t avail, free_blocks, total, inodes;
	struct tfs_trans t = { 0 };
	int err = 0;

	space_statfs(fs, &avail, &free_blocks, &total);
	do {
		trans_read_begin(&t, fs);
		inodes = fs->cnt.nr_inodes;
	} while (trans_again(&t, &err));
	*st = (struct statvfs){
		.f_bsize = fs->geom.block_size,
		.f_frsize = fs->geom.block_size,
		.f_blocks = total,
		.f_bfree = free_blocks,
		.f_bavail = avail,
		/* inodes are made as needed: as many as there is room for */
		.f_files = inodes + avail,
		.f_ffree = avail,
		.f_favail = avail,
		.f_namemax = TFS_NAME_MAX,
	};
	return 0;
}
