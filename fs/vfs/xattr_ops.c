/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Extended attributes of inodes. */
#include <errno.h>
#include <string.h>
#include <sys/xattr.h>
#include "core/lib/util.h"
#include "fs/alloc/space.h"
#include "fs/inode/icache.h"
#include "fs/inode/iget.h"
#include "fs/inode/inode.h"
#include "fs/inode/inode_flush.h"
#include "fs/journal/trans.h"
#include "fs/names/acl.h"
#include "fs/names/xattr.h"
#include "fs/state/error.h"
#include "fs/state/fs.h"
#include "fs/vfs/flags.h"
#include "fs/vfs/vfs.h"
#include "tallyfs/format.h"

#define NAME_MAX_LEN 255u /* XATTR_NAME_MAX */

static bool is_access_acl(const char *name)
{
	return !strcmp(name, ACL_NAME_ACCESS);
}

static bool is_default_acl(const char *name)
{
	return !strcmp(name, ACL_NAME_DEFAULT);
}

/* Of "system." the kernel leaves to us who may change what, and of what there is in it we know the
 * ACLs. */
static int check_namespace(const char *name)
{
	static const char *const spaces[] = { "user.", "trusted.", "security." };
	size_t len = strlen(name);

	if (len > NAME_MAX_LEN)
		return -ERANGE;
	if (is_access_acl(name) || is_default_acl(name))
		return 0;
	for (unsigned int k = 0; k < ARRAY_SIZE(spaces); k++) {
		size_t n = strlen(spaces[k]);

		if (!strncmp(name, spaces[k], n))
			return len > n ? 0 : -EINVAL;
	}
	return -EOPNOTSUPP;
}

/* A value may be 64 KiB in chunks of a quarter of a node, each logged with the node it is in; the
 * old one likewise. */
static uint64_t xattr_credits(struct tfs_fs *fs, size_t len)
{
	uint64_t want = TRANS_CREDITS(fs) + 4 * (uint64_t)len + 4 * (uint64_t)TFS_XATTR_MAX,
		 max = trans_max_credits(fs);

	return want < max ? want : max;
}

struct setxattr {
	struct tfs_inode *i;
	const char *name;
	const void *value;
	size_t len;
	int flags;
};

static int set_in_section(struct tfs_trans *t, const struct setxattr *s)
{
	struct tfs_inode *i = s->i;
	struct tfs_inode_item it;
	int err = inode_may_change(i);

	if (!err)
		err = inode_prefault(t, i->ino);
	if (err)
		return err;
	if (!strcmp(s->name, "security.capability"))
		atomic_store(&i->no_caps, false);
	inode_item_of(i, &it);
	err = xattr_set(t, i->ino, &it, s->name, s->value, s->len, s->flags);
	if (err)
		return err;
	pthread_mutex_lock(&i->attr_lock);
	i->a.xattr_value_id = le32_get(it.xattr_value_id);
	i->a.ctime = tfs_now();
	pthread_mutex_unlock(&i->attr_lock);
	return inode_write(t, i);
}

static int set_value(struct setxattr *s)
{
	struct tfs_fs *fs = s->i->fs;
	return TRANS_WRITE(t, fs, xattr_credits(fs, s->len), set_in_section(t, s));
}

/* ---- POSIX ACLs ---- */

/*
 * The mode's permission bits follow an access ACL; one that says no more than these is not stored.
 * @acl without entries: remove, the mode stays.
 */
static int acl_in_section(struct tfs_trans *t, struct tfs_inode *i, const struct setxattr *s,
			  struct tfs_acl *acl)
{
	bool access = is_access_acl(s->name);
	struct tfs_inode_item it;
	uint32_t mode = i->a.mode;
	struct tfs_acl none;
	int err = inode_may_change(i);

	if (!err)
		err = inode_prefault(t, i->ino);
	if (err)
		return err;
	none.n = 0;
	inode_item_of(i, &it);
	if (access && acl->n && acl_to_mode(acl, &mode))
		acl = &none;
	if (access && s->flags & VFS_XATTR_KILL_SGID)
		mode &= ~(uint32_t)S_ISGID;
	if (!access)
		atomic_store(&i->no_default_acl, false);
	err = acl_write(t, i->ino, &it, s->name, acl);
	if (err)
		return err;
	pthread_mutex_lock(&i->attr_lock);
	i->a.mode = mode;
	i->a.xattr_value_id = le32_get(it.xattr_value_id);
	i->a.ctime = tfs_now();
	pthread_mutex_unlock(&i->attr_lock);
	return inode_write(t, i);
}

static int set_acl(struct setxattr *s)
{
	struct tfs_inode *i = s->i;
	struct tfs_fs *fs = i->fs;
	struct tfs_acl acl;
	int err = 0;

	if (i->fmt == S_IFLNK)
		return -EOPNOTSUPP;
	acl.n = 0;
	if (s->len)
		err = acl_parse(&acl, s->value, s->len);
	if (!err && acl.n && is_default_acl(s->name) && !inode_is_dir(i))
		err = -EACCES;
	if (err)
		return err;
	err = TRANS_WRITE(t, fs, xattr_credits(fs, ACL_SIZE_MAX), acl_in_section(t, i, s, &acl));
	return err;
}

int vfs_setxattr(struct tfs_fs *fs, uint64_t ino, const char *name, const void *value, size_t len,
		 int flags, const struct vfs_cred *cred)
{
	struct setxattr s = { .name = name, .value = value, .len = len, .flags = flags };
	int err = check_namespace(name);

	if (!err && len > TFS_XATTR_MAX)
		err = -E2BIG;
	if (!err)
		err = tfs_writable(fs);
	if (!err)
		err = space_check_meta(fs, SPACE_NEW);
	if (!err)
		err = inode_get(fs, ino, &s.i);
	if (err)
		return err;
	if (is_access_acl(name) || is_default_acl(name))
		err = set_acl(&s);
	else
		err = set_value(&s);
	inode_put(s.i);
	return err;
}

static int remove_in_section(struct tfs_trans *t, struct tfs_inode *i, const char *name)
{
	int err = inode_may_change(i);

	if (!err)
		err = inode_prefault(t, i->ino);
	if (!err)
		err = xattr_remove(t, i->ino, name);
	if (err)
		return err;
	pthread_mutex_lock(&i->attr_lock);
	i->a.ctime = tfs_now();
	pthread_mutex_unlock(&i->attr_lock);
	return inode_write(t, i);
}

int vfs_removexattr(struct tfs_fs *fs, uint64_t ino, const char *name, const struct vfs_cred *cred)
{
	struct setxattr none = { .name = name };
	int err = check_namespace(name);

	if (!err)
		err = inode_get(fs, ino, &none.i);
	if (err)
		return err;
	if (is_access_acl(name) || is_default_acl(name)) {
		err = set_acl(&none);
		goto out;
	}
	err = TRANS_WRITE(t, fs, xattr_credits(fs, 0), remove_in_section(t, none.i, name));
out:
	inode_put(none.i);
	return err;
}

int vfs_getxattr(struct tfs_fs *fs, uint64_t ino, const char *name, void *buf, size_t size)
{
	int ret = check_namespace(name);

	if (ret)
		return ret;
	ret = TRANS_READ(t, fs, xattr_get(t, ino, name, buf, size));
	return ret;
}

int vfs_listxattr(struct tfs_fs *fs, uint64_t ino, char *buf, size_t size)
{
	int ret;

	ret = TRANS_READ(t, fs, xattr_list(t, ino, buf, size));
	return ret;
}
