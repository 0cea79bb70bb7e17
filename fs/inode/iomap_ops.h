/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is at this offset?  Answers for reading, writing, zeroing and seeking. */
#ifndef FS_INODE_IOMAP_OPS_H
#define FS_INODE_IOMAP_OPS_H

#include "core/iomap/iomap.h"

extern const struct iomap_ops tfs_iomap_ops;

#endif
