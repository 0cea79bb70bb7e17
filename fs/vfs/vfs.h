/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The file system as a library: what a front end (FUSE, in-process tests) calls.
 *
 * Inodes are named by number.  Each successful call that returns an inode to the
 * front end (vfs_lookup, vfs_create, ...) takes one lookup reference on it, given back
 * by vfs_forget; an unlinked inode lives until its link count, its lookup count
 * and its open files are all zero.  Lookup counts are kept in a compact table;
 * inode objects themselves come and go.
 *
 * Permissions are the caller's business (default_permissions); ownership,
 * setgid inheritance and set-id clearing are done here.  All functions return 0 or
 * negative errno unless said otherwise; all may sleep and do I/O.  Names are
 * byte strings of 1..255 bytes without '/' and NUL: -ENAMETOOLONG, -EINVAL.
 */
#ifndef FS_VFS_H
#define FS_VFS_H

#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include "core/block/bdev.h"
#include "core/iomap/iomap.h"
#include "fs/state/fs.h"

struct vfs_cred {
	uid_t uid;
	gid_t gid;
	mode_t umask;
};

/* Of regular files and directories (chattr(1)); what they forbid fails with -EPERM. */
enum {
	VFS_FLAG_IMMUTABLE = 1 << 0,
	VFS_FLAG_APPEND = 1 << 1,
};
struct vfs_attr {
	uint64_t ino, generation, size, blocks512;
	uint32_t mode, nlink, uid, gid;
	unsigned int flags; /* VFS_FLAG_* */
	dev_t rdev;
	struct timespec atime, mtime, ctime, btime;
};

struct tfs_inode;
struct vfs_file {
	struct tfs_inode *inode;
	int flags; /* O_* */
	uint64_t wb_err;
};

/* Everything above fs/disk/super.c: opens, recovers, starts threads, finishes orphans and intents.
 * Reads of data work when it returns. */
int vfs_mount(struct bdev *b, const struct tfs_mount_opts *opts, struct tfs_fs **out, char *why,
	      size_t why_len);
/* The part that starts threads, when opts.no_threads was set until a fork is over. */
int vfs_start_threads(struct tfs_fs *fs);
/* Write all, close.  First error; gone in any case. */
int vfs_unmount(struct tfs_fs *fs);
/* Tests: as if the power had gone: nothing more is written. */
void vfs_crash(struct tfs_fs *fs);

int vfs_lookup(struct tfs_fs *fs, uint64_t dir, const char *name, struct vfs_attr *attr);
int vfs_ref(struct tfs_fs *fs, uint64_t ino, uint64_t n);
void vfs_forget(struct tfs_fs *fs, uint64_t ino, uint64_t n);
int vfs_getattr(struct tfs_fs *fs, uint64_t ino, struct vfs_attr *attr);
/* -ESTALE if the inode is gone or its generation differs (export). */
int vfs_parent(struct tfs_fs *fs, uint64_t ino, uint64_t *dir);

enum {
	VFS_SET_MODE = 1 << 0,
	VFS_SET_UID = 1 << 1,
	VFS_SET_GID = 1 << 2,
	VFS_SET_SIZE = 1 << 3,
	VFS_SET_ATIME = 1 << 4,
	VFS_SET_MTIME = 1 << 5,
	VFS_SET_ATIME_NOW = 1 << 6,
	VFS_SET_MTIME_NOW = 1 << 7,
	VFS_SET_CTIME = 1 << 8,
	VFS_KILL_PRIV = 1 << 9, /* clear set-id bits and file capabilities (chown, truncate, write
				   by others) */
	VFS_SET_WRITTEN = 1 << 10, /* times of what has been written, from the kernel's cache: no
				      flag forbids them */
};
int vfs_setattr(struct tfs_fs *fs, uint64_t ino, unsigned int what, const struct vfs_attr *set,
		const struct vfs_cred *cred, struct vfs_attr *attr);
/* VFS_FLAG_*, all of them.  Who may is the caller's business.  -EOPNOTSUPP (neither file nor
 * directory, unknown flag).
 */
int vfs_set_flags(struct tfs_fs *fs, uint64_t ino, unsigned int flags);

/* What VFS_KILL_PRIV says, and nothing else; *killed is set if there was something to take. */
int vfs_kill_priv(struct tfs_fs *fs, uint64_t ino, bool *killed);

/* O_EXCL semantics: -EEXIST if the name is there.  @f may be NULL (mknod of a regular file). */
int vfs_create(struct tfs_fs *fs, uint64_t dir, const char *name, mode_t mode,
	       const struct vfs_cred *cred, int flags, struct vfs_attr *attr, struct vfs_file **f);
