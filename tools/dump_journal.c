/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tallydump: the journal. */
#include <errno.h>
#include <string.h>
#include "fs/journal.h"
#include "fs/log_scan.h"
#include "tools/dump.h"

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
static int add_records(struct json_object *tx_rows, const struct log_ring *ring, const struct log_tx *tx)
{
	struct tfs_log_record rec;
	struct json_object *r;
	struct log_reader lr;
	int err = log_reader_open(&lr, ring, tx);

	while (!err && lr.left) {
		err = log_reader_get(&lr, &rec, sizeof(rec));
		if (err)
			break;
		r = dump_row(tx_rows);
		dump_u64(r, "txid", tx->txid);
		dump_str(r, "type", record_name(le32_get(rec.type)));
		dump_u64(r, "block", le64_get(rec.block));
		dump_u64(r, "bytes", le32_get(rec.buf_bytes));
		dump_u64(r, "off", le32_get(rec.off));
		dump_u64(r, "len", le32_get(rec.len));
		err = skip(&lr, round_up_to(le32_get(rec.len), 8));
	}
	log_reader_close(&lr);
	return err == -EUCLEAN ? 0 : err;
}

static int add_commits(struct json_object *o, const struct log_ring *ring, const struct log_head *head)
{
	struct json_object *rows = dump_array(o, "commits"), *records = dump_array(o, "records"), *r;
	struct log_tx *list;
	size_t nr, i;
	bool good;
	int err = log_find_commits(ring, head, &list, &nr);

	if (err)
		return err;
	for (i = 0; i < nr && !err; i++) {
		good = log_commit_pos(ring, &list[i]) && !log_check_payload(ring, &list[i], head->epoch);
		r = dump_row(rows);
		dump_u64(r, "txid", list[i].txid);
		dump_u64(r, "copy", list[i].copy);
		dump_u64(r, "pos", list[i].pos);
		dump_u64(r, "start", list[i].start);
		dump_u64(r, "payload_bytes", list[i].payload_bytes);
		cli_json_hex(r, "payload_csum", list[i].payload_csum);
		dump_u64(r, "durable_txid", list[i].durable_txid);
		json_object_object_add(r, "payload_matches", json_object_new_boolean(good));
		if (good && (i == 0 || list[i - 1].txid != list[i].txid))
			err = add_records(records, ring, &list[i]);
	}
	tl_free(list);
	return err;
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
		err = add_commits(o, &ring, &head);
	return err ? dump_fail(d, err, "journal: %s", strerror(-err)) : 0;
}
