/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "core/lib/util.h"
#include "tests/exercise/differ.h"

/*
 * Differences that are meant, of two kinds: those after which both sides are still alike, which
 * are found in the answers and counted; and those that would leave different things behind, which
 * are never done.
 */

static bool with_xfs;

void differ_meet(const char *theirs)
{
	struct statfs st;

	with_xfs = !statfs(theirs, &st) && st.f_type == XFS_SUPER_MAGIC;
}

static bool seek(const struct op *op, const struct result *ours, const struct result *theirs)
{
	return op->kind == OP_LSEEK && (op->arg[3] == SEEK_DATA || op->arg[3] == SEEK_HOLE) &&
	       (ours->ret >= 0 || ours->ret == -ENXIO) &&
	       (theirs->ret >= 0 || theirs->ret == -ENXIO);
}

static bool modes(const struct op *op, const struct result *ours, const struct result *theirs)
{
	const int both = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE;

	return op->kind == OP_FALLOCATE && op->arg[2] & ~both && ours->ret < 0 && theirs->ret < 0;
}

static bool not_empty(const struct op *op, const struct result *ours, const struct result *theirs)
{
	return ours->ret == -ENOTEMPTY && theirs->ret == -EEXIST;
}

static bool acl_listed(const struct op *op, const struct result *ours, const struct result *theirs)
{
	return with_xfs && op->kind == OP_LISTXATTR && ours->ret >= 0 &&
	       (theirs->ret > ours->ret || theirs->ret == -ERANGE);
}

static struct {
	bool (*is)(const struct op *op, const struct result *ours, const struct result *theirs);
	const char *why;
	uint64_t nr;
} meant[] = {
	{ seek, "SEEK_DATA, SEEK_HOLE: what is a hole is for the file system to say", 0 },
	{ modes, "fallocate, modes that neither has: which of two errors", 0 },
	{ not_empty, "a directory that is not empty: ENOTEMPTY, or EEXIST (XFS); POSIX has both",
	  0 },
	{ acl_listed, "with XFS, attributes listed: those it keeps ACLs in are among them", 0 },
};

static const char *const avoided[] = {
	"fallocate, collapse and insert: FUSE does not hand them on",
	"a set-group-ID bit without group execution: it stays; FUSE tells of no groups",
	"RENAME_WHITEOUT: ext4 touches the directory if it fails; whiteouts inherit ACLs",
	"truncate(2) to the size it has: POSIX and XFS leave the mtime alone, ext4 does not",
	"the times of a FIFO: over FUSE a write to one does not change them",
	"chown to nobody in particular (-1, -1): FUSE does not hand on that set-id bits go",
	"a file capability of no bytes: a write takes it away here",
	"sizes near the largest: that is 16 TiB on ext4",
	"positions in directories, sizes of directories, blocks, inode numbers: each its own",
};

static const char *const avoided_with_xfs[] = {
	"an attribute to be created and replaced at once: XFS creates it",
	"fallocate, unshare: FUSE does not hand it on, and XFS has it",
	"rename, exchange: XFS moves the mtime of a directory that gets another parent",
	"copy_file_range: XFS shares the whole blocks, and leaves the rest for another call",
	"symbolic links of 1024 bytes and more: XFS has none",
};

static void avoid_with_xfs(struct op *op)
{
	int64_t *a = op->arg;

	if ((op->kind == OP_SETXATTR || op->kind == OP_FSETXATTR) &&
	    a[4] == (XATTR_CREATE | XATTR_REPLACE))
		a[4] = XATTR_CREATE;
	if (op->kind == OP_SYMLINK && strlen(differ_target(a[1])) >= 1024)
		a[1] = 0;
	if (op->kind == OP_RENAME && a[3] == RENAME_EXCHANGE)
		a[3] = 0;
	if (op->kind == OP_COPY)
		a[5] = 0;
	if (op->kind == OP_FALLOCATE && a[2] & FALLOC_FL_UNSHARE_RANGE)
		a[2] = 0;
}

void differ_avoid(struct op *op)
{
	int64_t *a = op->arg;

	if (with_xfs)
		avoid_with_xfs(op);

	switch ((enum kind)op->kind) {
	case OP_OPEN: /* the umask may take group execution away */
		a[3] &= ~(int64_t)S_ISGID;
		break;
	case OP_MKNOD:
		a[2] &= ~(int64_t)S_ISGID;
		break;
	case OP_CHMOD:
	case OP_FCHMOD:
		a[2] |= a[2] & S_ISGID ? S_IXGRP : 0;
		break;
	case OP_CHOWN:
	case OP_FCHOWN:
		if (a[2] == -1 && a[3] == -1)
			a[2] = 1001;
		break;
	case OP_SETXATTR:
	case OP_FSETXATTR:
		if (!a[3] && !strcmp(differ_xattr(a[2]), "security.capability"))
			a[3] = 1;
		break;
	default:
		break;
	}
}

bool differ_meant(const struct op *op, const struct result *ours, const struct result *theirs)
{
	for (size_t i = 0; i < ARRAY_SIZE(meant); i++)
		if (meant[i].is(op, ours, theirs)) {
			meant[i].nr++;
			return true;
		}
	return false;
}

void differ_print_meant(FILE *out)
{
	for (size_t i = 0; i < ARRAY_SIZE(meant); i++)
		fprintf(out, "meant, %llu times: %s\n", (unsigned long long)meant[i].nr,
			meant[i].why);
	for (size_t i = 0; i < ARRAY_SIZE(avoided); i++)
		fprintf(out, "meant, not done: %s\n", avoided[i]);
	for (size_t i = 0; with_xfs && i < ARRAY_SIZE(avoided_with_xfs); i++)
		fprintf(out, "meant, not done: %s\n", avoided_with_xfs[i]);
}