int vfs_tmpfile(struct tfs_fs *fs, uint64_t dir, mode_t mode, const struct vfs_cred *cred,
		int flags, struct vfs_attr *attr, struct vfs_file **f);
int vfs_mknod(struct tfs_fs *fs, uint64_t dir, const char *name, mode_t mode, dev_t rdev,
	      const struct vfs_cred *cred, struct vfs_attr *attr);
int vfs_mkdir(struct tfs_fs *fs, uint64_t dir, const char *name, mode_t mode,
	      const struct vfs_cred *cred, struct vfs_attr *attr);
int vfs_symlink(struct tfs_fs *fs, uint64_t dir, const char *name, const char *target,
		const struct vfs_cred *cred, struct vfs_attr *attr);
int vfs_readlink(struct tfs_fs *fs, uint64_t ino, char *buf, size_t size); /* length */
int vfs_link(struct tfs_fs *fs, uint64_t ino, uint64_t dir, const char *name,
	     struct vfs_attr *attr);
int vfs_unlink(struct tfs_fs *fs, uint64_t dir, const char *name);
int vfs_rmdir(struct tfs_fs *fs, uint64_t dir, const char *name);
/* @flags: RENAME_NOREPLACE, RENAME_EXCHANGE */
int vfs_rename(struct tfs_fs *fs, uint64_t dir, const char *name, uint64_t newdir,
	       const char *newname, unsigned int flags);
/*
 * As vfs_rename with RENAME_NOREPLACE or 0, but the old name stays and means, from the same moment
 * on, a new inode: a character device 0:0 of @cred's, by which overlayfs knows that a name in a
 * layer below is covered.
 */
int vfs_rename_whiteout(struct tfs_fs *fs, uint64_t dir, const char *name, uint64_t newdir,
			const char *newname, unsigned int flags, const struct vfs_cred *cred);

/* Entries after cookie @after (0: from ".").  fill returns false when its buffer is full. */
struct vfs_dirent {
	uint64_t ino, cookie;
	uint8_t type;
	const char *name;
	size_t len;
};
typedef bool vfs_fill_fn(void *arg, const struct vfs_dirent *de);
int vfs_readdir(struct tfs_fs *fs, uint64_t dir, uint64_t after, vfs_fill_fn *fill, void *arg);

/*
 * @flags: O_ACCMODE, O_APPEND (else an append-only file is not opened for writing), O_SYNC,
 * O_DSYNC, and O_DIRECT: whole blocks of reads and writes go past the page cache (memory that is
 * not page aligned, and parts of blocks, do not: nothing is refused).  What is cached and what is
 * not are one file at every moment.
 */
int vfs_open(struct tfs_fs *fs, uint64_t ino, int flags, struct vfs_file **f);
unsigned int vfs_flags(const struct vfs_file *f); /* VFS_FLAG_* of its inode, now */
void vfs_release(struct tfs_fs *fs, struct vfs_file *f);
/*
 * Reads through the page cache (O_DIRECT: past it); calls @use with the pinned pieces while the
 * inode is locked shared (so a reply is one consistent moment).  Returns what @use returned, or
 * -errno: -EIO for data that could not be verified, never wrong data.  All or nothing: @use gets
 * less than @len only at the end of the file.  @f must live until this returns, whatever @use tells
 * to whom.
 */
int vfs_read(struct tfs_fs *fs, struct vfs_file *f, uint64_t pos, size_t len,
	     int (*use)(void *arg, struct iovec *iov, int n, size_t bytes), void *arg);
int64_t vfs_pread(struct tfs_fs *fs, struct vfs_file *f, void *buf, size_t len,
		  uint64_t pos); /* copy; bytes */
enum {
	VFS_WRITE_KILL_PRIV = 1 << 0,
	/*
	 * From the kernel's cache: mtime is the kernel's business, no O_APPEND.  To an append-only
	 * file it may bring again what is there.
	 */
	VFS_WRITE_CACHE = 1 << 1,
	/* Besides: the kernel writes through and keeps no times, so stores to a mapping move them
	 * when they come here. */
	VFS_WRITE_TOUCH = 1 << 2,
};
/*
 * With VFS_WRITE_KILL_PRIV *killed is set if there were privileges to take, also when the write
 * then failed: who keeps attributes elsewhere has to look again.  Without, it may be NULL.
 */
int64_t vfs_write(struct tfs_fs *fs, struct vfs_file *f, uint64_t pos, const struct iomap_src *src,
		  unsigned int flags, bool *killed);
int64_t vfs_pwrite(struct tfs_fs *fs, struct vfs_file *f, const void *buf, size_t len,
		   uint64_t pos);
