/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Append-only files and a cache in front of us. */
#ifndef FS_INODE_APPEND_H
#define FS_INODE_APPEND_H

#include "core/iomap/iomap.h"
#include "fs/inode/inode.h"

/* A write from the kernel's cache to an append-only file.  Bytes; -EPERM: it would have changed
 * what is there. */
int64_t append_write(struct tfs_inode *i, uint64_t pos, const struct iomap_src *src);

/* [from, to) becomes part of the file before anything has come for it. */
int append_gap(struct tfs_inode *i, uint64_t from, uint64_t to);

#endif
