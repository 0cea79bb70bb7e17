/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What every command of tallydump has open, and how it says that it failed. */
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include "common/explain.h"
#include "core/block/bdev.h"
#include "fs/journal/trans.h"
#include "fs/state/fs.h"
#include "fs/vfs/fs_open.h"
#include "fs/vfs/vfs.h"
#include "tools/dump.h"

#define CACHE_BYTES (64u << 20)

int dump_fail(struct dump *d, int err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(d->why, sizeof(d->why), fmt, ap);
	va_end(ap);
	return err;
}

int dump_open_image(struct dump *d, bool udev)
{
	/* a udev rule looks at devices that others have open */
	unsigned int flags = BDEV_OPEN_RDONLY | BDEV_OPEN_NO_URING | BDEV_OPEN_BUFFERED |
			     (udev ? BDEV_OPEN_NO_LOCK : BDEV_OPEN_WAIT);
	char why[PATH_MAX + 256], busy_by[LOCKHOLDER_TEXT];
	int err = bdev_open_by(d->path, flags, &d->bdev, busy_by);

	if (!err)
		return 0;
	explain_open(why, sizeof(why), d->path, err, busy_by, NULL);
	return dump_fail(d, err, "%s", why);
}

int dump_open_fs(struct dump *d, bool files)
{
	struct tfs_mount_opts o = { .ro = true, .no_threads = true, .cache_size = CACHE_BYTES };

	if (files)
		return vfs_mount(d->bdev, &o, &d->fs, d->why, sizeof(d->why));
	return tfs_open(d->bdev, &o, &d->fs, d->why, sizeof(d->why));
}

void dump_close(struct dump *d)
{
	if (d->fs && d->fs->pagecache)
		vfs_unmount(d->fs);
	else if (d->fs)
		tfs_close_nosave(d->fs);
	if (d->bdev)
		bdev_close(d->bdev);
}

int dump_section(struct dump *d, int (*fn)(struct tfs_trans *t, struct dump *d, void *arg),
		 void *arg)
{
	return TRANS_READ(t, d->fs, fn(t, d, arg));
}
