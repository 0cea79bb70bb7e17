/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Log lines and their rate limit. */
#include "core/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <time.h>

#include "core/text.h"
#include "core/util.h"

#define RATELIMIT_WINDOW_NS (5ull * 1000 * 1000 * 1000)
#define RATELIMIT_BURST 10

/* A path (4096) and some words around it. */
#define LINE_MAX_BYTES 4608

typedef void log_hook_t(enum log_level lvl, const char *line);

/* Written by log_init before there are threads; read by all. */
static char log_ident[64] = "tallyfs";
static atomic_bool to_syslog;
static atomic_int max_level = LOG_LVL_INFO;
static _Atomic(log_hook_t *) log_hook;

void log_init(const char *ident, bool use_syslog, enum log_level max)
{
	snprintf(log_ident, sizeof(log_ident), "%s", ident);
	if (use_syslog)
		openlog(log_ident, LOG_PID, LOG_DAEMON);
	else if (atomic_load(&to_syslog))
		closelog();
	atomic_store(&to_syslog, use_syslog);
	atomic_store(&max_level, (int)max);
}

void log_set_hook(log_hook_t *hook)
{
	atomic_store(&log_hook, hook);
}

void log_line(enum log_level lvl, const char *fmt, ...)
{
	static const int priority[] = { LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG };
	log_hook_t *hook = atomic_load(&log_hook);
	char raw[LINE_MAX_BYTES], line[2 * LINE_MAX_BYTES];
	va_list ap;

	if (!hook && (int)lvl > atomic_load_explicit(&max_level, memory_order_relaxed))
		return;
	va_start(ap, fmt);
	vsnprintf(raw, sizeof(raw), fmt, ap);
	va_end(ap);
	/* File names reach these lines: a newline in one must not forge a line of its own. */
	text_escape(line, sizeof(line), raw, strlen(raw));
	if (hook)
		hook(lvl, line);
	else if (atomic_load(&to_syslog))
		syslog(priority[lvl], "%s", line);
	else
		fprintf(stderr, "%s: %s\n", log_ident, line);
}

bool ratelimit_ok(struct ratelimit *rl, unsigned int *suppressed)
{
	struct timespec ts;
	uint64_t now;
	bool ok;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	now = (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
	*suppressed = 0;
	pthread_mutex_lock(&rl->lock);
	if (!rl->window_start_ns || now - rl->window_start_ns >= RATELIMIT_WINDOW_NS) {
		rl->window_start_ns = now;
		rl->shown = 0;
	}
	ok = rl->shown < RATELIMIT_BURST;
	if (ok) {
		rl->shown++;
		*suppressed = rl->suppressed;
		rl->suppressed = 0;
	} else {
		rl->suppressed++;
	}
	pthread_mutex_unlock(&rl->lock);
	return ok;
}
