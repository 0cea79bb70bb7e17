/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <string.h>
#include "tests/lib/fixture.h"
#include "tests/lib/toymap_priv.h"

static int toy_map_blocks(struct iomap_writepage_ctx *wpc, struct address_space *m, uint64_t offset,
			  uint64_t len)
{
	struct toymap *t = m->host;
	struct iomap *map = &wpc->iomap;
	uint64_t n = 1, want = len >> m->blkbits, addr;
	int err = 0;

	memset(map, 0, sizeof(*map));
	map->offset = offset;
	map->bdev = t->bdev;
	map->addr = IOMAP_NULL_ADDR;
	pthread_mutex_lock(&t->lock);
	if (t->map_errors) {
		t->map_errors--;
		err = t->map_error;
		goto out;
	}
	if (!offset && i_size_read(m) <= t->inline_max && !wpc->direct) {
		map->type = IOMAP_INLINE;
		map->length = toy_bs(t);
		t->reserved--;
		goto out;
	}
	map->type = IOMAP_MAPPED;
	map->addr = toy_dev_alloc(t);
	if (map->addr == IOMAP_NULL_ADDR) {
		err = -ENOSPC;
		goto out;
	}
	for (; n < want; n++) {
		addr = toy_dev_alloc(t);
		if (addr == IOMAP_NULL_ADDR)
			break;
		if (addr != map->addr + (n << m->blkbits)) {
			toy_dev_free(t, addr);
			break;
		}
	}
	map->length = n << m->blkbits;
	t->reserved -= (int64_t)n;
out:
	pthread_mutex_unlock(&t->lock);
	return err;
}

static int toy_prepare(struct iomap_ioend *ioend, int status)
{
	struct toymap *t = ioend->io_mapping->host;

	return status ? status : t->prepare_error;
}

static void load_inline(struct toymap *t, struct iomap_ioend *io)
{
	struct bio *bio = iomap_ioend_first_bio(io);
	uint64_t size = i_size_read(&t->mapping);

	FX_CHECK(bio->bi_vcnt == 1 && bio->bi_io_vec[0].bv_len == toy_bs(t));
	toy_block_drop(t, &t->blocks[0]);
	t->blocks[0].type = IOMAP_INLINE;
	t->inline_len = (uint32_t)(size < t->inline_max ? size : t->inline_max);
	memcpy(t->inline_data, bio->bi_io_vec[0].bv_base, t->inline_len);
}

static void load_extent(struct toymap *t, struct iomap_ioend *io)
{
	uint64_t first = io->io_offset >> t->mapping.blkbits, n = io->io_size >> t->mapping.blkbits,
		 i;
	struct tuple16 *tuples = malloc(n * sizeof(*tuples));
	unsigned int bytes = 0;

	if (t->bdev->integrity) {
		for (struct bio *b = iomap_ioend_first_bio(io); b; b = iomap_ioend_next_bio(io, b))
			bytes += bio_integrity_copy_tuples(b, (char *)tuples + bytes,
							   (unsigned int)(n * sizeof(*tuples)) -
								   bytes);
		FX_CHECK(bytes == n * sizeof(*tuples));
	}
	for (i = 0; i < n; i++) {
		struct toy_block *b = &t->blocks[first + i];

		toy_block_drop(t, b);
		b->type = IOMAP_MAPPED;
		b->addr = io->io_addr + (i << t->mapping.blkbits);
		if (t->bdev->integrity)
			b->tuple = tuples[i];
	}
	free(tuples);
}

/* One ioend: into the map, or its space back. */
static void end_one(struct toymap *t, struct iomap_ioend *io, int err)
{
	uint64_t off;

	pthread_mutex_lock(&t->lock);
	t->ioends++;
	if (err) {
		for (off = 0; off < io->io_size && io->io_type == IOMAP_MAPPED; off += toy_bs(t))
			toy_dev_free(t, io->io_addr + off);
	} else if (io->io_type == IOMAP_INLINE) {
		load_inline(t, io);
	} else {
		load_extent(t, io);
	}
	t->validity++;
	pthread_mutex_unlock(&t->lock);
}

static void toy_end_ioends(void *host_fs, struct list_head *ioends)
{
	struct toymap *t = host_fs;
	struct iomap_ioend *io, *next, *part;

	pthread_mutex_lock(&t->lock);
	t->batches++;
	pthread_mutex_unlock(&t->lock);
	list_for_each_entry_safe(io, next, ioends, io_list) {
		end_one(t, io, io->io_error);
		list_for_each_entry(part, &io->io_merged, io_list)
			end_one(t, part, io->io_error);
		iomap_finish_ioends(io, io->io_error);
	}
}

static void toy_merge(struct iomap_ioend *ioend, struct iomap_ioend *next)
{
	struct toymap *t = ioend->io_mapping->host;

	pthread_mutex_lock(&t->lock);
	t->merges++;
	pthread_mutex_unlock(&t->lock);
}

static int toy_writepages(struct address_space *m, struct writeback_control *wbc)
{
	struct toymap *t = m->host;
	struct iomap_writepage_ctx wpc = { 0 };

	return iomap_writepages(m, wbc, &wpc, &t->wb_ops);
}

static void reservation_change(struct address_space *m, int64_t n)
{
	struct toymap *t = m->host;

	pthread_mutex_lock(&t->lock);
	t->reserved += n;
	pthread_mutex_unlock(&t->lock);
}

static void toy_undirty(struct address_space *m, uint64_t n)
{
	reservation_change(m, -(int64_t)n);
}

static void toy_redirty(struct iomap_ioend *ioend, uint64_t n)
{
	reservation_change(ioend->io_mapping, (int64_t)n);
}

const struct address_space_ops toy_aops = {
	.writepages = toy_writepages,
	.undirty = toy_undirty,
};

void toy_set_wb_ops(struct toymap *t)
{
	t->wb_ops = (struct iomap_writeback_ops){
		.map_blocks = toy_map_blocks,
		.prepare_ioend = toy_prepare,
		.end_ioends = toy_end_ioends,
		.redirty = toy_redirty,
		.merge_private = toy_merge,
		.keep_dirty_on_error = true,
		.host_fs = t,
	};
}
