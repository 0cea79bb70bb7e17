/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What mkfs overwrites: opened, not in use, and empty unless told otherwise. */
#include <blkid.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "mkfs/target.h"
#include "tallyfs/format.h"
#include "common/explain.h"

__attribute__((format(printf, 3, 4))) static int fail(char *why, size_t why_len, const char *fmt,
						      ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, why_len, fmt, ap);
	va_end(ap);
	return -1;
}

/* mountinfo writes blanks, tabs, newlines and backslashes as \ooo. */
static void unescape(char *s)
{
	char *to = s;

	while (*s) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] && s[3]) {
			*to++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
			s += 4;
		} else {
			*to++ = *s++;
		}
	}
	*to = 0;
}

/* Is something mounted from block device @dev (0: none), or from a source named @real?  Then
 * *where. */
static bool mounted(dev_t dev, const char *real, char *where, size_t where_len)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	char *line = NULL, *point = NULL, *rest, *source;
	size_t cap = 0;
	unsigned int maj, min;
	bool found = false;

	while (f && !found && getline(&line, &cap, f) > 0) {
		/* id parent maj:min root POINT options [tags] - type SOURCE super-options */
		rest = strstr(line, " - ");
		source = NULL;
		if (!rest || sscanf(line, "%*s %*s %u:%u %*s %ms", &maj, &min, &point) != 3)
			continue;
		if (sscanf(rest + 3, "%*s %ms", &source) == 1)
			unescape(source);
		unescape(point);
		found = (dev && makedev(maj, min) == dev) || (source && !strcmp(source, real));
		if (found)
			snprintf(where, where_len, "%s", point);
		free(source);
		free(point);
		point = NULL;
	}
	free(line);
	if (f)
		fclose(f);
	return found;
}

static bool read_line(const char *path, char *buf, int size)
{
	FILE *f = fopen(path, "re");
	bool ok = f && fgets(buf, size, f);

	if (f)
		fclose(f);
	if (ok)
		buf[strcspn(buf, "\n")] = 0;
	return ok;
}

/* A loop device on the file: its name in @loop. */
static bool looped(const char *real, char *loop, size_t loop_len)
{
	DIR *d = opendir("/sys/block");
	char path[300], backing[PATH_MAX];
	struct dirent *de;
	bool found = false;

	while (d && !found && (de = readdir(d))) {
		if (strncmp(de->d_name, "loop", 4))
			continue;
		snprintf(path, sizeof(path), "/sys/block/%s/loop/backing_file", de->d_name);
		found = read_line(path, backing, sizeof(backing)) && !strcmp(backing, real);
		if (found)
			snprintf(loop, loop_len, "/dev/%s", de->d_name);
	}
	if (d)
		closedir(d);
	return found;
}

static int check_unused(const struct stat *st, const char *path, char *why, size_t why_len)
{
	char where[PATH_MAX], real[PATH_MAX];

	if (!realpath(path, real))
		return fail(why, why_len, "%s: %s", path, strerror(errno));
	if (mounted(S_ISBLK(st->st_mode) ? st->st_rdev : 0, real, where, sizeof(where)))
		return fail(why, why_len, "%s: is mounted at %s; unmount it first", path, where);
	if (S_ISREG(st->st_mode) && looped(real, where, sizeof(where)))
		return fail(why, why_len, "%s: is in use by the loop device %s", path, where);
	return 0;
}

static int open_it(struct target *t, bool dry_run, char *why, size_t why_len)
{
	int flags = (dry_run ? O_RDONLY : O_RDWR) | O_CLOEXEC | (t->is_block ? O_EXCL : 0);

	t->fd = open(t->path, flags);
	if (t->fd < 0 && errno == EBUSY)
		return fail(why, why_len,
			    "%s: is in use by the system (mounted, swap, RAID or LVM)", t->path);
	if (t->fd < 0)
		return fail(why, why_len, "%s: %s", t->path,
			    errno == EACCES ? "you may not write to it" : explain_path(-errno));
	if (t->is_block && ioctl(t->fd, BLKGETSIZE64, &t->size))
		return fail(why, why_len, "%s: its size can't be found out: %s", t->path,
			    strerror(errno));
	return 0;
}

