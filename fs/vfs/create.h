/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a rename leaves for overlayfs in place of the old name: a whiteout, a new inode. */
#ifndef FS_VFS_CREATE_H
#define FS_VFS_CREATE_H

#include "fs/inode/inode.h"
#include "fs/journal/trans.h"
#include "fs/vfs/namei.h"
#include "fs/vfs/vfs.h"

/* In memory only, in no cache: inode_free() when the section is over.  NULL: no memory. */
struct tfs_inode *whiteout_alloc(struct tfs_inode *dir, const struct vfs_cred *cred);
/* Before the first change: what giving @r's name to a new inode will touch. */
int whiteout_prefault(struct tfs_trans *t, const struct name_ref *r);
/* Makes the inode, and the name @r, which is there (r->de), becomes its name. */
int whiteout_put(struct tfs_trans *t, const struct name_ref *r, struct tfs_inode *i);

#endif
