/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Recovery: what the log holds that is not at home, and bringing it there.
 *
 * Torn tail or corruption?  A commit record is written after its payload is
 * durable, and twice.  So:
 *   - no valid record of a transaction, and none of a later one: it was never
 *     committed, whatever is there is a torn tail, ignored;
 *   - no valid record, but one of a later transaction, or a later record or the
 *     superblock says it was durable: corruption;
 *   - a valid record whose payload does not match it, or can't be read: corruption;
 *   - a valid record of a later epoch than the header's: corruption, the header is an old one.
 * Corruption is told and nothing is written; what comes before it still
 * makes an overlay, for looking.
 *
 * The image may be hostile: every number is bounded before it is used, and memory
 * grows by no more than the size of the log.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "core/block/bdev.h"
#include "core/lib/util.h"
#include "fs/disk/geom.h"
#include "fs/disk/log_ring.h"
#include "fs/disk/log_scan.h"
#include "fs/disk/log_overlay.h"
#include "fs/journal/checkpoint.h"
#include "fs/journal/buffer.h"
#include "fs/journal/buffer_read.h"
#include "fs/journal/journal_priv.h"
#include "fs/journal/recover.h"
#include "fs/journal/recover_priv.h"
#include "fs/journal/trans.h"
#include "tallyfs/format.h"

#define MAX_REVOKE (TFS_MAX_NODE / TFS_MIN_BLOCK) /* blocks: a node's */

struct scan {
	const struct tfs_geom *g;
	struct tfs_recovery *r;
	struct log_ring ring;
	struct log_head head;
	uint64_t super_txid;
	struct log_found found;
	void *buf; /* a record's content, or a log block */
};

void recovery_corrupt(struct tfs_recovery *r, uint64_t txid, const char *fmt, ...)
{
	va_list ap;

	if (r->corrupt)
		return;
	r->corrupt = true;
	r->corrupt_txid = txid;
	va_start(ap, fmt);
	vsnprintf(r->what, sizeof(r->what), fmt, ap);
	va_end(ap);
}

/* The header in force: the valid copy with the higher sequence number. */
static int read_headers(struct scan *s)
{
	struct log_head h;
	bool found = false;
	int copy, err;

	for (copy = 0; copy < 2; copy++) {
		err = log_read_header(&s->ring, copy, &h);
		if (err == -ENOMEM)
			return err;
		s->r->header_damaged[copy] = err != 0;
		if (err || (found && h.seq <= s->head.seq))
			continue;
		s->head = h;
		found = true;
	}
	if (!found)
		recovery_corrupt(
			s->r, 0,
			"both copies of its header are unreadable, so what it holds is not known");
	return 0;
}

/* ---- records ---- */

/* Is a structure of this size what belongs there?  The log may say anything. */
static bool place_ok(const struct tfs_geom *g, uint64_t block, uint32_t bytes)
{
	static const enum tfs_buf_kind kinds[] = { BUF_SUPER, BUF_GROUP, BUF_BITMAP, BUF_TUPLE,
						   BUF_NODE };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(kinds); i++)
		if (bytes == buf_kind_bytes(g, kinds[i]) && buf_place_ok(g, block, kinds[i]))
			return true;
	return false;
}

static int replay_revoke(struct scan *s, uint64_t block, uint32_t n)
{
	if (!n || n > MAX_REVOKE || block >= s->g->total_blocks || n > s->g->total_blocks - block)
		return -EUCLEAN;
	return overlay_revoke(s->r->overlay, block, n);
}

static int replay_record(struct scan *s, struct log_reader *lr, const struct tfs_log_record *rec)
{
	uint32_t type = le32_get(rec->type), len = le32_get(rec->len),
		 bytes = le32_get(rec->buf_bytes);
	uint32_t off = le32_get(rec->off);
	uint64_t block = le64_get(rec->block);
	int err;

	if (type == TFS_REC_REVOKE)
		return len ? -EUCLEAN : replay_revoke(s, block, off);
	if (type != TFS_REC_IMAGE && type != TFS_REC_RANGE)
		return -EUCLEAN;
	if (!place_ok(s->g, block, bytes) || off > bytes || len > bytes - off)
		return -EUCLEAN;
	if (type == TFS_REC_IMAGE && len != bytes)
		return -EUCLEAN;
	err = log_reader_get(lr, s->buf, round_up_to(len, 8));
	if (err)
		return err;
	if (type == TFS_REC_IMAGE)
		return overlay_image(s->r->overlay, block, s->buf, bytes);
	return overlay_range(s->r->overlay, block, bytes, off, s->buf, len);
}

static int replay_tx(struct scan *s, const struct log_tx *tx)
{
	struct tfs_log_record rec;
	struct log_reader lr;
	int err;

	err = log_reader_open(&lr, &s->ring, tx);
	while (!err && lr.left) {
		err = log_reader_get(&lr, &rec, sizeof(rec));
		if (!err)
			err = replay_record(s, &lr, &rec);
	}
	log_reader_close(&lr);
	if (!err)
		overlay_end_tx(s->r->overlay);
	return err;
}

