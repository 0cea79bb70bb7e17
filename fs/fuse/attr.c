/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Attributes: getattr, setattr, statx, statfs. */
#include "core/lib/util.h"
#include "fs/fuse/front.h"
#include "fs/vfs/vfs.h"

#include <errno.h>
#include <string.h>
#include <sys/sysmacros.h>

/* Seconds that answers stay valid: for ever, as far as a mount is concerned. */
#define VALID_SEC 1000000000u

/* The kernel's 32-bit device numbers. */
static uint32_t encode_dev(dev_t dev)
{
	unsigned int minor_nr = minor(dev);

	return (minor_nr & 0xff) | (major(dev) << 8) | ((minor_nr & ~0xffu) << 12);
}

void fill_attr(const struct front *fr, const struct vfs_attr *a, struct fuse_attr *out)
{
	memset(out, 0, sizeof(*out));
	out->ino = a->ino;
	out->size = a->size;
	out->blocks = a->blocks512;
	out->atime = (uint64_t)a->atime.tv_sec;
	out->mtime = (uint64_t)a->mtime.tv_sec;
	out->ctime = (uint64_t)a->ctime.tv_sec;
	out->atimensec = (uint32_t)a->atime.tv_nsec;
	out->mtimensec = (uint32_t)a->mtime.tv_nsec;
	out->ctimensec = (uint32_t)a->ctime.tv_nsec;
	out->mode = a->mode;
	out->nlink = a->nlink;
	out->uid = a->uid;
	out->gid = a->gid;
	out->rdev = encode_dev(a->rdev);
	out->blksize = fr->fs->geom.block_size;
}

/* Whoever still has an immutable file open for writing has to ask before each write: see
 * op_getattr(). */
static uint64_t valid_sec(struct front *fr, const struct vfs_attr *a)
{
	return a->flags & VFS_FLAG_IMMUTABLE && open_for_writing(fr, a->ino) ? 0 : VALID_SEC;
}

void fill_entry(struct front *fr, const struct vfs_attr *a, struct fuse_entry_out *out)
{
	out->nodeid = a->ino;
	out->generation = a->generation;
	out->entry_valid = VALID_SEC;
	out->attr_valid = valid_sec(fr, a);
	out->entry_valid_nsec = 0;
	out->attr_valid_nsec = 0;
	fill_attr(fr, a, &out->attr);
}

void reply_entry(fuse_req_t req, int err, const struct vfs_attr *a)
{
	struct front *fr = front_of(req);
	struct fuse_entry_out out;

	if (err) {
		reply_err(req, err);
		return;
	}
	fill_entry(fr, a, &out);
	if (transport_reply_data(req, &out, sizeof(out)) == -ENOENT)
		vfs_forget(fr->fs, a->ino, 1);
}

static void reply_attr(fuse_req_t req, int err, const struct vfs_attr *a)
{
	struct fuse_attr_out out = { 0 };

	if (err) {
		reply_err(req, err);
		return;
	}
	out.attr_valid = valid_sec(front_of(req), a);
	fill_attr(front_of(req), a, &out.attr);
	transport_reply_data(req, &out, sizeof(out));
}

void forget_attr(struct front *fr, fuse_ino_t ino)
{
	fuse_lowlevel_notify_inval_inode(fr->se, ino, -1, 0);
}

void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct open_file *of = fi ? (struct open_file *)(uintptr_t)fi->fh : NULL;
	struct vfs_attr a;
	int err = 0;

	/* With a handle it is the kernel's write-back cache that asks, before it takes a write: see
	 * op_write(). */
	if (of)
		err = atomic_exchange(&of->write_err, 0);
	if (!err)
		err = vfs_getattr(front_of(req)->fs, ino, &a);
	/* (Or before it reads at the end of the file.) */
	if (!err && of && !of->readable && a.flags & VFS_FLAG_IMMUTABLE)
		err = -EPERM;
	reply_attr(req, err, &a);
}

