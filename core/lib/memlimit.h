/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How much memory this process may have. */
#ifndef CORE_MEMLIMIT_H
#define CORE_MEMLIMIT_H

#include <stdbool.h>
#include <stdint.h>

/* Bytes: the machine's, or less by RLIMIT_AS, RLIMIT_DATA or a control group (version 1 or 2). */
uint64_t memlimit_bytes(void);
/* Is there a limit on addresses, whether memory is behind them or not? */
bool memlimit_on_addresses(void);

/* A cache's size where nobody says: 1/16 of the machine's memory, within 64M to 512M, and a quarter
 * of memlimit_bytes() at most. */
uint64_t memlimit_default_cache(void);

/*
 * The smallest limit of the control groups that @table (as /proc/self/cgroup) names, and those
 * above them, in the hierarchies at
 * @root (as /sys/fs/cgroup).  UINT64_MAX: none.
 */
uint64_t memlimit_cgroup(const char *table, const char *root);

#endif