/* ---- transactions ---- */

/* 0; -EUCLEAN told in *r; or -errno. */
static int take_tx(struct scan *s, const struct log_tx *tx, uint64_t expect_start)
{
	unsigned long long id = tx->txid;
	uint64_t pos = log_commit_pos(&s->ring, tx);
	int err;

	if (tx->start != expect_start || !pos ||
	    tx->pos != (tx->copy ? ring_next(&s->ring, pos, 1) : pos)) {
		recovery_corrupt(s->r, tx->txid,
				 "the commit record of transaction %llu is not where it belongs",
				 id);
		return -EUCLEAN;
	}
	err = log_check_payload(&s->ring, tx, s->head.epoch);
	if (err == -ENOMEM)
		return err;
	if (err) {
		recovery_corrupt(s->r, tx->txid, "transaction %llu was committed, but %s", id,
				 err == -EUCLEAN ? "no longer matches its checksum"
						 : "can't be read");
		return -EUCLEAN;
	}
	err = replay_tx(s, tx);
	if (err == -EUCLEAN)
		recovery_corrupt(s->r, tx->txid,
				 "transaction %llu holds a record that makes no sense", id);
	return err;
}

/* Whatever a record says was durable must have been found. */
static void check_complete(struct scan *s, uint64_t last)
{
	const struct log_tx *tx = s->found.nr ? &s->found.commits[s->found.nr - 1] : NULL;
	uint64_t durable = last;
	size_t i;

	if (tx && tx->txid > last)
		recovery_corrupt(
			s->r, last + 1,
			"transaction %llu was committed, but is lost (the log goes on to %llu)",
			(unsigned long long)last + 1, (unsigned long long)tx->txid);
	for (i = 0; i < s->found.nr; i++)
		durable = max_t(uint64_t, durable, s->found.commits[i].durable_txid);
	/* as does the superblock at home, which a checkpoint writes before it gives up the log */
	durable = max_t(uint64_t, durable, s->super_txid);
	if (durable > last)
		recovery_corrupt(s->r, last + 1, "transaction %llu was durable, but is lost",
				 (unsigned long long)durable);
}

/* Could a transaction's payload begin at log block @pos?  One that can't be read could be
 * anything. */
static bool may_begin(struct scan *s, uint64_t pos)
{
	const struct tfs_log_record *rec = s->buf;
	uint32_t type;

	if (ring_read(&s->ring, pos, 1, s->buf))
		return true;
	type = le32_get(rec->type);
	return (type == TFS_REC_IMAGE || type == TFS_REC_RANGE || type == TFS_REC_REVOKE) &&
	       le64_get(rec->block) < s->g->total_blocks;
}

/*
 * A log block that can't be read is none of ours, unless the chain leads there.  The next
 * transaction, @txid, would begin at @start, and have its two commit records anywhere behind: one
 * of them is enough, but where two blocks in a row can't be read, both may have been.  If nothing
 * begins at @start, there are zeros (ring_end): only what was being written when it ended, or can't
 * be read now, leaves that open.
 */
static void check_hidden(struct scan *s, uint64_t txid, uint64_t start)
{
	const struct log_found *f = &s->found;
	uint64_t second;
	size_t i;

	for (i = 0; i < f->nr_bad; i++) {
		second = f->bad[(i + 1) % f->nr_bad];
		if (f->bad[i] == start || second == start ||
		    second != ring_next(&s->ring, f->bad[i], 1))
			continue;
		if (may_begin(s, start))
			recovery_corrupt(s->r, txid,
					 "what may be the end of transaction %llu can't be read",
					 (unsigned long long)txid);
		return;
	}
}

static int replay_all(struct scan *s)
{
	uint64_t want = s->head.tail_txid, start = s->head.tail, pos;
	size_t i, first;
	int err = 0;

	for (i = 0; i < s->found.nr && s->found.commits[i].txid == want; want++) {
		err = take_tx(s, &s->found.commits[i], start);
		if (err)
			break;
		pos = log_commit_pos(&s->ring, &s->found.commits[i]);
		start = ring_next(&s->ring, pos, 2);
		for (first = i; i < s->found.nr && s->found.commits[i].txid == want; i++)
			;
		/* the last one may be torn; both records of the others were flushed before it
		 * began */
		if (i - first < 2 && i < s->found.nr)
			s->r->lone_commits++;
		s->r->last_txid = want;
	}
	if (s->r->corrupt)
		err = 0;
	s->r->end = start;
	check_complete(s, want - 1);
	check_hidden(s, want, start);
	return err;
}

