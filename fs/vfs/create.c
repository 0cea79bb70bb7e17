/* SPDX-License-Identifier: GPL-2.0-or-later */
/* New inodes: files, directories, symbolic links, special and temporary files. */
#include <sys/sysmacros.h>
#include "core/lib/util.h"
#include "fs/alloc/space.h"
#include "fs/btree/btree.h"
#include "fs/disk/btree_key.h"
#include "fs/inode/evict.h"
#include "fs/inode/icache.h"
#include "fs/inode/iget.h"
#include "fs/inode/inode.h"
#include "fs/inode/inode_flush.h"
#include "fs/inode/lookup_count.h"
#include "fs/journal/trans.h"
#include "fs/names/acl.h"
#include "fs/names/dir.h"
#include "fs/names/inode_item.h"
#include "fs/names/orphan.h"
#include "fs/names/symlink.h"
#include "fs/names/xattr.h"
#include "fs/state/error.h"
#include "fs/state/fs.h"
#include "fs/vfs/attr.h"
#include "fs/vfs/create.h"
#include "fs/vfs/file.h"
#include "fs/vfs/flags.h"
#include "fs/vfs/namei.h"
#include "fs/vfs/vfs.h"
#include "tallyfs/format.h"

struct new_inode {
	struct name_ref r; /* name NULL: a temporary file, without one */
	struct tfs_inode *i;
	const char *target; /* of a symbolic link */
	size_t target_len;
	uint32_t mode; /* as asked for */
	mode_t umask;
	struct inherited_acls *acls;
};

struct inherited_acls {
	struct tfs_acl access, def; /* n 0: none to be stored */
};

/* Who owns it, which mode it has; with the group inherited from a setgid directory. */
static void init_attrs(struct new_inode *n, mode_t mode, dev_t rdev, const struct vfs_cred *cred)
{
	struct tfs_iattr *a = &n->i->a, dir;

	pthread_mutex_lock(&n->r.dir->attr_lock);
	dir = n->r.dir->a;
	pthread_mutex_unlock(&n->r.dir->attr_lock);
	a->mode = mode;
	a->uid = cred->uid;
	a->gid = cred->gid;
	if (dir.mode & S_ISGID) {
		a->gid = dir.gid;
		if (S_ISDIR(mode))
			a->mode |= S_ISGID;
	}
	n->mode = a->mode;
	n->umask = cred->umask & 0777;
	a->rdev = rdev;
	a->nlink = S_ISDIR(mode) ? 2 : n->r.name ? 1 : 0;
	a->atime = a->mtime = a->ctime = a->btime = tfs_now();
	n->i->d_size = n->target_len;
}

/*
 * The umask counts where the directory has no default ACL; where it has one, the new inode gets an
 * access ACL (or a mode that says the same) from it, and a directory the default ACL too.
 */
static int inherit_acl(struct tfs_trans *t, struct new_inode *n)
{
	struct inherited_acls *acls = n->acls;
	struct tfs_inode *dir = n->r.dir;
	uint32_t *mode = &n->i->a.mode;
	int err = -ENODATA;

	*mode = n->mode;
	acls->access.n = acls->def.n = 0;
	if (S_ISLNK(*mode))
		return 0;
	if (!atomic_load(&dir->no_default_acl))
		err = acl_read(t, dir->ino, ACL_NAME_DEFAULT, &acls->def);
	if (err == -ENODATA) {
		atomic_store(&dir->no_default_acl, true);
		*mode &= ~(uint32_t)n->umask;
		return 0;
	}
	if (err)
		return err;
	acls->access = acls->def;
	if (acl_inherit(&acls->access, mode))
		acls->access.n = 0;
	if (!S_ISDIR(*mode))
		acls->def.n = 0;
	return 0;
}

static int prefault_acls(struct tfs_trans *t, const struct new_inode *n, uint64_t ino)
{
	size_t len = acl_size(&n->acls->access) + acl_size(&n->acls->def);
	int err = 0;

	if (n->acls->access.n)
		err = xattr_prefault(t, ino, ACL_NAME_ACCESS, len);
	if (!err && n->acls->def.n)
		err = xattr_prefault(t, ino, ACL_NAME_DEFAULT, len);
	return err;
}

static int write_acls(struct tfs_trans *t, struct new_inode *n)
{
	struct tfs_inode *i = n->i;
	struct tfs_inode_item it;
	int err = 0;

	atomic_store(&i->no_default_acl, !n->acls->def.n);
	if (!n->acls->access.n && !n->acls->def.n)
		return 0;
	inode_item_of(i, &it);
	if (n->acls->access.n)
		err = acl_write(t, i->ino, &it, ACL_NAME_ACCESS, &n->acls->access);
	if (!err && n->acls->def.n)
		err = acl_write(t, i->ino, &it, ACL_NAME_DEFAULT, &n->acls->def);
	i->a.xattr_value_id = le32_get(it.xattr_value_id);
	return err;
}

