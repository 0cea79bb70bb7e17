/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The process that unmounts, and how the daemon runs it. */
#include "fs/fuse/unmounter.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

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

static bool unmount(const char *mountpoint, bool lazy)
{
	if (!umount2(mountpoint, UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0)))
		return true;
	return errno == EPERM && geteuid() != 0 && fusermount(mountpoint, lazy);
}

int unmounter_main(const char *mountpoint)
{
	int fd;

	if (unmount(mountpoint, false))
		return UNMOUNTER_DONE;
	/* Who is in it keeps the kernel from writing its dirty pages; after detaching nobody could ask for that. */
	fd = open(mountpoint, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0) {
		syncfs(fd);
		close(fd);
	}
	if (unmount(mountpoint, false))
		return UNMOUNTER_DONE;
	return unmount(mountpoint, true) ? UNMOUNTER_DETACHED : UNMOUNTER_FAILED;
}

/* ---- the daemon ---- */

int unmounter_start(struct unmounter *u, const char *mountpoint)
{
	char *argv[] = { UNMOUNTER_NAME, (char *)mountpoint, NULL };
	int err = posix_spawn(&u->pid, "/proc/self/exe", NULL, NULL, argv, environ);

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
	return pid > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : UNMOUNTER_FAILED;
}

void unmounter_abandon(struct unmounter *u)
{
	kill(u->pid, SIGKILL);
	if (u->fd >= 0)
		close(u->fd);
}
