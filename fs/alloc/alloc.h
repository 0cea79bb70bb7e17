/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Space: which blocks are free, how many are reserved, and tuples.
 *
 * Two views of a group's bitmap: the one in the buffer cache is what the running
 * transaction will commit; the *claim map* in memory is what may be handed out: in-use
 * blocks, plus blocks claimed for writeback under way (not yet in any
 * transaction), plus blocks freed by a transaction that is not durable
 * yet (rule 3).  Allocation only ever looks at the claim map.
 */
#ifndef FS_ALLOC_H
#define FS_ALLOC_H

#include "core/block/integrity.h"
#include "fs/journal/trans.h"
#include "fs/state/fs.h"

/*
 * See that alloc_commit or alloc_free, and tuple_write, of [start, start + n)
 * will find all they need in memory: call it before the first change of a section.
 * 0, -TRANS_RESTART, -EUCLEAN, -EIO, -ENOMEM.
 */
int alloc_prefault(struct tfs_trans *t, uint64_t start, uint64_t n);

/*
 * The claim enters the running transaction: bits set on disk, its group made if
 * it was not in use before.  The range lies in one group.
 */
int alloc_commit(struct tfs_trans *t, uint64_t start, uint64_t n);

/*
 * Blocks of the tree's or a file's go free in this transaction; they can be
 * handed out again once it is durable.  Their tuples stay as they are.
 */
int alloc_free(struct tfs_trans *t, uint64_t start, uint64_t n);

/* Journal only: the transaction that freed these is durable. */
void alloc_release(struct tfs_fs *fs, uint64_t start, uint64_t n);
int alloc_init(struct tfs_fs *fs);
void alloc_exit(struct tfs_fs *fs);

#endif
