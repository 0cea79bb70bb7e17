/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Open files: open, create, tmpfile, release, and the table of what is open. */
#include "core/lib/list.h"
#include "core/lib/util.h"
#include "fs/fuse/front.h"
#include "fs/vfs/vfs.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

static struct open_bucket *bucket_of(struct front *fr, uint64_t ino)
{
	return &fr->open.buckets[ino % OPEN_BUCKETS];
}

void open_table_init(struct open_table *t)
{
	size_t i;

	for (i = 0; i < OPEN_BUCKETS; i++) {
		pthread_mutex_init(&t->buckets[i].lock, NULL);
		INIT_LIST_HEAD(&t->buckets[i].files);
	}
}

/* @of: memory, got before anything happened that an open that fails could not take back. */
static void table_add(struct front *fr, struct open_file *of, uint64_t ino, int flags,
		      struct vfs_file *f)
{
	struct open_bucket *b = bucket_of(fr, ino);

	atomic_init(&of->refs, 1);
	of->ino = ino;
	of->readable = (flags & O_ACCMODE) != O_WRONLY;
	of->writable = (flags & O_ACCMODE) != O_RDONLY;
	atomic_init(&of->write_err, 0);
	of->f = f;
	pthread_mutex_lock(&b->lock);
	list_add_tail(&of->link, &b->files);
	pthread_mutex_unlock(&b->lock);
}

void open_file_get(struct open_file *of)
{
	atomic_fetch_add(&of->refs, 1);
}

void open_file_put(struct front *fr, struct open_file *of)
{
	if (atomic_fetch_sub(&of->refs, 1) > 1)
		return;
	vfs_release(fr->fs, of->f);
	tl_free(of);
}

static void table_release(struct front *fr, struct open_file *of)
{
	struct open_bucket *b = bucket_of(fr, of->ino);

	pthread_mutex_lock(&b->lock);
	list_del_init(&of->link);
	pthread_mutex_unlock(&b->lock);
	open_file_put(fr, of);
}

void open_table_close_all(struct front *fr)
{
	size_t i;

	for (i = 0; i < OPEN_BUCKETS; i++) {
		struct list_head *files = &fr->open.buckets[i].files;

		while (!list_empty(files))
			table_release(fr, list_entry(files->next, struct open_file, link));
	}
}

bool open_for_writing(struct front *fr, uint64_t ino)
{
	struct open_bucket *b = bucket_of(fr, ino);
	struct open_file *of;
	bool found = false;

	pthread_mutex_lock(&b->lock);
	list_for_each_entry(of, &b->files, link) {
		if (of->ino == ino && of->writable) {
			found = true;
			break;
		}
	}
	pthread_mutex_unlock(&b->lock);
	return found;
}

bool open_write_failed(struct front *fr, uint64_t ino, int err)
{
	struct open_bucket *b = bucket_of(fr, ino);
	struct open_file *of;
	bool news = false;

	pthread_mutex_lock(&b->lock);
	list_for_each_entry(of, &b->files, link)
		if (of->ino == ino && of->writable && !atomic_exchange(&of->write_err, err))
			news = true;
	pthread_mutex_unlock(&b->lock);
	return news;
}

/*
 * The kernel's write-back cache fills partly written pages through any
 * descriptor, and places what is appended by itself.
 */
static int flags_for_vfs(const struct front *fr, int flags)
{
	if (!fr->opts->writeback_cache)
		return flags;
	if ((flags & O_ACCMODE) == O_WRONLY)
		flags = (flags & ~O_ACCMODE) | O_RDWR;
	return flags & ~O_APPEND;
}

static void fill_open(const struct front *fr, const struct open_file *of, struct fuse_open_out *out)
{
	/* what else is in it differs from one <linux/fuse.h> to the next */
	memset(out, 0, sizeof(*out));
	out->fh = (uint64_t)(uintptr_t)of;
	/*
	 * What the kernel has cached of a file is right: nobody else changes it.  O_DIRECT needs no
	 * FOPEN_DIRECT_IO: the kernel's own path for it is coherent with its cache before and
	 * after, and mmap keeps working (docs/DESIGN.md).
	 */
	out->open_flags = ABI_FOPEN_KEEP_CACHE | ABI_FOPEN_PARALLEL_DIRECT_WRITES;
}

