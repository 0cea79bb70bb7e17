/* SPDX-License-Identifier: GPL-2.0-or-later */
/* File content: read, write, flush, fsync, fallocate, lseek. */
#include "core/block/seg.h"
#include "core/iomap/iomap.h"
#include "core/lib/util.h"
#include "core/lib/workqueue.h"
#include "fs/fuse/front.h"
#include "fs/state/error.h"
#include "fs/vfs/vfs.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* Pieces of one reply: what writev(2) takes, less the header. */
#define MAX_PIECES 1023
static struct vfs_file *file_of(const struct fuse_file_info *fi)
{
	return ((struct open_file *)(uintptr_t)fi->fh)->f;
}

struct read_reply {
	fuse_req_t req;
	bool sent;
};

/* Pieces that lie behind one another become one; what is too many goes through the scratch
 * memory. */
static int gather(struct iovec *out, const struct iovec *iov, int n)
{
	char *scratch = transport_current()->scratch;
	size_t used = 0;
	int i, have = 0;

	for (i = 0; i < n; i++) {
		struct iovec *last = have ? &out[have - 1] : NULL;

		if (last && (char *)last->iov_base + last->iov_len == iov[i].iov_base) {
			last->iov_len += iov[i].iov_len;
		} else if (have < MAX_PIECES - 1) {
			out[have++] = iov[i];
		} else {
			if (!used)
				out[have++] = (struct iovec){ scratch, 0 };
			memcpy(scratch + used, iov[i].iov_base, iov[i].iov_len);
			used += iov[i].iov_len;
			out[have - 1].iov_len = used;
		}
	}
	return have;
}

/* Straight from the cache to the kernel, while the inode is locked shared. */
static int send_data(void *arg, struct iovec *iov, int n, size_t bytes)
{
	struct read_reply *rr = arg;
	struct iovec out[MAX_PIECES + 1];

	rr->sent = true;
	n = gather(out + 1, iov, n);
	transport_reply_iov(rr->req, out, n + 1);
	return 0;
}

void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct read_reply rr = { .req = req };
	size_t len = min_t(size_t, size, TRANSPORT_MAX_WRITE);
	struct open_file *of = (struct open_file *)(uintptr_t)fi->fh;
	struct front *fr = front_of(req);
	int err;

	/* The answer is sent before the read is over: the RELEASE may be here at once. */
	open_file_get(of);
	err = vfs_read(fr->fs, of->f, (uint64_t)off, len, send_data, &rr);
	if (!rr.sent && err < 0)
		reply_err(req, err);
	else if (!rr.sent)
		transport_reply_data(req, NULL, 0);
	open_file_put(fr, of);
}

/* ---- threads of our own ---- */

bool later(struct front *fr, struct work *w)
{
	bool queued = false;

	pthread_mutex_lock(&fr->seek_lock);
	if (fr->seekers) {
		queue_work(fr->seekers, w);
		queued = true;
	}
	pthread_mutex_unlock(&fr->seek_lock);
	return queued;
}

/* The kernel's pages of a range are to go. */
struct drop {
	struct work work;
	struct front *fr;
	uint64_t ino;
	off_t off;
	size_t len;
};

static void drop_work(struct work *w)
{
	struct drop *d = container_of(w, struct drop, work);

	fuse_lowlevel_notify_inval_inode(d->fr->se, d->ino, d->off, (off_t)d->len);
	tl_free(d);
}

static void drop_pages(struct front *fr, fuse_ino_t ino, off_t off, size_t len)
{
	struct drop *d = tl_alloc(sizeof(*d));

	if (!d)
		return;
	*d = (struct drop){ .fr = fr, .ino = ino, .off = off, .len = len };
	work_init(&d->work, drop_work);
	if (!later(fr, &d->work))
		tl_free(d);
}

/* ---- writing ---- */

void op_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
	      struct fuse_file_info *fi)
{
	const struct raw_request *rq = transport_current();
	const struct fuse_write_in *in = rq->arg;
	struct front *fr = front_of(req);
	struct fuse_write_out out = { 0 };
	unsigned int flags = 0;
	bool killed = false;
	int64_t n;

	if (in->write_flags & FUSE_WRITE_CACHE)
		flags |= VFS_WRITE_CACHE | (fr->opts->writeback_cache ? 0 : VFS_WRITE_TOUCH);
	if (fr->killpriv && (in->write_flags & FUSE_WRITE_KILL_SUIDGID))
		flags |= VFS_WRITE_KILL_PRIV;
	size = min_t(size_t, size, rq->payload_len);
	do {
		struct iomap_src src = {
			.buf = (char *)rq->payload + out.size,
			.len = size - out.size,
			.seg = rq->seg,
		};

		n = vfs_write(fr->fs, file_of(fi), (uint64_t)off + out.size, &src, flags, &killed);
		if (n > 0)
			out.size += (uint32_t)n;
	} while (n > 0 && out.size < size);
	if (killed)
		forget_attr(fr, ino);
	/* Nobody would look at a short count of cached pages, so that is an error; a program sees
	 * its count. */
	if (n < 0 && (!out.size || (flags & VFS_WRITE_CACHE)))
		reply_err(req, (int)n);
	else
		transport_reply_data(req, &out, sizeof(out));
	/* What an immutable or append-only file has not become is not to be read from the kernel's
	 * cache. */
	if (n == -EPERM && flags & VFS_WRITE_CACHE)
		drop_pages(fr, ino, off, size);
	/* Pages that the kernel had taken before the file system went read-only: kept, but the
	 * program is to hear. */
	if (n > 0)
		n = tfs_writable(fr->fs);
	/* Has the next write ask for attributes, which op_getattr() refuses; after the answer, for
	 * the kernel waits for it. */
	if (n < 0 && (flags & VFS_WRITE_CACHE) && open_write_failed(fr, ino, (int)n))
		forget_attr(fr, ino);
}

