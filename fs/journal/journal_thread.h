/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The journal's life: made at mount, its thread, its end. */
#ifndef FS_JOURNAL_THREAD_H
#define FS_JOURNAL_THREAD_H

#include "fs/journal/journal.h"
#include "fs/journal/recover.h"
#include "fs/state/fs.h"

/*
 * A journal that goes on behind recovery @r, with the superblock @super in the buffer
 * cache.  0 or -ENOMEM.
 */
int journal_create(struct tfs_fs *fs, const struct tfs_recovery *r,
		   const struct journal_hooks *hooks);
int journal_thread_start(struct tfs_fs *fs);
/* Finish what is under way; the thread ends. */
void journal_thread_stop(struct tfs_fs *fs);
/* Drop everything that is not durable or not at home. */
void journal_destroy(struct tfs_fs *fs);

#endif
