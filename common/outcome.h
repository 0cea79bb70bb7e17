/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Unmounting: whether everything could be written, asked before and looked at afterwards. */
#ifndef TOOLS_OUTCOME_H
#define TOOLS_OUTCOME_H

#include <time.h>
#include "common/mounts.h"

enum outcome {
	OUTCOME_SAVED,	/* everything is on the device */
	OUTCOME_NOBODY, /* nobody could be asked: the daemon has ended, or it is somebody else's
			   mount */
	OUTCOME_KEPT,	/* not everything; the daemon keeps it, and there can be another try */
	OUTCOME_LOST,	/* not everything, and no try will help: an error has made the file system
			   read-only */
};

/* Have everything written that belongs to @m.  Says what went wrong, in a line that starts with
 * @who. */
enum outcome outcome_flush(const char *who, const struct mount_entry *m);
/*
 * The image @source has been closed by who served it: 0, or -EIO after a line for each file whose
 * data could not be written since @since (or one, if it was not closed cleanly).  What can't be
 * read for lack of permission, or is in use again, is not judged.
 */
int outcome_check(const char *who, const char *source, time_t since);

#endif
