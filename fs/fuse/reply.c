/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What all request handlers need: errors as the kernel takes them, who asks. */
#include <errno.h>
#include "fs/fuse/front.h"
#include "fs/vfs/vfs.h"

void reply_err(fuse_req_t req, int err)
{
	if (err == -ENOSYS)
		err = -EOPNOTSUPP;
	fuse_reply_err(req, err < 0 ? -err : 0);
}

void fill_cred(fuse_req_t req, struct vfs_cred *cred)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);

	cred->uid = ctx->uid;
	cred->gid = ctx->gid;
	cred->umask = ctx->umask;
}
