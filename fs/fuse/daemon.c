/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Becoming a daemon, and settings of the running kernel. */
#include "fs/fuse/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "core/lib/log.h"
#include "core/lib/memlimit.h"
#include "core/lib/util.h"
#include "common/mounts.h"

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57
#endif

/* Where addresses are short. */
#define ARENAS 1
#define STACK_BYTES (1u << 20)

#define READ_AHEAD_KB "1024"
/* Percent of the machine's dirty pages that may be ours; the kernel's default for FUSE is 1. */
#define MAX_DIRTY_RATIO "25"

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

void daemon_save_addresses(void)
{
	pthread_attr_t attr;

	if (!memlimit_on_addresses())
		return;
	/* glibc sets 64 MiB aside for each arena, and a stack takes what ulimit -s says, in use or
	 * not. */
	mallopt(M_ARENA_MAX, ARENAS);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	pthread_setattr_default_np(&attr);
	pthread_attr_destroy(&attr);
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
	struct mount_entry *m = tl_alloc(sizeof(*m));
	char dir[64];

	/* From the mount table: whoever asks the mount point itself might be asking us. */
	if (m && !mounts_at(mountpoint, m)) {
		snprintf(dir, sizeof(dir), "/sys/class/bdi/%u:%u%s", m->major, m->minor,
			 fuseblk ? "-fuseblk" : "");
		write_setting(dir, "read_ahead_kb", READ_AHEAD_KB);
		write_setting(dir, "strict_limit", "0");
		write_setting(dir, "max_ratio", MAX_DIRTY_RATIO);
	}
	tl_free(m);
}
