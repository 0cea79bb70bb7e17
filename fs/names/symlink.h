/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Targets of symbolic links. */
#ifndef FS_NAMES_SYMLINK_H
#define FS_NAMES_SYMLINK_H

#include <stddef.h>
#include <stdint.h>
#include "fs/journal/trans.h"

int symlink_write(struct tfs_trans *t, uint64_t ino, const char *target, size_t len);

/* Length, or -errno (-ERANGE: @size is less).  NUL-terminated if there is room for that. */
int symlink_read(struct tfs_trans *t, uint64_t ino, char *buf, size_t size);

#endif
