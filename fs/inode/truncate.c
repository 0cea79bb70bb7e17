/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Changing the size of a file.
 *
 * Invariant, in every committed state: in the block that holds EOF, the bytes
 * behind EOF are zero on disk.  Hence growing is just a new size: what lies
 * between is a hole or zeros, and data below it that is still dirty appears block by block, as
 * with any write.
 *
 * Shrinking into the middle of a block has to rewrite that block with a zeroed tail; the
 * copy, the new size and the removal of what lies behind must commit together:
 *
 *        new size           old size            1. wait for writeback, drop the cache behind
 *           |                  |                2. i_size and trunc_pending, under the folio's lock
 *   [ d d d|0 0 ][ d d d d ][ d d ]             3. zero the tail in the cache: the block is dirty
 *     rewritten     removed                     4. write it back; the completion that maps the copy
 *                                                  also applies the truncation (truncate_apply)
 *
 * From 2 on no copy of the block without a zeroed tail is taken any more, and none
 * with a zeroed tail commits without the truncation (wb_eof.h says which are
 * which).  When nothing needs rewriting, 4 is a section of its own.
 *
 * More than TRUNC_EXTENTS extents behind the new size: the first transaction leaves an
 * intent, and further ones (or the next mount) remove the rest; the file's size hides it.
 */
#include <errno.h>
#include "core/iomap/iomap.h"
#include "core/lib/util.h"
#include "core/pagecache/pagecache.h"
#include "fs/btree/btree.h"
#include "fs/btree/btree_delete.h"
#include "fs/disk/btree_key.h"
#include "fs/inode/extent.h"
#include "fs/inode/inode.h"
#include "fs/inode/inode_flush.h"
#include "fs/inode/iomap_ops.h"
#include "fs/inode/truncate.h"
#include "fs/journal/trans.h"
#include "fs/names/orphan.h"
#include "fs/state/fs.h"
#include "tallyfs/format.h"

static uint64_t first_gone(const struct tfs_inode *i, uint64_t size)
{
	return div_up(size, i->fs->geom.block_size);
}

uint64_t truncate_credits(struct tfs_fs *fs)
{
	return extent_remove_credits(fs, TRUNC_EXTENTS) + 3 * (uint64_t)fs->geom.node_size;
}

int truncate_prefault(struct tfs_trans *t, struct tfs_inode *i, uint64_t size)
{
	struct tkey inl = TKEY(i->ino, TFS_KEY_INLINE, 0);
	struct tkey intent = TKEY(TFS_INO_META, TFS_KEY_INTENT, i->ino);
	uint64_t stop;
	int err = extent_prefault(t, i->ino, first_gone(i, size), UINT64_MAX, TRUNC_EXTENTS, &stop);

	if (!err && !size)
		err = btree_prefault(t, TFS_TREE_FS, &inl);
	if (!err && stop != UINT64_MAX)
		err = btree_prefault(t, TFS_TREE_FS, &intent);
	if (!err)
		err = inode_prefault(t, i->ino);
	return err;
}

int truncate_apply(struct tfs_trans *t, struct tfs_inode *i, uint64_t size)
{
	struct tkey inl = TKEY(i->ino, TFS_KEY_INLINE, 0);
	uint64_t from = first_gone(i, size), stop;
	int err = extent_prefault(t, i->ino, from, UINT64_MAX, TRUNC_EXTENTS, &stop);

	if (err)
		return err;
	err = extent_remove(t, i, from, stop, true);
	if (!err && !size) {
		err = btree_delete(t, TFS_TREE_FS, &inl);
		if (err == -ENOENT)
			err = 0;
	}
	if (!err && stop != UINT64_MAX) {
		struct tfs_intent_item it = { .op = le32_of(TFS_INTENT_TRUNCATE),
					      .arg = le64_of(from) };

		err = intent_set(t, i->ino, &it);
		atomic_store(&i->intent, true);
	}
	if (err)
		return err;
	i->d_size = size;
	atomic_store(&i->trunc_pending, false);
	inode_mapping_changed(t, i);
	return inode_write(t, i);
}

