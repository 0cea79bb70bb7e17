/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fs/journal/recover.c, recover_super.c, fs/disk/log_ring.c, log_scan.c, log_overlay.c: recovery:
 * torn tails, corruption, left-overs, hostile logs, crashes at every point.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "tests/lib/crashdev.h"
#include "tests/lib/faultdev.h"
#include "tests/lib/fixture_bare.h"
#include "tests/lib/random.h"
#include "tests/lib/seal.h"
#include "core/block/bdev.h"
#include "core/block/guard.h"
#include "core/lib/util.h"
#include "fs/disk/geom.h"
#include "fs/disk/log_ring.h"
#include "fs/disk/log_overlay.h"
#include "fs/disk/super.h"
#include "fs/journal/journal.h"
#include "fs/journal/recover.h"
#include "fs/vfs/mkfs.h"
#include "tallyfs/format.h"

/* A crashed file system with transactions 2 to 6: item 1 has the transaction's number. */
static void crashed(struct fixture *m)
{
	uint8_t i;

	fx_bare_create(m);
	for (i = 2; i <= 6; i++) {
		cr_assert_eq(journal_running_txid(m->fs), i);
		cr_assert_eq(fx_item_set(m, 1, i, 100), 0);
		cr_assert_eq(journal_commit_all(m->fs), 0);
	}
	fx_bare_crash(m);
}

static uint8_t *log_block(struct fixture *m, uint64_t pos)
{
	struct tfs_super s;
	struct tfs_geom g;

	cr_assert_eq(tfs_super_read(m->dev, 0, &s, &g, m->why, sizeof(m->why)), 0);
	return (uint8_t *)bdev_mem_data(m->dev) + (g.journal_start << g.blkbits) +
	       pos * TFS_LOG_BLOCK;
}

/* The commit record of @txid, if there is one. */
static struct tfs_log_commit *find_commit(struct fixture *m, uint64_t txid, unsigned int copy)
{
	struct tfs_log_commit *c, *found = NULL;
	uint64_t i;

	for (i = TFS_LOG_FIRST; i < 250; i++) {
		c = (struct tfs_log_commit *)log_block(m, i);
		if (le32_get(c->magic) == TFS_COMMIT_MAGIC && le64_get(c->txid) == txid &&
		    le32_get(c->copy) == copy)
			found = c;
	}
	return found;
}

static struct tfs_log_commit *commit_of(struct fixture *m, uint64_t txid, unsigned int copy)
{
	struct tfs_log_commit *c = find_commit(m, txid, copy);

	cr_assert(c);
	return c;
}

static uint64_t seed_of(struct fixture *m)
{
	struct tfs_super s;
	struct tfs_geom g;

	cr_assert_eq(tfs_super_read(m->dev, 0, &s, &g, m->why, sizeof(m->why)), 0);
	return le64_get(s.seed);
}

static void opens_with(struct fixture *m, int value)
{
	cr_assert_eq(fx_bare_open(m), 0, "%s", m->why);
	cr_assert_eq(fx_item_get(m, 1), value);
	fx_bare_crash(m);
}

/* No mount for writing; reading only shows what came before transaction @txid. */
static void refused(struct fixture *m, uint64_t txid, int value)
{
	struct tfs_recovery r;
	struct tfs_super s;
	struct tfs_geom g;

	cr_assert_eq(fx_bare_open(m), -EUCLEAN);
	cr_assert(strstr(m->why, "the journal is damaged"), "%s", m->why);
	cr_assert_eq(tfs_super_read(m->dev, 0, &s, &g, m->why, sizeof(m->why)), 0);
	cr_assert_eq(journal_recover_scan(m->dev, &s, &g, &r), 0);
	cr_assert(r.corrupt);
	cr_assert_eq(r.corrupt_txid, txid);
	cr_assert_eq(journal_recover_apply(m->dev, &s, &g, &r), -EUCLEAN);
	journal_recovery_free(&r);
	m->opts.ro = true;
	if (value >= 0)
		opens_with(m, value);
	m->opts.ro = false;
}

