/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Making a file system.  Everything but a few structures is left as it lies on the
 * device: what has no header yet is fresh by definition, and what was there
 * before can't verify under the new seed.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include "core/block/bdev.h"
#include "core/block/integrity.h"
#include "core/lib/util.h"
#include "fs/disk/block_bitmap.h"
#include "fs/disk/geom.h"
#include "fs/disk/group.h"
#include "fs/disk/super.h"
#include "fs/journal/recover.h"
#include "fs/state/backing.h"
#include "fs/vfs/mkfs.h"
#include "tallyfs/format.h"

#define MIN_BYTES (2ull << 20)
#define MIN_JOURNAL (1ull << 20)
/* up to here a device gives a sixteenth: below, each operation is a commit */
#define SMALL_JOURNAL (16ull << 20)
#define MAX_AUTO_JOURNAL (64ull << 20)
#define MAX_INLINE 2048u
#define FORMAT_TXID 1

__attribute__((format(printf, 3, 4))) static int refuse(char *why, size_t why_len, const char *fmt,
							...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, why_len, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

/* ---- planning ---- */

static int plan_sizes(struct bdev *b, const struct tfs_format_opts *o, struct tfs_super *s,
		      char *why, size_t why_len)
{
	uint32_t bs = o->block_size ? o->block_size : TFS_DEFAULT_BLOCK;
	uint32_t ns = o->node_size ? o->node_size : max_t(uint32_t, TFS_DEFAULT_NODE, bs);
	uint32_t bpg = o->blocks_per_group ? o->blocks_per_group : 8 * bs;

	if (!is_pow2(bs) || bs < TFS_MIN_BLOCK || bs > TFS_MAX_BLOCK)
		return refuse(why, why_len, "block size %u: must be a power of two from %u to %u",
			      bs, TFS_MIN_BLOCK, TFS_MAX_BLOCK);
	if (bs < b->align)
		return refuse(why, why_len,
			      "block size %u: the device can't write less than %u bytes at once",
			      bs, b->align);
	if (!is_pow2(ns) || ns < TFS_MIN_NODE || ns > TFS_MAX_NODE || ns < bs)
		return refuse(why, why_len,
			      "node size %u: must be a power of two from %u to %u and no less than "
			      "the block size",
			      ns, TFS_MIN_NODE, TFS_MAX_NODE);
	if (bpg > 8 * bs || bpg % 64 || bpg < 128)
		return refuse(why, why_len,
			      "%u blocks per group: must be a multiple of 64 from 128 to %u", bpg,
			      8 * bs);
	if (o->guard && o->guard != TFS_GUARD_XXH3 && o->guard != TFS_GUARD_CRC32)
		return refuse(why, why_len, "guard %d is not known", (int)o->guard);
	s->block_size = le32_of(bs);
	s->node_size = le32_of(ns);
	s->blocks_per_group = le32_of(bpg);
	s->guard = le32_of(o->guard ? o->guard : TFS_GUARD_XXH3);
	s->inline_max = le32_of(min_t(uint32_t, min_t(uint32_t, MAX_INLINE, bs), TFS_MAX_ITEM(ns)));
	return 0;
}

static void set_total(struct tfs_super *s, uint64_t total)
{
	s->total_blocks = le64_of(total);
	s->nr_groups = le64_of(div_up(total, le32_get(s->blocks_per_group)));
}

/* Number of blocks and groups; a last group without room for its own structures is left out. */
static int plan_groups(struct bdev *b, const struct tfs_format_opts *o, struct tfs_super *s,
		       struct tfs_geom *g, char *why, size_t why_len)
{
	uint64_t size = o->size ? o->size : b->size, total;
	uint32_t bs = le32_get(s->block_size), bpg = le32_get(s->blocks_per_group);

	if (size > b->size)
		return refuse(why, why_len, "%llu bytes wanted, but the device has only %llu",
			      (unsigned long long)size, (unsigned long long)b->size);
	if (size < MIN_BYTES)
		return refuse(why, why_len, "too small: %llu bytes, at least %llu are needed",
			      (unsigned long long)size, MIN_BYTES);
	total = size / bs;
	if (total > 1ull << 48)
		return refuse(why, why_len, "too large: more than 2^48 blocks");
	set_total(s, total);
	if (!tfs_geom_layout(s, g))
		return 0;
	if (total > bpg && total % bpg) {
		set_total(s, total - total % bpg);
		if (!tfs_geom_layout(s, g))
			return 0;
	}
	return refuse(why, why_len, "too small: no room for the structures of a group");
}

/* Blocks in a row that nothing else uses in a fresh @group; *start is the first, on a log block's
 * boundary. */
static uint64_t journal_room(const struct tfs_geom *g, uint64_t group, uint64_t *start)
{
	uint64_t unit = div_up(TFS_LOG_BLOCK, g->block_size), end;

	end = tfs_group_start(g, group) + tfs_group_nr_blocks(g, group);
	if (end > g->super_copies[0] && group == 0)
		end = g->super_copies[0];
	if (g->super_copies[1] && end > g->super_copies[1])
		end = g->super_copies[1];
	*start = round_up_to(tfs_group_first_free(g, group), unit);
	return *start < end ? round_down_to(end - *start, unit) : 0;
}

static uint64_t auto_journal(uint64_t bytes)
{
	uint64_t want = max_t(uint64_t, min_t(uint64_t, bytes / 16, SMALL_JOURNAL), bytes / 64);

	return min_t(uint64_t, max_t(uint64_t, want, MIN_JOURNAL), MAX_AUTO_JOURNAL);
}

static int plan_journal(const struct tfs_format_opts *o, struct tfs_super *s,
			const struct tfs_geom *g, char *why, size_t why_len)
{
	uint64_t bytes = g->total_blocks << g->blkbits, unit = div_up(TFS_LOG_BLOCK, g->block_size);
	uint64_t least = tfs_geom_min_journal(g), want = o->journal_bytes, start, room, start1,
		 room1;

	if (want && (want < least || want > TFS_MAX_JOURNAL))
		return refuse(
			why, why_len,
			"journal size %llu: must be from %llu (with this node size) to %llu bytes",
			(unsigned long long)want, (unsigned long long)least, TFS_MAX_JOURNAL);
	if (want > bytes / 2)
		return refuse(why, why_len, "journal size %llu: more than half of the device",
			      (unsigned long long)want);
	if (!want)
		want = max_t(uint64_t, auto_journal(bytes), least);
	want = round_up_to(div_up(want, g->block_size), unit);
	room = journal_room(g, 0, &start);
	if (room < want && g->nr_groups > 1) {
		room1 = journal_room(g, 1, &start1);
		if (room1 > room) {
			room = room1;
			start = start1;
		}
	}
	if (room < want && o->journal_bytes)
		return refuse(why, why_len,
			      "journal size %llu: a group has room for %llu bytes at most",
			      (unsigned long long)o->journal_bytes,
			      (unsigned long long)(room << g->blkbits));
	if (room << g->blkbits < least)
		return refuse(why, why_len,
			      "too small: no room for a journal of %llu bytes (which this node "
			      "size needs)",
			      (unsigned long long)least);
	s->journal_start = le64_of(start);
	s->journal_blocks = le64_of(min_t(uint64_t, want, room));
	return 0;
}

/* First node slot in a fresh file system, in @group or behind. */
static int plan_root(struct tfs_super *s, const struct tfs_geom *g, char *why, size_t why_len)
{
	uint64_t map[TFS_MAX_BLOCK / 8], group;
	uint32_t nr, at;

	for (group = 0; group < g->nr_groups; group++) {
		nr = tfs_group_nr_blocks(g, group);
		group_fresh_bitmap(g, group, map);
		at = block_bitmap_next_slot(map, 0, nr, g->node_blocks);
		if (at < nr) {
			s->roots[TFS_TREE_FS].addr = le64_of(tfs_group_start(g, group) + at);
			s->groups_init = le64_of(group + 1);
			return 0;
		}
	}
	return refuse(why, why_len, "too small: no room for a tree node");
}

/* All groups are alike but the first, the journal's and the last. */
static int plan_counts(struct tfs_super *s, const struct tfs_geom *g, char *why, size_t why_len)
{
	uint64_t special[3] = { 0, tfs_group_of(g, g->journal_start), g->nr_groups - 1 };
	uint64_t blocks = 0, slots = 0, plain = g->nr_groups, i;
	uint32_t fb, fs;
	int k;

	for (k = 0; k < 3; k++) {
		if (k && special[k] == special[k - 1])
			continue;
		group_fresh_counts(g, special[k], &fb, &fs);
		blocks += fb;
		slots += fs;
		plain--;
	}
	for (i = 1; plain && (i == special[1] || i == special[2]); i++)
		;
	if (plain) {
		group_fresh_counts(g, i, &fb, &fs);
		blocks += fb * plain;
		slots += fs * plain;
	}
	if (slots < 16)
		return refuse(why, why_len,
			      "too small: room for %llu tree nodes, at least 16 are needed",
			      (unsigned long long)slots);
	s->free_blocks = le64_of(blocks - g->node_blocks);
	s->free_slots = le64_of(slots - 1);
	s->node_blocks = le64_of(g->node_blocks);
	s->nr_inodes = le64_of(1);
	s->next_ino = le64_of(TFS_INO_FIRST);
	return 0;
}

static int random_bytes(void *buf, size_t len, uint64_t *test_seed)
{
	uint8_t *p = buf;
	ssize_t n;

	while (len) {
		if (*test_seed) { /* tests: a plain congruential generator */
			*test_seed = *test_seed * 6364136223846793005ull + 1442695040888963407ull;
			*p = (uint8_t)(*test_seed >> 56);
			n = 1;
		} else {
			n = getrandom(p, len, 0);
			if (n < 0 && errno == EINTR)
				continue;
			if (n <= 0)
				return n ? -errno : -EIO;
		}
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

static int plan_identity(const struct tfs_format_opts *o, struct tfs_super *s)
{
	static const uint8_t none[16];
	uint64_t test_seed = o->test_seed;
	int err;

	memcpy(s->magic, TFS_SUPER_MAGIC, sizeof(s->magic));
	s->version = le32_of(TFS_VERSION);
	memcpy(s->label, o->label, strnlen(o->label, TFS_LABEL_MAX));
	memcpy(s->uuid, o->uuid, 16);
	if (!memcmp(s->uuid, none, 16)) {
		err = random_bytes(s->uuid, 16, &test_seed);
		if (err)
			return err;
		s->uuid[6] = (uint8_t)((s->uuid[6] & 0x0f) | 0x40);
		s->uuid[8] = (uint8_t)((s->uuid[8] & 0x3f) | 0x80);
	}
	err = random_bytes(&s->seed, sizeof(s->seed), &test_seed);
	if (!err)
		err = random_bytes(s->hash_key, sizeof(s->hash_key), &test_seed);
	s->create_time = le64_of(o->test_seed ? 1000000000 : (uint64_t)time(NULL));
	s->check_time = s->create_time;
	s->txid = le64_of(FORMAT_TXID);
	return err;
}

int tfs_format_plan(struct bdev *b, const struct tfs_format_opts *o, struct tfs_super *super,
		    struct tfs_geom *geom, char *why, size_t why_len)
{
	struct tfs_geom g;
	int err;

	memset(super, 0, sizeof(*super));
	err = plan_sizes(b, o, super, why, why_len);
	if (!err)
		err = plan_groups(b, o, super, &g, why, why_len);
	if (!err)
		err = plan_journal(o, super, &g, why, why_len);
	super->groups_init = le64_of(1); /* at least; see plan_root */
	if (!err && tfs_super_geom(super, &g))
		err = refuse(why, why_len, "these sizes don't go together");
	if (!err)
		err = plan_root(super, &g, why, why_len);
	if (!err)
		err = plan_counts(super, &g, why, why_len);
	if (err)
		return err;
	err = plan_identity(o, super);
	if (err) {
		snprintf(why, why_len, "no random numbers: %s", strerror(-err));
		return err;
	}
	tfs_super_seal(super);
	*geom = g;
	return 0;
}

/* ---- writing ---- */

struct format {
	struct bdev *b;
	const struct tfs_super *super;
	const struct tfs_geom *g;
	uint64_t seed;
	uint8_t *buf; /* the largest structure */
};

static int put(struct format *f, uint64_t block, const void *data, size_t len)
{
	if (data != f->buf)
		memcpy(f->buf, data, len);
	return bdev_write(f->b, f->buf, len, block << f->g->blkbits);
}

static int wipe(struct format *f, uint64_t byte)
{
	if (byte > f->b->size || f->b->size - byte < TFS_SUPER_BYTES)
		return 0;
	memset(f->buf, 0, TFS_SUPER_BYTES);
	return bdev_write(f->b, f->buf, TFS_SUPER_BYTES, byte);
}

/* What a search would take for a copy, whoever left it there. */
static int wipe_found(struct format *f)
{
	uint64_t places[TFS_SUPER_PLACES];
	unsigned int i, n = tfs_super_places(f->b, places);
	int err = 0;

	for (i = 0; i < n && !err; i++) {
		/* what can't be read might be a copy that can be one day; or it can't be written
		 * either */
		if (bdev_read(f->b, f->buf, TFS_SUPER_BYTES, places[i]))
			wipe(f, places[i]);
		else if (!memcmp(f->buf, TFS_SUPER_MAGIC, sizeof(((struct tfs_super *)0)->magic)))
			err = wipe(f, places[i]);
	}
	return err;
}

/* From here on, and until the new primary superblock is written, nothing can take the device for a
 * tallyfs. */
static int destroy_old(struct format *f)
{
	struct tfs_super old;
	struct tfs_geom g = { 0 };
	int err, i;

	err = bdev_read(f->b, f->buf, TFS_SUPER_BYTES, TFS_SUPER_OFFSET);
	if (err)
		return err;
	memcpy(&old, f->buf, sizeof(old));
	/* its geometry is a hint where else to wipe, its checksum does not matter */
	if (memcmp(old.magic, TFS_SUPER_MAGIC, sizeof(old.magic)) || tfs_super_geom(&old, &g))
		g.super_copies[0] = g.super_copies[1] = 0;
	err = wipe(f, TFS_SUPER_OFFSET);
	for (i = 0; i < 2 && !err; i++)
		if (g.super_copies[i])
			err = wipe(f, g.super_copies[i] << g.blkbits);
	for (i = 0; i < 2 && !err; i++)
		if (f->g->super_copies[i])
			err = wipe(f, f->g->super_copies[i] << f->g->blkbits);
	if (!err)
		err = wipe_found(f);
	return err ? err : bdev_flush(f->b);
}

static void root_inode(const struct tfs_format_opts *o, const struct tfs_super *s,
		       struct tfs_inode_item *it)
{
	memset(it, 0, sizeof(*it));
	it->mode = le32_of(S_IFDIR | 0755);
	it->uid = le32_of(o->root_uid);
	it->gid = le32_of(o->root_gid);
	it->nlink = le32_of(2);
	it->generation = le64_of(1);
	it->btime.sec = s->create_time;
	it->atime = it->mtime = it->ctime = it->btime;
}

/* The root leaf, with one item: the root directory's inode. */
static void root_leaf(struct format *f, const struct tfs_format_opts *o, uint64_t addr)
{
	struct tfs_node *n = (struct tfs_node *)f->buf;
	struct tfs_item *item = (struct tfs_item *)(n + 1);
	uint32_t at = f->g->node_size - (uint32_t)sizeof(struct tfs_inode_item);

	memset(f->buf, 0, f->g->node_size);
	n->magic = le32_of(TFS_NODE_MAGIC);
	n->nritems = le16_of(1);
	n->addr = le64_of(addr);
	n->txid = le64_of(FORMAT_TXID);
	n->tree = le32_of(TFS_TREE_FS);
	n->data_start = le32_of(at);
	item->key.ino = le64_of(TFS_INO_ROOT);
	item->key.type = TFS_KEY_INODE;
	item->off = le32_of(at);
	item->len = le32_of(sizeof(struct tfs_inode_item));
	root_inode(o, f->super, (struct tfs_inode_item *)(f->buf + at));
}

static void vouch(struct format *f, struct tfs_vouch *v)
{
	v->guard =
		le64_of(group_guard(le32_get(f->super->guard), f->seed, f->buf, f->g->block_size));
	v->txid = le64_of(FORMAT_TXID);
	v->flags = le32_of(TFS_VOUCH_WRITTEN);
}

/* The group of the root: node, tuple block, bitmap, header. */
static int write_root_group(struct format *f, const struct tfs_format_opts *o, uint64_t group)
{
	const struct tfs_geom *g = f->g;
	struct blk_integrity bi = { .interval_exp = (uint8_t)g->blkbits,
				    .flags = BLK_INTEGRITY_GENERATE,
				    .key = f->seed };
	uint64_t root = le64_get(f->super->roots[TFS_TREE_FS].addr), tblock;
	uint32_t at = (uint32_t)(root - tfs_group_start(g, group));
	struct tuple16 tuples[TFS_MAX_NODE / TFS_MIN_BLOCK];
	struct tfs_group h;
	unsigned int slot;
	int err;

	bi.profile =
		le32_get(f->super->guard) == TFS_GUARD_CRC32 ? &profile_crc32 : &profile_xxh3_64;
	group_fresh_header(g, f->seed, group, &h);
	root_leaf(f, o, root);
	blk_integrity_generate_buf(&bi, f->buf, root, g->node_blocks, TFS_APP_NODE, tuples);
	err = put(f, root, f->buf, g->node_size);
	if (err)
		return err;
	tblock = tfs_tuple_block_of(g, root, &slot);
	memset(f->buf, 0, g->block_size);
	memcpy(f->buf + slot * TFS_TUPLE_BYTES, tuples, g->node_blocks * TFS_TUPLE_BYTES);
	vouch(f, &h.tuples[at / g->tuples_per_block]);
	err = put(f, tblock, f->buf, g->block_size);
	if (err)
		return err;
	group_fresh_bitmap(g, group, f->buf);
	block_bitmap_set(f->buf, at, at + g->node_blocks);
	vouch(f, &h.bitmap);
	err = put(f, tfs_group_bitmap_block(g, group), f->buf, g->block_size);
	if (err)
		return err;
	h.free_blocks = le32_of(le32_get(h.free_blocks) - g->node_blocks);
	h.free_slots = le32_of(le32_get(h.free_slots) - 1);
	h.txid = le64_of(FORMAT_TXID);
	h.csum = le64_of(group_csum(&h, f->seed));
	return put(f, tfs_group_header_block(g, group), &h, sizeof(h));
}

static int write_groups(struct format *f, const struct tfs_format_opts *o)
{
	uint64_t last = le64_get(f->super->groups_init) - 1, group;
	struct tfs_group h;
	int err = 0;

	for (group = 0; group < last && !err; group++) {
		group_fresh_header(f->g, f->seed, group, &h);
		err = put(f, tfs_group_header_block(f->g, group), &h, sizeof(h));
	}
	return err ? err : write_root_group(f, o, last);
}

int tfs_format_erase(struct bdev *b, const struct tfs_geom *geom)
{
	struct format f = { .b = b, .g = geom, .buf = tl_alloc_aligned(4096, TFS_MAX_NODE) };
	int err = f.buf ? destroy_old(&f) : -ENOMEM;

	tl_free(f.buf);
	return err;
}

/* Space for all that is at fixed places; the rest comes when it is needed (fs/state/backing.h). */
static int back_fixed(struct format *f)
{
	uint64_t groups = le64_get(f->super->groups_init),
		 root = le64_get(f->super->roots[TFS_TREE_FS].addr);
	char why[200];
	int err = backing_fixed(f->b, f->g, groups, NULL, NULL, why, sizeof(why));

	if (!err)
		err = bdev_provision(f->b, root << f->g->blkbits, f->g->node_size);
	return err == -EOPNOTSUPP ? backing_zero_fixed(f->b, f->g, groups) : err;
}

int tfs_format_write(struct bdev *b, const struct tfs_format_opts *o, const struct tfs_super *super,
		     const struct tfs_geom *geom)
{
	struct format f = { .b = b, .super = super, .g = geom, .seed = le64_get(super->seed) };
	int err, i;

	f.buf = tl_alloc_aligned(4096, TFS_MAX_NODE);
	if (!f.buf)
		return -ENOMEM;
	err = destroy_old(&f);
	if (!err)
		err = back_fixed(&f);
	if (!err)
		err = write_groups(&f, o);
	if (!err)
		err = journal_format(b, super, geom);
	/* a superblock, even a copy, speaks for all the rest */
	if (!err)
		err = bdev_flush(b);
	for (i = 0; i < 2 && !err; i++)
		if (geom->super_copies[i])
			err = put(&f, geom->super_copies[i], super, sizeof(*super));
	if (!err)
		err = bdev_flush(b);
	if (!err)
		err = put(&f, geom->super_block, super, sizeof(*super));
	if (!err)
		err = bdev_flush(b);
	tl_free(f.buf);
	return err;
}
