/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "core/lib/log.h"
#include "core/lib/util.h"
#include "fsck/check.h"
#include "tests/lib/ledger_case.h"
#include "tests/lib/random.h"

#define CASE_SECONDS 300 /* more is a hang */

static char name[120];

static void died(int sig)
{
	(void)!write(2, name, strlen(name));
	(void)!write(2, sig == SIGALRM ? ": hangs\n" : ": aborted\n", sig == SIGALRM ? 8 : 10);
	signal(SIGABRT, SIG_DFL);
	abort();
}

static void quiet(enum log_level lvl, const char *line)
{
	if (ledger_case_only() && getenv("TALLYFS_LOG"))
		fprintf(stderr, "%s: %s\n", name, line);
}

void ledger_case_init(void)
{
	log_set_hook(quiet);
	signal(SIGALRM, died);
	signal(SIGABRT, died);
}

void ledger_image_create(struct ledger_image *img, const struct ledger_work *work,
			 enum fx_size size)
{
	img->work = work;
	img->size = size;
	img->nr = (unsigned int)(work - ledger_works) + (size == FX_SMALL1K);
	img->mem = fx_mem(size);
	fx_format(img->mem, size, 3);
	ledger_init(&img->begin, test_seed(7));
	ledger_prepare(&img->begin, img->mem, work);
	img->bytes = malloc(img->mem->size);
	FX_CHECK(img->bytes);
	memcpy(img->bytes, bdev_mem_data(img->mem), img->mem->size);
}

void ledger_image_destroy(struct ledger_image *img)
{
	free(img->bytes);
	ledger_free(&img->begin);
	bdev_close(img->mem);
}

const char *ledger_case_name(const struct ledger_image *img, const char *fmt, ...)
{
	va_list ap;
	int n = snprintf(name, sizeof(name), "%s/%s/", img->work->name,
			 img->size == FX_SMALL1K ? "1k" : "4k");

	va_start(ap, fmt);
	vsnprintf(name + n, sizeof(name) - (size_t)n, fmt, ap);
	va_end(ap);
	return name;
}

bool ledger_case_only(void)
{
	return getenv("TALLYFS_CASE");
}

bool ledger_case_asked(const char *of)
{
	const char *only = getenv("TALLYFS_CASE");
	size_t len = only ? strlen(only) : 0;

	return !only || (!strncmp(of, only, len) && (!of[len] || of[len] == '/'));
}

uint64_t ledger_case_count(uint64_t all, unsigned int kind)
{
	if (ledger_case_only())
		return all;
	return min_t(uint64_t, test_ops(kind % (3 * test_stride()) == 0), all);
}

void ledger_case_begin(struct ledger_image *img, struct ledger *l)
{
	alarm(CASE_SECONDS);
	memcpy(bdev_mem_data(img->mem), img->bytes, img->mem->size);
	ledger_copy(l, &img->begin);
	l->dev = img->mem;
}

struct codes {
	char *text;
	size_t len;
};

static void note_code(void *arg, const struct check_problem *p)
{
	struct codes *c = arg;
	size_t n = c->text ? strlen(c->text) : 0;

	if (c->text && p->severity != CHECK_NOTE && !strstr(c->text, p->code))
		snprintf(c->text + n, c->len - n, "%s%s", n ? " " : "", p->code);
}

int64_t ledger_fsck(struct bdev *dev, char *codes, size_t len)
{
	struct codes c = { codes, len };
	struct check_opts co = { .verify_data = true, .report = note_code, .arg = &c };
	struct check_result res;
	char why[300];

	if (codes)
		*codes = '\0';
	if (tfs_check_device(dev, &co, &res, why, sizeof(why)))
		return -1;
	return (int64_t)(res.errors + res.leaks);
}
