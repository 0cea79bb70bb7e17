/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Remounting.  To the kernel it is a change of flags of its own: it writes what it has gathered and
 * lets nobody write any more, but tells the daemon nothing (of a block device: to sync).  The
 * daemon goes on serving, and is asked here to make everything durable.  What was mounted read-only
 * stays so: the daemon has the image open like that.
 */
#include "tools/remount.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "core/lib/text.h"
#include "tallyfs/ctl.h"
#include "common/mounts.h"

/* statvfs(2) tells of a mount what mount(2) wants to hear again. */
static const struct {
	unsigned long told, flag;
	const char *with, *without; /* words of -o, where there are any for us */
} flags[] = {
	{ ST_RDONLY, MS_RDONLY, NULL, NULL },
	{ ST_NOSUID, MS_NOSUID, "nosuid", "suid" },
	{ ST_NODEV, MS_NODEV, "nodev", "dev" },
	{ ST_NOEXEC, MS_NOEXEC, "noexec", "exec" },
	{ ST_SYNCHRONOUS, MS_SYNCHRONOUS, "sync", NULL },
	{ ST_NOATIME, MS_NOATIME, NULL, NULL },
	{ ST_NODIRATIME, MS_NODIRATIME, NULL, NULL },
	{ ST_RELATIME, MS_RELATIME, NULL, NULL },
};
#define NR_FLAGS (sizeof(flags) / sizeof(flags[0]))

static bool is_word(const char *word, size_t len, const char *of)
{
	return of && strlen(of) == len && !strncmp(word, of, len);
}

/* What the mount is to have; *has: what it has. */
static unsigned long wanted_flags(const struct statvfs *st, const struct options *o,
				  unsigned long *has)
{
	unsigned long want;
	const char *p;
	size_t k, n;

	*has = 0;
	for (k = 0; k < NR_FLAGS; k++)
		if (st->f_flag & flags[k].told)
			*has |= flags[k].flag;
	want = o->fs.ro ? *has | MS_RDONLY : *has & ~(unsigned long)MS_RDONLY;
	/* the last word counts */
	for (p = o->kernel; *p; p += n + (p[n] == ',')) {
		n = strcspn(p, ",");
		for (k = 0; k < NR_FLAGS; k++) {
			if (is_word(p, n, flags[k].with))
				want |= flags[k].flag;
			else if (is_word(p, n, flags[k].without))
				want &= ~flags[k].flag;
		}
	}
	return want;
}

/* The daemon's own word: it has the image open read-only, or has stopped writing.  -errno: it can't
 * be asked. */
static int daemon_reads_only(int fd)
{
	static const char line[] = "mount.read_only 1\n";
	struct tally_status *st = calloc(1, sizeof(*st));
	int ret = 0;

	if (!st)
		return -ENOMEM;
	do {
		st->version = TALLY_CTL_VERSION;
		if (ioctl(fd, TALLY_IOC_STATUS, st))
			ret = -errno;
		else if (memmem(st->text, st->len < sizeof(st->text) ? st->len : sizeof(st->text),
				line, sizeof(line) - 1))
			ret = 1;
		st->first += st->lines;
	} while (!ret && st->lines && st->first < st->total);
	free(st);
	return ret;
}

/* @fd: its root, or -errno. */
static int make_durable(const char *who, const char *path, int fd)
{
	int err = fd < 0 ? fd : ioctl(fd, TALLY_IOC_SYNC) ? -errno : 0;

	if (!err)
		return 0;
	text_err("%s: remount: %s is read-only now, but what was written last may not be durable: "
		 "%s; unmount it to be "
		 "sure",
		 who, path, strerror(-err));
	return err;
}

static int change(const char *who, const struct mount_entry *m, unsigned long want, int fd)
{
	const char *path = m->mountpoint;
	int err = 0;

	if (!(want & MS_RDONLY) && m->read_only && fd >= 0 && daemon_reads_only(fd) > 0) {
		text_err("%s: remount: %s was mounted read-only, or has turned so after an error "
			 "(see the log); "
			 "unmount it "
			 "and mount it again",
			 who, path);
		return -EROFS;
	}
	if (mount(m->source, path, NULL, MS_REMOUNT | want, NULL))
		err = -errno;
	if (err == -EBUSY)
		text_err("%s: remount: files on %s are open for writing; close them first (fuser "
			 "-vm names who)",
			 who, path);
	else if (err == -EPERM)
		text_err("%s: remount: only root can change how %s is mounted; unmount it and "
			 "mount it again",
			 who, path);
	else if (err)
		text_err("%s: remount: %s: %s", who, path, strerror(-err));
	return err;
}

int remount(const char *who, const char *path, const struct options *o, bool fake)
{
	struct mount_entry *m = calloc(1, sizeof(*m));
	unsigned long has, want;
	struct statvfs st;
	int err, fd = -1;

	if (!m)
		return -ENOMEM;
	err = mounts_find(path, m);
	if (err || statvfs(m->mountpoint, &st)) {
		text_err("%s: remount: %s: no tallyfs is mounted there", who, path);
		err = -ENOENT;
		goto out;
	}
	want = wanted_flags(&st, o, &has);
	if (want == has || fake)
		goto out;
	fd = open(m->mountpoint, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		fd = -errno;
	err = change(who, m, want, fd);
	if (!err && want & ~has & MS_RDONLY)
		err = make_durable(who, m->mountpoint, fd);
out:
	if (fd >= 0)
		close(fd);
	free(m);
	return err;
}
