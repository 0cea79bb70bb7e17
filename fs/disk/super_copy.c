/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The superblock's copies: which of them to believe without the primary, and which need mending.
 *
 * Whoever may write a file may write something that looks like a copy, and it may come to lie where
 * another block size would have one.  So what is found is not believed for its looks.  In this
 * order:
 *   - what is left of the primary knows two random numbers that nobody without access to the
 *     device does (seed, hash key): whoever has one of them is right, and while the primary is
 *     legible nobody else is;
 *   - in the last 4 KiB of the device lies a copy, a fixed structure, or nothing of ours: no
 *     file's data;
 *   - else all that is found must tell of the same file system.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "core/block/bdev.h"
#include "core/lib/util.h"
#include "fs/disk/geom.h"
#include "fs/disk/super.h"
#include "tallyfs/format.h"

struct candidate {
	struct tfs_super super;
	struct tfs_geom geom;
	uint64_t off;
};

bool tfs_super_same(const struct tfs_super *a, const struct tfs_super *b)
{
	size_t from = offsetof(struct tfs_super, version), to = offsetof(struct tfs_super, txid);

	return !memcmp((const char *)a + from, (const char *)b + from, to - from);
}

unsigned int tfs_super_places(const struct bdev *b, uint64_t places[TFS_SUPER_PLACES])
{
	uint64_t bs, hdr, end, off;
	unsigned int n = 0;
	int group0;

	/* what fills the device first: nearest to its end comes what no file can reach */
	for (group0 = 0; group0 < 2; group0++) {
		for (bs = max_t(uint64_t, TFS_MIN_BLOCK, b->align); bs <= TFS_MAX_BLOCK; bs *= 2) {
			hdr = max_t(uint64_t, bs, TFS_SUPER_BYTES);
			end = group0 ? 8 * bs * bs : round_down_to(b->size, bs);
			off = end - hdr;
			if (end > b->size || end < TFS_SUPER_OFFSET + 2 * hdr ||
			    (n && places[n - 1] == off))
				continue;
			places[n++] = off;
		}
	}
	return n;
}

/* A superblock at @off counts only if it says itself that a copy belongs there, and fits on the
 * device. */
static int read_copy(struct bdev *b, uint64_t off, struct candidate *c)
{
	const uint64_t *copies = c->geom.super_copies;
	unsigned int bits;
	char why[128];
	int err = tfs_super_read_at(b, off, &c->super, &c->geom, why, sizeof(why));

	if (err)
		return err;
	bits = c->geom.blkbits;
	if (c->geom.total_blocks << bits > b->size)
		return -EUCLEAN;
	if (copies[0] << bits != off && (!copies[1] || copies[1] << bits != off))
		return -EUCLEAN;
	c->off = off;
	return 0;
}

/* Does @c know what only the legible @primary can have told it? */
static bool knows_secret(const struct candidate *c, const struct tfs_super *primary)
{
	static const uint8_t none[sizeof(primary->hash_key)];
	bool seed = le64_get(primary->seed) && le64_get(c->super.seed) == le64_get(primary->seed);
	bool key = memcmp(primary->hash_key, none, sizeof(none)) &&
		   !memcmp(c->super.hash_key, primary->hash_key, sizeof(none));

	/* zeros are what is left of a number that is gone, and no secret */
	return seed || key;
}

static bool all_agree(const struct candidate *c, unsigned int n)
{
	unsigned int i;

	for (i = 1; i < n; i++)
		if (!tfs_super_same(&c[0].super, &c[i].super))
			return false;
	return true;
}

/* The one to believe, or NULL and a line in @why.  @primary: the bytes at its place; NULL: they
 * can't be read. */
