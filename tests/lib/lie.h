/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A mounted file system is made to lie behind good checksums: items are put into its trees that no
 * operation would. */
#ifndef TESTS_LIB_LIE_H
#define TESTS_LIB_LIE_H

#include "fs/state/fs.h"
#include "tallyfs/format.h"

/* The item at (@ino @type @off) is @data; NULL: it is not there. */
void lie_item(struct tfs_fs *fs, enum tfs_tree_id tree, uint64_t ino, enum tfs_key_type type,
	      uint64_t off, const void *data, uint32_t len);
/* The inode's item as it is in the tree. */
struct tfs_inode_item lie_inode_of(struct tfs_fs *fs, uint64_t ino);
void lie_inode(struct tfs_fs *fs, uint64_t ino, const struct tfs_inode_item *it);

#endif
