/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What was written to a file, or to all of them, is on the device: fsync(2), sync(2), close(2). */
#include <errno.h>
#include <fcntl.h>
#include "core/iomap/iomap.h"
#include "core/pagecache/pagecache.h"
#include "fs/inode/damage.h"
#include "fs/inode/inode.h"
#include "fs/inode/inode_flush.h"
#include "fs/journal/journal.h"
#include "fs/state/fs.h"
#include "fs/vfs/vfs.h"
#include "tallyfs/format.h"

int vfs_flush(struct tfs_fs *fs, struct vfs_file *f)
{
	(void)fs;
	if (!inode_is_reg(f->inode) || (f->flags & O_ACCMODE) == O_RDONLY)
		return 0;
	return mapping_check_and_advance_error(&f->inode->mapping, &f->wb_err);
}

/* Data of the file that could not be kept (docs/DESIGN.md, rule 5): said by every fsync. */
static bool has_lost(struct tfs_inode *i)
{
	bool lost;

	pthread_mutex_lock(&i->attr_lock);
	lost = i->a.flags & TFS_INODE_LOST;
	pthread_mutex_unlock(&i->attr_lock);
	return lost;
}

int vfs_fsync(struct tfs_fs *fs, struct vfs_file *f, bool datasync)
{
	struct tfs_inode *i = f->inode;
	uint64_t txid, size = 0;
	int err = 0, err2;

	if (inode_is_reg(i)) {
		/* first the size, as in inode_settle() */
		size = i_size_read(&i->mapping);
		err = filemap_write_and_wait_range(&i->mapping, 0, UINT64_MAX);
		err2 = mapping_check_and_advance_error(&i->mapping, &f->wb_err);
		err = err ? err : err2;
		if (has_lost(i))
			err = err ? err : -EIO;
	}
	if (!err && !fs->opts.ro)
		err = inode_flush_written(i, datasync, size);
	txid = datasync ? atomic_load(&i->data_txid) : atomic_load(&i->txid);
	if (!err)
		err = atomic_load(&fs->shutdown);
	if (!err && txid > journal_durable_txid(fs))
		err = journal_commit(fs, txid);
	return err;
}

int vfs_sync(struct tfs_fs *fs)
{
	int err, err2;

	if (fs->opts.ro)
		return 0;
	damage_run(fs);
	err = pagecache_sync(fs->pagecache, true);
	err2 = icache_flush(fs);
	err = err ? err : err2;
	err2 = journal_commit_all(fs);
	return err ? err : err2;
}

int vfs_fsyncdir(struct tfs_fs *fs, uint64_t dir)
{
	if (fs->opts.ro)
		return 0;
	/* over FUSE this is the only way to ask for all of it */
	return dir == TFS_INO_ROOT ? vfs_sync(fs) : journal_commit_all(fs);
}
