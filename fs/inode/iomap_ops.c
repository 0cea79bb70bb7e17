/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is at this offset?  Answers for reading, writing, zeroing and seeking.
 *
 * A mapping for reading is captured together with the tuples of its blocks in
 * one section: whatever happens to the blocks afterwards, other content than
 * the one mapped at that moment never verifies.
 *
 * A mapping for writing comes with a reservation of one block of space for each of its
 * blocks, which iomap_end takes back except for those that became dirty: every
 * dirty block of the cache holds exactly one reservation until it is written or
 * dropped.  The number reserved travels in iomap->private.
 */
#include <errno.h>
#include <string.h>
#include "core/block/bdev.h"
#include "core/block/integrity.h"
#include "core/iomap/iomap.h"
#include "core/lib/util.h"
#include "core/pagecache/pagecache.h"
#include "fs/alloc/space.h"
#include "fs/btree/btree.h"
#include "fs/disk/btree_key.h"
#include "fs/inode/damage.h"
#include "fs/inode/extent.h"
#include "fs/inode/inode.h"
#include "fs/inode/iomap_ops.h"
#include "fs/inode/block_refs.h"
#include "fs/journal/trans.h"
#include "fs/journal/tuple.h"
#include "fs/state/error.h"
#include "fs/state/fs.h"
#include "tallyfs/format.h"

/* Blocks in one mapping that carries tuples or a reservation. */
#define MAP_MAX_BLOCKS 256u

struct map_request {
	struct tfs_inode *i;
	uint64_t fblk, n; /* wanted */
	bool tuples;	  /* of what is mapped */
	bool write;	  /* it matters who else has the blocks */
	struct iomap *iomap;
	struct tuple16 *tuple_buf;
	char *inline_buf;
};

static void fill_run(struct map_request *r, uint64_t n, enum iomap_type type, uint64_t block)
{
	unsigned int bits = r->i->fs->geom.blkbits;

	r->iomap->offset = r->fblk << bits;
	r->iomap->length = n << bits;
	r->iomap->type = type;
	r->iomap->addr = block == IOMAP_NULL_ADDR ? IOMAP_NULL_ADDR : block << bits;
}

/* Block 0 and there is an inline item: copied out.  -ENOENT if there is none. */
static int map_inline(struct tfs_trans *t, struct map_request *r)
{
	struct btree_path p = BTREE_PATH_INIT;
	struct tkey key = TKEY(r->i->ino, TFS_KEY_INLINE, 0);
	struct btree_item it;
	int err = btree_seek(t, TFS_TREE_FS, &key, BTREE_EQ, &p);

	if (err)
		return err;
	btree_item(&p, &it);
	if (it.len > t->fs->geom.block_size) {
		btree_release(&p);
		return tfs_handle_fs_error(t->fs, -EUCLEAN,
					   "inode %llu: inline data longer than a block",
					   (unsigned long long)r->i->ino);
	}
	memcpy(r->inline_buf, it.data, it.len);
	r->iomap->inline_len = it.len;
	btree_release(&p);
	fill_run(r, 1, IOMAP_INLINE, IOMAP_NULL_ADDR);
	return 0;
}

/* Is block @block, of a shared extent, really somebody else's too?  Shortens *n to where that is
 * the same. */
static int map_shared(struct tfs_trans *t, struct map_request *r, uint64_t block, uint64_t *n)
{
	uint32_t count;
	int err = refs_get(t, block, *n, &count, n);

	if (!err && count > 1)
		r->iomap->flags |= IOMAP_F_SHARED;
	return err;
}

static int map_extent(struct tfs_trans *t, struct map_request *r)
{
	struct extent e;
	uint64_t n = r->n, block;
	int err = extent_seek(t, r->i->ino, r->fblk, &e);

	if (err && err != -ENOENT)
		return err;
	if (err || e.off > r->fblk) {
		if (!err && e.off - r->fblk < n)
			n = e.off - r->fblk;
		fill_run(r, n, IOMAP_HOLE, IOMAP_NULL_ADDR);
		return 0;
	}
	if (extent_end(&e) - r->fblk < n)
		n = extent_end(&e) - r->fblk;
	block = e.start + (r->fblk - e.off);
	if (e.flags & TFS_EXTENT_SHARED && r->write) {
		err = map_shared(t, r, block, &n);
		if (err)
			return err;
	}
	if (e.flags & TFS_EXTENT_UNWRITTEN) {
		fill_run(r, n, IOMAP_UNWRITTEN, block);
		return 0;
	}
	if (r->tuples) {
		n = n < MAP_MAX_BLOCKS ? n : MAP_MAX_BLOCKS;
		err = tuple_read(t, block, (uint32_t)n, r->tuple_buf);
		r->iomap->tuples = r->tuple_buf;
	}
	fill_run(r, n, IOMAP_MAPPED, block);
	return err;
}

