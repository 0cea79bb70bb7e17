/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "tests/exercise/differ.h"

static int64_t status(int n)
{
	return n < 0 ? -errno : n;
}

static int64_t do_open(const struct op *op, const char *path)
{
	int *slot = &differ_slots[op->arg[4] % SLOTS];
	/* a FIFO that nobody reads is not waited for */
	int fd = open(path, (int)op->arg[2] | O_NONBLOCK, (mode_t)op->arg[3]);

	if (fd < 0)
		return -errno;
	if (*slot >= 0)
		close(*slot);
	*slot = fd;
	return 0;
}

static int64_t do_close(const struct op *op)
{
	int *slot = &differ_slots[op->arg[1] % SLOTS], fd = *slot;

	*slot = -1;
	return status(close(fd));
}

static int64_t do_readlink(const struct op *op, const char *path, struct result *r)
{
	char target[4096] = "";
	ssize_t n = readlink(path, target, (size_t)op->arg[2]);

	if (n < 0)
		return -errno;
	result_bytes(r, target, (size_t)n);
	return n;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int64_t do_list(const char *path, struct result *r)
{
	struct dirent **all;
	int n = scandir(path, &all, NULL, by_name);

	if (n < 0)
		return -errno;
	for (int i = 0; i < n; i++) {
		result_say(r, "%.20s %u ", all[i]->d_name, all[i]->d_type);
		result_bytes(r, all[i]->d_name, strlen(all[i]->d_name));
		free(all[i]);
	}
	free(all);
	return n;
}

static int64_t do_statfs(const char *path, struct result *r)
{
	struct statfs st;

	if (statfs(path, &st))
		return -errno;
	result_say(r, "names of %ld", (long)st.f_namelen);
	return 0;
}

void differ_do_name(const struct op *op, struct result *r)
{
	char path[DIFFER_PATH], to[DIFFER_PATH];
	const int64_t *a = op->arg;

	differ_path(a[op->kind == OP_SYMLINK ? 2 : 1], path);
	switch ((enum kind)op->kind) {
	case OP_OPEN:
		r->ret = do_open(op, path);
		break;
	case OP_CLOSE:
		r->ret = do_close(op);
		break;
	case OP_MKDIR:
		r->ret = status(mkdir(path, (mode_t)a[2]));
		break;
	case OP_MKNOD:
		r->ret = status(mknod(path, (mode_t)a[2],
				      makedev((unsigned int)a[3] >> 8, (unsigned int)a[3] & 255)));
		break;
	case OP_SYMLINK:
		r->ret = status(symlink(differ_target(a[1]), path));
		break;
	case OP_LINK:
		differ_path(a[2], to);
		r->ret = status(linkat(AT_FDCWD, path, AT_FDCWD, to, (int)a[3]));
		break;
	case OP_LINKFD:
		differ_path(a[2], to);
		r->ret =
			status(linkat(differ_slots[a[1] % SLOTS], "", AT_FDCWD, to, AT_EMPTY_PATH));
		break;
	case OP_UNLINK:
		r->ret = status(unlink(path));
		break;
	case OP_RMDIR:
		r->ret = status(rmdir(path));
		break;
	case OP_RENAME:
		differ_path(a[2], to);
		r->ret = status(renameat2(AT_FDCWD, path, AT_FDCWD, to, (unsigned int)a[3]));
		break;
	case OP_READLINK:
		r->ret = do_readlink(op, path, r);
		break;
	case OP_LIST:
		r->ret = do_list(path, r);
		break;
	default:
		r->ret = do_statfs(path, r);
	}
}
