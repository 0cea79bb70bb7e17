/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a new file system will be like: the options checked against the device, the superblock made.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include "core/block/bdev.h"
#include "core/lib/util.h"
#include "fs/disk/block_bitmap.h"
#include "fs/disk/geom.h"
#include "fs/disk/group.h"
#include "fs/disk/super.h"
#include "fs/vfs/mkfs_plan.h"
#include "tallyfs/format.h"

#define MIN_BYTES (2ull << 20)
#define MIN_JOURNAL (1ull << 20)
/* up to here a device gives a sixteenth: below, each operation is a commit */
#define SMALL_JOURNAL (16ull << 20)
#define MAX_AUTO_JOURNAL (64ull << 20)
#define MAX_INLINE 2048u

__attribute__((format(printf, 3, 4))) static int refuse(char *why, size_t why_len, const char *fmt,
							...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, why_len, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

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
	s->txid = le64_of(TFS_FORMAT_TXID);
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