static int map_lookup(struct tfs_trans *t, struct map_request *r)
{
	int err;

	memset(r->iomap, 0, sizeof(*r->iomap));
	r->iomap->bdev = t->fs->bdev;
	r->iomap->validity = atomic_load(&r->i->map_seq);
	if (r->fblk == 0) {
		err = map_inline(t, r);
		if (err != -ENOENT)
			return err;
	}
	return map_extent(t, r);
}

/* Fills r->iomap; buffers that it does not use are freed. */
static int map_request(struct map_request *r)
{
	struct tfs_fs *fs = r->i->fs;
	int err = -ENOMEM;

	r->tuple_buf = NULL;
	r->inline_buf = NULL;
	if (r->tuples) {
		uint64_t n = r->n < MAP_MAX_BLOCKS ? r->n : MAP_MAX_BLOCKS;

		r->tuple_buf = tl_alloc(n * sizeof(*r->tuple_buf));
		if (!r->tuple_buf)
			goto out;
	}
	if (r->fblk == 0) {
		r->inline_buf = tl_alloc(fs->geom.block_size);
		if (!r->inline_buf)
			goto out;
	}
	err = TRANS_READ(t, fs, map_lookup(t, r));
out:
	if (!err && r->iomap->type == IOMAP_INLINE) {
		r->iomap->inline_data = r->inline_buf;
		r->inline_buf = NULL;
	}
	if (!err && r->iomap->tuples)
		r->tuple_buf = NULL;
	tl_free(r->tuple_buf);
	tl_free(r->inline_buf);
	return err;
}

static void release_buffers(struct iomap *iomap)
{
	tl_free((void *)iomap->tuples);
	tl_free((void *)iomap->inline_data);
	iomap->tuples = NULL;
	iomap->inline_data = NULL;
}

/*
 * Zeroing over a hole or unwritten extent: nothing to do, except where the cache
 * holds blocks that are not written yet.  Shortens the mapping to a run that
 * is all one or all the other.  True: zero it through the cache.
 */
static bool zero_needs_cache(struct address_space *m, uint64_t pos, struct iomap *iomap)
{
	uint64_t bs = 1ull << m->blkbits, len = iomap->length;

	while (filemap_range_busy(m, iomap->offset, iomap->offset + len)) {
		if (len == bs) {
			iomap->length = bs;
			return true;
		}
		len = round_up_to(len / 2, bs);
	}
	iomap->length = len;
	return false;
}

/* Will the file still live in its inline item after a write up to @end? */
static bool stays_inline(struct tfs_inode *i, uint64_t end)
{
	return end <= i->fs->geom.inline_max && i_size_read(&i->mapping) <= i->fs->geom.inline_max;
}

/*
 * @n reservations.  Where shared blocks get their own, each may cut an extent in three and its
 * reference count too, which no other reservation has room for: more than the blocks must be free.
 */
static int reserve_blocks(struct tfs_fs *fs, uint64_t n, enum space_use use, bool shared)
{
	int err = space_reserve(fs, shared ? 2 * n : n, use);

	if (!err && shared)
		space_unreserve(fs, n);
	return err;
}

/* What the blocks of a mapping for writing are to the space.  @end: bytes, where the file may end
 * then. */
static enum space_use use_of(struct tfs_inode *i, uint64_t end, unsigned int flags,
			     const struct iomap *iomap)
{
	bool shared = iomap->flags & IOMAP_F_SHARED;

	if ((iomap->type == IOMAP_MAPPED && !shared) || iomap->type == IOMAP_UNWRITTEN ||
	    (iomap->type == IOMAP_INLINE && stays_inline(i, flags & IOMAP_ZERO ? 0 : end)))
		return SPACE_OVERWRITE;
	/* who shrinks a file or punches a hole is about to make room: the blocks at the edge may
	 * take some */
	return flags & IOMAP_ZERO && i->gives_back ? SPACE_TRUNCATE : SPACE_NEW;
}

