/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a power cut may leave of one file: of each block whole one of the contents it has had since
 * the last fsync, or the one at that fsync; of sizes likewise (or the end of a block written on the
 * way from one to the next).  Running out of memory ends the test.
 */
#ifndef TESTS_HISTORY_H
#define TESTS_HISTORY_H

#include <stdbool.h>
#include <stdint.h>

struct history;

/* Of an empty file, @max_size bytes at most. */
struct history *history_create(uint32_t block_size, uint64_t max_size);
void history_destroy(struct history *h);
/* [from, to) has changed.  @data: all of the file, zeros from @size up to a whole block at
 * least. */
void history_changed(struct history *h, const uint8_t *data, uint64_t size, uint64_t from,
		     uint64_t to);
/* Nothing older than what is there now may come back. */
void history_synced(struct history *h);
bool history_size_ok(const struct history *h, uint64_t size);
/* @block: its content, zeros behind the end of the file. */
bool history_block_ok(const struct history *h, uint64_t index, const uint8_t *block);

#endif