/* The kernel reports at flush and fsync what became of its cached pages. */
static void write_err_is_told(const struct fuse_file_info *fi)
{
	atomic_store(&((struct open_file *)(uintptr_t)fi->fh)->write_err, 0);
}

void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	write_err_is_told(fi);
	reply_err(req, vfs_flush(front_of(req)->fs, file_of(fi)));
}

void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	write_err_is_told(fi);
	reply_err(req, vfs_fsync(front_of(req)->fs, file_of(fi), datasync));
}

/*
 * FALLOCATE and COPY_FILE_RANGE say nothing of set-id bits, and with KILLPRIV_V2 the kernel does
 * not clear them itself. Who may keep them it does not say either: root does.
 */
static int kill_priv(fuse_req_t req, fuse_ino_t ino)
{
	struct front *fr = front_of(req);
	bool killed = false;
	int err = 0;

	if (fr->killpriv && fuse_req_ctx(req)->uid)
		err = vfs_kill_priv(fr->fs, ino, &killed);
	if (killed)
		forget_attr(fr, ino);
	return err;
}

void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len,
		  struct fuse_file_info *fi)
{
	struct front *fr = front_of(req);
	int err = kill_priv(req, ino);

	if (!err)
		err = vfs_fallocate(fr->fs, file_of(fi), mode, (uint64_t)off, (uint64_t)len);
	/* part of it may have been done */
	if (err)
		forget_attr(fr, ino);
	reply_err(req, err);
}

/* The kernel has written its dirty pages of both ranges before, and drops those of the destination
 * after. */
void op_copy_file_range(fuse_req_t req, fuse_ino_t ino_in, off_t off_in,
			struct fuse_file_info *fi_in, fuse_ino_t ino_out, off_t off_out,
			struct fuse_file_info *fi_out, size_t len, int flags)
{
	int64_t n = kill_priv(req, ino_out);

	if (!n)
		n = vfs_copy_file_range(front_of(req)->fs, file_of(fi_in), (uint64_t)off_in,
					file_of(fi_out), (uint64_t)off_out, len,
					(unsigned int)flags);
	if (n < 0)
		reply_err(req, (int)n);
	else
		fuse_reply_write(req, (size_t)n);
}

/* ---- lseek ---- */

struct seek {
	struct work work;
	struct front *fr;
	fuse_req_t req;
	struct request_time time;
	struct open_file *of;
	off_t off;
	int whence;
};

static void seek_answer(struct front *fr, fuse_req_t req, struct open_file *of, off_t off,
			int whence)
{
	int64_t pos = vfs_lseek(fr->fs, of->f, (uint64_t)off, whence);

	if (pos < 0)
		reply_err(req, (int)pos);
	else
		fuse_reply_lseek(req, pos);
}

/*
 * Dropping the kernel's pages makes it write the dirty ones to us first; a failure
 * (the inode is not cached) means that there are none.
 */
static void seek_work(struct work *w)
{
	struct seek *s = container_of(w, struct seek, work);

	fuse_lowlevel_notify_inval_inode(s->fr->se, s->of->ino, s->off & ~4095l, 0);
	seek_answer(s->fr, s->req, s->of, s->off, s->whence);
	transport_answered(s->fr->tr, &s->time);
	tl_free(s);
}

/*
 * The kernel asks for data and holes without writing its dirty pages first, so
 * the answer would be wrong for a file that somebody writes.  We make it write
 * them: on a thread of its own, since the writes come back to the transport's
 * threads and all of these could be here.
 */
void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *fi)
{
	struct front *fr = front_of(req);
	struct open_file *of = (struct open_file *)(uintptr_t)fi->fh;
	struct seek *s;

	if (whence != SEEK_DATA && whence != SEEK_HOLE) {
		reply_err(req, -EINVAL);
		return;
	}
	if (!open_for_writing(fr, ino)) {
		seek_answer(fr, req, of, off, whence);
		return;
	}
	s = tl_alloc(sizeof(*s));
	if (!s) {
		reply_err(req, -ENOMEM);
		return;
	}
	*s = (struct seek){ .fr = fr,
			    .req = req,
			    .time = transport_current()->time,
			    .of = of,
			    .off = off,
			    .whence = whence };
	work_init(&s->work, seek_work);
	if (later(fr, &s->work))
		return;
	/* We are about to go; what is dirty has been written at the unmount, or will fail. */
	tl_free(s);
	seek_answer(fr, req, of, off, whence);
}

void seekers_stop(struct front *fr)
{
	struct workqueue *wq;

	pthread_mutex_lock(&fr->seek_lock);
	wq = fr->seekers;
	fr->seekers = NULL;
	pthread_mutex_unlock(&fr->seek_lock);
	if (wq)
		workqueue_destroy(wq);
}
