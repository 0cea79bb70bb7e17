/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tuples: reading and writing them in the groups' tuple blocks, and sealing tree nodes. */
#ifndef FS_JOURNAL_TUPLE_H
#define FS_JOURNAL_TUPLE_H

#include "core/block/integrity.h"
#include "core/lib/list.h"
#include "fs/journal/trans.h"
#include "fs/state/fs.h"
#include "tallyfs/format.h"

int tuple_read(struct tfs_trans *t, uint64_t block, uint32_t n, struct tuple16 *out);

/* Read in what tuple_read or tuple_write of the range needs. */
int tuple_prefault(struct tfs_trans *t, uint64_t block, uint32_t n);
int tuple_write(struct tfs_trans *t, uint64_t block, uint32_t n, const struct tuple16 *tuples);

/* Tuples of @n blocks of @data, kind @app. */
void tuple_make(const struct tfs_fs *fs, uint64_t block, uint32_t n, const void *data,
		enum tfs_app_tag app, struct tuple16 *out);

/* Tuples for all changed nodes, then guards of changed tuple blocks and bitmaps into group headers,
 * then seals. */
int tuple_seal_nodes(struct tfs_trans *t, struct list_head *tx_bufs);

#endif
