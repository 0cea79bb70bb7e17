/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nullfs MOUNTPOINT: a FUSE server on tallyfs's transport that keeps everything
 * in memory and checks nothing.  What it reaches is the bound for any FUSE file
 * system on this machine.  Counts requests by kind and prints them at the end, or
 * on SIGUSR1.
 *
 *   -o LIST   mount options for libfuse
 *   -t N      threads (number of CPUs)
 *   -s US     microseconds a thread spins before it sleeps (50)
 *   -w        without the kernel's write-back cache
 *   -p        readdirplus always, not only when the kernel thinks that it pays
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/lib/log.h"
#include "fs/fuse/transport.h"
#include "nulltree.h"

#define VALID_SEC 1000000000u
#define NR_OPCODES 64

static pthread_rwlock_t tree_lock = PTHREAD_RWLOCK_INITIALIZER;
static atomic_ullong counts[NR_OPCODES];
static bool writeback = true, always_plus;
static int gone_fd;

static void print_counts(void)
{
	static const char *const names[NR_OPCODES] = {
		[1] = "LOOKUP",	    [2] = "FORGET",	  [3] = "GETATTR",   [4] = "SETATTR",
		[5] = "READLINK",   [6] = "SYMLINK",	  [8] = "MKNOD",     [9] = "MKDIR",
		[10] = "UNLINK",    [11] = "RMDIR",	  [12] = "RENAME",   [13] = "LINK",
		[14] = "OPEN",	    [15] = "READ",	  [16] = "WRITE",    [17] = "STATFS",
		[18] = "RELEASE",   [20] = "FSYNC",	  [21] = "SETXATTR", [22] = "GETXATTR",
		[23] = "LISTXATTR", [25] = "FLUSH",	  [26] = "INIT",     [27] = "OPENDIR",
		[28] = "READDIR",   [29] = "RELEASEDIR",  [30] = "FSYNCDIR", [35] = "CREATE",
		[36] = "INTERRUPT", [38] = "DESTROY",	  [39] = "IOCTL",    [42] = "BATCH_FORGET",
		[43] = "FALLOCATE", [44] = "READDIRPLUS", [45] = "RENAME2",  [46] = "LSEEK",
		[50] = "SYNCFS",    [51] = "TMPFILE",	  [52] = "STATX",
	};
	unsigned long long all = 0;
	int i;

	for (i = 0; i < NR_OPCODES; i++) {
		unsigned long long n = atomic_load(&counts[i]);

		all += n;
		if (n)
			fprintf(stderr, "%10llu  %s (%d)\n", n, names[i] ? names[i] : "?", i);
	}
	fprintf(stderr, "%10llu  in all\n", all);
}

static bool count_request(void *userdata, const struct raw_request *rq)
{
	atomic_fetch_add_explicit(&counts[rq->hdr->opcode % NR_OPCODES], 1, memory_order_relaxed);
	return false;
}

/* ---- answers ---- */

static void fill_attr(const struct node *n, struct fuse_attr *out)
{
	memset(out, 0, sizeof(*out));
	out->ino = n->ino;
	out->size = n->size;
	out->blocks = S_ISREG(n->mode) ? (n->size + 511) / 512 : 0;
	out->mtime = (uint64_t)n->mtime.tv_sec;
	out->atime = out->mtime;
	out->ctime = (uint64_t)n->ctime.tv_sec;
	out->mtimensec = (uint32_t)n->mtime.tv_nsec;
	out->atimensec = out->mtimensec;
	out->ctimensec = (uint32_t)n->ctime.tv_nsec;
	out->mode = n->mode;
	out->nlink = n->nlink;
	out->uid = n->uid;
	out->gid = n->gid;
	out->rdev = n->rdev;
	out->blksize = 4096;
}

/* Takes a lookup reference. */
static void fill_entry(struct node *n, struct fuse_entry_out *out)
{
	n->nlookup++;
	out->nodeid = n->ino;
	out->generation = 1;
	out->entry_valid = out->attr_valid = VALID_SEC;
	out->entry_valid_nsec = out->attr_valid_nsec = 0;
	fill_attr(n, &out->attr);
}

static void touch(struct node *n)
{
	clock_gettime(CLOCK_REALTIME_COARSE, &n->mtime);
	n->ctime = n->mtime;
}

