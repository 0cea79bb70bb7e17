/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "tests/lib/toymap.h"

#define CHECK(x)                                                                \
	do {                                                                    \
		if (!(x)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x); \
			abort();                                                \
		}                                                               \
	} while (0)

static uint64_t bs_of(const struct toymap *t)
{
	return 1ULL << t->mapping.blkbits;
}

/* ---- device blocks ---- */

static uint64_t dev_alloc(struct toymap *t)
{
	uint64_t i, b;

	if (t->scatter)
		t->next += 7;
	for (i = 0; i < t->dev_blocks; i++) {
		b = (t->next + i) % t->dev_blocks;
		if (!t->used[b]) {
			t->used[b] = 1;
			t->next = b + 1;
			return b << t->mapping.blkbits;
		}
	}
	return IOMAP_NULL_ADDR;
}

static void dev_free(struct toymap *t, uint64_t addr)
{
	CHECK(t->used[addr >> t->mapping.blkbits]);
	t->used[addr >> t->mapping.blkbits]--;
}

static bool has_addr(const struct toy_block *b)
{
	return b->type == IOMAP_MAPPED || b->type == IOMAP_UNWRITTEN;
}

/* Block @b becomes a hole; a shared one belongs to somebody else too. */
static void block_drop(struct toymap *t, struct toy_block *b)
{
	if (has_addr(b))
		dev_free(t, b->addr);
	memset(b, 0, sizeof(*b));
}

/* ---- mapping ---- */

static bool goes_on(const struct toymap *t, const struct toy_block *a, const struct toy_block *b)
{
	return a->type == b->type && a->shared == b->shared && a->type != IOMAP_INLINE &&
	       (!has_addr(a) || a->addr + bs_of(t) == b->addr);
}

static int fill_map(struct toymap *t, uint64_t first, uint64_t last, bool tuples, struct iomap *map)
{
	struct toy_block *b = &t->blocks[first];
	uint64_t n = 1, i;
	struct tuple16 *copy;

	while (first + n <= last && goes_on(t, &t->blocks[first + n - 1], &t->blocks[first + n]))
		n++;
	map->type = b->type;
	map->addr = has_addr(b) ? b->addr : IOMAP_NULL_ADDR;
	map->offset = first << t->mapping.blkbits;
	map->length = n << t->mapping.blkbits;
	map->flags = b->shared ? IOMAP_F_SHARED : 0;
	map->bdev = t->bdev;
	map->validity = t->validity;
	if (b->type == IOMAP_INLINE) {
		char *data = malloc(t->inline_len + 1);

		memcpy(data, t->inline_data, t->inline_len);
		map->inline_data = data;
		map->inline_len = t->inline_len;
	}
	if (b->type == IOMAP_MAPPED && tuples && t->bdev->integrity) {
		copy = malloc(n * sizeof(*copy));
		for (i = 0; i < n; i++)
			copy[i] = t->blocks[first + i].tuple;
		map->tuples = copy;
	}
	return 0;
}

/* Shared blocks are read where they are, and written elsewhere. */
static void split_source(struct iomap *iomap, struct iomap *srcmap)
{
	*srcmap = *iomap;
	iomap->type = IOMAP_DELALLOC;
	iomap->addr = IOMAP_NULL_ADDR;
	/* iomap->tuples stays: it is by this one that toy_end() frees them */
}

static int toy_begin(struct address_space *m, uint64_t pos, uint64_t length, unsigned int flags,
		     struct iomap *iomap, struct iomap *srcmap)
{
	struct toymap *t = m->host;
	uint64_t first = pos >> m->blkbits, last = (pos + length - 1) >> m->blkbits;
	bool write = flags & (IOMAP_WRITE | IOMAP_ZERO | IOMAP_UNSHARE);
	int err = 0;

	pthread_mutex_lock(&t->lock);
	t->begins++;
	if (last >= t->nr_blocks)
		last = t->nr_blocks - 1;
	if (first > last)
		err = -EFBIG;
	if (!err)
		err = fill_map(t, first, last, !write || flags & IOMAP_UNSHARE, iomap);
	if (!err && write) {
		/* a hole may hide dirty blocks: then they are zeroed under their old reservation */
		if (iomap->type == IOMAP_HOLE && !(flags & IOMAP_ZERO))
			iomap->type = IOMAP_DELALLOC;
		t->reserved += (int64_t)(iomap->length >> m->blkbits);
		iomap->private = (void *)(uintptr_t)(iomap->length >> m->blkbits);
		if (t->cow && iomap->type == IOMAP_MAPPED && iomap->flags & IOMAP_F_SHARED)
			split_source(iomap, srcmap);
	}
	pthread_mutex_unlock(&t->lock);
	return err;
}

