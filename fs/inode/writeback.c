/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writeback: where dirty blocks go, and what happens once they are there.
 *
 * map_blocks claims new space (in memory only) and the data is written to it.
 * When it is on the device, one transaction for as many finished ioends as fit maps
 * the file range to the new blocks, stores their tuples, frees the old blocks and
 * moves the size on disk.  Until it commits, the old blocks are what a crash leaves.
 *
 *   promise (1 unit a dirty block)
 *      | alloc_data: the unit becomes the claim        unwritten or inline: the unit stays
 *      v                                                        v
 *   claim -- I/O --> alloc_commit in the transaction      given back when the transaction is made
 *      \-- error --> alloc_cancel: the claim becomes the unit of the block, which is dirty again
 * (tfs_redirty)
 *
 * The size on disk never passes the end of what is there: for the EOF block
 * the size at the moment its copy was taken is remembered (struct tfs_wb_eof),
 * since its bytes behind that are zeros, whatever has been appended since.  So a crash
 * shows each block as it was at one moment, and bytes behind EOF are zero in every
 * committed state (truncate.c relies on it).
 */
#include <errno.h>
#include <string.h>
#include "core/block/bdev.h"
#include "core/block/bio.h"
#include "core/block/integrity.h"
#include "core/iomap/iomap.h"
#include "core/lib/list.h"
#include "core/lib/util.h"
#include "core/pagecache/pagecache.h"
#include "fs/alloc/alloc.h"
#include "fs/alloc/alloc_data.h"
#include "fs/alloc/space.h"
#include "fs/btree/btree.h"
#include "fs/btree/btree_delete.h"
#include "fs/btree/btree_insert.h"
#include "fs/disk/btree_key.h"
#include "fs/inode/extent.h"
#include "fs/inode/inode.h"
#include "fs/inode/inode_sync.h"
#include "fs/inode/truncate.h"
#include "fs/inode/writeback.h"
#include "fs/journal/journal.h"
#include "fs/journal/trans.h"
#include "fs/journal/tuple.h"
#include "fs/state/backing.h"
#include "fs/state/fs.h"
#include "tallyfs/format.h"

#define CLAIM_MAX_BYTES (4u << 20)

/* ---- mapping ---- */

struct wb_target {
	uint64_t n;	/* blocks */
	uint64_t block; /* in place; or the goal */
	bool inlined, in_place;
};

/* Goal for new blocks: go on where the last allocation of this file ended, or behind the extent
 * before. */
static int find_goal(struct tfs_trans *t, struct tfs_inode *i, uint64_t fblk, struct wb_target *w)
{
	struct extent prev;
	int err;

	w->block = 0;
	if (atomic_load(&i->hint_fblk) == fblk && fblk) {
		w->block = atomic_load(&i->hint_block);
		return 0;
	}
	err = extent_before(t, i->ino, fblk, &prev);
	if (!err)
		w->block = prev.start + prev.len;
	return err == -ENOENT ? 0 : err;
}

static int find_target(struct tfs_trans *t, struct tfs_inode *i, uint64_t fblk, bool may_inline,
		       struct wb_target *w)
{
	struct extent e;
	int err = extent_seek(t, i->ino, fblk, &e);
	bool there = !err && e.off <= fblk;

	if (err && err != -ENOENT)
		return err;
	w->inlined = w->in_place = false;
	if (there && e.flags & TFS_EXTENT_UNWRITTEN) {
		w->in_place = true;
		w->block = e.start + (fblk - e.off);
		if (extent_end(&e) - fblk < w->n)
			w->n = extent_end(&e) - fblk;
		return 0;
	}
	if (may_inline) {
		w->inlined = true;
		w->n = 1;
		return 0;
	}
	/* stop before the next unwritten extent: it is written in place */
	while (!err && e.off < fblk + w->n) {
		if (e.off > fblk && e.flags & TFS_EXTENT_UNWRITTEN) {
			w->n = e.off - fblk;
			break;
		}
		err = extent_seek(t, i->ino, extent_end(&e), &e);
	}
	if (err && err != -ENOENT)
		return err;
	return find_goal(t, i, fblk, w);
}

/* The copy of block @fblk now being taken has zeros behind @size. */
static int note_eof(struct tfs_inode *i, uint64_t fblk, uint64_t size)
{
	struct tfs_wb_eof *e = tl_alloc(sizeof(*e));

	if (!e)
		return -ENOMEM;
	e->fblk = fblk;
	e->size = size;
	/* the size was set to the truncation's before the flag: this copy has the tail zeroed */
	e->trunc = atomic_load(&i->trunc_pending) && size == i->trunc_size;
	pthread_mutex_lock(&i->attr_lock);
	list_add_tail(&e->link, &i->wb_eofs);
	pthread_mutex_unlock(&i->attr_lock);
	return 0;
}

