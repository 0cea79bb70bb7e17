/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Becoming a daemon, unmounting, and settings of the running kernel. */
#include "fs/fuse/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/log.h"

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57
#endif

#define READ_AHEAD_KB "1024"
/* Percent of the machine's dirty pages that may be ours; the kernel's default for FUSE is 1. */
#define MAX_DIRTY_RATIO "25"

extern char **environ;

static int ready_fd = -1;

int daemon_fork(int fail_code)
{
	int p[2];
	pid_t pid;
	char c;
	ssize_t n;

	if (pipe2(p, O_CLOEXEC))
		return -errno;
	pid = fork();
	if (pid < 0) {
		int err = -errno;

		close(p[0]);
		close(p[1]);
		return err;
	}
	if (!pid) {
		close(p[0]);
		ready_fd = p[1];
		setsid();
		return 0;
	}
	close(p[1]);
	do {
		n = read(p[0], &c, 1);
	} while (n < 0 && errno == EINTR);
	_exit(n == 1 ? 0 : fail_code);
}

void daemon_ready(void)
{
	int fd;

	if (ready_fd < 0)
		return;
	if (chdir("/"))
		log_warn("cannot change to /: %s", strerror(errno));
	fd = open("/dev/null", O_RDWR);
	if (fd >= 0) {
		dup2(fd, 0);
		dup2(fd, 1);
		dup2(fd, 2);
		if (fd > 2)
			close(fd);
	}
	while (write(ready_fd, "", 1) < 0 && errno == EINTR)
		;
	close(ready_fd);
	ready_fd = -1;
}

static int fusermount(const char *flag, const char *mountpoint)
{
	char *argv[] = { "fusermount3", "-u", "-q", (char *)flag, "--", (char *)mountpoint, NULL };
	int status;
	pid_t pid;

	if (posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ))
		return -1;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -1;
	return status;
}

void daemon_unmount(const char *mountpoint)
{
	int fd = open(mountpoint, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0) {
		syncfs(fd);
		close(fd);
	}
	if (!umount2(mountpoint, UMOUNT_NOFOLLOW))
		return;
	if (geteuid() == 0) {
		if (errno == EBUSY) {
			log_warn("%s is in use: detached", mountpoint);
			umount2(mountpoint, MNT_DETACH | UMOUNT_NOFOLLOW);
		}
	} else if (fusermount("--", mountpoint)) {
		log_warn("%s is in use: detached", mountpoint);
		fusermount("-z", mountpoint);
	}
}

void daemon_forget_device(int fd)
{
	int p[2];

	/* A pipe that nobody reads polls as an error, as the device does after an unmount. */
	if (pipe2(p, O_CLOEXEC))
		return;
	dup3(p[1], fd, O_CLOEXEC);
	close(p[0]);
	close(p[1]);
}

void daemon_set_io_flusher(void)
{
	if (prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0))
		log_debug("not marked as I/O flusher: %s", strerror(errno));
}

static void write_setting(const char *dir, const char *name, const char *value)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	if (write(fd, value, strlen(value)) < 0)
		log_debug("%s: %s", path, strerror(errno));
	close(fd);
}

void daemon_tune_bdi(const char *mountpoint, bool fuseblk)
{
	struct statx sx;
	char dir[64];

	/* Asks the kernel only, not ourselves. */
	if (statx(AT_FDCWD, mountpoint, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, 0, &sx))
		return;
	snprintf(dir, sizeof(dir), "/sys/class/bdi/%u:%u%s", sx.stx_dev_major, sx.stx_dev_minor,
		 fuseblk ? "-fuseblk" : "");
	write_setting(dir, "read_ahead_kb", READ_AHEAD_KB);
	write_setting(dir, "strict_limit", "0");
	write_setting(dir, "max_ratio", MAX_DIRTY_RATIO);
}