/* On close(2): reports an error not yet seen by this file; starts no I/O. */
int vfs_flush(struct tfs_fs *fs, struct vfs_file *f);
int vfs_fsync(struct tfs_fs *fs, struct vfs_file *f, bool datasync);
int vfs_fsyncdir(struct tfs_fs *fs, uint64_t dir); /* of the root: all of the file system */
int vfs_sync(struct tfs_fs *fs);
/*
 * Copy [pos_in, pos_in + len) of @in to @pos_out of @out: whole blocks where both lie alike are
 * shared, all else is copied.  Bytes done, less than asked for at the end of @in or after much
 * copying, and always less than 4 GiB; 0 at or behind the end.  @flags: 0.  -EINVAL (not files;
 * ranges of one file overlap), -ENOSPC, -EIO, ...
 */
int64_t vfs_copy_file_range(struct tfs_fs *fs, struct vfs_file *in, uint64_t pos_in,
			    struct vfs_file *out, uint64_t pos_out, uint64_t len,
			    unsigned int flags);
/*
 * Shared blocks in [*pos, *pos + *len) (up to the end of the file) become the file's own.  A call
 * does no more than a bounded part, however large or sparse the file is: *pos and *len are then the
 * rest, *len 0 when there is none.
 * @stop (or NULL) is asked now and then whether to give up (-EINTR).
 */
int vfs_unshare(struct tfs_fs *fs, struct vfs_file *f, uint64_t *pos, uint64_t *len,
		bool (*stop)(void *arg), void *arg);
enum {
	VFS_EXTENT_UNWRITTEN = 1 << 0,
	VFS_EXTENT_SHARED = 1 << 1, /* somebody else has these blocks too, now */
	VFS_EXTENT_INLINE = 1 << 2, /* in the tree: no address */
};
struct vfs_extent {
	uint64_t pos, len, addr; /* bytes; addr: on the device */
	unsigned int flags;
};
/*
 * What is mapped at or behind @pos, at most @max stretches: their number, fewer than @max when
 * there is no more. What is dirty is written first.  Holes are what lies between.
 */
int vfs_extents(struct tfs_fs *fs, struct vfs_file *f, uint64_t pos, struct vfs_extent *x,
		unsigned int max);
/* FALLOC_FL_KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE; others -EOPNOTSUPP */
int vfs_fallocate(struct tfs_fs *fs, struct vfs_file *f, int mode, uint64_t pos, uint64_t len);
int64_t vfs_lseek(struct tfs_fs *fs, struct vfs_file *f, uint64_t pos,
		  int whence); /* SEEK_DATA, SEEK_HOLE */
int vfs_statfs(struct tfs_fs *fs, struct statvfs *st);
/*
 * Discard what is free in bytes [start, start + len) of the device, in runs of at least @minlen
 * bytes; *trimmed: bytes.  @stop (or NULL) is asked now and then whether to give up (-EINTR).
 * -EOPNOTSUPP: the device can't; -EBUSY: somebody else is at it; -EINVAL: a range behind the end or
 * below a block, @minlen above a group.
 */
int vfs_trim(struct tfs_fs *fs, uint64_t start, uint64_t len, uint64_t minlen,
	     bool (*stop)(void *arg), void *arg, uint64_t *trimmed);

/*
 * @flags: XATTR_CREATE, XATTR_REPLACE; VFS_XATTR_KILL_SGID: setting an access ACL takes the setgid
 * bit away (the caller is not in the file's group).  POSIX ACLs (system.posix_acl_access, _default)
 * are checked and kept in step with the mode; one without entries removes; removing one that is not
 * there is no error.
 *
 * Names: user., trusted., security., and of system. the ACLs; -EOPNOTSUPP for others.
 */
#define VFS_XATTR_KILL_SGID (1 << 16)
int vfs_setxattr(struct tfs_fs *fs, uint64_t ino, const char *name, const void *value, size_t len,
		 int flags, const struct vfs_cred *cred);
int vfs_getxattr(struct tfs_fs *fs, uint64_t ino, const char *name, void *buf,
		 size_t size);						    /* length */
int vfs_listxattr(struct tfs_fs *fs, uint64_t ino, char *buf, size_t size); /* length */
int vfs_removexattr(struct tfs_fs *fs, uint64_t ino, const char *name, const struct vfs_cred *cred);

/* Numbers for `tallyctl status`: everything there is, as "name value" pairs. */
typedef void vfs_stat_fn(void *arg, const char *group, const char *name, uint64_t value);
void vfs_stats(struct tfs_fs *fs, vfs_stat_fn *fn, void *arg);
/* How long the device and commits took: histograms (hist_export) in @group. */
void vfs_latencies(struct tfs_fs *fs, const char *group, vfs_stat_fn *fn, void *arg);

#endif
