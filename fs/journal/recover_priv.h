/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inside of recovery: recover.c (the log) and recover_super.c (the superblock that goes with
 * it). */
#ifndef FS_RECOVER_PRIV_H
#define FS_RECOVER_PRIV_H

#include "core/block/bdev.h"
#include "fs/disk/geom.h"
#include "fs/journal/recover.h"
#include "tallyfs/format.h"

/* The first corruption met counts: something of transaction @txid, which was durable, is gone or
 * wrong. */
void recovery_corrupt(struct tfs_recovery *r, uint64_t txid, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * The log has been read.  *super, which was found first, gives way to one at home that goes with
 * the log where it is older; none does: corrupt.  Tells which places want mending.
 */
void recovery_judge_supers(struct bdev *b, struct tfs_super *super, const struct tfs_geom *g,
			   struct tfs_recovery *r, uint64_t tail_txid);
/*
 * The primary comes first, while the copies are left alone, and with what the log says, if it says:
 * of that alone a crash between can be recovered.  The copies come after what is pending, which
 * writes them too.  0 or -errno.
 */
int recovery_mend_primary(struct bdev *b, const struct tfs_super *super, const struct tfs_geom *g,
			  const struct tfs_recovery *r);
int recovery_mend_copies(struct bdev *b, const struct tfs_super *super, const struct tfs_geom *g,
			 struct tfs_recovery *r);

#endif