/* Reserve space for every block of the mapping; a shorter mapping when not all can be had. */
static int reserve(struct tfs_inode *i, uint64_t end, unsigned int flags, struct iomap *iomap)
{
	unsigned int bits = i->fs->geom.blkbits;
	uint64_t n = iomap->length >> bits;
	bool shared = iomap->flags & IOMAP_F_SHARED;
	enum space_use use = use_of(i, end, flags, iomap);
	int err;

	for (;;) {
		err = reserve_blocks(i->fs, n, use, shared);
		if (err != -ENOSPC || n == 1)
			break;
		n = (n + 1) / 2;
	}
	if (err)
		return err;
	iomap->length = n << bits;
	iomap->private = (void *)(uintptr_t)n;
	return 0;
}

static int map_for_write(struct tfs_inode *i, uint64_t pos, uint64_t length, unsigned int flags,
			 struct iomap *iomap)
{
	struct address_space *m = &i->mapping;

	if (iomap->type == IOMAP_HOLE || iomap->type == IOMAP_UNWRITTEN) {
		if (flags & IOMAP_ZERO) {
			bool cache = zero_needs_cache(m, pos, iomap);

			/* a writeback that completed meanwhile has mapped what was a hole: look
			 * again */
			if (iomap->validity != atomic_load(&i->map_seq))
				return -EAGAIN;
			if (!cache)
				return 0;
		}
		if (iomap->type == IOMAP_HOLE || flags & IOMAP_ZERO)
			iomap->type = IOMAP_DELALLOC;
	}
	if (flags & IOMAP_UNSHARE && !(iomap->flags & IOMAP_F_SHARED))
		return 0;
	if (iomap->length >> m->blkbits > MAP_MAX_BLOCKS)
		iomap->length = (uint64_t)MAP_MAX_BLOCKS << m->blkbits;
	return reserve(i, pos + length, flags, iomap);
}

static int tfs_iomap_begin(struct address_space *m, uint64_t pos, uint64_t length,
			   unsigned int flags, struct iomap *iomap, struct iomap *srcmap)
{
	struct tfs_inode *i = m->host;
	uint64_t mask = (1ull << m->blkbits) - 1;
	bool write = flags & (IOMAP_WRITE | IOMAP_ZERO | IOMAP_UNSHARE);
	/* a write needs tuples only where it covers a block in part; reports never */
	bool tuples = !(flags & IOMAP_REPORT) && !i->fs->opts.no_verify &&
		      (!write || ((pos | (pos + length)) & mask) || flags & IOMAP_UNSHARE);
	struct map_request r = {
		.i = i, .fblk = pos >> m->blkbits, .tuples = tuples, .write = write, .iomap = iomap
	};
	bool retried = false;
	int err;

	(void)srcmap;
	r.n = ((pos & mask) + length + mask) >> m->blkbits;
	for (;;) {
		err = map_request(&r);
		if (err || !write)
			return err;
		err = map_for_write(i, pos, length, flags, iomap);
		if (!err)
			return 0;
		release_buffers(iomap);
		if (err == -EAGAIN)
			continue;
		/*
		 * A block that waits for its first writeback has its space; once written it is
		 * mapped, and overwriting what is mapped does not fail.
		 */
		if (err != -ENOSPC || retried ||
		    !filemap_range_busy(m, pos & ~mask, (pos | mask) + 1))
			return err;
		retried = true;
		err = filemap_write_and_wait_range(m, pos & ~mask, (pos | mask) + 1);
		if (err)
			return err;
	}
}

static int tfs_iomap_end(struct address_space *m, uint64_t pos, uint64_t length, uint64_t written,
			 uint64_t dirtied, unsigned int flags, struct iomap *iomap)
{
	struct tfs_inode *i = m->host;
	uint64_t reserved = (uint64_t)(uintptr_t)iomap->private;

	release_buffers(iomap);
	assert(dirtied <= reserved || !reserved);
	if (reserved > dirtied)
		space_unreserve(i->fs, reserved - dirtied);
	return 0;
}

static bool tfs_iomap_valid(struct address_space *m, const struct iomap *iomap)
{
	struct tfs_inode *i = m->host;

	return iomap->validity == atomic_load(&i->map_seq);
}

static void tfs_read_mismatch(struct address_space *m, uint64_t pos, uint64_t dev_addr,
			      uint64_t expected, uint64_t found)
{
	struct tfs_inode *i = m->host;

	damage_record(i->fs, i->ino, pos, dev_addr >> m->blkbits, expected, found);
}

const struct iomap_ops tfs_iomap_ops = {
	.iomap_begin = tfs_iomap_begin,
	.iomap_end = tfs_iomap_end,
	.iomap_valid = tfs_iomap_valid,
	.read_mismatch = tfs_read_mismatch,
};
