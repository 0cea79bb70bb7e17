/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef FS_ADMIT_H
#define FS_ADMIT_H

#include "core/block/bdev.h"
#include "fs/disk/geom.h"
#include "fs/journal/recover.h"
#include "tallyfs/format.h"

enum {
	ADMIT_WRITE = 1 << 0,  /* something will be written: if only the journal's content, home */
	ADMIT_NO_LOG = 1 << 1, /* as if there was no journal */
};
/*
 * The superblock (@which: see tfs_super_read), held against the device and this program; the log,
 * and the superblock in force with it.  Nothing is written.  0, and then the log may still be
 * corrupt: see *r, to be freed in any case; or -errno as of tfs_open() and a line in @why.
 */
int tfs_admit(struct bdev *b, int which, unsigned int flags, struct tfs_super *super,
	      struct tfs_geom *geom, struct tfs_recovery *r, char *why, size_t why_len);

#endif
