/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What tallyctl and fstrim ask for. */
#include "core/lib/util.h"
#include "fs/fuse/front.h"
#include "fs/vfs/vfs.h"
#include "tallyfs/ctl.h"
#include "tallyfs/format.h"

#include <errno.h>
#include <linux/fs.h>
#include <string.h>
#include <unistd.h>

static void ioctl_label(fuse_req_t req, size_t out_size)
{
	char label[FSLABEL_MAX] = { 0 };

	memcpy(label, front_of(req)->fs->super.label, TFS_LABEL_MAX);
	fuse_reply_ioctl(req, 0, label, min_t(size_t, sizeof(label), out_size));
}

static void ioctl_identity(fuse_req_t req, const void *in, size_t in_size, size_t out_size)
{
	const struct tfs_super *super = &front_of(req)->fs->super;
	struct tally_identity id;

	if (in_size < sizeof(id) || out_size < sizeof(id)) {
		reply_err(req, -EINVAL);
		return;
	}
	memcpy(&id, in, sizeof(id));
	if (id.version != TALLY_CTL_VERSION) {
		reply_err(req, -EPROTO);
		return;
	}
	/* none of these changes while it is mounted */
	id = (struct tally_identity){ .version = TALLY_CTL_VERSION,
				      .guard = le32_get(super->guard) };
	memcpy(id.uuid, super->uuid, sizeof(id.uuid));
	memcpy(id.label, super->label, TFS_LABEL_MAX);
	fuse_reply_ioctl(req, 0, &id, sizeof(id));
}

static struct vfs_file *file_of(const struct fuse_file_info *fi, unsigned int flags)
{
	/* a directory's descriptor is none of ours */
	return flags & FUSE_IOCTL_DIR ? NULL : ((struct open_file *)(uintptr_t)fi->fh)->f;
}

static bool given_up(void *arg)
{
	fuse_req_t req = arg;

	return fuse_req_interrupted(req) || fuse_session_exited(front_of(req)->se);
}

static void ioctl_unshare(fuse_req_t req, struct fuse_file_info *fi, unsigned int flags,
			  const void *in, size_t in_size, size_t out_size)
{
	struct vfs_file *f = file_of(fi, flags);
	struct tally_range r;
	int err;

	if (!f || in_size < sizeof(r) || out_size < sizeof(r)) {
		reply_err(req, f ? -EINVAL : -EISDIR);
		return;
	}
	if (!((struct open_file *)(uintptr_t)fi->fh)->writable) {
		reply_err(req, -EBADF);
		return;
	}
	memcpy(&r, in, sizeof(r));
	err = vfs_unshare(front_of(req)->fs, f, &r.start, &r.len, given_up, req);
	if (err)
		reply_err(req, err);
	else
		fuse_reply_ioctl(req, 0, &r, sizeof(r));
}

/*
 * Root, or the user who runs the daemon: the image is his.  The kernel asks for CAP_SYS_ADMIN in
 * its own file systems; here a request only tells who sent it.
 */
static bool is_owner(fuse_req_t req)
{
	uid_t uid = fuse_req_ctx(req)->uid;

	return !uid || uid == geteuid();
}

/* Who knows where his blocks are can put something where it will be taken for something else:
 * others see no addresses.
 */
static struct tally_extent told(const struct vfs_extent *x, bool owner)
{
	struct tally_extent e = {
		.start = x->pos, .len = x->len, .addr = x->addr, .flags = x->flags
	};

	if (!owner && !(x->flags & VFS_EXTENT_INLINE)) {
		e.addr = 0;
		e.flags |= TALLY_EXTENT_NO_ADDR;
	}
	return e;
}

