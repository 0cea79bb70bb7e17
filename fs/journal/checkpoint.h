/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Committed metadata goes home, and the journal's space is free again. */
#ifndef FS_CHECKPOINT_H
#define FS_CHECKPOINT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>
#include "core/block/bdev.h"
#include "fs/disk/geom.h"

struct tfs_journal;

/* Owner of busy: everything committed goes home and the log is empty.  0 or -errno (file system
 * shut down). */
int journal_checkpoint_once(struct tfs_journal *j);
/* Nothing runs any more, the file system was shut down: TFS_STATE_ERRORS goes to the device if that
 * is still possible.
 */
void journal_mark_broken(struct tfs_journal *j);

/* ---- writing structures home: checkpoint and recovery ---- */
#define HOME_VECS 64
struct home_writer {
	struct bdev *bdev;
	struct iovec iov[HOME_VECS];
	int n;
	uint64_t start, end; /* device bytes collected */
};
/* @data at device byte @off; adjacent pieces are merged, so it must stay until home_flush. */
int home_write(struct home_writer *w, uint64_t off, const void *data, uint32_t bytes);
int home_flush(struct home_writer *w);
/*
 * The superblock goes to its copies, and, when all that was written before is durable, to its
 * own place; home_write_super ends with a flush.  In this order: one of them is whole after any
 * cut.
 */
/* One copy that can't be written is warned of and *lost set, if the other can: the primary is only
 * written after a copy. */
int home_write_super_copies(struct bdev *b, const struct tfs_geom *g, const void *super,
			    bool *lost);
int home_write_super(struct bdev *b, const struct tfs_geom *g, const void *super);

#endif
