/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "tests/exercise/differ.h"

static unsigned char value[70000];

static int64_t status(int64_t n)
{
	return n < 0 ? -errno : n;
}

static void say_time(const struct timespec *t, const char *what, struct result *r)
{
	if (differ_is_now(t))
		result_say(r, " %s now", what);
	else
		result_say(r, " %s %lld.%09ld", what, (long long)t->tv_sec, t->tv_nsec);
}

void differ_say_stat(const struct stat *st, struct result *r)
{
	mode_t mode = st->st_mode;

	/* see differ_meant.c */
	if (!S_ISDIR(mode) && !(mode & S_IXGRP))
		mode &= ~(mode_t)S_ISGID;
	result_say(r, "%06o %ux %u:%u", mode, (unsigned int)st->st_nlink, st->st_uid, st->st_gid);
	if (!S_ISDIR(st->st_mode))
		result_say(r, " size %lld", (long long)st->st_size);
	if (st->st_rdev)
		result_say(r, " device %llx", (unsigned long long)st->st_rdev);
	say_time(&st->st_atim, "atime", r);
	if (!S_ISFIFO(mode)) /* see differ_meant.c */
		say_time(&st->st_mtim, "mtime", r);
	say_time(&st->st_ctim, "ctime", r);
}

static int64_t do_stat(const struct op *op, const char *path, struct result *r)
{
	struct stat st;

	if (op->kind == OP_FSTAT ? fstat(differ_slots[op->arg[1] % SLOTS], &st)
				 : fstatat(AT_FDCWD, path, &st, (int)op->arg[2]))
		return -errno;
	differ_say_stat(&st, r);
	return 0;
}

static int64_t do_times(const struct op *op, const char *path)
{
	struct timespec t[2] = { differ_time(op->arg[2]), differ_time(op->arg[3]) };

	return status(op->kind == OP_FUTIMES ? futimens(differ_slots[op->arg[1] % SLOTS], t)
					     : utimensat(AT_FDCWD, path, t, (int)op->arg[4]));
}

static int64_t do_setxattr(const struct op *op, const char *path)
{
	const char *name = differ_xattr(op->arg[2]);
	size_t size = differ_value(op->arg[3], value);
	int flags = (int)op->arg[4];

	if (op->kind == OP_FSETXATTR)
		return status(
			fsetxattr(differ_slots[op->arg[1] % SLOTS], name, value, size, flags));
	return status(op->arg[5] ? lsetxattr(path, name, value, size, flags)
				 : setxattr(path, name, value, size, flags));
}

static int64_t do_getxattr(const struct op *op, const char *path, struct result *r)
{
	const char *name = differ_xattr(op->arg[2]);
	size_t size = (size_t)op->arg[3] % sizeof(value);
	ssize_t n =
		op->arg[4] ? lgetxattr(path, name, value, size) : getxattr(path, name, value, size);

	if (n > 0 && size)
		result_bytes(r, value, (size_t)n);
	return status(n);
}

/* Their order is the file system's own. */
static int64_t do_listxattr(const struct op *op, const char *path, struct result *r)
{
	char list[4096] = "";
	size_t size = (size_t)op->arg[2] % sizeof(list);
	ssize_t n = op->arg[3] ? llistxattr(path, list, size) : listxattr(path, list, size);
	uint64_t sum = 0;

	for (char *p = list; size && n > 0 && p < list + n; p += strlen(p) + 1) {
		struct result one = { 0 };

		result_bytes(&one, p, strlen(p));
		sum += one.hash;
	}
	result_bytes(r, &sum, sizeof(sum));
	return status(n);
}

void differ_do_attr(const struct op *op, struct result *r)
{
	int fd = differ_slots[op->arg[1] % SLOTS];
	const int64_t *a = op->arg;
	char path[DIFFER_PATH];

	differ_path(a[1], path);
	switch ((enum kind)op->kind) {
	case OP_STAT:
	case OP_FSTAT:
		r->ret = do_stat(op, path, r);
		break;
	case OP_ACCESS:
		r->ret = status(faccessat(AT_FDCWD, path, (int)a[2], (int)a[3]));
		break;
	case OP_CHMOD:
		r->ret = status(chmod(path, (mode_t)a[2]));
		break;
	case OP_FCHMOD:
		r->ret = status(fchmod(fd, (mode_t)a[2]));
		break;
	case OP_CHOWN:
		r->ret = status(fchownat(AT_FDCWD, path, (uid_t)a[2], (gid_t)a[3], (int)a[4]));
		break;
	case OP_FCHOWN:
		r->ret = status(fchown(fd, (uid_t)a[2], (gid_t)a[3]));
		break;
	case OP_SETXATTR:
	case OP_FSETXATTR:
		r->ret = do_setxattr(op, path);
		break;
	case OP_GETXATTR:
		r->ret = do_getxattr(op, path, r);
		break;
	case OP_LISTXATTR:
		r->ret = do_listxattr(op, path, r);
		break;
	case OP_REMOVEXATTR:
		r->ret = status(a[3] ? lremovexattr(path, differ_xattr(a[2]))
				     : removexattr(path, differ_xattr(a[2])));
		break;
	case OP_UMASK:
		r->ret = umask((mode_t)a[1]);
		break;
	default:
		r->ret = do_times(op, path);
	}
}