static void ioctl_extents(fuse_req_t req, struct fuse_file_info *fi, unsigned int flags,
			  const void *in, size_t in_size, size_t out_size)
{
	struct vfs_file *f = file_of(fi, flags);
	struct vfs_extent x[TALLY_EXTENTS_MAX];
	struct tally_extents te;
	int n;

	if (!f || in_size < sizeof(te) || out_size < sizeof(te)) {
		reply_err(req, f ? -EINVAL : -EISDIR);
		return;
	}
	memcpy(&te, in, sizeof(te));
	if (te.version != TALLY_CTL_VERSION) {
		reply_err(req, -EPROTO);
		return;
	}
	n = vfs_extents(front_of(req)->fs, f, te.start, x, TALLY_EXTENTS_MAX);
	if (n < 0) {
		reply_err(req, n);
		return;
	}
	memset(te.extent, 0, sizeof(te.extent));
	te.nr = (uint32_t)n;
	for (int k = 0; k < n; k++)
		te.extent[k] = told(&x[k], is_owner(req));
	fuse_reply_ioctl(req, 0, &te, sizeof(te));
}

/* ---- fstrim(8) ---- */

static void ioctl_trim(fuse_req_t req, const void *in, size_t in_size, size_t out_size)
{
	struct fstrim_range r;
	uint64_t trimmed;
	int err;

	if (in_size < sizeof(r) || out_size < sizeof(r)) {
		reply_err(req, -EINVAL);
		return;
	}
	if (!is_owner(req)) {
		reply_err(req, -EPERM);
		return;
	}
	memcpy(&r, in, sizeof(r));
	err = vfs_trim(front_of(req)->fs, r.start, r.len, r.minlen, given_up, req, &trimmed);
	if (err) {
		reply_err(req, err);
		return;
	}
	r.len = trimmed;
	fuse_reply_ioctl(req, 0, &r, sizeof(r));
}

/* What vfs.h calls them is what ctl.h calls them. */
_Static_assert((int)VFS_EXTENT_UNWRITTEN == (int)TALLY_EXTENT_UNWRITTEN &&
		       (int)VFS_EXTENT_SHARED == (int)TALLY_EXTENT_SHARED &&
		       (int)VFS_EXTENT_INLINE == (int)TALLY_EXTENT_INLINE,
	       "the same flags");
_Static_assert(sizeof(struct tally_extents) < 4096, "well below what reaches a FUSE daemon");

/*
 * Numbers, the label and sync (as sync(2)) are for everyone who can open
 * something here, extents for who can open the file (their addresses for root and the mount's
 * owner), unsharing for who can write to it, trimming for root and the mount's owner, changing
 * flags for root.
 */
void op_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned int cmd, void *arg,
	      struct fuse_file_info *fi, unsigned int flags, const void *in, size_t in_size,
	      size_t out_size)
{
	int err;

	switch (cmd) {
	case TALLY_IOC_STATUS:
		ioctl_status(req, in, in_size, out_size);
		return;
	case TALLY_IOC_IDENTITY:
		ioctl_identity(req, in, in_size, out_size);
		return;
	case TALLY_IOC_SYNC:
		err = vfs_sync(front_of(req)->fs);
		if (err)
			reply_err(req, err);
		else
			fuse_reply_ioctl(req, 0, NULL, 0);
		return;
	case TALLY_IOC_UNSHARE:
		ioctl_unshare(req, fi, flags, in, in_size, out_size);
		return;
	case TALLY_IOC_EXTENTS:
		ioctl_extents(req, fi, flags, in, in_size, out_size);
		return;
	case FITRIM:
		ioctl_trim(req, in, in_size, out_size);
		return;
	case FS_IOC_GETFSLABEL:
		ioctl_label(req, out_size);
		return;
	case FS_IOC_GETFLAGS:
	case FS_IOC_FSGETXATTR:
		ioctl_get_flags(req, ino, cmd, out_size);
		return;
	case FS_IOC_SETFLAGS:
	case FS_IOC_FSSETXATTR:
		ioctl_set_flags(req, ino, cmd, in, in_size);
		return;
	default:
		reply_err(req, -ENOTTY);
	}
}
