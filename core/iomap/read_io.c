/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The bios of reads (docs/IO.md, row B4).
 *
 * Memory is not shown in a folio before its content has been read and verified:
 * until then it belongs to the struct read_io that fills it.  When a bio over many
 * blocks fails, the blocks are looked at one by one (suspect.c), so that exactly the
 * bad ones stay missing.
 */
#include <errno.h>
#include <string.h>
#include "core/block/integrity.h"
#include "core/iomap/internal.h"

struct read_piece {
	struct folio *f;
	struct seg *seg; /* our reference; blocks first.. are at its base */
	uint32_t first, n;
};

/* One bio: contiguous in the file and on the device. */
struct read_io {
	struct list_head list;
	struct read_op *op; /* sync only: the op of a readahead does not wait for it */
	struct address_space *m;
	struct bdev *bdev;
	struct bio *bio;
	uint64_t pos, dev;
	uint32_t bytes, max_bytes;
	unsigned int nr_pieces, max_pieces;
	unsigned int tuple_bytes; /* per block; 0: nothing to verify against */
	unsigned char *tuples;
	struct read_piece pieces[];
};

void read_op_init(struct read_op *op, struct address_space *m, const struct iomap_ops *ops,
		  struct folio **folios, unsigned int nr, bool sync)
{
	memset(op, 0, sizeof(*op));
	op->m = m;
	op->ops = ops;
	op->folios = folios;
	op->nr_folios = nr;
	op->sync = sync;
	op->end = UINT64_MAX;
	INIT_LIST_HEAD(&op->ios);
	pthread_mutex_init(&op->lock, NULL);
	pthread_cond_init(&op->done, NULL);
}

static void read_io_free(struct read_io *io)
{
	unsigned int i;

	for (i = 0; i < io->nr_pieces; i++)
		seg_put(io->pieces[i].seg);
	bio_put(io->bio);
	tl_free(io);
}

static struct read_io *read_io_alloc(struct read_op *op, const struct iomap *map, uint64_t pos)
{
	struct address_space *m = op->m;
	uint64_t max = min_t(uint64_t, READ_MAX_BYTES, round_up_to(op->end, block_bytes(m)) - pos);
	unsigned int tuple_bytes = iomap_tuple_bytes(m, map), pieces;
	struct read_io *io;

	max = max_t(uint64_t, max, block_bytes(m));
	pieces = (unsigned int)min_t(uint64_t, (max >> m->folio_shift) + 2, BIO_MAX_VECS);
	/* runs between blocks that are cached already start new bios, so one piece per folio is
	 * enough */
	io = tl_zalloc(sizeof(*io) + pieces * sizeof(io->pieces[0]) +
		       (max >> m->blkbits) * tuple_bytes);
	if (!io)
		return NULL;
	io->bio = bio_alloc(map->bdev, pieces, BIO_OP_READ, NULL);
	if (!io->bio) {
		tl_free(io);
		return NULL;
	}
	io->bdev = map->bdev;
	io->m = m;
	io->op = op->sync ? op : NULL;
	io->pos = pos;
	io->dev = map->addr + (pos - map->offset);
	io->max_bytes = (uint32_t)max;
	io->max_pieces = pieces;
	io->tuple_bytes = tuple_bytes;
	io->tuples = (unsigned char *)&io->pieces[pieces];
	INIT_LIST_HEAD(&io->list);
	io->bio->bi_iter.bi_sector = io->dev >> SECTOR_SHIFT;
	io->bio->bi_private = io;
	if (!op->sync)
		io->bio->bi_flags |= BIO_F_RAHEAD | BIO_F_QUIET;
	return io;
}

/* Put verified memory into the folio, with zeros behind the end of the file. */
static void attach(struct address_space *m, const struct read_piece *p, unsigned int i,
		   unsigned int n)
{
	uint64_t pos = folio_pos(m, p->f) + ((uint64_t)(p->first + i) << m->blkbits);
	uint64_t len = (uint64_t)n << m->blkbits, isize = i_size_read(m);
	char *base = (char *)p->seg->base + ((size_t)i << m->blkbits);

	if (isize < pos + len) {
		uint64_t keep = isize > pos ? isize - pos : 0;

		memset(base + keep, 0, len - keep);
	}
	folio_publish(m, p->f, p->first + i, n, p->seg, base, false);
}

/* @n blocks' worth of reading has ended.  Async: the last one lets the folio go. */
static void read_pending_done(struct folio *f, uint32_t bytes, bool release)
{
	struct folio_state *fs = folio_state(f);
	bool last;

	pthread_mutex_lock(&fs->lock);
	fs->read_bytes_pending -= bytes;
	last = !fs->read_bytes_pending;
	pthread_mutex_unlock(&fs->lock);
	if (last && release) {
		folio_unlock(f);
		folio_put(f);
	}
}

