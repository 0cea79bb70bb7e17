/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the fuzzers share. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core/block/bio.h"
#include "core/iomap/iomap.h"
#include "core/lib/log.h"
#include "fs/journal/trans.h"
#include "tests/fuzz/fuzz.h"

static const uint64_t poison = FUZZ_POISON;
static bool brought; /* by the input: the poison proves nothing */

struct fuzz_in fuzz_start(const uint8_t *data, size_t size)
{
	brought = size && memmem(data, size, &poison, sizeof(poison));
	return (struct fuzz_in){ data, size };
}

uint64_t fuzz_get(struct fuzz_in *in, unsigned int bytes)
{
	uint64_t v = 0;

	for (unsigned int k = 0; k < bytes && in->left; k++, in->left--)
		v |= (uint64_t)*in->p++ << 8 * k;
	return v;
}

size_t fuzz_take(struct fuzz_in *in, size_t n, const uint8_t **bytes)
{
	n = n < in->left ? n : in->left;
	*bytes = in->p;
	in->p += n;
	in->left -= n;
	return n;
}

void fuzz_die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fputs("fuzz: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	abort();
}

int64_t fuzz_errno(int64_t ret, const char *what)
{
	if (ret < 0 && (ret < -4095 || ret == -TRANS_RESTART))
		fuzz_die("%s: returned %lld", what, (long long)ret);
	return ret;
}

static void swallow(enum log_level lvl, const char *line)
{
}

void fuzz_quiet(void)
{
	log_set_hook(getenv("FUZZ_LOG") ? NULL : swallow);
}

void fuzz_init(void)
{
	int err;

	log_init("fuzz", false, LOG_LVL_INFO);
	fuzz_quiet();
	err = blk_init(1);
	if (!err)
		err = iomap_ioend_init();
	if (err)
		fuzz_die("no threads: %s", strerror(-err));
}

bool fuzz_threads(void)
{
	return getenv("FUZZ_THREADS") != NULL;
}

void fuzz_no_poison(const void *data, size_t len, const char *where)
{
	if (!brought && len >= sizeof(poison) && memmem(data, len, &poison, sizeof(poison)))
		fuzz_die("wrong data: %s", where);
}
