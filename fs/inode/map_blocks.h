/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where dirty blocks go. */
#ifndef FS_INODE_MAP_BLOCKS_H
#define FS_INODE_MAP_BLOCKS_H

#include <stdint.h>
#include "core/iomap/iomap.h"
#include "core/pagecache/pagecache.h"

/* Bytes claimed at once, and mapped in one section. */
#define CLAIM_MAX_BYTES (4u << 20)

/*
 * iomap_writeback_ops.map_blocks: a place for the front of @len dirty bytes at @offset, whose folio
 * is locked (or which are a direct write's).  0 or -errno, after which nothing of it is left: there
 * is nothing to discard.
 */
int tfs_map_blocks(struct iomap_writepage_ctx *wpc, struct address_space *m, uint64_t offset,
		   uint64_t len);

#endif