static void read_pending_add(struct folio *f, uint32_t bytes)
{
	struct folio_state *fs = folio_state(f);

	pthread_mutex_lock(&fs->lock);
	fs->read_bytes_pending += bytes;
	pthread_mutex_unlock(&fs->lock);
}

/* What could not be had by readahead is just not there: whoever needs it reads again and gets the
 * error. */
static void read_end_async(struct bio *bio)
{
	struct read_io *io = bio->bi_private;
	struct address_space *m = io->m;
	struct pagecache *pc = m->cache;
	unsigned int i;

	for (i = 0; i < io->nr_pieces; i++) {
		struct read_piece *p = &io->pieces[i];

		if (!bio->bi_status)
			attach(m, p, 0, p->n);
	}
	/* the mapping may be gone with the last of its locked folios */
	for (i = 0; i < io->nr_pieces; i++)
		read_pending_done(io->pieces[i].f, io->pieces[i].n << m->blkbits, true);
	read_io_free(io);
	pagecache_async_read_end(pc);
}

static void read_end_sync(struct bio *bio)
{
	struct read_op *op = ((struct read_io *)bio->bi_private)->op;

	pthread_mutex_lock(&op->lock);
	if (!--op->inflight)
		pthread_cond_signal(&op->done);
	pthread_mutex_unlock(&op->lock);
}

/* Attach the tuples.  An error goes the way of a failed bio. */
static int read_io_prep(struct read_io *io, bio_end_io_t *end_io)
{
	io->bio->bi_end_io = end_io;
	return io->tuple_bytes ? bio_integrity_prep_tuples(io->bio, io->tuples) : 0;
}

static void submit_async(struct read_io *io)
{
	int err = read_io_prep(io, read_end_async);

	pagecache_async_read_start(io->m->cache);
	if (!err) {
		submit_bio(io->bio);
		return;
	}
	io->bio->bi_status = err;
	read_end_async(io->bio);
}

static void submit_sync(struct read_op *op, struct read_io *io)
{
	int err = read_io_prep(io, read_end_sync);

	list_add_tail(&io->list, &op->ios);
	if (err) {
		io->bio->bi_status = err;
		return;
	}
	pthread_mutex_lock(&op->lock);
	op->inflight++;
	pthread_mutex_unlock(&op->lock);
	submit_bio(io->bio);
}

/* The bio built so far, which is no longer current; NULL if there is none. */
static struct read_io *take_cur(struct read_op *op)
{
	struct read_io *io = op->cur;

	op->cur = NULL;
	if (io && !io->nr_pieces) {
		read_io_free(io);
		io = NULL;
	}
	return io;
}

static void submit_cur(struct read_op *op)
{
	struct read_io *io = take_cur(op);

	if (!io)
		return;
	if (op->sync)
		submit_sync(op, io);
	else
		submit_async(io);
}

static bool can_append(const struct read_io *io, const struct iomap *map, uint64_t pos)
{
	return io->pos + io->bytes == pos &&
	       io->dev + io->bytes == map->addr + (pos - map->offset) && io->bdev == map->bdev &&
	       io->tuple_bytes == iomap_tuple_bytes(io->m, map) && io->bytes < io->max_bytes &&
	       io->nr_pieces < io->max_pieces;
}

/* Read @n blocks from @first on, as many as the current bio takes.  How many, or -errno. */
static int add_piece(struct read_op *op, struct folio *f, unsigned int first, unsigned int n,
		     const struct iomap *map)
{
	struct address_space *m = op->m;
	uint64_t pos = folio_pos(m, f) + ((uint64_t)first << m->blkbits);
	struct read_piece *p;
	struct read_io *io;
	uint32_t len;

	if (op->cur && !can_append(op->cur, map, pos))
		submit_cur(op);
	if (!op->cur)
		op->cur = read_io_alloc(op, map, pos);
	io = op->cur;
	if (!io)
		return -ENOMEM;
	len = min_t(uint64_t, (uint64_t)n << m->blkbits, io->max_bytes - io->bytes);
	p = &io->pieces[io->nr_pieces];
	p->seg = pagecache_seg_alloc(m->cache, len);
	if (!p->seg)
		return -ENOMEM;
	p->f = f;
	p->first = first;
	p->n = len >> m->blkbits;
	io->nr_pieces++;
	if (bio_add_vec(io->bio, p->seg, p->seg->base, len) != len) {
		seg_put(p->seg);
		io->nr_pieces--;
		return -EIO;
	}
	if (io->tuple_bytes)
		memcpy(io->tuples + (size_t)(io->bytes >> m->blkbits) * io->tuple_bytes,
		       iomap_tuple(m, map, pos), (size_t)p->n * io->tuple_bytes);
	io->bytes += len;
	read_pending_add(f, len);
	return (int)p->n;
}