static void null_init(void *userdata, struct fuse_conn_info *conn)
{
	unsigned int want = FUSE_CAP_ASYNC_READ | FUSE_CAP_ATOMIC_O_TRUNC | FUSE_CAP_DONT_MASK |
			    FUSE_CAP_READDIRPLUS | FUSE_CAP_ASYNC_DIO | FUSE_CAP_PARALLEL_DIROPS |
			    FUSE_CAP_CACHE_SYMLINKS | FUSE_CAP_EXPLICIT_INVAL_DATA;

	if (writeback)
		want |= FUSE_CAP_WRITEBACK_CACHE;
	if (!always_plus)
		want |= FUSE_CAP_READDIRPLUS_AUTO;
	conn->want = conn->capable & want;
	conn->max_write = TRANSPORT_MAX_WRITE;
	conn->max_background = 64;
	conn->congestion_threshold = 48;
}

static void amend_init(void *userdata, const struct fuse_init_in *in, struct fuse_init_out *out)
{
	out->flags |= in->flags & FUSE_HANDLE_KILLPRIV_V2;
}

static void null_lookup(fuse_req_t req, fuse_ino_t dir, const char *name)
{
	struct fuse_entry_out out = { .entry_valid = VALID_SEC };
	struct entry *e;

	pthread_rwlock_wrlock(&tree_lock);
	e = entry_find(node_get(dir), name);
	if (e)
		fill_entry(e->node, &out);
	pthread_rwlock_unlock(&tree_lock);
	transport_reply_data(req, &out, sizeof(out));
}

static void null_forget(fuse_req_t req, fuse_ino_t ino, uint64_t n)
{
	pthread_rwlock_wrlock(&tree_lock);
	if (ino != FUSE_ROOT_ID && node_get(ino))
		node_forget(node_get(ino), n);
	pthread_rwlock_unlock(&tree_lock);
	fuse_reply_none(req);
}

static void null_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *f)
{
	size_t i;

	pthread_rwlock_wrlock(&tree_lock);
	for (i = 0; i < count; i++)
		if (f[i].ino != FUSE_ROOT_ID && node_get(f[i].ino))
			node_forget(node_get(f[i].ino), f[i].nlookup);
	pthread_rwlock_unlock(&tree_lock);
	fuse_reply_none(req);
}

static void null_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fuse_attr_out out = { .attr_valid = VALID_SEC };

	pthread_rwlock_rdlock(&tree_lock);
	fill_attr(node_get(ino), &out.attr);
	pthread_rwlock_unlock(&tree_lock);
	transport_reply_data(req, &out, sizeof(out));
}

static void null_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int to_set,
			 struct fuse_file_info *fi)
{
	struct fuse_attr_out out = { .attr_valid = VALID_SEC };
	struct node *n;
	bool ok = true;

	pthread_rwlock_wrlock(&tree_lock);
	n = node_get(ino);
	if (to_set & FUSE_SET_ATTR_MODE)
		n->mode = (n->mode & S_IFMT) | (st->st_mode & 07777);
	if (to_set & FUSE_SET_ATTR_UID)
		n->uid = st->st_uid;
	if (to_set & FUSE_SET_ATTR_GID)
		n->gid = st->st_gid;
	if (to_set & (FUSE_SET_ATTR_SIZE | FUSE_SET_ATTR_MTIME_NOW))
		touch(n);
	else if (to_set & FUSE_SET_ATTR_MTIME)
		n->mtime = st->st_mtim;
	if (to_set & FUSE_SET_ATTR_SIZE)
		ok = node_resize(n, (uint64_t)st->st_size);
	fill_attr(n, &out.attr);
	pthread_rwlock_unlock(&tree_lock);
	if (ok)
		transport_reply_data(req, &out, sizeof(out));
	else
		fuse_reply_err(req, ENOMEM);
}

/* ---- names ---- */

/* Under the lock.  NULL: out of memory. */
static struct node *make(fuse_req_t req, fuse_ino_t dir, const char *name, mode_t mode,
			 struct fuse_entry_out *out)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);
	struct node *n = node_new(mode & (S_IFMT | (~ctx->umask & 07777)), ctx->uid, ctx->gid);

	if (!n || !entry_add(node_get(dir), name, n))
		return NULL;
	touch(node_get(dir));
	fill_entry(n, out);
	return n;
}

