/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Backing devices: a regular file, a block device, or memory (tests), behind
 * one table of operations.  Offsets and lengths are in bytes and multiples of
 * @align; memory given to read and write is aligned to @align as well.
 */
#ifndef CORE_BDEV_H
#define CORE_BDEV_H

#include <stdatomic.h>
#include <sys/uio.h>
#include "core/block/lockholder.h"
#include "core/lib/hist.h"
#include "core/lib/util.h"

struct bdev;
struct bio;
struct blk_integrity;

/* Space of a thin device, bytes. */
struct bdev_usage {
	uint64_t taken; /* from the host, so far */
	uint64_t free;	/* the host has left */
	uint64_t avail; /* of that, what ordinary users may have */
};

struct bdev_ops {
	/*
	 * Synchronous, whole or error: 0 or a negative errno (-EIO for a
	 * short transfer).  Callable from many threads at once.
	 */
	int (*readv)(struct bdev *b, const struct iovec *iov, int n, uint64_t off);
	int (*writev)(struct bdev *b, const struct iovec *iov, int n, uint64_t off);
	/* Everything that completed before the call is durable after it. */
	int (*flush)(struct bdev *b);
	/* As writev, and this is durable when it returns, whatever is with the rest.  NULL,
	 * -EOPNOTSUPP: flush then. */
	int (*writev_fua)(struct bdev *b, const struct iovec *iov, int n, uint64_t off);
	/* -EOPNOTSUPP where the device can't.  Content of the range is undefined afterwards. */
	int (*discard)(struct bdev *b, uint64_t off, uint64_t len);
	/*
	 * Thin devices only, which get their space from a host as they are written.  provision: no
	 * write to the range fails for want of space from now on; its content stays.  -ENOSPC,
	 * -EOPNOTSUPP, ...
	 */
	int (*provision)(struct bdev *b, uint64_t off, uint64_t len);
	/* The first stretch in [off, end) that has its space: [*start, *stop), empty if there is
	 * none. */
	int (*backed)(struct bdev *b, uint64_t off, uint64_t end, uint64_t *start, uint64_t *stop);
	int (*usage)(struct bdev *b, struct bdev_usage *u);
	/*
	 * Asynchronous submission; calls bio_endio() from some thread (never
	 * from inside submit).  NULL: the block layer runs the bio on its own
	 * thread pool with readv and writev.
	 */
	void (*submit)(struct bdev *b, struct bio *bio);
	void (*close)(struct bdev *b);
	/* Start what bdev_open did not: threads, rings.  NULL: nothing to start.  0 or -errno. */
	int (*start)(struct bdev *b);
};

struct bdev {
	const struct bdev_ops *ops;
	const char *name;	/* for messages */
	uint64_t size;		/* bytes */
	uint32_t align;		/* bytes: logical block size, 512 to 4096 */
	uint32_t max_io;	/* bytes per bio the device takes; larger ones are split */
	uint32_t max_segs;	/* segments per bio the device takes */
	uint32_t virt_boundary; /* mask: a gap inside a list of segments lies on a multiple of mask
				   + 1; 0: anywhere */
	bool read_only;
	bool is_block; /* a block device, not a file or memory */
	bool cow;      /* thin, and the host copies on write: overwriting needs space, too */
	bool thin;     /* a file that may have holes: space is the host's to give */
	struct blk_integrity *integrity; /* NULL: none; see core/block/integrity.h */
	struct bdev_stats {
		atomic_ullong reads, read_bytes, writes, write_bytes, flushes, discards, errors;
		/* how long each took, from when the device was asked */
		struct hist read_time, write_time, flush_time, discard_time;
	} stats;
};

enum {
	BDEV_OPEN_RDONLY = 1 << 0,
	BDEV_OPEN_BUFFERED = 1 << 1, /* no O_DIRECT */
	BDEV_OPEN_NO_URING = 1 << 2, /* thread pool even where io_uring works */
	BDEV_OPEN_WAIT = 1 << 3,    /* wait for a lock held by one that is shutting down (rule 9) */
	BDEV_OPEN_NO_LOCK = 1 << 4, /* tools that look only, on request */
};