static unsigned int what_to_set(int to_set)
{
	static const struct {
		int fuse;
		unsigned int vfs;
	} map[] = {
		{ FUSE_SET_ATTR_MODE, VFS_SET_MODE },	{ FUSE_SET_ATTR_UID, VFS_SET_UID },
		{ FUSE_SET_ATTR_GID, VFS_SET_GID },	{ FUSE_SET_ATTR_SIZE, VFS_SET_SIZE },
		{ FUSE_SET_ATTR_CTIME, VFS_SET_CTIME },
	};
	unsigned int what = 0;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(map); i++)
		if (to_set & map[i].fuse)
			what |= map[i].vfs;
	/* "Now" comes with the plain flag as well. */
	if (to_set & FUSE_SET_ATTR_ATIME_NOW)
		what |= VFS_SET_ATIME_NOW;
	else if (to_set & FUSE_SET_ATTR_ATIME)
		what |= VFS_SET_ATIME;
	if (to_set & FUSE_SET_ATTR_MTIME_NOW)
		what |= VFS_SET_MTIME_NOW;
	else if (to_set & FUSE_SET_ATTR_MTIME)
		what |= VFS_SET_MTIME;
	return what;
}

void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int to_set,
		struct fuse_file_info *fi)
{
	struct front *fr = front_of(req);
	const struct fuse_setattr_in *in = transport_current()->arg;
	struct vfs_attr set = {
		.mode = st->st_mode,
		.uid = st->st_uid,
		.gid = st->st_gid,
		.size = (uint64_t)st->st_size,
		.atime = st->st_atim,
		.mtime = st->st_mtim,
		.ctime = st->st_ctim,
	};
	unsigned int what = what_to_set(to_set);
	struct vfs_cred cred;
	struct vfs_attr a;
	int err;

	if (fr->killpriv && (in->valid & FATTR_KILL_SUIDGID))
		what |= VFS_KILL_PRIV;
	/* The kernel writes back the times it keeps; nobody's utimensat(2) comes with a handle. */
	if (fi && what == (VFS_SET_MTIME | VFS_SET_CTIME))
		what |= VFS_SET_WRITTEN;
	fill_cred(req, &cred);
	err = vfs_setattr(fr->fs, ino, what, &set, &cred, &a);
	/* privileges may have gone, and the rest failed */
	if (err)
		forget_attr(fr, ino);
	reply_attr(req, err, &a);
}

void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct statvfs st = { 0 };
	int err = vfs_statfs(front_of(req)->fs, &st);

	if (err)
		reply_err(req, err);
	else
		fuse_reply_statfs(req, &st);
}

static void fill_sx_time(struct abi_sx_time *out, const struct timespec *ts)
{
	out->sec = ts->tv_sec;
	out->nsec = (uint32_t)ts->tv_nsec;
	out->reserved = 0;
}

/* The kernel asks this way when somebody wants the time of birth. */
void raw_statx(struct front *fr, const struct raw_request *rq)
{
	struct abi_statx_out out = { 0 };
	struct abi_statx *sx = &out.stat;
	struct vfs_attr a;
	int err = vfs_getattr(fr->fs, rq->hdr->nodeid, &a);

	if (err) {
		transport_reply(-err, NULL, 0);
		return;
	}
	out.attr_valid = valid_sec(fr, &a);
	sx->mask = STATX_BASIC_STATS | STATX_BTIME;
	sx->blksize = fr->fs->geom.block_size;
	sx->nlink = a.nlink;
	sx->uid = a.uid;
	sx->gid = a.gid;
	sx->mode = (uint16_t)a.mode;
	sx->ino = a.ino;
	sx->size = a.size;
	sx->blocks = a.blocks512;
	sx->rdev_major = major(a.rdev);
	sx->rdev_minor = minor(a.rdev);
	fill_sx_time(&sx->atime, &a.atime);
	fill_sx_time(&sx->mtime, &a.mtime);
	fill_sx_time(&sx->ctime, &a.ctime);
	fill_sx_time(&sx->btime, &a.btime);
	transport_reply(0, &out, sizeof(out));
}