static void make_and_reply(fuse_req_t req, fuse_ino_t dir, const char *name, mode_t mode,
			   dev_t rdev, const char *target)
{
	struct fuse_entry_out out;
	struct node *n;
	bool ok;

	pthread_rwlock_wrlock(&tree_lock);
	n = make(req, dir, name, mode, &out);
	ok = n;
	if (n) {
		n->rdev = (uint32_t)rdev;
		if (target) {
			ok = node_resize(n, strlen(target));
			if (ok)
				memcpy(n->data, target, n->size);
		}
		fill_attr(n, &out.attr);
	}
	pthread_rwlock_unlock(&tree_lock);
	if (ok)
		transport_reply_data(req, &out, sizeof(out));
	else
		fuse_reply_err(req, ENOMEM);
}

static void null_mknod(fuse_req_t req, fuse_ino_t dir, const char *name, mode_t mode, dev_t rdev)
{
	make_and_reply(req, dir, name, mode, rdev, NULL);
}

static void null_mkdir(fuse_req_t req, fuse_ino_t dir, const char *name, mode_t mode)
{
	make_and_reply(req, dir, name, S_IFDIR | mode, 0, NULL);
}

static void null_symlink(fuse_req_t req, const char *target, fuse_ino_t dir, const char *name)
{
	make_and_reply(req, dir, name, S_IFLNK | 0777, 0, target);
}

static void null_readlink(fuse_req_t req, fuse_ino_t ino)
{
	const struct node *n;

	pthread_rwlock_rdlock(&tree_lock);
	n = node_get(ino);
	transport_reply_data(req, n->data, n->size);
	pthread_rwlock_unlock(&tree_lock);
}

static void null_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t dir, const char *name)
{
	struct fuse_entry_out out;
	bool ok;

	pthread_rwlock_wrlock(&tree_lock);
	ok = entry_add(node_get(dir), name, node_get(ino));
	if (ok) {
		touch(node_get(dir));
		fill_entry(node_get(ino), &out);
	}
	pthread_rwlock_unlock(&tree_lock);
	if (ok)
		transport_reply_data(req, &out, sizeof(out));
	else
		fuse_reply_err(req, ENOMEM);
}

static void null_remove(fuse_req_t req, fuse_ino_t dir, const char *name)
{
	struct entry *e;
	int err = 0;

	pthread_rwlock_wrlock(&tree_lock);
	e = entry_find(node_get(dir), name);
	if (!e) {
		err = ENOENT;
	} else if (e->node->first) {
		err = ENOTEMPTY;
	} else {
		struct node *n = e->node;

		entry_remove(e);
		node_put_link(n);
		touch(node_get(dir));
	}
	pthread_rwlock_unlock(&tree_lock);
	fuse_reply_err(req, err);
}

static int rename_locked(struct node *dir, const char *name, struct node *newdir,
			 const char *newname, unsigned int flags)
{
	struct entry *e = entry_find(dir, name), *old = entry_find(newdir, newname);
	struct node *n;

	if (!e)
		return ENOENT;
	if (flags & ~1u)
		return EINVAL;
	if (old && flags)
		return EEXIST;
	if (old && old->node->first)
		return ENOTEMPTY;
	n = e->node;
	if (old && old->node == n)
		return 0;
	if (old) {
		struct node *gone = old->node;

		entry_remove(old);
		node_put_link(gone);
	}
	if (!entry_add(newdir, newname, n))
		return ENOMEM;
	entry_remove(e);
	n->nlink--;
	touch(dir);
	touch(newdir);
	return 0;
}

static void null_rename(fuse_req_t req, fuse_ino_t dir, const char *name, fuse_ino_t newdir,
			const char *newname, unsigned int flags)
{
	int err;

	pthread_rwlock_wrlock(&tree_lock);
	err = rename_locked(node_get(dir), name, node_get(newdir), newname, flags);
	pthread_rwlock_unlock(&tree_lock);
	fuse_reply_err(req, err);
}

/* ---- directories ---- */