Test(recover, read_only_writes_nothing)
{
	struct fixture m;
	struct bdev *copy;

	crashed(&m);
	copy = fx_copy_dev(m.dev);
	m.opts.ro = true;
	m.dev->read_only = true;
	opens_with(&m, 6);
	m.opts.norecovery = true;
	opens_with(&m, -ENOENT);
	cr_assert_eq(memcmp(bdev_mem_data(copy), bdev_mem_data(m.dev), copy->size), 0);
	bdev_close(copy);
	fx_bare_destroy(&m);
}

Test(recover, torn_tail_is_ignored)
{
	struct fixture m;

	crashed(&m);
	memset(commit_of(&m, 6, 0), 0x11, 4096);
	opens_with(&m, 6); /* the other record is enough */
	fx_bare_destroy(&m);

	crashed(&m);
	memset(commit_of(&m, 6, 0), 0x11, 4096);
	memset(commit_of(&m, 6, 1), 0x11, 4096);
	opens_with(&m, 5);
	opens_with(&m, 5); /* and again, for it is at home now */
	fx_bare_destroy(&m);
}

Test(recover, damaged_payload)
{
	struct fixture m;

	crashed(&m);
	log_block(&m, le64_get(commit_of(&m, 5, 0)->start))[100] ^= 4;
	refused(&m, 5, 4);
	fx_bare_destroy(&m);

	crashed(&m);
	log_block(&m, le64_get(commit_of(&m, 6, 0)->start))[100] ^= 4;
	refused(&m, 6, 5);
	fx_bare_destroy(&m);
}

Test(recover, lost_commit_record)
{
	struct fixture m;

	crashed(&m);
	memset(commit_of(&m, 4, 0), 0, 4096);
	opens_with(&m, 6);
	fx_bare_destroy(&m);

	crashed(&m);
	memset(commit_of(&m, 4, 0), 0, 4096);
	memset(commit_of(&m, 4, 1), 0, 4096);
	refused(&m, 4, 3);
	fx_bare_destroy(&m);
}

Test(recover, headers)
{
	struct fixture m;
	int copy;

	for (copy = 0; copy < 2; copy++) {
		crashed(&m);
		log_block(&m, (uint64_t)copy)[20] ^= 1;
		opens_with(&m, 6);
		opens_with(&m, 6); /* written anew: */
		log_block(&m, (uint64_t)!copy)[20] ^= 1;
		opens_with(&m, 6);
		fx_bare_destroy(&m);
	}
	crashed(&m);
	log_block(&m, 0)[20] ^= 1;
	log_block(&m, 1)[20] ^= 1;
	refused(&m, 0, -1);
	fx_bare_destroy(&m);
}

/* A checkpoint that got no further than the superblock, and then the last commit records went
 * bad. */
Test(recover, superblock_knows_more)
{
	struct tfs_super *s;
	struct fixture m;

	crashed(&m);
	s = (struct tfs_super *)((char *)bdev_mem_data(m.dev) + TFS_SUPER_OFFSET);
	s->txid = le64_of(6);
	tfs_super_seal(s);
	opens_with(&m, 6);
	fx_bare_destroy(&m);
	crashed(&m);
	memset(commit_of(&m, 6, 0), 0, 4096);
	memset(commit_of(&m, 6, 1), 0, 4096);
	s = (struct tfs_super *)((char *)bdev_mem_data(m.dev) + TFS_SUPER_OFFSET);
	s->txid = le64_of(6);
	tfs_super_seal(s);
	refused(&m, 6, 5);
	fx_bare_destroy(&m);
}

