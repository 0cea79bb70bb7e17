/* SPDX-License-Identifier: GPL-2.0-or-later */
/* core/lib/memlimit.c: how much memory there may be, and what happens when it is refused. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/block/bio.h"
#include "core/lib/memlimit.h"
#include "core/pagecache/pagecache_internal.h"

#define MIB (1ull << 20)

static char dir[64];

static void make_dir(void)
{
	strcpy(dir, "/var/tmp/tally-test-XXXXXX");
	cr_assert(mkdtemp(dir));
}

static void drop_dir(void)
{
	char cmd[128];

	snprintf(cmd, sizeof(cmd), "rm -r %s", dir);
	cr_assert_eq(system(cmd), 0);
}

TestSuite(memlimit, .init = make_dir, .fini = drop_dir);

/* @text into @name (folders are made) below the scratch folder, which stands for /sys/fs/cgroup. */
static void put(const char *name, const char *text)
{
	char path[256], *slash;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	for (slash = strchr(path + strlen(dir) + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		mkdir(path, 0755);
		*slash = '/';
	}
	f = fopen(path, "w");
	cr_assert(f);
	fputs(text, f);
	fclose(f);
}

static uint64_t limit(const char *table)
{
	char path[256];

	put("table", table);
	snprintf(path, sizeof(path), "%s/table", dir);
	return memlimit_cgroup(path, dir);
}

Test(memlimit, control_groups)
{
	cr_assert_eq(limit("0::/\n"), UINT64_MAX);
	cr_assert_eq(memlimit_cgroup("/nonexistent", dir), UINT64_MAX);
	put("a/b/memory.max", "max\n");
	cr_assert_eq(limit("0::/a/b\n"), UINT64_MAX);
	put("a/memory.max", "1000000\n");
	cr_assert_eq(limit("0::/a/b\n"), 1000000, "the group above");
	put("a/b/memory.high", "900000\n");
	cr_assert_eq(limit("0::/a/b\n"), 900000);
	put("memory.max", "800000\n");
	cr_assert_eq(limit("0::/a/b\n"), 800000, "the top, as in a namespace");
	cr_assert_eq(limit("0::/\n"), 800000);
	put("unified/c/memory.max", "700000\n");
	cr_assert_eq(limit("0::/c\n"), 700000, "where both versions are there");
	put("memory/d/memory.limit_in_bytes", "600000\n");
	put("memory/d/e/memory.limit_in_bytes", "9223372036854771712\n");
	cr_assert_eq(limit("12:cpu,cpuacct:/x\n7:hugetlb,memory:/d/e\n"), 600000, "version 1");
	cr_assert_eq(limit("3:memory_like:/d\n2:cpu:/d\nnonsense\n"), UINT64_MAX);
}

/* What @fn says in a process that may have @bytes of addresses. */
static int limited(uint64_t bytes, int (*fn)(void))
{
	int status;
	pid_t pid;

#if defined(__SANITIZE_ADDRESS__)
	cr_skip_test("the sanitizer takes all addresses for itself");
#endif
	pid = fork();
	if (!pid) {
		struct rlimit rl = { .rlim_cur = bytes, .rlim_max = bytes };

		_exit(setrlimit(RLIMIT_AS, &rl) ? 99 : fn());
	}
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 100;
}

static int default_is_quarter(void)
{
	return memlimit_on_addresses() && memlimit_bytes() == 200 * MIB &&
			       memlimit_default_cache() == 50 * MIB
		       ? 0
		       : 1;
}

Test(memlimit, addresses)
{
	cr_assert_eq(limited(200 * MIB, default_is_quarter), 0);
}

static unsigned int refusals;

static void note_refusal(void *arg)
{
	refusals++;
}

/* All there is, in maps and in the heap; the reserve is left. */
static void exhaust(void)
{
	size_t bytes;

	while (malloc(MIB))
		;
	for (bytes = MIB; bytes >= 4096; bytes /= 2)
		while (tl_map(bytes))
			;
}

static int reserve_helps(void)
{
	tl_on_refusal(note_refusal, NULL);
	if (!tl_reserve() || !tl_reserve())
		return 1;
	exhaust();
	if (refusals)
		return 2;
	/* larger than what is left in the heap */
	if (!tl_alloc(12 * MIB))
		return 3;
	if (refusals != 1)
		return 10 + (int)refusals;
	if (!tl_zalloc(2 * MIB))
		return 4;
	exhaust();
	if (tl_alloc(12 * MIB) || refusals != 2)
		return 5;
	return tl_reserve() ? 6 : 0;
}

static int vital_pools_use_it(void)
{
	struct seg_pool *cache = seg_pool_create(), *vital = seg_pool_create();

	seg_pool_is_vital(vital);
	tl_on_refusal(note_refusal, NULL);
	if (!tl_reserve())
		return 1;
	exhaust();
	if (seg_alloc(cache, MIB) || refusals)
		return 2;
	return seg_alloc(vital, MIB) && refusals == 1 ? 0 : 3;
}

Test(memlimit, reserve)
{
	int how = limited(512 * MIB, reserve_helps);

	cr_assert_eq(how, 0, "step %d", how);
}

Test(memlimit, vital_pools_use_it)
{
	cr_assert_eq(limited(512 * MIB, vital_pools_use_it), 0);
}

static int cache_yields(void)
{
	struct pagecache_config cfg = { .cache_bytes = 1024 * MIB };
	struct pagecache *pc = pagecache_create(&cfg);

	exhaust();
	if (pagecache_over(pc, 100 * MIB))
		return 1;
	/* refused at once, and the cache is not to grow any further */
	if (pagecache_seg_alloc(pc, MIB))
		return 2;
	return pagecache_over(pc, 100 * MIB) ? 0 : 3;
}

Test(memlimit, cache_yields)
{
	cr_assert_eq(limited(512 * MIB, cache_yields), 0);
}

static int pool_without_waiting(void)
{
	struct bio *bio[8];
	struct bio_set *bs;
	unsigned int n = 0, i;

	if (bioset_create(&bs, 2))
		return 1;
	exhaust();
	while (malloc(64))
		;
	while (n < 8 && (bio[n] = bio_try_alloc(NULL, BIO_MAX_VECS, BIO_OP_WRITE, bs)))
		n++;
	/* the two of the reserve, and then an answer at once */
	if (n != 2)
		return 2;
	for (i = 0; i < n; i++)
		bio_put(bio[i]);
	return bio_try_alloc(NULL, BIO_MAX_VECS, BIO_OP_WRITE, bs) ? 0 : 3;
}

Test(memlimit, pool_without_waiting)
{
	cr_assert_eq(limited(512 * MIB, pool_without_waiting), 0);
}