static void null_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	fuse_reply_err(req, ENOSYS);
}

static void list(fuse_req_t req, fuse_ino_t ino, size_t size, uint64_t off, bool plus)
{
	size_t front = plus ? FUSE_NAME_OFFSET_DIRENTPLUS : FUSE_NAME_OFFSET, used = 0;
	char *buf = transport_current()->scratch;
	struct node *dir;
	struct entry *e;

	size = min_t(size_t, size, TRANSPORT_MAX_WRITE);
	pthread_rwlock_wrlock(&tree_lock);
	dir = node_get(ino);
	for (e = entry_after(dir, off); e; e = e->next) {
		size_t len = FUSE_REC_ALIGN(front + e->len);
		struct fuse_dirent *de;

		if (used + len > size)
			break;
		memset(buf + used, 0, len);
		if (plus)
			fill_entry(e->node, &((struct fuse_direntplus *)(buf + used))->entry_out);
		de = (struct fuse_dirent *)(buf + used + front - FUSE_NAME_OFFSET);
		de->ino = e->node->ino;
		de->off = e->cookie;
		de->namelen = (uint32_t)e->len;
		de->type = e->node->mode >> 12;
		memcpy(de->name, e->name, e->len);
		used += len;
		dir->cursor = e;
	}
	pthread_rwlock_unlock(&tree_lock);
	transport_reply_data(req, buf, used);
}

static void null_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
			 struct fuse_file_info *fi)
{
	list(req, ino, size, (uint64_t)off, false);
}

static void null_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
			     struct fuse_file_info *fi)
{
	list(req, ino, size, (uint64_t)off, true);
}

/* ---- files ---- */

static const struct fuse_open_out opened = {
	.open_flags = ABI_FOPEN_KEEP_CACHE | ABI_FOPEN_PARALLEL_DIRECT_WRITES,
};

static void null_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	if (fi->flags & O_TRUNC) {
		pthread_rwlock_wrlock(&tree_lock);
		node_resize(node_get(ino), 0);
		touch(node_get(ino));
		pthread_rwlock_unlock(&tree_lock);
	}
	transport_reply_data(req, &opened, sizeof(opened));
}

static void null_create(fuse_req_t req, fuse_ino_t dir, const char *name, mode_t mode,
			struct fuse_file_info *fi)
{
	struct {
		struct fuse_entry_out entry;
		struct fuse_open_out open;
	} out = { .open = opened };
	const struct node *n;

	pthread_rwlock_wrlock(&tree_lock);
	n = make(req, dir, name, S_IFREG | mode, &out.entry);
	pthread_rwlock_unlock(&tree_lock);
	if (n)
		transport_reply_data(req, &out, sizeof(out));
	else
		fuse_reply_err(req, ENOMEM);
}

static void null_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		      struct fuse_file_info *fi)
{
	const struct node *n;
	size_t len = 0;

	pthread_rwlock_rdlock(&tree_lock);
	n = node_get(ino);
	if ((uint64_t)off < n->size)
		len = min_t(uint64_t, size, n->size - (uint64_t)off);
	transport_reply_data(req, len ? n->data + off : NULL, len);
	pthread_rwlock_unlock(&tree_lock);
}

static void null_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
		       struct fuse_file_info *fi)
{
	const struct raw_request *rq = transport_current();
	struct fuse_write_out out = { .size = (uint32_t)size };
	bool ok = true;
	struct node *n;

	pthread_rwlock_wrlock(&tree_lock);
	n = node_get(ino);
	if ((uint64_t)off + size > n->size)
		ok = node_resize(n, (uint64_t)off + size);
	if (ok)
		memcpy(n->data + off, rq->payload, size);
	if (!writeback)
		touch(n);
	pthread_rwlock_unlock(&tree_lock);
	if (ok)
		transport_reply_data(req, &out, sizeof(out));
	else
		fuse_reply_err(req, ENOMEM);
}

static void null_ok(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	fuse_reply_err(req, 0);
}

static void null_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	fuse_reply_err(req, 0);
}

static void null_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct statvfs st = {
		.f_bsize = 4096,
		.f_frsize = 4096,
		.f_blocks = 1 << 28,
		.f_bfree = 1 << 28,
		.f_bavail = 1 << 28,
		.f_files = tree_nodes(),
		.f_namemax = 255,
	};

	fuse_reply_statfs(req, &st);
}

