/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What becomes of a file system that turns out to be broken. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "core/block/bdev.h"
#include "core/lib/log.h"
#include "core/pagecache/pagecache.h"
#include "fs/state/fs.h"
#include "fs/state/error.h"

int tfs_writable(struct tfs_fs *fs)
{
	int err = atomic_load(&fs->shutdown);

	if (err)
		return err;
	return atomic_load(&fs->read_only) ? -EROFS : 0;
}

static void note_error(struct tfs_fs *fs, const char *fmt, va_list ap)
	__attribute__((format(printf, 2, 0)));
static void note_error(struct tfs_fs *fs, const char *fmt, va_list ap)
{
	char what[256];

	vsnprintf(what, sizeof(what), fmt, ap);
	/* whoever needs a damaged block comes upon it again and again */
	if (log_is_news(&fs->told, XXH3_64bits(what, strlen(what)), 0))
		log_err("%s: %s", fs->bdev->name, what);
	atomic_store(&fs->inconsistent, true);
	if (fs->opts.errors == TFS_ERRORS_ABORT)
		abort();
}

/*
 * What was acknowledged so far is as good as it was, for whoever came upon the error has changed
 * nothing (else trans_again() shuts down): it goes to the device, and soon.
 */
static void go_read_only(struct tfs_fs *fs)
{
	if (atomic_exchange(&fs->read_only, true))
		return;
	log_err("%s: now read-only; what was written before still goes to the device",
		fs->bdev->name);
	if (fs->broken)
		fs->broken(fs);
	if (fs->pagecache)
		pagecache_kick(fs->pagecache);
}

int tfs_handle_fs_error(struct tfs_fs *fs, int err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	note_error(fs, fmt, ap);
	va_end(ap);
	if (fs->opts.errors == TFS_ERRORS_REMOUNT_RO)
		go_read_only(fs);
	return err;
}

void tfs_force_shutdown(struct tfs_fs *fs, int err, const char *fmt, ...)
{
	int none = 0;
	va_list ap;

	va_start(ap, fmt);
	note_error(fs, fmt, ap);
	va_end(ap);
	if (!atomic_compare_exchange_strong(&fs->shutdown, &none, err))
		return;
	atomic_store(&fs->read_only, true);
	log_err("%s: now read-only, changes not yet committed are lost", fs->bdev->name);
	if (fs->broken)
		fs->broken(fs);
}
