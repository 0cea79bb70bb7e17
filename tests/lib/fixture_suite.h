/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A Criterion suite each of whose tests gets a new, empty file system, mounted without threads; it
 * is unmounted and checked behind the test. */
#ifndef TESTS_FIXTURE_SUITE_H
#define TESTS_FIXTURE_SUITE_H

#include <criterion/criterion.h>
#include "tests/lib/fixture.h"

/* @fx: a static struct fixture; @size: enum fx_size. */
#define FX_SUITE(suite, fx, size, seconds) \
	static void setup(void)            \
	{                                  \
		fx_init();                 \
		fx_create(&(fx), size);    \
	}                                  \
	static void teardown(void)         \
	{                                  \
		fx_destroy(&(fx));         \
		fx_exit();                 \
	}                                  \
	TestSuite(suite, .init = setup, .fini = teardown, .timeout = seconds)

#endif
