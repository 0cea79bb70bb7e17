/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mount -o remount of a mounted tallyfs. */
#ifndef TOOLS_REMOUNT_H
#define TOOLS_REMOUNT_H

#include "common/options.h"

/*
 * Change ro, suid, dev, exec and the like of the mount at @path to what @o says; of flags it does
 * not name the mount keeps what it has.  Made read-only, everything written to it is durable on
 * success.  @fake: only look.  0, or -errno after a line that begins with @who.
 */
int remount(const char *who, const char *path, const struct options *o, bool fake);

#endif
