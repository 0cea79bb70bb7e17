/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Direct reads: from the device to the caller's memory, and verified there.
 *
 * The tuples come with the mapping, as for buffered reads, so a block that is freed and
 * reused while the read is on its way never verifies.  The cache is neither asked nor
 * filled; what it has that the device has not yet is written back first, and since
 * writers hold the inode lock exclusive nothing becomes dirty meanwhile.
 *
 *   pos                                             end (EOF or wanted)
 *    |                                               |
 *  [ b b ][ b b b b ][ b b b b ][ b b b b ][ b b b b | . . ]
 *   detour        straight to the caller's memory     straight, if the memory reaches to the end
 *                                                     of the block, else a detour
 */
#include <errno.h>
#include <string.h>
#include "core/block/integrity.h"
#include "core/iomap/internal.h"
#include "core/lib/trace.h"

/* One bio: whole blocks, contiguous in the file, on the device and in memory. */
struct dio_io {
	struct list_head list;
	struct dio_read *r;
	struct bdev *bdev;
	struct bio *bio;
	uint64_t pos, dev;
	char *mem;
	uint32_t bytes;
	unsigned int tuple_bytes; /* per block; 0: nothing to verify against */
	unsigned char tuples[];
};

struct dio_read {
	struct address_space *m;
	const struct iomap_ops *ops;
	struct dio_io *last;  /* built, not yet submitted */
	struct list_head ios; /* submitted */
	uint64_t bad;	      /* where the first block is that could not be had */
	int error;	      /* why */
	unsigned int inflight;
	pthread_mutex_t lock;
	pthread_cond_t done;
};

bool iomap_dio_aligned(const struct address_space *m, const void *mem)
{
	return !((uintptr_t)mem & (min_t(uint64_t, block_bytes(m), 4096) - 1));
}

static void dio_read_failed(struct dio_read *r, uint64_t pos, int err)
{
	if (pos < r->bad) {
		r->bad = pos;
		r->error = err;
	}
}

static void dio_end_bio(struct bio *bio)
{
	struct dio_read *r = ((struct dio_io *)bio->bi_private)->r;

	pthread_mutex_lock(&r->lock);
	if (!--r->inflight)
		pthread_cond_signal(&r->done);
	pthread_mutex_unlock(&r->lock);
}

/* Send @io on its way; @wait: see to it here, which saves a switch between threads. */
static void submit_io(struct dio_read *r, struct dio_io *io, bool wait)
{
	int err = io->tuple_bytes ? bio_integrity_prep_tuples(io->bio, io->tuples) : 0;

	list_add_tail(&io->list, &r->ios);
	if (err) {
		io->bio->bi_status = err;
		return;
	}
	if (wait) {
		submit_bio_wait(io->bio);
		return;
	}
	io->bio->bi_private = io;
	io->bio->bi_end_io = dio_end_bio;
	pthread_mutex_lock(&r->lock);
	r->inflight++;
	pthread_mutex_unlock(&r->lock);
	submit_bio(io->bio);
}

/* Have @bytes at @pos read to @mem.  0 or -ENOMEM. */
static int add_io(struct dio_read *r, const struct iomap *map, uint64_t pos, char *mem,
		  uint32_t bytes)
{
	unsigned int tuple_bytes = iomap_tuple_bytes(r->m, map);
	size_t all_tuples = (size_t)(bytes >> r->m->blkbits) * tuple_bytes;
	struct dio_io *io = tl_alloc(sizeof(*io) + all_tuples);

	if (!io)
		return -ENOMEM;
	*io = (struct dio_io){ .r = r,
			       .bdev = map->bdev,
			       .pos = pos,
			       .dev = map->addr + (pos - map->offset),
			       .mem = mem,
			       .bytes = bytes,
			       .tuple_bytes = tuple_bytes };
	io->bio = bio_alloc(map->bdev, 1, BIO_OP_READ, NULL);
	if (!io->bio) {
		tl_free(io);
		return -ENOMEM;
	}
	if (all_tuples)
		memcpy(io->tuples, iomap_tuple(r->m, map, pos), all_tuples);
	atomic_fetch_add(&r->m->cache->direct_read_bytes, bytes);
	io->bio->bi_iter.bi_sector = io->dev >> SECTOR_SHIFT;
	bio_add_vec(io->bio, NULL, mem, bytes);
	if (r->last)
		submit_io(r, r->last, false);
	r->last = io;
	return 0;
}

/* Whole blocks that have no content on the device. */
static void fill_zeros(struct dio_read *r, const struct iomap *map, uint64_t pos, char *mem,
		       uint64_t bytes)
{
	memset(mem, 0, bytes);
	if (map->type == IOMAP_INLINE && !pos)
		memcpy(mem, map->inline_data,
		       min_t(uint64_t, map->inline_len,
			     min_t(uint64_t, i_size_read(r->m), block_bytes(r->m))));
}

/* What the current mapping has of the range that goes to @mem (the place of it->pos).  Bytes or
 * -ENOMEM. */
static int64_t read_mapping(struct dio_read *r, const struct iomap_iter *it, char *mem)
{
	const struct iomap *map = iomap_iter_srcmap(it);
	uint64_t len = iomap_length(it), done = 0, inside;

	if (iomap_needs_zeroing(r->m, map, it->pos)) {
		fill_zeros(r, map, it->pos, mem, len);
		return (int64_t)len;
	}
	inside = min_t(uint64_t, len, round_up_to(i_size_read(r->m) - it->pos, block_bytes(r->m)));
	memset(mem + inside, 0, len - inside);
	while (done < inside) {
		uint32_t n = (uint32_t)min_t(uint64_t, inside - done, READ_MAX_BYTES);
		int err = add_io(r, map, it->pos + done, mem + done, n);

		if (err)
			return done ? (int64_t)done : err;
		done += n;
	}
	return (int64_t)len;
}

