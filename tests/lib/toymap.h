/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A toy file system of one file: an array says of each block what it is and where.
 * Like the real one it writes to new blocks only, keeps a tuple for each block,
 * may keep a small file inline, and counts its reservations of space: at any quiet moment there is
 * exactly one for each dirty block.
 */
#ifndef TESTS_TOYMAP_H
#define TESTS_TOYMAP_H

#include "core/block/integrity.h"
#include "core/iomap/iomap.h"
#include "tests/lib/faultdev.h"

struct toy_block {
	enum iomap_type type;
	bool shared;
	uint64_t addr; /* device bytes */
	struct tuple16 tuple;
};

struct toymap {
	struct address_space mapping;
	struct pagecache *cache;
	struct bdev *bdev; /* a faultdev */
	struct blk_integrity bi;
	pthread_mutex_t lock; /* what follows */
	struct toy_block *blocks;
	uint64_t nr_blocks;  /* of the file, at most */
	unsigned char *used; /* device blocks */
	uint64_t dev_blocks, next;
	unsigned int inline_max; /* bytes; 0: never inline */
	char *inline_data;
	uint32_t inline_len;
	int64_t reserved;
	uint64_t validity;
	/* faults and what has been seen */
	int map_error;	/* map_blocks fails with it */
	int map_errors; /* so many times */
	int prepare_error;
	bool scatter; /* every block somewhere else */
	bool cow; /* a write to shared blocks gets a new place and, as its source map, the old one
		   */
	unsigned int mismatches;
	uint64_t begins, ends, batches, ioends, merges, last_mismatch;
	struct iomap_writeback_ops wb_ops;
};

struct toy_config {
	unsigned int blkbits, folio_shift;
	uint64_t file_bytes, dev_bytes;
	struct pagecache_config cache;
	bool integrity;
	unsigned int inline_max;
};

/* Starts the block layer and iomap too.  Asserts that it works. */
void toymap_init(struct toymap *t, const struct toy_config *cfg);
/* Drops everything, checks that no reservation is left, stops all. */
void toymap_exit(struct toymap *t);

extern const struct iomap_ops toy_ops;

/* What the file system does around iomap. */
int toymap_truncate(struct toymap *t, uint64_t size);
/* Punch a hole: edges are zeroed, whole blocks go.  @pos + @len at most the file's size. */
int toymap_punch(struct toymap *t, uint64_t pos, uint64_t len);
int64_t toymap_write(struct toymap *t, uint64_t pos, const void *buf, size_t len);
/* Bytes read into @buf, or -errno. */
int64_t toymap_read(struct toymap *t, uint64_t pos, void *buf, size_t len);
int toymap_sync(struct toymap *t);
/* Blocks [first, first + n) get device blocks and content straight on the device (bytes = @fill +
 * block number). */
void toymap_place(struct toymap *t, uint64_t first, uint64_t n, enum iomap_type type,
		  unsigned char fill);
/* Of blocks [first, first + n), holes become unwritten extents as long as the device has room. */
void toymap_allocate(struct toymap *t, uint64_t first, uint64_t n);
void toymap_share(struct toymap *t, uint64_t first, uint64_t n);
/* Device blocks taken minus those that the map knows: 0 when no writeback is under way. */
int64_t toymap_space_gap(struct toymap *t);
/* Reservations still given minus dirty blocks: 0 at a quiet moment. */
int64_t toymap_reservation_gap(struct toymap *t);

#endif
