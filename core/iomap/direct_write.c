/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Direct writes.  Whole blocks go from the caller's memory to new blocks, as ioends
 * of the same kind that writeback makes, with tuples generated for their bios and completed by the
 * same transactions; only that no folio hears of it, but the caller, who waits.
 *
 *   pos      ws                               we      end
 *    |        |                               |        |
 *  [ b b b ][ b b b ][ b b b ][ b b b ][ b b b ][ b b b ]
 *    cache,            ioends                   cache,
 *    written back                               written back
 */
#include <errno.h>
#include <string.h>
#include "core/block/integrity.h"
#include "core/iomap/internal.h"
#include "core/lib/trace.h"

/* One run of whole blocks; lives until its ioends have ended. */
struct iomap_dio {
	struct address_space *m;
	const struct iomap_src *src; /* begins at @pos */
	uint64_t pos;
	struct iomap_writepage_ctx *wpc;
	pthread_mutex_t lock; /* what follows */
	pthread_cond_t done;
	unsigned int inflight;
	uint64_t bad; /* where the first failure is */
	int error;    /* which */
};

static void dio_write_failed(struct iomap_dio *dio, uint64_t pos, int err)
{
	if (pos < dio->bad) {
		dio->bad = pos;
		dio->error = err;
	}
}

void iomap_dio_end_ioend(struct iomap_dio *dio, uint64_t pos, int error)
{
	pthread_mutex_lock(&dio->lock);
	if (error)
		dio_write_failed(dio, pos, error);
	if (!--dio->inflight)
		pthread_cond_signal(&dio->done);
	pthread_mutex_unlock(&dio->lock);
}

/* @bytes from file offset @pos on into bios. */
static void dio_fill_ioend(struct iomap_dio *dio, struct iomap_ioend *ioend, uint64_t pos,
			   uint64_t bytes)
{
	struct iomap_writepage_ctx *wpc = dio->wpc;
	char *mem = (char *)dio->src->buf + (pos - dio->pos);

	while (bytes) {
		unsigned int n = (unsigned int)min_t(uint64_t, bytes, IOEND_BIO_BYTES);
		struct bio *bio = iomap_ioend_add_bio(ioend, wpc->iomap.bdev);

		bio_add_vec(bio, dio->src->seg, mem, n);
		ioend->io_size += n;
		mem += n;
		bytes -= n;
	}
}

/* A place for the front of @len bytes at @pos, and off they go.  Bytes or -errno. */
static int64_t dio_write_run(struct iomap_dio *dio, const struct iomap_writeback_ops *wb_ops,
			     uint64_t pos, uint64_t len)
{
	struct iomap_writepage_ctx *wpc = dio->wpc;
	/* all that can fail for want of memory comes first: space that has a block must not be lost
	 * track of */
	struct iomap_ioend *ioend = iomap_ioend_alloc(dio->m, wb_ops);
	unsigned int bios;
	int err;

	if (!ioend)
		return -ENOMEM;
	len = min_t(uint64_t, len, IOMAP_IOEND_MAX_BYTES);
	bios = iomap_ioend_reserve(ioend, (unsigned int)div_up(len, IOEND_BIO_BYTES), 1, wpc->bs,
				   true);
	if (!bios) {
		iomap_ioend_free(ioend);
		return -ENOMEM;
	}
	len = min_t(uint64_t, len, (uint64_t)bios * IOEND_BIO_BYTES);
	err = wb_ops->map_blocks(wpc, dio->m, pos, len);
	if (!err && (pos < wpc->iomap.offset || pos - wpc->iomap.offset >= wpc->iomap.length ||
		     (wpc->iomap.type != IOMAP_MAPPED && wpc->iomap.type != IOMAP_UNWRITTEN)))
		err = -EIO;
	if (err) {
		iomap_ioend_free(ioend);
		return err;
	}
	len = min_t(uint64_t, len, wpc->iomap.offset + wpc->iomap.length - pos);
	iomap_ioend_start(ioend, &wpc->iomap, pos);
	ioend->io_dio = dio;
	dio_fill_ioend(dio, ioend, pos, len);
	pthread_mutex_lock(&dio->lock);
	dio->inflight++;
	pthread_mutex_unlock(&dio->lock);
	iomap_ioend_submit(ioend, 0);
	return (int64_t)len;
}

/* The current mapping brought a reservation for each of its blocks; those in ioends keep it.  Bytes
 * or -errno. */
static int64_t dio_write_mapping(struct iomap_dio *dio, struct iomap_iter *it,
				 const struct iomap_writeback_ops *wb_ops)
{
	uint64_t len = iomap_length(it), done = 0;
	int64_t n = 0;

	while (done < len) {
		n = dio_write_run(dio, wb_ops, it->pos + done, len - done);
		if (n < 0)
			break;
		done += (uint64_t)n;
		it->dirtied += (uint64_t)n >> dio->m->blkbits;
	}
	return done ? (int64_t)done : n;
}

