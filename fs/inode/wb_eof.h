/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The end of the file in copies under writeback.
 *
 * The size on disk never passes the end of what is there: for the EOF block the size at the moment
 * its copy was taken is remembered, since the copy's bytes behind that are zeros, whatever has been
 * appended since.  So a crash shows each block as it was at one moment, and bytes behind EOF are
 * zero in every committed state (truncate.c relies on it).
 */
#ifndef FS_INODE_WB_EOF_H
#define FS_INODE_WB_EOF_H

#include <stdbool.h>
#include <stdint.h>
#include "core/lib/list.h"
#include "fs/inode/inode.h"

struct tfs_wb_eof {
	struct list_head link; /* tfs_inode.wb_eofs: under its attr_lock */
	uint64_t fblk;	       /* file block */
	uint64_t size; /* bytes: the size on disk may not pass it by this copy's completion */
	bool trunc;    /* the completion performs the pending truncation */
};

/* The copy of block @fblk now being taken, its folio locked, has zeros behind @size.  -ENOMEM. */
int wb_eof_note(struct tfs_inode *i, uint64_t fblk, uint64_t size);

/* The last one in file blocks [from, to), or NULL.  Stays until the ioend with its block is over.
 */
struct tfs_wb_eof *wb_eof_find(struct tfs_inode *i, uint64_t from, uint64_t to);
void wb_eof_forget(struct tfs_inode *i, uint64_t from, uint64_t to);

#endif