/* Commit records that are whole, but of another epoch, seed or place, do not exist. */
Test(recover, left_overs)
{
	struct tfs_log_commit *c, *to;
	struct fixture m;
	int what;

	for (what = 0; what < 4; what++) {
		crashed(&m);
		to = (struct tfs_log_commit *)log_block(&m, 200);
		c = commit_of(&m, 6, 0);
		*to = *c;
		to->pos = le64_of(what == 2 ? 199 : 200);
		to->txid = le64_of(7);
		if (what == 0)
			to->epoch = le64_of(le64_get(c->epoch) - 1);
		to->csum = le64_of(log_csum(to, what == 1 ? 99 : seed_of(&m)));
		if (what == 3) /* this one counts, and does not fit */
			refused(&m, 7, 6);
		else
			opens_with(&m, 6);
		fx_bare_destroy(&m);
	}
	/* what an earlier mount left in the log */
	crashed(&m);
	opens_with(&m, 6);
	cr_assert_eq(fx_bare_open(&m), 0);
	cr_assert_eq(fx_item_set(&m, 1, 77, 100), 0);
	cr_assert_eq(journal_commit_all(m.fs), 0);
	fx_bare_crash(&m);
	opens_with(&m, 77);
	fx_bare_destroy(&m);
}

/* Both header writes of a mount were lost: what it committed shows it. */
Test(recover, headers_of_an_older_epoch)
{
	uint8_t old[2 * TFS_LOG_BLOCK];
	struct fixture m;

	crashed(&m);
	memcpy(old, log_block(&m, 0), sizeof(old));
	opens_with(&m, 6);
	cr_assert_eq(fx_bare_open(&m), 0);
	cr_assert_eq(fx_item_set(&m, 1, 77, 100), 0);
	cr_assert_eq(journal_commit_all(m.fs), 0);
	fx_bare_crash(&m);
	memcpy(log_block(&m, 1), old + TFS_LOG_BLOCK, TFS_LOG_BLOCK);
	opens_with(&m, 77); /* one header is enough */
	fx_bare_destroy(&m);

	crashed(&m);
	memcpy(old, log_block(&m, 0), sizeof(old));
	opens_with(&m, 6);
	cr_assert_eq(fx_bare_open(&m), 0);
	cr_assert_eq(fx_item_set(&m, 1, 77, 100), 0);
	cr_assert_eq(journal_commit_all(m.fs), 0);
	fx_bare_crash(&m);
	memcpy(log_block(&m, 0), old, sizeof(old));
	cr_assert_eq(fx_bare_open(&m), -EUCLEAN);
	cr_assert(strstr(m.why, "of epoch"), "%s", m.why);
	/* the old transactions are not shown over what came later */
	m.opts.ro = true;
	cr_assert_eq(fx_bare_open(&m), -EUCLEAN);
	fx_bare_destroy(&m);
}

/* On a device that can't read log blocks [pos, pos + n), and then reads what is written there. */
static int open_without(struct fixture *m, uint64_t pos, uint64_t n, bool ro)
{
	struct bdev *mem = m->dev, *copy = fx_copy_dev(m->dev), *dev = faultdev_create(copy);
	uint64_t i;
	int err;

	for (i = pos; i < pos + n; i++)
		faultdev_plan(dev, .kind = FAULT_ERROR, .ops = FAULT_READ,
			      .off = (uint64_t)(log_block(m, i) - (uint8_t *)bdev_mem_data(mem)),
			      .len = 512, .times = FAULT_ALWAYS);
	m->dev = dev;
	m->opts.ro = ro;
	err = fx_bare_open(m);
	if (!err)
		err = fx_item_get(m, 1);
	fx_bare_crash(m);
	m->dev = mem;
	memcpy(bdev_mem_data(mem), bdev_mem_data(copy), mem->size);
	bdev_close(dev);
	m->opts.ro = false;
	return err;
}