static int toy_end(struct address_space *m, uint64_t pos, uint64_t length, uint64_t written,
		   uint64_t dirtied, unsigned int flags, struct iomap *iomap)
{
	struct toymap *t = m->host;

	free((void *)iomap->tuples);
	free((void *)iomap->inline_data);
	pthread_mutex_lock(&t->lock);
	t->ends++;
	t->reserved -= (int64_t)(uintptr_t)iomap->private - (int64_t)dirtied;
	pthread_mutex_unlock(&t->lock);
	return 0;
}

static bool toy_valid(struct address_space *m, const struct iomap *iomap)
{
	struct toymap *t = m->host;
	bool ok;

	pthread_mutex_lock(&t->lock);
	ok = iomap->validity == t->validity;
	pthread_mutex_unlock(&t->lock);
	return ok;
}

static void toy_mismatch(struct address_space *m, uint64_t pos, uint64_t dev_addr,
			 uint64_t expected, uint64_t found)
{
	struct toymap *t = m->host;

	pthread_mutex_lock(&t->lock);
	t->mismatches++;
	t->last_mismatch = pos;
	pthread_mutex_unlock(&t->lock);
}

const struct iomap_ops toy_ops = {
	.iomap_begin = toy_begin,
	.iomap_end = toy_end,
	.iomap_valid = toy_valid,
	.read_mismatch = toy_mismatch,
};