static const struct candidate *choose(const struct bdev *b, const struct candidate *c,
				      unsigned int n, const struct tfs_super *primary, char *why,
				      size_t why_len)
{
	unsigned int i;

	if (!n) {
		snprintf(why, why_len, "no good copy of it was found");
		return NULL;
	}
	if (primary && !memcmp(primary->magic, TFS_SUPER_MAGIC, sizeof(primary->magic))) {
		for (i = 0; i < n; i++)
			if (knows_secret(&c[i], primary))
				return &c[i];
		snprintf(why, why_len, "no copy agrees with what is left of it");
		return NULL;
	}
	if (c[0].off + 2 * TFS_SUPER_BYTES > b->size || all_agree(c, n))
		return &c[0];
	snprintf(why, why_len, "what look like its copies tell of different file systems");
	return NULL;
}

/* Of the copies that tell of the same file system, the newest. */
static const struct candidate *newest(const struct candidate *c, unsigned int n,
				      const struct candidate *chosen)
{
	unsigned int i;

	for (i = 0; i < n; i++)
		if (tfs_super_same(&c[i].super, &chosen->super) &&
		    le64_get(c[i].super.txid) > le64_get(chosen->super.txid))
			chosen = &c[i];
	return chosen;
}

static int read_primary(struct bdev *b, struct tfs_super *primary)
{
	void *buf = tl_alloc_aligned(4096, TFS_SUPER_BYTES);
	int err;

	if (!buf)
		return -ENOMEM;
	err = bdev_read(b, buf, TFS_SUPER_BYTES, TFS_SUPER_OFFSET);
	if (!err)
		memcpy(primary, buf, sizeof(*primary));
	tl_free(buf);
	return err;
}

int tfs_super_find_copy(struct bdev *b, struct tfs_super *super, struct tfs_geom *geom, char *why,
			size_t why_len)
{
	struct candidate *c = tl_alloc(TFS_SUPER_PLACES * sizeof(*c));
	struct tfs_super *primary = tl_alloc(sizeof(*primary));
	uint64_t places[TFS_SUPER_PLACES];
	const struct candidate *best;
	unsigned int i, nr, n = 0;
	int err = -ENOMEM, read_err;

	snprintf(why, why_len, "out of memory");
	if (!c || !primary)
		goto out;
	read_err = read_primary(b, primary);
	nr = tfs_super_places(b, places);
	for (i = 0; i < nr; i++)
		if (!read_copy(b, places[i], &c[n]))
			n++;
	best = choose(b, c, n, read_err ? NULL : primary, why, why_len);
	err = best ? 0 : n ? -EUCLEAN : -ENOENT;
	if (best) {
		best = newest(c, n, best);
		*super = best->super;
		*geom = best->geom;
	}
out:
	tl_free(primary);
	tl_free(c);
	return err;
}

/* ---- with the superblock in force known ---- */

static uint64_t place_of(const struct tfs_geom *g, int which)
{
	return (which ? g->super_copies[which - 1] : g->super_block) << g->blkbits;
}

enum tfs_super_fault tfs_super_look(struct bdev *b, int which, const struct tfs_super *want,
				    const struct tfs_geom *g, struct tfs_super *found, char *why,
				    size_t why_len)
{
	struct tfs_geom geom;

	why[0] = '\0';
	if (!place_of(g, which))
		return TFS_SUPER_GOOD;
	if (tfs_super_read_at(b, place_of(g, which), found, &geom, why, why_len))
		return TFS_SUPER_BAD;
	if (!tfs_super_same(found, want))
		return TFS_SUPER_FOREIGN;
	return le64_get(found->txid) == le64_get(want->txid) ? TFS_SUPER_GOOD
							     : TFS_SUPER_OTHER_TXID;
}

int tfs_super_put(struct bdev *b, int which, const struct tfs_super *super,
		  const struct tfs_geom *g)
{
	void *buf = tl_alloc_aligned(4096, TFS_SUPER_BYTES);
	int err;

	if (!buf)
		return -ENOMEM;
	memcpy(buf, super, TFS_SUPER_BYTES);
	err = bdev_write(b, buf, TFS_SUPER_BYTES, place_of(g, which));
	if (!err)
		err = bdev_flush(b);
	tl_free(buf);
	return err;
}
