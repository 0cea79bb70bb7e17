/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From an inode number to a path, for people: upwards through the back-references. */
#ifndef FS_NAMES_PATH_H
#define FS_NAMES_PATH_H

#include <stddef.h>
#include <stdint.h>
#include "fs/journal/trans.h"

/* An absolute path of @ino into @buf (its first link; "?" parts where it is damaged).  -ENOENT
 * unlinked, -ERANGE. */
int inode_path(struct tfs_trans *t, uint64_t ino, char *buf, size_t size);

#endif
