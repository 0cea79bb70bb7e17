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
#include "core/lib/workqueue.h"
#include "core/pagecache/pagecache.h"
#include "fs/fuse/daemon.h"
#include "fs/fuse/front.h"
#include "fs/fuse/unmounter.h"
#include "fs/fuse/utab.h"
#include "fs/vfs/vfs.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#define SPIN_US 50
#define EXIT_FAIL 1

struct daemon {
	struct options opts;
	struct front front;
	char *source, *mountpoint; /* absolute */
	struct mount_entry own;	   /* in the mount table */
	bool fuseblk;
	bool hides; /* something was in the mount point */
	int signal_fd;
	bool unmounting; /* the unmounter runs */
	bool impatient;	 /* a second signal came meanwhile */
	bool restarted;	 /* somebody had killed the unmounter */
	bool stays;	 /* it could not be unmounted */
	struct unmounter unmounter;
};

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

/* ---- serving ---- */

static void on_ready(void *userdata)
{
	struct front *fr = userdata;

	eventfd_write(fr->event_fd, FRONT_EVENT_READY);
}

static void on_gone(void *userdata)
{
	struct front *fr = userdata;

	eventfd_write(fr->event_fd, FRONT_EVENT_GONE);
}

/* Everything that has threads. */
static int start_threads(struct daemon *d)
{
	struct front *fr = &d->front;
	struct transport_config cfg = {
		.se = fr->se,
		.segs = pagecache_segs(fr->fs->pagecache),
		.threads = d->opts.threads,
		/* On one CPU the spinner would only keep the others from running. */
		.spin_us = sysconf(_SC_NPROCESSORS_ONLN) > 1 ? SPIN_US : 0,
		.userdata = fr,
		.init = front_amend_init,
		.request = front_raw_request,
		.ready = on_ready,
		.gone = on_gone,
	};
	int err;

	daemon_set_io_flusher();
	err = bdev_start(fr->bdev);
	if (!err)
		err = vfs_start_threads(fr->fs);
	if (err)
		return err;
	fr->seekers = workqueue_create("seek", 1);
	if (!fr->seekers)
		return -ENOMEM;
	err = transport_create(&cfg, &fr->tr);
	return err ? err : transport_start(fr->tr);
}

/* How long the last users of a detached mount may take to let go, after a signal. */
#define DETACHED_WAIT_MS 500
/* How long what they and the kernel have handed over by then may take to get here. */
#define SETTLE_MS 5000

/* One signal: another process unmounts while we serve on.  A second: without it. */
static bool take_signal(struct daemon *d)
{
	struct signalfd_siginfo si;
	int err;

	if (read(d->signal_fd, &si, sizeof(si)) != sizeof(si))
		return true;
	if (d->unmounting) {
		log_warn("signal %u: not waiting until %s is unmounted", si.ssi_signo,
			 d->mountpoint);
		d->impatient = true;
		return false;
	}
	log_info("signal %u: unmounting %s", si.ssi_signo, d->mountpoint);
	err = unmounter_start(&d->unmounter, &d->own);
	if (err)
		log_warn("%s cannot be unmounted: %s", d->mountpoint, strerror(-err));
	d->unmounting = !err;
	return d->unmounting;
}

/* The unmounter has ended.  False: it was killed, by who meant us perhaps, and another one runs. */
static bool unmounted(struct daemon *d)
{
	/* fails once the last mount is gone, wherever it was */
	struct pollfd gone = { .fd = fuse_session_fd(d->front.se) };
	int how = unmounter_end(&d->unmounter);

	d->unmounting = how == UNMOUNTER_KILLED && !d->restarted &&
			!unmounter_start(&d->unmounter, &d->own);
	d->restarted = true;
	if (d->unmounting)
		return false;
	if (how == UNMOUNTER_DETACHED)
		log_warn("%s is in use: detached", d->mountpoint);
	if (poll(&gone, 1, DETACHED_WAIT_MS) > 0)
		return true;
	transport_settle(d->front.tr, SETTLE_MS);
	d->stays = unmounter_stays(&d->own, how);
	return true;
}

/* Wait for the transport's news, which is added to *events, a signal, or the unmounter's end.
 * False: no more to serve.
 */
static bool wait_event(struct daemon *d, uint64_t *events)
{
	struct pollfd pfd[3] = {
		{ .fd = d->front.event_fd, .events = POLLIN },
		{ .fd = d->signal_fd, .events = POLLIN },
		{ .fd = d->unmounting ? d->unmounter.fd : -1, .events = POLLIN },
	};
	eventfd_t v;

	while (poll(pfd, 3, -1) < 0)
		;
	if ((pfd[0].revents & POLLIN) && !eventfd_read(d->front.event_fd, &v))
		*events += v;
	if (pfd[2].revents)
		return !unmounted(d);
	return *events < FRONT_EVENT_GONE && (!(pfd[1].revents & POLLIN) || take_signal(d));
}

static void serve(struct daemon *d)
{
	uint64_t events = 0;
	bool told = false;

	while (wait_event(d, &events)) {
		if (events < FRONT_EVENT_READY || told)
			continue;
		told = true;
		daemon_tune_bdi(d->mountpoint, d->fuseblk);
		if (!d->fuseblk)
			utab_add(d->source, d->mountpoint);
		if (!d->opts.foreground)
			log_init("tallyfs", true, LOG_LVL_INFO);
		log_info("%s mounted at %s%s", d->source, d->mountpoint,
			 d->opts.fs.ro ? " read-only" : "");
		daemon_ready();
	}
	if (d->unmounting)
		unmounter_abandon(&d->unmounter);
}

/* What a second signal left mounted is dead now: nobody who unmounts it has to wait for us. */
static void unmount_dead(struct daemon *d)
{
	struct pollfd pfd = { .events = POLLIN };

	if (!d->impatient || unmounter_start(&d->unmounter, &d->own))
		return;
	pfd.fd = d->unmounter.fd;
	if (poll(&pfd, 1, DETACHED_WAIT_MS) > 0)
		unmounter_end(&d->unmounter);
	else
		unmounter_abandon(&d->unmounter);
}

static int block_signals(struct daemon *d)
{
	sigset_t set;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	d->signal_fd = signalfd(-1, &set, SFD_CLOEXEC);
	return d->signal_fd < 0 ? -errno : 0;
}

/* From a mounted session to the end.  0 or -errno. */
static int run(struct daemon *d)
{
	struct front *fr = &d->front;
	int err = block_signals(d);

	if (!err && !d->opts.foreground)
		err = daemon_fork(EXIT_FAIL);
	if (!err)
		err = start_threads(d);
	if (err)
		text_err("tallyfs: %s: cannot serve: %s", d->opts.source, strerror(-err));
	else
		serve(d);
	seekers_stop(fr);
	/* Here, for when DESTROY has closed everything and its thread is still on its way out. */
	if (fr->tr)
		transport_stop(fr->tr);
	if (!err)
		daemon_forget_device(fuse_session_fd(fr->se));
	unmount_dead(d);
	front_close_fs(fr);
	fuse_session_unmount(fr->se);
	if (!d->fuseblk)
		utab_remove(d->mountpoint);
	if (fr->close_err) {
		log_err("%s: not everything could be written: %s", d->source,
			strerror(-fr->close_err));
		err = fr->close_err;
	}
	return d->stays && !err ? -EBUSY : err;
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
		err = run(d);
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
	return err ? EXIT_FAIL : 0;
}
