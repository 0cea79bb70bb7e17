/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Log lines and their rate limit. */
#include "core/lib/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>

#include "core/lib/clock.h"
#include "core/lib/text.h"
#include "core/lib/util.h"

#define RATELIMIT_WINDOW_NS (5ull * 1000 * 1000 * 1000)
#define RATELIMIT_BURST 10
#define NEWS_NS (3600ull * 1000 * 1000 * 1000)

/* A path (4096) and some words around it. */
#define LINE_MAX_BYTES 4608

typedef void log_hook_t(enum log_level lvl, const char *line);

/* Written by log_init before there are threads; read by all. */
static char log_ident[64] = "tallyfs";
static atomic_bool to_syslog;
static atomic_int max_level = LOG_LVL_INFO;
static _Atomic(log_hook_t *) log_hook;
/* where this thread's lines go */
static __thread struct {
	void (*fn)(void *arg, enum log_level lvl, const char *line);
	void *arg;
} thread_hook;

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

void log_set_thread_hook(void (*hook)(void *arg, enum log_level lvl, const char *line), void *arg)
{
	thread_hook.fn = hook;
	thread_hook.arg = arg;
}

void log_line(enum log_level lvl, const char *fmt, ...)
{
	static const int priority[] = { LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG };
	log_hook_t *hook = atomic_load(&log_hook);
	char raw[LINE_MAX_BYTES], line[2 * LINE_MAX_BYTES];
	va_list ap;

	if (!hook && !thread_hook.fn &&
	    (int)lvl > atomic_load_explicit(&max_level, memory_order_relaxed))
		return;
	va_start(ap, fmt);
	vsnprintf(raw, sizeof(raw), fmt, ap);
	va_end(ap);
	/* File names reach these lines: a newline in one must not forge a line of its own. */
	text_escape(line, sizeof(line), raw, strlen(raw));
	if (thread_hook.fn)
		thread_hook.fn(thread_hook.arg, lvl, line);
	else if (hook)
		hook(lvl, line);
	else if (atomic_load(&to_syslog))
		syslog(priority[lvl], "%s", line);
	else
		fprintf(stderr, "%s: %s\n", log_ident, line);
}

bool ratelimit_ok(struct ratelimit *rl, unsigned int *suppressed)
{
	uint64_t now = now_ns();
	bool ok;

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

const char *ratelimit_text(unsigned int suppressed, char buf[RATELIMIT_TEXT])
{
	buf[0] = '\0';
	if (suppressed)
		snprintf(buf, RATELIMIT_TEXT, " (%u more not shown)", suppressed);
	return buf;
}

bool log_is_news(struct log_recent *r, uint64_t key0, uint64_t key1)
{
	uint64_t now = now_ns();
	bool news = true;

	pthread_mutex_lock(&r->lock);
	for (size_t i = 0; i < ARRAY_SIZE(r->told) && news; i++)
		news = !r->told[i].time_ns || now - r->told[i].time_ns >= NEWS_NS ||
		       r->told[i].key[0] != key0 || r->told[i].key[1] != key1;
	if (news) {
		r->told[r->next].key[0] = key0;
		r->told[r->next].key[1] = key1;
		r->told[r->next].time_ns = now;
		r->next = (r->next + 1) % ARRAY_SIZE(r->told);
	}
	pthread_mutex_unlock(&r->lock);
	return news;
}
