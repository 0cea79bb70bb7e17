/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who holds a lock on a file.  The kernel does not tell the owner of an OFD lock, but shows each
 * open file's locks under /proc; root sees everybody's, others their own.
 */
#ifndef CORE_LOCKHOLDER_H
#define CORE_LOCKHOLDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct lockholder {
	pid_t pid;
	uid_t uid;     /* the real one: whose program it is */
	char name[32]; /* as the process calls itself */
	bool writes;   /* the file is open for writing */
};

/* Longest text of lockholder_text(), with its end. */
#define LOCKHOLDER_TEXT 80

/*
 * Calls @fn for each lock of other processes that touches bytes [@first, @last] of the open file
 * @fd; @kind is "OFDLCK" or "FLOCK" (which have no range).  A process that got the file by fork is
 * told of, too. Returns how many such locks there are by the kernel's list, seen or not, this
 * process's own included; -errno.
 */
int lockholders(int fd, const char *kind, int64_t first, int64_t last,
		void (*fn)(void *arg, const struct lockholder *h), void *arg);

/* "process 12 (name) of user 34" for one who is in the way, preferably a writer; "" if none is
 * seen. */
void lockholder_text(int fd, const char *kind, int64_t first, int64_t last,
		     char text[LOCKHOLDER_TEXT]);
void lockholder_print(const struct lockholder *h, char text[LOCKHOLDER_TEXT]);

#endif
