/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lsattr(1) and chattr(1): immutable and append-only.
 *
 * The kernel asks for CAP_LINUX_IMMUTABLE and hands the change on, but knows nothing of the flags
 * when a file is written to or mapped.  So what is dirty comes here before a flag is set; while
 * somebody still has an immutable file open for writing, each write asks us first (attr.c); and
 * what it has cached and we refuse, it is to forget (file.c).
 */
#include "core/lib/util.h"
#include "core/lib/workqueue.h"
#include "fs/fuse/front.h"
#include "fs/vfs/vfs.h"

#include <errno.h>
#include <linux/fs.h>
#include <string.h>

static const struct {
	unsigned int vfs;
	uint32_t fl, xflag;
} known[] = {
	{ VFS_FLAG_IMMUTABLE, FS_IMMUTABLE_FL, FS_XFLAG_IMMUTABLE },
	{ VFS_FLAG_APPEND, FS_APPEND_FL, FS_XFLAG_APPEND },
};

void ioctl_get_flags(fuse_req_t req, fuse_ino_t ino, unsigned int cmd, size_t out_size)
{
	struct fsxattr x = { 0 };
	struct vfs_attr a;
	uint32_t fl = 0;
	int err = vfs_getattr(front_of(req)->fs, ino, &a);

	if (!err && out_size < (cmd == FS_IOC_FSGETXATTR ? sizeof(x) : sizeof(fl)))
		err = -EINVAL;
	if (err) {
		reply_err(req, err);
		return;
	}
	for (size_t k = 0; k < ARRAY_SIZE(known); k++) {
		if (a.flags & known[k].vfs) {
			fl |= known[k].fl;
			x.fsx_xflags |= known[k].xflag;
		}
	}
	if (cmd == FS_IOC_FSGETXATTR)
		fuse_reply_ioctl(req, 0, &x, sizeof(x));
	else
		fuse_reply_ioctl(req, 0, &fl, sizeof(fl));
}

/* VFS_FLAG_* from what the ioctl brings, in either form.  -EOPNOTSUPP: something that is not kept
 * here. */
static int parse_flags(unsigned int cmd, const void *in, size_t in_size, unsigned int *flags)
{
	bool ext = cmd == FS_IOC_FSSETXATTR;
	struct fsxattr x;
	uint32_t fl;

	if (in_size < (ext ? sizeof(x) : sizeof(fl)))
		return -EINVAL;
	if (ext) {
		memcpy(&x, in, sizeof(x));
		if (x.fsx_extsize || x.fsx_projid || x.fsx_cowextsize)
			return -EOPNOTSUPP;
		fl = x.fsx_xflags;
	} else {
		memcpy(&fl, in, sizeof(fl));
	}
	*flags = 0;
	for (size_t k = 0; k < ARRAY_SIZE(known); k++) {
		uint32_t bit = ext ? known[k].xflag : known[k].fl;

		if (fl & bit)
			*flags |= known[k].vfs;
		fl &= ~bit;
	}
	return fl ? -EOPNOTSUPP : 0;
}

struct change {
	struct work work;
	struct front *fr;
	fuse_req_t req;
	struct request_time time;
	uint64_t ino;
	unsigned int flags;
};

static void change_answer(const struct change *c)
{
	int err = vfs_set_flags(c->fr->fs, c->ino, c->flags);

	/* attributes only: whoever writes has to ask for them again */
	if (!err)
		fuse_lowlevel_notify_inval_inode(c->fr->se, c->ino, -1, 0);
	if (err)
		reply_err(c->req, err);
	else
		fuse_reply_ioctl(c->req, 0, NULL, 0);
}

/* Dropping the kernel's pages makes it write the dirty ones to us first. */
static void change_work(struct work *w)
{
	struct change *c = container_of(w, struct change, work);

	fuse_lowlevel_notify_inval_inode(c->fr->se, c->ino, 0, 0);
	change_answer(c);
	transport_answered(c->fr->tr, &c->time);
	tl_free(c);
}

/*
 * The kernel asks for the capability; here a request only tells who sent it, so it is root's alone.
 * (Not the daemon's user's: what protects files from him is not his to take away.)
 */
void ioctl_set_flags(fuse_req_t req, fuse_ino_t ino, unsigned int cmd, const void *in,
		     size_t in_size)
{
	struct front *fr = front_of(req);
	struct change now = { .fr = fr, .req = req, .time = transport_current()->time, .ino = ino };
	struct change *c;
	struct vfs_attr a;
	int err = parse_flags(cmd, in, in_size, &now.flags);

	if (!err)
		err = vfs_getattr(fr->fs, ino, &a);
	if (!err && now.flags != a.flags && fuse_req_ctx(req)->uid)
		err = -EPERM;
	if (err) {
		reply_err(req, err);
		return;
	}
	if (!(now.flags & ~a.flags) || !open_for_writing(fr, ino)) {
		change_answer(&now);
		return;
	}
	c = tl_alloc(sizeof(*c));
	if (!c) {
		reply_err(req, -ENOMEM);
		return;
	}
	*c = now;
	work_init(&c->work, change_work);
	if (later(fr, &c->work))
		return;
	tl_free(c);
	change_answer(&now);
}
