/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An inode's attributes: to the item in the tree, and to those who ask. */
#ifndef FS_INODE_INODE_FLUSH_H
#define FS_INODE_INODE_FLUSH_H

#include "fs/inode/inode.h"
#include "fs/journal/trans.h"
#include "fs/state/fs.h"
#include "tallyfs/format.h"

/* Write the items of all dirty inodes.  First error. */
int icache_flush(struct tfs_fs *fs);

/* How many there are. */
uint64_t icache_nr_dirty(struct tfs_fs *fs);
int inode_prefault(struct tfs_trans *t, uint64_t ino);

/* Write the item as memory has it.  Write section. */
int inode_write(struct tfs_trans *t, struct tfs_inode *i);
void inode_item_of(struct tfs_inode *i, struct tfs_inode_item *it);

/* The item on disk lags behind (times, size without data). */
void inode_mark_dirty(struct tfs_inode *i);

/*
 * From here on what is dirty may be taken from the cache unwritten, and at the end the tree says
 * that it is gone.  Who syncs meanwhile finds neither: it waits for the end.  Inode lock held
 * exclusively, for all of it; only a truncation that fails goes on until somebody finishes it
 * (inode_finish_truncate()), who syncs being one.
 */
void inode_begin_removal(struct tfs_inode *i);
void inode_end_removal(struct tfs_inode *i);

/*
 * Persist what inode_mark_dirty() spoke of, in a section of its own, if no transaction has since.
 * @size_only: times may wait.
 * @written: bytes, of a regular file; all that was dirty below it, when the file was already so
 * long, is in the tree. So it may be that long there too, whatever has become dirty since: that is
 * not there yet, as with any write.
 */
int inode_flush(struct tfs_inode *i, bool size_only, uint64_t written);

/* The same behind writing back what was dirty.  What was removed meanwhile is no longer in the
 * tree. No inode lock held. */
int inode_flush_written(struct tfs_inode *i, bool size_only, uint64_t written);

/* All that was written to the regular file @i so far comes into the tree, with the size that it
 * gave the file. */
int inode_settle(struct tfs_inode *i);
struct timespec tfs_now(void);

#endif