static const struct fuse_lowlevel_ops null_ops = {
	.init = null_init,
	.lookup = null_lookup,
	.forget = null_forget,
	.forget_multi = null_forget_multi,
	.getattr = null_getattr,
	.setattr = null_setattr,
	.readlink = null_readlink,
	.mknod = null_mknod,
	.mkdir = null_mkdir,
	.unlink = null_remove,
	.rmdir = null_remove,
	.symlink = null_symlink,
	.rename = null_rename,
	.link = null_link,
	.open = null_open,
	.create = null_create,
	.read = null_read,
	.write = null_write,
	.flush = null_ok,
	.release = null_ok,
	.fsync = null_fsync,
	.opendir = null_opendir,
	.readdir = null_readdir,
	.readdirplus = null_readdirplus,
	.fsyncdir = null_fsync,
	.statfs = null_statfs,
};

/* ---- life ---- */

static void on_gone(void *userdata)
{
	eventfd_write(gone_fd, 1);
}

static void serve(int sfd, const char *mountpoint)
{
	struct pollfd pfd[2] = { { .fd = gone_fd, .events = POLLIN },
				 { .fd = sfd, .events = POLLIN } };
	struct signalfd_siginfo si;

	for (;;) {
		if (poll(pfd, 2, -1) < 0)
			continue;
		if (pfd[0].revents)
			return;
		if (read(sfd, &si, sizeof(si)) != sizeof(si))
			continue;
		if (si.ssi_signo == SIGUSR1)
			print_counts();
		else
			umount2(mountpoint, MNT_DETACH);
	}
}

static int run(struct fuse_args *args, const char *mountpoint, struct transport_config *cfg)
{
	struct transport *tr;
	sigset_t set;
	int err, sfd;

	cfg->se = fuse_session_new(args, &null_ops, sizeof(null_ops), NULL);
	if (!cfg->se)
		return 1;
	if (fuse_session_mount(cfg->se, mountpoint)) {
		fuse_session_destroy(cfg->se);
		return 1;
	}
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	sfd = signalfd(-1, &set, SFD_CLOEXEC);
	err = transport_create(cfg, &tr);
	if (!err)
		err = transport_start(tr);
	if (!err)
		serve(sfd, mountpoint);
	transport_stop(tr);
	fuse_session_unmount(cfg->se);
	fuse_session_destroy(cfg->se);
	transport_destroy(tr);
	print_counts();
	return err ? 1 : 0;
}

int main(int argc, char **argv)
{
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	struct transport_config cfg = {
		.threads = (unsigned int)sysconf(_SC_NPROCESSORS_ONLN),
		.spin_us = 50,
		.init = amend_init,
		.request = count_request,
		.gone = on_gone,
	};
	int c, err;

	fuse_opt_add_arg(&args, "nullfs");
	fuse_opt_add_arg(&args, "-odefault_permissions,fsname=nullfs,subtype=nullfs");
	while ((c = getopt(argc, argv, "o:t:s:wp")) != -1) {
		if (c == 'o') {
			fuse_opt_add_arg(&args, "-o");
			fuse_opt_add_arg(&args, optarg);
		} else if (c == 't') {
			cfg.threads = (unsigned int)atoi(optarg);
		} else if (c == 's') {
			cfg.spin_us = (unsigned int)atoi(optarg);
		} else if (c == 'w') {
			writeback = false;
		} else if (c == 'p') {
			always_plus = true;
		} else {
			return 1;
		}
	}
	if (optind != argc - 1 || !cfg.threads) {
		fprintf(stderr,
			"usage: nullfs [-o LIST] [-t THREADS] [-s SPIN_US] [-w] [-p] MOUNTPOINT\n");
		return 1;
	}
	cfg.segs = seg_pool_create();
	gone_fd = eventfd(0, EFD_CLOEXEC);
	if (!cfg.segs || !tree_init() || gone_fd < 0)
		return 1;
	err = run(&args, argv[optind], &cfg);
	tree_exit();
	seg_pool_destroy(cfg.segs);
	fuse_opt_free_args(&args);
	return err;
}
