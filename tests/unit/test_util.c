/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * core/lib/util.c, log.c: arithmetic, allocation with fault injection, log lines and their rate
 * limit.
 */
#include <criterion/criterion.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "core/lib/log.h"
#include "core/lib/util.h"

Test(util, arithmetic)
{
	cr_assert_eq(round_up_to(0, 4096), 0);
	cr_assert_eq(round_up_to(1, 4096), 4096);
	cr_assert_eq(round_up_to(4096, 4096), 4096);
	cr_assert_eq(round_down_to(4095, 4096), 0);
	cr_assert_eq(round_down_to(8191, 4096), 4096);
	cr_assert_eq(div_up(0, 3), 0);
	cr_assert_eq(div_up(4, 3), 2);
	cr_assert_eq(div_up(UINT64_MAX, 2), UINT64_C(1) << 63);
	cr_assert(is_pow2(1) && is_pow2(UINT64_C(1) << 63));
	cr_assert(!is_pow2(0) && !is_pow2(6));
	cr_assert_eq(ilog2_u64(1), 0);
	cr_assert_eq(ilog2_u64(4097), 12);
	cr_assert_eq(ilog2_u64(UINT64_MAX), 63);
}

Test(util, nth_allocation_fails)
{
	void *p[4];

	tl_alloc_fail_nth(3);
	p[0] = tl_alloc(10);
	p[1] = tl_zalloc(10);
	p[2] = tl_alloc_aligned(4096, 10);
	p[3] = tl_realloc(p[0], 20);
	cr_assert(p[0] && p[1] && p[3]);
	cr_assert_null(p[2]);
	cr_assert_eq(tl_alloc_count(), 4);
	tl_alloc_fail_nth(0);
	cr_assert_eq(tl_alloc_count(), 0);
	tl_free(p[1]);
	tl_free(p[3]);
	tl_free(NULL);
}

Test(util, failed_realloc_keeps_the_memory)
{
	char *p = tl_alloc(4);

	memcpy(p, "abc", 4);
	tl_alloc_fail_nth(1);
	cr_assert_null(tl_realloc(p, 4096));
	tl_alloc_fail_nth(0);
	cr_assert_str_eq(p, "abc");
	tl_free(p);
}

Test(util, alignment_and_zero)
{
	size_t align;
	unsigned char *p;

	for (align = 1; align <= 65536; align *= 2) {
		p = tl_alloc_aligned(align, 1);
		cr_assert(p);
		cr_assert_eq((uintptr_t)p % align, 0);
		tl_free(p);
	}
	p = tl_zalloc(1000);
	for (align = 0; align < 1000; align++)
		cr_assert_eq(p[align], 0);
	tl_free(p);
	p = tl_alloc(0);
	cr_assert(p);
	tl_free(p);
}

static char last_line[256];
static enum log_level last_level;

static void take_line(enum log_level lvl, const char *line)
{
	last_level = lvl;
	snprintf(last_line, sizeof(last_line), "%s", line);
}

Test(log, hook_gets_escaped_lines)
{
	log_set_hook(take_line);
	log_warn("file '%s': %d", "a\nb\033c\xc2\x9b", 5);
	cr_assert_eq(last_level, LOG_LVL_WARN);
	cr_assert_str_eq(last_line, "file 'a\\x0ab\\x1bc\\xc2\\x9b': 5");
	log_set_hook(NULL);
}

Test(log, stderr_and_level)
{
	FILE *f = tmpfile();
	char buf[256];
	size_t n;
	FILE *save = stderr;

	stderr = f;
	log_init("prog", false, LOG_LVL_WARN);
	log_info("not shown");
	log_err("shown %s", "once");
	stderr = save;
	rewind(f);
	n = fread(buf, 1, sizeof(buf) - 1, f);
	buf[n] = 0;
	fclose(f);
	cr_assert_str_eq(buf, "prog: shown once\n");
}

Test(log, news)
{
	struct log_recent r = LOG_RECENT_INIT;
	char buf[RATELIMIT_TEXT];

	cr_assert(log_is_news(&r, 0, 0));
	cr_assert_not(log_is_news(&r, 0, 0));
	cr_assert(log_is_news(&r, 0, 1));
	cr_assert(log_is_news(&r, 1, 0));
	cr_assert_not(log_is_news(&r, 0, 1));
	/* the oldest make room */
	for (uint64_t i = 0; i < ARRAY_SIZE(r.told); i++)
		cr_assert(log_is_news(&r, 5, i));
	cr_assert(log_is_news(&r, 0, 0));
	/* and after an hour it is news again */
	cr_assert_not(log_is_news(&r, 5, 9));
	for (size_t i = 0; i < ARRAY_SIZE(r.told); i++)
		r.told[i].time_ns -= UINT64_C(3601) * 1000000000;
	cr_assert(log_is_news(&r, 5, 9));
	cr_assert_str_eq(ratelimit_text(0, buf), "");
	cr_assert_str_eq(ratelimit_text(3, buf), " (3 more not shown)");
}

Test(log, ratelimit)
{
	struct ratelimit rl = RATELIMIT_INIT;
	unsigned int i, held;

	for (i = 0; i < 10; i++) {
		cr_assert(ratelimit_ok(&rl, &held));
		cr_assert_eq(held, 0);
	}
	for (i = 0; i < 7; i++)
		cr_assert_not(ratelimit_ok(&rl, &held));
	rl.window_start_ns -= 6000000000u; /* six seconds pass */
	cr_assert(ratelimit_ok(&rl, &held));
	cr_assert_eq(held, 7);
	cr_assert(ratelimit_ok(&rl, &held));
	cr_assert_eq(held, 0);
}
