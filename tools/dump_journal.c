/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tallydump: the journal. */
#include <errno.h>
#include <string.h>
#include "core/block/bdev.h"
#include "core/lib/util.h"
#include "fs/disk/log_ring.h"
#include "fs/disk/log_scan.h"
#include "fs/journal/recover.h"
#include "tallyfs/format.h"
#include "tools/dump.h"
#include "tools/dump_print.h"

static const char *record_name(uint32_t type)
{
	switch (type) {
	case TFS_REC_IMAGE:
		return "image";
	case TFS_REC_RANGE:
		return "range";
	case TFS_REC_REVOKE:
		return "revoke";
	case TFS_REC_DATA:
		return "data";
	}
	return "unknown";
}

/* The newer of the good headers; false: none is. */
static bool add_headers(struct json_object *o, const struct log_ring *ring, struct log_head *best)
{
	struct json_object *rows = dump_array(o, "headers"), *r;
	struct log_head h;
	bool any = false;
	int copy;

	for (copy = 0; copy < 2; copy++) {
		r = dump_row(rows);
		dump_u64(r, "copy", (uint64_t)copy);
		if (log_read_header(ring, copy, &h)) {
			dump_str(r, "damaged", "does not match its checksum");
			continue;
		}
		dump_u64(r, "epoch", h.epoch);
		dump_u64(r, "seq", h.seq);
		dump_u64(r, "tail", h.tail);
		dump_u64(r, "tail_txid", h.tail_txid);
		if (!any || h.seq > best->seq)
			*best = h;
		any = true;
	}
	return any;
}

static int skip(struct log_reader *lr, uint64_t len)
{
	uint8_t junk[512];
	uint64_t n;
	int err = 0;

	for (; len && !err; len -= n) {
		n = min_t(uint64_t, len, sizeof(junk));
		err = log_reader_get(lr, junk, n);
	}
	return err;
}

/* Records of a transaction whose payload matches its checksum. */
static int emit_records(struct dump *d, const struct log_ring *ring, const struct log_tx *tx)
{
	struct tfs_log_record rec;
	struct json_object *r;
	struct log_reader lr;
	int err = log_reader_open(&lr, ring, tx);

	while (!err && lr.left) {
		err = log_reader_get(&lr, &rec, sizeof(rec));
		if (err)
			break;
		r = json_object_new_object();
		dump_u64(r, "txid", tx->txid);
		dump_str(r, "type", record_name(le32_get(rec.type)));
		dump_u64(r, "block", le64_get(rec.block));
		dump_u64(r, "bytes", le32_get(rec.buf_bytes));
		dump_u64(r, "off", le32_get(rec.off));
		dump_u64(r, "len", le32_get(rec.len));
		dump_emit(d, r);
		err = skip(&lr, round_up_to(le32_get(rec.len), 8));
	}
	log_reader_close(&lr);
	return err == -EUCLEAN ? 0 : err;
}

/* The commit records found, and of which the payload matches: what is printed comes from the device
 * as it is printed, for 12 MiB of log may hold half a million records. */
struct found {
	struct log_ring ring;
	struct log_head head;
	struct log_found log;
	bool *good;
};

static void free_found(void *arg)
{
	struct found *f = arg;

	log_found_free(&f->log);
	tl_free(f->good);
	tl_free(f);
}

static int commits(struct dump *d, void *arg)
{
	struct found *f = arg;
	struct json_object *r;
	size_t i;

	for (i = 0; i < f->log.nr; i++) {
		const struct log_tx *tx = &f->log.commits[i];

		f->good[i] = log_commit_pos(&f->ring, tx) &&
			     !log_check_payload(&f->ring, tx, f->head.epoch);
		r = json_object_new_object();
		dump_u64(r, "txid", tx->txid);
		dump_u64(r, "copy", tx->copy);
		dump_u64(r, "pos", tx->pos);
		dump_u64(r, "start", tx->start);
		dump_u64(r, "payload_bytes", tx->payload_bytes);
		cli_json_hex(r, "payload_csum", tx->payload_csum);
		dump_u64(r, "durable_txid", tx->durable_txid);
		json_object_object_add(r, "payload_matches", json_object_new_boolean(f->good[i]));
		dump_emit(d, r);
	}
	return 0;
}

static int records(struct dump *d, void *arg)
{
	struct found *f = arg;
	size_t i;
	int err = 0;

	for (i = 0; i < f->log.nr && !err; i++)
		if (f->good[i] && (i == 0 || f->log.commits[i - 1].txid != f->log.commits[i].txid))
			err = emit_records(d, &f->ring, &f->log.commits[i]);
	return err ? dump_fail(d, err, "journal: %s", strerror(-err)) : 0;
}

static int find_commits(struct dump *d, const struct log_ring *ring, const struct log_head *head)
{
	struct found *f = tl_zalloc(sizeof(*f));
	int err;

	if (!f)
		return -ENOMEM;
	f->ring = *ring;
	f->head = *head;
	d->later_arg = f;
	d->later_free = free_found;
	err = log_find_commits(ring, head, &f->log);
	if (err)
		return err;
	f->good = tl_zalloc(f->log.nr * sizeof(*f->good));
	if (!f->good)
		return -ENOMEM;
	dump_later(d, "commits", commits);
	dump_later(d, "records", records);
	return 0;
}

static int add_verdict(struct dump *d, struct json_object *o)
{
	struct tfs_recovery r;
	int err = journal_recover_scan(d->bdev, &d->super, &d->geom, &r);

	if (err)
		return err;
	json_object_object_add(o, "pending", json_object_new_boolean(r.pending));
	if (r.pending) {
		dump_u64(o, "first_txid", r.first_txid);
		dump_u64(o, "last_txid", r.last_txid);
	}
	json_object_object_add(o, "corrupt", json_object_new_boolean(r.corrupt));
	if (r.corrupt)
		dump_str(o, "what", r.what);
	journal_recovery_free(&r);
	return 0;
}

int dump_journal(struct dump *d, struct json_object *o)
{
	struct log_head head = { 0 };
	struct log_ring ring;
	int err;

	ring_init(&ring, d->bdev, &d->super, &d->geom);
	dump_u64(o, "start_block", d->geom.journal_start);
	dump_u64(o, "log_blocks", ring.size + TFS_LOG_FIRST);
	err = add_verdict(d, o);
	if (!err && add_headers(o, &ring, &head))
		err = find_commits(d, &ring, &head);
	return err ? dump_fail(d, err, "journal: %s", strerror(-err)) : 0;
}