Test(recover, unreadable_blocks)
{
	uint64_t start, commit;
	struct fixture m;

	/* somewhere in the free part: none of ours; written over */
	crashed(&m);
	memset(log_block(&m, 100), 0x11, TFS_LOG_BLOCK);
	cr_assert_eq(open_without(&m, 100, 1, true), 6);
	cr_assert_eq(open_without(&m, 100, 1, false), 6, "%s", m.why);
	cr_assert_eq(log_block(&m, 100)[0], 0);
	opens_with(&m, 6);
	fx_bare_destroy(&m);

	/* one of two commit records */
	crashed(&m);
	commit = le64_get(commit_of(&m, 6, 0)->pos);
	cr_assert_eq(open_without(&m, commit, 1, false), 6);
	fx_bare_destroy(&m);

	/* a payload that counts: committed, and gone */
	crashed(&m);
	start = le64_get(commit_of(&m, 5, 0)->start);
	cr_assert_eq(open_without(&m, start, 1, true), 4);
	cr_assert_eq(open_without(&m, start, 1, false), -EUCLEAN);
	cr_assert(strstr(m.why, "can't be read"), "%s", m.why);
	fx_bare_destroy(&m);

	/* both records of the last one: its payload lies where the chain leads to */
	crashed(&m);
	commit = le64_get(commit_of(&m, 6, 0)->pos);
	cr_assert_eq(open_without(&m, commit, 2, false), -EUCLEAN);
	cr_assert_eq(open_without(&m, commit, 2, true), 5);
	fx_bare_destroy(&m);

	/* two in a row, but no payload leads there: nothing begins behind the last transaction */
	crashed(&m);
	cr_assert_eq(open_without(&m, 100, 2, false), 6, "%s", m.why);
	fx_bare_destroy(&m);
}

/* The log is empty, but not for the device: what an earlier epoch left, and what nobody has ever
 * written. */
Test(recover, unreadable_blocks_of_an_empty_log)
{
	struct fixture m;
	uint64_t pos;

	crashed(&m);
	opens_with(&m, 6);
	m.opts.whole_journal = true;
	for (pos = TFS_LOG_FIRST; pos < 60; pos++)
		cr_assert_eq(open_without(&m, pos, 2, true), 6, "blocks %llu: %s",
			     (unsigned long long)pos, m.why);
	cr_assert_eq(fx_bare_open(&m), 0, "%s", m.why);
	cr_assert_eq(fx_item_set(&m, 1, 9, 100), 0);
	fx_bare_close(&m);
	for (pos = TFS_LOG_FIRST; pos < 60; pos++)
		cr_assert_eq(open_without(&m, pos, 2, true), 9, "blocks %llu: %s",
			     (unsigned long long)pos, m.why);
	fx_bare_destroy(&m);
}

/* How many log blocks from @pos on were never written: they hold 0x99. */
static uint64_t virgin(struct fixture *m, uint64_t pos)
{
	uint64_t n = 0;

	while (pos + n < 250 && log_block(m, pos + n)[77] == 0x99)
		n++;
	return n;
}

/* Some devices can't read what was never written.  The log ends with a block that was. */
Test(recover, never_written_blocks)
{
	struct tfs_format_opts o = { .journal_bytes = 1000 << 10, .test_seed = 42 };
	struct tfs_super super;
	struct tfs_geom geom;
	struct fixture m;
	uint64_t pos;
	uint8_t i;

	fx_bare_create(&m);
	m.opts.whole_journal = true;
	fx_bare_crash(&m);
	memset(bdev_mem_data(m.dev), 0x99, m.dev->size);
	o.node_size = 4096;
	o.blocks_per_group = 256;
	cr_assert_eq(tfs_format_plan(m.dev, &o, &super, &geom, m.why, sizeof(m.why)), 0, "%s",
		     m.why);
	cr_assert_eq(tfs_format_write(m.dev, &o, &super, &geom), 0);
	cr_assert_eq(open_without(&m, TFS_LOG_FIRST + 1, 200, true), -ENOENT, "%s", m.why);
	for (i = 1; i < 5; i++) {
		cr_assert_eq(fx_bare_open(&m), 0, "%s", m.why);
		cr_assert_eq(fx_item_set(&m, 1, i, 100), 0);
		cr_assert_eq(journal_commit_all(m.fs), 0);
		if (i == 2)
			cr_assert_eq(journal_checkpoint(m.fs), 0);
		fx_bare_crash(&m);
		for (pos = 249; log_block(&m, pos)[77] == 0x99; pos--)
			;
		cr_assert_gt(virgin(&m, pos + 1), 100);
		cr_assert_eq(open_without(&m, pos + 1, virgin(&m, pos + 1), true), i, "%s", m.why);
	}
	fx_bare_destroy(&m);
}

