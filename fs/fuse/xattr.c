/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Extended attributes. */
#include "core/lib/util.h"
#include "fs/fuse/front.h"
#include "fs/vfs/vfs.h"

#include <errno.h>
#include <string.h>
#include <sys/xattr.h>

/* In the raw form, because libfuse 3.14 does not know its longer header. */
void raw_setxattr(struct front *fr, const struct raw_request *rq)
{
	size_t head = fr->setxattr_ext ? sizeof(struct abi_setxattr_in) : ABI_SETXATTR_SHORT,
	       name_len;
	const struct abi_setxattr_in *in = rq->arg;
	struct vfs_cred cred = { .uid = rq->hdr->uid, .gid = rq->hdr->gid };
	const char *name = (const char *)rq->arg + head;
	int err = -EINVAL, flags;

	if (rq->arg_len <= head)
		goto out;
	name_len = strnlen(name, rq->arg_len - head);
	if (name_len >= rq->arg_len - head || in->size > rq->arg_len - head - name_len - 1)
		goto out;
	flags = (int)(in->flags & (XATTR_CREATE | XATTR_REPLACE));
	if (fr->setxattr_ext && in->setxattr_flags & ABI_SETXATTR_ACL_KILL_SGID)
		flags |= VFS_XATTR_KILL_SGID;
	err = vfs_setxattr(fr->fs, rq->hdr->nodeid, name, name + name_len + 1, in->size, flags,
			   &cred);
	/* an ACL may have changed the mode; the kernel forgets it too, but not what a GETATTR under
	 * way is about to say
	 */
	if (!err && !strcmp(name, "system.posix_acl_access"))
		forget_attr(fr, rq->hdr->nodeid);
out:
	transport_reply(err == -ENOSYS ? EOPNOTSUPP : -err, NULL, 0);
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

/* Without the names that only root may read; the kernel does not leave them out by itself.  The new
 * length. */
static int hide_trusted(char *buf, int len)
{
	static const char prefix[] = "trusted.";
	int from = 0, to = 0;

	while (from < len) {
		int n = (int)strlen(buf + from) + 1;

		if (strncmp(buf + from, prefix, sizeof(prefix) - 1)) {
			memmove(buf + to, buf + from, (size_t)n);
			to += n;
		}
		from += n;
	}
	return to;
}

void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	char *buf = transport_current()->scratch;
	int len = vfs_listxattr(front_of(req)->fs, ino, buf, TRANSPORT_MAX_WRITE);

	if (len > 0 && fuse_req_ctx(req)->uid)
		len = hide_trusted(buf, len);
	/* more than there is room for here is more than the kernel takes */
	reply_value(req, len == -ERANGE ? -E2BIG : len, buf, size);
}

void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	struct vfs_cred cred;

	fill_cred(req, &cred);
	reply_err(req, vfs_removexattr(front_of(req)->fs, ino, name, &cred));
}
