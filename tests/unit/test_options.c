/* SPDX-License-Identifier: GPL-2.0-or-later */
/* common/options.c: the options of tallyfs and mount.tallyfs. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "common/options.h"
#include "core/lib/util.h"
#include "fs/state/fs.h"

static struct options o;
static char why[512];

static void init(void)
{
	options_init(&o);
	why[0] = '\0';
}

static int parse(const char *list)
{
	return options_parse_list(&o, list, why, sizeof(why));
}

static int check(void)
{
	o.source = "image";
	o.mountpoint = "mnt";
	return options_check(&o, why, sizeof(why));
}

TestSuite(options, .init = init);

Test(options, defaults)
{
	cr_assert_eq(check(), 0);
	cr_assert(o.writeback_cache);
	cr_assert_geq(o.threads, 1);
	cr_assert_geq(o.fs.cache_size, 64ull << 20);
	cr_assert_leq(o.fs.cache_size, 512ull << 20);
	cr_assert_eq(o.fs.dirty_size, o.fs.cache_size / 4);
	cr_assert_eq(o.fs.commit_interval, 5);
	cr_assert_eq(o.fs.errors, TFS_ERRORS_REMOUNT_RO);
	cr_assert_not(o.fs.ro);
}

Test(options, everything)
{
	cr_assert_eq(parse("ro,norecovery,cache_size=128M,dirty_size=16M,commit=9,threads=3,verify="
			   "off,errors=abort,"
			   "allow_other,suid,dev,no_writeback_cache"),
		     0, "%s", why);
	o.root = true;
	cr_assert_eq(check(), 0, "%s", why);
	cr_assert(o.fs.ro && o.fs.norecovery && o.fs.no_verify && o.allow_other &&
		  !o.writeback_cache);
	cr_assert_eq(o.fs.cache_size, 128ull << 20);
	cr_assert_eq(o.fs.dirty_size, 16ull << 20);
	cr_assert_eq(o.fs.commit_interval, 9);
	cr_assert_eq(o.threads, 3);
	cr_assert_eq(o.fs.errors, TFS_ERRORS_ABORT);
	cr_assert_str_eq(o.kernel, "suid,dev");
}

Test(options, suid_and_dev_are_for_root)
{
	static const char *const asked[] = { "suid", "dev", "nosuid,suid", "ro,dev,noexec" };
	size_t k;

	for (k = 0; k < sizeof(asked) / sizeof(asked[0]); k++) {
		options_init(&o);
		o.root = true;
		cr_assert_eq(parse(asked[k]), 0, "%s", why);
		cr_assert_eq(check(), 0, "%s: %s", asked[k], why);
		o.root = false;
		cr_assert_eq(check(), -EINVAL, "%s", asked[k]);
		cr_assert(strstr(why, "only root"), "%s", why);
	}
	options_init(&o);
	o.root = false;
	cr_assert_eq(parse("suid,nosuid,dev,nodev,noexec"), 0, "%s", why);
	cr_assert_eq(check(), 0, "%s", why);
}

Test(options, later_ones_win)
{
	cr_assert_eq(parse("ro,rw,verify=off,verify=on,errors=abort,errors=continue"), 0);
	cr_assert(!o.fs.ro && !o.fs.no_verify);
	cr_assert_eq(o.fs.errors, TFS_ERRORS_CONTINUE);
}

Test(options, meant_for_others)
{
	cr_assert_eq(parse("defaults,rw,nofail,_netdev,user,users,auto,noauto,relatime,noatime,x-"
			   "systemd.automount,"
			   "x-gvfs-name=a=b,comment=abc,,async"),
		     0, "%s", why);
	cr_assert_str_eq(o.kernel, "");
	cr_assert_eq(check(), 0, "%s", why);
}

Test(options, for_the_kernel)
{
	cr_assert_eq(parse("nosuid,nodev,noexec,sync,dirsync,context=system_u:object_r:x_t:s0"), 0,
		     "%s", why);
	cr_assert_str_eq(o.kernel,
			 "nosuid,nodev,noexec,sync,dirsync,context=system_u:object_r:x_t:s0");
}

Test(options, refused)
{
	static const char *const lists[] = {
		"nonsense",
		"cache_size=",
		"cache_size=abc",
		"cache_size=1023K",
		"cache_size=64X",
		"cache_size",
		"cache_size=-64M",
		"dirty_size=1",
		"commit=0",
		"commit=x",
		"commit=301",
		"threads=0",
		"threads=257",
		"threads=2x",
		"verify=maybe",
		"errors=panic",
		"ro=1",
		"allow_other=yes",
		"norecovery=on",
		"writeback_cache=1",
		"x=y",
		"cache_size=99999999999999999999",
		"RO",
		"fsname=x",
		"max_read=4096",
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(lists); i++) {
		init();
		cr_assert_eq(parse(lists[i]), -EINVAL, "%s was accepted", lists[i]);
		cr_assert(strlen(why) > 10, "%s: no reason given", lists[i]);
		cr_assert_null(strchr(why, '\n'));
	}
}

Test(options, sloppy)
{
	cr_assert_eq(parse("sloppy,nonsense,other=thing"), 0);
	cr_assert_eq(parse("threads=0"), -EINVAL,
		     "sloppy is for unknown options, not for wrong values");
}

Test(options, conflicts)
{
	cr_assert_eq(parse("norecovery"), 0);
	cr_assert_eq(check(), -EINVAL);
	init();
	cr_assert_eq(parse("cache_size=16M,dirty_size=32M"), 0);
	cr_assert_eq(check(), -EINVAL);
	init();
	cr_assert_eq(parse("remount,ro"), 0);
	cr_assert_eq(check(), -EINVAL);
	init();
	cr_assert_eq(parse("cache_size=8M"), 0);
	cr_assert_eq(check(), 0);
	cr_assert_eq(o.fs.dirty_size, 2ull << 20);
	init();
	cr_assert_eq(parse("cache_size=1M"), 0);
	cr_assert_eq(check(), 0);
	cr_assert_eq(o.fs.dirty_size, 256ull << 10);
}

static int args(int n, ...)
{
	char *argv[16] = { "tallyfs" };
	va_list ap;
	int i;

	va_start(ap, n);
	for (i = 1; i <= n; i++)
		argv[i] = va_arg(ap, char *);
	va_end(ap);
	return options_parse_args(&o, n + 1, argv, why, sizeof(why));
}

Test(options, command_line)
{
	cr_assert_eq(args(5, "image", "mnt", "-f", "-oro", "-d"), 0, "%s", why);
	cr_assert(o.foreground && o.debug && o.fs.ro);
	cr_assert_str_eq(o.source, "image");
	cr_assert_str_eq(o.mountpoint, "mnt");
	init();
	cr_assert_eq(args(4, "-o", "threads=2", "--", "-image"), 0);
	cr_assert_str_eq(o.source, "-image");
	init();
	cr_assert_eq(args(1, "--help"), 0);
	cr_assert(o.help);
	init();
	cr_assert_eq(args(2, "image", "--nonsense"), -EINVAL);
	cr_assert_eq(args(2, "image", "-x"), -EINVAL);
	cr_assert_eq(args(2, "image", "-o"), -EINVAL);
	init();
	cr_assert_eq(args(3, "image", "mnt", "more"), -EINVAL);
	init();
	cr_assert_eq(args(1, "image"), 0);
	cr_assert_eq(options_check(&o, why, sizeof(why)), -EINVAL, "no mount point");
}

Test(options, out_of_memory)
{
	tl_alloc_fail_nth(1);
	cr_assert_eq(parse("ro"), -ENOMEM);
	tl_alloc_fail_nth(0);
}