/* Make the log of transaction @txid say what its payload says now. */
static void reseal(struct fixture *m, uint64_t txid)
{
	struct tfs_log_commit *c;
	struct seal s;
	uint64_t pos;

	cr_assert_eq(seal_open(&s, bdev_mem_data(m->dev)), 0);
	for (pos = TFS_LOG_FIRST; pos < seal_log_blocks(&s); pos++) {
		c = seal_log_at(&s, pos);
		if (le32_get(c->magic) == TFS_COMMIT_MAGIC && le64_get(c->txid) == txid)
			seal_commit(&s, pos);
	}
}

Test(recover, records_that_make_no_sense)
{
	enum { TYPE, LEN, BLOCK, JOURNAL, BYTES, OFF, NR };
	struct tfs_log_record *r;
	struct fixture m;
	int what;

	for (what = 0; what < NR; what++) {
		crashed(&m);
		r = (struct tfs_log_record *)log_block(&m, le64_get(commit_of(&m, 4, 0)->start));
		if (what == TYPE)
			r->type = le32_of(TFS_REC_DATA);
		else if (what == LEN)
			r->len = le32_of(0xfffffff0);
		else if (what == BLOCK)
			r->block = le64_of(UINT64_MAX);
		else if (what == JOURNAL)
			r->block = le64_of(
				(uint64_t)(log_block(&m, 0) - (uint8_t *)bdev_mem_data(m.dev)) /
				4096);
		else if (what == BYTES)
			r->buf_bytes = le32_of(1 << 30);
		else
			r->off = le32_of(0xffffffff);
		reseal(&m, 4);
		refused(&m, 4, 3);
		fx_bare_destroy(&m);
	}
}

/* An image is believed only for a place where something of its size and kind belongs. */
Test(recover, images_out_of_place)
{
	struct tfs_log_record *r;
	struct fixture m;
	uint64_t places[2];
	unsigned int k;

	for (k = 0; k < ARRAY_SIZE(places); k++) {
		struct seal s;

		crashed(&m);
		cr_assert_eq(seal_open(&s, bdev_mem_data(m.dev)), 0);
		places[0] = s.geom.journal_start + 1;
		places[1] = 0;
		r = (struct tfs_log_record *)log_block(&m, le64_get(commit_of(&m, 2, 0)->start));
		cr_assert_eq(le32_get(r->type), TFS_REC_IMAGE);
		cr_assert_eq(le32_get(r->buf_bytes), s.geom.node_size);
		r->block = le64_of(places[k]);
		reseal(&m, 2);
		refused(&m, 2, -1);
		fx_bare_destroy(&m);
	}
}

/* Is there an image for @block in what recovery makes of the log? */
static bool replayed(struct fixture *m, uint64_t block)
{
	struct tfs_recovery r;
	struct tfs_super s;
	struct tfs_geom g;
	uint32_t bytes;
	bool there;

	cr_assert_eq(tfs_super_read(m->dev, 0, &s, &g, m->why, sizeof(m->why)), 0);
	cr_assert_eq(journal_recover_scan(m->dev, &s, &g, &r), 0);
	cr_assert(!r.corrupt, "%s", r.what);
	there = r.overlay && overlay_lookup(r.overlay, block, &bytes);
	journal_recovery_free(&r);
	return there;
}

