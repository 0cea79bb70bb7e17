/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The process that unmounts, and how the daemon runs it. */
#include "fs/fuse/unmounter.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/lib/log.h"
#include "core/lib/util.h"

extern char **environ;

/* ---- the process ---- */

static bool fusermount(const char *mountpoint, bool lazy)
{
	char *argv[] = { "fusermount3", "-u", lazy ? "-qz" : "-q", "--", (char *)mountpoint, NULL };
	int status;
	pid_t pid;

	if (posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ))
		return false;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return false;
	return WIFEXITED(status) && !WEXITSTATUS(status);
}

/* Is @path (of @fd, or "" for that itself) in our file system?  No question to the daemon: it may
 * be dead. */
static bool is_ours(int fd, const char *path, const char *dev)
{
	int flags = AT_STATX_DONT_SYNC | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT |
		    (*path ? 0 : AT_EMPTY_PATH);
	struct statx st;
	char is[32];

	if (statx(fd, path, flags, 0, &st))
		return false;
	snprintf(is, sizeof(is), "%u:%u", st.stx_dev_major, st.stx_dev_minor);
	return !strcmp(is, dev);
}

static bool unmount(const char *mountpoint, const char *dev, bool lazy)
{
	if (!is_ours(AT_FDCWD, mountpoint, dev))
		return false;
	if (!umount2(mountpoint, UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0)))
		return true;
	return errno == EPERM && geteuid() != 0 && fusermount(mountpoint, lazy);
}

/* What the kernel has goes to the daemon.  Under somebody else's mount there is no way in: then of
 * all file systems. */
static void sync_ours(const char *mountpoint, const char *dev)
{
	int fd;

	if (!is_ours(AT_FDCWD, mountpoint, dev)) {
		sync();
		return;
	}
	fd = open(mountpoint, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return;
	if (is_ours(fd, "", dev))
		syncfs(fd);
	else
		sync();
	close(fd);
}

int unmounter_main(const char *mountpoint, const char *dev)
{
	unsigned int tries;

	/*
	 * Who is in it, has it mounted in another place, or covers it, keeps the kernel from
	 * writing its dirty pages; after unmounting nobody could ask for that.
	 */
	for (tries = 0; tries < 2; tries++) {
		sync_ours(mountpoint, dev);
		if (unmount(mountpoint, dev, false))
			return UNMOUNTER_DONE;
	}
	return unmount(mountpoint, dev, true) ? UNMOUNTER_DETACHED : UNMOUNTER_FAILED;
}

/* ---- the daemon ---- */

/* The daemon takes its signals from a descriptor; this one has none, and a terminal's Ctrl-C is not
 * for it. */
static int spawn(pid_t *pid, char **argv)
{
	posix_spawnattr_t attr;
	sigset_t set;
	int err;

	err = posix_spawnattr_init(&attr);
	if (err)
		return err;
	sigemptyset(&set);
	posix_spawnattr_setsigmask(&attr, &set);
	sigfillset(&set);
	posix_spawnattr_setsigdefault(&attr, &set);
	posix_spawnattr_setpgroup(&attr, 0);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
						POSIX_SPAWN_SETPGROUP);
	err = posix_spawn(pid, "/proc/self/exe", NULL, &attr, argv, environ);
	posix_spawnattr_destroy(&attr);
	return err;
}

int unmounter_start(struct unmounter *u, const struct mount_entry *own)
{
	char dev[32];
	char *argv[] = { UNMOUNTER_NAME, (char *)own->mountpoint, dev, NULL };
	int err;

	snprintf(dev, sizeof(dev), "%u:%u", own->major, own->minor);
	err = spawn(&u->pid, argv);
	if (err)
		return -err;
	u->fd = (int)syscall(SYS_pidfd_open, u->pid, 0);
	if (u->fd >= 0)
		return 0;
	err = -errno;
	unmounter_abandon(u);
	return err;
}

int unmounter_end(struct unmounter *u)
{
	int status = 0;
	pid_t pid;

	do {
		pid = waitpid(u->pid, &status, 0);
	} while (pid < 0 && errno == EINTR);
	close(u->fd);
	if (pid > 0 && WIFSIGNALED(status))
		return UNMOUNTER_KILLED;
	return pid > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : UNMOUNTER_FAILED;
}

void unmounter_abandon(struct unmounter *u)
{
	kill(u->pid, SIGKILL);
	if (u->fd >= 0)
		close(u->fd);
}

bool unmounter_stays(const struct mount_entry *own, int how)
{
	struct mount_entry *top = tl_zalloc(sizeof(*top));
	bool there = top && mounts_stack(own->mountpoint, own, top) > 0;

	if (there && (top->major != own->major || top->minor != own->minor))
		log_err("%s stays mounted, with nobody to serve it: %s (%s) is mounted over it; "
			"unmount that, then "
			"what is "
			"below it",
			own->mountpoint, top->source, top->type);
	else if (there || how == UNMOUNTER_FAILED || how == UNMOUNTER_KILLED)
		log_err("%s could not be unmounted and has nobody to serve it: unmount it",
			own->mountpoint);
	else if (how == UNMOUNTER_DONE)
		log_warn("%s is still mounted in another place, with nobody to serve it: unmount "
			 "it there",
			 own->source);
	tl_free(top);
	return there || how == UNMOUNTER_FAILED || how == UNMOUNTER_KILLED;
}
