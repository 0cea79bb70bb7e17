/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Finding and reading transactions in the log. */
#ifndef FS_LOG_SCAN_H
#define FS_LOG_SCAN_H

#include "fs/disk/log_ring.h"

/* A commit record that is valid by itself. */
struct log_tx {
	uint64_t txid, pos, start, payload_bytes, payload_csum, durable_txid;
	uint32_t copy;
};

struct log_found {
	struct log_tx *commits; /* by transaction and copy */
	size_t nr, max;
	uint64_t *bad; /* log blocks that can't be read, in order */
	size_t nr_bad, max_bad;
	uint64_t newer_epoch; /* the highest of valid records of epochs after the header's; 0: none
			       */
};
/*
 * The whole ring: all valid commit records of @head's epoch from its tail_txid on, and what else is
 * to be known.  0 or -ENOMEM; log_found_free() in any case.
 */
int log_find_commits(const struct log_ring *r, const struct log_head *head, struct log_found *out);
void log_found_free(struct log_found *f);
/* The log is empty: write over what can't be read, so that the device can replace it.  What fails
 * is logged. */
void log_overwrite_bad(const struct log_ring *r);
/* Where transaction @tx's payload would have its first commit record, or 0 if its numbers are
 * impossible. */
uint64_t log_commit_pos(const struct log_ring *r, const struct log_tx *tx);

/* A payload as a stream. */
struct log_reader {
	const struct log_ring *ring;
	uint64_t pos, left,
		unread; /* next log block; bytes not handed out; bytes not read from the device */
	uint8_t *chunk;
	size_t at, filled;
};
int log_reader_open(struct log_reader *lr, const struct log_ring *r, const struct log_tx *tx);
void log_reader_close(struct log_reader *lr);
/* Next @len bytes.  -EUCLEAN past the end. */
int log_reader_get(struct log_reader *lr, void *buf, size_t len);
/* Does the payload match the checksum in its commit record?  0, -EUCLEAN, -EIO, -ENOMEM. */
int log_check_payload(const struct log_ring *r, const struct log_tx *tx, uint64_t epoch);

#endif
