/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The options of tallyfs and mount.tallyfs. */
#ifndef FS_FUSE_OPTIONS_H
#define FS_FUSE_OPTIONS_H

#include <stddef.h>
#include "fs/state/fs.h"

struct options {
	struct tfs_mount_opts fs;
	const char *source;	/* as given; points into argv */
	const char *mountpoint; /* as given */
	bool foreground, debug;
	bool help, version;
	bool root; /* run by root: others let in, and nosuid, nodev only if asked for */
	bool allow_other, allow_other_set;
	bool writeback_cache;
	unsigned int threads;
	bool remount; /* mount.tallyfs only */
	/* Unknown options are left out instead of refused (mount -s, or "sloppy" in front of
	 * them). */
	bool sloppy;
	/* What the kernel gets beside our own, as for -o: "suid,noexec". */
	char kernel[1024];
};

/* Defaults, which depend on the machine: threads, cache_size, dirty_size. */
void options_init(struct options *o);
/*
 * One -o list.  0, or -EINVAL with a line for people in @why.  Options meant for
 * mount(8), fstab and systemd are dropped.
 */
int options_parse_list(struct options *o, const char *list, char *why, size_t why_len);
/* The whole command line of tallyfs.  As options_parse_list. */
int options_parse_args(struct options *o, int argc, char **argv, char *why, size_t why_len);
/* What can only be seen when all has been read: conflicts, and defaults that depend on others. */
int options_check(struct options *o, char *why, size_t why_len);

/* The mount options part of --help, one option a line. */
extern const char options_help[];

#endif
