/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One ioend that is on the device, on its way into the tree: the file range is mapped to the new
 * blocks, their tuples are stored, the old blocks go free, and the size on disk moves.
 */
#include <errno.h>
#include <string.h>
#include "core/block/bio.h"
#include "core/block/integrity.h"
#include "core/lib/util.h"
#include "core/pagecache/pagecache.h"
#include "fs/alloc/alloc.h"
#include "fs/btree/btree.h"
#include "fs/btree/btree_delete.h"
#include "fs/btree/btree_insert.h"
#include "fs/disk/btree_key.h"
#include "fs/inode/extent.h"
#include "fs/inode/icache.h"
#include "fs/inode/inode.h"
#include "fs/inode/inode_flush.h"
#include "fs/inode/map_blocks.h"
#include "fs/inode/truncate.h"
#include "fs/inode/wb_eof.h"
#include "fs/inode/wb_apply.h"
#include "fs/journal/trans.h"
#include "fs/journal/tuple.h"
#include "fs/state/fs.h"
#include "tallyfs/format.h"

/* Copy what the tree will need out of the bios, while no lock is held. */
static int part_load(struct wb_part *p)
{
	struct tfs_fs *fs = p->i->fs;
	size_t bytes = p->type == IOMAP_INLINE ? fs->geom.block_size : p->len * TFS_TUPLE_BYTES,
	       fill = 0;

	p->data = tl_alloc(bytes);
	if (!p->data)
		return -ENOMEM;
	for (struct bio *b = iomap_ioend_first_bio(p->io); b; b = iomap_ioend_next_bio(p->io, b)) {
		if (p->type != IOMAP_INLINE) {
			fill += bio_integrity_copy_tuples(b, (char *)p->data + fill,
							  (unsigned int)(bytes - fill));
			continue;
		}
		for (struct bio_vec *v = b->bi_io_vec;
		     v < b->bi_io_vec + b->bi_vcnt && fill < bytes; v++) {
			size_t n = v->bv_len < bytes - fill ? v->bv_len : bytes - fill;

			memcpy((char *)p->data + fill, v->bv_base, n);
			fill += n;
		}
	}
	return fill == bytes ? 0 : -EIO;
}

void wb_part_init(struct wb_part *p, struct iomap_ioend *io)
{
	struct tfs_inode *i = io->io_mapping->host;
	unsigned int bits = i->fs->geom.blkbits;
	struct tfs_wb_eof *eof;
	int err;

	*p = (struct wb_part){ .io = io,
			       .i = i,
			       .type = io->io_type,
			       .off = io->io_offset >> bits,
			       .len = io->io_size >> bits,
			       .block = io->io_addr >> bits };
	inode_hold(i);
	if (p->type == IOMAP_INLINE) {
		/* as long as the file was when the copy was taken */
		eof = wb_eof_find(i, 0, 1);
		p->inline_len = eof && eof->size < i->fs->geom.inline_max ? (uint32_t)eof->size
									  : i->fs->geom.inline_max;
	}
	if (io->io_error)
		return;
	err = part_load(p);
	if (err)
		io->io_error = err;
}

#define STEP_EXTENTS 8u /* old extents one step replaces at most */

static uint64_t part_next(const struct wb_part *p)
{
	return p->off + p->done;
}

