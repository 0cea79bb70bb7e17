/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A device in memory that misbehaves on request, for the tests of the block
 * layer.  It refuses segments and sizes above its limits, so that a test
 * notices a bio that was not split.
 */
#ifndef TESTS_LIB_FAULTY_DEV_H
#define TESTS_LIB_FAULTY_DEV_H

#include "core/block/bio.h"

struct faulty_dev {
	struct bdev b;
	struct bdev *mem;
	/* settings */
	atomic_int read_err, write_err, flush_err; /* negative errno for every one that comes */
	atomic_uint fail_nth_io;		   /* 1 = the next read or write fails with -EIO */
	/* what happened */
	atomic_uint too_big; /* I/O above the limits */
};

/*
 * @async: bios come by way of ops->submit, are done by a thread of the
 * device's own and, as drivers may, their bi_iter is used up on the way;
 * there is no readv and writev then.
 */
struct faulty_dev *faulty_dev_create(uint64_t bytes, bool async);
void faulty_dev_destroy(struct faulty_dev *d);
uint8_t *faulty_dev_data(struct faulty_dev *d);

#endif
