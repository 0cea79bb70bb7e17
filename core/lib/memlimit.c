/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How much memory this process may have. */
#include "core/lib/memlimit.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/lib/util.h"

#define MIB (1ull << 20)
#define CACHE_MIN (64 * MIB)
#define CACHE_MAX (512 * MIB)

static uint64_t read_limit(const char *dir, const char *name)
{
	char path[2 * PATH_MAX], text[32];
	uint64_t limit = UINT64_MAX;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "re");
	if (!f)
		return limit;
	/* "max", or a number; that of version 1 for none is larger than any memory */
	if (fgets(text, sizeof(text), f) && text[0] >= '0' && text[0] <= '9')
		limit = strtoull(text, NULL, 10);
	fclose(f);
	return limit;
}

/* Group @path of the hierarchy at @top, and all above. */
static uint64_t walk_up(const char *top, const char *path)
{
	static const char *const names[] = { "memory.max", "memory.high", "memory.limit_in_bytes" };
	size_t top_len = strlen(top), i;
	uint64_t least = UINT64_MAX;
	char dir[PATH_MAX], *slash;

	snprintf(dir, sizeof(dir), "%s%s", top, path);
	for (;;) {
		for (i = 0; i < ARRAY_SIZE(names); i++)
			least = min_t(uint64_t, least, read_limit(dir, names[i]));
		slash = strrchr(dir, '/');
		if (!slash || (size_t)(slash - dir) < top_len)
			return least;
		*slash = '\0';
	}
}

static bool names_memory(const char *list)
{
	for (; list; list = strchr(list, ',') ? strchr(list, ',') + 1 : NULL)
		if (!strncmp(list, "memory", 6) && (!list[6] || list[6] == ','))
			return true;
	return false;
}

uint64_t memlimit_cgroup(const char *table, const char *root)
{
	uint64_t least = UINT64_MAX;
	char *line = NULL, top[PATH_MAX];
	FILE *f = fopen(table, "re");
	size_t size = 0;

	/* "5:memory:/group", "0::/group" */
	while (f && getline(&line, &size, f) > 0) {
		char *list = strchr(line, ':'), *path = list ? strchr(list + 1, ':') : NULL;

		if (!path)
			continue;
		*list++ = *path++ = '\0';
		path[strcspn(path, "\n")] = '\0';
		if (names_memory(list)) {
			snprintf(top, sizeof(top), "%s/memory", root);
			least = min_t(uint64_t, least, walk_up(top, path));
		} else if (!*list) {
			snprintf(top, sizeof(top), "%s/unified", root);
			least = min_t(uint64_t, least, walk_up(top, path));
			least = min_t(uint64_t, least, walk_up(root, path));
		}
	}
	free(line);
	if (f)
		fclose(f);
	return least;
}

static uint64_t rlimit(int which)
{
	struct rlimit rl;

	return getrlimit(which, &rl) || rl.rlim_cur == RLIM_INFINITY ? UINT64_MAX : rl.rlim_cur;
}

static uint64_t address_limit(void)
{
	return min_t(uint64_t, rlimit(RLIMIT_AS), rlimit(RLIMIT_DATA));
}

bool memlimit_on_addresses(void)
{
	return address_limit() != UINT64_MAX;
}

static uint64_t machine_bytes(void)
{
	return (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
}

uint64_t memlimit_bytes(void)
{
	uint64_t cgroup = memlimit_cgroup("/proc/self/cgroup", "/sys/fs/cgroup");

	return min_t(uint64_t, machine_bytes(), min_t(uint64_t, address_limit(), cgroup));
}

uint64_t memlimit_default_cache(void)
{
	uint64_t usual =
		min_t(uint64_t, max_t(uint64_t, machine_bytes() / 16, CACHE_MIN), CACHE_MAX);

	return max_t(uint64_t, min_t(uint64_t, usual, memlimit_bytes() / 4) / MIB * MIB, MIB);
}