static int remove_some(struct tfs_trans *t, struct tfs_inode *i, uint64_t *from, uint64_t to)
{
	uint64_t stop;
	int err = extent_prefault(t, i->ino, *from, to, TRUNC_EXTENTS, &stop);

	if (!err)
		err = inode_prefault(t, i->ino);
	if (!err)
		err = extent_remove(t, i, *from, stop, true);
	if (!err)
		err = inode_write(t, i);
	if (!err)
		*from = stop;
	return err;
}

int inode_remove_extents(struct tfs_inode *i, uint64_t from, uint64_t to)
{
	struct tfs_trans t = { 0 };
	int err = 0;

	while (!err && from < to) {
		uint64_t next = from;

		do {
			next = from;
			err = trans_begin(&t, i->fs, truncate_credits(i->fs));
			if (!err)
				err = remove_some(&t, i, &next, to);
		} while (trans_again(&t, &err));
		from = next;
	}
	return err;
}

static int drop_intent(struct tfs_trans *t, struct tfs_inode *i)
{
	struct tkey key = TKEY(TFS_INO_META, TFS_KEY_INTENT, i->ino);
	int err = btree_prefault(t, TFS_TREE_FS, &key);

	if (!err)
		err = intent_remove(t, i->ino);
	return err == -ENOENT ? 0 : err;
}

int inode_finish_intent(struct tfs_inode *i, uint64_t from)
{
	int err = inode_remove_extents(i, from, UINT64_MAX);

	if (err)
		return err;
	err = TRANS_WRITE(t, i->fs, TRANS_CREDITS(i->fs), drop_intent(t, i));
	if (!err)
		atomic_store(&i->intent, false);
	return err;
}

/* The truncation as a section of its own: no block needs rewriting. */
static int truncate_section(struct tfs_inode *i, uint64_t size)
{
	struct tfs_trans t = { 0 };
	int err;

	do {
		err = trans_begin(&t, i->fs, truncate_credits(i->fs) + TRANS_CREDITS(i->fs));
		if (!err)
			err = truncate_prefault(&t, i, size);
		/* the flusher may have been quicker with the EOF block */
		if (!err && atomic_load(&i->trunc_pending))
			err = truncate_apply(&t, i, size);
	} while (trans_again(&t, &err));
	return err;
}

int inode_finish_truncate(struct tfs_inode *i)
{
	struct address_space *m = &i->mapping;
	uint64_t bs = i->fs->geom.block_size, from = round_down_to(i->trunc_size, bs);
	int err = 0;

	if (atomic_load(&i->trunc_pending)) {
		/* an attempt that failed may have left what was behind in memory, as good as new */
		truncate_inode_pages(m, round_up_to(i->trunc_size, bs));
		/* a copy of the EOF block with its tail zeroed goes first, if there is one to
		 * write */
		if (filemap_range_busy(m, from, from + bs))
			err = filemap_write_and_wait_range(m, from, from + bs);
		if (!err && atomic_load(&i->trunc_pending))
			err = truncate_section(i, i->trunc_size);
	}
	/* else it stays under way: who syncs comes here, or fails */
	if (!err)
		inode_end_removal(i);
	if (!err && atomic_load(&i->intent))
		err = inode_finish_intent(i, first_gone(i, i->trunc_size));
	return err;
}

/* The block that will hold EOF is in memory and good: from here on the truncation fails only with
 * the file system. */
static int read_eof_block(struct tfs_inode *i, uint64_t size)
{
	struct iomap_read_result res = { 0 };
	int err;

	if (!(size & (i->fs->geom.block_size - 1)))
		return 0;
	err = iomap_file_buffered_read(&i->mapping, size, 1, 0, &tfs_iomap_ops, &res);
	if (!err)
		iomap_read_result_release(&res);
	return err;
}

