/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Completion of writeback: when the data is on the device, one transaction for as many finished
 * ioends as fit brings them into the tree (wb_apply.c).  Until it commits, the old blocks are what
 * a crash leaves.  map_blocks.c shows what becomes of the space.
 */
#include <errno.h>
#include "core/iomap/iomap.h"
#include "core/lib/list.h"
#include "core/lib/util.h"
#include "fs/alloc/alloc_data.h"
#include "fs/alloc/space.h"
#include "fs/inode/end_ioends.h"
#include "fs/inode/icache.h"
#include "fs/inode/inode.h"
#include "fs/inode/reaper.h"
#include "fs/inode/wb_eof.h"
#include "fs/inode/wb_apply.h"
#include "fs/journal/trans.h"
#include "fs/state/backing.h"
#include "fs/state/fs.h"

/* ---- into the tree ---- */

/* The steps of @n parts in one section.  0, or the error, after which nothing of it is in the
 * tree. */
static int run_section(struct tfs_fs *fs, struct wb_part **parts, unsigned int n, uint64_t credits)
{
	struct tfs_trans t = { 0 };
	int err;

	do {
		err = trans_begin_settle(&t, fs, credits);
		for (unsigned int k = 0; !err && k < n; k++)
			err = wb_part_prefault(&t, parts[k]);
		for (unsigned int k = 0; !err && k < n; k++)
			err = wb_part_apply(&t, parts[k]);
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

			if (wb_part_over(&parts[k]))
				continue;
			c = wb_part_credits(&parts[k]);
			if (n && credits + c > max)
				break;
			credits += c;
			now[n++] = &parts[k];
		}
		if (!n)
			return;
		run_parts(fs, now, n, credits < max ? credits : max);
		while (first < nr && wb_part_over(&parts[first]))
			first++;
	}
}

/* ---- space ---- */

/*
 * Reservations of a batch's parts that failed, in blocks, for those of their blocks that become
 * dirty again when their ioends are finished: io_private leads there.  Blocks dirtied meanwhile
 * have one of their own.
 */
struct kept_reservations {
	uint64_t blocks;
};

/* Space of a part: what was not used goes back, or is kept for tfs_redirty. */
static void settle_space(struct wb_part *p, struct kept_reservations *kept)
{
	struct tfs_fs *fs = p->i->fs;
	bool claimed = p->type == IOMAP_MAPPED;

	p->io->io_private = kept;
	if (!p->io->io_error) {
		if (!claimed)
			space_unreserve(fs, p->len);
		return;
	}
	/* of a file system that stopped half way nothing is certain, nor needed */
	if (atomic_load(&fs->shutdown))
		return;
	if (!claimed) {
		kept->blocks += p->len;
	} else if (p->done < p->len) {
		alloc_cancel(fs, p->block + p->done, p->len - p->done, true);
		kept->blocks += p->len - p->done;
	}
}

/* Blocks that are dirty once more need a reservation once more, also those that a committed step
 * has mapped. */
void tfs_redirty(struct iomap_ioend *io, uint64_t nblocks)
{
	struct tfs_inode *i = io->io_mapping->host;
	struct kept_reservations *kept = io->io_private;
	uint64_t have = min_t(uint64_t, nblocks, kept->blocks);

	if (atomic_load(&i->fs->shutdown))
		return;
	kept->blocks -= have;
	space_reserve_again(i->fs, nblocks - have);
}

static void settle_rest(struct tfs_fs *fs, const struct kept_reservations *kept)
{
	if (kept->blocks)
		space_unreserve(fs, kept->blocks);
}

/* What is held of a part, but for the inode. */
static void part_end(struct wb_part *p, struct kept_reservations *kept)
{
	settle_space(p, kept);
	wb_eof_forget(p->i, p->off, p->off + p->len);
	tl_free(p->data);
}

/* ---- batches ---- */

static void fail_part(struct iomap_ioend *io, int err, struct kept_reservations *kept)
{
	struct wb_part p;

	io->io_error = io->io_error ? io->io_error : err;
	wb_part_init(&p, io);
	part_end(&p, kept);
	inode_put(p.i);
}

/* Without memory for the parts: nothing reaches the tree, all stays dirty. */
static void fail_batch(struct list_head *ioends, int err)
{
	struct iomap_ioend *top, *next, *io;

	list_for_each_entry_safe(top, next, ioends, io_list) {
		struct tfs_inode *i = top->io_mapping->host;
		struct kept_reservations kept = { 0 };

		inode_hold(i);
		list_del_init(&top->io_list);
		fail_part(top, err, &kept);
		list_for_each_entry(io, &top->io_merged, io_list)
			fail_part(io, err, &kept);
		iomap_finish_ioends(top, 0);
		settle_rest(i->fs, &kept);
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

void tfs_end_ioends(void *host_fs, struct list_head *ioends)
{
	struct tfs_fs *fs = host_fs;
	struct iomap_ioend *top, *next, *io;
	struct kept_reservations kept = { 0 };
	unsigned int nr = count_parts(ioends), k = 0;
	struct wb_part *parts = tl_alloc(nr * sizeof(*parts));

	if (!parts) {
		fail_batch(ioends, -ENOMEM);
		return;
	}
	list_for_each_entry(top, ioends, io_list) {
		wb_part_init(&parts[k++], top);
		list_for_each_entry(io, &top->io_merged, io_list)
			wb_part_init(&parts[k++], io);
	}
	commit_parts(fs, parts, nr);
	for (k = 0; k < nr; k++) {
		if (parts[k].io->io_error == -ENOSPC)
			backing_refused(fs);
		part_end(&parts[k], &kept);
	}
	list_for_each_entry_safe(top, next, ioends, io_list) {
		list_del_init(&top->io_list);
		iomap_finish_ioends(top, 0);
	}
	settle_rest(fs, &kept);
	/* the references kept the inodes in memory until here */
	for (k = 0; k < nr; k++)
		inode_put(parts[k].i);
	tl_free(parts);
	reap_kick_async(fs);
}
