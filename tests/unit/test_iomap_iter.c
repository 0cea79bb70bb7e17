/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * core/iomap/iter.c: B1: the walk over a range, one mapping at a time, against a file system that
 * answers as told.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include "core/iomap/iomap.h"

#define STEP 4096u

static struct address_space mapping;
static struct iomap answer, source; /* offset is put in by begin */
static int begin_err, end_err;
static bool misplaced; /* begin answers for somewhere else */
static unsigned int begins, ends;
static uint64_t end_pos, end_length, end_written, end_dirtied;

static int begin(struct address_space *m, uint64_t pos, uint64_t length, unsigned int flags,
		 struct iomap *iomap, struct iomap *srcmap)
{
	begins++;
	if (begin_err)
		return begin_err;
	*iomap = answer;
	iomap->offset = (pos & ~(uint64_t)(STEP - 1)) + (misplaced ? STEP : 0);
	if (source.length) {
		*srcmap = source;
		srcmap->offset = pos & ~(uint64_t)(STEP - 1);
	}
	return 0;
}

static int end(struct address_space *m, uint64_t pos, uint64_t length, uint64_t written,
	       uint64_t dirtied, unsigned int flags, struct iomap *iomap)
{
	ends++;
	end_pos = pos;
	end_length = length;
	end_written = written;
	end_dirtied = dirtied;
	return end_err;
}

static const struct iomap_ops ops = { .iomap_begin = begin, .iomap_end = end };

static struct iomap_iter walk(uint64_t pos, uint64_t len)
{
	return (struct iomap_iter){ .mapping = &mapping, .pos = pos, .len = len };
}

static void setup(void)
{
	answer = (struct iomap){ .type = IOMAP_MAPPED, .length = 2 * STEP };
}

TestSuite(iomap_iter, .init = setup);

Test(iomap_iter, each_step_is_begun_and_ended_with_what_was_done)
{
	struct iomap_iter it = walk(100, 5 * STEP);

	cr_assert_eq(iomap_iter(&it, &ops), 1);
	cr_assert_eq(iomap_length(&it), 2 * STEP - 100);
	cr_assert_eq(iomap_iter_srcmap(&it), &it.iomap);
	it.processed = 3000; /* a part of it */
	it.dirtied = 1;
	cr_assert_eq(iomap_iter(&it, &ops), 1);
	cr_assert(end_pos == 100 && end_length == 2 * STEP - 100 && end_written == 3000 &&
		  end_dirtied == 1);
	cr_assert(it.pos == 3100 && it.len == 5 * STEP - 3000 && !it.dirtied && !it.processed);
	it.processed = (int64_t)iomap_length(&it);
	cr_assert_eq(iomap_iter(&it, &ops), 1);
	cr_assert_eq(it.pos, 2 * STEP);
	it.processed = (int64_t)iomap_length(&it);
	cr_assert_eq(iomap_iter(&it, &ops), 1);
	cr_assert_eq(iomap_length(&it), STEP + 100);
	it.processed = STEP + 100;
	cr_assert_eq(iomap_iter(&it, &ops), 0);
	cr_assert(begins == 4 && ends == 4);
	it = walk(0, 0);
	cr_assert_eq(iomap_iter(&it, &ops), 0, "nothing to do: nobody is asked");
	cr_assert_eq(begins, 4);
}

Test(iomap_iter, a_source_map_bounds_the_step)
{
	struct iomap_iter it = walk(10, 2 * STEP);

	source = (struct iomap){ .type = IOMAP_MAPPED, .length = STEP, .addr = 7 * STEP };
	cr_assert_eq(iomap_iter(&it, &ops), 1);
	cr_assert_eq(iomap_length(&it), STEP - 10);
	cr_assert_eq(iomap_iter_srcmap(&it), &it.srcmap);
	it.processed = STEP - 10;
	source.length = 0;
	cr_assert_eq(iomap_iter(&it, &ops), 1);
	cr_assert_eq(iomap_iter_srcmap(&it), &it.iomap,
		     "the source of the step before is forgotten");
}

Test(iomap_iter, a_stale_mapping_is_asked_for_again_a_stuck_body_ends_the_walk)
{
	struct iomap_iter it = walk(0, STEP);

	cr_assert_eq(iomap_iter(&it, &ops), 1);
	it.iomap.flags |= IOMAP_F_STALE;
	cr_assert_eq(iomap_iter(&it, &ops), 1);
	cr_assert(ends == 1 && !end_written && it.pos == 0 && !(it.iomap.flags & IOMAP_F_STALE));
	cr_assert_eq(iomap_iter(&it, &ops), 0);
	cr_assert(ends == 2 && it.len == STEP);
}

Test(iomap_iter, errors)
{
	struct iomap_iter it = walk(0, 4 * STEP);

	begin_err = -ENOSPC;
	cr_assert_eq(iomap_iter(&it, &ops), -ENOSPC);
	cr_assert_eq(ends, 0, "what was not begun is not ended");
	begin_err = 0;

	it = walk(0, 4 * STEP);
	cr_assert_eq(iomap_iter(&it, &ops), 1);
	it.processed = -EIO;
	cr_assert_eq(iomap_iter(&it, &ops), -EIO);
	cr_assert(ends == 1 && !end_written && it.pos == 0);

	/* an error of end counts where nothing was done */
	it = walk(0, 4 * STEP);
	end_err = -EROFS;
	cr_assert_eq(iomap_iter(&it, &ops), 1);
	it.processed = STEP;
	cr_assert_eq(iomap_iter(&it, &ops), 1);
	it.processed = 0;
	cr_assert_eq(iomap_iter(&it, &ops), -EROFS);
	end_err = 0;
}

Test(iomap_iter, an_answer_that_does_not_cover_the_position_is_refused)
{
	struct iomap_iter it = walk(0, STEP);

	misplaced = true;
	cr_assert_eq(iomap_iter(&it, &ops), -EIO);
	misplaced = false;
	answer.length = 0;
	it = walk(0, STEP);
	cr_assert_eq(iomap_iter(&it, &ops), -EIO);
	answer.length = STEP;
	source = (struct iomap){ .type = IOMAP_MAPPED, .length = 10 };
	it = walk(20, STEP);
	cr_assert_eq(iomap_iter(&it, &ops), -EIO);
	cr_assert_eq(it.iomap.length, 0);
}
