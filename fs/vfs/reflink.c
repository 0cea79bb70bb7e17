/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * copy_file_range: what lies alike in both files is shared, block by block, the rest is copied.
 *
 *   source        [  s s|s s s s|s s s s|s s s ]
 *   destination   [  d d|d d d d|d d d d|d d d ]
 *                   head    shared        tail (shared if both end with it)
 *                  copied
 *
 * Sharing is metadata only, in sections of a few extents each.  A section takes the
 * destination's old blocks away, maps the source's in their place, counts the references, and
 * moves the size: after a crash each block is whole, old or new.  Before that both
 * ranges are written to the device, so that the tree knows all there is; both inodes stay locked,
 * so that it stays so.
 */
#include <errno.h>
#include <fcntl.h>
#include "core/iomap/iomap.h"
#include "core/lib/util.h"
#include "core/pagecache/pagecache.h"
#include "fs/alloc/space.h"
#include "fs/btree/btree.h"
#include "fs/btree/btree_delete.h"
#include "fs/disk/btree_key.h"
#include "fs/inode/extent.h"
#include "fs/inode/inode.h"
#include "fs/inode/inode_lock.h"
#include "fs/inode/inode_flush.h"
#include "fs/inode/iomap_ops.h"
#include "fs/inode/block_refs.h"
#include "fs/inode/truncate.h"
#include "fs/journal/trans.h"
#include "fs/state/error.h"
#include "fs/state/fs.h"
#include "fs/vfs/flags.h"
#include "fs/vfs/vfs.h"
#include "tallyfs/format.h"

/* bytes in one call: the answer of FUSE has 32 bits */
#define COPY_MAX ((1ull << 32) - TFS_MAX_BLOCK)
#define COPY_CACHED_MAX (16ull << 20) /* of these, through the cache */
#define COPY_CHUNK (1u << 20)
#define SHARE_EXTENTS 8u /* in one section */

struct copy {
	struct tfs_inode *in, *out;
	uint64_t pos_in, pos_out, len; /* bytes: what is left to do */
	uint64_t out_end;	       /* bytes: where the destination's range ends */
	bool alike;		       /* both begin at the same byte of a block */
	bool with_eof; /* ... and end with their files: the last, partial block can be shared */
	uint64_t step; /* blocks in the section being made; 0: the source's is inline */
};

static uint64_t blocks_to_share(const struct copy *c)
{
	uint64_t bs = c->in->fs->geom.block_size;

	if (!c->alike || c->pos_in & (bs - 1))
		return 0;
	return c->with_eof ? div_up(c->len, bs) : c->len / bs;
}

/* ---- sharing ---- */

/* The next extent of the source in [at, end) that has content.  -ENOENT. */
static int next_written(struct tfs_trans *t, const struct copy *c, uint64_t at, uint64_t end,
			struct extent *e)
{
	int err;

	do {
		err = at < end ? extent_seek(t, c->in->ino, at, e) : -ENOENT;
		if (err)
			return err;
		if (e->off >= end)
			return -ENOENT;
		if (e->off < at) {
			e->start += at - e->off;
			e->len -= at - e->off;
			e->off = at;
		}
		at = extent_end(e);
	} while (e->flags & TFS_EXTENT_UNWRITTEN);
	if (extent_end(e) > end)
		e->len = end - e->off;
	return 0;
}

/* All that sharing the source's extents takes is in memory.  Settles c->step, at most @n. */
static int look_source(struct tfs_trans *t, struct copy *c, uint64_t n)
{
	uint64_t first = c->pos_in >> t->fs->geom.blkbits, dst = c->pos_out >> t->fs->geom.blkbits;
	uint64_t at = first, end = first + n, got;
	unsigned int budget = SHARE_EXTENTS;
	struct extent e, whole;
	int err;

	for (unsigned int k = 0; at < end; k++) {
		err = next_written(t, c, at, end, &e);
		if (err == -ENOENT) {
			at = end;
			break;
		}
		if (err)
			return err;
		at = e.off;
		if (k == SHARE_EXTENTS || !budget)
			break;
		err = extent_seek(t, c->in->ino, e.off, &whole);
		if (!err)
			err = btree_prefault(t, TFS_TREE_FS,
					     &TKEY(c->in->ino, TFS_KEY_EXTENT, whole.off));
		if (!err)
			err = btree_prefault(
				t, TFS_TREE_FS,
				&TKEY(c->out->ino, TFS_KEY_EXTENT, dst + (e.off - first)));
		if (!err)
			err = refs_prefault(t, e.start, e.len, true, &budget, &got);
		if (err)
			return err;
		at = e.off + got;
		if (got < e.len)
			break;
	}
	c->step = at - first;
	return 0;
}

