/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the page cache and writeback call: operations of a file's mapping. */
#include "core/block/integrity.h"
#include "core/iomap/iomap.h"
#include "core/pagecache/pagecache.h"
#include "fs/alloc/space.h"
#include "fs/inode/aops.h"
#include "fs/inode/end_ioends.h"
#include "fs/inode/icache.h"
#include "fs/inode/inode.h"
#include "fs/inode/map_blocks.h"
#include "fs/inode/reaper.h"
#include "fs/state/fs.h"

struct iomap_writeback_ops tfs_writeback_ops(struct tfs_fs *fs)
{
	return (struct iomap_writeback_ops){
		.map_blocks = tfs_map_blocks,
		.end_ioends = tfs_end_ioends,
		.redirty = tfs_redirty,
		.keep_dirty_on_error = true,
		.host_fs = fs,
	};
}

static int tfs_writepages(struct address_space *m, struct writeback_control *wbc)
{
	struct tfs_inode *i = m->host;
	struct iomap_writeback_ops *ops = &i->fs->icache->wb_ops;
	struct iomap_writepage_ctx wpc = { .ops = ops,
					   .bs = i->fs->icache->wb_bios,
					   .app = TFS_APP_DATA };

	return iomap_writepages(m, wbc, &wpc, ops);
}

static void tfs_undirty(struct address_space *m, uint64_t nblocks)
{
	struct tfs_inode *i = m->host;

	/* settle_space() gives nothing back any more, either */
	if (!atomic_load(&i->fs->shutdown))
		space_unreserve(i->fs, nblocks);
}

static bool tfs_grab(struct address_space *m)
{
	return inode_tryhold(m->host);
}

static void tfs_drop(struct address_space *m)
{
	struct tfs_inode *i = m->host;
	struct tfs_fs *fs = i->fs;

	inode_put(i);
	reap_kick_async(fs);
}

const struct address_space_ops tfs_aops = {
	.writepages = tfs_writepages,
	.undirty = tfs_undirty,
	.grab = tfs_grab,
	.drop = tfs_drop,
};
