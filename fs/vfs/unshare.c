/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Giving a file blocks of its own; and showing which it has. */
#include <errno.h>
#include "core/iomap/iomap.h"
#include "core/lib/util.h"
#include "core/pagecache/pagecache.h"
#include "fs/btree/btree.h"
#include "fs/disk/btree_key.h"
#include "fs/inode/extent.h"
#include "fs/inode/inode.h"
#include "fs/inode/inode_lock.h"
#include "fs/inode/iomap_ops.h"
#include "fs/inode/block_refs.h"
#include "fs/inode/truncate.h"
#include "fs/journal/trans.h"
#include "fs/state/error.h"
#include "fs/state/fs.h"
#include "fs/vfs/vfs.h"
#include "tallyfs/format.h"

/* What one call does at most, so that nobody can keep a thread of the front end busy for ever. */
#define UNSHARE_BYTES (64ull << 20) /* of the file, from the first shared block on */
#define LOOK_SECTIONS 64u	    /* in search of that, of so many */
#define LOOK_EXTENTS 256u

/* The next shared extent in [*fblk, end), or where the search has got to. */
static int look_on(struct tfs_trans *t, uint64_t ino, uint64_t *fblk, uint64_t end, bool *found)
{
	struct extent e;
	int err;

	*found = false;
	for (unsigned int n = 0; n < LOOK_EXTENTS && *fblk < end; n++) {
		err = extent_seek(t, ino, *fblk, &e);
		if (err == -ENOENT || (!err && e.off >= end)) {
			*fblk = end;
			return 0;
		}
		if (err)
			return err;
		*fblk = max_t(uint64_t, *fblk, e.off);
		*found = e.flags & TFS_EXTENT_SHARED;
		if (*found)
			break;
		*fblk = extent_end(&e);
	}
	*fblk = min_t(uint64_t, *fblk, end);
	return 0;
}

static int next_shared(struct tfs_inode *i, uint64_t *fblk, uint64_t end, bool (*stop)(void *arg),
		       void *arg, bool *found)
{
	struct tfs_trans t = { 0 };
	uint64_t at;
	int err = 0;

	*found = false;
	for (unsigned int n = 0; n < LOOK_SECTIONS && !err && !*found && *fblk < end; n++) {
		if (stop && stop(arg))
			return -EINTR;
		do {
			at = *fblk;
			trans_read_begin(&t, i->fs);
			err = look_on(&t, i->ino, &at, end, found);
		} while (trans_again(&t, &err));
		*fblk = at;
	}
	return err;
}

static int unshare_chunk(struct tfs_inode *i, uint64_t pos, uint64_t len)
{
	int err;

	inode_lock(i);
	err = inode_finish_truncate(i);
	if (!err)
		err = iomap_file_unshare(&i->mapping, pos, len, &tfs_iomap_ops);
	inode_unlock(i);
	return err ? err : filemap_write_and_wait_range(&i->mapping, pos, pos + len);
}

int vfs_unshare(struct tfs_fs *fs, struct vfs_file *f, uint64_t *pos, uint64_t *len,
		bool (*stop)(void *arg), void *arg)
{
	struct tfs_inode *i = f->inode;
	unsigned int bits = fs->geom.blkbits;
	uint64_t size, end, fblk, n = 0;
	bool found;
	int err;

	if (!inode_is_reg(i))
		return inode_is_dir(i) ? -EISDIR : -EINVAL;
	err = tfs_writable(fs);
	if (err)
		return err;
	size = i_size_read(&i->mapping);
	end = div_up(min_t(uint64_t, size, *len < UINT64_MAX - *pos ? *pos + *len : UINT64_MAX),
		     fs->geom.block_size);
	fblk = min_t(uint64_t, *pos >> bits, end);
	err = next_shared(i, &fblk, end, stop, arg, &found);
	if (!err && found) {
		n = min_t(uint64_t, UNSHARE_BYTES >> bits, end - fblk);
		err = unshare_chunk(i, fblk << bits, n << bits);
	}
	if (err)
		return err;
	*pos = (fblk + n) << bits;
	*len = (end << bits) - *pos;
	return 0;
}

/* ---- listing ---- */

struct listing {
	struct tfs_inode *i;
	uint64_t fblk; /* go on here */
	struct vfs_extent *x;
	unsigned int nr, max;
};

static void add_extent(struct listing *l, uint64_t n, uint64_t block, unsigned int flags)
{
	unsigned int bits = l->i->fs->geom.blkbits;

	l->x[l->nr++] = (struct vfs_extent){
		.pos = l->fblk << bits, .len = n << bits, .addr = block << bits, .flags = flags
	};
	l->fblk += n;
}

static int list_inline(struct tfs_trans *t, struct listing *l)
{
	struct btree_path p = BTREE_PATH_INIT;
	struct btree_item it;
	int err = btree_seek(t, TFS_TREE_FS, &TKEY(l->i->ino, TFS_KEY_INLINE, 0), BTREE_EQ, &p);

	if (err)
		return err == -ENOENT ? 0 : err;
	btree_item(&p, &it);
	add_extent(l, 1, 0, VFS_EXTENT_INLINE);
	l->x[0].len = it.len;
	btree_release(&p);
	return 0;
}

static int list_extents(struct tfs_trans *t, struct listing *l, uint64_t from)
{
	struct extent e;
	int err = 0;

	l->nr = 0;
	l->fblk = from;
	if (!from)
		err = list_inline(t, l);
	while (!err && l->nr < l->max) {
		uint64_t n, block;
		uint32_t count = 1;

		err = extent_seek(t, l->i->ino, l->fblk, &e);
		if (err)
			break;
		if (e.off > l->fblk)
			l->fblk = e.off;
		n = extent_end(&e) - l->fblk;
		block = e.start + (l->fblk - e.off);
		if (e.flags & TFS_EXTENT_SHARED)
			err = refs_get(t, block, n, &count, &n);
		if (!err)
			add_extent(l, n, block,
				   (e.flags & TFS_EXTENT_UNWRITTEN ? VFS_EXTENT_UNWRITTEN : 0) |
					   (count > 1 ? VFS_EXTENT_SHARED : 0));
	}
	return err == -ENOENT ? 0 : err;
}

int vfs_extents(struct tfs_fs *fs, struct vfs_file *f, uint64_t pos, struct vfs_extent *x,
		unsigned int max)
{
	struct listing l = { .i = f->inode, .x = x, .max = max };
	int err;

	if (!inode_is_reg(l.i))
		return inode_is_dir(l.i) ? -EISDIR : -EINVAL;
	inode_lock_shared(l.i, true);
	err = filemap_write_and_wait_range(&l.i->mapping, pos, UINT64_MAX);
	if (!err) {
		err = TRANS_READ(t, fs, list_extents(t, &l, pos >> fs->geom.blkbits));
	}
	inode_unlock_shared(l.i, true);
	return err ? err : (int)l.nr;
}