int wb_part_prefault(struct tfs_trans *t, struct wb_part *p)
{
	uint64_t from = part_next(p), left = p->len - p->done,
		 max = CLAIM_MAX_BYTES >> t->fs->geom.blkbits, stop;
	struct tfs_wb_eof *eof;
	struct extent e;
	int err;

	if (left > max)
		left = max;
	err = extent_prefault(t, p->i->ino, from, from + left, STEP_EXTENTS, &stop);
	if (err)
		return err;
	p->step = stop - from;
	if (p->type != IOMAP_INLINE) {
		err = extent_prefault_blocks(t, p->block + p->done, p->step, true);
		if (!err)
			err = extent_before(t, p->i->ino, from, &e);
		if (!err || err == -ENOENT)
			err = extent_seek(t, p->i->ino, stop, &e);
		if (err && err != -ENOENT)
			return err;
	}
	if (from == 0) {
		struct tkey key = TKEY(p->i->ino, TFS_KEY_INLINE, 0);

		err = btree_prefault(t, TFS_TREE_FS, &key);
		if (err)
			return err;
	}
	eof = wb_eof_find(p->i, from, stop);
	if (eof && eof->trunc) {
		err = truncate_prefault(t, p->i, eof->size);
		if (err)
			return err;
	}
	return inode_prefault(t, p->i->ino);
}

static int step_inline(struct tfs_trans *t, struct wb_part *p)
{
	struct tkey key = TKEY(p->i->ino, TFS_KEY_INLINE, 0);
	int err = extent_remove(t, p->i, 0, 1, true);

	if (err)
		return err;
	inode_mapping_changed(t, p->i);
	return btree_set(t, TFS_TREE_FS, &key, p->data, p->inline_len);
}

static int step_extent(struct tfs_trans *t, struct wb_part *p)
{
	struct extent e = { .off = part_next(p), .start = p->block + p->done, .len = p->step };
	struct tkey key = TKEY(p->i->ino, TFS_KEY_INLINE, 0);
	bool in_place = p->type == IOMAP_UNWRITTEN;
	int err;

	err = extent_remove(t, p->i, e.off, extent_end(&e), !in_place);
	if (!err && e.off == 0) {
		err = btree_delete(t, TFS_TREE_FS, &key);
		if (err == -ENOENT)
			err = 0;
	}
	if (!err && !in_place)
		err = alloc_commit(t, e.start, e.len);
	if (!err)
		err = tuple_write(t, e.start, (uint32_t)e.len, (struct tuple16 *)p->data + p->done);
	if (!err)
		err = extent_insert(t, p->i, &e);
	return err;
}

int wb_part_apply(struct tfs_trans *t, struct wb_part *p)
{
	unsigned int bits = t->fs->geom.blkbits;
	uint64_t from = part_next(p), to = from + p->step, size = to << bits;
	uint64_t isize = i_size_read(&p->i->mapping);
	struct tfs_wb_eof *eof = wb_eof_find(p->i, from, to);
	int err = p->type == IOMAP_INLINE ? step_inline(t, p) : step_extent(t, p);

	if (err)
		return err;
	if (eof && eof->trunc && atomic_load(&p->i->trunc_pending))
		return truncate_apply(t, p->i, eof->size);
	if (eof && eof->fblk == to - 1 && eof->size < size)
		size = eof->size;
	/*
	 * Taken before a truncation that is not in the tree yet: until then the file is what it
	 * was, with its old size. A direct write moves i_size once its blocks are here.
	 */
	if (isize < size && !p->io->io_dio && !atomic_load(&p->i->trunc_pending))
		size = isize;
	if (size > p->i->d_size)
		p->i->d_size = size;
	return inode_write(t, p->i);
}

uint64_t wb_part_credits(const struct wb_part *p)
{
	struct tfs_fs *fs = p->i->fs;
	uint64_t max = CLAIM_MAX_BYTES >> fs->geom.blkbits, left = p->len - p->done;
	uint64_t c =
		extent_remove_credits(fs, STEP_EXTENTS < left ? STEP_EXTENTS : (unsigned int)left);

	c += p->type == IOMAP_INLINE ? 2 * (uint64_t)fs->geom.node_size
				     : extent_insert_credits(fs, left < max ? left : max);
	if (atomic_load(&p->i->trunc_pending))
		c += truncate_credits(fs);
	return c + fs->geom.node_size;
}

bool wb_part_over(const struct wb_part *p)
{
	return p->io->io_error || p->done == p->len;
}
