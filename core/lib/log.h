/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Log lines: to stderr (foreground, tools, tests) or syslog(3) ident "tallyfs". */
#ifndef CORE_LOG_H
#define CORE_LOG_H

#include <stdbool.h>
#include <stdint.h>
#include <pthread.h>

enum log_level { LOG_LVL_ERR, LOG_LVL_WARN, LOG_LVL_INFO, LOG_LVL_DEBUG };

/* Who prints.  @use_syslog after the daemon has detached; @max is the most talkative level
 * shown. */
void log_init(const char *ident, bool use_syslog, enum log_level max);
void log_line(enum log_level lvl, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Tests, and tools, may take the lines instead, escaped as text_escape() does; NULL restores the
 * default. */
void log_set_hook(void (*hook)(enum log_level lvl, const char *line));
/* The same for the lines of the calling thread alone, which nobody else gets then. */
void log_set_thread_hook(void (*hook)(void *arg, enum log_level lvl, const char *line), void *arg);

#define log_err(...) log_line(LOG_LVL_ERR, __VA_ARGS__)
#define log_warn(...) log_line(LOG_LVL_WARN, __VA_ARGS__)
#define log_info(...) log_line(LOG_LVL_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_LVL_DEBUG, __VA_ARGS__)

/*
 * A rate limit: at most 10 lines in 5 seconds per struct; what was held back
 * is counted and told with the next line let through.
 */
struct ratelimit {
	pthread_mutex_t lock;
	uint64_t window_start_ns;
	unsigned int shown, suppressed;
};
#define RATELIMIT_INIT                            \
	{                                         \
		.lock = PTHREAD_MUTEX_INITIALIZER \
	}
bool ratelimit_ok(struct ratelimit *rl, unsigned int *suppressed);
/* For the end of such a line: "", or " (3 more not shown)". */
#define RATELIMIT_TEXT 40
const char *ratelimit_text(unsigned int suppressed, char buf[RATELIMIT_TEXT]);

/* What was told within the last hour: one bad block is one line, however often it is met. */
struct log_recent {
	pthread_mutex_t lock;
	unsigned int next;
	struct {
		uint64_t key[2], time_ns; /* 0: free */
	} told[64];
};
#define LOG_RECENT_INIT                           \
	{                                         \
		.lock = PTHREAD_MUTEX_INITIALIZER \
	}
/* False: told already.  Else it is remembered, in the place of the oldest. */
bool log_is_news(struct log_recent *r, uint64_t key0, uint64_t key1);

#endif
