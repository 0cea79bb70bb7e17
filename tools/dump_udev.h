/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a udev rule wants to know of a tallyfs. */
#ifndef TOOLS_DUMP_UDEV_H
#define TOOLS_DUMP_UDEV_H

#include "tallyfs/format.h"

/* Lines ID_FS_..., encoded as libblkid does it. */
void dump_print_udev(const struct tfs_super *s);

#endif