static int scan_log(struct scan *s)
{
	struct tfs_recovery *r = s->r;
	int err;

	err = read_headers(s);
	if (err || r->corrupt)
		return err;
	r->epoch = s->head.epoch;
	r->seq = s->head.seq;
	r->tail = r->end = s->head.tail;
	r->first_txid = s->head.tail_txid;
	r->last_txid = s->head.tail_txid - 1;
	err = log_find_commits(&s->ring, &s->head, &s->found);
	if (err)
		return err;
	r->unreadable = s->found.nr_bad;
	if (s->found.newer_epoch) {
		r->base_unknown = true;
		recovery_corrupt(
			r, r->first_txid,
			"it holds transactions of epoch %llu, but its header is of epoch %llu",
			(unsigned long long)s->found.newer_epoch, (unsigned long long)r->epoch);
		return 0;
	}
	r->overlay = overlay_create(s->ring.bdev->align);
	if (!r->overlay)
		return -ENOMEM;
	err = replay_all(s);
	r->pending = r->last_txid >= r->first_txid;
	r->next_txid =
		s->found.nr
			? max_t(uint64_t, s->found.commits[s->found.nr - 1].txid, r->last_txid) + 1
			: r->last_txid + 1;
	return err;
}

int journal_recover_scan(struct bdev *b, struct tfs_super *super, const struct tfs_geom *g,
			 struct tfs_recovery *r)
{
	struct scan s = { .g = g, .r = r, .super_txid = le64_get(super->txid) };
	int err;

	memset(r, 0, sizeof(*r));
	r->next_txid = 1;
	ring_init(&s.ring, b, super, g);
	s.buf = tl_alloc_aligned(TFS_LOG_BLOCK, TFS_MAX_NODE);
	if (!s.buf)
		return -ENOMEM;
	err = scan_log(&s);
	if (!err)
		recovery_judge_supers(b, super, g, r, s.head.tail_txid);
	tl_free(s.buf);
	log_found_free(&s.found);
	if (err || !r->pending) {
		overlay_free(r->overlay);
		r->overlay = NULL;
	}
	return err;
}

/* ---- writing home ---- */

struct apply {
	const struct tfs_geom *g;
	struct home_writer w;
	const void *super; /* the log's superblock, if it holds one */
};

static int apply_one(void *arg, uint64_t block, uint32_t bytes, const void *data)
{
	struct apply *a = arg;

	if (block == a->g->super_block) {
		a->super = data;
		return 0;
	}
	return home_write(&a->w, block << a->g->blkbits, data, bytes);
}

/* In the order of a checkpoint: see there why the primary superblock is written alone. */
static int apply_overlay(struct bdev *b, const struct tfs_geom *g, const struct tfs_overlay *o,
			 bool *lost)
{
	struct apply a = { .g = g, .w = { .bdev = b } };
	int err = overlay_each(o, apply_one, &a);

	if (!err)
		err = home_flush(&a.w);
	if (!err && a.super)
		err = home_write_super_copies(b, g, a.super, lost);
	if (err)
		return err;
	return a.super ? home_write_super(b, g, a.super) : bdev_flush(b);
}

int journal_recover_apply(struct bdev *b, const struct tfs_super *super, const struct tfs_geom *g,
			  struct tfs_recovery *r)
{
	struct log_ring ring;
	struct log_head h;
	int err;

	if (r->corrupt)
		return -EUCLEAN;
	err = recovery_mend_primary(b, super, g, r);
	if (!err && r->overlay)
		err = apply_overlay(b, g, r->overlay, &r->copy_lost);
	if (!err)
		err = recovery_mend_copies(b, super, g, r);
	ring_init(&ring, b, super, g);
	/* in a log that is full to the last block the old transactions begin there */
	if (!err && !(r->pending && r->end == r->tail))
		err = ring_end(&ring, r->end);
	if (!err)
		err = bdev_flush(b);
	if (err)
		return err;
	/* Only behind the flush: with the new epoch the old transactions do not exist any more. */
	h = (struct log_head){
		.epoch = r->epoch + 1, .seq = r->seq + 1, .tail = r->end, .tail_txid = r->next_txid
	};
	err = log_write_headers(&ring, &h);
	if (err)
		return err;
	if (r->unreadable)
		log_overwrite_bad(&ring);
	r->epoch = h.epoch;
	r->seq = h.seq;
	r->tail = r->end;
	r->pending = false;
	r->header_damaged[0] = r->header_damaged[1] = false;
	r->super_damaged[0] = r->super_damaged[1] = r->super_damaged[2] = false;
	r->unreadable = 0;
	r->lone_commits = 0;
	return 0;
}

void journal_recovery_free(struct tfs_recovery *r)
{
	overlay_free(r->overlay);
	r->overlay = NULL;
}

int journal_format(struct bdev *b, const struct tfs_super *super, const struct tfs_geom *g)
{
	struct log_head h = {
		.epoch = 1, .seq = 1, .tail = TFS_LOG_FIRST, .tail_txid = le64_get(super->txid) + 1
	};
	struct log_ring ring;
	int err;

	ring_init(&ring, b, super, g);
	err = ring_end(&ring, h.tail);
	return err ? err : log_write_headers(&ring, &h);
}
