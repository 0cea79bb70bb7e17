/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading metadata into the buffer cache, verified. */
#ifndef FS_BUFFER_READ_H
#define FS_BUFFER_READ_H

#include "fs/disk/geom.h"
#include "fs/journal/buffer.h"
#include "fs/journal/trans.h"
#include "fs/journal/tuple.h"
#include "fs/state/fs.h"
#include "tallyfs/format.h"

#define MAX_NODE_TUPLES (TFS_MAX_NODE / TFS_MIN_BLOCK)

/* What shows that a block is the one that was written last. */
struct buf_proof {
	bool fresh; /* never written: content is known without reading */
	uint64_t guard;
	struct tuple16 tuples[MAX_NODE_TUPLES];
};

/* Inside a section.  0, -TRANS_RESTART, or -errno. */
int buf_get_proof(struct tfs_trans *t, uint64_t block, enum tfs_buf_kind kind, struct buf_proof *p);
/* No lock held, or the section's.  Fill the placeholder @b from the device, and let the others
 * know.  @put: let go of it, too.  -errno, and why in @why. */
int buf_fill(struct tfs_fs *fs, struct tfs_buf *b, const struct buf_proof *p, bool put, char *why,
	     size_t why_len);
/* Can a structure of this kind be at @block at all? */
bool buf_place_ok(const struct tfs_geom *g, uint64_t block, enum tfs_buf_kind kind);
/* Read and verify @block inside a section, on the spot; failures are real: logged, counted, acted
 * upon.  0, -EIO, -ENOMEM, -EUCLEAN. */
int buf_load_locked(struct tfs_trans *t, uint64_t block, enum tfs_buf_kind kind,
		    struct tfs_buf **out);
/* A node that is about to change has its space from the host.  -ENOSPC. */
int buf_back(struct tfs_fs *fs, struct tfs_buf *b);

#endif
