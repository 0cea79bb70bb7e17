/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names: lookup and forget, and what makes, moves and removes entries. */
#include "core/lib/util.h"
#include "fs/fuse/front.h"
#include "fs/state/fs.h"
#include "fs/vfs/vfs.h"
#include "tallyfs/format.h"

#include <errno.h>
#include <linux/fs.h>
#include <string.h>

/* NFS export asks for "." and ".." of inodes that the kernel has forgotten. */
static int lookup_by_number(struct tfs_fs *fs, uint64_t ino, bool parent, struct vfs_attr *a)
{
	int err = 0;

	if (parent)
		err = vfs_parent(fs, ino, &ino);
	if (err)
		return err;
	err = vfs_ref(fs, ino, 1);
	if (err)
		return err;
	err = vfs_getattr(fs, ino, a);
	/* Nobody has it open, or the kernel would know it: it is on its way out. */
	if (!err && !a->nlink)
		err = -ESTALE;
	if (err)
		vfs_forget(fs, ino, 1);
	return err;
}

void op_lookup(fuse_req_t req, fuse_ino_t dir, const char *name)
{
	struct tfs_fs *fs = front_of(req)->fs;
	struct vfs_attr a;
	int err;

	if (unlikely(name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2])))) {
		err = lookup_by_number(fs, dir, name[1], &a);
	} else {
		err = vfs_lookup(fs, dir, name, &a);
		if (err == -ENOENT) {
			/* An entry without an inode: the kernel remembers that the name is not
			 * there. */
			struct fuse_entry_out none = { .entry_valid = 1000000000 };

			transport_reply_data(req, &none, sizeof(none));
			return;
		}
	}
	reply_entry(req, err, &a);
}

void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t n)
{
	vfs_forget(front_of(req)->fs, ino, n);
	fuse_reply_none(req);
}

void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	struct tfs_fs *fs = front_of(req)->fs;
	size_t i;

	for (i = 0; i < count; i++)
		vfs_forget(fs, forgets[i].ino, forgets[i].nlookup);
	fuse_reply_none(req);
}

void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
	char buf[TFS_SYMLINK_MAX + 1];
	int len = vfs_readlink(front_of(req)->fs, ino, buf, sizeof(buf));

	if (len < 0)
		reply_err(req, len);
	else
		transport_reply_data(req, buf, (size_t)len);
}

void op_mknod(fuse_req_t req, fuse_ino_t dir, const char *name, mode_t mode, dev_t rdev)
{
	struct vfs_cred cred;
	struct vfs_attr a;
	int err;

	fill_cred(req, &cred);
	err = vfs_mknod(front_of(req)->fs, dir, name, mode, rdev, &cred, &a);
	reply_entry(req, err, &a);
}

void op_mkdir(fuse_req_t req, fuse_ino_t dir, const char *name, mode_t mode)
{
	struct vfs_cred cred;
	struct vfs_attr a;
	int err;

	fill_cred(req, &cred);
	err = vfs_mkdir(front_of(req)->fs, dir, name, mode, &cred, &a);
	reply_entry(req, err, &a);
}

void op_symlink(fuse_req_t req, const char *target, fuse_ino_t dir, const char *name)
{
	struct vfs_cred cred;
	struct vfs_attr a;
	int err;

	fill_cred(req, &cred);
	err = vfs_symlink(front_of(req)->fs, dir, name, target, &cred, &a);
	reply_entry(req, err, &a);
}

void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t dir, const char *name)
{
	struct vfs_attr a;
	int err = vfs_link(front_of(req)->fs, ino, dir, name, &a);

	reply_entry(req, err, &a);
}

void op_unlink(fuse_req_t req, fuse_ino_t dir, const char *name)
{
	reply_err(req, vfs_unlink(front_of(req)->fs, dir, name));
}

void op_rmdir(fuse_req_t req, fuse_ino_t dir, const char *name)
{
	reply_err(req, vfs_rmdir(front_of(req)->fs, dir, name));
}

void op_rename(fuse_req_t req, fuse_ino_t dir, const char *name, fuse_ino_t newdir,
	       const char *newname, unsigned int flags)
{
	struct tfs_fs *fs = front_of(req)->fs;
	struct vfs_cred cred;
	int err;

	if (flags & RENAME_WHITEOUT) {
		fill_cred(req, &cred);
		err = vfs_rename_whiteout(fs, dir, name, newdir, newname,
					  flags & ~(unsigned int)RENAME_WHITEOUT, &cred);
	} else {
		err = vfs_rename(fs, dir, name, newdir, newname, flags);
	}
	reply_err(req, err);
}