static int truncate_at_open(fuse_req_t req, struct front *fr, uint64_t ino, bool kill)
{
	struct vfs_attr set = { .size = 0 }, a;
	bool killed = false;
	struct vfs_cred cred;
	int err = kill ? vfs_kill_priv(fr->fs, ino, &killed) : 0;

	if (killed)
		forget_attr(fr, ino);
	fill_cred(req, &cred);
	return err ? err
		   : vfs_setattr(fr->fs, ino, VFS_SET_SIZE | VFS_SET_MTIME_NOW, &set, &cred, &a);
}

void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct front *fr = front_of(req);
	const struct fuse_open_in *in = transport_current()->arg;
	bool kill = fr->killpriv && (in->open_flags & FUSE_OPEN_KILL_SUIDGID);
	struct open_file *of = tl_alloc(sizeof(*of));
	struct fuse_open_out out;
	struct vfs_file *f;
	int err = of ? 0 : -ENOMEM;

	if (!err)
		err = vfs_open(fr->fs, ino, fi->flags & ~O_TRUNC, &f);
	if (err)
		goto fail;
	f->flags = flags_for_vfs(fr, f->flags);
	/* The kernel places what is appended; whoever has taken O_APPEND off since is to be
	 * refused, not helped. */
	if (vfs_flags(f) & VFS_FLAG_APPEND)
		f->flags &= ~O_APPEND;
	if (fi->flags & O_TRUNC) {
		err = truncate_at_open(req, fr, ino, kill);
		if (err)
			goto fail_release;
	}
	table_add(fr, of, ino, fi->flags, f);
	fill_open(fr, of, &out);
	if (transport_reply_data(req, &out, sizeof(out)) == -ENOENT)
		table_release(fr, of);
	return;
fail_release:
	vfs_release(fr->fs, f);
fail:
	tl_free(of);
	reply_err(req, err);
}

struct created {
	struct fuse_entry_out entry;
	struct fuse_open_out open;
};

/* An inode just made and opened becomes an open file and its answer. */
static void finish_create(struct front *fr, const struct vfs_attr *a, struct vfs_file *f, int flags,
			  struct created *out, struct open_file *of)
{
	table_add(fr, of, a->ino, flags, f);
	fill_entry(fr, a, &out->entry);
	fill_open(fr, of, &out->open);
}

static void undo_create(struct front *fr, struct open_file *of)
{
	uint64_t ino = of->ino;

	table_release(fr, of);
	vfs_forget(fr->fs, ino, 1);
}

void op_create(fuse_req_t req, fuse_ino_t dir, const char *name, mode_t mode,
	       struct fuse_file_info *fi)
{
	struct front *fr = front_of(req);
	struct open_file *of = tl_alloc(sizeof(*of));
	struct created out;
	struct vfs_cred cred;
	struct vfs_attr a;
	struct vfs_file *f;
	int err = of ? 0 : -ENOMEM;

	fill_cred(req, &cred);
	if (!err)
		err = vfs_create(fr->fs, dir, name, mode, &cred,
				 flags_for_vfs(fr, fi->flags) & ~O_TRUNC, &a, &f);
	if (err) {
		tl_free(of);
		/*
		 * The kernel believes that there is no such name.  Opening what there is would be
		 * without its leave (default_permissions): it is to look again, and to ask for an
		 * open.
		 */
		reply_err(req, err == -EEXIST && !(fi->flags & O_EXCL) ? -ESTALE : err);
		return;
	}
	finish_create(fr, &a, f, fi->flags, &out, of);
	if (transport_reply_data(req, &out, sizeof(out)) == -ENOENT)
		undo_create(fr, of);
}

void raw_tmpfile(struct front *fr, const struct raw_request *rq)
{
	const struct fuse_create_in *in = rq->arg;
	struct vfs_cred cred = { .uid = rq->hdr->uid, .gid = rq->hdr->gid };
	struct open_file *of = tl_alloc(sizeof(*of));
	struct created out;
	struct vfs_attr a;
	struct vfs_file *f;
	int err = of ? 0 : -ENOMEM;

	if (!err && rq->arg_len < sizeof(*in))
		err = -EINVAL;
	if (!err) {
		cred.umask = in->umask;
		err = vfs_tmpfile(fr->fs, rq->hdr->nodeid, in->mode, &cred,
				  flags_for_vfs(fr, (int)in->flags), &a, &f);
	}
	if (err) {
		tl_free(of);
		transport_reply(-err, NULL, 0);
		return;
	}
	finish_create(fr, &a, f, (int)in->flags, &out, of);
	if (transport_reply(0, &out, sizeof(out)) == -ENOENT)
		undo_create(fr, of);
}

void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	table_release(front_of(req), (struct open_file *)(uintptr_t)fi->fh);
	fuse_reply_err(req, 0);
}
