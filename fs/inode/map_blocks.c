/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where dirty blocks go.  New space is claimed, in memory only; the tree hears of it when the data
 * is on the device (end_ioends.c).
 *
 *   reservation (1 unit a dirty block)
 *      | alloc_data: the unit becomes the claim        unwritten or inline: the unit stays
 *      v                                                        v
 *   claim -- I/O --> alloc_commit in the transaction      given back when the transaction is made
 *      \-- error --> alloc_cancel: the claim becomes the unit of the block, which is dirty again
 *                    (tfs_redirty)
 */
#include <errno.h>
#include "core/block/bdev.h"
#include "core/lib/util.h"
#include "fs/alloc/alloc_data.h"
#include "fs/inode/extent.h"
#include "fs/inode/inode.h"
#include "fs/inode/map_blocks.h"
#include "fs/inode/wb_eof.h"
#include "fs/journal/journal.h"
#include "fs/journal/trans.h"
#include "fs/state/fs.h"
#include "tallyfs/format.h"

/* A run of dirty blocks and the place they get. */
struct wb_target {
	uint64_t fblk, n;     /* file blocks: no more than @n in a row */
	uint64_t isize;	      /* bytes */
	bool is_eof;	      /* the block in whose middle the file ends, alone */
	bool may_inline;      /* small enough to stay in its inode */
	enum iomap_type type; /* MAPPED: new space; UNWRITTEN: in place; INLINE */
	uint64_t block;	      /* on the device; until new space is claimed, the goal */
};

/* What can be told without looking into the tree. */
static struct wb_target target_init(struct tfs_inode *i, uint64_t offset, uint64_t len, bool direct)
{
	const struct tfs_geom *g = &i->fs->geom;
	uint64_t isize = i_size_read(&i->mapping), eof = isize >> g->blkbits;
	/* a direct write's blocks lie whole inside the size that they will give the file */
	bool tail = isize & (g->block_size - 1) && !direct;
	struct wb_target w = { .fblk = offset >> g->blkbits,
			       .n = min_t(uint64_t, div_up(len, g->block_size),
					  CLAIM_MAX_BYTES >> g->blkbits),
			       .isize = isize };

	w.is_eof = tail && w.fblk == eof;
	w.may_inline = w.fblk == 0 && isize <= g->inline_max && !direct;
	/* the EOF block is mapped alone, while its folio is locked: then the size is that of the
	 * copy */
	if (w.is_eof)
		w.n = 1;
	else if (tail && w.fblk < eof)
		w.n = min_t(uint64_t, w.n, eof - w.fblk);
	return w;
}

/* Goal for new blocks: go on where the last allocation of this file ended, or behind the extent
 * before. */
static int find_goal(struct tfs_trans *t, struct tfs_inode *i, struct wb_target *w)
{
	struct extent prev;
	int err;

	w->block = 0;
	if (atomic_load(&i->hint_fblk) == w->fblk && w->fblk) {
		w->block = atomic_load(&i->hint_block);
		return 0;
	}
	err = extent_before(t, i->ino, w->fblk, &prev);
	if (!err)
		w->block = prev.start + prev.len;
	return err == -ENOENT ? 0 : err;
}

/* Stop before the next unwritten extent, which is written in place; @e is the first at or behind
 * the target, if there is one. */
static int stop_before_unwritten(struct tfs_trans *t, const struct tfs_inode *i,
				 struct wb_target *w, struct extent *e)
{
	int err = 0;

	while (!err && e->off < w->fblk + w->n) {
		if (e->off > w->fblk && e->flags & TFS_EXTENT_UNWRITTEN) {
			w->n = e->off - w->fblk;
			break;
		}
		err = extent_seek(t, i->ino, extent_end(e), e);
	}
	return err == -ENOENT ? 0 : err;
}

/* Which kind of place: what is preallocated, the inode, or new space, and where about that. */
static int find_target(struct tfs_trans *t, struct tfs_inode *i, struct wb_target *w)
{
	struct extent e;
	int err = extent_seek(t, i->ino, w->fblk, &e);
	bool none = err == -ENOENT;

	if (err && !none)
		return err;
	if (!none && e.off <= w->fblk && e.flags & TFS_EXTENT_UNWRITTEN) {
		w->type = IOMAP_UNWRITTEN;
		w->block = e.start + (w->fblk - e.off);
		w->n = min_t(uint64_t, w->n, extent_end(&e) - w->fblk);
		return 0;
	}
	if (w->may_inline) {
		w->type = IOMAP_INLINE;
		w->n = 1;
		return 0;
	}
	w->type = IOMAP_MAPPED;
	err = none ? 0 : stop_before_unwritten(t, i, w, &e);
	return err ? err : find_goal(t, i, w);
}

/*
 * The copy of the EOF block that is about to be taken has the truncation committed with it.  No
 * block behind may be on its way then: it would be mapped behind EOF, or its place go free while
 * the device writes to it.  No new one starts: the size was changed before, and who had seen the
 * old one holds a folio lock, which this waits for.  (The EOF block's own folio is locked and not
 * under writeback.)
 */
static void settle_behind_eof(struct tfs_inode *i, uint64_t isize)
{
	struct address_space *m = &i->mapping;

	if (atomic_load(&i->trunc_pending) && isize == i->trunc_size)
		truncate_inode_pages(m, ((isize >> m->folio_shift) + 1) << m->folio_shift);
}

#define ENOSPC_TRIES 4

/* Every dirty block has its reservation, so space is there, at the latest when the transactions
 * that free it are durable.  Less than asked for may be got. */
static int claim(struct tfs_fs *fs, struct wb_target *w)
{
	uint64_t want = w->n, goal = w->block;
	int err;

	for (int tries = 0;; tries++) {
		err = alloc_data(fs, goal, want, &w->block, &w->n);
		if (err != -ENOSPC || tries == ENOSPC_TRIES)
			return err;
		err = journal_commit_all(fs);
		if (err)
			return err;
	}
}

/* The copy of the EOF block is about to be taken. */
static int prepare_eof(struct tfs_inode *i, const struct wb_target *w)
{
	settle_behind_eof(i, w->isize);
	return wb_eof_note(i, w->fblk, w->isize);
}

/* Take what was found: from here on it is ours, and nothing fails any more. */
static int take_target(struct tfs_inode *i, struct wb_target *w)
{
	int err = w->is_eof ? prepare_eof(i, w) : 0;

	if (err || w->type != IOMAP_MAPPED)
		return err;
	err = claim(i->fs, w);
	if (err && w->is_eof)
		wb_eof_forget(i, w->fblk, w->fblk + 1);
	return err;
}

int tfs_map_blocks(struct iomap_writepage_ctx *wpc, struct address_space *m, uint64_t offset,
		   uint64_t len)
{
	struct tfs_inode *i = m->host;
	struct tfs_fs *fs = i->fs;
	unsigned int bits = fs->geom.blkbits;
	struct wb_target w = target_init(i, offset, len, wpc->direct);
	int err;

	err = TRANS_READ(t, fs, find_target(t, i, &w));
	if (!err)
		err = take_target(i, &w);
	if (err)
		return err;
	if (w.type != IOMAP_INLINE) {
		atomic_store(&i->hint_fblk, w.fblk + w.n);
		atomic_store(&i->hint_block, w.block + w.n);
	}
	wpc->iomap = (struct iomap){
		.addr = w.type == IOMAP_INLINE ? IOMAP_NULL_ADDR : w.block << bits,
		.offset = offset,
		.length = w.n << bits,
		.type = w.type,
		.bdev = fs->bdev,
		.validity = atomic_load(&i->map_seq),
	};
	return 0;
}