/*
 * Opens and locks (exclusive for writing, shared with BDEV_OPEN_RDONLY) a file
 * or block device.  O_DIRECT where it works, else buffered; io_uring where the
 * kernel allows it, else the thread pool.
 * Errors: -EBUSY in use, -ENOENT, -EACCES, -EROFS, -ENOTBLK neither file nor
 * block device, -EINVAL size 0, -EINTR while waiting, ...
 *
 * Locks are OFD locks on two ranges far behind any data, so they survive fork
 * and an unrelated close.  "main" is held as long as the image is open.
 * "serving" is taken with it and let go by bdev_set_serving(b, false) when the
 * owner begins to shut down.  A comer who finds "serving" taken gets -EBUSY at
 * once (with BDEV_OPEN_WAIT after a quarter of a second, in which an owner whose
 * mount is just gone may wake); one who finds only "main" taken gets -EBUSY too or, with
 * BDEV_OPEN_WAIT, logs a line and waits, ten minutes at most.
 *
 * With BDEV_OPEN_WAIT a writer waits two seconds for readers.  Then root goes on, with a line in
 * the log, past those who neither own the image nor have it open for writing; otherwise it is
 * -EBUSY.
 *
 * The file or device behind a loop device is locked alike, where the loop device or its partition
 * lies in it, as deep as there are loop devices.  What cannot be found: a backing file that was
 * deleted or is out of reach here (a line is logged), the device mapper, network block devices, two
 * nodes of one device.
 */
int bdev_open(const char *path, unsigned int flags, struct bdev **out);
/* The same.  @busy_by: with -EBUSY who was in the way, "process 12 (name) of user 34"; "" if that
 * could not be seen. */
int bdev_open_by(const char *path, unsigned int flags, struct bdev **out,
		 char busy_by[LOCKHOLDER_TEXT]);
/* What an error of the two means, for people: "in use ...". */
void bdev_open_error(char *why, size_t size, int err, const char *busy_by);
void bdev_set_serving(struct bdev *b, bool serving);
/*
 * Wait until nobody has the image at @path open, at most @timeout_ms (negative:
 * for ever); after two seconds only for those who write.  Takes no lock.  0, -ETIMEDOUT, or what
 * open(2) says.  @busy_by: with -ETIMEDOUT as bdev_open_by()'s.
 */
int bdev_wait_closed(const char *path, int timeout_ms, char busy_by[LOCKHOLDER_TEXT]);
void bdev_close(struct bdev *b); /* waits for nothing: the caller has drained its I/O */
/*
 * After fork (daemonising): start the threads that bdev_open did not start.
 * The first bio does it where nobody did.  0 or -errno.
 */
int bdev_start(struct bdev *b);

/* An in-memory device of @bytes, all zero, for tests. */
struct bdev *bdev_mem_create(uint64_t bytes);
void *bdev_mem_data(struct bdev *b);

/* For devices: may @iov go to byte @off?  0, -EINVAL (alignment), -EIO (not on the device). */
int bdev_check_iov(const struct bdev *b, const struct iovec *iov, int n, uint64_t off);

/*
 * Synchronous helpers, which bypass integrity.  What is not aligned to @align, in memory or on the
 * device, is -EINVAL, whether this device would mind or not: the next one does.  -EIO outside of
 * the device.
 */
int bdev_read(struct bdev *b, void *buf, size_t len, uint64_t off);
int bdev_write(struct bdev *b, const void *buf, size_t len, uint64_t off);
int bdev_writev(struct bdev *b, const struct iovec *iov, int n, uint64_t off);
/* Durable when it returns, while what was written before need not be.  -EOPNOTSUPP: write, and
 * flush. */
int bdev_write_fua(struct bdev *b, const void *buf, size_t len, uint64_t off);
int bdev_flush(struct bdev *b);
int bdev_discard(struct bdev *b, uint64_t off, uint64_t len);
/*
 * Space from the host (see the operations): devices that are not thin have all theirs.  A host that
 * can't give space ahead (-EOPNOTSUPP) is noticed by the first bdev_provision: the device is not
 * thin any more.
 */
int bdev_provision(struct bdev *b, uint64_t off, uint64_t len);
int bdev_backed(struct bdev *b, uint64_t off, uint64_t end, uint64_t *start, uint64_t *stop);
/* All of the range has its space. */
bool bdev_all_backed(struct bdev *b, uint64_t off, uint64_t len);
int bdev_usage(struct bdev *b, struct bdev_usage *u);

#endif
