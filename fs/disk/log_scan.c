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

#include "core/block/bdev.h"
#include "core/lib/log.h"
#include "core/lib/util.h"
#include "fs/disk/log_ring.h"
#include "tallyfs/format.h"
#include "fs/disk/log_scan.h"

#define CHUNK_BLOCKS 256u /* log blocks read at once */

/* A commit record that is whole and where it says it is, of whatever epoch and transaction. */
static bool commit_whole(const struct log_ring *r, uint64_t pos, const struct tfs_log_commit *c)
{
	return le32_get(c->magic) == TFS_COMMIT_MAGIC && le64_get(c->pos) == pos &&
	       le32_get(c->copy) <= 1 && le64_get(c->txid) < LOG_MAX_TXID &&
	       le64_get(c->epoch) < LOG_MAX_TXID && le64_get(c->csum) == log_csum(c, r->seed);
}

static int by_txid(const void *a, const void *b)
{
	const struct log_tx *x = a, *y = b;

	if (x->txid != y->txid)
		return x->txid < y->txid ? -1 : 1;
	return (int)x->copy - (int)y->copy;
}

/* Room for one more at *list, which holds @nr of *max. */
static int make_room(void **list, size_t nr, size_t *max, size_t each)
{
	size_t more = *max ? 2 * *max : 64;
	void *grown;

	if (nr < *max)
		return 0;
	grown = tl_realloc(*list, more * each);
	if (!grown)
		return -ENOMEM;
	*list = grown;
	*max = more;
	return 0;
}

static int note_commit(const struct log_ring *r, const struct log_head *head, uint64_t pos,
		       const struct tfs_log_commit *c, struct log_found *f)
{
	void *list = f->commits;
	int err;

	if (!commit_whole(r, pos, c) || le64_get(c->epoch) < head->epoch)
		return 0;
	if (le64_get(c->epoch) > head->epoch) {
		f->newer_epoch = max_t(uint64_t, f->newer_epoch, le64_get(c->epoch));
		return 0;
	}
	if (le64_get(c->txid) < head->tail_txid)
		return 0;
	err = make_room(&list, f->nr, &f->max, sizeof(*f->commits));
	f->commits = list;
	if (err)
		return err;
	f->commits[f->nr++] = (struct log_tx){ .txid = le64_get(c->txid),
					       .pos = pos,
					       .start = le64_get(c->start),
					       .payload_bytes = le64_get(c->payload_bytes),
					       .payload_csum = le64_get(c->payload_csum),
					       .durable_txid = le64_get(c->durable_txid),
					       .copy = le32_get(c->copy) };
	return 0;
}

static int note_bad(struct log_found *f, uint64_t pos)
{
	void *list = f->bad;
	int err = make_room(&list, f->nr_bad, &f->max_bad, sizeof(*f->bad));

	f->bad = list;
	if (!err)
		f->bad[f->nr_bad++] = pos;
	return err;
}

/* @n log blocks from @pos; where the device can't read them together, one by one. */
static int look_at_chunk(const struct log_ring *r, const struct log_head *head, uint64_t pos,
			 uint64_t n, struct tfs_log_commit *chunk, struct log_found *f)
{
	int err = 0, together = ring_read(r, pos, n, chunk);
	uint64_t i;

	for (i = 0; i < n && !err; i++) {
		if (together && ring_read(r, pos + i, 1, chunk + i))
			err = note_bad(f, pos + i);
		else
			err = note_commit(r, head, pos + i, chunk + i, f);
	}
	return err;
}

int log_find_commits(const struct log_ring *r, const struct log_head *head, struct log_found *f)
{
	uint64_t pos, end = TFS_LOG_FIRST + r->size, n;
	struct tfs_log_commit *chunk;
	int err = 0;

	memset(f, 0, sizeof(*f));
	chunk = tl_alloc_aligned(TFS_LOG_BLOCK, CHUNK_BLOCKS * TFS_LOG_BLOCK);
	if (!chunk)
		return -ENOMEM;
	for (pos = TFS_LOG_FIRST; pos < end && !err; pos += n) {
		n = min_t(uint64_t, CHUNK_BLOCKS, end - pos);
		err = look_at_chunk(r, head, pos, n, chunk, f);
	}
	tl_free(chunk);
	if (f->nr)
		qsort(f->commits, f->nr, sizeof(*f->commits), by_txid);
	return err;
}

void log_found_free(struct log_found *f)
{
	tl_free(f->commits);
	tl_free(f->bad);
	memset(f, 0, sizeof(*f));
}

void log_overwrite_bad(const struct log_ring *r)
{
	uint64_t pos, end = TFS_LOG_FIRST + r->size;
	void *block = tl_alloc_aligned(TFS_LOG_BLOCK, TFS_LOG_BLOCK);
	int err;

	for (pos = TFS_LOG_FIRST; block && pos < end; pos++) {
		if (!ring_read(r, pos, 1, block))
			continue;
		memset(block, 0, TFS_LOG_BLOCK);
		err = ring_write(r, pos, 1, block);
		if (err)
			log_warn("%s: block %llu of the journal can't be read, nor written: %s",
				 r->bdev->name, (unsigned long long)pos, strerror(-err));
	}
	tl_free(block);
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
	/* reset believes what it finds in the state: with the same seed by chance it keeps a secret
	 * of rubbish */
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
