/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Unmounting from inside.  The daemon never looks into its own mount, nor syncs it: whoever does so
 * waits for the daemon's threads, in a sleep that nothing ends, and with that thread neither would
 * the daemon end.  So another process does it, the same program under another name, while the
 * daemon serves on.
 */
#ifndef FS_FUSE_UNMOUNTER_H
#define FS_FUSE_UNMOUNTER_H

#include <stdbool.h>
#include <sys/types.h>

#include "common/mounts.h"

/* The process's name, argv[0]; its arguments are the mount point and our file system's device,
 * "major:minor". */
#define UNMOUNTER_NAME "tallyfs-unmount"

/* How it ends. */
enum { UNMOUNTER_DONE = 0, UNMOUNTER_DETACHED = 1, UNMOUNTER_FAILED = 2, UNMOUNTER_KILLED = 3 };

struct unmounter {
	pid_t pid;
	int fd; /* readable when it has ended */
};

/*
 * The process: unmounts; what is in use is synced and detached.  Unmounting goes by path, and takes
 * what is on top: what somebody mounted over ours is his, and with it ours stays, synced.  Its exit
 * code.
 */
int unmounter_main(const char *mountpoint, const char *dev);

/* Start it for the mount @own.  0 or -errno. */
int unmounter_start(struct unmounter *u, const struct mount_entry *own);
/* It has ended: how, UNMOUNTER_*. */
int unmounter_end(struct unmounter *u);
/* It has not, and may be unable to as long as we serve: kill it, do not wait. */
void unmounter_abandon(struct unmounter *u);
/* It has ended, as @how says, and the connection with the kernel has not: say why.  True if @own
 * stays, to die with us.
 */
bool unmounter_stays(const struct mount_entry *own, int how);

#endif