static int share_prefault(struct tfs_trans *t, struct copy *c)
{
	struct tkey in_inl = TKEY(c->in->ino, TFS_KEY_INLINE, 0),
		    out_inl = TKEY(c->out->ino, TFS_KEY_INLINE, 0);
	uint64_t dst = c->pos_out >> t->fs->geom.blkbits, stop;
	struct btree_path p = BTREE_PATH_INIT;
	int err;

	c->step = 0;
	if (!c->pos_in) {
		err = btree_seek(t, TFS_TREE_FS, &in_inl, BTREE_EQ, &p);
		btree_release(&p);
		if (err != -ENOENT)
			return err;
	}
	err = look_source(t, c, blocks_to_share(c));
	if (err)
		return err;
	err = extent_prefault(t, c->out->ino, dst, dst + c->step, SHARE_EXTENTS, &stop);
	c->step = stop - dst;
	if (!err && !dst)
		err = btree_prefault(t, TFS_TREE_FS, &out_inl);
	return err ? err : inode_prefault(t, c->out->ino);
}

/* The destination has nothing mapped in the range any more. */
static int share_extents(struct tfs_trans *t, struct copy *c)
{
	uint64_t first = c->pos_in >> t->fs->geom.blkbits, dst = c->pos_out >> t->fs->geom.blkbits;
	uint64_t at = first, end = first + c->step;
	struct extent e, whole;
	int err;

	while (!(err = next_written(t, c, at, end, &e))) {
		at = extent_end(&e);
		/* the destination may be the same file: its extents change as we go */
		err = extent_seek(t, c->in->ino, e.off, &whole);
		if (!err)
			err = extent_mark_shared(t, c->in, &whole);
		if (!err)
			err = refs_add(t, e.start, e.len);
		e.off = dst + (e.off - first);
		e.flags = TFS_EXTENT_SHARED;
		if (!err)
			err = extent_insert(t, c->out, &e);
		if (err)
			return err;
	}
	return err == -ENOENT ? 0 : err;
}

static int share_apply(struct tfs_trans *t, struct copy *c)
{
	struct tkey inl = TKEY(c->out->ino, TFS_KEY_INLINE, 0);
	unsigned int bits = t->fs->geom.blkbits;
	uint64_t dst = c->pos_out >> bits, size = (dst + c->step) << bits;
	int err = extent_remove(t, c->out, dst, dst + c->step, true);

	if (!err && !dst) {
		err = btree_delete(t, TFS_TREE_FS, &inl);
		if (err == -ENOENT)
			err = 0;
	}
	if (!err)
		err = share_extents(t, c);
	if (err)
		return err;
	if (size > c->out_end)
		size = c->out_end;
	if (size > c->out->d_size)
		c->out->d_size = size;
	inode_mapping_changed(t, c->out);
	return inode_write(t, c->out);
}

/* One section's worth.  Bytes; 0: here it must be copied; -errno. */
static int64_t share_some(struct copy *c)
{
	struct tfs_fs *fs = c->in->fs;
	struct address_space *m = &c->out->mapping;
	uint64_t credits = TRANS_CREDITS(fs) + extent_remove_credits(fs, SHARE_EXTENTS) +
			   refs_credits(fs, SHARE_EXTENTS),
		 bytes;
	struct tfs_trans t = { 0 };
	int err = space_check_meta(fs, SPACE_TRUNCATE);

	if (err)
		return err;
	do {
		err = trans_begin(&t, fs, credits);
		if (!err)
			err = share_prefault(&t, c);
		if (!err && c->step)
			err = share_apply(&t, c);
	} while (trans_again(&t, &err));
	if (err == -EMLINK)
		return 0;
	if (err)
		return err;
	bytes = min_t(uint64_t, c->step << fs->geom.blkbits, c->len);
	if (c->pos_out + bytes > i_size_read(m))
		i_size_write(m, c->pos_out + bytes);
	return (int64_t)bytes;
}

/* ---- copying ---- */

static int64_t write_pieces(struct copy *c, const struct iomap_read_result *res)
{
	uint64_t done = 0;

	for (unsigned int k = 0; k < res->nr_iov; k++) {
		const char *buf = res->iov[k].iov_base;
		size_t len = res->iov[k].iov_len;

		while (len) {
			struct iomap_src src = { .buf = buf, .len = len };
			int64_t n = iomap_file_buffered_write(&c->out->mapping, c->pos_out + done,
							      &src, &tfs_iomap_ops);

			if (n <= 0)
				return done ? (int64_t)done : n ? n : -EIO;
			done += (uint64_t)n;
			buf += n;
			len -= (size_t)n;
		}
	}
	return (int64_t)done;
}

/* Through the cache, up to where sharing can begin.  Bytes or -errno. */
static int64_t copy_some(struct copy *c)
{
	uint64_t bs = c->in->fs->geom.block_size;
	uint64_t len = c->alike ? bs - (c->pos_in & (bs - 1)) : COPY_CHUNK;
	struct iomap_read_result res = { 0 };
	int64_t n;

	len = min_t(uint64_t, len, c->len);
	n = iomap_file_buffered_read(&c->in->mapping, c->pos_in, len, 0, &tfs_iomap_ops, &res);
	if (n)
		return n;
	n = res.bytes ? write_pieces(c, &res) : -EIO;
	iomap_read_result_release(&res);
	return n;
}

