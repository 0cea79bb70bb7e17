/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Preallocating, punching holes, zeroing ranges: each whole per block.
 *
 *      pos                          pos + len
 *   [ d d|0 0 ][ d d d d ][ d d d d ][ 0|d d d ]     punch: the edge blocks are zeroed through
 *     edge        middle      middle    edge         the cache and written like any data; the
 *                                                    middle is unmapped
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include "core/iomap/iomap.h"
#include "core/lib/util.h"
#include "core/pagecache/pagecache.h"
#include "fs/alloc/alloc.h"
#include "fs/alloc/alloc_data.h"
#include "fs/alloc/space.h"
#include "fs/btree/btree.h"
#include "fs/btree/btree_delete.h"
#include "fs/disk/btree_key.h"
#include "fs/inode/append.h"
#include "fs/inode/extent.h"
#include "fs/inode/inode.h"
#include "fs/inode/inode_lock.h"
#include "fs/inode/inode_flush.h"
#include "fs/inode/iomap_ops.h"
#include "fs/inode/truncate.h"
#include "fs/journal/trans.h"
#include "fs/state/error.h"
#include "fs/state/fs.h"
#include "fs/vfs/flags.h"
#include "fs/vfs/vfs.h"
#include "tallyfs/format.h"

/* ---- punching ---- */

static int zero_edges(struct tfs_inode *i, uint64_t pos, uint64_t end, uint64_t mid,
		      uint64_t mid_end)
{
	struct address_space *m = &i->mapping;
	int err = 0;

	if (mid > mid_end)
		return iomap_zero_range(m, pos, end - pos, NULL, &tfs_iomap_ops);
	if (mid > pos)
		err = iomap_zero_range(m, pos, mid - pos, NULL, &tfs_iomap_ops);
	if (!err && end > mid_end)
		err = iomap_zero_range(m, mid_end, end - mid_end, NULL, &tfs_iomap_ops);
	return err;
}

static int remove_inline(struct tfs_trans *t, struct tfs_inode *i)
{
	struct tkey key = TKEY(i->ino, TFS_KEY_INLINE, 0);
	int err = btree_prefault(t, TFS_TREE_FS, &key);

	if (!err)
		err = inode_prefault(t, i->ino);
	if (err)
		return err;
	err = btree_delete(t, TFS_TREE_FS, &key);
	if (err)
		return err == -ENOENT ? 0 : err;
	inode_mapping_changed(t, i);
	return inode_write(t, i);
}

/* Whole blocks. */
static int punch_blocks(struct tfs_inode *i, uint64_t pos, uint64_t end)
{
	unsigned int bits = i->fs->geom.blkbits;
	bool dirty = filemap_range_busy(&i->mapping, pos, end);
	int err = 0;

	/* they may go without ever having been on disk, and with them the size they would have
	 * brought there */
	inode_begin_removal(i);
	truncate_inode_pages_range(&i->mapping, pos, end);
	if (pos == 0)
		err = TRANS_WRITE(t, i->fs, TRANS_CREDITS(i->fs), remove_inline(t, i));
	if (!err)
		err = inode_remove_extents(i, pos >> bits, end >> bits);
	/* what was dirty is lost all the same: not the caller's business alone */
	if (err && dirty)
		mapping_set_error(&i->mapping, err);
	inode_end_removal(i);
	return err;
}

static int punch(struct tfs_inode *i, uint64_t pos, uint64_t len)
{
	struct address_space *m = &i->mapping;
	uint64_t bs = i->fs->geom.block_size, end = pos + len, mid, mid_end;
	uint64_t eof = round_up_to(i_size_read(m), bs);
	int err;

	/* behind EOF only preallocated blocks can be: whole ones are enough */
	mid = round_up_to(pos, bs);
	mid_end = round_down_to(end, bs);
	err = pos < eof ? zero_edges(i, pos, end < eof ? end : eof, mid < eof ? mid : eof,
				     mid_end < eof ? mid_end : eof)
			: 0;
	return err || mid >= mid_end ? err : punch_blocks(i, mid, mid_end);
}

/* ---- preallocating ---- */

/* Is the content of block 0 an item of the tree?  0: it is; -ENOENT. */
static int find_inline(struct tfs_trans *t, struct tfs_inode *i)
{
	struct tkey key = TKEY(i->ino, TFS_KEY_INLINE, 0);
	struct btree_path p = BTREE_PATH_INIT;
	int err = btree_seek(t, TFS_TREE_FS, &key, BTREE_EQ, &p);

	btree_release(&p);
	return err;
}

/* The first hole in [*fblk, end): its length, 0 if there is none. */
static int find_hole(struct tfs_trans *t, struct tfs_inode *i, uint64_t *fblk, uint64_t end,
		     uint64_t *n, uint64_t *goal)
{
	struct extent e;
	int err;

	*n = 0;
	*goal = 0;
	if (*fblk == 0) {
		err = find_inline(t, i);
		if (!err)
			*fblk = 1; /* inline data needs no block, and may not have one beside it */
		else if (err != -ENOENT)
			return err;
	}
	while (*fblk < end) {
		err = extent_seek(t, i->ino, *fblk, &e);
		if (err && err != -ENOENT)
			return err;
		if (err || e.off > *fblk) {
			*n = (err || e.off > end ? end : e.off) - *fblk;
			return 0;
		}
		*goal = e.start + e.len;
		*fblk = extent_end(&e);
	}
	return 0;
}

