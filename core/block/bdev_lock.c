/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Locks on an image, as OFD locks: they belong to the open file, so a daemon
 * keeps them through fork, and closing another descriptor of the same file
 * does not drop them.
 *
 * "serving" is asked for before "main".  So between the two a comer holds
 * "serving" without "main", which at worst sends a third one away with -EBUSY;
 * the other order would show a starting owner as one that shuts down.
 *
 * What a loop device is made of is locked too, sector by sector: two partitions, or loop devices of
 * different parts of a file, are not in each other's way, but a loop device and its file are.
 *
 * Readers.  A write lock takes an open file that may be written, a read lock one that may be read;
 * so whoever may read an image can keep writers from their lock.  What does a reader need it for?
 * For himself only: lest the image change while he looks.  So nobody waits long for readers, and
 * root does not let strangers stop him: see pass_strangers().
 */
#include "core/block/bdev_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/block/bdev.h"
#include "core/block/bdev_backing.h"
#include "core/block/lockholder.h"
#include "core/lib/clock.h"
#include "core/lib/log.h"

/* A byte for each sector there can be; far behind any data, and below the largest offset. */
#define LOCK_SECTORS (UINT64_C(1) << (63 - SECTOR_SHIFT))
#define LOCK_MAIN (INT64_C(1) << 62)
#define LOCK_SERVING (LOCK_MAIN + (INT64_C(1) << 60))
_Static_assert(LOCK_SECTORS <= UINT64_C(1) << 60, "the two do not overlap");

/*
 * How long somebody in the way is waited for, in ms.
 *
 * An owner whose mount is gone says that it shuts down only when it has been woken; umount(2) of a
 * FUSE mount does not wait for that.  Who comes right behind it is not to be told that the image is
 * mounted.
 */
#define WAKING_MS 250
/* Readers, who have nothing to write. */
#define READERS_MS 2000
/* An owner that shuts down: it may have much to write, to a slow device. */
#define CLOSING_MS (10 * 60 * 1000)

static const struct timespec poll_pause = { .tv_nsec = 2 * 1000 * 1000 };

static int64_t now_ms(void)
{
	return (int64_t)(now_ns() / 1000000);
}

static struct flock range_of(const struct bdev_lock_level *lv, short type, int64_t what)
{
	return (struct flock){ .l_type = type,
			       .l_whence = SEEK_SET,
			       .l_start = what + (int64_t)lv->first,
			       .l_len = (int64_t)(lv->last - lv->first) + 1 };
}

static int set_lock(const struct bdev_lock_level *lv, short type, int64_t what)
{
	struct flock fl = range_of(lv, type, what);

	if (!fcntl(lv->fd, F_OFD_SETLK, &fl))
		return 0;
	return errno == EACCES || errno == EAGAIN ? -EBUSY : -errno;
}

static void let_go(const struct bdev_lock_level *lv)
{
	set_lock(lv, F_UNLCK, LOCK_MAIN);
	set_lock(lv, F_UNLCK, LOCK_SERVING);
}

/* What kind of lock is in the way of one of @type: F_UNLCK none; F_RDLCK, F_WRLCK; or -errno. */
static int in_the_way(const struct bdev_lock_level *lv, short type, int64_t what)
{
	struct flock fl = range_of(lv, type, what);

	return fcntl(lv->fd, F_OFD_GETLK, &fl) ? -errno : fl.l_type;
}

static bool only_readers(const struct bdev_lock_level *lv, int64_t what)
{
	return in_the_way(lv, F_RDLCK, what) == F_UNLCK;
}

/* Whoever holds "main" or "serving". */
static int holders(const struct bdev_lock_level *lv,
		   void (*fn)(void *arg, const struct lockholder *h), void *arg)
{
	return lockholders(lv->fd, "OFDLCK", LOCK_MAIN + (int64_t)lv->first,
			   LOCK_SERVING + (int64_t)lv->last, fn, arg);
}

static void name_holder(const struct bdev_lock_level *lv, char busy_by[LOCKHOLDER_TEXT])
{
	lockholder_text(lv->fd, "OFDLCK", LOCK_MAIN + (int64_t)lv->first,
			LOCK_SERVING + (int64_t)lv->last, busy_by);
}

/* ---- strangers who read ---- */

