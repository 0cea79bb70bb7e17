/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How tallyctl talks to a mounted tallyfs: ioctls on the mount's root
 * directory (or any file in it).  The daemon checks the caller.  Payloads stay
 * far below the 16 KiB that reach a FUSE daemon.
 */
#ifndef TALLYFS_CTL_H
#define TALLYFS_CTL_H

#include <linux/ioctl.h>
#include <stdint.h>

#define TALLY_CTL_VERSION 1
#define TALLY_STATUS_MAX 3500

/*
 * A page of the status text: whole lines "group.name value\n" from line @first on.
 * Asking for line 0 takes a new set of numbers.
 *
 * In the group TALLY_STATUS_LATENCY there is a histogram of each kind of request, of what the
 * device was asked for and of commits, in microseconds: "latency.KIND.max 90" and for each bucket
 * that is not empty "latency.KIND.START 7": 7 took START or more, and less than where the next
 * bucket of core/lib/hist.h starts.
 */
#define TALLY_STATUS_LATENCY "latency"
struct tally_status {
	uint32_t version; /* in */
	uint32_t first;	  /* in: lines already had */
	uint32_t total;	  /* out: lines in all */
	uint32_t lines;	  /* out: lines in @text */
	uint32_t len;	  /* out: bytes in @text */
	char text[TALLY_STATUS_MAX];
};

#define TALLY_IOC_STATUS _IOWR('T', 1, struct tally_status)
/* Make everything written so far durable. */
#define TALLY_IOC_SYNC _IO('T', 2)

/* Bytes of the file the ioctl is made on; len UINT64_MAX: to its end.  out: what is left to do, len
 * 0: nothing. */
struct tally_range {
	uint64_t start, len;
};
/*
 * Blocks in the range that are shared with other files become this one's own, and are
 * written.  The descriptor must be open for writing.  A call does a bounded part: make it again
 * with what is left.
 */
#define TALLY_IOC_UNSHARE _IOWR('T', 3, struct tally_range)

enum {
	TALLY_EXTENT_UNWRITTEN = 1 << 0, /* allocated, reads as zeros */
	TALLY_EXTENT_SHARED = 1 << 1,	 /* another file has these blocks too */
	TALLY_EXTENT_INLINE = 1 << 2,	 /* kept in the tree: no address */
	TALLY_EXTENT_NO_ADDR =
		1 << 3, /* where it is, is for root and the mount's owner to know: addr is 0 */
};
struct tally_extent {
	uint64_t start, len, addr; /* bytes in the file; bytes on the device */
	uint32_t flags, reserved;
};
#define TALLY_EXTENTS_MAX 100
/* Extents of the file from byte @start on, in order.  Fewer than TALLY_EXTENTS_MAX: there are no
 * more. */
struct tally_extents {
	uint32_t version; /* in */
	uint32_t nr;	  /* out */
	uint64_t start;	  /* in */
	struct tally_extent extent[TALLY_EXTENTS_MAX];
};
#define TALLY_IOC_EXTENTS _IOWR('T', 4, struct tally_extents)

/* Which file system this is. */
struct tally_identity {
	uint32_t version;	/* in */
	uint32_t guard;		/* out: TFS_GUARD_* */
	unsigned char uuid[16]; /* out */
	char label[64];		/* out, ended with 0 */
};
#define TALLY_IOC_IDENTITY _IOWR('T', 5, struct tally_identity)

#endif
