// SPDX-License-Identifier: GPL-2.0-or-later
/* New inodes: files, directories, symbolic links, special and temporary files. */
#include "fs/alloc.h"
#include "fs/namei.h"

struct new_inode {
	struct name_ref r; /* name NULL: a temporary file, without one */
	struct tfs_inode *i;
	const char *target; /* of a symbolic link */
	size_t target_len;
};

/* Who owns it, which mode it has; with the group inherited from a setgid directory. */
static void init_attrs(struct new_inode *n, mode_t mode, dev_t rdev, const struct vfs_cred *cred)
{
	struct tfs_iattr *a = &n->i->a, dir;

	pthread_mutex_lock(&n->r.dir->attr_lock);
	dir = n->r.dir->a;
	pthread_mutex_unlock(&n->r.dir->attr_lock);
	a->mode = mode;
	if (!S_ISLNK(mode))
		a->mode &= ~(uint32_t)(cred->umask & 0777);
	a->uid = cred->uid;
	a->gid = cred->gid;
	if (dir.mode & S_ISGID) {
		a->gid = dir.gid;
		if (S_ISDIR(mode))
			a->mode |= S_ISGID;
	}
	a->rdev = rdev;
	a->nlink = S_ISDIR(mode) ? 2 : n->r.name ? 1 : 0;
	a->atime = a->mtime = a->ctime = a->btime = tfs_now();
	n->i->d_size = n->target_len;
}

/* The image says which number is next: is it one, and no inode's? */
static int number_is_free(struct tfs_trans *t, uint64_t ino)
{
	struct tfs_inode_item it;
	int err = ino >= TFS_INO_FIRST && ino <= INT64_MAX ? inode_item_read(t, ino, &it) : 0;

	if (err == -ENOENT)
		return 0;
	return err ? err : tfs_fs_error(t->fs, -EUCLEAN, "inode number %llu is in use or not allowed, but next to be given out",
					(unsigned long long)ino);
}

static int create_look(struct tfs_trans *t, struct new_inode *n, uint64_t ino)
{
	struct tkey link = TKEY(ino, TFS_KEY_SYMLINK, 0);
	int err;

	if (n->r.name) {
		err = name_recheck(t, &n->r);
		if (err)
			return err == -ESTALE ? -EEXIST : err;
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
			err = drop_link_prefault(t, ino);
	}
	if (!err && n->target)
		err = btree_prefault(t, TFS_TREE_FS, &link);
	return err ? err : number_is_free(t, ino);
}

static int create_in_section(struct tfs_trans *t, struct new_inode *n)
{
	struct tfs_fs *fs = t->fs;
	uint64_t ino = fs->cnt.next_ino;
	uint32_t mode = n->i->a.mode;
	int err = create_look(t, n, ino);

	/* the name first: it is what can fail for a reason of its own (too many that hash alike) */
	if (!err && n->r.name)
		err = dir_add(t, n->r.dir->ino, n->r.name, n->r.len, ino, dirent_type(mode));
	else if (!err)
		err = orphan_add(t, ino);
	if (err)
		return err;
	fs->cnt.next_ino++;
	fs->cnt.nr_inodes++;
	fs->super_dirty = true;
	n->i->a.generation = t->txid;
	n->i->ino = ino;
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

static int create(struct tfs_fs *fs, uint64_t dir, const char *name, mode_t mode, dev_t rdev, const char *target,
		  const struct vfs_cred *cred, int flags, struct vfs_attr *attr, struct vfs_file **f)
{
	struct new_inode n = { .target = target, .target_len = target ? strlen(target) : 0 };
	bool inserted = false;
	struct tfs_trans t;
	int err = name_init(fs, &n.r, dir, name ? name : "-");

	if (!name)
		n.r.name = NULL;
	if (!err)
		err = lookup_prepare(fs);
	if (!err)
		err = vfs_writable(fs);
	if (!err)
		err = space_check_meta(fs);
	if (err)
		goto out;
	n.i = inode_alloc(fs);
	if (!n.i) {
		err = -ENOMEM;
		goto out;
	}
	init_attrs(&n, mode, rdev, cred);
	do {
		err = trans_begin(&t, fs, TRANS_CREDITS(fs));
		if (!err)
			err = create_in_section(&t, &n);
	} while (trans_again(&t, &err));
	if (err)
		goto out;
	inserted = true;
	if (f)
		err = file_new(n.i, flags, f);
	if (!err)
		err = lookup_ref(fs, n.i->ino, 1);
	if (!err)
		inode_attr(n.i, attr);
out:
	if (inserted)
		inode_put(n.i);
	else if (n.i)
		inode_free(n.i);
	name_put(&n.r);
	icache_trim(fs);
	return err;
}

int vfs_create(struct tfs_fs *fs, uint64_t dir, const char *name, mode_t mode, const struct vfs_cred *cred, int flags,
	       struct vfs_attr *attr, struct vfs_file **f)
{
	return create(fs, dir, name, S_IFREG | (mode & 07777), 0, NULL, cred, flags, attr, f);
}

int vfs_tmpfile(struct tfs_fs *fs, uint64_t dir, mode_t mode, const struct vfs_cred *cred, int flags,
		struct vfs_attr *attr, struct vfs_file **f)
{
	return create(fs, dir, NULL, S_IFREG | (mode & 07777), 0, NULL, cred, flags, attr, f);
}

int vfs_mknod(struct tfs_fs *fs, uint64_t dir, const char *name, mode_t mode, dev_t rdev, const struct vfs_cred *cred,
	      struct vfs_attr *attr)
{
	switch (mode & S_IFMT) {
	case 0:
		mode |= S_IFREG;
		break;
	case S_IFREG:
	case S_IFIFO:
	case S_IFSOCK:
	case S_IFCHR:
	case S_IFBLK:
		break;
	default:
		return S_ISDIR(mode) ? -EPERM : -EINVAL;
	}
	if (!S_ISCHR(mode) && !S_ISBLK(mode))
		rdev = 0;
	return create(fs, dir, name, mode & (S_IFMT | 07777), rdev, NULL, cred, 0, attr, NULL);
}

int vfs_mkdir(struct tfs_fs *fs, uint64_t dir, const char *name, mode_t mode, const struct vfs_cred *cred,
	      struct vfs_attr *attr)
{
	return create(fs, dir, name, S_IFDIR | (mode & 07777), 0, NULL, cred, 0, attr, NULL);
}

int vfs_symlink(struct tfs_fs *fs, uint64_t dir, const char *name, const char *target, const struct vfs_cred *cred,
		struct vfs_attr *attr)
{
	size_t len = strlen(target);

	if (!len)
		return -ENOENT;
	if (len > TFS_SYMLINK_MAX)
		return -ENAMETOOLONG;
	return create(fs, dir, name, S_IFLNK | 0777, 0, target, cred, 0, attr, NULL);
}

int vfs_readlink(struct tfs_fs *fs, uint64_t ino, char *buf, size_t size)
{
	struct tfs_inode *i;
	struct tfs_trans t;
	int ret = inode_get(fs, ino, &i);

	if (ret)
		return ret;
	ret = i->fmt == S_IFLNK ? 0 : -EINVAL;
	inode_put(i);
	if (ret)
		return ret;
	do {
		trans_read_begin(&t, fs);
		ret = symlink_read(&t, ino, buf, size);
	} while (trans_again(&t, &ret));
	return ret;
}
