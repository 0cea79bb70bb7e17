/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Locks on an image, as OFD locks: they belong to the open file, so a daemon
 * keeps them through fork, and closing another descriptor of the same file
 * does not drop them.
 *
 * "serving" is asked for before "main".  So between the two a comer holds
 * "serving" without "main", which at worst sends a third one away with -EBUSY;
 * the other order would show a starting owner as one that shuts down.
 */
#include "core/bdev_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include "core/bdev.h"
#include "core/log.h"

/* Far behind any data, and below the largest offset. */
#define LOCK_MAIN (INT64_C(1) << 62)
#define LOCK_SERVING (LOCK_MAIN + 1)

static int ofd_lock(int fd, int cmd, short type, int64_t byte)
{
	struct flock fl = { .l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };

	if (!fcntl(fd, cmd, &fl))
		return 0;
	return errno == EACCES || errno == EAGAIN ? -EBUSY : -errno;
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static const struct timespec poll_pause = { .tv_nsec = 2 * 1000 * 1000 };

/*
 * An owner whose mount is gone says that it shuts down only when it has been woken; umount(2) of a FUSE mount does not
 * wait for that.  Who comes right behind it is not to be told that the image is mounted.
 */
#define WAKING_MS 250

int bdev_lock_take(int fd, const char *name, bool shared, bool wait)
{
	short type = shared ? F_RDLCK : F_WRLCK;
	int err = ofd_lock(fd, F_OFD_SETLK, type, LOCK_SERVING);
	int64_t end = now_ms() + WAKING_MS;

	while (err == -EBUSY && wait && now_ms() < end) {
		nanosleep(&poll_pause, NULL);
		err = ofd_lock(fd, F_OFD_SETLK, type, LOCK_SERVING);
	}

	if (err)
		return err;
	err = ofd_lock(fd, F_OFD_SETLK, type, LOCK_MAIN);
	if (err == -EBUSY && wait) {
		log_warn("%s: waiting for it to be closed by who is just unmounting it", name);
		err = ofd_lock(fd, F_OFD_SETLKW, type, LOCK_MAIN);
	}
	if (err)
		ofd_lock(fd, F_OFD_SETLK, F_UNLCK, LOCK_SERVING);
	return err;
}

void bdev_lock_set_serving(int fd, bool shared, bool serving)
{
	short held = shared ? F_RDLCK : F_WRLCK;

	/* Fails only where a comer already waits for "main": it will get it soon enough. */
	ofd_lock(fd, F_OFD_SETLK, serving ? held : F_UNLCK, LOCK_SERVING);
}

static int is_open_elsewhere(int fd, bool *busy)
{
	struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = LOCK_MAIN, .l_len = 1 };

	if (fcntl(fd, F_OFD_GETLK, &fl))
		return -errno;
	*busy = fl.l_type != F_UNLCK;
	return 0;
}

int bdev_wait_closed(const char *path, int timeout_ms)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	int64_t end = now_ms() + timeout_ms;
	bool busy = false;
	int err;

	if (fd < 0)
		return -errno;
	/* Polling, since taking the lock to learn of its end would turn others away meanwhile. */
	while (!(err = is_open_elsewhere(fd, &busy)) && busy) {
		if (timeout_ms >= 0 && now_ms() >= end) {
			err = -ETIMEDOUT;
			break;
		}
		nanosleep(&poll_pause, NULL);
	}
	close(fd);
	return err;
}
