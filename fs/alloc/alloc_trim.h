/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Telling the device which blocks are free (FITRIM). */
#ifndef FS_ALLOC_ALLOC_TRIM_H
#define FS_ALLOC_ALLOC_TRIM_H

#include <stdbool.h>
#include <stdint.h>
#include "fs/state/fs.h"

/*
 * Discard the runs of at least @minlen free blocks in [from, to), in @trimmed as many blocks as
 * that were, also on failure.  @stop (or NULL) is asked between steps.  One caller at a time,
 * others get -EBUSY: each takes a thread for as long as it lasts.  No lock held.  -EINTR,
 * -EOPNOTSUPP, -EIO, -EROFS, ...
 */
int alloc_trim(struct tfs_fs *fs, uint64_t from, uint64_t to, uint64_t minlen,
	       bool (*stop)(void *arg), void *arg, uint64_t *trimmed);

#endif