/* The new size and the mark, not while a copy of the EOF block is being taken. */
static void set_shrunk_size(struct tfs_inode *i, uint64_t size)
{
	struct address_space *m = &i->mapping;
	struct folio *f = filemap_lock_folio(m, size >> m->folio_shift);

	i->trunc_size = size;
	i_size_write(m, size);
	atomic_store(&i->trunc_pending, true);
	if (f) {
		folio_unlock(f);
		folio_put(f);
	}
}

/*
 * The tail could not be zeroed.  If the EOF block is clean, nothing has changed and the file gets
 * its size @old back. If it is dirty, writing it back zeroes the tail as well, in the cache too;
 * and the flusher may have done so already, and with that truncated the file: then there is no way
 * back, and none is needed.
 */
static bool take_back_size(struct tfs_inode *i, uint64_t size, uint64_t old)
{
	struct address_space *m = &i->mapping;
	uint64_t from = round_down_to(size, i->fs->geom.block_size);
	struct folio *f = filemap_lock_folio(m, size >> m->folio_shift);
	bool back;

	if (f)
		folio_wait_writeback(f);
	back = atomic_load(&i->trunc_pending) &&
	       !filemap_range_busy(m, from, from + i->fs->geom.block_size);
	if (back) {
		atomic_store(&i->trunc_pending, false);
		i_size_write(m, old);
	}
	if (f) {
		folio_unlock(f);
		folio_put(f);
	}
	return back;
}

static int shrink_now(struct tfs_inode *i, uint64_t size)
{
	struct address_space *m = &i->mapping;
	uint64_t bs = i->fs->geom.block_size, old = i_size_read(m);
	int err;

	set_shrunk_size(i, size);
	i->gives_back = true;
	err = iomap_truncate_page(m, size, NULL, &tfs_iomap_ops);
	i->gives_back = false;
	if (err && take_back_size(i, size, old)) {
		inode_end_removal(i);
		return err;
	}
	truncate_inode_pages(m, round_up_to(size, bs));
	return inode_finish_truncate(i);
}

static int shrink(struct tfs_inode *i, uint64_t size)
{
	int err = read_eof_block(i, size);

	if (err)
		return err;
	inode_begin_removal(i);
	return shrink_now(i, size);
}

static int grow_in_section(struct tfs_trans *t, struct tfs_inode *i, uint64_t size)
{
	int err = inode_prefault(t, i->ino);

	if (err)
		return err;
	i->d_size = size;
	atomic_store(&i->data_txid, t->txid);
	return inode_write(t, i);
}

static int grow_file(struct tfs_inode *i, uint64_t size)
{
	int err;

	err = TRANS_WRITE(t, i->fs, TRANS_CREDITS(i->fs), grow_in_section(t, i, size));
	if (!err)
		i_size_write(&i->mapping, size);
	return err;
}

/*
 * The file is cut where it ends already: what was preallocated behind goes.  Nothing there was ever
 * written, so this needs no intent: what a crash leaves of it is as good as before.
 */
static int drop_preallocated(struct tfs_inode *i, uint64_t size)
{
	uint64_t from = first_gone(i, size);
	struct extent e;
	int err;

	err = TRANS_READ(t, i->fs, extent_seek(t, i->ino, from, &e));
	if (err)
		return err == -ENOENT ? 0 : err;
	return inode_remove_extents(i, from, UINT64_MAX);
}

int inode_set_size(struct tfs_inode *i, uint64_t size)
{
	struct timespec now = tfs_now();
	uint64_t old;
	int err;

	if (size > (uint64_t)TFS_MAX_FILE_SIZE)
		return -EFBIG;
	err = inode_finish_truncate(i);
	if (err)
		return err;
	old = i_size_read(&i->mapping);
	pthread_mutex_lock(&i->attr_lock);
	i->a.mtime = i->a.ctime = now;
	pthread_mutex_unlock(&i->attr_lock);
	inode_mark_dirty(i);
	if (size < old)
		return shrink(i, size);
	return size > old ? grow_file(i, size) : drop_preallocated(i, size);
}
