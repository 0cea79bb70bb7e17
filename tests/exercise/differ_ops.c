/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "core/lib/util.h"
#include "tests/exercise/differ.h"
#include "tests/lib/random.h"

/*
 * A letter for each argument: p path, s slot, m mode, o flags of open, f other flags, z position,
 * size or offset that may be wrong, l length, n small number, t type and mode, d device, u owner
 * or group, S target, X attribute, V value, T time.  @often: out of all.
 */
static const struct {
	const char *name, *args;
	unsigned int often;
} kinds[OP_KINDS] = {
	[OP_OPEN] = { "open", "poms", 16 },
	[OP_CLOSE] = { "close", "s", 2 },
	[OP_MKDIR] = { "mkdir", "pm", 10 },
	[OP_MKNOD] = { "mknod", "ptd", 2 },
	[OP_SYMLINK] = { "symlink", "Sp", 3 },
	[OP_LINK] = { "link", "ppf", 6 },
	[OP_LINKFD] = { "linkfd", "sp", 3 },
	[OP_UNLINK] = { "unlink", "p", 9 },
	[OP_RMDIR] = { "rmdir", "p", 8 },
	[OP_RENAME] = { "rename", "ppf", 10 },
	[OP_STAT] = { "stat", "pf", 5 },
	[OP_FSTAT] = { "fstat", "s", 3 },
	[OP_ACCESS] = { "access", "pnf", 3 },
	[OP_CHMOD] = { "chmod", "pm", 4 },
	[OP_FCHMOD] = { "fchmod", "sm", 2 },
	[OP_CHOWN] = { "chown", "puuf", 4 },
	[OP_FCHOWN] = { "fchown", "suu", 2 },
	[OP_TRUNCATE] = { "truncate", "pz", 3 },
	[OP_FTRUNCATE] = { "ftruncate", "sz", 4 },
	[OP_FALLOCATE] = { "fallocate", "sfzz", 4 },
	[OP_PREAD] = { "pread", "szl", 4 },
	[OP_PWRITE] = { "pwrite", "szln", 6 },
	[OP_READ] = { "read", "sl", 3 },
	[OP_WRITE] = { "write", "sln", 4 },
	[OP_MMAP] = { "mmap", "szln", 2 },
	[OP_LSEEK] = { "lseek", "szn", 4 },
	[OP_COPY] = { "copy_file_range", "szszl", 3 },
	[OP_READLINK] = { "readlink", "pn", 2 },
	[OP_SETXATTR] = { "setxattr", "pXVfn", 5 },
	[OP_FSETXATTR] = { "fsetxattr", "sXVf", 2 },
	[OP_GETXATTR] = { "getxattr", "pXln", 3 },
	[OP_LISTXATTR] = { "listxattr", "pln", 1 },
	[OP_REMOVEXATTR] = { "removexattr", "pXn", 3 },
	[OP_UTIMES] = { "utimensat", "pTTf", 4 },
	[OP_FUTIMES] = { "futimens", "sTT", 2 },
	[OP_LIST] = { "list", "p", 2 },
	[OP_FSYNC] = { "fsync", "sn", 1 },
	[OP_STATFS] = { "statfs", "p", 1 },
	[OP_UMASK] = { "umask", "m", 1 },
};

static uint64_t *random_state;

static int64_t rnd(int64_t below)
{
	return (int64_t)(test_rand(random_state) % (uint64_t)below);
}

#define ANY(array) ((array)[rnd((int64_t)ARRAY_SIZE(array))])

static int64_t any_open_flags(void)
{
	static const int access[] = { O_RDONLY, O_WRONLY, O_RDWR, O_RDWR, O_RDWR, O_ACCMODE };
	static const int extra[] = { O_EXCL,	 O_TRUNC, O_APPEND,  O_DIRECTORY,
				     O_NOFOLLOW, O_PATH,  O_NOATIME, O_SYNC };
	int flags = ANY(access);

	if (rnd(8) == 0)
		return O_TMPFILE | flags | (rnd(4) ? 0 : O_EXCL);
	if (rnd(3))
		flags |= O_CREAT;
	while (rnd(3) == 0)
		flags |= ANY(extra);
	return flags;
}

static int64_t any_mode(void)
{
	static const int modes[] = { 0755, 0644, 0777, 0700, 0600, 0, 0111, 0444 };
	int mode = ANY(modes);

	return rnd(4) ? mode : mode | (int)rnd(8) << 9;
}

/* Often at or beside an edge of a block. */
static int64_t any_size(int64_t max)
{
	int64_t v = rnd(rnd(3) ? (max < 20000 ? max : 20000) : max), edge = 1024ll << 2 * rnd(3);

	switch (rnd(4)) {
	case 0:
		return v - v % edge;
	case 1:
		v = v - v % edge + rnd(3) - 1;
		return v < 0 ? 0 : v;
	default:
		return v;
	}
}

static int64_t any_wrong_size(void)
{
	static const int64_t wrong[] = { -1, -4096, INT64_MIN };

	return rnd(20) ? any_size(MAX_POS) : ANY(wrong);
}

