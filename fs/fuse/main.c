/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tallyfs DEVICE|FILE MOUNTPOINT: the daemon's life.
 *
 * Order matters.  The image is locked and its journal replayed, and the file
 * system mounted, while there is one thread; then comes the fork (threads and
 * io_uring would not survive it); then the threads; and when the first request
 * has been answered the parent exits 0.
 */
#include "common/explain.h"
#include "core/block/bdev.h"
#include "core/lib/log.h"
#include "core/lib/text.h"
#include "fs/fuse/daemon.h"
#include "fs/fuse/front.h"
#include "fs/fuse/serve.h"
#include "fs/fuse/unmounter.h"
#include "fs/vfs/vfs.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void usage(void)
{
	printf("Usage: tallyfs [-df] [-o OPTIONS] DEVICE|FILE MOUNTPOINT\n"
	       "Mount the tallyfs file system on DEVICE or in FILE.\n\n"
	       "  -d         debug: foreground, and log every request\n"
	       "  -f         foreground, log to standard error\n"
	       "  -o OPTIONS mount options, separated by commas\n"
	       "  -h, --help this text\n"
	       "  -V, --version\n"
	       "             the version\n\n"
	       "%s\n"
	       "Exit status: 0 mounted (with -f: and unmounted cleanly), 1 not mounted, or not "
	       "closed cleanly.\n",
	       options_help);
}

/* libfuse's own lines name paths too. */
static void log_libfuse(enum fuse_log_level level, const char *fmt, va_list ap)
{
	char line[4608];

	vsnprintf(line, sizeof(line), fmt, ap);
	line[strcspn(line, "\n")] = '\0';
	log_line(level <= FUSE_LOG_ERR	     ? LOG_LVL_ERR
		 : level == FUSE_LOG_WARNING ? LOG_LVL_WARN
		 : level <= FUSE_LOG_INFO    ? LOG_LVL_INFO
					     : LOG_LVL_DEBUG,
		 "%s", line);
}

/* ---- mounting ---- */

/* Is anything in it?  -errno: it cannot be said. */
static int has_entries(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *de;
	int found = dir ? 0 : -errno;

	while (dir && !found && (de = readdir(dir)))
		found = strcmp(de->d_name, ".") && strcmp(de->d_name, "..");
	if (dir)
		closedir(dir);
	return found;
}

static int check_mountpoint(struct daemon *d)
{
	struct stat st;
	int err = 0;

	d->mountpoint = realpath(d->opts.mountpoint, NULL);
	if (!d->mountpoint || stat(d->mountpoint, &st))
		err = -errno;
	else if (!S_ISDIR(st.st_mode))
		err = -ENOTDIR;
	if (!err) {
		int entries = has_entries(d->mountpoint);

		d->hides = entries > 0;
		/* The kernel remembers enough of what a killed daemon left for the calls before. */
		err = explain_gone(entries) ? entries : 0;
	}
	if (err)
		text_err("tallyfs: %s: cannot be used as mount point: %s", d->opts.mountpoint,
			 explain_path(err));
	return err;
}

static int open_image(struct daemon *d)
{
	unsigned int flags = BDEV_OPEN_WAIT | (d->opts.fs.ro ? BDEV_OPEN_RDONLY : 0);
	struct front *fr = &d->front;
	char why[PATH_MAX + 256] = "", busy_by[LOCKHOLDER_TEXT] = "";
	int err;

	d->source = realpath(d->opts.source, NULL);
	err = d->source ? bdev_open_by(d->source, flags, &fr->bdev, busy_by) : -errno;
	if (err) {
		explain_open(why, sizeof(why), d->opts.source, err, busy_by,
			     d->opts.fs.ro ? NULL : "mount it with -o ro");
		text_err("tallyfs: %s: %s", d->opts.source, why);
		return err;
	}
	bdev_set_serving(fr->bdev, true);
	d->opts.fs.no_threads = true;
	err = vfs_mount(fr->bdev, &d->opts.fs, &fr->fs, why, sizeof(why));
	if (err)
		text_err("tallyfs: %s: %s", d->opts.source, why[0] ? why : strerror(-err));
	d->fuseblk = fr->bdev->is_block && geteuid() == 0;
	return err;
}