/* The log says that blocks were freed: nothing it has for them counts, up to that transaction. */
Test(recover, revoked)
{
	struct tfs_log_record revoke = { .type = le32_of(TFS_REC_REVOKE), .off = le32_of(4) };
	struct tfs_log_commit *c;
	uint64_t block, tx, bytes;
	unsigned int i;
	struct fixture m;

	for (tx = 5; tx <= 6; tx++) {
		crashed(&m);
		cr_assert_eq(fx_bare_open(&m), 0);
		block = m.fs->roots[TFS_TREE_FS].addr;
		fx_bare_crash(&m);
		fx_bare_destroy(&m);

		crashed(&m);
		cr_assert(replayed(&m, block));
		revoke.block = le64_of(block - 3);
		/* the transaction's last word */
		bytes = le64_get(commit_of(&m, tx, 0)->payload_bytes);
		cr_assert_leq(bytes % TFS_LOG_BLOCK + sizeof(revoke), TFS_LOG_BLOCK,
			      "no room for it");
		memcpy(log_block(&m, le64_get(commit_of(&m, tx, 0)->start)) + bytes, &revoke,
		       sizeof(revoke));
		for (i = 0; i < 2; i++) {
			c = find_commit(&m, tx, i);
			if (c)
				c->payload_bytes = le64_of(bytes + sizeof(revoke));
		}
		reseal(&m, tx);
		if (tx == 6)
			cr_assert(!replayed(&m, block));
		else
			refused(&m, 6, -1); /* a range that comes later has no image any more */
		fx_bare_destroy(&m);
	}
}

/* Whatever the log holds: no crash, and without a fixed-up checksum nothing wrong is believed. */
Test(recover, random_damage)
{
	uint64_t rng = test_seed(11), n, i, pos;
	struct fixture m;
	struct bdev *good;
	int err;

	crashed(&m);
	good = fx_copy_dev(m.dev);
	for (n = 0; n < 300; n++) {
		memcpy(bdev_mem_data(m.dev), bdev_mem_data(good), good->size);
		for (i = 0; i <= n % 3; i++) {
			pos = test_rand(&rng) % 40;
			log_block(&m, pos)[test_rand(&rng) % (n & 1 ? 64 : 4096)] ^=
				(uint8_t)(1 << test_rand(&rng) % 8);
		}
		if (n % 4 >= 2)
			reseal(&m, 2 + n % 5);
		m.opts.ro = n % 5 == 0;
		err = fx_bare_open(&m);
		if (!err && n % 4 < 2 && !m.opts.ro) {
			err = fx_item_get(&m, 1);
			cr_assert(err >= 2 && err <= 6, "%d", err);
		} else if (!err) {
			fx_item_get(&m, 1);
		}
		fx_bare_crash(&m);
	}
	bdev_close(good);
	fx_bare_destroy(&m);
}

static void check_image(struct fixture *m, const void *image, int value)
{
	memcpy(bdev_mem_data(m->dev), image, m->dev->size);
	opens_with(m, value);
}

/* A crash anywhere in recovery, and a crash in recovering from that. */
Test(recover, interrupted)
{
	uint64_t rng = test_seed(5), i, events;
	struct crashdev *cd;
	struct bdev *dev;
	struct fixture m;
	void *image;
	int mode;

	crashed(&m);
	image = tl_alloc_aligned(4096, m.dev->size);
	for (mode = 0; mode < CRASH_MODES; mode++) {
		struct bdev *good = fx_copy_dev(m.dev);

		cd = crashdev_create(bdev_mem_data(good), good->size);
		dev = m.dev;
		m.dev = crashdev_bdev(cd);
		opens_with(&m, 6);
		m.dev = dev;
		events = crashdev_events(cd);
		cr_assert_gt(events, 5);
		for (i = 0; i <= events; i++) {
			crashdev_image(cd, i, (enum crash_mode)mode, &rng, image);
			check_image(&m, image, 6);
		}
		crashdev_destroy(cd);
		memcpy(bdev_mem_data(m.dev), bdev_mem_data(good), good->size);
		bdev_close(good);
	}
	tl_free(image);
	fx_bare_destroy(&m);
}