/* The content of an inline file: block 0 in memory of its own. */
static int read_inline(struct address_space *m, struct folio *f, const struct iomap *map)
{
	uint64_t len =
		min_t(uint64_t, map->inline_len, min_t(uint64_t, i_size_read(m), block_bytes(m)));
	struct seg *seg = pagecache_seg_alloc(m->cache, block_bytes(m));

	if (!seg)
		return -ENOMEM;
	memcpy(seg->base, map->inline_data, len);
	memset((char *)seg->base + len, 0, block_bytes(m) - len);
	folio_publish(m, f, 0, 1, seg, seg->base, false);
	seg_put(seg);
	return 0;
}

int read_op_run(struct read_op *op, struct folio *f, unsigned int first, unsigned int n,
		const struct iomap *map)
{
	struct address_space *m = op->m;
	uint64_t pos = folio_pos(m, f) + ((uint64_t)first << m->blkbits), isize;
	int ret;

	op->missed += n;
	if (map->type == IOMAP_INLINE && !pos) {
		ret = read_inline(m, f, map);
		if (ret || n == 1)
			return ret;
		first++;
		n--;
		pos += block_bytes(m);
	}
	if (iomap_needs_zeroing(m, map, pos)) {
		folio_publish(m, f, first, n, NULL, NULL, false);
		return 0;
	}
	/* blocks wholly behind the end of the file are zeros, whatever is on the device (B3) */
	isize = i_size_read(m);
	if (div_up(isize - pos, block_bytes(m)) < n) {
		unsigned int inside = (unsigned int)div_up(isize - pos, block_bytes(m));

		folio_publish(m, f, first + inside, n - inside, NULL, NULL, false);
		n = inside;
	}
	while (n) {
		ret = add_piece(op, f, first, n, map);
		if (ret < 0)
			return ret;
		first += (unsigned int)ret;
		n -= (unsigned int)ret;
	}
	return 0;
}

/* Block @i of piece @p of a failed bio; @at: its place in the bio, in blocks. */
static int recover_block(struct read_op *op, struct read_io *io, struct read_piece *p,
			 unsigned int i, unsigned int at)
{
	struct address_space *m = io->m;
	struct iomap_suspect s = {
		.m = m,
		.bdev = io->bdev,
		.pos = io->pos + ((uint64_t)at << m->blkbits),
		.dev = io->dev + ((uint64_t)at << m->blkbits),
		.seg = p->seg,
		.data = (char *)p->seg->base + ((size_t)i << m->blkbits),
		.tuple_bytes = io->tuple_bytes,
	};
	int err;

	memcpy(s.tuples, io->tuples + (size_t)at * io->tuple_bytes, io->tuple_bytes);
	err = iomap_suspect_resolve(&s, op->ops, io->bio->bi_status);
	if (!err)
		attach(m, p, i, 1);
	else
		folio_set_block_error(p->f, p->first + i);
	return err;
}

static void read_io_finish(struct read_op *op, struct read_io *io)
{
	unsigned int i, j, at = 0;
	int err;

	for (i = 0; i < io->nr_pieces; i++) {
		struct read_piece *p = &io->pieces[i];

		if (!io->bio->bi_status)
			attach(io->m, p, 0, p->n);
		for (j = 0; io->bio->bi_status && j < p->n; j++, at++) {
			err = recover_block(op, io, p, j, at);
			if (err && !op->error)
				op->error = err;
		}
		read_pending_done(p->f, p->n << io->m->blkbits, false);
	}
	read_io_free(io);
}

static void wait_inflight(struct read_op *op)
{
	pthread_mutex_lock(&op->lock);
	while (op->inflight)
		pthread_cond_wait(&op->done, &op->lock);
	pthread_mutex_unlock(&op->lock);
}

/* The last bio is run, and verified, by the thread that waits for it anyway. */
static void submit_last_sync(struct read_op *op)
{
	struct read_io *io = take_cur(op);
	int err;

	if (!io)
		return;
	list_add_tail(&io->list, &op->ios);
	err = read_io_prep(io, NULL);
	if (err)
		io->bio->bi_status = err;
	else
		submit_bio_wait(io->bio);
}

int read_op_finish(struct read_op *op)
{
	struct read_io *io, *next;
	unsigned int i;

	if (op->sync) {
		submit_last_sync(op);
		wait_inflight(op);
		list_for_each_entry_safe(io, next, &op->ios, list) {
			list_del_init(&io->list);
			read_io_finish(op, io);
		}
	} else {
		submit_cur(op);
		/* our own hold on each folio, see iomap_readahead() */
		for (i = 0; i < op->nr_folios; i++)
			read_pending_done(op->folios[i], 1, true);
	}
	pthread_cond_destroy(&op->done);
	pthread_mutex_destroy(&op->lock);
	return op->error;
}
