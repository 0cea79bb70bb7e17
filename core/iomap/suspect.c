/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Blocks that could not be read or do not match their tuple.
 *
 * When a bio over many blocks fails, the blocks are looked at one by one, and before a
 * bad one is called bad the file system is asked again, for it may have moved the
 * block while we read.  Buffered and direct reads come here alike.
 */
#include <errno.h>
#include <string.h>
#include "core/block/integrity.h"
#include "core/iomap/internal.h"
#include "core/lib/log.h"
#include "core/lib/trace.h"

/* Fresh mappings tried for a block that fails, before it counts as bad. */
#define SECOND_LOOKS 16

static struct ratelimit read_error_limit = RATELIMIT_INIT;
static struct log_recent read_errors_told = LOG_RECENT_INIT;

unsigned int iomap_tuple_bytes(const struct address_space *m, const struct iomap *map)
{
	const struct blk_integrity *bi = map->bdev->integrity;

	if (!map->tuples || !bi || bi->interval_exp > m->blkbits)
		return 0;
	return (unsigned int)bi->profile->tuple_size << (m->blkbits - bi->interval_exp);
}

const void *iomap_tuple(const struct address_space *m, const struct iomap *map, uint64_t pos)
{
	return (const char *)map->tuples +
	       ((pos - map->offset) >> m->blkbits) * iomap_tuple_bytes(m, map);
}

bool iomap_needs_zeroing(struct address_space *m, const struct iomap *map, uint64_t pos)
{
	return map->type != IOMAP_MAPPED || (map->flags & IOMAP_F_NEW) || pos >= i_size_read(m);
}

/* Does what has been read match its tuples?  0 or -EILSEQ. */
static int suspect_verify(struct iomap_suspect *s)
{
	const struct blk_integrity *bi = s->bdev->integrity;
	unsigned int bad;

	return blk_integrity_verify_buf(bi, s->data, s->dev >> bi->interval_exp,
					1u << (s->m->blkbits - bi->interval_exp), bi->app,
					s->tuples, &bad);
}

/* Read the one block again.  0, -EILSEQ, -EIO, ... */
static int suspect_read(struct iomap_suspect *s)
{
	struct bio *bio = bio_alloc(s->bdev, 1, BIO_OP_READ, NULL);
	int err = 0;

	if (!bio)
		return -ENOMEM;
	bio->bi_iter.bi_sector = s->dev >> SECTOR_SHIFT;
	bio->bi_flags |= BIO_F_QUIET;
	bio_add_vec(bio, s->seg, s->data, (unsigned int)block_bytes(s->m));
	if (s->tuple_bytes)
		err = bio_integrity_prep_tuples(bio, s->tuples);
	if (!err)
		err = submit_bio_wait(bio);
	if (err == -EILSEQ && bio->bi_integrity) {
		s->expected = bio->bi_integrity->bip_expected;
		s->found = bio->bi_integrity->bip_found;
	}
	bio_put(bio);
	return err;
}

/*
 * Ask the file system where the block is now.  1: it is elsewhere, or has other
 * tuples (taken over into @s); 0: no change; 2: it has nothing to read, and the
 * memory holds what it should; -errno.
 */
static int suspect_remap(struct iomap_suspect *s, const struct iomap_ops *ops)
{
	struct iomap iomap = { .addr = IOMAP_NULL_ADDR }, srcmap = { 0 }, *map = &iomap;
	struct address_space *m = s->m;
	uint64_t bs = block_bytes(m);
	unsigned int tuple_bytes;
	int ret;

	ret = ops->iomap_begin(m, s->pos, bs, 0, &iomap, &srcmap);
	if (ret)
		return ret;
	if (srcmap.type != IOMAP_HOLE)
		map = &srcmap;
	if (iomap_needs_zeroing(m, map, s->pos)) {
		memset(s->data, 0, bs);
		if (map->type == IOMAP_INLINE && !s->pos)
			memcpy(s->data, map->inline_data, min_t(uint64_t, map->inline_len, bs));
		ret = 2;
	} else {
		tuple_bytes = iomap_tuple_bytes(m, map);
		ret = s->dev != map->addr + (s->pos - map->offset) ||
		      s->tuple_bytes != tuple_bytes ||
		      (tuple_bytes && memcmp(s->tuples, iomap_tuple(m, map, s->pos), tuple_bytes));
		s->bdev = map->bdev;
		s->dev = map->addr + (s->pos - map->offset);
		s->tuple_bytes = tuple_bytes;
		if (tuple_bytes)
			memcpy(s->tuples, iomap_tuple(m, map, s->pos), tuple_bytes);
	}
	if (ops->iomap_end)
		ops->iomap_end(m, s->pos, bs, bs, 0, 0, &iomap);
	return ret;
}

static void report_bad(struct iomap_suspect *s, const struct iomap_ops *ops, int err)
{
	char more[RATELIMIT_TEXT];
	unsigned int held;

	if (err == -EILSEQ && ops->read_mismatch) {
		trace3(iomap_mismatch, s->m->ino, s->pos, s->dev);
		ops->read_mismatch(s->m, s->pos, s->dev, s->expected, s->found);
		return;
	}
	if (log_is_news(&read_errors_told, s->m->ino, s->dev) &&
	    ratelimit_ok(&read_error_limit, &held))
		log_err("%s: read error %d on inode %llu, offset %llu, sector %llu%s",
			s->bdev->name, err, (unsigned long long)s->m->ino,
			(unsigned long long)s->pos, (unsigned long long)(s->dev >> SECTOR_SHIFT),
			ratelimit_text(held, more));
}

/* The block is bad at first sight (@err).  0: its memory is right after all; -EIO, -ENOMEM, -errno
 * of iomap_begin. */
static int second_look(struct iomap_suspect *s, const struct iomap_ops *ops, int err)
{
	bool same_before = false;
	int looks, ret;

	for (looks = 0; looks < SECOND_LOOKS; looks++) {
		ret = suspect_remap(s, ops);
		if (ret < 0)
			return ret;
		if (ret == 2)
			return 0;
		if (!ret && same_before)
			break;
		same_before = !ret;
		err = suspect_read(s);
		if (!err || err == -ENOMEM)
			return err;
	}
	report_bad(s, ops, err);
	return -EIO;
}

int iomap_suspect_resolve(struct iomap_suspect *s, const struct iomap_ops *ops, int status)
{
	int err = status == -EILSEQ && s->tuple_bytes ? suspect_verify(s) : suspect_read(s);

	if (err && err != -ENOMEM)
		err = second_look(s, ops, err);
	return err;
}
