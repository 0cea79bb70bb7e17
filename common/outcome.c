/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "common/explain.h"
#include "common/outcome.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "core/block/bdev.h"
#include "core/lib/log.h"
#include "core/lib/text.h"
#include "fs/inode/damage.h"
#include "fs/state/fs.h"
#include "fs/vfs/fs_open.h"
#include "tallyfs/ctl.h"

#define FILES_SHOWN 10

/* ---- before ---- */

/* "mount.read_only 1" is among what the daemon tells. */
static bool gone_read_only(int fd)
{
	struct tally_status *st = calloc(1, sizeof(*st) + 1);
	bool found = false;

	if (!st)
		return false;
	st->version = TALLY_CTL_VERSION;
	do {
		st->first += st->lines;
		if (ioctl(fd, TALLY_IOC_STATUS, st) || st->len > sizeof(st->text))
			break;
		st->text[st->len < sizeof(st->text) ? st->len : sizeof(st->text) - 1] = '\0';
		found = strstr(st->text, "mount.read_only 1");
	} while (!found && st->lines && st->first + st->lines < st->total);
	free(st);
	return found;
}

static enum outcome flush_all(const char *who, const struct mount_entry *m, int fd)
{
	/*
	 * What the kernel has of it goes to the daemon first.  An error may be that of any write
	 * since the file system was last synced: close(2) told whoever wrote, and nothing need be
	 * left of it.  Told once, a descriptor has only new errors to tell.
	 */
	int err = syncfs(fd) && syncfs(fd) ? errno : 0;

	if (ioctl(fd, TALLY_IOC_SYNC))
		err = errno;
	if (!err)
		return OUTCOME_SAVED;
	if (explain_gone(-err))
		return OUTCOME_NOBODY;
	if (gone_read_only(fd)) {
		text_err("%s: %s: after an error nothing more can be written (%s): what was "
			 "written last is lost; the "
			 "log says more",
			 who, m->mountpoint, strerror(err));
		return OUTCOME_LOST;
	}
	text_err("%s: %s: not everything could be written: %s; it stays mounted and keeps the "
		 "rest: %s, then try again "
		 "(with -f what can't be written is given up)",
		 who, m->mountpoint, strerror(err),
		 err == ENOSPC ? "make room in it, or on the file system that the image lies on"
			       : "see to the device, which the log says more of");
	return OUTCOME_KEPT;
}

enum outcome outcome_flush(const char *who, const struct mount_entry *m)
{
	enum outcome result;
	int fd;

	if (m->read_only)
		return OUTCOME_SAVED;
	/* Where that does not work (no daemon, somebody else's mount), unmounting says why. */
	fd = open(m->mountpoint, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return OUTCOME_NOBODY;
	result = flush_all(who, m, fd);
	close(fd);
	return result;
}

/* ---- afterwards ---- */

static int tell_lost(const char *who, const char *source, struct tfs_fs *fs, time_t since)
{
	struct vfs_lost lost = { 0 };
	unsigned int n = 0;

	while (!vfs_lost_next(fs, lost.ino, &lost)) {
		if (lost.time < since)
			continue;
		if (n++ < FILES_SHOWN)
			text_err("%s: %s: not all of %s could be written: %llu bytes are lost", who,
				 source, lost.path, (unsigned long long)lost.bytes);
	}
	if (n > FILES_SHOWN)
		text_err("%s: %s: the same of %u more files", who, source, n - FILES_SHOWN);
	return n ? -EIO : 0;
}

int outcome_check(const char *who, const char *source, time_t since)
{
	struct tfs_mount_opts ro = { .ro = true,
				     .no_threads = true,
				     .errors = TFS_ERRORS_CONTINUE };
	struct tfs_fs *fs;
	struct bdev *b;
	char why[300];
	int err;

	log_init(who, false, LOG_LVL_ERR);
	err = bdev_open(source, BDEV_OPEN_RDONLY | BDEV_OPEN_NO_URING, &b);
	if (err)
		return 0;
	err = tfs_open(b, &ro, &fs, why, sizeof(why));
	if (err) {
		text_err("%s: %s: cannot be read any more: %s", who, source, why);
		bdev_close(b);
		return -EIO;
	}
	if (fs->overlay) {
		text_err("%s: %s: could not be closed cleanly: what was written last may be lost; "
			 "the log says more",
			 who, source);
		err = -EIO;
	}
	if (tell_lost(who, source, fs, since))
		err = -EIO;
	tfs_close_nosave(fs);
	bdev_close(b);
	return err;
}
