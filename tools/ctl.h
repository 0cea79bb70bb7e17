/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the parts of tallyctl share. */
#ifndef TOOLS_CTL_H
#define TOOLS_CTL_H

#include <stdbool.h>
#include "common/mounts.h"

enum { CTL_OK = 0, CTL_FAIL = 1, CTL_DAMAGE = 3 };

struct ctl_request {
	const char *command, *target;
	bool json, check, verbose, force;
};

/* A line on stderr; CTL_FAIL. */
int ctl_fail(const char *what, const char *why);
/* A descriptor of the root of the tallyfs mounted at @path; -1 after a line on stderr. */
int ctl_open_mount(const char *path, struct mount_entry *m);
/* status of a mount or an image.  The exit code. */
int ctl_status(const struct ctl_request *r);
/* Of a file on a mount. */
int ctl_extents(const struct ctl_request *r);
int ctl_unshare(const struct ctl_request *r);

#endif