struct verdict {
	uid_t owner;
	unsigned int found;
	bool respect; /* the last one seen is to be respected */
	struct lockholder last;
};

static void judge(void *arg, const struct lockholder *h)
{
	struct verdict *v = arg;

	v->found++;
	if (v->respect)
		return;
	v->last = *h;
	v->respect = h->writes || !h->uid || h->uid == v->owner;
}

/*
 * Root comes to write, and for READERS_MS there have been read locks in the way.  A read lock of
 * his own beside them keeps writers out from now on, as they would need a write lock; then he sees
 * whether all those in the way are people who may read the image but neither own it nor have it
 * open for writing, and may go on.  Two who do so at once see each other: each has its lock before
 * it looks, on a file open for writing, which marks it as a writer. Those who are not to be seen
 * (in another container) are respected.
 */
static int pass_strangers(struct bdev_lock_level *lv, const char *name)
{
	struct verdict v = { 0 };
	char who[LOCKHOLDER_TEXT];
	struct stat st;
	int listed;

	if (geteuid() || fstat(lv->fd, &st) || bdev_backing_used(lv->fd) ||
	    set_lock(lv, F_RDLCK, LOCK_SERVING))
		return -EBUSY;
	if (set_lock(lv, F_RDLCK, LOCK_MAIN))
		goto out_busy;
	v.owner = st.st_uid;
	listed = holders(lv, judge, &v);
	/* two of those listed are ours */
	if (listed < 0 || v.respect || (unsigned int)listed > v.found + 2)
		goto out_busy;
	lv->type = F_RDLCK;
	if (v.found) {
		lockholder_print(&v.last, who);
		log_warn("%s: %s has it open for reading: going on all the same, what he reads may "
			 "be wrong",
			 name, who);
	}
	return 0;
out_busy:
	let_go(lv);
	return -EBUSY;
}

static void note_writer(void *arg, const struct lockholder *h)
{
	bool *writer = arg;

	*writer |= h->writes;
}

/* Somebody writes who has got past strangers, and so has read locks only. */
static bool writer_among_readers(const struct bdev_lock_level *lv)
{
	bool writer = false;

	if (in_the_way(lv, F_WRLCK, LOCK_MAIN) == F_RDLCK)
		holders(lv, note_writer, &writer);
	return writer;
}

/* ---- one level ---- */

/* ms that we wait for whoever holds @what. */
static int64_t patience(const struct bdev_lock_level *lv, int64_t what)
{
	if (lv->type == F_WRLCK && only_readers(lv, what))
		return READERS_MS;
	return what == LOCK_SERVING ? WAKING_MS : CLOSING_MS;
}

static int wait_for_lock(const struct bdev_lock_level *lv, const char *name, int64_t what,
			 char busy_by[LOCKHOLDER_TEXT])
{
	int64_t start = now_ms();
	bool told = what == LOCK_SERVING;
	int err;

	while ((err = set_lock(lv, lv->type, what)) == -EBUSY &&
	       now_ms() - start < patience(lv, what)) {
		if (!told) {
			name_holder(lv, busy_by);
			log_warn("%s: waiting for it to be closed by %s", name,
				 busy_by[0] ? busy_by : "who is just unmounting it");
			told = true;
		}
		if (nanosleep(&poll_pause, NULL))
			return -errno;
	}
	return err;
}

static int lock_level(struct bdev_lock_level *lv, const char *name, bool wait,
		      char busy_by[LOCKHOLDER_TEXT])
{
	int64_t what = LOCK_SERVING;
	int err = wait ? wait_for_lock(lv, name, what, busy_by) : set_lock(lv, lv->type, what);

	if (!err) {
		what = LOCK_MAIN;
		err = wait ? wait_for_lock(lv, name, what, busy_by) : set_lock(lv, lv->type, what);
		if (err)
			set_lock(lv, F_UNLCK, LOCK_SERVING);
	}
	if (err == -EBUSY && wait && lv->type == F_WRLCK && only_readers(lv, what))
		err = pass_strangers(lv, name);
	if (!err && lv->type == F_RDLCK && geteuid() == 0 && writer_among_readers(lv)) {
		let_go(lv);
		err = -EBUSY;
	}
	if (err == -EBUSY)
		name_holder(lv, busy_by);
	return err;
}

