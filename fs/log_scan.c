/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Finding and reading transactions in the log.  The whole ring is searched for
 * commit records, not only the places where the chain of transactions leads: a
 * transaction that can't be found while a later one exists is corruption, and only who
 * looks everywhere can tell.
 */
#define XXH_STATIC_LINKING_ONLY
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>
#include "fs/log_scan.h"

#define CHUNK_BLOCKS 256u /* log blocks read at once */

static bool commit_ok(const struct log_ring *r, const struct log_head *head, uint64_t pos,
		      const struct tfs_log_commit *c)
{
	if (le32_get(c->magic) != TFS_COMMIT_MAGIC || le64_get(c->epoch) != head->epoch || le64_get(c->pos) != pos)
		return false;
	if (le32_get(c->copy) > 1 || le64_get(c->txid) < head->tail_txid || le64_get(c->txid) >= LOG_MAX_TXID)
		return false;
	return le64_get(c->csum) == log_csum(c, r->seed);
}

static int by_txid(const void *a, const void *b)
{
	const struct log_tx *x = a, *y = b;

	if (x->txid != y->txid)
		return x->txid < y->txid ? -1 : 1;
	return (int)x->copy - (int)y->copy;
}

static int append(struct log_tx **list, size_t *nr, size_t *max, uint64_t pos, const struct tfs_log_commit *c)
{
	struct log_tx *grown;

	if (*nr == *max) {
		*max = *max ? 2 * *max : 64;
		grown = tl_realloc(*list, *max * sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		*list = grown;
	}
	(*list)[(*nr)++] = (struct log_tx){ .txid = le64_get(c->txid),
					    .pos = pos,
					    .start = le64_get(c->start),
					    .payload_bytes = le64_get(c->payload_bytes),
					    .payload_csum = le64_get(c->payload_csum),
					    .durable_txid = le64_get(c->durable_txid),
					    .copy = le32_get(c->copy) };
	return 0;
}

int log_find_commits(const struct log_ring *r, const struct log_head *head, struct log_tx **out, size_t *nr)
{
	uint64_t pos, end = TFS_LOG_FIRST + r->size, n, i;
	struct tfs_log_commit *chunk, *c;
	size_t max = 0;
	int err = 0;

	*out = NULL;
	*nr = 0;
	chunk = tl_alloc_aligned(TFS_LOG_BLOCK, CHUNK_BLOCKS * TFS_LOG_BLOCK);
	if (!chunk)
		return -ENOMEM;
	for (pos = TFS_LOG_FIRST; pos < end && !err; pos += n) {
		n = min_t(uint64_t, CHUNK_BLOCKS, end - pos);
		err = ring_read(r, pos, n, chunk);
		for (i = 0, c = chunk; i < n && !err; i++, c++)
			if (commit_ok(r, head, pos + i, c))
				err = append(out, nr, &max, pos + i, c);
	}
	tl_free(chunk);
	if (err) {
		tl_free(*out);
		*out = NULL;
		return err;
	}
	if (*nr)
		qsort(*out, *nr, sizeof(**out), by_txid);
	return 0;
}

uint64_t log_commit_pos(const struct log_ring *r, const struct log_tx *tx)
{
	if (tx->start < TFS_LOG_FIRST || tx->start >= TFS_LOG_FIRST + r->size || r->size < 3 ||
	    tx->payload_bytes > (r->size - 2) * TFS_LOG_BLOCK)
		return 0;
	return ring_next(r, tx->start, div_up(tx->payload_bytes, TFS_LOG_BLOCK));
}

int log_reader_open(struct log_reader *lr, const struct log_ring *r, const struct log_tx *tx)
{
	lr->ring = r;
	lr->pos = tx->start;
	lr->left = lr->unread = tx->payload_bytes;
	lr->at = lr->filled = 0;
	lr->chunk = tl_alloc_aligned(TFS_LOG_BLOCK, CHUNK_BLOCKS * TFS_LOG_BLOCK);
	return lr->chunk ? 0 : -ENOMEM;
}

void log_reader_close(struct log_reader *lr)
{
	tl_free(lr->chunk);
}

static int next_chunk(struct log_reader *lr)
{
	uint64_t n = min_t(uint64_t, CHUNK_BLOCKS, div_up(lr->unread, TFS_LOG_BLOCK));
	int err = ring_read(lr->ring, lr->pos, n, lr->chunk);

	lr->pos = ring_next(lr->ring, lr->pos, n);
	lr->filled = min_t(uint64_t, n * TFS_LOG_BLOCK, lr->unread);
	lr->unread -= lr->filled;
	lr->at = 0;
	return err;
}

int log_reader_get(struct log_reader *lr, void *buf, size_t len)
{
	size_t part;
	int err;

	if (len > lr->left)
		return -EUCLEAN;
	lr->left -= len;
	for (; len; len -= part) {
		if (lr->at == lr->filled) {
			err = next_chunk(lr);
			if (err)
				return err;
		}
		part = min_t(size_t, len, lr->filled - lr->at);
		memcpy(buf, lr->chunk + lr->at, part);
		buf = (char *)buf + part;
		lr->at += part;
	}
	return 0;
}

int log_check_payload(const struct log_ring *r, const struct log_tx *tx, uint64_t epoch)
{
	XXH3_state_t *hash = tl_alloc_aligned(64, sizeof(*hash));
	struct log_reader lr;
	int err;

	if (!hash)
		return -ENOMEM;
	/* reset believes what it finds in the state: with the same seed by chance it keeps a secret of rubbish */
	XXH3_INITSTATE(hash);
	XXH3_64bits_reset_withSeed(hash, r->seed ^ epoch ^ tx->txid);
	err = log_reader_open(&lr, r, tx);
	while (!err && lr.unread) {
		err = next_chunk(&lr);
		if (!err)
			XXH3_64bits_update(hash, lr.chunk, lr.filled);
	}
	if (!err && XXH3_64bits_digest(hash) != tx->payload_csum)
		err = -EUCLEAN;
	log_reader_close(&lr);
	tl_free(hash);
	return err;
}
