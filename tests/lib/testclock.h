/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Time as a test likes it: each moment the file system notes is another one, and the same in every
 * run.  The linker must wrap clock_gettime() in programs that use this (-Wl,--wrap=clock_gettime).
 */
#ifndef TESTS_TESTCLOCK_H
#define TESTS_TESTCLOCK_H

#include <stdint.h>

/* It is @ns nanoseconds after 1970, and stays so.  0: what the machine says. */
void testclock_set(int64_t ns);

#endif