/* The image says which number is next: is it one, and no inode's? */
static int number_is_free(struct tfs_trans *t, uint64_t ino)
{
	struct tfs_inode_item it;
	int err = ino >= TFS_INO_FIRST && ino <= INT64_MAX ? inode_item_read(t, ino, &it) : 0;

	if (err == -ENOENT)
		return 0;
	return err ? err
		   : tfs_handle_fs_error(
			     t->fs, -EUCLEAN,
			     "inode number %llu is in use or not allowed, but next to be given out",
			     (unsigned long long)ino);
}

static int create_prefault(struct tfs_trans *t, struct new_inode *n, uint64_t ino)
{
	struct tkey link = TKEY(ino, TFS_KEY_SYMLINK, 0);
	int err;

	if (n->r.name) {
		err = name_recheck(t, &n->r);
		if (err)
			return err == -ESTALE ? -EEXIST : err;
		err = inode_may_grow(n->r.dir);
		if (err)
			return err;
		if (S_ISDIR(n->i->a.mode) && n->r.dir->a.nlink >= TFS_LINK_MAX)
			return -EMLINK;
		err = dir_prefault(t, n->r.dir->ino, n->r.name, n->r.len, ino);
		if (!err)
			err = inode_prefault(t, n->r.dir->ino);
		if (!err)
			err = inode_prefault(t, ino);
	} else {
		err = dir_usable(n->r.dir);
		if (!err)
			err = inode_may_grow(n->r.dir);
		if (!err)
			err = drop_link_prefault(t, ino);
	}
	if (!err && n->target)
		err = btree_prefault(t, TFS_TREE_FS, &link);
	if (!err)
		err = inherit_acl(t, n);
	if (!err)
		err = prefault_acls(t, n, ino);
	return err ? err : number_is_free(t, ino);
}

/* The next number is this inode's.  Not before the section's first change: nobody gives it back. */
static void take_number(struct tfs_trans *t, struct tfs_inode *i)
{
	struct tfs_fs *fs = t->fs;

	i->a.generation = t->txid;
	i->ino = fs->cnt.next_ino++;
	fs->cnt.nr_inodes++;
	fs->super_dirty = true;
}

static int create_in_section(struct tfs_trans *t, struct new_inode *n)
{
	uint64_t ino = t->fs->cnt.next_ino;
	uint32_t mode = n->i->a.mode;
	int err = create_prefault(t, n, ino);

	/* the name first: it is what can fail for a reason of its own (too many that hash alike) */
	if (!err && n->r.name)
		err = dir_add(t, n->r.dir->ino, n->r.name, n->r.len, ino, dirent_type(mode));
	else if (!err)
		err = orphan_add(t, ino);
	if (err)
		return err;
	take_number(t, n->i);
	err = write_acls(t, n);
	if (!err)
		err = inode_write(t, n->i);
	if (!err && n->target)
		err = symlink_write(t, ino, n->target, n->target_len);
	if (err || !n->r.name)
		goto out;
	dir_changed(n->r.dir, 1, S_ISDIR(mode) ? 1 : 0, n->i->a.ctime);
	err = inode_write(t, n->r.dir);
out:
	if (!err) {
		atomic_store(&n->i->data_txid, t->txid);
		inode_insert(n->i, ino);
	}
	return err;
}

/* Two ACLs, in chunks of a quarter of a node, each logged with the node it is in. */
static uint64_t create_credits(struct tfs_fs *fs)
{
	uint64_t want = TRANS_CREDITS(fs) + 8 * (uint64_t)ACL_SIZE_MAX, max = trans_max_credits(fs);

	return want < max ? want : max;
}

/* Space, and room for what the front end will know it by. */
static int may_create(struct tfs_fs *fs)
{
	int err = lookup_prepare(fs);

	if (!err)
		err = tfs_writable(fs);
	return err ? err : space_check_meta(fs, SPACE_NEW);
}

/* What is to be made, and for whom. */
struct create_request {
	uint64_t dir;
	const char *name; /* NULL: a temporary file, without one */
	mode_t mode;	  /* with the type */
	dev_t rdev;
	const char *target; /* of a symbolic link */
	const struct vfs_cred *cred;
};

/* The inode is there on return, referenced, and the front end has looked it up once. */
static int create_inode(struct tfs_fs *fs, const struct create_request *q, struct new_inode *n)
{
	struct inherited_acls acls;
	int err;

	n->acls = &acls;
	n->target = q->target;
	n->target_len = q->target ? strlen(q->target) : 0;
	n->i = inode_alloc(fs);
	if (!n->i)
		return -ENOMEM;
	init_attrs(n, q->mode, q->rdev, q->cred);
	err = TRANS_WRITE(t, fs, create_credits(fs), create_in_section(t, n));
	if (err) {
		inode_free(n->i);
		return err;
	}
	err = lookup_ref(fs, n->i->ino, 1);
	if (err)
		inode_put(n->i);
	return err;
}

/* @file: to be filled in, may be NULL. */
static int create(struct tfs_fs *fs, const struct create_request *q, struct vfs_attr *attr,
		  struct vfs_file *file, int flags)
{
	struct new_inode n = { 0 };
	int err = name_init(fs, &n.r, q->dir, q->name ? q->name : "-");

