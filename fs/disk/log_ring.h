/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The log as an array of log blocks on the device: shared by writer, checkpoint and recovery. */
#ifndef FS_LOG_RING_H
#define FS_LOG_RING_H

#include "core/block/bdev.h"
#include "fs/disk/geom.h"
#include "tallyfs/format.h"

struct log_ring {
	struct bdev *bdev;
	uint64_t base; /* bytes: log block 0 */
	uint64_t size; /* log blocks of the ring: TFS_LOG_FIRST .. TFS_LOG_FIRST + size - 1 */
	uint64_t seed;
};

void ring_init(struct log_ring *r, struct bdev *b, const struct tfs_super *super,
	       const struct tfs_geom *g);
/* @n (up to the ring's size) log blocks on from @pos, around the end. */
uint64_t ring_next(const struct log_ring *r, uint64_t pos, uint64_t n);
/*
 * Read / write @n log blocks of the ring from @pos on, around the end.  @buf
 * aligned for the device.  0 or -errno.
 */
int ring_read(const struct log_ring *r, uint64_t pos, uint64_t n, void *buf);
int ring_write(const struct log_ring *r, uint64_t pos, uint64_t n, const void *buf);
/* The same with a device command for each block, so that no single one can lose two; durable on
 * return. */
int ring_write_durable(const struct log_ring *r, uint64_t pos, uint64_t n, const void *buf);
/*
 * The log ends before @pos: zeros, where the next transaction will begin.  Not what an earlier
 * epoch left there, and not a block that was never written, which some devices can't read: recovery
 * must see that nothing begins (check_hidden in recover.c).  mkfs and each new epoch write such a
 * block before the header that leads there; each commit writes it with its payload, behind the
 * place of its records.  0 or -errno.
 */
int ring_end(const struct log_ring *r, uint64_t pos);

/* Checksum as it belongs into a header or commit record of 4096 bytes whose csum field is at
 * byte 8. */
uint64_t log_csum(const void *block, uint64_t seed);

struct log_head {
	uint64_t epoch, seq, tail, tail_txid;
};
/*
 * Write both copies of the header, each alone, the one in force last: while that is being written
 * the other is whole, whatever was damaged or old before.  0 or -errno.
 */
int log_write_headers(const struct log_ring *r, const struct log_head *h);
/* Header copy 0 or 1.  0, -EUCLEAN (not a header), -EIO, -ENOMEM. */
int log_read_header(const struct log_ring *r, int copy, struct log_head *h);

/* Transaction ids and epochs a damaged or hostile image may show at most: nothing is added to them
 * that could overflow.
 */
#define LOG_MAX_TXID (1ull << 62)

#endif
