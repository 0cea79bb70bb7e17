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
 */
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

#endif
