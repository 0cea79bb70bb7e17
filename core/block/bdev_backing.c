/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Loop devices: what is behind them. */
#include "core/block/bdev_backing.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "core/lib/util.h"

/* The first line of file @name in sysfs folder @dir. */
static int read_line(const char *dir, const char *name, char *out, size_t size)
{
	char path[320];
	FILE *f;
	int err = 0;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "re");
	if (!f)
		return -errno;
	if (fgets(out, (int)size, f))
		out[strcspn(out, "\n")] = '\0';
	else
		err = -EIO;
	fclose(f);
	return err;
}

/* The device's folder in sysfs, or its disk's: *start bytes before it on that. */
static int find_disk(const struct stat *st, char *dir, size_t size, uint64_t *start)
{
	unsigned int major = major(st->st_rdev), minor = minor(st->st_rdev);
	unsigned long long sector;
	char line[32];

	*start = 0;
	snprintf(dir, size, "/sys/dev/block/%u:%u", major, minor);
	if (read_line(dir, "partition", line, sizeof(line)))
		return 0;
	if (read_line(dir, "start", line, sizeof(line)) || sscanf(line, "%llu", &sector) != 1)
		return -EIO;
	*start = sector << SECTOR_SHIFT;
	/* The folder is a link into that of the disk. */
	snprintf(dir, size, "/sys/dev/block/%u:%u/..", major, minor);
	return 0;
}

static bool is_behind(const struct loop_info64 *info, const struct stat *st)
{
	return info->lo_inode == st->st_ino && info->lo_device == st->st_dev;
}

/* What @path leads to, if it is what the loop device has open. */
static int open_same(const char *path, const struct loop_info64 *info, bool write)
{
	int fd = open(path, O_PATH | O_CLOEXEC), again;
	char link[32];
	struct stat st;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) || !is_behind(info, &st)) {
		close(fd);
		return -ENOENT;
	}
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	again = write ? open(link, O_RDWR | O_CLOEXEC | O_NONBLOCK) : -1;
	if (again < 0)
		again = open(link, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (again < 0)
		again = -errno;
	close(fd);
	return again;
}

int bdev_backing_open(int fd, bool write, int *backing, uint64_t *offset, char *path, size_t size)
{
	struct loop_info64 info;
	uint64_t start;
	struct stat st;
	char dir[64];
	int err;

	if (fstat(fd, &st))
		return -errno;
	if (!S_ISBLK(st.st_mode))
		return 0;
	err = find_disk(&st, dir, sizeof(dir), &start);
	if (err || read_line(dir, "loop/backing_file", path, size))
		return err;
	if (ioctl(fd, LOOP_GET_STATUS64, &info))
		return -errno;
	*backing = open_same(path, &info, write);
	*offset = info.lo_offset + start;
	return *backing < 0 ? *backing : 1;
}

static bool writes_to(const char *name, const struct stat *st)
{
	struct loop_info64 info;
	char path[320];
	bool yes = false;
	int fd;

	snprintf(path, sizeof(path), "/dev/%s", name);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return false;
	if (!ioctl(fd, LOOP_GET_STATUS64, &info))
		yes = is_behind(&info, st) && !(info.lo_flags & LO_FLAGS_READ_ONLY);
	close(fd);
	return yes;
}

bool bdev_backing_used(int fd)
{
	struct dirent *e;
	struct stat st;
	bool used = false;
	DIR *dir;

	if (fstat(fd, &st))
		return false;
	dir = opendir("/sys/block");
	while (dir && !used && (e = readdir(dir)))
		used = !strncmp(e->d_name, "loop", 4) && writes_to(e->d_name, &st);
	if (dir)
		closedir(dir);
	return used;
}
