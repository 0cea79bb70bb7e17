/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Becoming a daemon, and settings of the running kernel. */
#ifndef FS_FUSE_DAEMON_H
#define FS_FUSE_DAEMON_H

#include <stdbool.h>

/*
 * Fork.  The parent does not return: it waits for daemon_ready() and exits 0, or exits
 * with @fail_code if the child dies first (which has said why).  Returns in the
 * child: 0; or -errno in the parent if there is no child.
 */
int daemon_fork(int fail_code);
/* The child: all is well, let the parent go; give up the terminal. */
void daemon_ready(void);

/*
 * The mount is gone, or detached: close the FUSE device under @fd in such a way that
 * libfuse sees it so too and does not unmount whatever is at the mount point now.
 */
void daemon_forget_device(int fd);

/* Before there are threads: under a limit on addresses take fewer of them in advance. */
void daemon_save_addresses(void);
/* Memory reclaim may wait for us, so we may not wait for it (needs a privilege; without it nothing
 * changes). */
void daemon_set_io_flusher(void);
/* Bigger readahead, and a fair share of dirty pages, where that is allowed. */
void daemon_tune_bdi(const char *mountpoint, bool fuseblk);

#endif