static int64_t any_flags(enum kind kind)
{
	static const int links[] = { 0, 0, AT_SYMLINK_FOLLOW, 1 };
	static const int renames[] = { 0, 0, 0, 0, 0, 1, 2, 2, 3, 6, 8 };
	static const int at[] = { 0, AT_SYMLINK_NOFOLLOW, AT_SYMLINK_NOFOLLOW };
	static const int access[] = { 0, AT_EACCESS, AT_EACCESS | AT_SYMLINK_NOFOLLOW };
	static const int xattrs[] = { 0, 0, 0, XATTR_CREATE, XATTR_REPLACE, 3, 4 };
	static const int alloc[] = { 0, 0, 1, 1, 2, 3, 3, 3, 16, 16, 17, 64, 19 };

	switch (kind) {
	case OP_LINK:
		return ANY(links);
	case OP_RENAME:
		return ANY(renames);
	case OP_ACCESS:
		return ANY(access);
	case OP_SETXATTR:
	case OP_FSETXATTR:
		return ANY(xattrs);
	case OP_FALLOCATE:
		return ANY(alloc);
	default:
		return ANY(at);
	}
}

static int64_t any_small(enum kind kind)
{
	static const int sizes[] = { 4096, 4096, 4, 1, 0, -1 };

	switch (kind) {
	case OP_ACCESS:
		return rnd(9);
	case OP_LSEEK:
		return rnd(7);
	case OP_READLINK:
		return ANY(sizes);
	case OP_MMAP:
	case OP_FSYNC:
		return rnd(2);
	case OP_WRITE:
	case OP_PWRITE:
		return 1 + rnd(1000);
	default: /* of the link itself */
		return rnd(4) == 0;
	}
}

static int64_t any_type(void)
{
	static const unsigned int types[] = { 0,       S_IFREG,	 S_IFIFO, S_IFIFO, S_IFCHR,
					      S_IFBLK, S_IFSOCK, S_IFDIR, S_IFLNK, 0170000 };

	return (int64_t)ANY(types) | any_mode();
}

static int64_t any_arg(enum kind kind, char letter)
{
	static const int64_t owners[] = { -1, -1, 0, 1001, 1001, 1002, 1002, 70000, 4294967294 };
	static const int64_t devices[] = { 0x103, 0x700, 0x12c11170 };

	switch (letter) {
	case 'p':
		return differ_any_path(random_state);
	case 's':
		return rnd(SLOTS);
	case 'm':
		return kind == OP_UMASK ? rnd(4) * 011 : any_mode();
	case 'o':
		return any_open_flags();
	case 'f':
		return any_flags(kind);
	case 'z':
		return any_wrong_size();
	case 'l':
		return any_size(MAX_LEN);
	case 't':
		return any_type();
	case 'd':
		return ANY(devices);
	case 'u':
		return ANY(owners);
	case 'S':
		return rnd(TARGETS);
	case 'X':
		return rnd(3) ? rnd(XATTRS) : rnd(2);
	case 'V':
		return rnd(3) ? rnd(VALUES) : rnd(6);
	case 'T':
		return rnd(TIMES);
	default:
		return any_small(kind);
	}
}

void differ_choose(uint64_t *rng, struct op *op)
{
	unsigned int sum = 0, kind;
	int64_t at;

	random_state = rng;
	for (kind = 0; kind < OP_KINDS; kind++)
		sum += kinds[kind].often;
	at = rnd(sum);
	for (kind = 0; at >= kinds[kind].often; kind++)
		at -= kinds[kind].often;
	*op = (struct op){ .kind = kind };
	op->arg[0] = rnd(3) ? 0 : 1 + rnd(2);
	for (int i = 0; kinds[kind].args[i]; i++)
		op->arg[i + 1] = any_arg((enum kind)kind, kinds[kind].args[i]);
	differ_avoid(op);
}

const char *differ_kind(unsigned int kind)
{
	return kind < OP_KINDS ? kinds[kind].name : "?";
}

static int say_arg(char letter, int64_t v, char *buf, size_t size)
{
	char path[DIFFER_PATH];

	switch (letter) {
	case 'p':
		differ_path(v, path);
		return snprintf(buf, size, strlen(path) > 40 ? "\"%.12s...\"" : "\"%s\"", path);
	case 'S':
		return snprintf(buf, size, "\"%.12s\"", differ_target(v));
	case 'X':
		return snprintf(buf, size, "\"%.30s\"", differ_xattr(v));
	case 'V':
		return snprintf(buf, size, "value %lld", (long long)v);
	case 'T':
		return snprintf(buf, size, "time %lld", (long long)v);
	case 's':
		return snprintf(buf, size, "file %lld", (long long)v);
	case 'm':
	case 'o':
	case 't':
		return snprintf(buf, size, "0%llo", (long long)v);
	default:
		return snprintf(buf, size, "%lld", (long long)v);
	}
}

void differ_describe(const struct op *op, char *buf, size_t size)
{
	static const char *const users[] = { "", "user 1: ", "user 2: " };
	const char *args = op->kind < OP_KINDS ? kinds[op->kind].args : "";
	size_t n =
		(size_t)snprintf(buf, size, "%s%s(", users[op->arg[0] % 3], differ_kind(op->kind));

	for (int i = 0; args[i] && n < size; i++) {
		if (i)
			n += (size_t)snprintf(buf + n, size - n, ", ");
		n += (size_t)say_arg(args[i], op->arg[i + 1], buf + n, size - n);
	}
	if (n < size)
		snprintf(buf + n, size - n, ")");
}
