/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The FUSE front end: what its parts share.
 *
 * Handlers run on the transport's threads, any number at once, and keep no
 * state of their own but the table of open files.  A nodeid is an inode
 * number.  Answers that carry attributes are built as the kernel wants them,
 * with time-outs that never end: nobody but us changes the file system.
 */
#ifndef FS_FUSE_FRONT_H
#define FS_FUSE_FRONT_H

#include "common/options.h"
#include "core/block/bdev.h"
#include "core/lib/list.h"
#include "core/lib/workqueue.h"
#include "fs/fuse/transport.h"
#include "fs/state/fs.h"
#include "fs/vfs/vfs.h"

#define OPEN_BUCKETS 64

/* An open descriptor; its address is the kernel's file handle. */
struct open_file {
	struct list_head link; /* in its bucket */
	atomic_int
		refs; /* the kernel's, until RELEASE; and a READ's: it goes on after its answer */
	uint64_t ino;
	bool readable, writable;
	/*
	 * Negative errno: what the kernel had cached of the file could not be written.  The kernel
	 * tells at fsync and close; who only writes on would never hear of it, so it is told once
	 * at the next write, as NFS does.
	 */
	atomic_int write_err;
	struct vfs_file *f;
};

struct open_table {
	struct open_bucket {
		pthread_mutex_t lock;
		struct list_head files;
	} buckets[OPEN_BUCKETS];
};

struct front {
	struct options *opts;
	struct bdev *bdev;
	struct tfs_fs *fs; /* both NULL once closed */
	struct fuse_session *se;
	struct transport *tr;
	struct open_table open;
	pthread_mutex_t seek_lock;
	struct workqueue *seekers; /* seek_lock; for what must not block a transport thread, see
				      file.c; NULL: no more */
	int close_err;		   /* what closing the file system said; negative errno */
	int event_fd;		   /* main waits here: FRONT_EVENT_* */
	bool setxattr_ext;	   /* SETXATTR has the long header */
	bool killpriv;		   /* the kernel leaves clearing set-id bits to us */
	pthread_mutex_t status_lock;
	char *status_text; /* status_lock: for paging through, see status.c */
	size_t status_len;
};

enum { FRONT_EVENT_READY = 1, FRONT_EVENT_GONE = 1 << 20 }; /* added up in the eventfd */

static inline struct front *front_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

/* front.c */
extern const struct fuse_lowlevel_ops front_ops;
int front_init(struct front *fr, struct options *opts);
void front_exit(struct front *fr);
/* Ends serving: closes what is open and the file system.  From DESTROY or from main, whichever is
 * first. */
void front_close_fs(struct front *fr);
/* Transport hooks. */
void front_amend_init(void *userdata, const struct fuse_init_in *in, struct fuse_init_out *out);
bool front_raw_request(void *userdata, const struct raw_request *rq);

/* @err: negative errno or 0.  ENOSYS never goes out: the kernel would not ask again. */
void reply_err(fuse_req_t req, int err);
void fill_cred(fuse_req_t req, struct vfs_cred *cred);

/* attr.c */
void fill_attr(const struct front *fr, const struct vfs_attr *a, struct fuse_attr *out);
void fill_entry(struct front *fr, const struct vfs_attr *a, struct fuse_entry_out *out);
/* Answers with the entry, or @err; gives the lookup reference back if nobody got the answer. */
void reply_entry(fuse_req_t req, int err, const struct vfs_attr *a);
/*
 * The kernel believes the attributes it has until something tells it better: mode and owner for
 * ever, and runs programs by them.  So whatever changes them in a request whose answer does not
 * carry them, or fails after it has, calls this after the change and before the answer.  A GETATTR
 * under way is no danger, the kernel drops answers from before; answers to SETATTR and LINK it
 * takes as they are, but those it asks for, like every write, with the inode locked. Takes no lock
 * of a page.
 */
void forget_attr(struct front *fr, fuse_ino_t ino);
void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int to_set,
		struct fuse_file_info *fi);
void op_statfs(fuse_req_t req, fuse_ino_t ino);
void raw_statx(struct front *fr, const struct raw_request *rq);

/* lookup.c */
void op_lookup(fuse_req_t req, fuse_ino_t dir, const char *name);
void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t n);
void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets);
void op_readlink(fuse_req_t req, fuse_ino_t ino);
void op_mknod(fuse_req_t req, fuse_ino_t dir, const char *name, mode_t mode, dev_t rdev);
void op_mkdir(fuse_req_t req, fuse_ino_t dir, const char *name, mode_t mode);
void op_symlink(fuse_req_t req, const char *target, fuse_ino_t dir, const char *name);
void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t dir, const char *name);
void op_unlink(fuse_req_t req, fuse_ino_t dir, const char *name);
void op_rmdir(fuse_req_t req, fuse_ino_t dir, const char *name);
void op_rename(fuse_req_t req, fuse_ino_t dir, const char *name, fuse_ino_t newdir,
	       const char *newname, unsigned int flags);

/* dir.c */
void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		    struct fuse_file_info *fi);
void op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);

/* open.c */
void open_table_init(struct open_table *t);
/* Closes what the kernel did not live to release. */
void open_table_close_all(struct front *fr);
bool open_for_writing(struct front *fr, uint64_t ino);
/* A write of cached pages failed: whoever has the file open for writing is to know.  True if
 * somebody did not yet. */
bool open_write_failed(struct front *fr, uint64_t ino, int err);
void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_create(fuse_req_t req, fuse_ino_t dir, const char *name, mode_t mode,
	       struct fuse_file_info *fi);
void open_file_get(struct open_file *of);
void open_file_put(struct front *fr, struct open_file *of);
void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void raw_tmpfile(struct front *fr, const struct raw_request *rq);

/* file.c */
void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void op_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
	      struct fuse_file_info *fi);
void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len,
		  struct fuse_file_info *fi);
void op_copy_file_range(fuse_req_t req, fuse_ino_t ino_in, off_t off_in,
			struct fuse_file_info *fi_in, fuse_ino_t ino_out, off_t off_out,
			struct fuse_file_info *fi_out, size_t len, int flags);
void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *fi);
/* Before the transport stops: waits for those seeks that wait for it, and lets no more do so. */
void seekers_stop(struct front *fr);

/* For what must not block a transport thread.  False: we are about to go, nothing is done. */
bool later(struct front *fr, struct work *w);

/* xattr.c */
void raw_setxattr(struct front *fr, const struct raw_request *rq);
void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size);
void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size);
void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name);

/* status.c */
void ioctl_status(fuse_req_t req, const void *in, size_t in_size, size_t out_size);

/* ioctl.c */
void op_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned int cmd, void *arg,
	      struct fuse_file_info *fi, unsigned int flags, const void *in, size_t in_size,
	      size_t out_size);

/* chattr.c */
void ioctl_get_flags(fuse_req_t req, fuse_ino_t ino, unsigned int cmd, size_t out_size);
void ioctl_set_flags(fuse_req_t req, fuse_ino_t ino, unsigned int cmd, const void *in,
		     size_t in_size);

#endif
