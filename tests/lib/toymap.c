/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "tests/lib/fixture.h"
#include "tests/lib/toymap_priv.h"

uint64_t toy_bs(const struct toymap *t)
{
	return 1ULL << t->mapping.blkbits;
}

/* ---- device blocks ---- */

uint64_t toy_dev_alloc(struct toymap *t)
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

void toy_dev_free(struct toymap *t, uint64_t addr)
{
	FX_CHECK(t->used[addr >> t->mapping.blkbits]);
	t->used[addr >> t->mapping.blkbits]--;
}

bool toy_has_addr(const struct toy_block *b)
{
	return b->type == IOMAP_MAPPED || b->type == IOMAP_UNWRITTEN;
}

void toy_block_drop(struct toymap *t, struct toy_block *b)
{
	if (toy_has_addr(b))
		toy_dev_free(t, b->addr);
	memset(b, 0, sizeof(*b));
}

/* ---- mapping ---- */

static bool goes_on(const struct toymap *t, const struct toy_block *a, const struct toy_block *b)
{
	return a->type == b->type && a->shared == b->shared && a->type != IOMAP_INLINE &&
	       (!toy_has_addr(a) || a->addr + toy_bs(t) == b->addr);
}

static int fill_map(struct toymap *t, uint64_t first, uint64_t last, bool tuples, struct iomap *map)
{
	struct toy_block *b = &t->blocks[first];
	uint64_t n = 1, i;
	struct tuple16 *copy;

	while (first + n <= last && goes_on(t, &t->blocks[first + n - 1], &t->blocks[first + n]))
		n++;
	map->type = b->type;
	map->addr = toy_has_addr(b) ? b->addr : IOMAP_NULL_ADDR;
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

/* ---- life ---- */

void toymap_init(struct toymap *t, const struct toy_config *cfg)
{
	struct bdev *mem = bdev_mem_create(cfg->dev_bytes);

	memset(t, 0, sizeof(*t));
	FX_CHECK(mem && !blk_init(2) && !iomap_ioend_init());
	t->bdev = faultdev_create(mem);
	t->cache = pagecache_create(&cfg->cache);
	FX_CHECK(t->bdev && t->cache);
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
	toy_set_wb_ops(t);
}

void toymap_exit(struct toymap *t)
{
	truncate_inode_pages(&t->mapping, 0);
	iomap_ioend_drain();
	FX_CHECK(!toymap_reservation_gap(t));
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
	truncate_inode_pages(m, round_up_to(size, toy_bs(t)));
	pthread_mutex_lock(&t->lock);
	for (b = div_up(size, toy_bs(t)); b < t->nr_blocks; b++)
		toy_block_drop(t, &t->blocks[b]);
	if (t->inline_len > size)
		t->inline_len = (uint32_t)size;
	t->validity++;
	pthread_mutex_unlock(&t->lock);
	return 0;
}

int toymap_punch(struct toymap *t, uint64_t pos, uint64_t len)
{
	struct address_space *m = &t->mapping;
	uint64_t bs = toy_bs(t), end = pos + len, first = round_up_to(pos, bs),
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
		toy_block_drop(t, &t->blocks[b]);
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
	FX_CHECK(done == res.bytes);
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

	FX_CHECK(!posix_memalign((void **)&buf, 4096, toy_bs(t)));
	pthread_mutex_lock(&t->lock);
	for (uint64_t i = first; i < first + n; i++) {
		struct toy_block *b = &t->blocks[i];

		toy_block_drop(t, b);
		b->type = type;
		b->addr = toy_dev_alloc(t);
		FX_CHECK(b->addr != IOMAP_NULL_ADDR);
		memset(buf, fill + (int)i, toy_bs(t));
		FX_CHECK(!bdev_write(t->bdev, buf, toy_bs(t), b->addr));
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
		addr = toy_dev_alloc(t);
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
		gap -= toy_has_addr(&t->blocks[i]);
	pthread_mutex_unlock(&t->lock);
	return gap;
}
