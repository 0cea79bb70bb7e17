/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading metadata into the buffer cache, verified. */
#ifndef FS_BUFFER_READ_H
#define FS_BUFFER_READ_H

#include "fs/disk/geom.h"
#include "fs/journal/buffer.h"
#include "fs/journal/trans.h"
#include "fs/state/fs.h"

/* Can a structure of this kind be at @block at all? */
bool buf_place_ok(const struct tfs_geom *g, uint64_t block, enum tfs_buf_kind kind);
/*
 * Read and verify @block with no lock held; quiet about failures, since what
 * was wanted may have been freed meanwhile.  0 (cached now, or worth another try) or -errno.
 */
int buf_load(struct tfs_fs *fs, uint64_t block, enum tfs_buf_kind kind);
/* The same inside a section, on the spot; failures are real: logged, counted, acted upon. */
int buf_load_locked(struct tfs_trans *t, uint64_t block, enum tfs_buf_kind kind,
		    struct tfs_buf **out);
/* A node that is about to change has its space from the host.  -ENOSPC. */
int buf_back(struct tfs_fs *fs, struct tfs_buf *b);
/* Hint: read it in the background if not cached. */
void buf_readahead(struct tfs_fs *fs, const uint64_t *blocks, unsigned int n,
		   enum tfs_buf_kind kind);

#endif