/* In option lists a comma ends an option and a backslash takes the next character as it is. */
static void escape(char *out, size_t size, const char *in)
{
	size_t n = 0;

	for (; *in && n + 2 < size; in++) {
		if (*in == ',' || *in == '\\')
			out[n++] = '\\';
		out[n++] = *in;
	}
	out[n] = '\0';
}

static int mount_session(struct daemon *d)
{
	struct front *fr = &d->front;
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	char name[2 * 4096], list[sizeof(name) + sizeof(d->opts.kernel) + 256];
	char said[1024], why[PATH_MAX + 256];
	struct capture c;
	int err = -ENOMEM;

	escape(name, sizeof(name), d->source);
	/*
	 * libfuse's own default is nosuid,nodev.  mount(8) does not hand suid and dev to a helper,
	 * for they are what every type does of itself: so do we, for root.  The last word counts.
	 */
	snprintf(list, sizeof(list),
		 "-ofsname=%s,subtype=tallyfs,default_permissions,noatime,%s%s%s%s%s%s%s", name,
		 d->opts.fs.ro ? "ro" : "rw", d->opts.root ? ",suid,dev" : "",
		 d->opts.allow_other ? ",allow_other" : "", d->fuseblk ? ",blkdev" : "",
		 d->opts.debug ? ",debug" : "", d->opts.kernel[0] ? "," : "", d->opts.kernel);
	if (fuse_opt_add_arg(&args, "tallyfs") || fuse_opt_add_arg(&args, list))
		goto out;
	err = -EINVAL;
	fr->se = fuse_session_new(&args, &front_ops, sizeof(front_ops), fr);
	if (!fr->se)
		goto out;
	/* libfuse, and the fusermount3 that it runs, say why in words of their own */
	capture_start(&c);
	err = fuse_session_mount(fr->se, d->mountpoint);
	capture_stop(&c, said, sizeof(said));
	if (err) {
		explain_fusermount(why, sizeof(why), said, d->mountpoint);
		text_err("tallyfs: %s: cannot mount at %s: %s", d->opts.source, d->opts.mountpoint,
			 why);
		fuse_session_destroy(fr->se);
		fr->se = NULL;
		err = -EIO;
	} else if (d->hides) {
		text_err("tallyfs: %s: is not empty; what is in it cannot be seen until it is "
			 "unmounted",
			 d->opts.mountpoint);
	}
	/* By the mount table: whoever asks the mount point itself might be asking us.  Not found,
	 * nothing is unmounted.
	 */
	if (!err && mounts_at(d->mountpoint, &d->own))
		log_warn("%s is not in the mount table", d->mountpoint);
out:
	fuse_opt_free_args(&args);
	return err;
}

static int daemon_life(struct daemon *d)
{
	struct front *fr = &d->front;
	int err;

	err = check_mountpoint(d);
	if (!err)
		err = open_image(d);
	if (!err)
		err = mount_session(d);
	if (!err)
		err = serve_until_gone(d);
	front_close_fs(fr);
	if (fr->se)
		fuse_session_destroy(fr->se);
	transport_destroy(fr->tr);
	free(d->source);
	free(d->mountpoint);
	return err;
}

int main(int argc, char **argv)
{
	static struct daemon d = { .signal_fd = -1 };
	char why[512];
	int err;

	if (argc == 3 && !strcmp(argv[0], UNMOUNTER_NAME))
		return unmounter_main(argv[1], argv[2]);
	options_init(&d.opts);
	err = options_parse_args(&d.opts, argc, argv, why, sizeof(why));
	if (!err && d.opts.help) {
		usage();
		return 0;
	}
	if (!err && d.opts.version) {
		text_out("tallyfs %s", TALLYFS_VERSION);
		return 0;
	}
	if (!err)
		err = options_check(&d.opts, why, sizeof(why));
	if (err) {
		text_err("tallyfs: %s", why);
		return 1;
	}
	log_init("tallyfs", false, d.opts.debug ? LOG_LVL_DEBUG : LOG_LVL_INFO);
	fuse_set_log_func(log_libfuse);
	daemon_save_addresses();
	err = front_init(&d.front, &d.opts);
	if (!err)
		err = daemon_life(&d);
	front_exit(&d.front);
	return err ? EXIT_FAILURE : EXIT_SUCCESS;
}