static struct tfs_wb_eof *find_eof(struct tfs_inode *i, uint64_t from, uint64_t to)
{
	struct tfs_wb_eof *e, *found = NULL;

	pthread_mutex_lock(&i->attr_lock);
	list_for_each_entry(e, &i->wb_eofs, link) {
		if (e->fblk >= from && e->fblk < to && (!found || e->fblk >= found->fblk))
			found = e;
	}
	pthread_mutex_unlock(&i->attr_lock);
	return found;
}

static void forget_eofs(struct tfs_inode *i, uint64_t from, uint64_t to)
{
	struct tfs_wb_eof *e, *n;

	pthread_mutex_lock(&i->attr_lock);
	list_for_each_entry_safe(e, n, &i->wb_eofs, link) {
		if (e->fblk >= from && e->fblk < to) {
			list_del_init(&e->link);
			tl_free(e);
		}
	}
	pthread_mutex_unlock(&i->attr_lock);
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

/* Every dirty block has its promise, so space is there, at the latest when the transactions that
 * free it are durable.
 */
static int claim(struct tfs_fs *fs, uint64_t goal, uint64_t n, uint64_t *block, uint64_t *got)
{
	int err;

	for (int tries = 0;; tries++) {
		err = alloc_data(fs, goal, n, block, got);
		if (err != -ENOSPC || tries == ENOSPC_TRIES)
			return err;
		err = journal_commit_all(fs);
		if (err)
			return err;
	}
}

/* What this thread has claimed last: for tfs_discard, should it not get into an ioend. */
static __thread struct {
	struct tfs_inode *i;
	uint64_t fblk, n, block;
} last_claim;

/* Blocks of a run stay dirty because memory ran out before they were in an ioend: their claim is
 * dissolved. */
static void tfs_discard(struct folio *f, uint64_t pos, uint64_t len)
{
	struct tfs_inode *i = f->mapping->host;
	uint64_t fblk = pos >> i->fs->geom.blkbits, end = fblk + (len >> i->fs->geom.blkbits);

	if (last_claim.i == i && fblk >= last_claim.fblk && fblk < last_claim.fblk + last_claim.n) {
		alloc_cancel(i->fs, last_claim.block + (fblk - last_claim.fblk),
			     last_claim.fblk + last_claim.n - fblk, true);
		last_claim.i = NULL;
	}
	forget_eofs(i, fblk, end);
}

static int tfs_map_blocks(struct iomap_writepage_ctx *wpc, struct address_space *m, uint64_t offset,
			  uint64_t len)
{
	struct tfs_inode *i = m->host;
	struct tfs_fs *fs = i->fs;
	unsigned int bits = fs->geom.blkbits;
	uint64_t fblk = offset >> bits, isize = i_size_read(m), eof = isize >> bits, got;
	/* a direct write's blocks lie whole inside the size that they will give the file */
	bool tail = isize & (fs->geom.block_size - 1) && !wpc->direct;
	struct wb_target w = { .n = div_up(len, fs->geom.block_size) };
	int err;

	last_claim.i = NULL;
	if (w.n > CLAIM_MAX_BYTES >> bits)
		w.n = CLAIM_MAX_BYTES >> bits;
	/* the EOF block is mapped alone, while its folio is locked: then the size is that of the
	 * copy */
	if (tail && fblk == eof)
		w.n = 1;
	else if (tail && fblk < eof && eof - fblk < w.n)
		w.n = eof - fblk;
	err = TRANS_READ(t, fs,
			 find_target(t, i, fblk,
				     fblk == 0 && isize <= fs->geom.inline_max && !wpc->direct,
				     &w));
	if (err)
		return err;
	got = w.n;
	if (tail && fblk == eof) {
		settle_behind_eof(i, isize);
		err = note_eof(i, fblk, isize);
		if (err)
			return err;
	}
	if (!w.inlined && !w.in_place) {
		err = claim(fs, w.block, w.n, &w.block, &got);
		if (err) {
			forget_eofs(i, fblk, fblk + 1);
			return err;
		}
		last_claim.i = i;
		last_claim.fblk = fblk;
		last_claim.n = got;
		last_claim.block = w.block;
	}
	if (!w.inlined) {
		atomic_store(&i->hint_fblk, fblk + got);
		atomic_store(&i->hint_block, w.block + got);
	}
	wpc->iomap = (struct iomap){
		.addr = w.inlined ? IOMAP_NULL_ADDR : w.block << bits,
		.offset = offset,
		.length = got << bits,
		.type = w.inlined    ? IOMAP_INLINE
			: w.in_place ? IOMAP_UNWRITTEN
				     : IOMAP_MAPPED,
		.bdev = fs->bdev,
		.validity = atomic_load(&i->map_seq),
	};
	return 0;
}

/* ---- completion ---- */

/* One ioend (alone or merged into another) and how far the tree has it. */
struct wb_part {
	struct iomap_ioend *io; /* its io_error: of this part alone */
	struct tfs_inode *i;
	enum iomap_type type;
	uint64_t off, len, block; /* blocks */
	uint64_t done;		  /* blocks in committed sections */
	uint64_t step;		  /* blocks in the section being made */
	void *data;		  /* tuples, or the inline content */
	uint32_t inline_len;
};

#define STEP_EXTENTS 8u /* old extents one step replaces at most */

static uint64_t part_next(const struct wb_part *p)
{
	return p->off + p->done;
}

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

/* Everything a step changes is in memory; settles how many blocks the step takes. */
static int step_look(struct tfs_trans *t, struct wb_part *p)
{
	uint64_t from = part_next(p), left = p->len - p->done,
		 max = CLAIM_MAX_BYTES >> t->fs->geom.blkbits, stop;
	struct tfs_wb_eof *eof;
	struct extent e;
	int err;

	if (left > max)
		left = max;
	err = extent_look(t, p->i->ino, from, from + left, STEP_EXTENTS, &stop);
	if (err)
		return err;
	p->step = stop - from;
	if (p->type != IOMAP_INLINE) {
		err = extent_look_blocks(t, p->block + p->done, p->step, true);
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
	eof = find_eof(p->i, from, stop);
	if (eof && eof->trunc) {
		err = truncate_look(t, p->i, eof->size);
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

static int step_apply(struct tfs_trans *t, struct wb_part *p)
{
	unsigned int bits = t->fs->geom.blkbits;
	uint64_t from = part_next(p), to = from + p->step, size = to << bits;
	uint64_t isize = i_size_read(&p->i->mapping);
	struct tfs_wb_eof *eof = find_eof(p->i, from, to);
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

static uint64_t part_credits(const struct wb_part *p)
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

static bool part_over(const struct wb_part *p)
{
	return p->io->io_error || p->done == p->len;
}

/* The steps of @n parts in one section.  0, or the error, after which nothing of it is in the
 * tree. */
static int run_section(struct tfs_fs *fs, struct wb_part **parts, unsigned int n, uint64_t credits)
{
	struct tfs_trans t = { 0 };
	int err;

	do {
		err = trans_begin_settle(&t, fs, credits);
		for (unsigned int k = 0; !err && k < n; k++)
			err = step_look(&t, parts[k]);
		for (unsigned int k = 0; !err && k < n; k++)
			err = step_apply(&t, parts[k]);
	} while (trans_again(&t, &err));
	for (unsigned int k = 0; !err && k < n; k++)
		parts[k]->done += parts[k]->step;
	return err;
}

/* Together; if that fails each alone, for the others have nothing to do with what one of them has
 * met. */
static void run_parts(struct tfs_fs *fs, struct wb_part **parts, unsigned int n, uint64_t credits)
{
	int err = run_section(fs, parts, n, credits);

	if (err && n == 1)
		parts[0]->io->io_error = err;
	for (unsigned int k = 0; err && n > 1 && k < n; k++)
		run_parts(fs, &parts[k], 1, credits);
}

#define SECTION_PARTS 32u

/* Take parts into sections as credits allow until all are done or have failed. */
static void commit_parts(struct tfs_fs *fs, struct wb_part *parts, unsigned int nr)
{
	uint64_t max = trans_max_credits(fs);
	unsigned int first = 0;

	while (first < nr) {
		struct wb_part *now[SECTION_PARTS];
		uint64_t credits = 0;
		unsigned int n = 0, k;

		for (k = first; k < nr && n < SECTION_PARTS; k++) {
			uint64_t c;

			if (part_over(&parts[k]))
				continue;
			c = part_credits(&parts[k]);
			if (n && credits + c > max)
				break;
			credits += c;
			now[n++] = &parts[k];
		}
		if (!n)
			return;
		run_parts(fs, now, n, credits < max ? credits : max);
		while (first < nr && part_over(&parts[first]))
			first++;
	}
}

/*
 * Promises of parts that failed, to be handed on to the blocks that become dirty again when their
 * ioends are finished, which the same worker does next.  Blocks dirtied meanwhile have one of their
 * own.
 */
static __thread uint64_t handed_on;

/* Space of a part: what was not used goes back, or is kept for tfs_redirty. */
static void settle_space(struct wb_part *p)
{
	struct tfs_fs *fs = p->i->fs;
	bool claimed = p->type == IOMAP_MAPPED;

	if (!p->io->io_error) {
		if (!claimed)
			space_unreserve(fs, p->len);
		return;
	}
	/* of a file system that stopped half way nothing is certain, nor needed */
	if (atomic_load(&fs->shutdown))
		return;
	if (!claimed) {
		handed_on += p->len;
	} else if (p->done < p->len) {
		alloc_cancel(fs, p->block + p->done, p->len - p->done, true);
		handed_on += p->len - p->done;
	}
}

/* Blocks that are dirty once more need a promise once more, also those that a committed step has
 * mapped. */
static void tfs_redirty(struct address_space *m, uint64_t nblocks)
{
	struct tfs_inode *i = m->host;
	uint64_t have = nblocks < handed_on ? nblocks : handed_on;

	if (atomic_load(&i->fs->shutdown))
		return;
	handed_on -= have;
	space_reserve_again(i->fs, nblocks - have);
}

static void settle_rest(struct tfs_fs *fs)
{
	if (handed_on)
		space_unreserve(fs, handed_on);
	handed_on = 0;
}

static void part_init(struct wb_part *p, struct iomap_ioend *io)
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
		eof = find_eof(i, 0, 1);
		p->inline_len = eof && eof->size < i->fs->geom.inline_max ? (uint32_t)eof->size
									  : i->fs->geom.inline_max;
	}
	if (io->io_error)
		return;
	err = part_load(p);
	if (err)
		io->io_error = err;
}

static void fail_part(struct iomap_ioend *io, int err)
{
	struct wb_part p;

	io->io_error = io->io_error ? io->io_error : err;
	part_init(&p, io);
	settle_space(&p);
	inode_put(p.i);
}

/* Without memory for the parts: nothing reaches the tree, all stays dirty. */
static void fail_batch(struct list_head *ioends, int err)
{
	struct iomap_ioend *top, *next, *io;

	list_for_each_entry_safe(top, next, ioends, io_list) {
		struct tfs_inode *i = top->io_mapping->host;

		inode_hold(i);
		list_del_init(&top->io_list);
		fail_part(top, err);
		list_for_each_entry(io, &top->io_merged, io_list)
			fail_part(io, err);
		forget_eofs(i, 0, UINT64_MAX);
		iomap_finish_ioends(top, 0);
		settle_rest(i->fs);
		inode_put(i);
	}
}

static unsigned int count_parts(struct list_head *ioends)
{
	struct iomap_ioend *top, *io;
	unsigned int n = 0;

	list_for_each_entry(top, ioends, io_list) {
		n++;
		list_for_each_entry(io, &top->io_merged, io_list)
			n++;
	}
	return n;
}

static void tfs_end_ioends(void *host_fs, struct list_head *ioends)
{
	struct tfs_fs *fs = host_fs;
	struct iomap_ioend *top, *next, *io;
	unsigned int nr = count_parts(ioends), k = 0;
	struct wb_part *parts = tl_alloc(nr * sizeof(*parts));

	if (!parts) {
		fail_batch(ioends, -ENOMEM);
		return;
	}
	list_for_each_entry(top, ioends, io_list) {
		part_init(&parts[k++], top);
		list_for_each_entry(io, &top->io_merged, io_list)
			part_init(&parts[k++], io);
	}
	commit_parts(fs, parts, nr);
	for (k = 0; k < nr; k++) {
		if (parts[k].io->io_error == -ENOSPC)
			backing_refused(fs);
		settle_space(&parts[k]);
		forget_eofs(parts[k].i, parts[k].off, parts[k].off + parts[k].len);
		tl_free(parts[k].data);
	}
	list_for_each_entry_safe(top, next, ioends, io_list) {
		list_del_init(&top->io_list);
		iomap_finish_ioends(top, 0);
	}
	settle_rest(fs);
	/* the references kept the inodes in memory until here */
	for (k = 0; k < nr; k++)
		inode_put(parts[k].i);
	tl_free(parts);
	reap_kick_async(fs);
}

/* ---- the mapping's operations ---- */

void writeback_init(struct tfs_fs *fs, struct iomap_writeback_ops *ops)
{
	*ops = (struct iomap_writeback_ops){
		.map_blocks = tfs_map_blocks,
		.end_ioends = tfs_end_ioends,
		.discard_folio = tfs_discard,
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
	.redirty = tfs_redirty,
	.grab = tfs_grab,
	.drop = tfs_drop,
};
