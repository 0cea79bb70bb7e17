/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Extended attributes. */
#include "fs/fuse/front.h"

#include <errno.h>

void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size, int flags)
{
	struct vfs_cred cred;

	fill_cred(req, &cred);
	reply_err(req, vfs_setxattr(front_of(req)->fs, ino, name, value, size, flags, &cred));
}

/* @len: the length, or -errno; @size 0 asks for the length only. */
static void reply_value(fuse_req_t req, int len, const char *buf, size_t size)
{
	if (len < 0)
		reply_err(req, len);
	else if (!size)
		fuse_reply_xattr(req, (size_t)len);
	else if ((size_t)len > size)
		reply_err(req, -ERANGE);
	else
		transport_reply_data(req, buf, (size_t)len);
}

void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	char *buf = size ? transport_current()->scratch : NULL;
	size_t room = min_t(size_t, size, TRANSPORT_MAX_WRITE);

	reply_value(req, vfs_getxattr(front_of(req)->fs, ino, name, buf, room), buf, size);
}

void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	char *buf = size ? transport_current()->scratch : NULL;
	size_t room = min_t(size_t, size, TRANSPORT_MAX_WRITE);

	reply_value(req, vfs_listxattr(front_of(req)->fs, ino, buf, room), buf, size);
}

void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	struct vfs_cred cred;

	fill_cred(req, &cred);
	reply_err(req, vfs_removexattr(front_of(req)->fs, ino, name, &cred));
}