int target_open(struct target *t, const char *path, uint64_t size, bool dry_run, char *why,
		size_t why_len)
{
	struct stat st;

	*t = (struct target){ .path = path, .fd = -1 };
	if (stat(path, &st)) {
		if (errno == ENOENT && size)
			return 0;
		return fail(why, why_len, "%s: %s%s", path, explain_path(-errno),
			    errno == ENOENT ? " (give a SIZE behind it to make a file)" : "");
	}
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return fail(why, why_len, "%s: is %s, not a block device or file", path,
			    S_ISDIR(st.st_mode) ? "a directory" : "something else");
	t->is_block = S_ISBLK(st.st_mode);
	t->size = (uint64_t)st.st_size;
	if (check_unused(&st, path, why, why_len))
		return -1;
	return open_it(t, dry_run, why, why_len);
}

/*
 * On btrfs: a block that is overwritten stays where it is, so that space reserved for it is good
 * for ever.  What is damaged, tallyfs notices itself.  Other file systems don't know the flag.
 */
static void no_cow(int fd)
{
	int flags;

	if (!ioctl(fd, FS_IOC_GETFLAGS, &flags)) {
		flags |= FS_NOCOW_FL;
		ioctl(fd, FS_IOC_SETFLAGS, &flags);
	}
}

int target_grow(struct target *t, uint64_t size, char *why, size_t why_len)
{
	if (t->fd < 0) {
		t->fd = open(t->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
		if (t->fd < 0)
			return fail(why, why_len, "%s: can't be created: %s", t->path,
				    strerror(errno));
		t->created = true;
		no_cow(t->fd);
	}
	if (t->size >= size)
		return 0;
	if (ftruncate(t->fd, (off_t)size))
		return fail(why, why_len, "%s: can't be made %llu bytes large: %s", t->path,
			    (unsigned long long)size, strerror(errno));
	t->size = size;
	return 0;
}

static blkid_probe new_probe(struct target *t)
{
	blkid_probe pr = blkid_new_probe();

	if (!pr)
		return NULL;
	if (blkid_probe_set_device(pr, t->fd, 0, 0)) {
		blkid_free_probe(pr);
		return NULL;
	}
	blkid_probe_enable_superblocks(pr, 1);
	blkid_probe_set_superblocks_flags(pr, BLKID_SUBLKS_TYPE | BLKID_SUBLKS_LABEL |
						      BLKID_SUBLKS_MAGIC | BLKID_SUBLKS_BADCSUM);
	blkid_probe_enable_partitions(pr, 1);
	blkid_probe_set_partitions_flags(pr, BLKID_PARTS_MAGIC);
	return pr;
}

/* libblkid does not know tallyfs. */
static bool holds_tallyfs(struct target *t)
{
	char magic[8];

	return pread(t->fd, magic, sizeof(magic), TFS_SUPER_OFFSET) == sizeof(magic) &&
	       !memcmp(magic, TFS_SUPER_MAGIC, sizeof(magic));
}

int target_check_empty(struct target *t, char *why, size_t why_len)
{
	const char *type = NULL, *label = NULL;
	blkid_probe pr;
	int found;

	if (t->fd < 0 || !t->size)
		return 0;
	if (holds_tallyfs(t))
		return fail(why, why_len, "%s: holds a tallyfs already; -f overwrites it", t->path);
	pr = new_probe(t);
	if (!pr)
		return fail(why, why_len,
			    "%s: can't be searched for other file systems; -f skips that", t->path);
	found = blkid_do_probe(pr);
	if (!found) {
		if (blkid_probe_lookup_value(pr, "TYPE", &type, NULL))
			blkid_probe_lookup_value(pr, "PTTYPE", &type, NULL);
		blkid_probe_lookup_value(pr, "LABEL", &label, NULL);
		fail(why, why_len, "%s: holds %s already%s%s; -f overwrites it", t->path,
		     type ? type : "something", label ? ", label " : "", label ? label : "");
	} else if (found < 0) {
		fail(why, why_len, "%s: can't be searched for other file systems; -f skips that",
		     t->path);
	}
	blkid_free_probe(pr);
	return found == 1 ? 0 : -1;
}

int target_wipe(struct target *t, char *why, size_t why_len)
{
	blkid_probe pr = new_probe(t);
	int err = 0;

	if (!pr)
		return fail(why, why_len, "%s: can't be searched for old signatures", t->path);
	while (!err && !blkid_do_probe(pr))
		err = blkid_do_wipe(pr, 0);
	blkid_free_probe(pr);
	if (err || fsync(t->fd))
		return fail(why, why_len, "%s: old signatures can't be wiped: %s", t->path,
			    strerror(errno));
	return 0;
}

void target_close(struct target *t, bool failed)
{
	if (t->fd >= 0)
		close(t->fd);
	if (failed && t->created)
		unlink(t->path);
	t->fd = -1;
}