/* A bio has failed: which of its blocks are to blame? */
static void recover_blocks(struct dio_read *r, struct dio_io *io)
{
	unsigned int blkbits = r->m->blkbits, n = io->bytes >> blkbits;

	for (unsigned int i = 0; i < n; i++) {
		uint64_t off = (uint64_t)i << blkbits;
		struct iomap_suspect s = {
			.m = r->m,
			.bdev = io->bdev,
			.pos = io->pos + off,
			.dev = io->dev + off,
			.data = io->mem + off,
			.tuple_bytes = io->tuple_bytes,
		};
		int err;

		memcpy(s.tuples, io->tuples + (size_t)i * io->tuple_bytes, io->tuple_bytes);
		err = iomap_suspect_resolve(&s, r->ops, io->bio->bi_status);
		if (err) {
			/* it may not be looked at, whatever becomes of the memory */
			memset(s.data, 0, block_bytes(r->m));
			dio_read_failed(r, s.pos, err);
		}
	}
}

static void finish_io(struct dio_read *r, struct dio_io *io)
{
	uint64_t isize = i_size_read(r->m);

	if (io->bio->bi_status)
		recover_blocks(r, io);
	if (isize < io->pos + io->bytes)
		memset(io->mem + (isize - io->pos), 0, io->pos + io->bytes - isize);
	bio_put(io->bio);
	tl_free(io);
}

static void wait_all(struct dio_read *r)
{
	struct dio_io *io, *next;

	if (r->last)
		submit_io(r, r->last, true);
	pthread_mutex_lock(&r->lock);
	while (r->inflight)
		pthread_cond_wait(&r->done, &r->lock);
	pthread_mutex_unlock(&r->lock);
	list_for_each_entry_safe(io, next, &r->ios, list) {
		list_del_init(&io->list);
		finish_io(r, io);
	}
}

/* Whole blocks, some of them inside EOF, into aligned memory.  Bytes in a row, or -errno if not one
 * block. */
static int64_t read_blocks(struct address_space *m, uint64_t pos, char *mem, uint64_t len,
			   const struct iomap_ops *ops)
{
	struct dio_read r = { .m = m, .ops = ops, .bad = pos + len };
	struct iomap_iter it = { .mapping = m, .pos = pos, .len = len, .flags = IOMAP_DIRECT };
	int ret;

	INIT_LIST_HEAD(&r.ios);
	pthread_mutex_init(&r.lock, NULL);
	pthread_cond_init(&r.done, NULL);
	while ((ret = iomap_iter(&it, ops)) > 0)
		it.processed = read_mapping(&r, &it, mem + (it.pos - pos));
	if (ret < 0)
		dio_read_failed(&r, it.pos, ret);
	wait_all(&r);
	pthread_cond_destroy(&r.done);
	pthread_mutex_destroy(&r.lock);
	return r.bad > pos ? (int64_t)(r.bad - pos) : r.error;
}

/* Up to @len bytes at @pos over memory of our own.  Bytes or -errno. */
static int64_t read_detour(struct address_space *m, uint64_t pos, char *mem, uint64_t len,
			   const struct iomap_ops *ops)
{
	uint64_t start = round_down_to(pos, block_bytes(m)), bytes;
	struct seg *seg;
	int64_t ret;

	bytes = min_t(uint64_t, round_up_to(pos + len, block_bytes(m)) - start, READ_MAX_BYTES);
	seg = pagecache_seg_alloc(m->cache, bytes);
	if (!seg)
		return -ENOMEM;
	ret = read_blocks(m, start, seg->base, bytes, ops);
	if (ret > 0) {
		ret = (int64_t)min_t(uint64_t, (uint64_t)ret - (pos - start), len);
		memcpy(mem, (char *)seg->base + (pos - start), (size_t)ret);
	}
	seg_put(seg);
	return ret;
}

/* One piece of the read: @want bytes, into memory that has room for @room.  Bytes or -errno. */
static int64_t read_piece(struct address_space *m, uint64_t pos, char *mem, uint64_t want,
			  uint64_t room, const struct iomap_ops *ops)
{
	uint64_t bs = block_bytes(m), in_block = pos & (bs - 1), whole = round_up_to(want, bs);
	int64_t ret;

	if (!iomap_dio_aligned(m, mem - in_block))
		return read_detour(m, pos, mem, want, ops);
	if (in_block)
		return read_detour(m, pos, mem, min_t(uint64_t, want, bs - in_block), ops);
	if (whole > room)
		whole = round_down_to(want, bs);
	if (!whole)
		return read_detour(m, pos, mem, want, ops);
	ret = read_blocks(m, pos, mem, whole, ops);
	return ret > (int64_t)want ? (int64_t)want : ret;
}

int64_t iomap_dio_read(struct address_space *m, uint64_t pos, void *buf, size_t len,
		       const struct iomap_ops *ops)
{
	uint64_t isize = i_size_read(m), bs = block_bytes(m), done = 0, want;
	int64_t ret;

	if (pos >= isize || !len)
		return 0;
	want = min_t(uint64_t, len, isize - pos);
	trace3(iomap_dio_read_begin, m->ino, pos, want);
	ret = filemap_write_and_wait_range(m, round_down_to(pos, bs), round_up_to(pos + want, bs));
	while (!ret && done < want) {
		ret = read_piece(m, pos + done, (char *)buf + done, want - done, len - done, ops);
		if (ret <= 0)
			break;
		done += (uint64_t)ret;
		ret = 0;
	}
	return done ? (int64_t)done : ret;
}