/* ---- writeback ---- */

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
		map->length = bs_of(t);
		t->reserved--;
		goto out;
	}
	map->type = IOMAP_MAPPED;
	map->addr = dev_alloc(t);
	if (map->addr == IOMAP_NULL_ADDR) {
		err = -ENOSPC;
		goto out;
	}
	for (; n < want; n++) {
		addr = dev_alloc(t);
		if (addr == IOMAP_NULL_ADDR)
			break;
		if (addr != map->addr + (n << m->blkbits)) {
			dev_free(t, addr);
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

	CHECK(bio->bi_vcnt == 1 && bio->bi_io_vec[0].bv_len == bs_of(t));
	block_drop(t, &t->blocks[0]);
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
		CHECK(bytes == n * sizeof(*tuples));
	}
	for (i = 0; i < n; i++) {
		struct toy_block *b = &t->blocks[first + i];

		block_drop(t, b);
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
		for (off = 0; off < io->io_size && io->io_type == IOMAP_MAPPED; off += bs_of(t))
			dev_free(t, io->io_addr + off);
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

static const struct address_space_ops toy_aops = {
	.writepages = toy_writepages,
	.undirty = toy_undirty,
};

/* ---- life ---- */

void toymap_init(struct toymap *t, const struct toy_config *cfg)
{
	struct bdev *mem = bdev_mem_create(cfg->dev_bytes);

	memset(t, 0, sizeof(*t));
	CHECK(mem && !blk_init(2) && !iomap_ioend_init());
	t->bdev = faultdev_create(mem);
	t->cache = pagecache_create(&cfg->cache);
	CHECK(t->bdev && t->cache);
	mapping_init(&t->mapping, t->cache, t, 42, &toy_aops, cfg->blkbits, cfg->folio_shift);
	if (cfg->integrity) {
		t->bi = (struct blk_integrity){ .profile = &profile_xxh3_64,
						.interval_exp = (uint8_t)cfg->blkbits,
						.flags = BLK_INTEGRITY_GENERATE |
							 BLK_INTEGRITY_VERIFY,
						.key = 77,
						.app = 1 };
		t->bdev->integrity = &t->bi;
	}
	pthread_mutex_init(&t->lock, NULL);
	t->nr_blocks = cfg->file_bytes >> cfg->blkbits;
	t->blocks = calloc(t->nr_blocks, sizeof(*t->blocks));
	t->dev_blocks = cfg->dev_bytes >> cfg->blkbits;
	t->used = calloc(t->dev_blocks, 1);
	t->inline_max = cfg->inline_max;
	t->inline_data = calloc(1, cfg->inline_max + 1);
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

void toymap_exit(struct toymap *t)
{
	truncate_inode_pages(&t->mapping, 0);
	iomap_ioend_drain();
	CHECK(!toymap_reservation_gap(t));
	mapping_destroy(&t->mapping);
	pagecache_destroy(t->cache);
	iomap_ioend_exit();
	blk_exit();
	bdev_close(t->bdev);
	pthread_mutex_destroy(&t->lock);
	free(t->blocks);
	free(t->used);
	free(t->inline_data);
}

int toymap_truncate(struct toymap *t, uint64_t size)
{
	struct address_space *m = &t->mapping;
	uint64_t old = i_size_read(m), b;
	int err;

	if (size == old)
		return 0;
	err = iomap_truncate_page(m, size < old ? size : old, NULL, &toy_ops);
	if (err)
		return err;
	i_size_write(m, size);
	if (size > old)
		return 0;
	truncate_inode_pages(m, round_up_to(size, bs_of(t)));
	pthread_mutex_lock(&t->lock);
	for (b = div_up(size, bs_of(t)); b < t->nr_blocks; b++)
		block_drop(t, &t->blocks[b]);
	if (t->inline_len > size)
		t->inline_len = (uint32_t)size;
	t->validity++;
	pthread_mutex_unlock(&t->lock);
	return 0;
}

int toymap_punch(struct toymap *t, uint64_t pos, uint64_t len)
{
	struct address_space *m = &t->mapping;
	uint64_t bs = bs_of(t), end = pos + len, first = round_up_to(pos, bs),
		 last = round_down_to(end, bs), b;
	int err;

	if (first >= last)
		return iomap_zero_range(m, pos, len, NULL, &toy_ops);
	err = iomap_zero_range(m, pos, first - pos, NULL, &toy_ops);
	if (!err)
		err = iomap_zero_range(m, last, end - last, NULL, &toy_ops);
	if (err)
		return err;
	truncate_inode_pages_range(m, first, last);
	pthread_mutex_lock(&t->lock);
	for (b = first >> m->blkbits; b < last >> m->blkbits; b++)
		block_drop(t, &t->blocks[b]);
	if (!first)
		t->inline_len = 0;
	t->validity++;
	pthread_mutex_unlock(&t->lock);
	return 0;
}

int64_t toymap_write(struct toymap *t, uint64_t pos, const void *buf, size_t len)
{
	struct iomap_src src = { .buf = buf, .len = len };
	int64_t n = iomap_file_buffered_write(&t->mapping, pos, &src, &toy_ops);

	balance_dirty_pages(&t->mapping);
	return n;
}

int64_t toymap_read(struct toymap *t, uint64_t pos, void *buf, size_t len)
{
	struct iomap_read_result res;
	size_t done = 0;
	int err = iomap_file_buffered_read(&t->mapping, pos, len, 0, &toy_ops, &res);
	struct iomap_ahead ahead;

	if (err)
		return err;
	for (unsigned int i = 0; i < res.nr_iov; i++) {
		memcpy((char *)buf + done, res.iov[i].iov_base, res.iov[i].iov_len);
		done += res.iov[i].iov_len;
	}
	CHECK(done == res.bytes);
	iomap_read_result_release(&res);
	if (iomap_read_note(&t->mapping, pos, pos + done, &ahead))
		iomap_read_ahead(&t->mapping, &ahead, &toy_ops);
	return (int64_t)done;
}

int toymap_sync(struct toymap *t)
{
	return filemap_write_and_wait_range(&t->mapping, 0, UINT64_MAX);
}

void toymap_place(struct toymap *t, uint64_t first, uint64_t n, enum iomap_type type,
		  unsigned char fill)
{
	unsigned char *buf = NULL;

	CHECK(!posix_memalign((void **)&buf, 4096, bs_of(t)));
	pthread_mutex_lock(&t->lock);
	for (uint64_t i = first; i < first + n; i++) {
		struct toy_block *b = &t->blocks[i];

		block_drop(t, b);
		b->type = type;
		b->addr = dev_alloc(t);
		CHECK(b->addr != IOMAP_NULL_ADDR);
		memset(buf, fill + (int)i, bs_of(t));
		CHECK(!bdev_write(t->bdev, buf, bs_of(t), b->addr));
		if (t->bdev->integrity)
			blk_integrity_generate_buf(&t->bi, buf, b->addr >> t->mapping.blkbits, 1, 1,
						   &b->tuple);
	}
	t->validity++;
	pthread_mutex_unlock(&t->lock);
	free(buf);
}

void toymap_allocate(struct toymap *t, uint64_t first, uint64_t n)
{
	pthread_mutex_lock(&t->lock);
	for (uint64_t i = first; i < first + n; i++) {
		struct toy_block *b = &t->blocks[i];
		uint64_t addr;

		if (b->type != IOMAP_HOLE)
			continue;
		addr = dev_alloc(t);
		if (addr == IOMAP_NULL_ADDR)
			break;
		b->type = IOMAP_UNWRITTEN;
		b->addr = addr;
	}
	t->validity++;
	pthread_mutex_unlock(&t->lock);
}

void toymap_share(struct toymap *t, uint64_t first, uint64_t n)
{
	pthread_mutex_lock(&t->lock);
	for (uint64_t i = first; i < first + n; i++)
		if (t->blocks[i].type == IOMAP_MAPPED)
			t->blocks[i].shared = true;
	t->validity++;
	pthread_mutex_unlock(&t->lock);
}

int64_t toymap_reservation_gap(struct toymap *t)
{
	int64_t gap;

	pthread_mutex_lock(&t->lock);
	gap = t->reserved - (int64_t)atomic_load(&t->mapping.nr_dirty_blocks);
	pthread_mutex_unlock(&t->lock);
	return gap;
}

int64_t toymap_space_gap(struct toymap *t)
{
	int64_t gap = 0;

	pthread_mutex_lock(&t->lock);
	for (uint64_t i = 0; i < t->dev_blocks; i++)
		gap += t->used[i];
	for (uint64_t i = 0; i < t->nr_blocks; i++)
		gap -= has_addr(&t->blocks[i]);
	pthread_mutex_unlock(&t->lock);
	return gap;
}