static int insert_unwritten(struct tfs_trans *t, struct tfs_inode *i, uint64_t fblk, uint64_t start,
			    uint64_t n)
{
	struct extent e = { .off = fblk, .start = start, .len = n, .flags = TFS_EXTENT_UNWRITTEN },
		      near;
	uint64_t stop;
	int err = extent_prefault(t, i->ino, fblk, fblk + n, 1, &stop);

	if (!err)
		err = extent_prefault_blocks(t, start, n, false);
	if (!err)
		err = extent_before(t, i->ino, fblk, &near);
	if (!err || err == -ENOENT)
		err = inode_prefault(t, i->ino);
	if (err)
		return err;
	/* a block that was dirty has been written meanwhile: it has a better one, or needs none */
	err = fblk ? -ENOENT : find_inline(t, i);
	if (err == -ENOENT)
		err = extent_seek(t, i->ino, fblk, &near);
	else if (!err)
		return -EEXIST;
	if (!err && near.off < fblk + n)
		return -EEXIST;
	if (err && err != -ENOENT)
		return err;
	err = alloc_commit(t, start, n);
	if (!err)
		err = extent_insert(t, i, &e);
	return err ? err : inode_write(t, i);
}

/* Blocks for the hole [fblk, fblk + n), or its front: *got. */
static int fill_hole(struct tfs_inode *i, uint64_t fblk, uint64_t n, uint64_t goal, uint64_t *got)
{
	struct tfs_fs *fs = i->fs;
	uint64_t start;
	int err;

	if (n > fs->geom.blocks_per_group)
		n = fs->geom.blocks_per_group;
	err = space_reserve(fs, n, SPACE_NEW);
	if (err)
		return err;
	err = alloc_data(fs, goal, n, &start, got);
	if (err) {
		space_unreserve(fs, n);
		return err;
	}
	space_unreserve(fs, n - *got);
	err = TRANS_WRITE(t, fs, TRANS_CREDITS(fs), insert_unwritten(t, i, fblk, start, *got));
	if (err && !atomic_load(&fs->shutdown))
		alloc_cancel(fs, start, *got, false);
	if (err == -EEXIST) {
		*got = 0; /* look again */
		err = 0;
	}
	return err;
}

static int preallocate(struct tfs_inode *i, uint64_t pos, uint64_t end)
{
	unsigned int bits = i->fs->geom.blkbits;
	uint64_t fblk = pos >> bits, last = div_up(end, i->fs->geom.block_size), n, goal, got;
	int err;

	for (;;) {
		err = TRANS_READ(t, i->fs, find_hole(t, i, &fblk, last, &n, &goal));
		if (err || !n)
			return err;
		err = fill_hole(i, fblk, n, goal, &got);
		if (err)
			return err;
		fblk += got;
	}
}

static int unshare_range(struct tfs_inode *i, uint64_t pos, uint64_t end)
{
	uint64_t bs = i->fs->geom.block_size;

	if (!atomic_load(&i->fs->refs_used))
		return 0;
	pos = round_down_to(pos, bs);
	return iomap_file_unshare(&i->mapping, pos, round_up_to(end, bs) - pos, &tfs_iomap_ops);
}

static int extend_size(struct tfs_inode *i, uint64_t end)
{
	int err = 0;

	/* the kernel may hold back what was appended before */
	if (inode_flags(i) & VFS_FLAG_APPEND)
		err = append_gap(i, i_size_read(&i->mapping), end);
	return err ? err : inode_set_size(i, end);
}

static int fallocate_locked(struct tfs_inode *i, int mode, uint64_t pos, uint64_t len)
{
	uint64_t end = pos + len;
	/* preallocating changes nothing that is there */
	int err = mode & ~FALLOC_FL_KEEP_SIZE ? inode_may_change(i) : inode_may_grow(i);

	if (!err)
		err = inode_finish_truncate(i);

	if (!err && mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) {
		i->gives_back = mode & FALLOC_FL_PUNCH_HOLE;
		err = punch(i, pos, len);
		i->gives_back = false;
	}
	if (!err && !(mode & FALLOC_FL_PUNCH_HOLE))
		err = preallocate(i, pos, end);
	/* space that is shared is not there to be overwritten */
	if (!err && !(mode & FALLOC_FL_PUNCH_HOLE))
		err = unshare_range(i, pos, end);
	if (err)
		return err;
	if (!(mode & FALLOC_FL_KEEP_SIZE) && end > i_size_read(&i->mapping))
		return extend_size(i, end);
	pthread_mutex_lock(&i->attr_lock);
	i->a.mtime = i->a.ctime = tfs_now();
	pthread_mutex_unlock(&i->attr_lock);
	inode_mark_dirty(i);
	return 0;
}

int vfs_fallocate(struct tfs_fs *fs, struct vfs_file *f, int mode, uint64_t pos, uint64_t len)
{
	struct tfs_inode *i = f->inode;
	int op = mode & ~FALLOC_FL_KEEP_SIZE, err;

	if (op && op != FALLOC_FL_PUNCH_HOLE && op != FALLOC_FL_ZERO_RANGE)
		return -EOPNOTSUPP;
	if (op == FALLOC_FL_PUNCH_HOLE && !(mode & FALLOC_FL_KEEP_SIZE))
		return -EOPNOTSUPP;
	if (!inode_is_reg(i))
		return -ENODEV;
	if (!len)
		return -EINVAL;
	if (pos > (uint64_t)TFS_MAX_FILE_SIZE || len > (uint64_t)TFS_MAX_FILE_SIZE - pos)
		return -EFBIG;
	err = tfs_writable(fs);
	if (err)
		return err;
	inode_lock(i);
	err = fallocate_locked(i, mode, pos, len);
	inode_unlock(i);
	return err;
}