/* A flush that fails fails the mount; the next one finds all of it. */
Test(recover, each_failed_flush)
{
	struct bdev *mem, *dev;
	unsigned int n, failed = 0;
	struct fixture m;
	bool struck = true;
	int err;

	crashed(&m);
	mem = m.dev;
	for (n = 1; struck; n++) {
		m.dev = fx_copy_dev(mem);
		dev = m.dev = faultdev_create(m.dev);
		faultdev_plan(dev, .kind = FAULT_ERROR, .ops = FAULT_FLUSH, .nth = n);
		err = fx_bare_open(&m);
		struck = faultdev_struck(dev, NULL, NULL);
		cr_assert_eq(err, struck ? -EIO : 0, "flush %u: %s", n, m.why);
		failed += struck;
		faultdev_clear(dev);
		if (!err)
			fx_bare_crash(&m);
		opens_with(&m, 6);
		bdev_close(dev);
	}
	/* home, primary, the log's end, two headers */
	cr_assert_eq(failed, 5);
	m.dev = mem;
	fx_bare_destroy(&m);
}

/* Power cuts at every event of commits and checkpoints: never less than was durable, never half a
 * transaction. */
Test(recover, power_cuts)
{
	uint64_t rng = test_seed(9), i, events, at[64];
	struct crashdev *cd;
	struct bdev *mem;
	struct fixture m;
	void *image;
	int mode, fua, v, k, durable;

	fx_bare_create(&m);
	fx_bare_close(&m);
	image = tl_alloc_aligned(4096, m.dev->size);
	mem = m.dev;
	for (fua = 0, mode = 0; mode < CRASH_MODES; mode += fua, fua = !fua) {
		struct bdev *good = fx_copy_dev(m.dev);

		cd = crashdev_create(bdev_mem_data(good), good->size);
		crashdev_allow_fua(cd, fua);
		m.dev = crashdev_bdev(cd);
		cr_assert_eq(fx_bare_open(&m), 0, "%s", m.why);
		for (v = 0; v < 12; v++) {
			for (k = 1; k <= 30; k++)
				cr_assert_eq(
					fx_item_set(&m, (uint64_t)k * 7, (uint8_t)(v + 1), 400), 0);
			cr_assert_eq(v % 4 == 3 ? journal_checkpoint(m.fs)
						: journal_commit_all(m.fs),
				     0);
			at[v] = crashdev_events(cd);
		}
		fx_bare_crash(&m);
		m.dev = mem;
		events = crashdev_events(cd);
		for (i = 0, durable = 0; i <= events; i++) {
			while (durable < 12 && at[durable] <= i)
				durable++;
			crashdev_image(cd, i, (enum crash_mode)mode, &rng, image);
			memcpy(bdev_mem_data(m.dev), image, m.dev->size);
			cr_assert_eq(fx_bare_open(&m), 0, "%s", m.why);
			for (k = 1; k <= 30; k++) {
				v = fx_item_get(&m, (uint64_t)k * 7);
				cr_assert(v >= durable || (v == -ENOENT && !durable),
					  "item %d is %d, %d was durable", k, v, durable);
				cr_assert_leq(v, durable + 1);
			}
			fx_bare_crash(&m);
		}
		crashdev_destroy(cd);
		memcpy(bdev_mem_data(m.dev), bdev_mem_data(good), good->size);
		bdev_close(good);
	}
	tl_free(image);
	fx_bare_destroy(&m);
}

Test(recover, no_memory)
{
	struct fixture m;
	struct bdev *good;
	uint64_t n;
	int err = -ENOMEM;

	crashed(&m);
	good = fx_copy_dev(m.dev);
	for (n = 1; err == -ENOMEM; n++) {
		memcpy(bdev_mem_data(m.dev), bdev_mem_data(good), good->size);
		tl_alloc_fail_nth(n);
		err = fx_bare_open(&m);
		tl_alloc_fail_nth(0);
	}
	cr_assert_eq(err, 0, "%d %s", err, m.why);
	cr_assert_eq(fx_item_get(&m, 1), 6);
	bdev_close(good);
	fx_bare_destroy(&m);
}

/* ---- the overlay by itself ---- */

static int collect(void *arg, uint64_t block, uint32_t bytes, const void *data)
{
	uint64_t *sum = arg;

	cr_assert_gt(block, *sum % 100000, "in block order");
	*sum = block;
	return block == 30000;
}

