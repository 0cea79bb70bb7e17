/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a power cut may leave of one file: of each block whole one of the contents it has had since
 * the last fsync, or the one at that fsync; of sizes likewise (or the end of a block written on the
 * way from one to the next).  Running out of memory ends the test.
 */
#ifndef TESTS_EXERCISE_CONTENT_PAST_H
#define TESTS_EXERCISE_CONTENT_PAST_H

#include <stdbool.h>
#include <stdint.h>

struct content_past;

/* Of an empty file, @max_size bytes at most. */
struct content_past *content_past_create(uint32_t block_size, uint64_t max_size);
void content_past_destroy(struct content_past *h);
/* [from, to) has changed.  @data: all of the file, zeros from @size up to a whole block at
 * least. */
void content_past_changed(struct content_past *h, const uint8_t *data, uint64_t size, uint64_t from,
			  uint64_t to);
/* Nothing older than what is there now may come back. */
void content_past_synced(struct content_past *h);
bool content_past_size_ok(const struct content_past *h, uint64_t size);
/* @block: its content, zeros behind the end of the file. */
bool content_past_block_ok(const struct content_past *h, uint64_t index, const uint8_t *block);

#endif
