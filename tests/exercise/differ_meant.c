/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <linux/falloc.h>
#include <string.h>
#include <unistd.h>
#include "core/lib/util.h"
#include "tests/exercise/differ.h"

/*
 * Differences that are meant, of two kinds: those after which both sides are still alike, which
 * are found in the answers and counted; and those that would leave different things behind, which
 * are never done.
 */

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

static struct {
	bool (*is)(const struct op *op, const struct result *ours, const struct result *theirs);
	const char *why;
	uint64_t nr;
} meant[] = {
	{ seek, "SEEK_DATA, SEEK_HOLE: what is a hole is for the file system to say", 0 },
	{ modes, "fallocate, modes that neither has: which of two errors", 0 },
	{ not_empty, "a directory that is not empty: ENOTEMPTY, or EEXIST (XFS); POSIX has both",
	  0 },
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

void differ_avoid(struct op *op)
{
	int64_t *a = op->arg;

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
}
