/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Finding and reading transactions in the log. */
#ifndef FS_LOG_SCAN_H
#define FS_LOG_SCAN_H

#include "fs/log_ring.h"

/* A commit record that is valid by itself. */
struct log_tx {
	uint64_t txid, pos, start, payload_bytes, payload_csum, durable_txid;
	uint32_t copy;
};

/*
 * All valid commit records of @head's epoch from its tail_txid on, sorted by
 * transaction and copy, in *out (tl_free).  0, -EIO, -ENOMEM.
 */
int log_find_commits(const struct log_ring *r, const struct log_head *head, struct log_tx **out, size_t *nr);
/* Where transaction @tx's payload would have its first commit record, or 0 if its numbers are impossible. */
uint64_t log_commit_pos(const struct log_ring *r, const struct log_tx *tx);

/* A payload as a stream. */
struct log_reader {
	const struct log_ring *ring;
	uint64_t pos, left, unread; /* next log block; bytes not handed out; bytes not read from the device */
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