/* Bytes of whole blocks written and mapped in a row, or -errno. */
static int64_t dio_write_blocks(struct address_space *m, uint64_t pos, const struct iomap_src *src,
				const struct iomap_ops *ops, struct iomap_writepage_ctx *wpc,
				const struct iomap_writeback_ops *wb_ops)
{
	struct iomap_dio dio = {
		.m = m, .src = src, .pos = pos, .wpc = wpc, .bad = pos + src->len
	};
	struct iomap_iter it = {
		.mapping = m, .pos = pos, .len = src->len, .flags = IOMAP_WRITE | IOMAP_DIRECT
	};
	int ret;

	pthread_mutex_init(&dio.lock, NULL);
	pthread_cond_init(&dio.done, NULL);
	wpc->ops = wb_ops;
	wpc->direct = true;
	while ((ret = iomap_iter(&it, ops)) > 0)
		it.processed = dio_write_mapping(&dio, &it, wb_ops);
	pthread_mutex_lock(&dio.lock);
	if (ret < 0)
		dio_write_failed(&dio, it.pos, ret);
	while (dio.inflight)
		pthread_cond_wait(&dio.done, &dio.lock);
	pthread_mutex_unlock(&dio.lock);
	pthread_cond_destroy(&dio.done);
	pthread_mutex_destroy(&dio.lock);
	if (dio.bad == pos)
		return dio.error;
	atomic_fetch_add(&m->cache->direct_write_bytes, dio.bad - pos);
	if (dio.bad > i_size_read(m))
		i_size_write(m, dio.bad);
	return (int64_t)(dio.bad - pos);
}

/* Through the cache, and from there to the device. */
static int64_t dio_write_cached(struct address_space *m, uint64_t pos, const struct iomap_src *src,
				const struct iomap_ops *ops)
{
	uint64_t bs = block_bytes(m);
	int64_t ret = iomap_file_buffered_write(m, pos, src, ops);
	int err;

	if (ret <= 0)
		return ret;
	err = filemap_write_and_wait_range(m, round_down_to(pos, bs),
					   round_up_to(pos + (uint64_t)ret, bs));
	return err ? err : ret;
}

/* Whole blocks from aligned memory. */
static int64_t write_aligned(struct address_space *m, uint64_t pos, const struct iomap_src *src,
			     const struct iomap_ops *ops, struct iomap_writepage_ctx *wpc,
			     const struct iomap_writeback_ops *wb_ops)
{
	uint64_t end = pos + src->len, isize = i_size_read(m);
	int64_t ret = 0;

	if (pos > isize)
		ret = iomap_zero_range(m, isize, pos - isize, NULL, ops);
	/* what is dirty is written before it is replaced: should we fail, it is not lost */
	if (!ret)
		ret = filemap_write_and_wait_range(m, pos, end);
	if (ret)
		return ret;
	if (invalidate_inode_pages_range(m, pos, end))
		return dio_write_cached(m, pos, src, ops);
	ret = dio_write_blocks(m, pos, src, ops, wpc, wb_ops);
	/* a reader without the inode lock may have brought the old content back */
	invalidate_inode_pages_range(m, pos, end);
	return ret;
}

int64_t iomap_dio_write(struct address_space *m, uint64_t pos, const struct iomap_src *src,
			const struct iomap_ops *ops, struct iomap_writepage_ctx *wpc,
			const struct iomap_writeback_ops *wb_ops)
{
	uint64_t bs = block_bytes(m), end = pos + src->len, ws = round_up_to(pos, bs),
		 we = round_down_to(end, bs);
	uint64_t at = pos;
	int64_t ret = 0;

	if (!src->len)
		return 0;
	trace3(iomap_dio_write_begin, m->ino, pos, src->len);
	if (ws >= we || !iomap_dio_aligned(m, (const char *)src->buf + (ws - pos)))
		return dio_write_cached(m, pos, src, ops);
	while (at < end) {
		uint64_t stop = at < ws ? ws : at < we ? we : end;
		struct iomap_src part = { (const char *)src->buf + (at - pos), stop - at,
					  src->seg };

		if (stop == we)
			ret = write_aligned(m, at, &part, ops, wpc, wb_ops);
		else
			ret = dio_write_cached(m, at, &part, ops);
		if (ret > 0)
			at += (uint64_t)ret;
		if (ret <= 0 || at < stop)
			break;
	}
	return at > pos ? (int64_t)(at - pos) : ret;
}