	if (!q->name)
		n.r.name = NULL;
	if (!err)
		err = may_create(fs);
	if (!err)
		err = create_inode(fs, q, &n);
	if (!err) {
		inode_attr(n.i, attr);
		if (file)
			file_init(file, n.i, flags);
		inode_put(n.i);
	}
	name_put(&n.r);
	icache_trim(fs);
	return err;
}

/* ... and open it. */
static int create_open(struct tfs_fs *fs, const struct create_request *q, struct vfs_attr *attr,
		       int flags, struct vfs_file **f)
{
	/* all that can fail for want of memory comes first: what has a name is told of */
	struct vfs_file *file = tl_alloc(sizeof(*file));
	int err = file ? create(fs, q, attr, file, flags) : -ENOMEM;

	if (err)
		tl_free(file);
	else
		*f = file;
	return err;
}

int vfs_create(struct tfs_fs *fs, uint64_t dir, const char *name, mode_t mode,
	       const struct vfs_cred *cred, int flags, struct vfs_attr *attr, struct vfs_file **f)
{
	struct create_request q = {
		.dir = dir, .name = name, .mode = S_IFREG | (mode & 07777), .cred = cred
	};

	return f ? create_open(fs, &q, attr, flags, f) : create(fs, &q, attr, NULL, 0);
}

int vfs_tmpfile(struct tfs_fs *fs, uint64_t dir, mode_t mode, const struct vfs_cred *cred,
		int flags, struct vfs_attr *attr, struct vfs_file **f)
{
	return vfs_create(fs, dir, NULL, mode, cred, flags, attr, f);
}

int vfs_mknod(struct tfs_fs *fs, uint64_t dir, const char *name, mode_t mode, dev_t rdev,
	      const struct vfs_cred *cred, struct vfs_attr *attr)
{
	struct create_request q = { .dir = dir, .name = name, .cred = cred };

	switch (mode & S_IFMT) {
	case 0:
		mode |= S_IFREG;
		break;
	case S_IFCHR:
	case S_IFBLK:
		q.rdev = rdev;
		break;
	case S_IFREG:
	case S_IFIFO:
	case S_IFSOCK:
		break;
	default:
		return S_ISDIR(mode) ? -EPERM : -EINVAL;
	}
	q.mode = mode & (S_IFMT | 07777);
	return create(fs, &q, attr, NULL, 0);
}

int vfs_mkdir(struct tfs_fs *fs, uint64_t dir, const char *name, mode_t mode,
	      const struct vfs_cred *cred, struct vfs_attr *attr)
{
	struct create_request q = {
		.dir = dir, .name = name, .mode = S_IFDIR | (mode & 07777), .cred = cred
	};

	return create(fs, &q, attr, NULL, 0);
}

int vfs_symlink(struct tfs_fs *fs, uint64_t dir, const char *name, const char *target,
		const struct vfs_cred *cred, struct vfs_attr *attr)
{
	struct create_request q = {
		.dir = dir, .name = name, .mode = S_IFLNK | 0777, .target = target, .cred = cred
	};
	size_t len = strlen(target);

	if (!len)
		return -ENOENT;
	if (len > TFS_SYMLINK_MAX)
		return -ENAMETOOLONG;
	return create(fs, &q, attr, NULL, 0);
}

/* ---- whiteouts ---- */

struct tfs_inode *whiteout_alloc(struct tfs_inode *dir, const struct vfs_cred *cred)
{
	struct new_inode n = { .r = { .name = "-", .dir = dir }, .i = inode_alloc(dir->fs) };

	/* overlayfs knows it by its type and its device number; there is nobody to open it */
	if (n.i)
		init_attrs(&n, S_IFCHR, makedev(0, 0), cred);
	return n.i;
}

int whiteout_prefault(struct tfs_trans *t, const struct name_ref *r)
{
	uint64_t ino = t->fs->cnt.next_ino;
	int err = dir_prefault(t, r->dir->ino, r->name, r->len, ino);

	if (!err)
		err = inode_prefault(t, ino);
	return err ? err : number_is_free(t, ino);
}

int whiteout_put(struct tfs_trans *t, const struct name_ref *r, struct tfs_inode *i)
{
	struct tfs_inode_item it;
	int err;

	take_number(t, i);
	inode_item_of(i, &it);
	err = inode_item_write(t, i->ino, &it);
	return err ? err : dir_replace(t, r->dir->ino, &r->de, i->ino, DT_CHR);
}

int vfs_readlink(struct tfs_fs *fs, uint64_t ino, char *buf, size_t size)
{
	struct tfs_inode *i;
	int ret = inode_get(fs, ino, &i);

	if (ret)
		return ret;
	ret = i->fmt == S_IFLNK ? 0 : -EINVAL;
	inode_put(i);
	if (ret)
		return ret;
	ret = TRANS_READ(t, fs, symlink_read(t, ino, buf, size));
	return ret;
}
