/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Completion of writeback: what is on the device gets into the tree. */
#ifndef FS_INODE_END_IOENDS_H
#define FS_INODE_END_IOENDS_H

#include <stdint.h>
#include "core/iomap/iomap.h"
#include "core/lib/list.h"

/* iomap_writeback_ops */
void tfs_end_ioends(void *host_fs, struct list_head *ioends);
void tfs_redirty(struct iomap_ioend *io, uint64_t nblocks);

#endif
