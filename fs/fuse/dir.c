/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading directories. */
#include "core/lib/util.h"
#include "fs/fuse/front.h"
#include "fs/vfs/vfs.h"
#include "tallyfs/format.h"

#include <errno.h>
#include <string.h>

/*
 * A directory needs no state while it is read (cookies say it all), so there is
 * nothing to open.  The kernel remembers ENOSYS and saves itself OPENDIR and RELEASEDIR
 * from then on, and caches listings until something in the directory changes.
 */
void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	fuse_reply_err(req, ENOSYS);
}

struct listing {
	char *buf;
	size_t size, used;
	bool plus;
};

static bool add_entry(void *arg, const struct vfs_dirent *de)
{
	struct listing *l = arg;
	size_t front = l->plus ? FUSE_NAME_OFFSET_DIRENTPLUS : FUSE_NAME_OFFSET;
	size_t len = FUSE_REC_ALIGN(front + de->len);
	struct fuse_dirent *out;

	if (len > l->size - l->used)
		return false;
	/* The zeroes include the padding behind the name. */
	memset(l->buf + l->used, 0, front);
	memset(l->buf + l->used + len - 8, 0, 8);
	out = (struct fuse_dirent *)(l->buf + l->used + front - FUSE_NAME_OFFSET);
	out->ino = de->ino;
	out->off = de->cookie;
	out->namelen = (uint32_t)de->len;
	out->type = de->type;
	memcpy(out->name, de->name, de->len);
	l->used += len;
	return true;
}

static struct fuse_direntplus *next_plus(const struct listing *l, size_t *pos)
{
	struct fuse_direntplus *dp;

	if (*pos >= l->used)
		return NULL;
	dp = (struct fuse_direntplus *)(l->buf + *pos);
	*pos += FUSE_DIRENTPLUS_SIZE(dp);
	return dp;
}

/*
 * Attributes for every entry, each with a lookup reference.  An entry that went away
 * meanwhile keeps node 0, which tells the kernel nothing either way.
 */
static void add_attributes(struct front *fr, uint64_t dir, const struct listing *l)
{
	struct fuse_direntplus *dp;
	char name[TFS_NAME_MAX + 1];
	struct vfs_attr a;
	size_t pos = 0;

	while ((dp = next_plus(l, &pos))) {
		const struct fuse_dirent *de = &dp->dirent;

		if (de->name[0] == '.' &&
		    (de->namelen == 1 || (de->namelen == 2 && de->name[1] == '.')))
			continue;
		memcpy(name, de->name, de->namelen);
		name[de->namelen] = '\0';
		if (!vfs_lookup(fr->fs, dir, name, &a))
			fill_entry(fr, &a, &dp->entry_out);
	}
}

static void forget_attributes(struct front *fr, const struct listing *l)
{
	struct fuse_direntplus *dp;
	size_t pos = 0;

	while ((dp = next_plus(l, &pos)))
		if (dp->entry_out.nodeid)
			vfs_forget(fr->fs, dp->entry_out.nodeid, 1);
}

static void list(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, bool plus)
{
	struct front *fr = front_of(req);
	struct listing l = {
		.buf = transport_current()->scratch,
		.size = min_t(size_t, size, TRANSPORT_MAX_WRITE),
		.plus = plus,
	};
	int err = vfs_readdir(fr->fs, ino, (uint64_t)off, add_entry, &l);

	if (err && !l.used) {
		reply_err(req, err);
		return;
	}
	if (plus)
		add_attributes(fr, ino, &l);
	err = transport_reply_data(req, l.buf, l.used);
	if (err == -ENOENT && plus)
		forget_attributes(fr, &l);
}

void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	list(req, ino, size, off, false);
}

void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		    struct fuse_file_info *fi)
{
	list(req, ino, size, off, true);
}

void op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	reply_err(req, vfs_fsyncdir(front_of(req)->fs, ino));
}
