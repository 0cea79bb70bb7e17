/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * POSIX access control lists (the withdrawn POSIX.1e draft, as Linux has them), in the form in
 * which the kernel hands them to file systems and in which they are stored as extended attributes:
 * a version and entries of tag, permissions, id, all little-endian.
 *
 * The kernel checks who may set one and uses them to decide about access.  Ours: that
 * they are well formed, that the mode agrees with them, and what is inherited.
 */
#ifndef FS_ACL_H
#define FS_ACL_H

#include "fs/journal/trans.h"
#include "tallyfs/format.h"

#define ACL_NAME_ACCESS "system.posix_acl_access"
#define ACL_NAME_DEFAULT "system.posix_acl_default"
/* Bytes of one, 511 entries: what the kernel takes from a FUSE mount where pages have 4 KiB. */
#define ACL_SIZE_MAX 4096u
#define ACL_VERSION 2u

enum acl_tag {
	ACL_USER_OBJ = 0x01,
	ACL_USER = 0x02,
	ACL_GROUP_OBJ = 0x04,
	ACL_GROUP = 0x08,
	ACL_MASK = 0x10,
	ACL_OTHER = 0x20,
};
#define ACL_NO_ID UINT32_MAX

struct acl_entry {
	le16 tag; /* enum acl_tag */
	le16 perm;
	le32 id; /* of ACL_USER and ACL_GROUP */
} __attribute__((packed));

#define ACL_HEAD 4u
#define ACL_ENTRIES_MAX ((ACL_SIZE_MAX - ACL_HEAD) / (unsigned int)sizeof(struct acl_entry))

struct tfs_acl {
	unsigned int n; /* entries; 0: no ACL */
	struct {
		le32 version;
		struct acl_entry e[ACL_ENTRIES_MAX];
	} __attribute__((packed)) x; /* the attribute's value */
};

static inline size_t acl_size(const struct tfs_acl *acl)
{
	return acl->n ? ACL_HEAD + acl->n * sizeof(struct acl_entry) : 0;
}

/*
 * Take an attribute's value: entries in the order owner, users, group, groups, mask, others, each
 * of the unnamed ones once, a mask if there are named ones.  One without any entry is no ACL (n is
 * 0). -EINVAL; -EOPNOTSUPP another version; -E2BIG.
 */
int acl_parse(struct tfs_acl *acl, const void *value, size_t len);
/* Set the permission bits of *mode to what the ACL says.  True: the mode says it all, no ACL is
 * needed. */
bool acl_to_mode(const struct tfs_acl *acl, uint32_t *mode);
/* chmod: the ACL's entries for owner, mask (or group, if it has none) and others follow the
 * mode. */
void acl_chmod(struct tfs_acl *acl, uint32_t mode);
/*
 * A new file's ACL out of its directory's default ACL: entries and *mode are cut to what both
 * allow.  True: the mode says it all.
 */
bool acl_inherit(struct tfs_acl *acl, uint32_t *mode);

/* ---- in the tree; all in a section ---- */

/* -ENODATA: none.  -EUCLEAN: what is there is no ACL. */
int acl_read(struct tfs_trans *t, uint64_t ino, const char *name, struct tfs_acl *acl);
/*
 * Before a section's first change: the access ACL as it will be when the mode is @mode, acl->n 0 if
 * there is none; everything acl_write() will need is in memory.
 */
int acl_chmod_prefault(struct tfs_trans *t, uint64_t ino, uint32_t mode, struct tfs_acl *acl);
/* Store it, or remove what is there if acl->n is 0. */
int acl_write(struct tfs_trans *t, uint64_t ino, struct tfs_inode_item *it, const char *name,
	      const struct tfs_acl *acl);

#endif