/* ---- both ---- */

/* What is dirty of both ranges goes to the device first: the tree then knows all there is. */
static int settle(struct copy *c)
{
	uint64_t bs = c->in->fs->geom.block_size, end = round_up_to(c->pos_out + c->len, bs);
	struct address_space *out = &c->out->mapping;
	int err;

	if (!c->alike)
		return 0;
	err = filemap_write_and_wait_range(&c->in->mapping, round_down_to(c->pos_in, bs),
					   round_up_to(c->pos_in + c->len, bs));
	if (!err)
		err = filemap_write_and_wait_range(out, round_down_to(c->pos_out, bs), end);
	return err;
}

static int64_t copy_loop(struct copy *c)
{
	struct address_space *out = &c->out->mapping;
	uint64_t done = 0, cached = 0;
	int64_t n = 0;

	while (c->len && cached < COPY_CACHED_MAX) {
		uint64_t blocks = blocks_to_share(c), from = c->pos_out;

		n = 0;
		if (blocks) {
			/* clean, and nobody can read it in again */
			truncate_inode_pages_range(out, from, from + (blocks << out->blkbits));
			n = share_some(c);
		}
		if (!n) {
			n = copy_some(c);
			cached += n > 0 ? (uint64_t)n : 0;
			balance_dirty_pages(out);
		}
		if (n < 0)
			break;
		c->pos_in += (uint64_t)n;
		c->pos_out += (uint64_t)n;
		c->len -= (uint64_t)n;
		done += (uint64_t)n;
	}
	return done ? (int64_t)done : n;
}

static int64_t copy_locked(struct copy *c)
{
	uint64_t size = i_size_read(&c->in->mapping), mask = c->in->fs->geom.block_size - 1;
	int64_t ret;
	int err = inode_may_change(c->out);

	if (!err)
		err = inode_finish_truncate(c->in);
	if (!err)
		err = inode_finish_truncate(c->out);
	if (err || c->pos_in >= size)
		return err;
	c->len = min_t(uint64_t, c->len, size - c->pos_in);
	if (c->in == c->out && c->pos_in < c->pos_out + c->len && c->pos_out < c->pos_in + c->len)
		return -EINVAL;
	c->out_end = c->pos_out + c->len;
	c->alike = !((c->pos_in ^ c->pos_out) & mask);
	c->with_eof = c->pos_in + c->len == size && c->out_end >= i_size_read(&c->out->mapping);
	err = settle(c);
	if (err)
		return err;
	pthread_mutex_lock(&c->out->attr_lock);
	c->out->a.mtime = c->out->a.ctime = tfs_now();
	pthread_mutex_unlock(&c->out->attr_lock);
	ret = copy_loop(c);
	if (ret > 0)
		inode_mark_dirty(c->out);
	return ret;
}

static void lock_both(struct copy *c)
{
	struct tfs_inode *first = c->in->ino < c->out->ino ? c->in : c->out;
	struct tfs_inode *second = first == c->in ? c->out : c->in;

	inode_lock(first);
	if (second != first)
		inode_lock(second);
}

static void unlock_both(struct copy *c)
{
	inode_unlock(c->in);
	if (c->out != c->in)
		inode_unlock(c->out);
}

int64_t vfs_copy_file_range(struct tfs_fs *fs, struct vfs_file *in, uint64_t pos_in,
			    struct vfs_file *out, uint64_t pos_out, uint64_t len,
			    unsigned int flags)
{
	struct copy c = {
		.in = in->inode, .out = out->inode, .pos_in = pos_in, .pos_out = pos_out
	};
	int64_t ret;
	int err;

	if (inode_is_dir(c.in) || inode_is_dir(c.out))
		return -EISDIR;
	if (flags || !inode_is_reg(c.in) || !inode_is_reg(c.out))
		return -EINVAL;
	if (pos_out >= (uint64_t)TFS_MAX_FILE_SIZE)
		return -EFBIG;
	err = tfs_writable(fs);
	if (err || !len)
		return err;
	c.len = min_t(uint64_t, min_t(uint64_t, len, COPY_MAX),
		      (uint64_t)TFS_MAX_FILE_SIZE - pos_out);
	/* from here on every section reckons with reference counts */
	atomic_store(&fs->refs_used, true);
	lock_both(&c);
	ret = copy_locked(&c);
	unlock_both(&c);
	if (ret > 0 && out->flags & (O_SYNC | O_DSYNC)) {
		err = vfs_fsync(fs, out, (out->flags & O_SYNC) != O_SYNC);
		if (err)
			return err;
	}
	return ret;
}
