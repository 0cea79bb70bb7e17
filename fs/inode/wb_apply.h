/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One ioend that is on the device, on its way into the tree, a step (some blocks) a section. */
#ifndef FS_INODE_WB_APPLY_H
#define FS_INODE_WB_APPLY_H

#include <stdbool.h>
#include <stdint.h>
#include "core/iomap/iomap.h"
#include "fs/inode/inode.h"
#include "fs/journal/trans.h"

/* An ioend, alone or merged into another, and how far the tree has it. */
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

/* Takes a reference on the inode, and memory: an error is left in @io. */
void wb_part_init(struct wb_part *p, struct iomap_ioend *io);
bool wb_part_over(const struct wb_part *p); /* all of it in the tree, or failed */

/* Bytes of log that its next step may take. */
uint64_t wb_part_credits(const struct wb_part *p);
/* Everything its next step changes is in memory; settles how many blocks the step takes. */
int wb_part_prefault(struct tfs_trans *t, struct wb_part *p);
int wb_part_apply(struct tfs_trans *t, struct wb_part *p);

#endif
