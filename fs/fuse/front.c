/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The session as a whole: what is negotiated, requests libfuse does not know, the end. */
#include "fs/fuse/front.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>
#include <sys/eventfd.h>

#include "core/block/bdev.h"
#include "core/lib/util.h"
#include "core/pagecache/pagecache.h"
#include "fs/state/fs.h"
#include "fs/vfs/vfs.h"

#define MAX_BACKGROUND 64

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	struct front *fr = userdata;
	unsigned int want = FUSE_CAP_ASYNC_READ | FUSE_CAP_EXPORT_SUPPORT | FUSE_CAP_DONT_MASK |
			    FUSE_CAP_IOCTL_DIR | FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO |
			    FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_CACHE_SYMLINKS |
			    FUSE_CAP_EXPLICIT_INVAL_DATA | FUSE_CAP_POSIX_ACL;

	/*
	 * Not FUSE_CAP_ASYNC_DIO: asynchronous direct writes leave stale pages in the kernel's
	 * cache (docs/DESIGN.md). And truncation by OPEN only where the kernel holds the inode's
	 * lock over it, see forget_attr().
	 */
	if (fr->opts->writeback_cache && conn->capable & FUSE_CAP_WRITEBACK_CACHE)
		want |= FUSE_CAP_WRITEBACK_CACHE | FUSE_CAP_ATOMIC_O_TRUNC;
	conn->want = conn->capable & want;
	/* a small cache is not to be filled by a single request; the kernel takes this for its
	 * reads, too */
	conn->max_write = min_t(size_t, TRANSPORT_MAX_WRITE, pagecache_unit(fr->fs->pagecache));
	conn->max_readahead = conn->max_write;
	conn->max_background = MAX_BACKGROUND;
	conn->congestion_threshold = MAX_BACKGROUND * 3 / 4;
	conn->time_gran = 1;
}

/* What libfuse 3.14 does not know. */
void front_amend_init(void *userdata, const struct fuse_init_in *in, struct fuse_init_out *out)
{
	struct front *fr = userdata;

	if (in->flags & FUSE_HANDLE_KILLPRIV_V2) {
		out->flags |= FUSE_HANDLE_KILLPRIV_V2;
		fr->killpriv = true;
	}
	/* Who sets an ACL and is not in the file's group loses its setgid bit: only so does the
	 * kernel say it. */
	if (in->flags & ABI_INIT_SETXATTR_EXT) {
		out->flags |= ABI_INIT_SETXATTR_EXT;
		fr->setxattr_ext = true;
	}
	if ((in->flags & ABI_INIT_EXT) && (in->flags2 & ABI2_DIRECT_IO_ALLOW_MMAP)) {
		out->flags |= ABI_INIT_EXT;
		out->flags2 |= ABI2_DIRECT_IO_ALLOW_MMAP;
	}
}

bool front_raw_request(void *userdata, const struct raw_request *rq)
{
	struct front *fr = userdata;

	/* A straggler (FORGET, RELEASE) behind DESTROY: everything is closed already. */
	if (!fr->fs) {
		if (rq->hdr->opcode != FUSE_FORGET && rq->hdr->opcode != FUSE_BATCH_FORGET)
			transport_reply(ENOTCONN, NULL, 0);
		return true;
	}
	switch (rq->hdr->opcode) {
	case ABI_SYNCFS:
		transport_reply(-vfs_sync(fr->fs), NULL, 0);
		return true;
	case ABI_TMPFILE:
		raw_tmpfile(fr, rq);
		return true;
	case FUSE_SETXATTR:
		raw_setxattr(fr, rq);
		return true;
	case ABI_STATX:
		raw_statx(fr, rq);
		return true;
	default:
		return false;
	}
}

/*
 * On fuseblk the kernel sends DESTROY and umount(2) waits for the answer: so
 * everything is on the device when umount returns.
 */
static void op_destroy(void *userdata)
{
	front_close_fs(userdata);
}

void front_close_fs(struct front *fr)
{
	struct bdev *bdev = fr->bdev;
	struct tfs_fs *fs = fr->fs;

	if (!bdev)
		return;
	/* From here on, whoever wants the image waits for us instead of giving up. */
	bdev_set_serving(bdev, false);
	seekers_stop(fr);
	/* The receive buffers are the page cache's. */
	if (fr->tr)
		transport_stop(fr->tr);
	if (fs) {
		open_table_close_all(fr);
		fr->fs = NULL;
		fr->close_err = vfs_unmount(fs);
	}
	fr->bdev = NULL;
	bdev_close(bdev);
}

int front_init(struct front *fr, struct options *opts)
{
	memset(fr, 0, sizeof(*fr));
	fr->opts = opts;
	open_table_init(&fr->open);
	pthread_mutex_init(&fr->status_lock, NULL);
	pthread_mutex_init(&fr->seek_lock, NULL);
	fr->event_fd = eventfd(0, EFD_CLOEXEC);
	return fr->event_fd < 0 ? -errno : 0;
}

void front_exit(struct front *fr)
{
	tl_free(fr->status_text);
	pthread_mutex_destroy(&fr->seek_lock);
	pthread_mutex_destroy(&fr->status_lock);
	if (fr->event_fd >= 0)
		close(fr->event_fd);
}

const struct fuse_lowlevel_ops front_ops = {
	.init = op_init,
	.destroy = op_destroy,
	.lookup = op_lookup,
	.forget = op_forget,
	.forget_multi = op_forget_multi,
	.getattr = op_getattr,
	.setattr = op_setattr,
	.readlink = op_readlink,
	.mknod = op_mknod,
	.mkdir = op_mkdir,
	.unlink = op_unlink,
	.rmdir = op_rmdir,
	.symlink = op_symlink,
	.rename = op_rename,
	.link = op_link,
	.open = op_open,
	.create = op_create,
	.read = op_read,
	.write = op_write,
	.flush = op_flush,
	.release = op_release,
	.fsync = op_fsync,
	.opendir = op_opendir,
	.readdir = op_readdir,
	.readdirplus = op_readdirplus,
	.fsyncdir = op_fsyncdir,
	.statfs = op_statfs,
	.getxattr = op_getxattr,
	.listxattr = op_listxattr,
	.removexattr = op_removexattr,
	.fallocate = op_fallocate,
	.lseek = op_lseek,
	.copy_file_range = op_copy_file_range,
	.ioctl = op_ioctl,
};
