/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writing a frozen transaction: payload, flush, two commit records, durable.
 *
 * The first flush makes the payload durable, and with it all file data whose
 * writes had completed when the transaction was frozen; only then does a commit record
 * exist.  So a valid commit record proves that what it speaks for was whole.
 *
 * The records go to the device as two commands, so that none that it loses takes both.  Where a
 * write can be made durable by itself no second flush follows: all that the transaction speaks for
 * is behind the first one, and what completed later belongs to the next transaction.
 */
#define XXH_STATIC_LINKING_ONLY
#include <errno.h>
#include <string.h>
#include <time.h>
#include <xxhash.h>
#include "core/block/bdev.h"
#include "core/lib/list.h"
#include "core/lib/util.h"
#include "fs/disk/log_ring.h"
#include "fs/journal/buffer.h"
#include "fs/journal/journal_priv.h"
#include "fs/state/fs.h"
#include "tallyfs/format.h"

struct log_writer {
	struct tfs_journal *j;
	uint64_t pos; /* log block where the chunk goes */
	size_t fill;
	uint64_t total;
	int err;
	XXH3_state_t hash;
};

uint64_t journal_payload_bytes(const struct tfs_journal *j)
{
	uint64_t bytes = j->cmt.nr_freed * REC_BYTES(0);
	const struct tfs_buf *b;
	unsigned int i;

	list_for_each_entry(b, &j->committing, commit_list) {
		if (b->frozen_whole)
			bytes += REC_BYTES(b->bytes);
		for (i = 0; i < b->nr_frozen; i++)
			bytes += REC_BYTES(b->frozen_ranges[i].len);
	}
	return bytes;
}

/* What was collected, and @more log blocks of zeros behind it. */
static void write_chunk(struct log_writer *w, uint64_t more)
{
	uint64_t n = div_up(w->fill, TFS_LOG_BLOCK);

	XXH3_64bits_update(&w->hash, w->j->chunk, w->fill);
	memset(w->j->chunk + w->fill, 0, (n + more) * TFS_LOG_BLOCK - w->fill);
	if (!w->err)
		w->err = ring_write(&w->j->ring, w->pos, n + more, w->j->chunk);
	w->pos = ring_next(&w->j->ring, w->pos, n);
	w->fill = 0;
}

static void log_put(struct log_writer *w, const void *data, size_t len)
{
	size_t part;

	for (; len; len -= part) {
		part = min_t(size_t, len, LOG_CHUNK - w->fill);
		memcpy(w->j->chunk + w->fill, data, part);
		data = (const char *)data + part;
		w->fill += part;
		w->total += part;
		if (w->fill == LOG_CHUNK)
			write_chunk(w, 0);
	}
}

static void put_record(struct log_writer *w, enum tfs_record_type type, const struct tfs_buf *b,
		       uint32_t off, const void *data, uint32_t len)
{
	static const uint8_t zeros[8];
	struct tfs_log_record r = { .type = le32_of(type),
				    .len = le32_of(len),
				    .block = le64_of(b->block),
				    .buf_bytes = le32_of(b->bytes),
				    .off = le32_of(off) };

	log_put(w, &r, sizeof(r));
	log_put(w, data, len);
	log_put(w, zeros, round_up_to(len, 8) - len);
}

static void put_buf(struct log_writer *w, const struct tfs_buf *b)
{
	const struct tfs_buf_range *r = b->frozen_ranges;
	unsigned int i;

	if (b->frozen_whole) {
		put_record(w, TFS_REC_IMAGE, b, 0, b->frozen->data, b->bytes);
		atomic_fetch_add_explicit(&w->j->nr_images, 1, memory_order_relaxed);
		return;
	}
	assert(b->log_gen == w->j->gen && b->nr_frozen);
	for (i = 0; i < b->nr_frozen; i++, r++)
		put_record(w, TFS_REC_RANGE, b, r->off, b->frozen->data + r->off, r->len);
	atomic_fetch_add_explicit(&w->j->nr_ranges, b->nr_frozen, memory_order_relaxed);
}

static int write_payload(struct log_writer *w)
{
	const struct tfs_journal *j = w->j;
	const struct tfs_buf *b;

	list_for_each_entry(b, &j->cmt.freed, tx_list) {
		put_record(w, TFS_REC_REVOKE, b, j->fs->geom.node_blocks, NULL, 0);
		atomic_fetch_add_explicit(&w->j->nr_revokes, 1, memory_order_relaxed);
	}
	list_for_each_entry(b, &j->committing, commit_list)
		put_buf(w, b);
	/* the place of the commit records, and the log's end behind it: ring_end() */
	write_chunk(w, LOG_CHUNK_MORE);
	return w->err;
}

static int write_commit(struct log_writer *w, uint64_t csum)
{
	struct tfs_journal *j = w->j;
	struct tfs_log_commit *c = (struct tfs_log_commit *)(void *)j->chunk;
	uint64_t pos = w->pos;
	int i;

	memset(c, 0, 2 * sizeof(*c));
	for (i = 0; i < 2; i++, c++, pos = ring_next(&j->ring, pos, 1)) {
		c->magic = le32_of(TFS_COMMIT_MAGIC);
		c->copy = le32_of((uint32_t)i);
		c->epoch = le64_of(j->epoch);
		c->txid = le64_of(j->cmt.txid);
		c->pos = le64_of(pos);
		c->start = le64_of(j->head);
		c->payload_bytes = le64_of(w->total);
		c->payload_csum = le64_of(csum);
		c->durable_txid = le64_of(atomic_load(&j->durable));
		c->time = le64_of((uint64_t)time(NULL));
		c->csum = le64_of(log_csum(c, j->ring.seed));
	}
	return ring_write_durable(&j->ring, w->pos, 2, j->chunk);
}

int journal_write_tx(struct tfs_journal *j, uint64_t payload)
{
	struct log_writer *w;
	uint64_t blocks = div_up(payload, TFS_LOG_BLOCK) + 2;
	int err;

	w = tl_alloc_aligned(64, sizeof(*w));
	if (!w) {
		j->failed = true; /* the superblock in memory is the transaction's already */
		return -ENOMEM;
	}
	w->j = j;
	w->pos = j->head;
	w->fill = 0;
	w->total = 0;
	w->err = 0;
	/* reset believes what it finds in the state: with the same seed by chance it keeps a secret
	 * of rubbish */
	XXH3_INITSTATE(&w->hash);
	XXH3_64bits_reset_withSeed(&w->hash, j->ring.seed ^ j->epoch ^ j->cmt.txid);
	assert(atomic_load(&j->used) + blocks < j->ring.size);
	/* The room is taken before anything is written: sections that start now must not count on
	 * it. */
	atomic_fetch_add(&j->used, blocks);
	err = write_payload(w);
	assert(w->total == payload);
	if (!err && !(j->fs->opts.break_rules & TFS_BREAK_COMMIT_FLUSH))
		err = bdev_flush(j->ring.bdev);
	if (!err)
		err = write_commit(w, XXH3_64bits_digest(&w->hash));
	tl_free(w);
	j->head = ring_next(&j->ring, j->head, blocks);
	j->failed |= !!err;
	atomic_fetch_add_explicit(&j->log_bytes, blocks * TFS_LOG_BLOCK, memory_order_relaxed);
	return err;
}
