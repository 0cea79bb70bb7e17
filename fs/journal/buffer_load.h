/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading metadata before it is wanted under a lock. */
#ifndef FS_BUFFER_LOAD_H
#define FS_BUFFER_LOAD_H

#include "fs/journal/buffer.h"
#include "fs/state/fs.h"

/*
 * Read and verify @block with no lock held; quiet about failures, since what
 * was wanted may have been freed meanwhile.  0 (cached now, or worth another try) or -errno.
 */
int buf_load(struct tfs_fs *fs, uint64_t block, enum tfs_buf_kind kind);
/* Hint: read it in the background if not cached. */
void buf_readahead(struct tfs_fs *fs, const uint64_t *blocks, unsigned int n,
		   enum tfs_buf_kind kind);

#endif
