/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Attributes: getattr, setattr, set-id bits. */
#ifndef FS_VFS_ATTR_H
#define FS_VFS_ATTR_H

#include <stdbool.h>
#include "fs/inode/inode.h"
#include "fs/vfs/vfs.h"

/*
 * Clear set-id bits and file capabilities in memory and on disk, if there are any; *killed is set
 * if there were, and stays as it is if not.  No section.
 */
int inode_kill_priv(struct tfs_inode *i, bool *killed);
void attr_kill_suid(struct tfs_iattr *a);

/* What getattr tells. */
void inode_attr(struct tfs_inode *i, struct vfs_attr *attr);

#endif
