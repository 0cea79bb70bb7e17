/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Values that do not fit into one item: symbolic link targets and large attributes. */
#ifndef FS_NAMES_CHUNKS_H
#define FS_NAMES_CHUNKS_H

#include <stddef.h>
#include <stdint.h>
#include "fs/disk/btree_key.h"
#include "fs/journal/trans.h"
#include "fs/state/fs.h"

/*
 * Chunk i of a value is the item @base with off + i.  All but the last have
 * chunk_size() bytes, none is empty.
 */
uint32_t chunk_size(const struct tfs_fs *fs);

/* Room for @len bytes and the old chunks of a value of @old_len bytes are in memory. */
int chunks_prefault(struct tfs_trans *t, const struct tkey *base, size_t len, size_t old_len);

/* Write @len bytes over a value that had @old_len (0: none); surplus chunks go. */
int chunks_write(struct tfs_trans *t, const struct tkey *base, const void *data, size_t len,
		 size_t old_len);

/*
 * Copy a value to @buf.  Its length, at most @limit (else -EUCLEAN); -ERANGE when
 * @size is less; 0 when there is no chunk.
 */
int chunks_read(struct tfs_trans *t, const struct tkey *base, void *buf, size_t size, size_t limit);

#endif
