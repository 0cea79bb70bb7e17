/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From a mounted session to its end: threads, requests, and the signals that ask for an unmount. */
#include "core/block/bdev.h"
#include "core/lib/log.h"
#include "core/lib/text.h"
#include "core/lib/workqueue.h"
#include "core/pagecache/pagecache.h"
#include "fs/fuse/daemon.h"
#include "fs/fuse/serve.h"
#include "fs/fuse/utab.h"
#include "fs/vfs/vfs.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define SPIN_US 50
/* How long the last users of a detached mount may take to let go, after a signal. */
#define DETACHED_WAIT_MS 500
/* How long what they and the kernel have handed over by then may take to get here. */
#define SETTLE_MS 5000

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

int serve_until_gone(struct daemon *d)
{
	struct front *fr = &d->front;
	int err = block_signals(d);

	if (!err && !d->opts.foreground)
		err = daemon_fork(EXIT_FAILURE);
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