/* ---- all levels ---- */

static uint64_t device_bytes(int fd)
{
	uint64_t bytes = 0;

	return ioctl(fd, BLKGETSIZE64, &bytes) ? 0 : bytes;
}

/*
 * The level below the last: 1, 0 there is none, -errno.  @start, @bytes: our part of the last; then
 * of the new one. A file that may only be read gets a read lock: that keeps those out who would
 * write to it past the loop device.
 */
static int go_down(struct bdev_lock *l, const char *name, bool shared, uint64_t *start,
		   uint64_t bytes)
{
	char path[4096] = "";
	struct bdev_lock_level *lv = &l->level[l->nr];
	uint64_t offset;
	int fd, ret = bdev_backing_open(lv[-1].fd, !shared, &fd, &offset, path, sizeof(path));

	if (ret < 0 && !shared)
		log_warn("%s: is made of %s, which cannot be opened (%s): take care that nobody "
			 "mounts it meanwhile",
			 name, path, strerror(-ret));
	if (ret <= 0)
		return 0;
	*start += offset;
	lv->fd = fd;
	lv->type = !shared && (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDWR ? F_WRLCK : F_RDLCK;
	lv->first = *start >> SECTOR_SHIFT;
	lv->last = (*start + max_t(uint64_t, bytes, 1) - 1) >> SECTOR_SHIFT;
	if (lv->last < lv->first || lv->last >= LOCK_SECTORS) {
		lv->first = 0;
		lv->last = LOCK_SECTORS - 1;
	}
	return 1;
}

int bdev_lock_take(struct bdev_lock *l, int fd, const char *name, bool shared, bool wait,
		   char busy_by[LOCKHOLDER_TEXT])
{
	uint64_t start = 0, bytes = device_bytes(fd);
	int err;

	busy_by[0] = '\0';
	l->nr = 0;
	l->level[0] =
		(struct bdev_lock_level){ fd, shared ? F_RDLCK : F_WRLCK, 0, LOCK_SECTORS - 1 };
	do {
		err = lock_level(&l->level[l->nr], name, wait, busy_by);
		l->nr++;
	} while (!err && l->nr < BDEV_LOCK_LEVELS && go_down(l, name, shared, &start, bytes));
	if (err) {
		let_go(&l->level[0]);
		bdev_lock_drop(l);
	}
	return err;
}

void bdev_lock_set_serving(struct bdev_lock *l, bool serving)
{
	unsigned int i;

	/* Fails only where a comer already waits for "main": it will get it soon enough. */
	for (i = 0; i < l->nr; i++)
		set_lock(&l->level[i], serving ? l->level[i].type : F_UNLCK, LOCK_SERVING);
}

void bdev_lock_drop(struct bdev_lock *l)
{
	/* Closed, not unlocked: a process that was forked may go on with it. */
	while (l->nr > 1)
		close(l->level[--l->nr].fd);
	l->nr = 0;
}

/* ---- waiting for others ---- */

/* 1 somebody writes, or may still do so; 0 nobody; -errno. */
static int still_open(const struct bdev_lock_level *lv, int64_t waited_ms)
{
	int way = in_the_way(lv, F_WRLCK, LOCK_MAIN);

	if (way < 0)
		return way;
	if (way == F_UNLCK)
		return 0;
	/* Readers are waited for, too, but not for long. */
	return waited_ms < READERS_MS || !only_readers(lv, LOCK_MAIN) || writer_among_readers(lv);
}

int bdev_wait_closed(const char *path, int timeout_ms, char busy_by[LOCKHOLDER_TEXT])
{
	struct bdev_lock_level lv = { .last = LOCK_SECTORS - 1 };
	int64_t start = now_ms(), waited = 0;
	int ret;

	lv.fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (lv.fd < 0)
		return -errno;
	busy_by[0] = '\0';
	/* Polling, since taking the lock to learn of its end would turn others away meanwhile. */
	while ((ret = still_open(&lv, waited)) > 0) {
		if (timeout_ms >= 0 && waited >= timeout_ms) {
			name_holder(&lv, busy_by);
			ret = -ETIMEDOUT;
			break;
		}
		nanosleep(&poll_pause, NULL);
		waited = now_ms() - start;
	}
	close(lv.fd);
	return ret;
}
