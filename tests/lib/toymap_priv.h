/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the parts of the toy mapping share: toymap.c (blocks, mappings, what tests call),
 * toymap_writeback.c (the way to the device). */
#ifndef TESTS_TOYMAP_PRIV_H
#define TESTS_TOYMAP_PRIV_H

#include "tests/lib/toymap.h"

/* Block size, bytes. */
uint64_t toy_bs(const struct toymap *t);
/* A free block of the device, by byte; IOMAP_NULL_ADDR: none. */
uint64_t toy_dev_alloc(struct toymap *t);
void toy_dev_free(struct toymap *t, uint64_t addr);
bool toy_has_addr(const struct toy_block *b);
/* Block @b becomes a hole; a shared one belongs to somebody else too. */
void toy_block_drop(struct toymap *t, struct toy_block *b);

/* ---- toymap_writeback.c ---- */
extern const struct address_space_ops toy_aops;
void toy_set_wb_ops(struct toymap *t);

#endif