Test(overlay, records)
{
	struct tfs_overlay *o = overlay_create(512);
	uint8_t img[4096];
	uint64_t seen = 0, i;
	uint32_t bytes;

	memset(img, 1, sizeof(img));
	cr_assert_eq(overlay_image(o, 10, img, 4096), 0);
	cr_assert_eq(overlay_range(o, 10, 4096, 4000, "abcd", 4), 0);
	cr_assert_eq(memcmp((const char *)overlay_lookup(o, 10, &bytes) + 4000, "abcd\1", 5), 0);
	cr_assert_eq(bytes, 4096);
	cr_assert_eq(overlay_range(o, 11, 4096, 0, "abcd", 4), -EUCLEAN, "no image before it");
	cr_assert_eq(overlay_range(o, 10, 1024, 0, "abcd", 4), -EUCLEAN, "another size");
	cr_assert_eq(overlay_range(o, 10, 4096, 4095, "abcd", 4), -EUCLEAN);
	overlay_end_tx(o);
	cr_assert_eq(overlay_revoke(o, 10, 1), 0);
	cr_assert_eq(overlay_image(o, 10, img, 4096), 0);
	cr_assert_eq(overlay_range(o, 10, 4096, 0, "abcd", 4), 0);
	overlay_end_tx(o);
	cr_assert_null(overlay_lookup(o, 10, &bytes),
		       "an earlier one, and those of the same transaction");
	cr_assert_eq(overlay_image(o, 10, img, 1024), 0);
	overlay_end_tx(o);
	cr_assert(overlay_lookup(o, 10, &bytes));
	cr_assert_eq(bytes, 1024);
	for (i = 40000; i > 20000; i -= 7)
		cr_assert_eq(overlay_image(o, i, img, 1024), 0);
	cr_assert_eq(overlay_image(o, 30000, img, 1024), 0);
	cr_assert_eq(overlay_each(o, collect, &seen), 1);
	cr_assert_eq(seen, 30000);
	overlay_free(o);
	overlay_free(NULL);
}

/* Which of 5,000 blocks are left, against a plain array: few revokes and many, apart, touching,
 * overlapping. */
Test(overlay, revokes)
{
	static bool there[5000];
	uint64_t rng = test_seed(3), tx, k, b, n, max;
	uint8_t img[512] = { 0 };
	struct tfs_overlay *o = overlay_create(512);
	uint32_t bytes;

	for (tx = 0; tx < 60; tx++) {
		for (k = test_rand(&rng) % 600; k; k--) {
			b = test_rand(&rng) % ARRAY_SIZE(there);
			cr_assert_eq(overlay_image(o, b, img, sizeof(img)), 0);
			there[b] = true;
		}
		max = tx % 3 == 2 ? 2000 : tx % 3 * 5;
		for (k = 0; k < max; k++) {
			b = test_rand(&rng) % (ARRAY_SIZE(there) - 64);
			n = 1 + test_rand(&rng) % (tx % 2 ? 64 : 2);
			cr_assert_eq(overlay_revoke(o, b, (uint32_t)n), 0);
			memset(there + b, 0, n);
		}
		overlay_end_tx(o);
		for (b = 0; b < ARRAY_SIZE(there); b++)
			cr_assert_eq(overlay_lookup(o, b, &bytes) != NULL, there[b],
				     "transaction %llu, block %llu", (unsigned long long)tx,
				     (unsigned long long)b);
	}
	overlay_free(o);
}

/* The log says it in 24 bytes: it must not take many times that, nor time with the square of it. */
Test(overlay, a_log_full_of_revokes)
{
	struct tfs_overlay *o = overlay_create(512);
	uint64_t i;

	tl_alloc_fail_nth(0); /* counts from here on */
	for (i = 0; i < 500000; i++)
		cr_assert_eq(overlay_revoke(o, i * 7919 % 500000 * 128, 64), 0);
	overlay_end_tx(o);
	cr_assert_lt(tl_alloc_count(), 100, "memory for each of them");
	overlay_free(o);
}
