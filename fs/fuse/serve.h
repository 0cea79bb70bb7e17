/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From a mounted session to its end. */
#ifndef FS_FUSE_SERVE_H
#define FS_FUSE_SERVE_H

#include <stdbool.h>
#include "common/mounts.h"
#include "common/options.h"
#include "fs/fuse/front.h"
#include "fs/fuse/unmounter.h"

struct daemon {
	struct options opts;
	struct front front;
	char *source, *mountpoint; /* absolute */
	struct mount_entry own;	   /* in the mount table */
	bool fuseblk;
	bool hides; /* something was in the mount point */
	int signal_fd;
	bool unmounting; /* the unmounter runs */
	bool impatient;	 /* a second signal came meanwhile */
	bool restarted;	 /* somebody had killed the unmounter */
	bool stays;	 /* it could not be unmounted */
	struct unmounter unmounter;
};

/*
 * Go to the background unless asked not to, start the threads, serve until the file system is
 * unmounted or a second signal comes, write everything, close.  Waits all that time.  0; -EBUSY it
 * is still mounted; -errno: could not serve, or not everything could be written.
 */
int serve_until_gone(struct daemon *d);

#endif
