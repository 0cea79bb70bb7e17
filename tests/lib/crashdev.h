/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A device for the crash simulator: memory that records every write, discard and
 * flush, and afterwards makes the images a power cut at any moment could have left.
 *
 * What a flush confirmed is there: what had returned before a flush was sent that had returned
 * before the cut.  Of the rest any subset may have reached the medium, in any order, and a write
 * may be torn at any 512-byte sector, or have ruined the sectors it was to change.  A write that is
 * durable by itself is there once it has returned, whatever became of those before it.
 */
#ifndef TESTS_CRASHDEV_H
#define TESTS_CRASHDEV_H

#include "core/block/bdev.h"

struct crashdev;

/* A device holding a copy of @image (@bytes).  Recording starts at once. */
struct crashdev *crashdev_create(const void *image, uint64_t bytes);
void crashdev_destroy(struct crashdev *cd);
struct bdev *crashdev_bdev(struct crashdev *cd);
/* Bios are done by the thread that submits them: in the same order each time. */
void crashdev_submit_inline(struct crashdev *cd);
/* As it was created, with the same @image, at the cost of what was written since. */
void crashdev_reset(struct crashdev *cd, const void *image);
/* Let it take writes that are durable by themselves.  Default: it knows none. */
void crashdev_allow_fua(struct crashdev *cd, bool fua);
/*
 * From now on each request takes up to @max_usec, others go on meanwhile, and its return is an
 * event of its own.  Default: it takes no time, and is over when the next begins.
 */
void crashdev_take_time(struct crashdev *cd, unsigned int max_usec, uint64_t seed);
/* Writes and discards that were sent while another of the same bytes had not returned. */
uint64_t crashdev_overlaps(struct crashdev *cd);
/* Test the test: pretend that every @nth flush (1: all; 0: none) did nothing. */
void crashdev_lose_flushes(struct crashdev *cd, unsigned int nth);
/* Number of recorded events so far: cuts go from 0 to this. */
uint64_t crashdev_events(struct crashdev *cd);

enum crash_mode {
	CRASH_ALL,    /* everything up to the cut arrived */
	CRASH_NONE,   /* nothing since the last flush arrived */
	CRASH_SUBSET, /* a random subset in random order */
	CRASH_TORN,   /* a random subset, one of them torn */
	CRASH_RUINED, /* whatever was being written since the last flush holds rubbish */
	CRASH_MODES,
};
/*
 * Image as of a cut after the first @events events, into @out (size of the
 * device).  Cuts must be asked for in rising order.
 */
void crashdev_image(struct crashdev *cd, uint64_t events, enum crash_mode mode, uint64_t *rng,
		    void *out);
/* The same, onto an undodev that is as this device was created: at the cost of what was written. */
void crashdev_image_onto(struct crashdev *cd, uint64_t events, enum crash_mode mode, uint64_t *rng,
			 struct bdev *undodev);
/* No cut before @events will be asked for: memory that only those need is freed. */
void crashdev_settle(struct crashdev *cd, uint64_t events);

#endif
