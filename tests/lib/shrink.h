/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The shortest sequence that still fails: whole parts are left out, ever smaller ones, down to
 * single operations (Zeller's delta debugging), then their arguments made smaller.
 */
#ifndef TESTS_SHRINK_H
#define TESTS_SHRINK_H

#include <stdbool.h>
#include "tests/lib/oplist.h"

/* Run from a fresh start: does it fail? */
typedef bool shrink_fails_fn(void *arg, const struct oplist *l);

/* @l fails, and still does afterwards; for so many seconds at most, and the one run that is under
 * way then.  How many runs that took. */
unsigned int shrink(struct oplist *l, shrink_fails_fn *fails, void *arg, unsigned int seconds);

#endif
